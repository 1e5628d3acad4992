"""Capture beside none, and beside what people write by hand: a row trigger that keeps both images as jsonb."""

from __future__ import annotations

import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from arms import Bar, Finding, Report, Times, cost, median_of, orders, ratio
from bench import Bench, temporary_folder
from kos.tenancy import Store, create_tenant
from kos.topology.embedded import postgres_tool

CLAIM = "capture"
BARE, CAPTURED, CONTROL = "no capture", "capture", "row trigger that writes jsonb"
LEAST = "the least that a statement trigger can do"
TABLES = {BARE: "bare", CAPTURED: "captured", CONTROL: "by_row"}
SINGLE_BAR = Bar(at_least=0.80)
BULK_BAR, WIDE_BAR, CONTROL_BAR = Bar(at_most=2.5), Bar(at_most=3.0), Bar(at_most=0.80)
ROWS = 100_000
CLIENTS, SECONDS = 8, 1

_SCHEMA = """
create schema capture;
create table capture.events (
  id bigint generated always as identity primary key, tenant_id uuid not null, table_name text not null,
  operation text not null, before jsonb, after jsonb, at timestamptz not null default now());
create index on capture.events (tenant_id, id);
create function capture.by_row() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into capture.events (tenant_id, table_name, operation, before, after)
  values (new.tenant_id, tg_table_name, tg_op, to_jsonb(old), to_jsonb(new));
  return null;
end $$;
"""
_LEAST = """
create table capture.kept (
  tenant_id uuid, transaction xid8 default pg_current_xact_id(), key uuid, quantity integer, score real);
create index on capture.kept (tenant_id, transaction);
create function capture.keep() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into capture.kept (tenant_id, key, quantity, score) select tenant_id, id, quantity, score from new_rows;
  return null;
end $$;
create trigger keep after update on capture.narrow_least
  referencing old table as old_rows new table as new_rows for each statement execute function capture.keep()
"""
_NARROW = """
create table capture.{table} (
  id uuid primary key default gen_random_uuid(), tenant_id uuid not null, name text not null, quantity integer not null,
  price numeric(12, 2) not null, score real not null, updated_at timestamptz not null default now());
insert into capture.{table} (id, tenant_id, name, quantity, price, score)
select md5(g::text)::uuid, md5((g % 10)::text)::uuid, 'name of ' || g, g, g / 100.0, g from generate_series(1, {rows}) g
"""
_WIDE = """
create table capture.{table} (
  like knowledge.atoms including defaults including constraints including indexes, embedding vector(384));
insert into capture.{table} (tenant_id, id, atom_type, name, value, number_value, embedding)
select md5((g % 10)::text)::uuid, md5(g::text)::uuid, 'Point', 'name ' || g, 'value ' || g, g,
       (select array_agg(random())::vector from generate_series(1, 384 + 0 * g)) from generate_series(1, {rows}) g
"""
_ATOMS = """
insert into atoms (id, atom_type, name, value, number_value)
select md5(g::text)::uuid, 'Point', 'name ' || g, 'value ' || g, g from generate_series(1, %s) g
"""
_BY_ROW = "create trigger by_row after update on capture.{table} for each row execute function capture.by_row()"
_EMPTY = "truncate capture.events, capture.kept, kos.pending_1, kos.pending_2"


@dataclass(frozen=True)
class Bulk:
    """An UPDATE of all rows of a table, and the bar of its cost."""

    what: str
    table: str
    prefix: str
    statement: str
    bar: Bar


@dataclass(frozen=True)
class Single:
    """One row per transaction: a script for pgbench in each arm, and who runs it."""

    what: str
    scripts: dict[str, str]
    parameters: dict[str, Any]
    rows: int


BULKS = (
    Bulk("UPDATE of {rows:,} rows", _NARROW, "narrow", "update capture.{table} set score = score + 1", BULK_BAR),
    Bulk(
        "UPDATE of {rows:,} atoms with an untouched vector(384)", _WIDE, "wide",
        "update capture.{table} set number_value = number_value + 1", WIDE_BAR,
    ),
)  # fmt: skip


def run(bench: Bench) -> Report:
    rows = ROWS // 10 if bench.quick else ROWS
    report = Report(CLAIM)
    with bench.superuser() as connection:
        connection.execute(_SCHEMA)
        for bulk in BULKS:
            for arm in TABLES:
                _make(connection, bulk, arm, rows)
        connection.execute(_NARROW.format(table="narrow_least", rows=rows))
        connection.execute(_LEAST)
        connection.execute("vacuum (analyze) capture.narrow_least")
        single = "update capture.narrow_{} set score = :row, quantity = quantity + 1 where id = md5(:row::text)::uuid;"
        scripts = {arm: single.format(table) for arm, table in (*TABLES.items(), (LEAST, "least"))}
        _single(report, bench, Single("single-row updates", scripts, bench.parameters(), rows))
        _single(report, bench, _in_sessions(bench, connection, rows))
        for bulk in BULKS:
            _bulk(report, bench, connection, bulk, rows)
    report.notes += _NOTES
    return report


_NOTES = [
    "A single row: pgbench with 8 clients, prepared, one UPDATE by key in a transaction of its own, which waits for its"
    " commit to be on disk; ten tenants. The same through kos: BEGIN, kos.enter(), UPDATE of an atom, COMMIT, in a"
    " schema with its guard and row security, with the capture of atoms and without. No worker runs meanwhile: sealing"
    " is measured on its own.",
    "The control is an AFTER ROW trigger that writes `to_jsonb(old)` and `to_jsonb(new)` to a table of two indexes.",
]


