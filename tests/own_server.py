"""A server of the test's own, run as the embedded stack runs its own: it may be killed, frozen and started again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from kos.topology.embedded import account, census, home, ports
from kos.topology.embedded.server import Server, Site, await_ready, spawn
from kos.topology.embedded.wheels import Programs

PASSWORD = "the-servers-own-password"
KILL_SECONDS = 30.0
# It hears when the test's process is gone, however that ended: its standard input is closed then.
KEEPER = 'read -r _; kill -9 "$0"; rm -rf "$1" || { sleep 1; rm -rf "$1"; }'


class OwnServer:
    """One server with a folder and ports of its own, as this user. `with` starts it, and leaves nothing of it.

    `store` is "graph" or "cache", `server` what starts and asks such a one, `programs` what is run.
    """

    def __init__(self, store: str, server: Server, programs: Programs, *, port_count: int = 1) -> None:
        folder = Path(tempfile.mkdtemp(prefix=f"kos-own-{store}-"))
        taken: list[int] = []
        for _ in range(port_count):
            taken.append(ports.choose(taken))
        self.site = Site(
            store=store,
            kind=store,
            stack="",
            folder=folder,
            home=folder,
            ports=tuple(taken),
            secrets={store: PASSWORD},
            account=account.myself(),
            programs=programs,
        )
        home.make_folders(folder, folder, self.site.account)
        self._server = server
        self._process: psutil.Process | None = None
        self._keeper: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.remove()

    @property
    def process(self) -> psutil.Process:
        """The process that runs."""
        assert self._process, "it does not run"
        return self._process

    def start(self, *options: str) -> None:
        """Start it on what its folder has, and wait until it serves. `options` go behind its arguments."""
        assert self._process is None, "it runs already"
        assert ports.become_free(self.site.ports, KILL_SECONDS)
        launch = self._server.prepare(self.site)
        self._process = spawn(self.site, replace(launch, arguments=(*launch.arguments, *options)))
        self._keeper = subprocess.Popen(
            ["/bin/sh", "-c", KEEPER, str(self._process.pid), str(self.site.folder)],
            cwd="/",
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the tests; it has to see their end
        )
        seconds = self._server.START_SECONDS
        await_ready(self.site, self._server, self._process, seconds=seconds, cancelled=threading.Event())
        self._server.furnish(self.site)

    def stop(self) -> None:
        """End it in the way it likes best, if it runs."""
        if self._process:
            self._dismiss_keeper()
            census.stop(self.site.store, census.Crowd(self._process), self._server.LADDER)
            self._process = None

    def kill(self) -> None:
        """End it with kill -9, if it runs, and wait until it is gone."""
        if self._process:
            self._dismiss_keeper()
            census.stop(self.site.store, census.Crowd(self._process), census.LAST_RESORT)
            self._process = None

    def freeze(self) -> None:
        """It keeps its connections, takes new ones, and answers nothing."""
        self.process.suspend()

    def thaw(self) -> None:
        """It goes on where it was frozen."""
        self.process.resume()

    def remove(self) -> None:
        """End it, and delete everything of it."""
        self.kill()
        shutil.rmtree(self.site.folder)

    def _dismiss_keeper(self) -> None:
        """Before the server's end: its number may be another's soon."""
        if self._keeper:
            self._keeper.kill()
            self._keeper.communicate()
            self._keeper = None
