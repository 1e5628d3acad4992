"""Take an operation forwards or backwards. Running and resuming are the same: what is done is skipped."""

from __future__ import annotations

import getpass
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from kos import errors
from kos.journal import records
from kos.journal.fences import Fences
from kos.journal.history import BACKWARDS, OVER, History, fold
from kos.journal.lease import QUERIES, SECONDS, Lease, Point, nowhere
from kos.journal.operation import Operation, Step
from kos.journal.records import Record
from kos.journal.run import Run
from kos.progress import Advance, silent
from kos.tenancy.store import Connection, Store
from kos.translate import translated


@dataclass(frozen=True)
class Outcome:
    """How an operation ended, and what its steps returned."""

    operation: UUID
    state: str
    results: dict[str, Any]


class Runner:
    """Runs operations of one kind.

    `point` is called wherever a kill would leave something different behind; it does nothing but in tests. `kept` is
    what this process has read already, for the steps. `waits`: stop before a step that waits and has not begun.
    """

    def __init__(
        self,
        store: Store,
        operation: Operation,
        progress: Advance = silent,
        *,
        kept: dict[str, Any] | None = None,
        point: Point = nowhere,
        seconds: float = SECONDS,
        waits: bool = False,
    ) -> None:
        self._store = store
        self._operation = operation
        self._progress = progress
        self._kept = {} if kept is None else kept
        self._point = point
        self._seconds = seconds
        self._waits = waits
        self._plan: Any = None
        self._lease: Lease
        self._fences: Fences
        self._history: History

    def run(self, plan: Any, still: Callable[[], None] | None = None) -> Outcome:
        """Store the plan, then take every step. `still` raises where the plan is out of date: nobody else is at work on
        the subject when it is asked, and nobody can begin before the plan is stored.

        Raises:
            LeaseHeld, OperationUnfinished: the subject is another operation's.
            OperationInterrupted: Ctrl-C.
            What the step raised, drivers' errors as errors of kos; each with the command to run next.
        """
        with self._store.operator() as control:
            row = control.execute(QUERIES.next_id).fetchone()
        assert row is not None
        self._plan, self._history = plan, History(row[0])
        stored = {
            "operation": row[0],
            "name": self._operation.name,
            "subject": plan.subject,
            "plan": Jsonb(self._operation.encode(plan)),
            "library": version("kos"),
            "created_by": getpass.getuser(),
        }

        def store_plan(control: Connection) -> None:
            control.execute(QUERIES.store_plan, stored)
            if still is not None:
                still()

        self._point("before plan")
        try:
            with self._leased(plan.subject, row[0], store_plan):
                self._point("after plan")
                return self._forwards()
        except psycopg.errors.UniqueViolation as error:
            for other in records.list_operations(self._store, subject=plan.subject, unfinished=True):
                raise errors.OperationUnfinished(plan.subject, str(other.id), other.name) from error
            raise

    def resume(self, record: Record) -> Outcome:
        """Take the steps that are not done.

        Raises:
            OperationOver, RollbackBegun, UnknownStep, PlanUnreadable; what `run` raises.
        """
        with self._reopened(record):
            if self._history.state in BACKWARDS:
                raise errors.RollbackBegun(str(record.id))
            return self._forwards()

    def roll_back(self, record: Record) -> Outcome:
        """Undo every step that started, the newest first.

        Raises:
            PastReturn: a final step has started.
            OperationOver, UnknownStep, PlanUnreadable; what `run` raises.
        """
        with self._reopened(record):
            refuse_final(self._operation, self._history)
            return self._backwards()

    @contextmanager
    def _leased(self, subject: str, operation: UUID, before: Callable[[Connection], None]) -> Iterator[None]:
        self._lease = Lease(self._store, subject, operation, self._seconds)
        self._fences = Fences(self._store, self._lease)
        try:
            self._lease.take(before)
            yield
        finally:
            self._fences.close()
            self._lease.close()

    @contextmanager
    def _reopened(self, record: Record) -> Iterator[None]:
        self._plan = records.plan_of(self._operation, record)

        def look(control: Connection) -> None:  # before the lease is ours, but nobody else can take it now
            self._history = fold(record.id, records.events(control, [record.id])[record.id])
            if self._history.state in OVER:
                raise errors.OperationOver(str(record.id), self._history.state)
            refuse_unknown(self._operation, self._history, record)

        with self._leased(record.subject, record.id, look):
            self._fences.take_over(scattered=self._operation.scattered)
            yield

    def _forwards(self) -> Outcome:
        for step in self._operation.steps:
            if step.name in self._history.done:
                continue
            if step.waits and self._waits and step.name not in self._history.started:
                return self._wait()
            self._take(step)
        return self._end("finished")

    def _wait(self) -> Outcome:
        if self._history.state != "waiting":
            self._note("waiting")
        return Outcome(self._history.operation, self._history.state, self._history.done)

    def _backwards(self) -> Outcome:
        if self._history.state not in BACKWARDS:
            self._note("rollback_started")
        for step in reversed(self._operation.steps):
            if step.name in self._to_undo() and step.name not in self._history.undone:
                self._take_back(step)
        return self._end("rolled_back")

    def _to_undo(self) -> tuple[str, ...]:
        """Also a step that never said it was done may have happened."""
        return self._history.started

    def _take(self, step: Step) -> None:
        with self._explained(step, "failed"):
            self._note("started", step)
            result = step.do(self._seen_by(step))
            self._note("done", step, result)

    def _take_back(self, step: Step) -> None:
        with self._explained(step, "undo_failed"):
            self._note("undo_started", step)
            if step.undo is not None:
                step.undo(self._seen_by(step))
            self._note("undone", step)

    def _seen_by(self, step: Step) -> Run[Any]:
        return Run(
            self._store,
            self._plan,
            step,
            fences=self._fences,
            results=self._history.done,
            kept=self._kept,
            progress=self._progress,
            point=self._point,
        )

    def _end(self, what: str) -> Outcome:
        self._fences.forget_checkpoints()
        self._note(what)
        return Outcome(self._history.operation, self._history.state, self._history.done)

    def _note(self, what: str, step: Step | None = None, result: Any = None) -> None:
        name = None if step is None else step.name
        later = self._history.after(what, name, result)
        event = {
            "operation": self._history.operation,
            "sequence": later.length,
            "step": name,
            "what": what,
            "result": None if result is None else Jsonb(result),
            "token": self._lease.token,
            "state": later.state,
        }
        self._point(f"before {what} {name or ''}".strip())
        with self._lease.write() as control:
            control.execute(QUERIES.note_event, event)
            control.execute(QUERIES.set_state, event)
            if later.state in OVER:  # nobody has to take over what is over
                self._lease.give_back(control)
        self._history = later
        self._point(f"after {what} {name or ''}".strip())

    @contextmanager
    def _explained(self, step: Step, failed: str) -> Iterator[None]:
        """Note that the step failed, and tell the caller what to run next."""
        operation = str(self._history.operation)
        verb = "resume" if failed == "failed" else "rollback"
        try:
            yield
        except errors.LeaseLost:
            raise  # there is nothing to say in a journal that is another's now
        except KeyboardInterrupt as interrupt:
            self._note_failure(step, failed, "interrupted")
            raise errors.OperationInterrupted(operation, self._operation.name, step.name, verb) from interrupt
        except Exception as raised:
            error = translated(raised)
            self._note_failure(step, failed, f"{type(raised).__name__}: {' '.join(str(error or raised).split())}")
            if error is None:  # a mistake of ours: with its traceback
                raised.add_note(f"kos operation {verb} {operation}")
                raise
            error.leaves(operation, verb)
            if error is raised:
                raise
            raise error from raised

    def _note_failure(self, step: Step, failed: str, reason: str) -> None:
        """Where even this can't be written, the lease says that nobody is at it."""
        if self._history.open:
            with suppress(psycopg.Error, errors.StoreError):
                self._note(failed, step, {"error": reason})


def refuse_final(operation: Operation, history: History) -> None:
    """`PastReturn` if a final step has started."""
    for step in operation.steps:
        if step.final and step.name in history.started:
            raise errors.PastReturn(str(history.operation), step.name)


def refuse_unknown(operation: Operation, history: History, record: Record) -> None:
    """`UnknownStep` if the journal names a step that this library does not have."""
    for name in history.started:
        if operation.step(name) is None:
            raise errors.UnknownStep(str(record.id), operation.name, name, record.library)
