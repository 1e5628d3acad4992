"""Take tables in: an operation of the journal, table by table and level by level.

What a level adds is a step with its undo; a later level goes on from what is there. Nothing is locked for longer than a
change of the catalog takes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from uuid import UUID

from psycopg.sql import Identifier

from kos import errors, journal
from kos.adoption.baseline import copy_rows, leave_rows
from kos.adoption.facts import Connection
from kos.adoption.model import Plan, Table, Wanted
from kos.adoption.secure import (
    Secured,
    forget_tenants,
    leave_tenants,
    plan_secured,
    put_row_security,
    refused,
    register_late,
    register_tenants,
    take_row_security,
)
from kos.adoption.tables import (
    QUERIES,
    Found,
    TakenIn,
    expect,
    finds_null,
    is_there,
    patiently,
    put_capture,
    tables_taken_in,
    take_capture,
)
from kos.adoption.tenants import Column
from kos.journal import Operation, Run, Step
from kos.log import seal_all
from kos.progress import Advance, silent
from kos.tenancy import Place, Store


@dataclass(frozen=True)
class Taken(Found):
    """A table that is taken in. `before`: how its rows were treated while it was logged already, or None.
    `sensitive`: what is to be hidden beside what is, and `sensitive_before` how those columns were."""

    column: str | None
    before: str | None
    may_be_null: bool
    sensitive: dict[str, str]
    sensitive_before: dict[str, str | None]


@dataclass(frozen=True)
class AdoptPlan:
    """Which tables are taken in, how far, and how. `rows` is an estimate."""

    shard: str
    database: str
    patterns: tuple[str, ...]
    level: str
    baseline: str
    tenant_column: str
    sensitive: tuple[str, ...]
    tables: tuple[Taken, ...]
    secured: tuple[Secured, ...]
    rows: int | None

    @property
    def subject(self) -> str:
        """One adoption or release at a time in a database."""
        return f"adoption:{self.shard}/{self.database}"

    @property
    def place(self) -> Place:
        """The database of the tables."""
        return Place(self.shard, self.database)

    @property
    def count(self) -> int:
        """How many tables."""
        return len(self.tables)

    @property
    def secured_count(self) -> int:
        """How many tables row security is put on."""
        return len(self.secured)

    @property
    def columns(self) -> tuple[Column, ...]:
        """Whose tenants are made known."""
        named = [each for each in self.tables if each.column] if not self.secured else self.secured
        return tuple(Column(each.schema, each.table, each.owner, each.column or "") for each in named)

    def is_same(self, other: AdoptPlan) -> bool:
        """Was that planned by the same command? What is taken in already makes the lists of tables differ."""
        return replace(self, tables=(), secured=(), rows=None) == replace(other, tables=(), secured=(), rows=None)


def plan_adoption(connection: Connection, found: Plan, wanted: Wanted) -> AdoptPlan:
    """The operation's plan from what was found. Tables that are logged in that way already are not in it.

    Raises:
        AdoptedOtherwise: a table is logged by another column.
    """
    known = {each.name: each for each in tables_taken_in(connection) if each.logged}
    tables = [each for each in found.tables if can_be_logged(each)]
    taken = tuple(_taken(each, known.get(each.name)) for each in tables if _is_news(each, known.get(each.name), wanted))
    names = {each.name for each in taken}
    estimates = [each.rows for each in tables if each.name in names]
    return AdoptPlan(
        shard=found.shard,
        database=found.database,
        patterns=wanted.patterns,
        level=wanted.level,
        baseline=wanted.baseline,
        tenant_column=found.tenant_column,
        sensitive=wanted.sensitive,
        tables=taken,
        secured=plan_secured(connection, found, wanted),
        rows=None if None in estimates else sum(each or 0 for each in estimates),
    )


@dataclass(frozen=True)
class Planned:
    """What an adoption would do. `begun`: one of the same that was killed is finished instead."""

    plan: AdoptPlan
    already: tuple[str, ...]
    left_out: tuple[LeftOut, ...]
    begun: AdoptPlan | None
    found: Plan
    wanted: Wanted

    @property
    def work(self) -> bool:
        """Is there anything to do?"""
        return bool(self.plan.tables or self.plan.secured or self.begun)


@dataclass(frozen=True)
class LeftOut:
    """A table that can't be taken in, and why."""

    name: str
    reason: str


@dataclass(frozen=True)
class Adopted:
    """What an adoption did; `operation` is None where there was nothing to do."""

    operation: UUID | None
    shard: str
    database: str
    level: str
    baseline: str
    adopted: tuple[str, ...]
    enforced: tuple[str, ...]
    already: tuple[str, ...]
    left_out: tuple[LeftOut, ...]


def planned_adoption(store: Store, found: Plan, wanted: Wanted) -> Planned:
    """What an adoption would do. Reads only.

    Raises:
        AdoptedOtherwise, DatabaseNotInstalled
    """
    if not found.installed:
        raise errors.DatabaseNotInstalled(found.database)
    with store.operator(Place(found.shard, found.database)) as operator:
        made = plan_adoption(operator, found, wanted)
        unsecured = refused(operator, found, wanted)
    begun = journal.unfinished_on(store, made.subject)
    earlier = journal.plan_of(ADOPT, begun) if begun and begun.name == ADOPT.name else None
    news = {each.name for each in (*made.tables, *made.secured)}
    already = tuple(each.name for each in found.tables if can_be_logged(each) and each.name not in news)
    left_out = tuple(
        LeftOut(each.name, "; ".join(one.reason for one in each.blocked("log")))
        for each in found.tables
        if each.of_class != "partition" and each.blocked("log")
    )
    left_out += tuple(LeftOut(name, reason) for name, reason in unsecured)
    begun_plan = earlier if earlier and earlier.is_same(made) else None
    return Planned(made, already, left_out, begun_plan, found, wanted)


