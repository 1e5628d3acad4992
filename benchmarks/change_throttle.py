"""A fill that a replica follows slowly: how far behind it is held, and how soon a change of limits is heeded."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import psycopg

from arms import Bar, Finding, Report, ratio
from bench import Bench, value
from kos import schema_change
from kos.schema_change import Limits
from kos.tenancy import Store
from replica import Replica, replica_of

CLAIM = "fill, throttled by a replica's lag"
CONTROL = "no throttle"
MOST_LAG = 500.0  # milliseconds
ROWS, QUICK_ROWS = 200_000, 100_000
SHARE = 0.04  # of the time that the replica's replay gets
BEAT, LOOK = 0.02, 0.05  # seconds between two commits that are looked for, and between two looks
HEED = 1.5  # seconds in which batches are counted after a change of limits
SLOW_RATE = 10.0  # rows per second

TABLE = """
drop schema if exists lagging cascade;
create schema lagging authorization kos_owner;
create table lagging.rows (id bigint primary key, body text not null);
insert into lagging.rows select g, repeat(md5(g::text), 30) from generate_series(1, {rows}) g;
alter table lagging.rows owner to kos_owner;
create table if not exists public.beat (number bigint not null);
truncate public.beat;
insert into public.beat values (0)
"""
CHANGE = """
-- kos: fill rows.size = length(body)
alter table lagging.rows add column size integer
"""
BATCHES = "select coalesce(max(next_page), 0) from kos.change_fills where schema_name = 'lagging'"


class Beats:
    """Commits of a number, and how long ago the oldest was that the replica does not show yet."""

    def __init__(self, bench: Bench, replica: Replica) -> None:
        self.largest = 0.0  # milliseconds
        self._committed = [0.0]  # when each number was
        self._over = threading.Event()
        self._threads = [
            threading.Thread(target=self._beat, args=(bench.superuser(),)),
            threading.Thread(target=self._look, args=(replica.connect(),)),
        ]

    def __enter__(self) -> Beats:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def _beat(self, primary: psycopg.Connection[Any]) -> None:
        with primary:
            while not self._over.wait(BEAT):
                primary.execute("update public.beat set number = %s", (len(self._committed),))
                self._committed.append(time.monotonic())

    def _look(self, replica: psycopg.Connection[Any]) -> None:
        with replica:
            while not self._over.wait(LOOK):
                now, newest = time.monotonic(), len(self._committed) - 1
                seen = int(value(replica, "select number from public.beat"))
                if seen < newest:
                    self.largest = max(self.largest, (now - self._committed[seen + 1]) * 1000)


def run(bench: Bench) -> Report:
    report = Report(CLAIM)
    rows = QUICK_ROWS if bench.quick else ROWS
    held, free, heeded = [], [], []
    seconds: dict[str, float] = {}
    with replica_of(bench) as replica:
        for _ in range(2 if bench.quick else max(3, bench.rounds // 5)):
            for lags, limits, name in ((held, Limits(max_lag_ms=MOST_LAG), "throttled"), (free, Limits(), CONTROL)):
                began = time.monotonic()
                lags.append(_largest_lag(bench, replica, rows, limits))
                seconds[name] = time.monotonic() - began
            heeded += _batches_until_heeded(bench, replica, rows)
        with bench.superuser() as superuser:
            superuser.execute("drop schema lagging cascade; drop table public.beat")
    _tell(report, rows, held, free, heeded)
    report.figures += [(f"seconds of a fill, {name}", f"{taken:.1f} s") for name, taken in seconds.items()]
    return report


def _tell(report: Report, rows: int, held: list[float], free: list[float], heeded: list[int]) -> None:
    worst, least = [max(held)] * len(held), [min(free)] * len(free)
    allowed = [MOST_LAG] * len(held)
    loses = f"control: {CONTROL}, the smallest of its rounds' largest lags"
    ends, once = "batches that end after limits were changed, at most", [1.0] * 2
    report.findings += [
        Finding(f"the largest lag of all rounds, against {MOST_LAG:.0f} ms", ratio(worst, allowed), Bar(at_most=1.0)),
        Finding(loses, ratio(least, allowed), Bar(at_least=1.0), is_control=True),
        Finding(ends, ratio([max(heeded)] * 2, once), Bar(at_most=1.0)),
    ]
    report.figures += [
        ("largest lag in each round, throttled", ", ".join(f"{lag:.0f} ms" for lag in held)),
        (f"largest lag in each round, {CONTROL}", ", ".join(f"{lag:.0f} ms" for lag in free)),
    ]
    report.notes.append(
        f"{rows:,} rows of a kilobyte get a column; the replica's replay is stopped for {1 - SHARE:.0%} of the time, in"
        f" slices of 50 ms. A session commits a number every {BEAT * 1000:.0f} ms, and another one looks for it on the"
        f" replica every {LOOK * 1000:.0f} ms: the lag is the age of the oldest commit that is not seen. Limits are"
        " changed as `kos change throttle` does it: a rate, and a pause."
    )


def _largest_lag(bench: Bench, replica: Replica, rows: int, limits: Limits) -> float:
    with _started(bench, replica, rows) as store, replica.slow(SHARE), Beats(bench, replica) as beats:
        schema_change.start(store, schema_change.plan_change(store, CHANGE, schemas=("lagging",)), limits=limits)
    return beats.largest


@contextmanager
def _started(bench: Bench, replica: Replica, rows: int) -> Iterator[Store]:
    """A table that the replica has; what is changed in the block is taken back."""
    with bench.superuser() as primary:
        primary.execute(TABLE.format(rows=rows))
        primary.execute("vacuum (analyze) lagging.rows")
        primary.execute("checkpoint")
        written = value(primary, "select pg_current_wal_flush_lsn()::text")
    with replica.connect() as reader:
        while not value(reader, f"select pg_last_wal_replay_lsn() >= '{written}'"):
            time.sleep(0.05)
    control = replace(bench.topology.control, replicas=(replica.server,))
    with Store(replace(bench.topology, shards=(control,))) as store:
        yield store
        schema_change.roll_back(store)


def _batches_until_heeded(bench: Bench, replica: Replica, rows: int) -> list[int]:
    """How many batches end after a rate was set, and after a pause was."""
    with _started(bench, replica, rows) as store, bench.superuser() as watcher, ThreadPoolExecutor(1) as pool:
        plan = schema_change.plan_change(store, CHANGE, schemas=("lagging",))
        started = pool.submit(schema_change.start, store, plan, limits=Limits(max_rate=rows / 10))
        while not value(watcher, BATCHES):
            time.sleep(0.01)
        schema_change.throttle(store, max_rate=SLOW_RATE)
        counts = [_batches(watcher)]
        schema_change.throttle(store, max_rate=0)
        # It rests for what the last batch has overdrawn, no longer than it would at any other rate.
        time.sleep(0.5)
        schema_change.throttle(store, paused=True)
        counts.append(_batches(watcher))
        schema_change.throttle(store, paused=False)
        started.result()
    return counts


def _batches(watcher: psycopg.Connection[Any]) -> int:
    """That end from now on, for a while."""
    seen, deadline = [value(watcher, BATCHES)], time.monotonic() + HEED
    while time.monotonic() < deadline:
        now = value(watcher, BATCHES)
        if now != seen[-1]:
            seen.append(now)
        time.sleep(0.002)
    return len(seen) - 1
