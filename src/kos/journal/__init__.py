"""The journal of operations: whatever takes long can be stopped, resumed and taken back.

Promise: an operation that was killed at any moment is finished by resuming it or taken back by rolling it back, with
nothing lost, doubled or left over. A runner that has lost its lease can't write.

Invariants: the plan is stored before the first step, and decides everything. Every step that *started* is undone. State
is the fold of the events. A checkpoint commits with its batch. One operation at a time works on a subject.

Words: *operation*, *plan*, *step*, *undo*, *final*, *run*, *resume*, *roll back*, *checkpoint*, *journal*, *lease*,
*subject*, *token*; see `docs/glossary.md`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kos.errors import RollbackBegun
from kos.journal.history import Event
from kos.journal.operation import Operation, Step
from kos.journal.records import Record, find_operation, history_of, list_operations, plan_of, unfinished_on
from kos.journal.registry import operation_named
from kos.journal.run import Run
from kos.journal.runner import Outcome, Runner
from kos.progress import Advance, silent
from kos.tenancy import Store

__all__ = [
    "Event",
    "Operation",
    "Outcome",
    "Record",
    "Run",
    "Runner",
    "Step",
    "find_operation",
    "history_of",
    "list_operations",
    "operation_named",
    "plan_of",
    "resume",
    "roll_back",
    "run",
    "unfinished_on",
]


def run(
    store: Store,
    operation: Operation,
    plan: Any,
    progress: Advance = silent,
    *,
    kept: dict[str, Any] | None = None,
    same: Callable[[Any], bool] | None = None,
    still: Callable[[], None] | None = None,
    waits: bool = False,
) -> Outcome:
    """Run an operation. Where the subject has an unfinished one of the same name whose plan is the `same`, that one is
    resumed instead: so running a command again finishes what a kill has left. `still` raises if what the plan stands on
    is not so any more; it is asked under the lease, before the plan is stored. `waits`: stop before a step that waits.

    Raises:
        LeaseHeld, OperationUnfinished, OperationInterrupted; what `still` and the steps raise.
    """
    runner = Runner(store, operation, progress, kept=kept, waits=waits)
    begun = unfinished_on(store, plan.subject) if same else None
    if same and begun and begun.name == operation.name and same(plan_of(operation, begun)):
        if begun.state.startswith("roll"):
            raise RollbackBegun(str(begun.id))
        return runner.resume(begun)
    return runner.run(plan, still)


def resume(store: Store, operation: str, progress: Advance = silent, *, waits: bool = True) -> Outcome:
    """Finish the operation of that id (or its beginning); what is done is skipped. Where a step waits for somebody who
    says to go on, that is `waits=False`.

    Raises:
        UnknownOperation, UnknownKind, UnknownStep, PlanUnreadable, OperationOver, RollbackBegun; what `run` raises.
    """
    record = find_operation(store, operation)
    return Runner(store, operation_named(record.name), progress, waits=waits).resume(record)


def roll_back(store: Store, operation: str, progress: Advance = silent) -> Outcome:
    """Take back the operation of that id (or its beginning): every step that started, the newest first.

    Raises:
        PastReturn: a final step has started.
        UnknownOperation, UnknownKind, UnknownStep, PlanUnreadable, OperationOver; what `run` raises.
    """
    record = find_operation(store, operation)
    return Runner(store, operation_named(record.name), progress).roll_back(record)
