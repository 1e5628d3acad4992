"""Changes of each sort under load, with somebody who holds the table now and then: who waits, and for how long."""

from __future__ import annotations

import itertools
import multiprocessing
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from typing import Any

import psycopg

from arms import Bar, Finding, Report, ratio
from bench import Bench
from kos import schema_change
from kos.tenancy import Store

CLAIM = "changes of schema under load"
CONTROL = "the same DDL in one go"
STALL, SLOW = 0.25, 0.05  # seconds that a statement may wait at most, and 999 of 1,000
ROWS, QUICK_ROWS = 400_000, 20_000
PROCESSES = 4
PACE = 1 / 550  # seconds between two statements of a process: together at least 2,000 per second
HOLD, GAP = 0.8, 0.4  # seconds that somebody reads the table in one transaction, and rests

TABLES = """
drop schema if exists loaded cascade;
create schema loaded;
create table loaded.customers (id bigint primary key, name text);
insert into loaded.customers select g, 'customer ' || g from generate_series(1, 1000) g;
create table loaded.orders (
  tenant_id bigint not null, id integer primary key, customer_id bigint not null, status text, amount integer not null,
  note text
);
insert into loaded.orders
select g % 50, g, 1 + g % 1000, 'new', g % 100, 'note ' || g from generate_series(1, {rows}) g;
"""
READ = "select customer_id, status from loaded.orders where id = %s"
WRITE = "update loaded.orders set status = 'seen' where id = %s"
READ_NEW = "select customer_id, state from loaded.orders where id = %s"
WRITE_NEW = "update loaded.orders set state = 'seen' where id = %s"


@dataclass(frozen=True)
class Kind:
    """A change, and what code of after says where that differs."""

    name: str
    change: str
    new: tuple[str, str] = (READ, WRITE)

    @property
    def naive(self) -> str:
        """Without what is said to kos."""
        return "\n".join(line for line in self.change.splitlines() if not line.startswith("--"))


KINDS = (
    Kind("column with a default", "alter table loaded.orders add column priority integer not null default 0"),
    Kind("column with a volatile default", "alter table loaded.orders add column token uuid default gen_random_uuid()"),
    Kind("NOT NULL", "alter table loaded.orders alter column status set not null"),
    Kind("CHECK", "alter table loaded.orders add constraint amount_positive check (amount >= 0)"),
    Kind(
        "foreign key",
        "alter table loaded.orders add constraint known_customer foreign key (customer_id) references loaded.customers",
    ),
    Kind("UNIQUE", "alter table loaded.orders add constraint one_each unique (tenant_id, id)"),
    Kind("index", "create index orders_customer on loaded.orders (customer_id)"),
    Kind("type", "alter table loaded.orders alter column amount type bigint"),
    Kind("renamed column", "alter table loaded.orders rename column status to state", (READ_NEW, WRITE_NEW)),
    Kind("dropped column", "alter table loaded.orders drop column note"),
)


