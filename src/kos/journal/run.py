"""What a step sees of the run that it is part of."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Generic, TypeVar
from uuid import UUID

import psycopg
from psycopg.types.json import Jsonb

from kos.errors import UnknownTenant
from kos.journal.fences import Fences
from kos.journal.lease import QUERIES, Point
from kos.journal.operation import Step
from kos.progress import Advance
from kos.tenancy.create import find_tenant
from kos.tenancy.entry import Entry
from kos.tenancy.operating import inside
from kos.tenancy.placement import Place, control_place, place_of
from kos.tenancy.store import Connection, Store
from kos.tenancy.tenant import Tenant

P = TypeVar("P")
TIMEOUT = 600.0  # seconds that a transaction in a tenant may last


class Run(Generic[P]):
    """One step's view: the plan, results of earlier steps, transactions that only the lease's holder can commit.

    `kept` is what this process has at hand already (a dataset that was read, say). A resumed run has none of it.
    """

    def __init__(
        self,
        store: Store,
        plan: P,
        step: Step,
        *,
        fences: Fences,
        results: dict[str, Any],
        kept: dict[str, Any],
        progress: Advance,
        point: Point,
    ) -> None:
        self.store = store
        self.plan = plan
        self.kept = kept
        self._step = step
        self._lease = fences.lease
        self._fences = fences
        self._results = results
        self._progress = progress
        self._point = point
        self._current: Connection | None = None
        self._has_checkpoint = False

    @property
    def operation(self) -> UUID:
        """The id of this operation."""
        return self._lease.operation

    @property
    def place(self) -> Place:
        """Where transactions go if nothing is said: the plan's place, or the control database."""
        place: Place | None = getattr(self.plan, "place", None)
        return place or control_place(self.store.topology)

    @contextmanager
    def transaction(self, place: Place | None = None) -> Iterator[Connection]:
        """A transaction as the operator, in autocommit mode outside of it. One at a time.

        Raises:
            LeaseLost: another runner has taken the lease over; nothing was written.
        """
        if self._current is not None:
            raise RuntimeError("a step has one transaction at a time: a checkpoint belongs to one batch")
        connection = self._fences.connection(place or self.place)
        try:
            with connection.transaction():
                connection.execute(QUERIES.pass_lease, {"subject": self._lease.subject, "token": self._lease.token})
                self._current = connection
                yield connection
                if self._has_checkpoint:
                    self._point(f"before checkpoint of {self._step.name}")
            if self._has_checkpoint:
                self._point(f"after checkpoint of {self._step.name}")
        except psycopg.Error as error:
            if error.sqlstate == "KS011":
                raise self._lease.lost() from error
            raise
        finally:
            self._current, self._has_checkpoint = None, False

    @contextmanager
    def entered(self, tenant: UUID, *, timeout: float = TIMEOUT) -> Iterator[Connection]:
        """A transaction in a tenant, in the place where it lives now. It is the operator's: the guard lets only this
        tenant's epoch write, but row security hides no other tenant, so every statement says which one it means.

        Raises:
            UnknownTenant, PlacementMoved, LeaseLost
        """
        found = self.tenant(tenant)
        if found is None:
            raise UnknownTenant(str(tenant))
        entry = Entry(agent="kos operation", timeout=timeout)
        with self.transaction(place_of(found)) as connection, inside(connection, found, entry):
            yield connection

    def tenant(self, tenant: UUID) -> Tenant | None:
        """A tenant as the directory has it now, finished or not; None if it is gone."""
        try:
            return find_tenant(self.store, str(tenant))
        except UnknownTenant:
            return None

    def control(self) -> AbstractContextManager[Connection]:
        """A transaction in the control database."""
        return self.transaction(control_place(self.store.topology))

    def checkpoint(self, value: Any, done: int | None = None) -> None:
        """Say how far this step has come: JSON. Committed with the transaction that it is called in. `done` is shown
        against the step's total."""
        if self._current is None:
            raise RuntimeError("a checkpoint stands in its batch's transaction: with run.transaction(): …")
        facts = {"operation": self.operation, "step": self._step.name, "value": Jsonb(value), "done": done}
        self._current.execute(QUERIES.write_checkpoint, facts)
        self._has_checkpoint = True

    @property
    def cursor(self) -> Any:
        """The last checkpoint of this step in the run's own place; None if there is none."""
        return self.cursor_at(self.place)

    def cursor_at(self, place: Place) -> Any:
        """The last checkpoint of this step in another place; None if there is none."""
        facts = {"operation": self.operation, "step": self._step.name}
        row = self._fences.connection(place).execute(QUERIES.read_checkpoint, facts).fetchone()
        return None if row is None else row[0]

    def result(self, step: Callable[[Run[P]], object]) -> Any:
        """What an earlier step returned. Undos have no use for it: their step may not have come so far."""
        return self._results[step.__name__]

    def advance(self, done: int, total: int | None = None, what: str | None = None) -> None:
        """Tell whoever watches how far it is; `what` is the step's own text if not said."""
        if total is None:
            total = self._step.total_of(self.plan)
        self._progress(what or self._step.text(self.plan), done, total)

    @property
    def fences(self) -> Fences:
        """For work on several connections at once: `fences.beside()`."""
        return self._fences

    def reached(self, point: str) -> None:
        """A kill here would leave something different behind. Nothing happens but in tests."""
        self._point(f"{point} of {self._step.name}")

    @property
    def progress(self) -> Advance:
        """For functions that tell by themselves how far they are."""
        return self._progress

    def check_lease(self) -> None:
        """Raise `LeaseLost` if another runner has the lease: before an effect outside of PostgreSQL, which can't be
        fenced and so must be harmless to repeat."""
        self._lease.check()
