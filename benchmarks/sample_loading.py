"""Loading a sample into a tenant, beside COPY of the same rows into tables without row security."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from itertools import islice
from uuid import UUID

from psycopg import sql

from arms import Bar, Finding, Report, Times, orders, ratio, speed
from bench import TENANT, Bench, empty_tables
from kos.knowledge import TENANT_TABLES
from kos.knowledge.samples import LoadPlan, list_datasets, run_load
from kos.knowledge.samples.dataset import Content
from kos.tenancy import Store, schema_files

CLAIM = "sample loading"
CONTROL = "inserts, one row at a time"
LOADED, COPIED = "kos sample load", "raw COPY"
BAR, CONTROL_BAR = Bar(at_least=0.5), Bar(at_most=0.5)
CONTROL_ROWS = 2_000


def run(bench: Bench) -> Report:
    content = _content("packages" if bench.quick else "cities")
    _make_plain_schema(bench)
    with Store(bench.topology) as store:
        dataset = next(each for each in list_datasets() if each.name == "cities")
        plan = LoadPlan(dataset, store.find(TENANT), content)
        arms: dict[str, Callable[[], int]] = {
            LOADED: lambda: sum(run_load(store, plan).rows.values()),
            COPIED: lambda: _copy(bench, content, plan.tenant.id),
            CONTROL: lambda: _insert(store, content),
        }
        times = _measure(bench, arms, rounds=max(2, bench.rounds // 4))
    report = Report(CLAIM)
    report.findings.append(Finding(f"{LOADED} against {COPIED}", speed(times, LOADED, COPIED), BAR))
    control = ratio(times[COPIED], times[CONTROL])
    report.findings.append(Finding(f"control: {CONTROL}, against {COPIED}", control, CONTROL_BAR, is_control=True))
    for arm, taken in times.items():
        report.figures.append((arm, f"{1 / sorted(taken)[len(taken) // 2]:,.0f} rows/s"))
    report.notes.append(
        f"{content.rows:,} rows of {len(content.tables)} tables with all their indexes and foreign keys, made by the"
        " same generator in both arms. COPY is the superuser's, in one transaction, into tables without row security"
        f" and guard; the control inserts {min(CONTROL_ROWS, content.tables[0].count):,} rows in one tenant session."
    )
    return report


def _content(name: str) -> Content:
    dataset = next(each for each in list_datasets() if each.name == name)
    return dataclasses.replace(dataset.read(None), objects=())


def _make_plain_schema(bench: Bench) -> None:
    """The shipped tables once more, with their keys and indexes, and nothing else."""
    tables = schema_files.TENANT_TABLES.files[0]
    with bench.superuser() as connection, connection.transaction():
        connection.execute("create schema plain")
        connection.execute("set local search_path = plain, public, pg_temp")
        connection.execute(tables.text)


def _measure(bench: Bench, arms: dict[str, Callable[[], int]], rounds: int) -> Times:
    """Seconds per row. Each arm begins with empty tables, and right after a checkpoint."""
    times: Times = {name: [] for name in arms}
    for order in orders(list(arms), rounds):
        for name in order:
            for schema in ("knowledge", "plain"):
                empty_tables(bench, schema, TENANT_TABLES)
            with bench.superuser() as connection:
                connection.execute("checkpoint")
            began = time.perf_counter()
            rows = arms[name]()
            times[name].append((time.perf_counter() - began) / rows)
    return times


def _copy(bench: Bench, content: Content, tenant: UUID) -> int:
    done = 0
    with bench.superuser() as connection, connection.transaction():
        for rows in content.tables:
            columns = sql.SQL(", ").join(map(sql.Identifier, ("tenant_id", *rows.columns)))
            statement = sql.SQL("copy plain.{} ({}) from stdin").format(sql.Identifier(rows.table), columns)
            with connection.cursor().copy(statement) as copy:
                for row in rows.read():
                    copy.write_row((tenant, *row))
                    done += 1
    return done


def _insert(store: Store, content: Content) -> int:
    rows = content.tables[0]
    statement = sql.SQL("insert into {} ({}) values ({})").format(
        sql.Identifier(rows.table),
        sql.SQL(", ").join(map(sql.Identifier, rows.columns)),
        sql.SQL(", ").join([sql.Placeholder()] * len(rows.columns)),
    )
    done = 0
    with store.tenant(TENANT, timeout=600) as session:
        for row in islice(rows.read(), CONTROL_ROWS):
            session.execute(statement, row)
            done += 1
    return done
