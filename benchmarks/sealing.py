"""The sealer under eight writers: how fast it drains what they write, and how long a change waits for its position.

The control seals all tenants in one statement, as a log with one position for all would.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import psycopg

from arms import Bar, Finding, Report, ratio
from bench import Bench, logged_table, value
from kos.worker.worker import SEALS

CLAIM = "sealing"
CONTROL = "one seal for all tenants"
DRAIN_BAR, LAG_BAR, CONTROL_BAR = Bar(at_least=4.0), Bar(at_most=2.0), Bar(at_least=5.0)
WRITERS = 8
ROWS = 20_000  # that the writers update
HUGE = 1_000_000
DRAIN_WINDOW = 4.0
LAG_WINDOW = 20.0  # long enough for several rounds of upkeep
PATIENCE = 600.0

# Inside the server, so that no client's work is counted as the writers': each turn is a transaction of one row.
_WRITERS = """
create table sealing.numbered (tenant_id uuid, number integer, id uuid not null, primary key (tenant_id, number));
create table sealing.at_work (n integer);
create procedure sealing.write(tenant uuid, inout written bigint) language plpgsql as $$
declare
  rows integer := (select count(*) from sealing.numbered where tenant_id = tenant);
  picked integer;
begin
  while exists (select from sealing.at_work) loop
    picked := 1 + floor(random() * rows);
    update sealing.things t set number = t.number + 1
      from sealing.numbered n where n.tenant_id = tenant and n.number = picked and t.tenant_id = tenant and t.id = n.id;
    written := written + 1;
    commit;
  end loop;
end $$;
"""
_FILL = """
with made as (
  insert into sealing.things (tenant_id, name) select %s, 'name ' || n from generate_series(1, %s) n
  returning tenant_id, id
)
insert into sealing.numbered select tenant_id, row_number() over (), id from made
"""
_HUGE = "insert into sealing.things (tenant_id, name) select %s, 'name ' || n from generate_series(1, %s) n"
_IS_SEALED = "select coalesce((select sum(events) from kos.seals where tenant_id = %s), 0)"
# A change waits until the transaction that sealed it has committed.
_LAGS = """
select percentile_cont(array[0.5, 0.99]) within group (order by extract(epoch from s.sealed - e.occurred_at)::float8)
  from kos.knowledge_events e
  cross join lateral (
    select pg_xact_commit_timestamp(s.xmin) as sealed from kos.seals s
     where s.tenant_id = e.tenant_id and s.position >= e.position order by s.position limit 1
  ) s
 where e.tenant_id = any (%s) and e.occurred_at >= %s and e.occurred_at < %s
