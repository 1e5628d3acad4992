"""Take tables out again: their catalog is as it was before. What was logged stays in the log."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from kos import errors, journal
from kos.adoption.plan import matches
from kos.adoption.tables import Logged, Named, find_table, logged_tables, patiently, put_capture, take_capture
from kos.journal import Operation, Run, Step
from kos.progress import Advance, silent
from kos.tenancy import Place, Store


@dataclass(frozen=True)
class Leaving(Named):
    """A table that is taken out, and how it was logged."""

    column: str | None
    baseline: str
    sensitive: dict[str, str]


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

    def is_same(self, other: ReleasePlan) -> bool:
        """Was that planned by the same command?"""
        return self.patterns == other.patterns


@dataclass(frozen=True)
class Released:
    """What a release did, or without an operation what it would do."""

    operation: UUID | None
    shard: str
    database: str
    released: tuple[str, ...]


def plan_release(store: Store, place: Place, patterns: Sequence[str]) -> ReleasePlan:
    """The adopted tables that match; where a release of the same was killed, what it had planned. Reads only.

    Raises:
        NotAdopted: a pattern is of no adopted table.
    """
    with store.operator(place) as operator:
        there = logged_tables(operator)
    made = ReleasePlan(place.shard, place.database, tuple(patterns), tuple(map(_leaving, _named(there, patterns))))
    begun = journal.unfinished_on(store, made.subject)
    earlier = journal.plan_of(RELEASE, begun) if begun and begun.name == RELEASE.name else None
    if earlier is not None and earlier.is_same(made):
        again: ReleasePlan = earlier
        return again
    for pattern in patterns:
        if not any(matches(each.schema, each.table, pattern) for each in there):
            raise errors.NotAdopted(pattern, place.database)
    return made


def release_tables(store: Store, plan: ReleasePlan, progress: Advance = silent) -> Released:
    """Take tables out; a release of the same that was killed is finished instead.

    Raises:
        TableBusy: what is taken out until then stays out; resuming goes on.
        LeaseHeld, OperationUnfinished
    """
    outcome = journal.run(store, RELEASE, plan, progress, same=plan.is_same)
    return Released(outcome.operation, plan.shard, plan.database, tuple(each.name for each in plan.tables))


def _named(there: Sequence[Logged], patterns: Sequence[str]) -> list[Logged]:
    return [each for each in there if any(matches(each.schema, each.table, pattern) for pattern in patterns)]


def _leaving(table: Logged) -> Leaving:
    return Leaving(table.schema, table.table, table.owner, table.tenant_column, table.baseline, table.sensitive)


# the steps


def release(run: Run[ReleasePlan]) -> None:
    """Take {count} tables out of the log; what was logged stays in it."""
    done = run.cursor or 0
    for number, table in enumerate(run.plan.tables[done:], start=done + 1):
        _release_one(run, table, number)
        run.advance(number)


def _release_one(run: Run[ReleasePlan], table: Leaving, number: int) -> None:
    def take() -> None:
        with run.transaction() as connection:
            oid = find_table(connection, table.schema, table.table)
            if oid is not None:
                take_capture(connection, oid)
            run.checkpoint(number, done=number)

    patiently(run.transaction, table, take)


def log_again(run: Run[ReleasePlan]) -> None:
    """Those that were taken out are logged again, from now on: what changed meanwhile is not in their log."""
    for table in run.plan.tables:
        _log_one_again(run, table)


def _log_one_again(run: Run[ReleasePlan], table: Leaving) -> None:
    def put() -> None:
        with run.transaction() as connection:
            oid = find_table(connection, table.schema, table.table)
            if oid is not None:
                put_capture(connection, oid, table.column, table.baseline, table.sensitive)

    patiently(run.transaction, table, put)


RELEASE = Operation(
    "adoption.release", ReleasePlan, plan_release, steps=(Step(release, undo=log_again, total="count"),)
)
