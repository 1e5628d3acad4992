"""Steps of an adoption that make tenants known and keep them apart: what `enforce.py` and `tenants.py` do, table by
table."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from kos import errors
from kos.adoption import tenants
from kos.adoption.enforce import enforce, enforced, lacks, refusal, relax
from kos.adoption.facts import Connection
from kos.adoption.model import Plan, Table, Wanted
from kos.adoption.tables import Found, expect, patiently, waiting
from kos.adoption.tenants import Column
from kos.tenancy.placement import control_place

if TYPE_CHECKING:
    from kos.adoption.adopt import AdoptPlan
    from kos.journal import Run

TOLD_AT_ONCE = 500  # tenants


@dataclass(frozen=True)
class Secured(Found, Column):
    """A table that row security is put on. `before`: some of it has it already; what has come since is meant."""

    before: bool


def plan_secured(connection: Connection, found: Plan, wanted: Wanted) -> tuple[Secured, ...]:
    """The tables that the level asks row security for and that lack it. Those that can't have it are left out.

    Raises:
        TenantTypeUnknown: of a table that was named.
    """
    if wanted.level != "enforce":
        return ()
    known, secured = enforced(connection), []
    for each in filter(can_be_secured, found.tables):
        assert each.column is not None
        if not lacks(connection, each.oid):
            continue
        error = refusal(connection, each.oid, each.column)
        if error is None:
            secured.append(Secured(each.schema, each.table, each.owner, each.column, each.oid, each.name in known))
        elif wanted.patterns:
            raise error
    return tuple(secured)


def refused(connection: Connection, found: Plan, wanted: Wanted) -> list[tuple[str, str]]:
    """Tables that can't have row security, which the level asks for, and why."""
    if wanted.level != "enforce":
        return []
    tables = filter(can_be_secured, found.tables)
    reasons = [(each.name, refusal(connection, each.oid, each.column or "")) for each in tables]
    return [(name, str(error)) for name, error in reasons if error]


def can_be_secured(table: Table) -> bool:
    """Of a tenant, and nothing in the way; partitions come with their table."""
    return table.column is not None and table.of_class != "partition" and not table.blocked("row_security")


def check_effects(found: Plan, *, accepted: bool) -> None:
    """Refuse level enforce where somebody would see nothing any more, unless that is accepted.

    Raises:
        EffectsNotAccepted
    """
    if found.effects is None or accepted:
        return
    if blind := [each.role for each in found.effects.roles if each.blind]:
        raise errors.EffectsNotAccepted(", ".join(blind))


# the steps


def register_tenants(run: Run[Any]) -> None:
    """Make the product's tenants known, so that they can be entered.

    Also at level log, so that an application can enter tenants before it has to. What can't be a tenant's name is
    left out then.
    """
    columns = run.plan.columns
    with run.transaction() as connection:
        if not tenants.note_product(connection, columns, run.plan.shard):
            return
        naming = tenants.name_tenants(connection, columns)
    for number, column in enumerate(naming, start=1):
        _register_one(run, column)
        run.advance(number, len(naming))
    if run.place != control_place(run.store.topology):
        _tell_directory(run)


def _tell_directory(run: Run[Any]) -> None:
    with run.transaction() as connection:
        known = tenants.registered(connection)
    for start in range(0, len(known), TOLD_AT_ONCE):
        with run.control() as control:
            tenants.tell_directory(
                control,
                run.plan.shard,
                run.plan.database,
                known[start : start + TOLD_AT_ONCE],
                strict=run.plan.level == "enforce",
            )


def _register_one(run: Run[Any], column: Column) -> None:
    def register() -> None:
        with run.transaction() as connection:
            tenants.register(connection, column, strict=run.plan.level == "enforce")

    patiently(run.transaction, column, register)


def forget_tenants(run: Run[Any]) -> None:
    """Where no other table of the product is taken in.

    Raises:
        TenantBusy: somebody was inside of one all the while.
    """
    with run.transaction() as connection:
        count = tenants.forget_product(connection)
    if count is None:
        return
    left = count
    while left:
        left = _forget_some(run)
        run.advance(count - left, count, "tenants forgotten")
    if run.place != control_place(run.store.topology):
        with run.control() as control:
            tenants.untell_directory(control, run.plan.shard, run.plan.database)


def _forget_some(run: Run[Any]) -> int:
    began, left, attempts = time.monotonic(), 0, 0
    try:
        for attempt in waiting(errors.TenantBusy):
            attempts = attempt.num
            with attempt, run.transaction() as connection:
                left = tenants.forget_some(connection)
    except errors.TenantBusy as busy:
        raise replace(busy, attempts=attempts, seconds=time.monotonic() - began) from busy
    return left


def put_row_security(run: Run[AdoptPlan]) -> None:
    """Put row security on {secured_count} tables."""
    done = run.cursor or 0
    for number, table in enumerate(run.plan.secured[done:], start=done + 1):
        _put_one(run, table, number)
        run.advance(number)


def _put_one(run: Run[AdoptPlan], table: Secured, number: int) -> None:
    def put() -> None:
        with run.transaction() as connection:
            expect(connection, table, run.plan.database)
            enforce(connection, table.oid, table.column)
            run.checkpoint(number, done=number)

    patiently(run.transaction, table, put)


def take_row_security(run: Run[AdoptPlan]) -> None:
    """From those that did not have it before."""
    news = [table for table in run.plan.secured if not table.before]
    for number, table in enumerate(reversed(news), start=1):
        _take_one(run, table)
        run.advance(number, len(news), "tables without row security again")


def _take_one(run: Run[AdoptPlan], table: Secured) -> None:
    def take() -> None:
        with run.transaction() as connection:
            relax(connection, table.oid)

    patiently(run.transaction, table, take)


def register_late(run: Run[AdoptPlan]) -> None:
    """Register the tenants that came while row security was put on."""
    if run.plan.secured:
        register_tenants(run)


def leave_tenants(run: Run[AdoptPlan]) -> None:
    """The first step's undo forgets them."""
