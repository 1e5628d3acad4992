"""Row security beside the WHERE that it replaces: the same statement, transaction and role, on the same rows.

The hand-written arm reads a copy without row security; a second copy has the tenant policy alone; the control's
policy is a function that is evaluated for every row.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
from psycopg import sql

from arms import Bar, Finding, Report, Times, cost, measure, median_of, microseconds
from bench import COLUMNS, TENANT, Bench, fill_atoms
from kos.tenancy import Store

CLAIM = "row security"
CONTROL = "policy with a function for every row"
SHIPPED, ALONE, WRITTEN = "shipped policies", "tenant policy alone", "hand-written WHERE"
POINT_BAR, RANGE_BAR, CONTROL_BAR = Bar(at_most=1.05), Bar(at_most=1.10), Bar(at_least=5.0)

TABLES = {
    SHIPPED: "knowledge.atoms",
    ALONE: "bench.tenant_policy",
    WRITTEN: "bench.no_policy",
    CONTROL: "bench.per_row",
}
RANGE_ROWS = 10_000
_SUMS = "count(*), sum(number_value), max(value), max(version)"

_COPIES = """
create schema if not exists bench;
grant usage on schema bench to kos_app;
create table bench.no_policy (like knowledge.atoms including all);
create table bench.tenant_policy (like knowledge.atoms including all);
create table bench.per_row (like knowledge.atoms including all);
insert into bench.no_policy select * from knowledge.atoms;
insert into bench.tenant_policy select * from knowledge.atoms;
insert into bench.per_row select * from knowledge.atoms;
grant select on bench.no_policy, bench.per_row to kos_app;
select kos.protect('bench.tenant_policy');
create policy application_access on bench.tenant_policy as permissive for all to kos_app using (true);
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
    with bench.placed(bench.placings[0]), Store(bench.topology) as store:
        for what, bar, statement, calls in (
            ("point read", POINT_BAR, (COLUMNS, "id = %s"), 100 if bench.quick else 400),
            (f"range of {RANGE_ROWS} rows", RANGE_BAR, (_SUMS, "atom_type = %s"), 5 if bench.quick else 20),
        ):
            values: list[Any] = list(ids) if what == "point read" else ["Range"]
            with store.tenant(TENANT, timeout=600) as session:
                connection = session.connection
                queries = {arm: _query(arm, *statement, session.tenant.id) for arm in TABLES}
                _add(report, bench, connection, what, bar, queries, values, calls)
    report.notes += _NOTES
    return report


_NOTES = [
    "The time of the statement as the client sees it, prepared, within a transaction that has entered its tenant;"
    " server time is what EXPLAIN ANALYZE says the execution took. The range is read by sums over its rows: fetched"
    " one by one, most of the time would be the client's in every arm.",
    "`atoms` is the one table with a persona policy beside the tenant policy; the others have the tenant policy alone.",
]


def _query(arm: str, columns: str, condition: str, tenant: UUID) -> str:
    written = f"tenant_id = '{tenant}' and " if arm == WRITTEN else ""
    return f"select {columns} from {TABLES[arm]} where {written}{condition}"


def _add(
    report: Report,
    bench: Bench,
    connection: psycopg.Connection[Any],
    what: str,
    bar: Bar,
    queries: dict[str, str],
    values: list[Any],
    calls: int,
) -> None:
    arms = {arm: _reader(connection, query, values) for arm, query in queries.items()}
    assert len({frozenset(arm(0)) for arm in arms.values()}) == 1, "the arms must read the same rows"
    assert bar is not RANGE_BAR or arms[WRITTEN](0)[0][0] == RANGE_ROWS
    times = measure(arms, rounds=bench.rounds, calls=calls)
    server = _server_times(connection, queries, values, bench.rounds)
    for arm in (SHIPPED, ALONE):
        report.findings.append(Finding(f"{arm} against {WRITTEN}, {what}", cost(times, arm, WRITTEN), bar))
        report.findings.append(Finding(f"the same in server time: {arm}, {what}", cost(server, arm, WRITTEN)))
    control_bar = CONTROL_BAR if bar is RANGE_BAR else None
    control = cost(times, CONTROL, WRITTEN)
    report.findings.append(Finding(f"control: {CONTROL}, {what}", control, control_bar, is_control=True))
    for arm in queries:
        here, there = microseconds(median_of(times, arm)), microseconds(median_of(server, arm))
        report.figures.append((f"{arm}, {what}", f"{here}, of it {there} in the server"))


def _reader(connection: psycopg.Connection[Any], query: str, values: list[Any]) -> Callable[[int], list[Any]]:
    def read(call: int) -> list[Any]:
        return connection.execute(query, (values[call % len(values)],), prepare=True).fetchall()

    return read


def _server_times(
    connection: psycopg.Connection[Any], queries: dict[str, str], values: list[Any], rounds: int
) -> Times:
    """Seconds of execution, planning not counted: prepared, with a plan that serves all values, as in the client's."""
    connection.execute("set local plan_cache_mode = force_generic_plan")
    names = {arm: sql.Identifier(f"bench_{number}_{len(values)}") for number, arm in enumerate(queries)}
    kind = "uuid" if isinstance(values[0], UUID) else "text"
    for arm, query in queries.items():
        prepare = sql.SQL("prepare {} ({}) as ").format(names[arm], sql.SQL(kind))
        connection.execute(prepare + sql.SQL(query.replace("%s", "$1")))

    def execution(arm: str) -> float:
        explain = sql.SQL("explain (analyze, timing off, buffers off, format json) execute {}({})")
        row = connection.execute(explain.format(names[arm], sql.Literal(values[0]))).fetchone()
        assert row is not None
        found = row[0] if isinstance(row[0], list) else json.loads(row[0])
        return float(found[0]["Execution Time"]) / 1000

    times: Times = {arm: [] for arm in queries}
    for _ in range(rounds):
        for arm, taken in times.items():
            taken.append(min(execution(arm) for _ in range(5)))
    connection.execute("set local plan_cache_mode = auto")
    return times
