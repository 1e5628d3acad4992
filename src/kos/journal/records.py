"""Reading the journal: which operations there are, where they stand, who is at them, and how far they have come."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from kos import errors
from kos.journal.fences import asking, existing
from kos.journal.history import OVER, Event, History, fold
from kos.journal.lease import QUERIES
from kos.journal.operation import Operation
from kos.journal.registry import operation_named
from kos.tenancy.placement import Place
from kos.tenancy.store import Connection, Store

_PREFIX = re.compile(r"[0-9a-f-]{4,36}")


@dataclass(frozen=True)
class Record:
    """An operation as the journal has it.

    `step` is the one that was begun last. `steps_done` of `steps` are done (in a rollback: undone); `done` of `total`
    is how far the step has come. What nobody knows is None. `holder` is who is at it now.
    """

    id: UUID
    name: str
    subject: str
    state: str
    step: str | None
    steps_done: int
    steps: int | None
    done: int | None
    total: int | None
    holder: str | None
    library: str
    created_by: str
    created_at: datetime
    updated_at: datetime
    plan: Any


def list_operations(
    store: Store, *, subject: str | None = None, unfinished: bool = False, limit: int | None = None
) -> list[Record]:
    """All operations, or those of a subject, or those that are not over; newest first, at most `limit`."""
    wanted = {"subject": subject, "unfinished": unfinished, "limit": limit}
    with store.operator() as control:
        rows = control.execute(QUERIES.operations, wanted).fetchall()
        return _records(store, control, rows)


def find_operation(store: Store, operation: str) -> Record:
    """One operation, by its id or the beginning of it.

    Raises:
        UnknownOperation: none, or more than one.
    """
    prefix = operation.strip().lower()
    if not _PREFIX.fullmatch(prefix):
        raise errors.UnknownOperation(operation, "that is no id, and not four or more letters of one")
    with store.operator() as control:
        rows = control.execute(QUERIES.find_operations, {"prefix": prefix}).fetchall()
        if len(rows) != 1:
            raise errors.UnknownOperation(operation, "several begin so" if rows else "the journal has none")
        return _records(store, control, rows)[0]


def unfinished_on(store: Store, subject: str) -> Record | None:
    """The operation that was begun on a subject and is not over; None if there is none."""
    return next(iter(list_operations(store, subject=subject, unfinished=True)), None)


def events(control: Connection, operations: Iterable[UUID]) -> dict[UUID, list[Event]]:
    """What has happened to each of these operations, in order."""
    found: dict[UUID, list[Event]] = defaultdict(list)
    for operation, *row in control.execute(QUERIES.events, {"operations": list(operations)}).fetchall():
        found[operation].append(Event(*row))
    return found


def history_of(store: Store, record: Record) -> list[Event]:
    """What has happened to an operation, in order."""
    with store.operator() as control:
        return events(control, [record.id])[record.id]


def plan_of(operation: Operation, record: Record) -> Any:
    """The stored plan; `PlanUnreadable` if another version of the library stored it."""
    try:
        return operation.decode(record.plan)
    except ValueError as error:
        raise errors.PlanUnreadable(str(record.id), record.name, record.library, str(error)) from error


def _records(store: Store, control: Connection, rows: list[tuple[Any, ...]]) -> list[Record]:
    happened = events(control, [row[0] for row in rows])
    found = [_record(row, fold(row[0], happened[row[0]])) for row in rows]
    unfinished = [each.id for each in found if each.state not in OVER]
    progress = _progress(store, control, unfinished) if unfinished else {}
    return [replace(each, done=progress.get((each.id, each.step))) for each in found]


def _record(row: tuple[Any, ...], history: History) -> Record:
    operation_id, name, subject, _, plan, library, created_by, created_at, updated_at, holder = row
    steps = total = None
    try:
        operation = operation_named(name)
        steps = len(operation.steps)
        step = operation.step(history.step or "")
        total = step.total_of(operation.decode(plan)) if step else None
    except (errors.UnknownKind, ValueError):
        steps = steps or None  # of another version of the library: what stands in the journal is shown all the same
    return Record(
        id=operation_id,
        name=name,
        subject=subject,
        state=history.state,
        step=history.step,
        steps_done=len(history.undone) if history.state.startswith("roll") else len(history.done),
        steps=steps,
        done=None,
        total=total,
        holder=holder,
        library=library,
        created_by=created_by,
        created_at=created_at,
        updated_at=updated_at,
        plan=plan,
    )


def _progress(store: Store, control: Connection, operations: list[UUID]) -> dict[tuple[UUID, str | None], int]:
    """The last checkpoints; of a place that does not answer nothing is known."""
    wanted: dict[Place, list[UUID]] = defaultdict(list)
    for operation in operations:
        for row in control.execute(QUERIES.places, {"operation": operation}).fetchall():
            wanted[Place(*row)].append(operation)
    found: dict[tuple[UUID, str | None], int] = {}
    for place, here in wanted.items():
        try:
            if existing(store, [place], control).places:
                with asking(store, place, control) as operator:
                    for operation, step, done in operator.execute(QUERIES.read_progress, {"operations": here}):
                        found[operation, step] = found.get((operation, step), 0) + done
        except (errors.StoreUnavailable, errors.UnknownShard, psycopg.Error):
            continue
    return found
