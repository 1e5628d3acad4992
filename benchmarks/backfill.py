"""A fill beside one UPDATE of the whole table, and beside how others fill: key by key, and by `LIMIT`.

The work is the same in all arms: a column gets the value of another one, of another type, in a table that has the
triggers of a change of type, so that old and new code could write meanwhile.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from arms import Bar, Finding, Report, Times, median_of, orders, ratio, speed
from bench import Bench, temporary_folder, value
from kos.schema_change.fill import fill_rows
from kos.schema_change.model import Fill, Placement
from kos.schema_change.throttle import Pace

CLAIM = "backfill"
CONTROL = "the LIMIT loop"
FILLED, BARE, BY_KEY, BY_LIMIT = "kos", "one UPDATE of the table", "by key, a row trigger firing", "the LIMIT loop"
PGROLL = "pgroll"
SIZES = (10_000, 100_000, 1_000_000)
LOOP_MOST = 100_000  # rows: each batch of the LIMIT loop reads all that were filled before
BATCH = 1000
BARE_BAR, BY_KEY_BAR, FLAT_BAR = Bar(at_least=0.80), Bar(at_least=2.0), Bar(at_least=0.80)
PGROLL_BAR, LOOP_BAR = Bar(at_least=3.0), Bar(at_least=2.0)

_TABLE = """
create table backfill.things (
  id bigint primary key, tenant_id uuid not null, name text not null, quantity integer not null,
  price numeric(12, 2) not null, score real not null, updated_at timestamptz not null default now());
insert into backfill.things
select g, md5((g % 10)::text)::uuid, 'name of ' || g, g, g / 100.0, g, now() from generate_series(1, {rows}) g
"""
_SHADOW = """
alter table backfill.things add column wider bigint;
create function backfill.sync() returns trigger language plpgsql as $$
begin
  if tg_op = 'INSERT' then
    if new.wider is not null then new.quantity := new.wider; else new.wider := new.quantity; end if;
  elsif new.wider is distinct from old.wider then
    new.quantity := new.wider;
  else
    new.wider := new.quantity;
  end if;
  return new;
end $$;
create trigger "!kos_bench_sync" before insert or update on backfill.things for each row
  when (record_image_ne(row(new.wider), row(new.quantity::bigint))) execute function backfill.sync();
create trigger "~kos_bench_sync" before insert or update on backfill.things for each row
  when (record_image_ne(row(new.wider), row(new.quantity::bigint))) execute function backfill.sync();
"""
_LOGGED = """
grant all on backfill.things to kos_owner;
select kos.log_table('backfill.things'::regclass, 'tenant_id')
"""
# As the best-known tool has it: a mark on each row that is to be filled, and two functions that fire for all of them.
_BY_KEY = """
alter table backfill.things add column wider bigint;
alter table backfill.things add column to_fill boolean default true;
create function backfill.up() returns trigger language plpgsql as $$
declare
  quantity backfill.things.quantity%type := new.quantity;
  path text;
begin
  select current_setting into path from current_setting('search_path');
  if path != 'public_02_wider' then
    new.wider = quantity;
    new.to_fill = false;
  end if;
  return new;
end $$;
create function backfill.down() returns trigger language plpgsql as $$
declare
  wider backfill.things.wider%type := new.wider;
  path text;
begin
  select current_setting into path from current_setting('search_path');
  if path = 'public_02_wider' then
    new.quantity = wider;
    new.to_fill = false;
  end if;
  return new;
end $$;
create trigger down before insert or update on backfill.things for each row execute function backfill.down();
create trigger up before insert or update on backfill.things for each row execute function backfill.up();
"""
_KEYS = """
with batch as (
  select id from backfill.things where to_fill = true and id > {last} order by id limit {batch} for no key update
), done as (
  update backfill.things set id = things.id from batch where things.id = batch.id returning things.id
)
select last_value(id) over () from done
"""
_LIMIT = """
update backfill.things set wider = quantity
 where id in (select id from backfill.things where wider is null limit {batch})
