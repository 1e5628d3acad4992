"""What every embedded server is to its stack: a place to live, and four functions."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psutil

from kos.errors import DiskFull, ServerDidNotStart
from kos.topology.embedded import census, ports
from kos.topology.embedded.account import Account
from kos.topology.embedded.wheels import Programs

POLL_SECONDS = 0.05
PORT_SECONDS = 3.0
CHECK_SECONDS = 3.0  # what a driver is given for one answer
TAIL_LINES = 15
LOG_BYTES = 16 * 2**20
NEARLY_FULL_MB = 32


@dataclass(frozen=True)
class Site:
    """Where one server of a stack lives, and what it may use. Its first port is the one that clients use."""

    store: str
    kind: str
    stack: str
    folder: Path
    home: Path
    ports: tuple[int, ...]
    secrets: Mapping[str, str]
    account: Account
    programs: Programs

    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def data(self) -> Path:
        return self.home / "data" / self.store

    @property
    def conf(self) -> Path:
        return self.home / "conf" / self.store

    @property
    def log(self) -> Path:
        return self.folder / "log" / f"{self.store}.log"

    def make_folders(self) -> None:
        """The folders of the server, closed to everyone but its account."""
        for path in (self.data, self.conf):
            path.mkdir(mode=0o700, exist_ok=True)
            self.account.own(path)

    def write(self, path: Path, text: str) -> Path:
        """Write a file for the server alone; it may hold secrets."""
        unfinished = path.with_name(path.name + ".new")
        unfinished.unlink(missing_ok=True)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        self.account.own(unfinished)
        unfinished.rename(path)
        return path


@dataclass(frozen=True)
class Launch:
    """How a server is run: its arguments (no secret among them) and what it finds in its environment."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]


class Server(Protocol):
    """The functions of a store's module (`postgres.py`, `graph.py`, …)."""

    LADDER: census.Ladder
    START_SECONDS: float

    def prepare(self, site: Site) -> Launch:
        """Make what the server needs on disk and say how it is run. Harmless to repeat."""

    def check(self, site: Site) -> None:
        """Ask the server, through its own driver, whether it serves; raises NotReady if not."""

    def furnish(self, site: Site) -> None:
        """Make what clients expect to find in it. Harmless to repeat."""


class NotReady(Exception):
    """The server does not serve (yet); the text is what its driver said."""


class Cancelled(Exception):
    """Another server failed, or the user interrupted: stop waiting."""


class PortLost(Exception):
    """Somebody else took the port between our choice and the server's start."""


def clean_environment(site: Site) -> dict[str, str]:
    """The environment of a server: nothing of the user's, and what the census looks for."""
    return {
        "PATH": "/usr/bin:/bin",
        "HOME": str(site.data),
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        census.STACK: site.stack,
        census.STORE: site.store,
        census.FOLDER: str(site.folder),
    }


def spawn(site: Site, launch: Launch) -> psutil.Process:
    """Start a server that outlives us, in a session of its own: Ctrl-C in our terminal must not reach it."""
    environment = clean_environment(site) | dict(launch.environment)
    return detached(launch.arguments, environment, site.log, site.data, **site.account.popen)


def detached(
    arguments: Sequence[str], environment: Mapping[str, str], log: Path, folder: Path, **options: object
) -> psutil.Process:
    """Start a program that outlives us; what it prints goes to `log`. `options` are those of `subprocess`."""
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.rename(log.with_suffix(".log.1"))
    with log.open("ab") as output:
        child = subprocess.Popen(
            arguments,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            **options,  # type: ignore[call-overload]
        )
    process = psutil.Process(child.pid)
    child.returncode = 0  # it is not ours to wait for: without this Python warns that it still runs
    return process


def await_ready(
    site: Site, server: Server, process: psutil.Process, *, seconds: float, cancelled: threading.Event
) -> None:
    """Wait until the server serves.

    Raises:
        PortLost: it ended because another program has its port.
        ServerDidNotStart: it ended, or does not serve after `seconds`.
        Cancelled: `cancelled` was set meanwhile.
    """
    began = time.monotonic()
    answer: NotReady | None = None
    while census.is_alive(process):
        # Only a port that this very process has is asked: a stranger there must not get our passwords.
        if site.port in census.listening(process):
            try:
                server.check(site)
                return
            except NotReady as error:
                answer = error
        waited = time.monotonic() - began
        if waited > PORT_SECONDS and _lost_port(site, process):
            raise PortLost
        if waited > seconds:
            raise did_not_start(site, waited) from answer
        if cancelled.wait(POLL_SECONDS):
            raise Cancelled
    if not ports.become_free(site.ports):
        raise PortLost
    raise did_not_start(site, time.monotonic() - began) from answer


def _lost_port(site: Site, process: psutil.Process) -> bool:
    """Whether another program has a port of this living server. Some servers end then; ArcadeDB stays."""
    # In this order: between two looks the server may take a port, or end and let go of it.
    taken = [port for port in site.ports if not ports.is_free(port)]
    own = census.listening(process)
    lost = any(port not in own and not ports.is_free(port) for port in taken)
    try:
        # One that is just ending has its ports still, and can't show them any more.
        return lost and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def did_not_start(site: Site, seconds: float) -> DiskFull | ServerDidNotStart:
    """The error that says why a server did not start."""
    statistics = os.statvfs(site.home)
    free_mb = statistics.f_bavail * statistics.f_frsize // 2**20
    if free_mb < NEARLY_FULL_MB:
        return DiskFull(site.home, free_mb, NEARLY_FULL_MB)
    return ServerDidNotStart(site.store, seconds, site.log, tail(site.log))


def tail(log: Path) -> str:
    """The last lines of a log."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except FileNotFoundError:
        return "(it wrote nothing)"
    return "\n".join(lines[-TAIL_LINES:]) or "(it wrote nothing)"