"""


def run(bench: Bench) -> Report:
    report = Report(CLAIM)
    with logged_table(bench) as connection:
        connection.execute(_WRITERS)
        tenants = [uuid4() for _ in range(WRITERS)]
        for tenant in tenants:
            connection.execute(_FILL, (tenant, ROWS))
        connection.execute("vacuum (analyze) sealing.things, sealing.numbered")
        _drain(bench, tenants)
        _measure_drain(report, bench, connection, tenants)
        _measure_drain(report, bench, connection, tenants[:1])
        _measure_lag(report, bench, connection, tenants[0])
        report.notes += [_DRAIN_NOTE, f"{_LAG_NOTE} Lag is taken in {_lag_rounds(bench)} rounds, which take minutes."]
    return report


def _measure_drain(report: Report, bench: Bench, connection: psycopg.Connection[Any], tenants: list[UUID]) -> None:
    whose = f"{len(tenants)} tenants" if len(tenants) > 1 else "one tenant, so one at a time,"
    written, drained = [], []
    for _ in range(max(2, bench.rounds // 3)):
        began = time.perf_counter()
        with _writing(bench, connection, tenants) as events:
            time.sleep(DRAIN_WINDOW)
        written.append(events() / (time.perf_counter() - began))
        began = time.perf_counter()
        sealed = _drain(bench, tenants)
        drained.append(sealed / (time.perf_counter() - began))
        assert sealed == events()
    claimed = ratio(drained, written)
    report.findings.append(
        Finding(f"sealing of {whose} against what {WRITERS} writers produce there", claimed, DRAIN_BAR)
    )
    report.figures += [
        (f"{WRITERS} writers in {whose} a row per transaction", f"{sorted(written)[len(written) // 2]:,.0f} events/s"),
        ("their backlog, sealed", f"{sorted(drained)[len(drained) // 2]:,.0f} events/s"),
    ]


def _drain(bench: Bench, tenants: list[UUID]) -> int:
    """Seal what waits, as many at once as a worker does."""

    def seal(tenant: UUID) -> int:
        with bench.superuser() as sealer:
            return int(value(sealer, "select kos.seal(%s)", tenant))

    with ThreadPoolExecutor(SEALS) as pool:
        return sum(pool.map(seal, tenants))


@dataclass(frozen=True)
class Lag:
    """Seconds until a position, over the events of one window; and of tenants that wrote once, and so had to be
    found."""

    half: float
    most: float  # p99
    found_half: float
    found_most: float


def _measure_lag(report: Report, bench: Bench, connection: psycopg.Connection[Any], tenant: UUID) -> None:
    rows = HUGE // 20 if bench.quick else HUGE
    alone, beside, control = "alone", "beside", CONTROL
    lags: dict[str, list[Lag]] = {alone: [], beside: [], control: []}
    for _ in range(_lag_rounds(bench)):
        with _worker(bench):
            lags[alone].append(_lag(bench, connection, tenant, lambda: time.sleep(LAG_WINDOW)))
            lags[beside].append(_lag(bench, connection, tenant, lambda: _write_and_await(connection, rows)))
        with _sealing_all_at_once(bench):
            lags[control].append(_lag(bench, connection, tenant, lambda: _write_and_await(connection, rows)))
    most = {arm: [each.most for each in found] for arm, found in lags.items()}
    rare = {arm: [each.found_half for each in found] for arm, found in lags.items()}
    what = f"beside another tenant's transaction of {rows:,} rows, against without"
    report.findings += [
        Finding(f"seal lag p99 {what}", ratio(most[beside], most[alone]), LAG_BAR),
        Finding(f"control: {CONTROL}, the same", ratio(most[control], most[alone]), CONTROL_BAR, is_control=True),
        Finding(f"median seal lag of tenants that write once, {what}", ratio(rare[beside], rare[alone]), LAG_BAR),
        Finding(f"control: {CONTROL}, those tenants", ratio(rare[control], rare[alone]), is_control=True),
    ]
    for arm, name in ((alone, "worker, writers only"), (beside, "worker, and the transaction"), (control, CONTROL)):
        worst = max(lags[arm], key=lambda each: each.most)
        rarest = max(lags[arm], key=lambda each: each.found_most)
        report.figures.append((f"seal lag, {name}", f"{worst.half * 1e3:,.0f} ms, p99 {worst.most * 1e3:,.0f} ms"))
        report.figures.append(
            (f"the same of tenants that write once, {name}",
             f"{rarest.found_half * 1e3:,.0f} ms, p99 {rarest.found_most * 1e3:,.0f} ms")
        )  # fmt: skip


def _lag_rounds(bench: Bench) -> int:
    return max(2, bench.rounds // 7)


_DRAIN_NOTE = (
    "The writers update rows of one table, each in a loop inside of the server, so that no client takes part in what"
    " is measured: once each in a tenant of its own, and once all in one tenant. No worker runs: after"
    f" {DRAIN_WINDOW:g} s as many sessions as a worker has ({SEALS}) seal what they left, a tenant at a time each."
)
_LAG_NOTE = (
    "Seal lag is the time from the commit of a change to the commit of the seal that gave it its position, over all of"
    " the writers' events of the window, with `kos worker` running. The window beside the transaction begins with it"
    " and ends when it is sealed. Twice a second a new tenant writes one row meanwhile: it has to be found, where the"
    " writers' tenant is known; they are some forty a window, too few for a"
    " p99 to be compared. In the table of figures: half of the events, then p99, of the worst round. The"
    " control asks `kos.unsealed` and seals all that it names in one statement."
)


def _lag(bench: Bench, connection: psycopg.Connection[Any], tenant: UUID, during: Callable[[], object]) -> Lag:
    with _writing(bench, connection, [tenant]), _writing_once(bench) as others:
        time.sleep(1.0)  # the worker's pauses were those of an idle database
        begins = value(connection, "select clock_timestamp()")
        during()
        ends = value(connection, "select clock_timestamp()")
    _await(lambda: not value(connection, "select count(*) from kos.unsealed()"))
    windows = [value(connection, _LAGS, tenants, begins, ends) for tenants in ([tenant], others)]
    return Lag(*windows[0], *windows[1])


def _write_and_await(connection: psycopg.Connection[Any], rows: int) -> None:
    other = uuid4()
    connection.execute(_HUGE, (other, rows))
    _await(lambda: value(connection, _IS_SEALED, other) == rows)


@contextmanager
def _writing(bench: Bench, connection: psycopg.Connection[Any], tenants: list[UUID]) -> Iterator[Callable[[], int]]:
    """Eight writers at work, in these tenants by turns; afterwards what this yields says how many rows they wrote."""
    connection.execute("insert into sealing.at_work values (1)")

    def write(tenant: UUID) -> int:
        with bench.superuser() as writer:
            return int(value(writer, "call sealing.write(%s, 0)", tenant))

    with ThreadPoolExecutor(WRITERS) as pool:
        written = [pool.submit(write, tenants[number % len(tenants)]) for number in range(WRITERS)]
        try:
            yield lambda: sum(each.result() for each in written)
        finally:
            connection.execute("delete from sealing.at_work")


@contextmanager
def _writing_once(bench: Bench) -> Iterator[list[UUID]]:
    """A new tenant's only row, twice a second; yields who they are."""
    tenants: list[UUID] = []
    ends = threading.Event()

    def write() -> None:
        with bench.superuser() as writer:
            while not ends.wait(0.5):
                tenants.append(uuid4())
                writer.execute(_HUGE, (tenants[-1], 1))

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        try:
            yield tenants
        finally:
            ends.set()
        writing.result()


@contextmanager
def _worker(bench: Bench) -> Iterator[None]:
    """`kos worker`, as `kos up` starts it, until it has nothing to do any more."""
    begun = bench.stack.begin_worker()
    begun.wait()
    try:
        yield
    finally:
        begun.process.terminate()
        begun.process.wait(PATIENCE)


@contextmanager
def _sealing_all_at_once(bench: Bench) -> Iterator[None]:
    """The control in the place of the worker."""
    ends = threading.Event()

    def seal() -> None:
        with bench.superuser() as sealer:
            while not ends.wait(0.01):
                value(sealer, "select sum(kos.seal(tenant_id)) from kos.unsealed()")

    with ThreadPoolExecutor(1) as pool:
        sealing = pool.submit(seal)
        try:
            yield
        finally:
            ends.set()
        sealing.result()


def _await(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.1)