"""
_FORGET = """
delete from kos.logged_tables where relation = to_regclass('backfill.things');
drop table if exists backfill.things cascade;
drop function if exists backfill.sync(), backfill.up(), backfill.down();
truncate kos.pending_1, kos.pending_2
"""
# What the first step of a change leaves, in a database that has had none.
_FILLS = """
create table if not exists kos.change_fills (
  operation uuid not null, schema_name text not null, fill text not null, part text not null,
  next_page bigint not null, pages bigint not null, rows bigint not null, filenode bigint not null,
  up_to_key text[] not null default '{}', updated_at timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name, fill, part))
"""
_PGROLL_CHANGE = """
operations:
  - alter_column:
      table: things
      column: quantity
      type: bigint
      up: quantity
      down: quantity
"""
_MISSING = "select count(*) from backfill.things where wider is distinct from quantity"


@dataclass
class Site:
    """The benchmark's table as a placement, without a journal."""

    connection: psycopg.Connection[Any]
    placement: Placement = field(default_factory=lambda: Placement("main", "bench", "backfill"))
    operation: uuid.UUID = field(default_factory=uuid.uuid4)

    @contextmanager
    def transaction(self, owner: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        with self.connection.transaction():
            self.connection.execute(
                "select set_config('lock_timeout', '200ms', true), set_config('search_path', 'backfill, public', true)"
            )
            if owner:
                self.connection.execute(SQL("set local role {}").format(Identifier(owner)))
            yield self.connection


def run(bench: Bench) -> Report:
    report = Report(CLAIM)
    sizes = SIZES[:2] if bench.quick else SIZES
    flat: Times = {}
    with bench.superuser() as connection:
        connection.execute("create schema backfill; grant usage on schema backfill to kos_owner")
        connection.execute(_FILLS)
        for rows in sizes:
            logged, plain = (
                _measure(bench, connection, rows, LOGGED_ARMS),
                _measure(bench, connection, rows, PLAIN_ARMS),
            )
            flat[str(rows)] = [seconds / rows for seconds in logged[FILLED]]
            _tell(report, rows, logged, plain)
        least, most = str(sizes[0]), str(sizes[-1])
        what = f"rows per second of {sizes[-1]:,} against those of {sizes[0]:,}"
        report.findings.append(Finding(what, ratio(flat[least], flat[most]), FLAT_BAR))
        if shutil.which("pgroll"):
            _against_pgroll(report, bench, connection, sizes[1])
        connection.execute(_FORGET)
        connection.execute("drop schema backfill cascade")
    report.notes += _NOTES
    return report


_NOTES = [
    "All arms fill a bigint from an integer, in a table of seven columns and one index, beside the triggers that keep"
    " the two columns equal; every round has a table of its own, just vacuumed.",
    "By key: batches of 1,000, each in a transaction of its own, as pgroll writes them, with its two functions on every"
    " row. Its tables are not logged, nor are those of the fill that it is measured against: what capture takes is the"
    f" same for both. The LIMIT loop is only run up to {LOOP_MOST:,} rows: each of its batches reads what was filled"
    " before.",
    "Where pgroll is on the PATH it changes the type of the same column by itself: `pgroll start`, with all that it"
    " does before and after.",
]


def _tell(report: Report, rows: int, logged: Times, plain: Times) -> None:
    of, alone = f"{rows:,} rows, logged", f"{rows:,} rows"
    report.findings += [
        Finding(f"{FILLED} against {BARE}, {of}", speed(logged, FILLED, BARE), BARE_BAR),
        Finding(f"{FILLED} against batches {BY_KEY}, {alone}", speed(plain, FILLED, BY_KEY), BY_KEY_BAR),
    ]
    if BY_LIMIT in plain:
        bar = LOOP_BAR if rows == LOOP_MOST else None
        loop = speed(plain, FILLED, BY_LIMIT)
        report.findings.append(Finding(f"control: {FILLED} against {BY_LIMIT}, {alone}", loop, bar, is_control=True))
    for times, what in ((logged, of), (plain, alone)):
        report.figures += [(f"{arm}, {what}", f"{rows / median_of(times, arm):,.0f} rows/s") for arm in times]


def _measure(bench: Bench, connection: psycopg.Connection[Any], rows: int, arms: Arms) -> Times:
    times: Times = {arm: [] for arm in arms if arm != BY_LIMIT or rows <= LOOP_MOST}
    rounds = bench.rounds if rows <= SIZES[0] else max(3, bench.rounds // 4)
    for number, order in enumerate(orders(list(times), rounds + 1)):
        for arm in order:
            statements, work = arms[arm]
            _make(connection, rows, *statements)
            began = time.perf_counter()
            work(connection)
            taken = time.perf_counter() - began
            assert value(connection, _MISSING) == 0
            if number:
                times[arm].append(taken)
    return times


def _make(connection: psycopg.Connection[Any], rows: int, *then: str) -> None:
    """A table that has been written to the disk, so that nobody's write-back is counted as an arm's."""
    connection.execute(_FORGET)
    connection.execute(_TABLE.format(rows=rows))
    for statement in then:
        connection.execute(statement)
    connection.execute("vacuum (analyze) backfill.things")
    connection.execute("checkpoint")


def _fill(connection: psycopg.Connection[Any]) -> None:
    owner = str(value(connection, "select current_user::text"))
    needs = "record_image_ne(row(wider), row(quantity::bigint))"
    fill_rows(Site(connection), Fill("wider", "wider", "things", owner, needs, {"wider": "quantity::bigint"}), Pace())


def _update(connection: psycopg.Connection[Any]) -> None:
    connection.execute("update backfill.things set wider = quantity")


def _by_key(connection: psycopg.Connection[Any]) -> None:
    last = -1
    while row := connection.execute(_KEYS.format(last=last, batch=BATCH)).fetchone():
        (last,) = row


def _by_limit(connection: psycopg.Connection[Any]) -> None:
    while connection.execute(_LIMIT.format(batch=BATCH)).rowcount:
        pass


Arms = dict[str, tuple[tuple[str, ...], Callable[[psycopg.Connection[Any]], None]]]
LOGGED_ARMS: Arms = {FILLED: ((_SHADOW, _LOGGED), _fill), BARE: ((_SHADOW, _LOGGED), _update)}
PLAIN_ARMS: Arms = {FILLED: ((_SHADOW,), _fill), BY_KEY: ((_BY_KEY,), _by_key), BY_LIMIT: ((_SHADOW,), _by_limit)}


def _against_pgroll(report: Report, bench: Bench, connection: psycopg.Connection[Any], rows: int) -> None:
    times: Times = {FILLED: [], PGROLL: []}
    with temporary_folder() as folder:
        (folder / "02_wider.yaml").write_text(_PGROLL_CHANGE)
        for number, order in enumerate(orders(list(times), max(3, bench.rounds // 4) + 1)):
            for arm in order:
                taken = _with_pgroll(bench, connection, folder, rows) if arm == PGROLL else _alone(connection, rows)
                if number:
                    times[arm].append(taken)
    of = f"{rows:,} rows"
    report.findings.append(Finding(f"{FILLED} against {PGROLL}, {of}", speed(times, FILLED, PGROLL), PGROLL_BAR))
    report.figures += [(f"{arm}, {of}", f"{rows / median_of(times, arm):,.0f} rows/s") for arm in times]


def _alone(connection: psycopg.Connection[Any], rows: int) -> float:
    _make(connection, rows, _SHADOW)
    began = time.perf_counter()
    _fill(connection)
    return time.perf_counter() - began


def _with_pgroll(bench: Bench, connection: psycopg.Connection[Any], folder: Path, rows: int) -> float:
    _make(connection, rows)

    def pgroll(*arguments: str) -> None:
        known = {key: bench.parameters()[key] for key in ("host", "port", "dbname", "user", "password", "sslmode")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PGROLL_PG_URL": make_conninfo(**known)}
        done = subprocess.run(
            ["pgroll", "--schema", "backfill", *arguments], env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    pgroll("init")
    try:
        pgroll("baseline", "01_first", str(folder), "--yes")
        began = time.perf_counter()
        pgroll("start", str(folder / "02_wider.yaml"))
        taken = time.perf_counter() - began
        filled = 'select count(*) from backfill.things where "_pgroll_new_quantity" = quantity'
        assert value(connection, filled) == rows
    finally:
        connection.execute("drop schema if exists pgroll, backfill_01_first, backfill_02_wider cascade")
    return taken
