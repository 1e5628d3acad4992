"""One change over a thousand schemas of tenants: how long it takes, killed once in the middle and gone on with."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import LiteralString

import psycopg
from psycopg.sql import SQL, Identifier

from arms import Bar, Finding, Report, Worst, ratio
from bench import Bench, value
from kos import errors, schema_change
from kos.schema_change.model import BUILD
from kos.tenancy import Store

CLAIM = "one change over many tenant schemas"
CONTROL = "one connection, one schema after another"
SCHEMAS, QUICK_SCHEMAS = 1000, 100
LIMIT = 120.0  # seconds, on the machine that the bar was set for
ROWS = 100  # in each schema
PATTERN = "many_*"
ROUNDS = 2

TABLE = """
create schema {schema};
create table {schema}.orders (tenant_id bigint not null, id bigint primary key, status text);
insert into {schema}.orders select 1, g, 'new' from generate_series(1, {rows}) g;
"""
CHANGE = """
alter table orders add column priority integer not null default 0;
create index orders_status on orders (status);
"""
WRONG = """
select count(*) from pg_namespace n where nspname ~ '^many_' and not exists (
  select from pg_class t
    join pg_attribute a on a.attrelid = t.oid and a.attname = 'priority' and not a.attisdropped
    join pg_index i on i.indrelid = t.oid and i.indisvalid
    join pg_class c on c.oid = i.indexrelid and c.relname = 'orders_status'
   where t.relnamespace = n.oid and t.relname = 'orders')
