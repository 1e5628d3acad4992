"""Row security beside the WHERE that it replaces: the same statement, transaction and role, on the same rows.

The shipped arm reads `atoms` itself. The hand-written arm reads a copy without row security; the control's policy is a
function that is evaluated for every row.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from psycopg import sql

from arms import Bar, Finding, Report, Times, cost, measure, median_of, microseconds
from bench import COLUMNS, TENANT, Bench, fill_atoms
from kos.tenancy import Session, Store

CLAIM = "row security"
CONTROL = "policy with a function for every row"
SHIPPED, WRITTEN = "row security", "hand-written WHERE"
POINT_BAR, RANGE_BAR, CONTROL_BAR = Bar(at_most=1.05), Bar(at_most=1.10), Bar(at_least=5.0)

TABLES = {
    SHIPPED: "knowledge.atoms",
    WRITTEN: "bench.no_policy",
    CONTROL: "bench.per_row",
}
RANGE_ROWS = 10_000
_SUMS = "count(*), sum(number_value), max(value), max(version)"

_COPIES = """
create schema if not exists bench;
grant usage on schema bench to kos_app;
create table bench.no_policy (like knowledge.atoms including all);
create table bench.per_row (like knowledge.atoms including all);
insert into bench.no_policy select * from knowledge.atoms;
insert into bench.per_row select * from knowledge.atoms;
grant select on bench.no_policy, bench.per_row to kos_app;
create function bench.is_mine(tenant_id uuid) returns boolean language plpgsql volatile as $$
begin
  return tenant_id = kos.current_tenant_id();
end $$;
alter table bench.per_row enable row level security;
create policy per_row on bench.per_row to kos_app using (bench.is_mine(tenant_id));
"""


def run(bench: Bench) -> Report:
    ids = fill_atoms(bench, 2 * RANGE_ROWS)
    with bench.superuser() as connection:
        connection.execute(_COPIES)
        for table in TABLES.values():
            connection.execute(f"vacuum (analyze) {table}")
    report = Report(CLAIM)
    reads = (
        Read("point read", POINT_BAR, COLUMNS, "id = %s", ids, 100 if bench.quick else 400),
        Read(f"range of {RANGE_ROWS} rows", RANGE_BAR, _SUMS, "atom_type = %s", ["Range"], 5 if bench.quick else 20),
    )
    with Store(bench.topology) as store:
        for placing, read in itertools.product(bench.placings, reads):
            with bench.placed(placing), store.tenant(TENANT, timeout=600) as session:
                _add(report, bench, session, replace(read, what=f"{read.what}, {placing.name}"))
    report.notes += _NOTES
    return report


@dataclass(frozen=True)
class Read:
    """What is read in every arm: `columns` where `condition` holds for one of `values`."""

    what: str
    bar: Bar
    columns: str
    condition: str
    values: Sequence[Any]
    calls: int

    def query(self, arm: str) -> str:
        """Written by hand, the tenant is a parameter too: one prepared statement serves all tenants."""
        written = "tenant_id = %s and " if arm == WRITTEN else ""
        return f"select {self.columns} from {TABLES[arm]} where {written}{self.condition}"

    def parameters(self, arm: str, tenant: UUID, call: int) -> tuple[Any, ...]:
        value = self.values[call % len(self.values)]
        return (tenant, value) if arm == WRITTEN else (value,)


_NOTES = [
    "The time of the statement as the client sees it, prepared, within a transaction that has entered its tenant;"
    " server time is what EXPLAIN ANALYZE says the execution took. The range is read by sums over its rows: fetched"
    " one by one, most of the time would be the client's in every arm.",
    "On one processor nothing but work is measured: what row security adds to a point read there is one subplan that is"
    " started and one setting that becomes a uuid, 2 to 3 µs. A policy that reads the setting without either"
    " (`tenant_id = current_setting(…)::uuid`) was tried once, outside of this run, beside the same `WHERE`: 1.06×. A"
    " sequential scan evaluates it for every row.",
]


def _add(report: Report, bench: Bench, session: Session, read: Read) -> None:
    arms = {arm: _reader(session, arm, read) for arm in TABLES}
    assert len({frozenset(arm(0)) for arm in arms.values()}) == 1, "the arms must read the same rows"
    assert read.bar is not RANGE_BAR or arms[WRITTEN](0)[0][0] == RANGE_ROWS
    times = measure(arms, rounds=bench.rounds, calls=read.calls)
    server = _server_times(session, read, bench.rounds)
    claimed = cost(times, SHIPPED, WRITTEN)
    report.findings.append(Finding(f"{SHIPPED} against {WRITTEN}, {read.what}", claimed, read.bar))
    report.findings.append(Finding(f"the same in server time, {read.what}", cost(server, SHIPPED, WRITTEN)))
    control_bar = CONTROL_BAR if read.bar is RANGE_BAR else None
    control = cost(times, CONTROL, WRITTEN)
    report.findings.append(Finding(f"control: {CONTROL}, {read.what}", control, control_bar, is_control=True))
    for arm in TABLES:
        here, there = microseconds(median_of(times, arm)), microseconds(median_of(server, arm))
        report.figures.append((f"{arm}, {read.what}", f"{here}, of it {there} in the server"))


def _reader(session: Session, arm: str, read: Read) -> Callable[[int], list[Any]]:
    connection, tenant, query = session.connection, session.tenant.id, read.query(arm)

    def one(call: int) -> list[Any]:
        return connection.execute(query, read.parameters(arm, tenant, call), prepare=True).fetchall()

    return one


def _server_times(session: Session, read: Read, rounds: int) -> Times:
    """Seconds of execution, planning not counted: prepared, with a plan that serves all values, as in the client's."""
    connection = session.connection
    connection.execute("set local plan_cache_mode = force_generic_plan")
    explain = {}
    for number, arm in enumerate(TABLES):
        name = sql.Identifier(f"bench_{number}_{len(read.values)}")
        query = read.query(arm).replace("%s", "$1", 1).replace("%s", "$2", 1)
        connection.execute(sql.SQL("prepare {} as ").format(name) + sql.SQL(query))
        values = sql.SQL(", ").join(map(sql.Literal, read.parameters(arm, session.tenant.id, 0)))
        text = sql.SQL("explain (analyze, timing off, buffers off, format json) execute {}({})")
        explain[arm] = text.format(name, values)

    def execution(arm: str) -> float:
        row = connection.execute(explain[arm]).fetchone()
        assert row is not None
        found = row[0] if isinstance(row[0], list) else json.loads(row[0])
        return float(found[0]["Execution Time"]) / 1000

    times: Times = {arm: [] for arm in TABLES}
    for _ in range(rounds):
        for arm, taken in times.items():
            taken.append(min(execution(arm) for _ in range(5)))
    connection.execute("set local plan_cache_mode = auto")
    for number in range(len(TABLES)):
        connection.execute(sql.SQL("deallocate {}").format(sql.Identifier(f"bench_{number}_{len(read.values)}")))
    return times
