"""A fill beside one UPDATE of the whole table, and beside how others fill: key by key, and by `LIMIT`.

The work is the same in all arms: a column gets the value of another one, of another type, in a table that has the
triggers of a change of type, so that old and new code could write meanwhile. kos does it by `start`; for the one UPDATE
and for the LIMIT loop it has begun the same change, made its triggers, and rests before its first batch.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo

from arms import Bar, Finding, Ratio, Report, Times, median_of, orders, ratio, speed
from bench import Bench, temporary_folder, value
from kos import errors
from kos.schema_change import Limits, change_status, plan_change, roll_back, start
from kos.schema_change.throttle import PAUSED
from kos.tenancy import Store

CLAIM = "backfill"
CONTROL = "the LIMIT loop"
FILLED, BARE, BY_KEY, BY_LIMIT = "kos", "one UPDATE of the table", "by key, a row trigger firing", "the LIMIT loop"
PGROLL, WHOLE = "pgroll", "kos, plan and start"
SIZES = (10_000, 100_000, 1_000_000)
LOOP_MOST = 100_000  # rows: each batch of the LIMIT loop reads all that were filled before
BATCH = 1000
BARE_BAR, BY_KEY_BAR, FLAT_BAR = Bar(at_least=0.80), Bar(at_least=2.0), Bar(at_least=0.80)
PGROLL_BAR, LOOP_BAR = Bar(at_least=3.0), Bar(at_least=2.0)

CHANGE = "alter table backfill.things alter column quantity type bigint"
_TABLE = """
create table backfill.things (
  id bigint primary key, tenant_id uuid not null, name text not null, quantity integer not null,
  price numeric(12, 2) not null, score real not null, updated_at timestamptz not null default now());