"""
NAIVE = """
alter table {schema}.orders add column priority integer not null default 0;
create index orders_status on {schema}.orders (status);
"""


@dataclass
class Killed:
    """Seconds in all, and until it was killed; and how many schemas are not as they should be."""

    all: float
    until: float
    wrong: int


@dataclass
class Taken:
    """Seconds."""

    planning: float
    starting: float
    finishing: float

    @property
    def all(self) -> float:
        return self.planning + self.starting + self.finishing


def run(bench: Bench) -> Report:
    count = QUICK_SCHEMAS if bench.quick else SCHEMAS
    report = Report(CLAIM)
    ours: list[Taken] = []
    alone: list[Taken] = []
    killed: list[Killed] = []
    plain: list[tuple[float, int]] = []
    for _ in range(ROUNDS):
        _make(bench, count)
        ours.append(_changed(bench))
        _make(bench, count)
        alone.append(_changed(bench, parallel=1))
        _make(bench, count)
        killed.append(_killed(bench, count))
        _make(bench, count)
        plain.append(_naive(bench, count))
    _drop(bench)
    longest = max(each.all for each in killed)
    failed = f"control: {CONTROL}, killed at the half and run again: schemas that fail"
    at_once, one = [each.all for each in ours], [each.all for each in alone]
    report.findings += [
        Finding(f"{count:,} schemas, killed once and gone on with", Worst(longest, " s"), Bar(at_most=LIMIT)),
        Finding(
            "of these, not changed, or with an index that is not valid",
            Worst(max(each.wrong for each in killed)),
            Bar(at_most=0),
        ),
        Finding(failed, Worst(min(failed for _, failed in plain)), Bar(at_least=1), is_control=True),
        Finding(f"time, four schemas at a time, against kos with {CONTROL}", ratio(at_once, one)),
        Finding(f"time, against the naive DDL with {CONTROL}", ratio(at_once, [taken for taken, _ in plain])),
    ]
    report.figures += [
        ("planning", f"{median(each.planning for each in ours):.1f} s"),
        ("start", f"{median(each.starting for each in ours):.1f} s"),
        ("finish", f"{median(each.finishing for each in ours):.1f} s"),
        ("all of it", f"{median(at_once):.1f} s"),
        ("all of it, killed once and gone on with", f"{median(each.all for each in killed):.1f} s"),
        ("of that, until it was killed", f"{median(each.until for each in killed):.1f} s"),
        (f"all of it, {CONTROL}", f"{median(one):.1f} s"),
        (f"the naive DDL, {CONTROL}", f"{median(taken for taken, _ in plain):.1f} s"),
    ]
    report.notes += _NOTES
    return report


_NOTES = [
    f"One added column with a default and one index, in schemas of {ROWS} rows, {ROUNDS} times. What is killed is a"
    " process of `kos change start`, by SIGKILL, when half of the schemas have their index; then `kos change start` and"
    " `kos change finish` are run. Its time counts from the first command's begin to the last one's end, with planning,"
    " the start of three processes, and the wait until the killed one's sessions are gone.",
    "The naive DDL is `ALTER TABLE` and `CREATE INDEX`, both of a schema in one transaction. It has no plan, no"
    " journal and no way back, and locks each table against writers while its index is built. Killed at the half and"
    " run again, it fails where it has been.",
]


def _drop(bench: Bench) -> None:
    with bench.superuser() as superuser:
        for (name,) in superuser.execute("select nspname from pg_namespace where nspname ~ '^many_'").fetchall():
            superuser.execute(SQL("drop schema {} cascade").format(Identifier(name)))


def _make(bench: Bench, count: int) -> None:
    _drop(bench)
    with bench.superuser() as superuser:
        superuser.execute("set client_min_messages = warning")
        for number in range(count):
            with superuser.transaction():
                superuser.execute("set local role kos_owner")
                superuser.execute(_in(number, TABLE))
        superuser.execute("vacuum (analyze) pg_class, pg_attribute, pg_index, pg_depend")
        superuser.execute("checkpoint")


def _in(number: int, text: LiteralString) -> bytes:
    return SQL(text).format(schema=Identifier(f"many_{number:04}"), rows=ROWS).as_bytes()


def _naive(bench: Bench, count: int) -> tuple[float, int]:
    """Seconds, and how many schemas fail when it is run again after the half."""
    began, failed = time.perf_counter(), 0
    with bench.superuser() as superuser:
        for number in range(count):
            superuser.execute(_in(number, NAIVE))
    taken = time.perf_counter() - began
    _make(bench, count)
    with bench.superuser() as superuser:
        for number in (*range(count // 2), *range(count)):
            try:
                superuser.execute(_in(number, NAIVE))
            except psycopg.errors.DuplicateColumn:
                failed += 1
    return taken, failed


def _changed(bench: Bench, parallel: int = 4) -> Taken:
    marks = [time.perf_counter()]
    with Store(bench.topology) as store:
        plan = schema_change.plan_change(store, CHANGE, schemas=(PATTERN,), parallel=parallel)
        marks.append(time.perf_counter())
        schema_change.start(store, plan)
        marks.append(time.perf_counter())
        schema_change.finish(store)
        marks.append(time.perf_counter())
    return Taken(*(later - before for before, later in pairwise(marks)))


def _killed(bench: Bench, count: int) -> Killed:
    file = bench.stack.folder / "priority.sql"
    file.write_text(CHANGE, encoding="utf-8")
    began = time.perf_counter()
    child = _command(bench, "start", str(file), "--schema", PATTERN, "--yes")
    with Store(bench.topology) as store:
        while _built(store) < count // 2:
            assert child.poll() is None, child.communicate()
            time.sleep(0.1)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    until = time.perf_counter() - began
    for words in (("start", str(file), "--schema", PATTERN, "--yes"), ("finish", "--yes")):
        child = _command(bench, *words)
        said = child.communicate()
        assert child.returncode == 0, said
    taken = time.perf_counter() - began
    with bench.superuser() as superuser:
        return Killed(taken, until, value(superuser, WRONG))


def _built(store: Store) -> int:
    """How many schemas have their index, as the status says."""
    try:
        return schema_change.change_status(store).counts.get(f"{BUILD} done", 0)
    except errors.NoChange:
        return 0


def _command(bench: Bench, *words: str) -> subprocess.Popen[bytes]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "KOS_CONFIG": "embedded"}
    return subprocess.Popen(
        [sys.executable, "-m", "kos", "change", *words],
        cwd=bench.stack.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
