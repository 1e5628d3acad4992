"""Reading through the cache: never older than the reader's bookmark, beside deleting after the commit; and how fast."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import cache_races
from arms import Bar, Finding, Report, Times, Worst, measure, measure_async, median_of, microseconds, speed
from bench import COLUMNS, TENANT, Bench, Placing, fill_atoms
from cache_races import Found, Race
from kos.tenancy import AsyncStore, Store
from kos.topology.model import Topology

CLAIM = "reads through the cache"
CONTROL = "deleted after the commit"
CACHED, PLAIN = "cached read", "the same read from PostgreSQL"
SPEED_BAR, RACE_BAR, CONTROL_BAR = Bar(at_least=3.0), Bar(at_most=0), Bar(at_least=1)
QUERY = f"select {COLUMNS} from atoms where id = %s"
READS, CONTROL_READS = 1_000_000, 200_000
ROWS = 50
PROCESSES = 4


def run(bench: Bench) -> Report:
    ids = fill_atoms(bench, 2_000 if bench.quick else 20_000)
    report = Report(CLAIM)
    with _cache(bench) as topology:
        _race(report, bench, topology, ids)
        _measure(report, bench, topology, ids)
    report.notes += _NOTES
    return report


_NOTES = [
    "Each of the reads has the bookmark of the last write of its row, and a version that it must see; rows are few,"
    " and written all the time. Readers and the one who follows the log are held up at the dangerous points in a share"
    " of all cases, in both arms alike.",
    "The control is what most people write: a miss is loaded and set, who writes deletes the key after the commit. A"
    " reader that has loaded before the commit sets after the deletion.",
    "A cached read sends one command; the session that it is in has not begun its transaction. The other one is a"
    " session with one statement: two round trips, and JSON on neither side.",
]


@contextmanager
def _cache(bench: Bench) -> Iterator[Topology]:
    """The run's stack with a cache, and what reaches both."""
    bench.stack.up(stores=("postgres", "cache"))
    found = bench.stack.topology()
    assert found.cache
    yield replace(bench.topology, cache=found.cache)


def _race(report: Report, bench: Bench, topology: Topology, ids: list[UUID]) -> None:
    reads, control = (20_000, 20_000) if bench.quick else (READS, CONTROL_READS)
    assert topology.cache
    cache_races.begin(topology, topology.cache)
    ours = Race(topology, ids[:ROWS], reads, PROCESSES).run(cache_races.through_sessions, follows=True)
    cache_races.begin(topology, topology.cache)
    theirs = Race(topology, ids[ROWS : 2 * ROWS], control, PROCESSES).run(
        cache_races.delete_after_commit, follows=False
    )
    report.findings += [
        Finding(f"reads older than their bookmark, of {ours.reads:,}", Worst(ours.old), RACE_BAR),
        Finding(f"control: {CONTROL}, of {theirs.reads:,}", Worst(theirs.old), CONTROL_BAR, is_control=True),
    ]
    report.figures += [(what, figure) for what, figure in _told(ours)]


def _told(found: Found) -> list[tuple[str, str]]:
    counters = found.counters
    return [
        ("writes meanwhile", f"{found.writes:,}"),
        ("found in the cache", f"{counters.hits:,}"),
        ("loaded and kept", f"{counters.fills:,}"),
        ("loaded too early to be kept", f"{counters.refused:,}"),
        ("went around: the bookmark was not sealed", f"{counters.around:,}"),
        ("the cache has failed", f"{counters.failures:,}"),
        ("seconds", f"{found.seconds:.0f}"),
    ]


def _measure(report: Report, bench: Bench, topology: Topology, ids: list[UUID]) -> None:
    assert topology.cache
    calls = 50 if bench.quick else 200
    for placing in bench.placings:
        cache_races.begin(topology, topology.cache)
        with bench.placed(placing), _placed_too(bench, placing):
            _add(report, f"sync, {placing.name}", _sync(topology, ids, bench.rounds, calls))
            _add(report, f"async, {placing.name}", asyncio.run(_async(topology, ids, bench.rounds, calls)))


@contextmanager
def _placed_too(bench: Bench, placing: Placing) -> Iterator[None]:
    """Hold the cache to the servers' processor."""
    cache = bench.stack.processes()["cache"]
    before = os.sched_getaffinity(cache.pid)
    os.sched_setaffinity(cache.pid, {placing.server})
    try:
        yield
    finally:
        os.sched_setaffinity(cache.pid, before)


def _add(report: Report, where: str, times: Times) -> None:
    report.findings.append(Finding(f"{CACHED} against {PLAIN}, {where}", speed(times, CACHED, PLAIN), SPEED_BAR))
    report.figures += [(f"{arm}, {where}", microseconds(median_of(times, arm))) for arm in (CACHED, PLAIN)]


def _values(row: Any) -> list[Any]:
    return [str(each) for each in row]


def _sync(topology: Topology, ids: list[UUID], rounds: int, calls: int) -> Times:
    with Store(topology, pool_size=2) as store:

        def plain(call: int) -> Any:
            with store.tenant(TENANT) as session:
                return session.execute(QUERY, (ids[call % len(ids)],)).fetchone()

        def cached(call: int) -> Any:
            key = ids[call % len(ids)]
            with store.tenant(TENANT) as session:
                return session.cached("atom", key, lambda: _values(session.execute(QUERY, (key,)).fetchone()))

        for call in range(len(ids)):
            assert cached(call) == _values(plain(call))
        store.cache.counters.misses = 0
        found = measure({CACHED: cached, PLAIN: plain}, rounds=rounds, calls=calls)
        assert not store.cache.counters.misses
        return found


async def _async(topology: Topology, ids: list[UUID], rounds: int, calls: int) -> Times:
    async with AsyncStore(topology, pool_size=2) as store:

        async def plain(call: int) -> Any:
            async with store.tenant(TENANT) as session:
                return await (await session.execute(QUERY, (ids[call % len(ids)],))).fetchone()

        async def cached(call: int) -> Any:
            key = ids[call % len(ids)]
            async with store.tenant(TENANT) as session:

                async def load() -> Any:
                    return _values(await (await session.execute(QUERY, (key,))).fetchone())

                return await session.cached("atom", key, load)

        for call in range(len(ids)):
            assert await cached(call) == _values(await plain(call))
        store.cache.counters.misses = 0
        found = await measure_async({CACHED: cached, PLAIN: plain}, rounds=rounds, calls=calls)
        assert not store.cache.counters.misses
        return found