def _make(connection: psycopg.Connection[Any], bulk: Bulk, arm: str, rows: int) -> None:
    table = f"{bulk.prefix}_{TABLES[arm]}"
    connection.execute(bulk.table.format(table=table, rows=rows))
    if arm == CAPTURED:
        connection.execute("select kos.log_table(%s::regclass, 'tenant_id')", (f"capture.{table}",))
    elif arm == CONTROL:
        connection.execute(_BY_ROW.format(table=table))
    connection.execute(f"vacuum (analyze) capture.{table}")


def _in_sessions(bench: Bench, connection: psycopg.Connection[Any], rows: int) -> Single:
    """The application's way: a transaction that enters a tenant and updates one of its atoms. Schema tier, so that each
    arm has its own tables; one of them without capture, and with all else."""
    with Store(bench.topology) as store:
        for arm in (BARE, CAPTURED):
            tenant = create_tenant(store, f"capture-{TABLES[arm].replace('_', '-')}", "schema")
            with store.tenant(tenant.name, timeout=600) as session:
                session.execute(_ATOMS, (rows,))
            if arm == BARE:
                for operation in ("insert", "update", "delete", "truncate"):
                    connection.execute(f"drop trigger kos_capture_{operation} on {tenant.schema}.atoms")
            connection.execute(f"vacuum (analyze) {tenant.schema}.atoms")
    script = "begin;\nselect kos.enter('capture-{}');\n{}\ncommit;"
    update = "update atoms set number_value = :row, version = version + 1 where id = md5(:row::text)::uuid;"
    scripts = {arm: script.format(TABLES[arm], update) for arm in (BARE, CAPTURED)}
    app = bench.topology.control.app
    assert app.password is not None
    return Single(
        "transactions that enter and update an atom", scripts, bench.parameters(app.user, app.password.read()), rows
    )


def _single(report: Report, bench: Bench, single: Single) -> None:
    rates: dict[str, list[float]] = {arm: [] for arm in single.scripts}
    with temporary_folder() as folder, bench.superuser() as connection:
        for number, order in enumerate(orders(list(rates), bench.rounds + 1)):
            for arm in order:
                connection.execute(_EMPTY)
                rate = _pgbench(single, folder, arm)
                if number:
                    rates[arm].append(rate)
    claimed = ratio(rates[CAPTURED], rates[BARE])
    report.findings.append(Finding(f"{CAPTURED} against {BARE}, {single.what} per second", claimed, SINGLE_BAR))
    for arm in (CONTROL, LEAST):
        if arm in rates:
            beside = ratio(rates[arm], rates[BARE])
            report.findings.append(Finding(f"control: {arm}, against {BARE}, {single.what}", beside, is_control=True))
    for arm, found in rates.items():
        report.figures.append((f"{arm}, {single.what}", f"{sorted(found)[len(found) // 2]:,.0f}/s"))


def _pgbench(single: Single, folder: Path, arm: str) -> float:
    """Transactions per second of one run, its connections not counted."""
    script = folder / "script.sql"
    script.write_text(f"\\set row random(1, {single.rows})\n{single.scripts[arm]}\n")
    at = single.parameters
    address = ["-h", at["host"], "-p", str(at["port"]), "-U", at["user"]]
    run = subprocess.run(
        [postgres_tool("pgbench"), "-n", "-M", "prepared", "-c", str(CLIENTS), "-T", str(SECONDS),
         *address, "-f", script, at["dbname"]],
        env={"PATH": os.environ["PATH"], "PGPASSWORD": at["password"]}, capture_output=True, text=True, check=True,
    )  # fmt: skip
    line = next(line for line in run.stdout.splitlines() if line.startswith("tps"))
    return float(line.split()[2])


def _bulk(report: Report, bench: Bench, connection: psycopg.Connection[Any], bulk: Bulk, rows: int) -> None:
    what = bulk.what.format(rows=rows)
    times: Times = {arm: [] for arm in TABLES}
    for number, order in enumerate(orders(list(TABLES), max(3, bench.rounds // 4) + 1)):
        for arm in order:
            taken = _update(connection, f"{bulk.prefix}_{TABLES[arm]}", bulk.statement)
            if number:
                times[arm].append(taken)
    report.findings += [
        Finding(f"{CAPTURED} against {BARE}, {what}", cost(times, CAPTURED, BARE), bulk.bar),
        Finding(f"{CAPTURED} against the control, {what}", cost(times, CAPTURED, CONTROL), CONTROL_BAR),
        Finding(f"control: {CONTROL}, against {BARE}, {what}", cost(times, CONTROL, BARE), is_control=True),
    ]
    report.figures += [(f"{arm}, {what}", f"{median_of(times, arm):.2f} s") for arm in TABLES]


def _update(connection: psycopg.Connection[Any], table: str, statement: str) -> float:
    """Seconds of one UPDATE of all rows, which finds no dead rows and nothing to write back."""
    connection.execute(_EMPTY)
    connection.execute(f"vacuum capture.{table}")
    connection.execute("checkpoint")
    began = time.perf_counter()
    connection.execute(statement.format(table=table))
    return time.perf_counter() - began