def adopt_tables(store: Store, planned: Planned, progress: Advance = silent) -> Adopted:
    """Take in what was planned; an adoption of the same that was killed is finished instead.

    Raises:
        TableBusy, TableGone, TenantColumnHasNulls, RowsHidden, TenantNotRegistered: what is taken in until then
            stays; resuming goes on.
        TableReplaced, PlanOutdated: the tables are not those that were looked at, or not taken in as they were then.
        LeaseHeld, OperationUnfinished: another operation is at work on this database's tables, or was left half done.
    """
    plan, operation = planned.begun or planned.plan, None

    def still() -> None:
        _refuse_outdated(store, planned, plan)

    if planned.work:
        operation = journal.run(store, ADOPT, plan, progress, same=plan.is_same, still=still).operation
    news = (*plan.tables, *plan.secured)
    return Adopted(
        operation=operation,
        shard=plan.shard,
        database=plan.database,
        level=plan.level,
        baseline=plan.baseline,
        adopted=tuple(each.name for each in plan.tables) if operation else (),
        enforced=tuple(each.name for each in plan.secured) if operation else (),
        already=tuple(each for each in planned.already if each not in {one.name for one in news}),
        left_out=planned.left_out,
    )


def _refuse_outdated(store: Store, planned: Planned, plan: AdoptPlan) -> None:
    """Somebody else may have taken tables in or out since, and a rollback would take those out that he took in."""
    with store.operator(plan.place) as operator:
        for table in (*plan.tables, *plan.secured):
            expect(operator, table, plan.database)
        if plan_adoption(operator, planned.found, planned.wanted) != plan:
            raise errors.PlanOutdated(plan.database)


def can_be_logged(table: Table) -> bool:
    """A table whose changes can be captured; partitions come with their table."""
    return table.of_class != "partition" and not table.blocked("log")


def _taken(table: Table, known: TakenIn | None) -> Taken:
    return Taken(
        schema=table.schema,
        table=table.table,
        owner=table.owner,
        oid=table.oid,
        column=table.column,
        before=known.baseline if known else None,
        may_be_null=any(each.kind == "nulls" for each in table.blockers),
        sensitive=table.sensitive,
        sensitive_before={column: known.sensitive.get(column) if known else None for column in table.sensitive},
    )


def _is_news(table: Table, known: TakenIn | None, wanted: Wanted) -> bool:
    if known is None:
        return True
    if known.tenant_column != table.column:
        raise errors.AdoptedOtherwise(table.name, known.tenant_column or "no column", table.column or "no column")
    unfinished = wanted.baseline == "full" and known.complete_at is None
    hides_more = not table.sensitive.items() <= known.sensitive.items()
    return known.baseline != wanted.baseline or hides_more or bool(known.unlogged_parts) or unfinished


# the steps


def capture(run: Run[AdoptPlan]) -> None:
    """Log every change of {count} tables."""
    done = run.cursor or 0
    for number, table in enumerate(run.plan.tables[done:], start=done + 1):
        _capture_one(run, table, number)
        run.advance(number)


def _capture_one(run: Run[AdoptPlan], table: Taken, number: int) -> None:
    _prepare(run, table)

    def put() -> None:
        with run.transaction() as connection:
            put_capture(connection, table.oid, table.column, run.plan.baseline, table.sensitive)
            run.checkpoint(number, done=number)

    patiently(run.transaction, table, put)


def _prepare(run: Run[AdoptPlan], table: Taken) -> None:
    """What takes long is looked at before anything is locked.

    Raises:
        TableGone, TableReplaced, TenantColumnHasNulls
    """
    with run.transaction() as connection:
        expect(connection, table, run.plan.database)
        named = Identifier(table.schema, table.table)
        if table.may_be_null and table.column and finds_null(connection, table.owner, named, table.column):
            raise errors.TenantColumnHasNulls(table.name, table.column)
        returns = connection.execute(QUERIES.was_logged, {"table": table.oid}).fetchone() == (True,)
    if returns:  # the events of an earlier time come before the news that they count no more
        with run.store.operator(run.place) as operator:
            seal_all(operator)


def release_taken(run: Run[AdoptPlan]) -> None:
    """Of a table that was not logged before the capture goes; of one that was, what was changed is changed back."""
    for number, table in enumerate(reversed(run.plan.tables), start=1):
        _release_one(run, table)
        run.advance(number, run.plan.count, "tables taken out again")


def _release_one(run: Run[AdoptPlan], table: Taken) -> None:
    """Also of one that has another name by now."""
    with run.transaction() as connection:
        if not is_there(connection, table):
            return

    def take() -> None:
        with run.transaction() as connection:
            if table.before is None:
                take_capture(connection, table.oid)
            else:
                put_capture(connection, table.oid, table.column, table.before, table.sensitive_before)

    patiently(run.transaction, table, take)


ADOPT = Operation(
    "adoption.adopt",
    AdoptPlan,
    plan_adoption,
    steps=(
        Step(register_tenants, undo=forget_tenants),
        Step(capture, undo=release_taken, total="count"),
        Step(copy_rows, undo=leave_rows, total="rows"),
        Step(put_row_security, undo=take_row_security, total="secured_count"),
        Step(register_late, undo=leave_tenants),
    ),
)
