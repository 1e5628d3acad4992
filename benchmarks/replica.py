"""A streaming replica of the run's own PostgreSQL, whose replay can be made slow."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import psycopg

from bench import Bench
from kos.errors import StoreUnavailable
from kos.topology import postgres
from kos.topology.embedded import account, ports, postgres_tool
from kos.topology.embedded.wheels import programs
from kos.topology.model import Login, PostgresServer, fixed

SLICE = 0.05  # seconds: in each of these, replay is stopped for a share
START_SECONDS = 60.0


@dataclass
class Replica:
    """A server of its own process and folder."""

    bench: Bench
    server: PostgresServer
    process: subprocess.Popen[bytes]

    def connect(self) -> psycopg.Connection[Any]:
        """A session of the superuser, in autocommit."""
        user, password = self.bench.stack.superuser()
        return postgres.connect(self.server, Login(user, fixed(password)))

    @contextmanager
    def slow(self, share: float) -> Iterator[None]:
        """Replay only gets this share of the time."""
        startup = next(each for each in psutil.Process(self.process.pid).children() if "startup" in each.cmdline()[0])
        over = threading.Event()

        def brake() -> None:
            while not over.wait(SLICE * share):
                startup.suspend()
                over.wait(SLICE * (1 - share))
                startup.resume()

        braking = threading.Thread(target=brake, daemon=True)
        braking.start()
        try:
            yield
        finally:
            over.set()
            braking.join()


@contextmanager
def replica_of(bench: Bench) -> Iterator[Replica]:
    """Made of a base backup; gone afterwards, with its folder."""
    as_whom = account.choose()
    folder = Path(tempfile.mkdtemp(prefix="kos-bench-replica-"))
    try:
        as_whom.own(folder)
        found = programs("postgres")
        if not as_whom.reaches(found.needed()):
            found = found.copied_to(folder / "programs")
        server = replace(bench.topology.control.primary, name="replica", port=ports.choose(()))
        _copy(bench, folder / "data", as_whom)
        options = ("-c", f"port={server.port}", "-c", "hot_standby_feedback=on")
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [str(found.path), "-D", str(folder / "data"), *options],
                cwd="/", stdout=log, stderr=log, **as_whom.popen,
            )  # fmt: skip
        try:
            made = Replica(bench, server, process)
            _wait(made, folder / "log")
            yield made
        finally:
            process.send_signal(signal.SIGQUIT)
            process.wait(START_SECONDS)
    finally:
        shutil.rmtree(folder)


def _copy(bench: Bench, data: Path, as_whom: account.Account) -> None:
    user, password = bench.stack.superuser()
    primary = bench.topology.control.primary
    source = ("--host", primary.host, "--port", str(primary.port), "--username", user)
    subprocess.run(
        [postgres_tool("pg_basebackup"), *source, "--pgdata", str(data), "--checkpoint=fast", "--write-recovery-conf"],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": password}, check=True, capture_output=True,
    )  # fmt: skip
    for folder, names, files in os.walk(data):
        for each in (folder, *(os.path.join(folder, name) for name in (*names, *files))):
            as_whom.own(Path(each))


def _wait(made: Replica, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        with suppress(StoreUnavailable):
            made.connect().close()
            return
        if made.process.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(log.read_text())
        time.sleep(0.05)
