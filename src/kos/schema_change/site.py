"""One placement while it is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from typing import Any
from uuid import UUID

import psycopg
from psycopg.sql import Identifier

from kos import errors, sql
from kos.journal import Run
from kos.schema_change.facts import Connection
from kos.schema_change.model import ChangePlan, Placement

QUERIES = sql.load("kos.schema_change")
# While a lock is waited for, everybody waits behind it: this is the longest that they do. The first attempts wait so
# short that hardly anybody notices; most locks are free within a statement's time.
LOCK_TIMEOUT = "200ms"
SHORT_LOCK_TIMEOUT = "40ms"
IDLE = "1s"  # between two statements of one transaction of ours; then we are frozen, or cut off, and others wait


class Site:
    """A placement, and a connection of its own on which the lease's fence lets transactions in.

    `connection` is the operator's, in autocommit mode. Nobody uses the tables of an `unused` one yet.
    """

    unused = False

    def __init__(
        self,
        run: Run[ChangePlan],
        placement: Placement,
        connection: Connection,
        stopped: Event | None = None,
        *,
        final: bool = False,
    ) -> None:
        self.run = run
        self.placement = placement
        self.connection = connection
        self._stopped = stopped or Event()
        self._final = final
        self._doing: str | None = None

    @property
    def operation(self) -> UUID:
        """The change's id."""
        return self.run.operation

    @property
    def facts(self) -> dict[str, Any]:
        """What most queries ask for."""
        return {"operation": self.operation, "schema": self.placement.schema}

    @contextmanager
    def transaction(self, owner: str | None = None, lock_timeout: str = LOCK_TIMEOUT) -> Iterator[Connection]:
        """A transaction as the owner of a table, with this placement's schema first in its search path.

        Raises:
            LeaseLost: another runner has taken over; nothing was written.
            Interrupted: whoever runs the change has said to stop.
            psycopg.OperationalError, IdleInTransactionSessionTimeout: we were frozen meanwhile; nothing was written.
        """
        if self._stopped.is_set():
            raise errors.Interrupted
        try:
            with self.connection.transaction():
                self.run.fences.let_in(self.connection)
                limits = {"lock_timeout": lock_timeout, "schema": self.placement.schema, "idle": IDLE}
                self.connection.execute(QUERIES.limit_transaction, limits)
                if owner:
                    self.connection.execute(QUERIES.act_as.format(role=Identifier(owner)))
                yield self.connection
            self.run.reached(f"after a transaction in {self.placement.schema}")
        except psycopg.Error as error:
            if error.sqlstate == "KS011":
                raise self.run.fences.lease.lost() from error
            raise

    def is_stopping(self, control: Connection | None = None) -> bool:
        """Whether `kos change rollback` has asked this run to stop. What is final goes on."""
        if self._final:
            return False
        if control is None:
            with self.run.fences.lease.write() as held:
                return self.is_stopping(held)
        facts = {"operation": self.operation, "token": self.run.fences.lease.token}
        return control.execute(QUERIES.is_stopping, facts).fetchone() == (True,)

    def heed(self, control: Connection | None = None) -> None:
        """Between two steps, and while something is waited for.

        Raises:
            ChangeStopped
        """
        if self.is_stopping(control):
            raise errors.ChangeStopped(self.run.plan.name)

    def doing(self, what: str | None) -> None:
        """Say what is under way here, or waited for; `kos change status` shows it. Not in a transaction."""
        if what != self._doing:
            self.connection.execute(QUERIES.note_doing, self.facts | {"doing": what})
            self._doing = what