insert into backfill.things
select g, md5((g % 10)::text)::uuid, 'name of ' || g, g, g / 100.0, g, now() from generate_series(1, {rows}) g;
alter table backfill.things owner to kos_owner
"""
_LOGGED = "set role kos_owner; select kos.log_table('backfill.things'::regclass, 'tenant_id'); reset role"
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
update backfill.things set quantity_new = quantity
 where id in (select id from backfill.things where quantity_new is null limit {batch})
"""
_FORGET = """
delete from kos.logged_tables where relation = to_regclass('backfill.things');
drop table if exists backfill.things cascade;
drop function if exists backfill.up(), backfill.down();
truncate kos.pending_1, kos.pending_2
"""
# From when the fill was noted, to when the placement was, after the last batch's commit.
_FILL_SECONDS = """
select extract(epoch from p.updated_at - min(f.started_at))::double precision
  from kos.change_fills f join kos.change_placements p using (operation, schema_name)
 where schema_name = 'backfill' and p.phase = 'fill' and p.state = 'done' group by p.updated_at
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
_MISSING = "select count(*) from backfill.things where quantity_new is distinct from quantity"
_MISSING_BY_KEY = _MISSING.replace("quantity_new", "wider")


@dataclass
class Ground:
    """Where all arms work; `starts` are seconds of plan and start, beside those of the fill alone."""

    bench: Bench
    store: Store
    connection: psycopg.Connection[Any]
    starts: dict[int, list[float]] = field(default_factory=dict)

    def make(self, rows: int, *then: str) -> None:
        """A table that has been written to the disk, so that nobody's write-back is counted as an arm's."""
        self.connection.execute(_FORGET)
        self.connection.execute(_TABLE.format(rows=rows).encode())
        for statement in then:
            self.connection.execute(statement.encode())
        self.connection.execute("vacuum (analyze) backfill.things")
        self.connection.execute("checkpoint")

    @contextmanager
    def at_rest(self) -> Iterator[None]:
        """The change is begun, its column and triggers are there, and nothing is filled."""
        plan = plan_change(self.store, CHANGE)
        with ThreadPoolExecutor(1) as pool:
            started = pool.submit(start, self.store, plan, limits=Limits(paused=True))
            while not (_is_open(self.store) and change_status(self.store).placements[0].doing == PAUSED):
                assert not started.done(), started.result()
                time.sleep(0.02)
            yield
            assert value(self.connection, _MISSING) == 0
            roll_back(self.store)
            assert isinstance(started.exception(), errors.ChangeStopped)


def _is_open(store: Store) -> bool:
    try:
        change_status(store)
    except errors.NoChange:
        return False
    return True


Arms = Mapping[str, Callable[[Ground], float]]


def run(bench: Bench) -> Report:
    report = Report(CLAIM)
    sizes = SIZES[:2] if bench.quick else SIZES
    flat: Times = {}
    with bench.superuser() as connection, Store(bench.topology) as store:
        connection.execute("create schema backfill authorization kos_owner")
        ground = Ground(bench, store, connection)
        for rows in sizes:
            logged = _measure(ground, rows, {FILLED: _fill, BARE: _update}, _LOGGED)
            starts = median(ground.starts.pop(rows))
            plain = _measure(ground, rows, {FILLED: _fill, BY_KEY: _by_key, BY_LIMIT: _by_limit})
            flat[f"{rows:,}"] = [seconds / rows for seconds in logged[FILLED]]
            _tell(report, rows, logged, plain)
            report.figures.append((f"plan and start as a whole, {rows:,} rows, logged", f"{starts:.2f} s"))
        for less in list(flat)[:-1]:
            most = f"{sizes[-1]:,}"
            what = f"rows per second of {most}, logged, against those of {less}"
            report.findings.append(Finding(what, _medians(flat[less], flat[most]), FLAT_BAR))
        if shutil.which(PGROLL):
            _against_pgroll(report, ground, sizes[-1])
        connection.execute(_FORGET)
        connection.execute("drop schema backfill cascade")
    report.notes += _NOTES
    return report


def _medians(numerators: list[float], denominators: list[float]) -> Ratio:
    """Of sizes that have other numbers of rounds, the first ones of each."""
    rounds = min(len(numerators), len(denominators))
    return ratio(numerators[:rounds], denominators[:rounds])


_NOTES = [
    "All arms fill a bigint from an integer, in a table of seven columns and one index, beside the triggers that keep"
    " the two columns equal; every round has a table of its own, just vacuumed. For kos it is `start` of"
    f" `{CHANGE}`, of which the fill is measured: from when it is noted until the placement is noted as filled, after"
    " its last commit. What plan and start take as a whole stands beside it: connections, journal, column and triggers"
    " are some tenths of a second, whatever the table's size.",
    "By key: batches of 1,000, each in a transaction of its own, as pgroll writes them, with its two functions on every"
    " row. Its tables are not logged, nor are those of the fill that it is measured against: what capture takes is the"
    f" same for both. The LIMIT loop is only run up to {LOOP_MOST:,} rows: each of its batches reads what was filled"
    " before.",
    "Where pgroll is on the PATH it changes the type of the same column by itself, `pgroll start`, against plan and"
    " start of kos as a whole.",
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


def _measure(ground: Ground, rows: int, arms: Arms, *setup: str) -> Times:
    times: Times = {arm: [] for arm in arms if arm != BY_LIMIT or rows <= LOOP_MOST}
    rounds = ground.bench.rounds if rows <= SIZES[0] else max(3, ground.bench.rounds // 4)
    for number, order in enumerate(orders(list(times), rounds + 1)):
        for arm in order:
            ground.make(rows, *setup)
            taken = arms[arm](ground)
            if number:
                times[arm].append(taken)
    return times


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _fill(ground: Ground) -> float:
    rows = int(value(ground.connection, "select count(*) from backfill.things"))
    ground.starts.setdefault(rows, []).append(_timed(lambda: start(ground.store, plan_change(ground.store, CHANGE))))
    assert value(ground.connection, _MISSING) == 0
    taken = float(value(ground.connection, _FILL_SECONDS))
    roll_back(ground.store)
    return taken


def _update(ground: Ground) -> float:
    with ground.at_rest():
        return _timed(lambda: ground.connection.execute("update backfill.things set quantity_new = quantity"))


def _by_limit(ground: Ground) -> float:
    def loop() -> None:
        while ground.connection.execute(_LIMIT.format(batch=BATCH).encode()).rowcount:
            pass

    with ground.at_rest():
        return _timed(loop)


def _by_key(ground: Ground) -> float:
    def loop() -> None:
        last = -1
        while row := ground.connection.execute(_KEYS.format(last=last, batch=BATCH).encode()).fetchone():
            (last,) = row

    ground.connection.execute(_BY_KEY)
    taken = _timed(loop)
    assert value(ground.connection, _MISSING_BY_KEY) == 0
    return taken


def _against_pgroll(report: Report, ground: Ground, rows: int) -> None:
    with temporary_folder() as folder:
        (folder / "02_wider.yaml").write_text(_PGROLL_CHANGE)
        times = _measure(ground, rows, {WHOLE: _whole, PGROLL: lambda ground: _with_pgroll(ground, folder)})
    of = f"{rows:,} rows"
    report.findings.append(Finding(f"{WHOLE}, against {PGROLL}, {of}", speed(times, WHOLE, PGROLL), PGROLL_BAR))
    report.figures += [(f"{arm}, {of}", f"{rows / median_of(times, arm):,.0f} rows/s") for arm in times]


def _whole(ground: Ground) -> float:
    taken = _timed(lambda: start(ground.store, plan_change(ground.store, CHANGE)))
    roll_back(ground.store)
    return taken


def _with_pgroll(ground: Ground, folder: Path) -> float:
    def pgroll(*arguments: str) -> None:
        given = ground.bench.parameters()
        known = {key: given[key] for key in ("host", "port", "dbname", "user", "password", "sslmode")}
        environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "PGROLL_PG_URL": make_conninfo(**known)}
        done = subprocess.run(
            [PGROLL, "--schema", "backfill", *arguments], env=environment, check=False, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr

    pgroll("init")
    try:
        pgroll("baseline", "01_first", str(folder), "--yes")
        taken = _timed(lambda: pgroll("start", str(folder / "02_wider.yaml")))
        missing = _MISSING.replace("quantity_new", '"_pgroll_new_quantity"')
        assert value(ground.connection, missing) == 0
    finally:
        ground.connection.execute("drop schema if exists pgroll, backfill_01_first, backfill_02_wider cascade")
    return taken
