"""Which processes belong to a stack.

The process table is the truth; there is no pid file that could be stale.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import psutil

from kos.errors import ServerDidNotStop
from kos.topology.embedded import state
from kos.topology.embedded.account import seeing_as_owner

STACK = "KOS_STACK"
STORE = "KOS_STORE"
FOLDER = "KOS_STACK_FOLDER"

WORKER = "worker"  # in STORE: the stack's worker, which is no store

POLL_SECONDS = 0.01
ORPHAN_SECONDS = 2.0

Answer = TypeVar("Answer")

Ladder = tuple[tuple[signal.Signals, float], ...]
"""How a server is stopped: signals, each with the seconds it is given."""

LAST_RESORT: Ladder = ((signal.SIGKILL, 10.0),)


@dataclass
class Crowd:
    """The processes of one store: the server itself, and everything else that it left or started."""

    main: psutil.Process | None = None
    others: list[psutil.Process] = field(default_factory=list)

    @property
    def all(self) -> list[psutil.Process]:
        return [self.main, *self.others] if self.main else self.others


@dataclass(frozen=True)
class _Seen:
    process: psutil.Process
    parent: int
    store: str
    by_environment: bool


def take(*, stack: str | None, folder: Path, homes: Iterable[Path], programs: Iterable[str]) -> dict[str, Crowd]:
    """The processes of the stack by store.

    A process is the stack's if its environment says so: the stack's id, or the folder it was started for (an
    earlier stack there, whose marker was deleted). PostgreSQL's children overwrite their environment; they
    are known by their program and their working folder. `programs` are the names of the servers' programs.
    """
    names = frozenset(programs)
    data = frozenset(path for home in homes for path in (home / "data", (home / "data").resolve()))
    seen = [found for process in psutil.process_iter() if (found := _look(process, stack, folder, data, names))]
    pids = {found.process.pid: found.store for found in seen}
    crowds: dict[str, Crowd] = {}
    for found in seen:
        crowd = crowds.setdefault(found.store, Crowd())
        is_topmost = found.by_environment and pids.get(found.parent) != found.store
        if is_topmost and crowd.main is None:
            crowd.main = found.process
        else:
            crowd.others.append(found.process)
    return crowds


def _look(
    process: psutil.Process, stack: str | None, folder: Path, data: frozenset[Path], names: frozenset[str]
) -> _Seen | None:
    try:
        with process.oneshot():
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            environment, program = _asked(process, lambda: (process.environ(), process.exe()))
            is_server = Path(program).name.removesuffix(" (deleted)") in names
            if _is_ours(environment, stack, folder):
                store = environment.get(STORE, "")
                # The worker's program is Python's: it can't be known by its name.
                return _Seen(process, process.ppid(), store, by_environment=is_server or store == WORKER)
            if not is_server:
                return None
            inside = Path(_asked(process, process.cwd).removesuffix(" (deleted)"))
            if inside.parent in data:
                return _Seen(process, process.ppid(), inside.name, by_environment=False)
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # it ended just now, or it is somebody else's
        return None
    return None


def _asked(process: psutil.Process, question: Callable[[], Answer]) -> Answer:
    """What a process says of itself: root asks as itself, and where it may not, as the account that runs it."""
    try:
        return question()
    except psutil.AccessDenied:
        if os.geteuid() != 0:
            raise
    with seeing_as_owner(process):
        return question()


def _is_ours(environment: Mapping[str, str], stack: str | None, folder: Path) -> bool:
    """Whether a process was started for this folder, or for this stack where it was before.

    Two copies of a stack carry one id: what was started for the other's folder is the other's.
    """
    there = environment.get(FOLDER)
    if there == str(folder):
        return True
    return bool(stack and environment.get(STACK) == stack and not (there and state.lives_in(Path(there), stack)))


def listening(process: psutil.Process) -> set[int]:
    """The ports that a server listens on; none that we may not know."""
    try:
        found = _asked(process, lambda: process.net_connections("tcp"))
    except (psutil.NoSuchProcess, psutil.AccessDenied):  # one that is just ending shows nothing to anybody
        return set()
    return {connection.laddr.port for connection in found if connection.status == psutil.CONN_LISTEN}


def runs_as(process: psutil.Process, uid: int) -> bool:
    """Whether a process runs as this account."""
    try:
        return bool(process.uids().real == uid)
    except psutil.NoSuchProcess:
        return False


def works_in(process: psutil.Process) -> Path | None:
    """The folder that a process works in; None where we may not know: it is somebody else's, or just ended."""
    try:
        return Path(_asked(process, process.cwd))
    except psutil.AccessDenied:
        return None


def is_alive(process: psutil.Process) -> bool:
    """Whether the process runs.

    One that ended and waits for its parent does not; one of which some threads still end does: it has its ports.
    """
    try:
        ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return process.is_running() and not ended
    except psutil.NoSuchProcess:
        return False


def wait_gone(processes: Iterable[psutil.Process], seconds: float) -> list[psutil.Process]:
    """Wait until the processes ended; returns those that did not.

    psutil's own wait would also wait for the parent of each to take note, which may be another living program.
    """
    left = list(processes)
    deadline = time.monotonic() + seconds
    while (left := [process for process in left if not _is_gone(process)]) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)
    return left


def _is_gone(process: psutil.Process) -> bool:
    if is_alive(process):
        return False
    with suppress(psutil.TimeoutExpired):  # take note ourselves, in case we are the parent
        process.wait(0)
    return True


def stop(store: str, crowd: Crowd, ladder: Ladder) -> None:
    """Stop a server and everything it left.

    Raises:
        ServerDidNotStop: something of it still runs after the whole ladder.
    """
    if crowd.main:
        _climb(store, [crowd.main], ladder, wake=crowd.others)
    # Children end by themselves when their server is gone; what is left has lost its server for good.
    left = wait_gone(crowd.others, ORPHAN_SECONDS)
    _climb(store, left, LAST_RESORT, wake=[])


def _climb(store: str, processes: list[psutil.Process], ladder: Ladder, *, wake: list[psutil.Process]) -> None:
    total = 0.0
    for number, seconds in ladder:
        _signal(processes, number)
        _signal([*processes, *wake], signal.SIGCONT)  # a frozen process would never read its signal
        processes = wait_gone(processes, seconds)
        total += seconds
        if not processes:
            return
    if processes:
        raise ServerDidNotStop(store, processes[0].pid, total)


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        try:
            process.send_signal(number)
        except psutil.NoSuchProcess:
            continue
