"""Start a change, finish it, or take it back. One change is open at a time."""

from __future__ import annotations

import time
from contextlib import suppress

from kos import errors, journal
from kos.journal import Outcome, Record
from kos.journal.history import BACKWARDS, fold
from kos.journal.runner import refuse_final
from kos.progress import Advance, silent
from kos.schema_change.change import CHANGE, announce, tidy
from kos.schema_change.model import ChangePlan, Placement
from kos.schema_change.pace import check_query
from kos.schema_change.placements import by_place, refuse_poolers
from kos.schema_change.site import QUERIES
from kos.schema_change.throttle import Limits
from kos.tenancy import Store

SUBJECT = "schema"
PATIENCE = 600.0  # seconds for a run to stop: it ends a statement at once, but a function of Python only by itself
PAUSE = 0.2  # between two looks


def start(store: Store, plan: ChangePlan, progress: Advance = silent, *, limits: Limits | None = None) -> Outcome:
    """Add what new code needs and fill it, then wait: old and new code work from now on. A start of the same that was
    killed is gone on with.

    Raises:
        ChangeOpen: another change is open.
        ChangeThroughPooler
        LatencyUnknown: the query of `limits` does not tell it.
        ChangeBlocked, ChangeFailed, ChangeIncomplete, FillFailed, …: what is done stays; starting again goes on.
        LeaseHeld, OperationInterrupted
    """
    refuse_poolers(store)
    open_one = find_open(store)
    if open_one is not None:
        if not is_same(open_one, plan.sql):
            raise errors.ChangeOpen(_name(open_one), open_one.state)
        return go_on(store, open_one, progress)
    if limits and limits.latency_query:
        check_query(store, plan, limits.latency_query)
    kept = {"limits": limits or Limits()}
    return journal.run(store, CHANGE, plan, progress, kept=kept, waits=True)


def go_on(store: Store, record: Record, progress: Advance = silent) -> Outcome:
    """Start an open change to the end, where it waits: what is done is skipped.

    Raises:
        RollbackBegun: it is being taken back, with `roll_back`.
        What `start` raises.
    """
    refuse_poolers(store)
    return journal.resume(store, str(record.id), progress)


def finish(store: Store, progress: Advance = silent) -> Outcome:
    """Hold the rows to the new schema, then drop what only old code needs. Until the first drop it can be taken back.

    Raises:
        NoChange, ChangeNotStarted
        ChangeBlocked, ChangeFailed, ChangeIncomplete, …: what is done stays; finishing again goes on.
    """
    refuse_poolers(store)
    record = open_change(store)
    if record.state not in BACKWARDS and not _is_started(store, record):
        raise errors.ChangeNotStarted(_name(record), record.state)
    return journal.resume(store, str(record.id), progress, waits=False)


def roll_back(store: Store, progress: Advance = silent) -> Outcome:
    """Take the open change back: the schema is as before, with all that was written meanwhile. A start or finish at
    work is asked to stop, and waited for.

    Raises:
        NoChange
        PastReturn: finishing has begun to drop.
        LeaseHeld: another rollback is at work, or what was asked to stop did not.
    """
    refuse_poolers(store)
    record, deadline = open_change(store), time.monotonic() + PATIENCE
    while True:
        try:
            return journal.roll_back(store, str(record.id), progress)
        except errors.LeaseHeld:
            if time.monotonic() > deadline or not _asked_to_stop(store, record):
                raise
        time.sleep(PAUSE)


def _asked_to_stop(store: Store, record: Record) -> bool:
    """Ask whoever is at it; False if that is a rollback. Again and again: it may be somebody else now."""
    history = fold(record.id, journal.history_of(store, record))
    if history.state in BACKWARDS:
        return False
    refuse_final(CHANGE, history)
    with store.operator() as control:
        control.execute(QUERIES.ask_to_stop, {"operation": record.id})
    return True


def leave_out(store: Store, schema: str, *, shard: str | None = None, database: str | None = None) -> Placement:
    """Go on without one schema, whose rows can't be mended now, say. From now on nothing is done there, and code that
    needs the change is refused; `finish` takes back what was done, when the others are done.

    Raises:
        NoChange, RollbackBegun
        NoPlacement: the change is in no such schema, or in several.
        PlacementDropping: it is past its point of return there.
    """
    placement, record = find_placement(store, schema, shard=shard, database=database), open_change(store)
    facts = {"operation": record.id, "schema": schema, "recipe": placement.recipe, "name": _name(record)}
    with store.operator(placement.place) as connection:
        if record.step == tidy.__name__ or connection.execute(QUERIES.leave_out, facts).fetchone() is None:
            raise errors.PlacementDropping(placement.name)
    return placement


def find_placement(store: Store, schema: str, *, shard: str | None = None, database: str | None = None) -> Placement:
    """The one of the open change that is so called; raises as `leave_out` does."""
    record = open_change(store)
    if record.state in BACKWARDS:
        raise errors.RollbackBegun(str(record.id))
    place = (shard, database, schema)
    found = [
        each
        for each in _placements(store, record)
        if all(wanted in {None, has} for wanted, has in zip(place, (*each.place, each.schema), strict=True))
    ]
    if len(found) != 1:
        raise errors.NoPlacement(schema, _name(record), "in several databases" if found else "no placement")
    return found[0]


def _placements(store: Store, record: Record) -> list[Placement]:
    """Those that a change was planned for, and those that it has begun in since."""
    plan: ChangePlan = journal.plan_of(CHANGE, record)
    found = {(each.place, each.schema): each for each in plan.placements}
    for place in by_place(plan.placements):
        with suppress(errors.StoreUnavailable), store.operator(place) as connection:
            for schema, recipe, *_ in connection.execute(QUERIES.placements, {"operation": record.id}):
                found[place, schema] = Placement(*place, schema, recipe)
    return list(found.values())


def find_open(store: Store) -> Record | None:
    """The change that is open; None if there is none."""
    return journal.unfinished_on(store, SUBJECT)


def open_change(store: Store) -> Record:
    """The change that is open; `NoChange` if there is none."""
    found = find_open(store)
    if found is None:
        raise errors.NoChange
    return found


def is_same(record: Record, sql: str) -> bool:
    """Whether an open change was made of the same text."""
    return bool(record.plan.get("sql") == sql)


def _is_started(store: Store, record: Record) -> bool:
    return any(each.what == "done" and each.step == announce.__name__ for each in journal.history_of(store, record))


def _name(record: Record) -> str:
    return str(record.plan.get("name"))
