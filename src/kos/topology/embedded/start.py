"""Bringing servers up together: adopt what serves, clean away what doesn't, start what is missing."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

from kos.errors import ServerDidNotStart, ServerDidNotStop
from kos.topology.embedded import census, ports
from kos.topology.embedded.layout import SERVERS
from kos.topology.embedded.server import Cancelled, PortLost, Site, await_ready, spawn

if TYPE_CHECKING:  # the console needs rich and typer, which the library does without
    from kos.progress import Advance

ADOPT_SECONDS = 15.0  # a server that was left in the middle of its start may still come up

Crowds = Mapping[str, census.Crowd]


@dataclass
class Started:
    """What `up` found and did: seconds by store it started, the stores that ran already, seconds in all."""

    started: dict[str, float] = field(default_factory=dict)
    adopted: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Planned:
    """One thing that `up` would do for a store."""

    store: str
    what: str


@dataclass
class StartPlan:
    """What `up` would do: the stores that it would find running, and what it would change."""

    adopted: list[str] = field(default_factory=list)
    changes: list[Planned] = field(default_factory=list)


def plan(sites: Sequence[Site], crowds: Crowds) -> StartPlan:
    """What `bring_up` would do. Asks the servers, and changes nothing."""
    planned = StartPlan()
    for site in sites:
        crowd = crowds.get(site.store, census.Crowd())
        if crowd.main and _serves(site, crowd.main, threading.Event()):
            planned.adopted.append(site.store)
            continue
        if crowd.all:
            pids = ", ".join(str(process.pid) for process in crowd.all)
            planned.changes.append(Planned(site.store, f"stop what does not serve (process {pids})"))
        what = "start it" if site.data.exists() else "make its data, and start it"
        planned.changes.append(Planned(site.store, what))
    return planned


def bring_up(
    sites: Sequence[Site],
    look: Callable[[], Crowds],
    relocate: Callable[[Site], Site],
    progress: Advance,
) -> Started:
    """Have all these servers running, started side by side.

    `look` takes the census; `relocate` finds other ports for a store whose port was lost to another program.
    If one server fails, those that this call started are stopped again.

    Raises:
        ServerDidNotStart, ServerDidNotStop, DiskFull, PortInUse: the first failure, in the order of `sites`.
    """
    began = time.monotonic()
    result = Started()
    waiting = list(sites)
    try:
        while waiting:
            lost = _round(waiting, look(), result, lambda: progress("starting servers", _done(result), len(sites)))
            waiting = [relocate(site) for site in lost]
    except BaseException as failure:
        _take_back([site for site in sites if site.store not in result.adopted], look(), failure)
        raise
    result.seconds = time.monotonic() - began
    return result


def _done(result: Started) -> int:
    return len(result.started) + len(result.adopted)


def _round(sites: Sequence[Site], crowds: Crowds, result: Started, advance: Callable[[], None]) -> list[Site]:
    """Bring each server up in a thread of its own; returns those whose port was lost."""
    cancelled = threading.Event()
    lost: list[Site] = []
    with ThreadPoolExecutor(len(sites)) as pool:
        futures: dict[Future[float | None], Site] = {
            pool.submit(_bring_up_one, site, crowds.get(site.store, census.Crowd()), cancelled): site for site in sites
        }
        try:
            for future in as_completed(futures):
                _note(future, futures[future], result, lost)
                advance()
        except BaseException:
            cancelled.set()
            raise
    return lost


def _note(future: Future[float | None], site: Site, result: Started, lost: list[Site]) -> None:
    try:
        seconds = future.result()
    except PortLost:
        lost.append(site)
        return
    if seconds is None:
        result.adopted.append(site.store)
    else:
        result.started[site.store] = seconds


def _bring_up_one(site: Site, crowd: census.Crowd, cancelled: threading.Event) -> float | None:
    """Returns the seconds that the start took, or None if the server ran already."""
    began = time.monotonic()
    server = SERVERS[site.kind]
    if crowd.main and _serves(site, crowd.main, cancelled):
        server.furnish(site)
        return None
    census.stop(site.store, crowd, server.LADDER)
    if not ports.become_free(site.ports):
        raise PortLost
    if cancelled.is_set():
        raise Cancelled
    process = spawn(site, server.prepare(site))
    await_ready(site, server, process, seconds=server.START_SECONDS, cancelled=cancelled)
    server.furnish(site)
    return time.monotonic() - began


def _serves(site: Site, process: psutil.Process, cancelled: threading.Event) -> bool:
    if not census.runs_as(process, site.account.uid):
        return False  # it only claims to be ours: it must not get our passwords
    if (there := census.listening(process)) and there.isdisjoint(site.ports):
        return False  # it is wanted on another port now
    try:
        await_ready(site, SERVERS[site.kind], process, seconds=ADOPT_SECONDS, cancelled=cancelled)
    except (ServerDidNotStart, PortLost):
        return False
    return True


def _take_back(sites: Sequence[Site], crowds: Crowds, failure: BaseException) -> None:
    for site in sites:
        try:
            census.stop(site.store, crowds.get(site.store, census.Crowd()), SERVERS[site.kind].LADDER)
        except ServerDidNotStop as error:
            failure.add_note(str(error))
