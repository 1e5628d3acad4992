"""One change over a thousand schemas of tenants: how long it takes, killed once and gone on with."""

from __future__ import annotations

import time
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from arms import Bar, Finding, Report, ratio
from bench import Bench
from kos import schema_change
from kos.tenancy import Store

CLAIM = "one change over many tenant schemas"
CONTROL = "one connection, one schema after another"
SCHEMAS, QUICK_SCHEMAS = 1000, 100
BAR = Bar(at_most=1.0)
LIMIT = 120.0  # seconds, on the machine that the bar was set for
ROWS = 100  # in each schema

TABLE = """
create schema {schema};
create table {schema}.orders (tenant_id bigint not null, id bigint primary key, status text);
insert into {schema}.orders select 1, g, 'new' from generate_series(1, %s) g;
"""
CHANGE = """
alter table orders add column priority integer not null default 0;
create index orders_status on orders (status);
"""
NAIVE = """
alter table {schema}.orders add column priority integer not null default 0;
create index orders_status on {schema}.orders (status);
"""


class Killed(Exception):
    """Stands for the end of the process: whatever was not committed is gone."""


def run(bench: Bench) -> Report:
    count = QUICK_SCHEMAS if bench.quick else SCHEMAS
    report = Report(CLAIM)
    ours, plain, killed = [], [], []
    for _ in range(2):
        _make(bench, count)
        began = time.perf_counter()
        _naive(bench, count)
        plain.append(time.perf_counter() - began)
        _make(bench, count)
        ours.append(_changed(bench, kill_after=None))
        _make(bench, count)
        killed.append(_changed(bench, kill_after=count // 2))
    _drop(bench)
    report.findings.append(Finding(f"time for {count:,} schemas, as a multiple of the control's", ratio(ours, plain)))
    report.findings.append(
        Finding(f"control: {CONTROL}, the naive DDL, against itself", ratio(plain, plain), is_control=True)
    )
    against = ratio(killed, [LIMIT * count / SCHEMAS] * len(killed))
    report.findings.append(Finding(f"killed once and gone on with, against {LIMIT:.0f} s per 1,000", against, BAR))
    report.figures += [
        (f"{count:,} schemas, start and finish", f"{max(ours):.1f} s"),
        (f"{count:,} schemas, killed once and gone on with", f"{max(killed):.1f} s"),
        (f"{count:,} schemas, {CONTROL}", f"{max(plain):.1f} s"),
    ]
    report.notes.append(
        f"One added column with a default and one index, in schemas of {ROWS} rows. The control has no plan, no"
        " journal, no way back, and locks each table against writers while its index is built; it does not"
        " survive being killed."
    )
    return report


def _connect(bench: Bench) -> psycopg.Connection[Any]:
    return bench.superuser()


def _drop(bench: Bench) -> None:
    with _connect(bench) as superuser:
        for (name,) in superuser.execute("select nspname from pg_namespace where nspname ~ '^many_'").fetchall():
            superuser.execute(SQL("drop schema {} cascade").format(Identifier(name)))


def _make(bench: Bench, count: int) -> None:
    _drop(bench)
    with _connect(bench) as superuser:
        superuser.execute("set client_min_messages = warning")
        for number in range(count):
            with superuser.transaction():
                superuser.execute("set local role kos_owner")
                superuser.execute(SQL(TABLE % ROWS).format(schema=Identifier(f"many_{number:04}")))


def _naive(bench: Bench, count: int) -> None:
    with _connect(bench) as superuser:
        for number in range(count):
            with superuser.transaction():
                superuser.execute(SQL(NAIVE).format(schema=Identifier(f"many_{number:04}")))


def _changed(bench: Bench, *, kill_after: int | None) -> float:
    """Seconds from planning to the end."""
    began = time.perf_counter()
    with Store(bench.topology) as store:
        plan = schema_change.plan_change(store, CHANGE, schemas=("many_*",))
        if kill_after is None:
            schema_change.start(store, plan)
        else:
            try:
                schema_change.start(store, plan, _Killer(kill_after))
            except Killed:
                schema_change.start(store, plan)
        schema_change.finish(store)
    return time.perf_counter() - began


class _Killer:
    """A progress that ends the run at a placement."""

    def __init__(self, at: int) -> None:
        self._at = at

    def __call__(self, what: str, done: int, total: int | None) -> None:
        if done == self._at:
            raise Killed
