"""Take tables out again: their catalog is as it was before. What was logged stays in the log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

from kos import errors, journal
from kos.adoption.enforce import enforce, relax
from kos.adoption.plan import matches
from kos.adoption.secure import forget_tenants, register_tenants
from kos.adoption.tables import (
    Found,
    TakenIn,
    Transaction,
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
class Leaving(Found):
    """A table that is taken out, how it was logged (`baseline` is None where it was not), whether it had row security,
    and for which policies of the product's that stays."""

    column: str | None
    baseline: str | None
    sensitive: dict[str, str]
    enforced: bool
    policies_since: tuple[str, ...]


@dataclass(frozen=True)
class ReleasePlan:
    """Which tables are taken out."""

    shard: str
    database: str
    patterns: tuple[str, ...]
    tables: tuple[Leaving, ...]

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
    def level(self) -> str:
        """As which the tenants are made known again, where it is taken back: those that could be."""
        return "log"

    @property
    def columns(self) -> tuple[Column, ...]:
        """Whose tenants."""
        return tuple(Column(each.schema, each.table, each.owner, each.column) for each in self.tables if each.column)

    def is_same(self, other: ReleasePlan) -> bool:
        """Was that planned by the same command?"""
        return self.patterns == other.patterns


@dataclass(frozen=True)
class Released:
    """What a release did, or without an operation what it would do. `kept`: policies of the product's that came while
    their table was enforced, so row security stays on."""

    operation: UUID | None
    shard: str
    database: str
    released: tuple[str, ...]
    kept: tuple[str, ...]


def plan_release(store: Store, place: Place, patterns: Sequence[str]) -> ReleasePlan:
    """The adopted tables that match; where a release of the same was killed, what it had planned. Reads only.

    Raises:
        NotAdopted: a pattern is of no adopted table.
    """
    made = _plan(store, place, patterns)
    begun = journal.unfinished_on(store, made.subject)
    earlier = journal.plan_of(RELEASE, begun) if begun and begun.name == RELEASE.name else None
    if earlier is not None and earlier.is_same(made):
        again: ReleasePlan = earlier
        return again
    for pattern in patterns:
        if not any(matches(each.schema, each.table, pattern) for each in made.tables):
            raise errors.NotAdopted(pattern, place.database)
    return made


def _plan(store: Store, place: Place, patterns: Sequence[str]) -> ReleasePlan:
    with store.operator(place) as operator:
        there = tables_taken_in(operator)
    leaving = tuple(_leaving(each) for each in _named(there, patterns))
    return ReleasePlan(place.shard, place.database, tuple(patterns), leaving)


def release_tables(store: Store, plan: ReleasePlan, progress: Advance = silent) -> Released:
    """Take tables out; a release of the same that was killed is finished instead.

    Raises:
        TableBusy: what is taken out until then stays out; resuming goes on.
        TenantBusy: it was the last table, and somebody was inside a tenant all the while; resuming goes on.
        PlanOutdated: tables were taken in or out since.
        LeaseHeld, OperationUnfinished
    """

    def still() -> None:
        if _plan(store, plan.place, plan.patterns) != plan:
            raise errors.PlanOutdated(plan.database)

    return released(plan, journal.run(store, RELEASE, plan, progress, same=plan.is_same, still=still).operation)


def released(plan: ReleasePlan, operation: UUID | None = None) -> Released:
    """What is told of a plan: without an operation, what it would do."""
    names = tuple(each.name for each in plan.tables)
    kept = tuple(policy for each in plan.tables for policy in each.policies_since)
    return Released(operation, plan.shard, plan.database, names, kept)


def _named(there: Sequence[TakenIn], patterns: Sequence[str]) -> list[TakenIn]:
    return [each for each in there if any(matches(each.schema, each.table, pattern) for pattern in patterns)]


def _leaving(table: TakenIn) -> Leaving:
    how = (table.tenant_column, table.baseline, table.sensitive, table.enforced, table.policies_since)
    return Leaving(table.schema, table.table, table.owner, table.oid, *how)


# the steps


def release(run: Run[ReleasePlan]) -> None:
    """Take {count} tables out; what was logged stays in the log."""
    done = run.cursor or 0
    for number, table in enumerate(run.plan.tables[done:], start=done + 1):
        _release_one(run, table, number)
        run.advance(number)


def _release_one(run: Run[ReleasePlan], table: Leaving, number: int) -> None:
    take_out(run.transaction, table, lambda: run.checkpoint(number, done=number))


def take_out(transaction: Transaction, table: Found, finish: Callable[[], None] = lambda: None) -> None:
    """Out of row security, and then out of the log: two transactions, since each locks the table. `finish` is called
    in the second."""

    def open_up() -> None:
        with transaction() as connection:
            relax(connection, table.oid)

    def take() -> None:
        with transaction() as connection:
            if is_there(connection, table):
                take_capture(connection, table.oid)
            finish()

    patiently(transaction, table, open_up)
    patiently(transaction, table, take)


def forget_product(run: Run[ReleasePlan]) -> None:
    """Forget the product's tenants, where no other table of it is taken in."""
    forget_tenants(run)


def log_again(run: Run[ReleasePlan]) -> None:
    """Those that were logged are logged again, from now on: what changed meanwhile is not in their log."""
    with run.store.operator(run.place) as operator:
        seal_all(operator)  # events of before come before the news that they count no more
    for table in run.plan.tables:
        _log_one_again(run, table)


def _log_one_again(run: Run[ReleasePlan], table: Leaving) -> None:
    def put() -> None:
        with run.transaction() as connection:
            if table.baseline is not None and is_there(connection, table):
                put_capture(connection, table.oid, table.column, table.baseline, table.sensitive)

    def close() -> None:
        if table.enforced and table.column:
            with run.transaction() as connection:
                enforce(connection, table.oid, table.column)

    patiently(run.transaction, table, put)
    patiently(run.transaction, table, close)


RELEASE = Operation(
    "adoption.release",
    ReleasePlan,
    plan_release,
    steps=(
        Step(release, undo=log_again, total="count"),
        Step(forget_product, undo=register_tenants),
    ),
)