@dataclass
class Seen:
    """What clients have met."""

    seconds: list[float]
    failed: list[str]
    lasted: float

    @property
    def longest(self) -> float:
        return max(self.seconds)

    @property
    def slow(self) -> float:
        """999 of 1,000 take no longer."""
        return sorted(self.seconds)[len(self.seconds) * 999 // 1000]


def run(bench: Bench) -> Report:
    rows = QUICK_ROWS if bench.quick else ROWS
    report = Report(CLAIM)
    rounds = 2
    for kind in KINDS:
        ours = [_round(bench, rows, kind, _online) for _ in range(rounds)]
        plain = [_round(bench, rows, kind, _naive) for _ in range(rounds)]
        report.findings += [
            Finding(f"{kind.name}: longest stall against {STALL * 1000:g} ms", _against(ours, STALL), Bar(at_most=1.0)),
            Finding(f"{kind.name}: p99.9 against {SLOW * 1000:g} ms", _p999(ours), Bar(at_most=1.0)),
            Finding(f"control: {kind.name}, {CONTROL}", _against(plain, STALL), is_control=True),
        ]
        rate = min(len(each.seconds) / each.lasted for each in ours)
        failed = sum(len(each.failed) for each in ours)
        report.figures.append(
            (f"{kind.name}: failed statements of {sum(len(each.seconds) for each in ours):,}", str(failed))
        )
        report.figures.append((f"{kind.name}: statements per second", f"{rate:,.0f}"))
        report.figures.append((f"{kind.name}: control's failed statements", str(sum(len(e.failed) for e in plain))))
    report.notes.append(
        f"{rows:,} rows; {PROCESSES} processes read and write single rows by their key, each at its pace. Somebody"
        f" reads the table in a transaction of {HOLD:g} s again and again, with {GAP:g} s between: what waits for that"
        " makes all others wait. Code of before runs until the change is started, code of after from then on."
    )
    return report


def _against(seen: list[Seen], limit: float) -> Any:
    return ratio([each.longest for each in seen], [limit] * len(seen))


def _p999(seen: list[Seen]) -> Any:
    return ratio([each.slow for each in seen], [SLOW] * len(seen))


Work = Callable[[Bench, Kind, Callable[[], None]], None]


def _online(bench: Bench, kind: Kind, switch: Callable[[], None]) -> None:
    with Store(bench.topology) as store:
        schema_change.start(store, schema_change.plan_change(store, kind.change))
        switch()
        schema_change.finish(store)


def _naive(bench: Bench, kind: Kind, switch: Callable[[], None]) -> None:
    with bench.superuser() as superuser:
        superuser.execute(kind.naive.encode())
    switch()


def _round(bench: Bench, rows: int, kind: Kind, work: Work) -> Seen:
    with bench.superuser() as superuser:
        superuser.execute("set client_min_messages = warning; set role kos_owner")
        superuser.execute(TABLES.format(rows=rows).encode())
        superuser.execute("reset role")
        superuser.execute("vacuum analyze loaded.orders")
    context = multiprocessing.get_context("spawn")
    over, switched, results = context.Event(), context.Event(), context.Queue()
    clients = [
        context.Process(target=_client, args=(bench.parameters(), rows, kind.new, over, switched, results, seed))
        for seed in range(PROCESSES)
    ]
    for each in clients:
        each.start()
    with _held(bench) as holding:
        time.sleep(1.0)  # all of them are at work
        holding.clear()
        holding.wait()  # the naive way must not slip through between
        began = time.perf_counter()
        work(bench, kind, switched.set)
        time.sleep(0.5)
        lasted = time.perf_counter() - began
    over.set()
    found = [results.get(timeout=60) for _ in clients]
    for each in clients:
        each.join()
    seconds = [taken for at, taken in itertools.chain(*(each[0] for each in found)) if at >= began]
    return Seen(seconds, list(itertools.chain(*(each[1] for each in found))), lasted)


def _client(
    parameters: dict[str, Any], rows: int, new: tuple[str, str], over: Event, switched: Event, results: Any, seed: int
) -> None:
    chance, taken, failed = random.Random(seed), [], []
    with psycopg.connect(**parameters, autocommit=True) as connection:
        due = time.perf_counter()
        while not over.is_set():
            read, write = new if switched.is_set() else (READ, WRITE)
            began = time.perf_counter()
            try:
                connection.execute(chance.choice((read, write)).encode(), (chance.randint(1, rows),))
            except psycopg.Error as error:
                failed.append(str(error))
            taken.append((began, time.perf_counter() - began))
            due = max(due + PACE, time.perf_counter() - 1.0)
            time.sleep(max(0.0, due - time.perf_counter()))
    results.put((taken, failed))


@contextmanager
def _held(bench: Bench) -> Iterator[threading.Event]:
    """Set whenever the holder begins to hold."""
    over, holding = threading.Event(), threading.Event()

    def hold() -> None:
        with bench.superuser() as superuser:
            while not over.is_set():
                with superuser.transaction():
                    superuser.execute("select count(*) from (select from loaded.orders limit 10) few")
                    holding.set()
                    over.wait(HOLD)
                over.wait(GAP)

    holder = threading.Thread(target=hold)
    holder.start()
    try:
        yield holding
    finally:
        over.set()
        holder.join()
