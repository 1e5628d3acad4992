"""Sealing while one old snapshot stays open, beside a queue whose rows are deleted when they are taken.

A queue's deleted rows can't be removed as long as somebody might see them, and every search for the next rows passes
all of them. The log deletes nothing: a seal asks for what came after the seal before it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import psycopg

from arms import Bar, Finding, Ratio, Report, ratio
from bench import Bench, logged_table, value

CLAIM = "sealing under an old snapshot"
CONTROL = "queue that deletes what it took"
BAR, CONTROL_BAR = Bar(at_least=0.80), Bar(at_most=0.40)
BATCH = 2_000
EVENTS, CONTROL_EVENTS = 5_000_000, 600_000
PARTS = 10  # of the first tenth and of the last: each part of the one is held against that of the other
UPKEEP_SECONDS = 5.0  # as often as the worker

_TABLES = """
create table sealing.yardstick (n integer, digest bytea);
create table sealing.ballast (x text);
alter table sealing.ballast alter x set storage plain;
create table sealing.queue (like kos.pending_1 including all, primary key (id));
create table sealing.taken (like kos.pending_1 including all);
"""
# More than the server's cache: one that is still empty takes whatever is written without writing anything out.
_BALLAST = "insert into sealing.ballast select repeat('x', 1000) from generate_series(1, %s)"
BALLAST_ROWS = 400_000
_WRITE = "insert into sealing.things (tenant_id, name) select %s, 'name ' || n from generate_series(1, %s) n"
_PUT = """
insert into sealing.queue (id, origin, transaction, tenant_id, shape_id, operation, key, image)
select nextval('kos.pending_ids'), 1, pg_current_xact_id(), %s, 1, 'I', array[kos.uuid_v7()::text],
       array[kos.uuid_v7()::text, '0', 'name ' || n]
  from generate_series(1, %s) n
"""
_TAKE = """
with found as (
  select id from sealing.queue order by id limit %s
), gone as (
  delete from sealing.queue q using found f where q.id = f.id returning q.*
), kept as (
  insert into sealing.taken select * from gone returning id
)
select count(*) from kept
"""

_YARDSTICK = """
insert into sealing.yardstick
select n, sha256(convert_to(repeat(n::text, 20), 'UTF8')) from generate_series(1, 2000) n
"""

Seconds = list[tuple[float, float]]
"""For each batch: what took it, and the yardstick after it."""


def run(bench: Bench) -> Report:
    events, queued = (200_000, 100_000) if bench.quick else (EVENTS, CONTROL_EVENTS)
    tenant = uuid4()
    with logged_table(bench) as writer, bench.superuser() as taker:
        writer.execute(_TABLES)
        writer.execute(_BALLAST, (BALLAST_ROWS,))
        with _old_snapshot(bench):
            queue = _run(
                taker,
                lambda: writer.execute(_PUT, (tenant, BATCH)),
                lambda: value(taker, _TAKE, BATCH),
                queued,
            )
        upkeep = _upkeep(taker)

        def seal() -> int:
            next(upkeep)
            return int(value(taker, "select kos.seal(%s)", tenant))

        with _old_snapshot(bench):
            sealing = _run(taker, lambda: writer.execute(_WRITE, (tenant, BATCH)), seal, events)
        assert value(taker, "select position from kos.newest_seal(%s)", tenant) == events
    return _report(sealing, queue, events, queued)


def _upkeep(connection: psycopg.Connection[Any]) -> Iterator[None]:
    """What the worker does beside sealing, where it is due; it is part of the sealer's time here."""
    due = 0.0
    while True:
        if (now := time.monotonic()) >= due:
            due = now + UPKEEP_SECONDS
            connection.execute("select kos.keep_log()")
        yield


@contextmanager
def _old_snapshot(bench: Bench) -> Iterator[None]:
    """Open throughout: what it may see is the same at the end as at the beginning."""
    with bench.superuser() as holder:
        holder.execute("begin isolation level repeatable read")
        before = value(holder, "select pg_current_snapshot()::text")
        yield
        assert value(holder, "select pg_current_snapshot()::text") == before
        holder.execute("rollback")


def _run(taker: psycopg.Connection[Any], put: Callable[[], object], take: Callable[[], int], events: int) -> Seconds:
    """Put a batch, take it, and so on; after each the same work as ever, to tell how fast the machine is meanwhile."""
    seconds: Seconds = []
    for _ in range(events // BATCH):
        put()
        began = time.perf_counter()
        assert take() == BATCH
        taken = time.perf_counter()
        taker.execute(_YARDSTICK)
        seconds.append((taken - began, time.perf_counter() - taken))
    return seconds


def _end_against_start(seconds: Seconds, *, by_yardstick: bool) -> Ratio:
    """The rate of the last tenth, as a multiple of that of the first."""
    tenth = len(seconds) // 10
    first, last = (_parts(part, by_yardstick) for part in (seconds[:tenth], seconds[-tenth:]))
    return ratio(first, last)


def _parts(seconds: Seconds, by_yardstick: bool) -> list[float]:
    """What a batch takes in each of so many parts: in seconds, or in yardsticks."""
    size = max(1, len(seconds) // PARTS)
    parts = [seconds[start : start + size] for start in range(0, len(seconds) - size + 1, size)]
    return [
        sum(taken for taken, _ in part) / (sum(yard for _, yard in part) if by_yardstick else len(part))
        for part in parts
    ]


def _report(sealing: Seconds, queue: Seconds, events: int, queued: int) -> Report:
    report = Report(CLAIM)
    ended = f"rate at the end of {events:,} events against the start"
    lost = _end_against_start(queue, by_yardstick=True)
    report.findings = [
        Finding(ended, _end_against_start(sealing, by_yardstick=True), BAR),
        Finding("the same by the clock alone", _end_against_start(sealing, by_yardstick=False)),
        Finding(f"control: {CONTROL}, {queued:,} rows", lost, CONTROL_BAR, is_control=True),
    ]
    for arm, seconds in (("kos.seal", sealing), (CONTROL, queue)):
        tenth = len(seconds) // 10
        for when, part in (("first", seconds[:tenth]), ("last", seconds[-tenth:])):
            report.figures.append((f"{arm}, {when} tenth", f"{_rate(part):,.0f} events/s"))
    report.notes.append(
        f"Batches of {BATCH:,} rows, on a server whose cache has been filled before: a statement writes them, then they"
        " are taken; only the taking counts, with the upkeep that the worker does every five seconds. One session holds"
        " a snapshot from before the first batch until after the last. After each batch the session inserts 2,000 rows"
        " into a table without index: the rates are held against that, since a run is long and the machine is not the"
        " same throughout. The queue takes its oldest rows by their key, copies and deletes them in one statement; it"
        " gets fewer rows because it would not come to an end."
    )
    return report


def _rate(seconds: Seconds) -> float:
    return BATCH * len(seconds) / sum(taken for taken, _ in seconds)
