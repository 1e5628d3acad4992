"""Adopting 300 tables while a product works on them: how long its slowest statement waits."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from arms import Bar, Finding, Ratio, Report, ratio
from bench import Bench
from kos.adoption import Wanted, adopt_tables, plan, planned_adoption
from kos.tenancy import Store, install
from kos.topology.model import Topology

sys.path.append(str(Path(__file__).parents[1] / "tests"))

import product_load
import product_schema

CLAIM = "adopting 300 tables at work"
CONTROL = "all triggers in one transaction"
LIMIT = 0.25  # seconds that no statement may wait
HELD = 2.0  # seconds that somebody holds a table
HELD_TABLE = "hr_report"
DATABASE, TEMPLATE, OWNER = "bench_adoption", "bench_product", "bench_owner"
BAR = Bar(at_most=1.0)


def run(bench: Bench) -> Report:
    _make_template(bench)
    rounds = 2 if bench.quick else max(2, bench.rounds // 5)
    report = Report(CLAIM)
    for level, held in (("log", False), ("log", True), ("enforce", False), ("enforce", True)):
        where = f", level {level}" + (f", one of them held for {HELD:g} s" if held else "")
        seen = [_round(bench, _Adopting(level), held=held) for _ in range(rounds)]
        report.findings.append(Finding(f"slowest statement against {LIMIT * 1000:g} ms{where}", _against(seen), BAR))
        report.figures.append((f"slowest statement of {sum(load.statements for load, _ in seen):,}{where}",
                               f"{max(load.longest for load, _ in seen) * 1000:.0f} ms"))  # fmt: skip
        report.figures.append(
            (f"adoption of a table{where}", f"{sum(taken for _, taken in seen) / rounds * 1000:.0f} ms")
        )
    naive = [_round(bench, _all_at_once, held=True) for _ in range(rounds)]
    report.findings.append(
        Finding(f"control: {CONTROL}, one of them held for {HELD:g} s", _against(naive), None, is_control=True)
    )
    quiet = [_round(bench, _nothing, held=False) for _ in range(rounds)]
    report.figures.append(
        ("slowest statement while nothing is adopted", f"{max(x.longest for x, _ in quiet) * 1000:.0f} ms")
    )
    report.notes.append(
        "Two sessions read and write single rows of 132 tables all the while; the slowest statement of each"
        " round counts. Level enforce is put on tables that are logged, and the sessions enter the tenant of each row."
        " The control makes the same triggers with the same functions, in one transaction that waits for"
        " its locks."
    )
    return report


def _against(seen: list[tuple[product_load.Load, float]]) -> Ratio:
    return ratio([load.longest for load, _ in seen], [LIMIT] * len(seen))


def _make_template(bench: Bench) -> None:
    with bench.superuser() as superuser:
        superuser.execute(SQL("create role {}").format(Identifier(OWNER)))
        superuser.execute("create role kos_adopter noinherit")
        superuser.execute("grant kos_adopter to kos_operator")
        superuser.execute(SQL("grant {} to kos_adopter").format(Identifier(OWNER)))
        superuser.execute(SQL("create database {} owner kos_installer").format(Identifier(TEMPLATE)))
    with _connect(bench, TEMPLATE) as superuser, superuser.transaction():
        superuser.execute(SQL("grant create on database {} to {}").format(Identifier(TEMPLATE), Identifier(OWNER)))
        superuser.execute(SQL("grant create on schema public to {}").format(Identifier(OWNER)))
        superuser.execute(SQL("set local role {}").format(Identifier(OWNER)))
        for statement in product_schema.statements():
            superuser.execute(statement.encode())
    install(_topology(bench, TEMPLATE))
    with bench.superuser() as superuser:
        superuser.execute(SQL("grant kos_app to {}").format(Identifier(OWNER)))


def _topology(bench: Bench, database: str) -> Topology:
    control = bench.topology.control
    return replace(bench.topology, shards=(replace(control, primary=replace(control.primary, database=database)),))


def _connect(bench: Bench, database: str) -> psycopg.Connection[Any]:
    return psycopg.connect(**(bench.parameters() | {"dbname": database}), autocommit=True)


def _as_product(bench: Bench) -> psycopg.Connection[Any]:
    connection = _connect(bench, DATABASE)
    connection.execute(SQL("set role {}").format(Identifier(OWNER)))
    return connection


def _round(bench: Bench, work: Callable[[Bench, Topology], int], *, held: bool) -> tuple[product_load.Load, float]:
    """What the load has seen, and seconds per table."""
    topology, enters = _topology(bench, DATABASE), isinstance(work, _Adopting) and work.level == "enforce"
    with bench.superuser() as superuser:
        superuser.execute(
            SQL("create database {} owner kos_installer template {}").format(Identifier(DATABASE), Identifier(TEMPLATE))
        )
        superuser.execute(SQL("alter database {} set kos.stack = {}").format(Identifier(DATABASE), topology.stack))
    if enters:
        _Adopting("log")(bench, topology)
    tables = [f"{app}_{noun}" for app in product_schema.APPS for noun in product_schema.NOUNS]
    with (
        product_load.running(lambda: _as_product(bench), tables, enters=enters) as load,
        _holding(bench, held=held, enters=enters),
    ):
        began = time.perf_counter()
        count = work(bench, topology)
        taken = (time.perf_counter() - began) / count
    if load.failed:
        raise load.failed[0]
    assert load.written, "the load has to write"
    with bench.superuser() as superuser:
        superuser.execute(SQL("drop database {} with (force)").format(Identifier(DATABASE)))
    return load, taken


@contextmanager
def _holding(bench: Bench, *, held: bool, enters: bool) -> Iterator[None]:
    """Somebody has changed a table, and does not commit for a while."""
    ended = threading.Event()

    def hold() -> None:
        with _as_product(bench) as connection, connection.transaction():
            if enters:
                connection.execute(product_load.ENTER, (str(1 + 39 % product_schema.ACCOUNTS),))
            connection.execute(SQL("update {} set amount = 0 where id = 39").format(Identifier(HELD_TABLE)))
            ended.wait(HELD)

    thread = threading.Thread(target=hold)
    if held:
        thread.start()
    try:
        yield
    finally:
        ended.set()
        if held:
            thread.join()


@dataclass(frozen=True)
class _Adopting:
    """`kos adopt --all` to a level; called, it returns the number of tables."""

    level: str

    def __call__(self, bench: Bench, topology: Topology) -> int:
        wanted = Wanted(level=self.level)
        with Store(topology) as store:
            with store.operator() as operator:
                found = plan(operator, wanted, shard=topology.control.name)
            done = adopt_tables(store, planned_adoption(store, found, wanted))
        return len(done.enforced if self.level == "enforce" else done.adopted)


def _all_at_once(bench: Bench, topology: Topology) -> int:
    with _connect(bench, DATABASE) as superuser, superuser.transaction():
        tables = superuser.execute(
            "select c.oid::bigint from pg_class c join pg_namespace n on n.oid = c.relnamespace"
            " where c.relkind = 'r' and n.nspname = 'public' and c.relname = any (%s) order by c.relname",
            ([f"{app}_{noun}" for app in product_schema.APPS for noun in product_schema.NOUNS],),
        ).fetchall()
        for (table,) in tables:
            superuser.execute("select kos.log_table(%s::oid::regclass, 'account_id')", (table,))
    return len(tables)


def _nothing(bench: Bench, topology: Topology) -> int:
    time.sleep(HELD if bench.quick else 10 * HELD)
    return 1
