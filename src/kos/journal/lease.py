"""The lease of a subject: one runner at a time, and whoever lost it can't write any more.

The holder's session in the control database has a lock, so that a killed holder is known at once; and its heart beats,
so that a frozen one is known after a while. Each holder has a token, higher than any before; where the control database
went back in time, `fences.py` finds out that it isn't. A token that is not the lease's writes no event (here), and no
data (there).
"""

from __future__ import annotations

import getpass
import os
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, RLock, Thread
from uuid import UUID

import psycopg

from kos import sql
from kos.errors import LeaseHeld, LeaseLost, StoreError
from kos.tenancy.store import Connection, Store
from kos.topology import postgres

QUERIES = sql.load("kos.journal")
SECONDS = 30.0  # a lease whose heart has not beaten for so long can be taken over
_PATIENCE = 1.0  # a server needs a moment to see that a client was killed

Point = Callable[[str], None]


def nowhere(point: str) -> None:
    """Nothing happens at any point of a run. Tests end the process there."""


def holder() -> str:
    """Who we are, for whoever wants the lease."""
    return f"{getpass.getuser()}@{socket.gethostname()} (process {os.getpid()})"


class Lease:
    """The lease of one subject for one operation, on a connection of its own."""

    def __init__(self, store: Store, subject: str, operation: UUID, seconds: float = SECONDS) -> None:
        self.subject = subject
        self.operation = operation
        self.token = 0
        self._store = store
        self._seconds = seconds
        self._holder = holder()
        self._lock = RLock()  # the heart beats on the connection that events are written on
        self._ended = Event()
        self._connection: Connection | None = None
        self._heart: Thread | None = None

    @property
    def session_name(self) -> str:
        """What this runner's sessions are called on every server."""
        return f"{session_prefix(self.operation)}{self.token}"

    def take(
        self,
        before: Callable[[Connection], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Take it, and do `before` in the same transaction.

        Raises:
            LeaseHeld: another runner is at work on the subject.
        """
        self._connection = connection = self._connect()
        deadline = clock() + _PATIENCE
        while (found := self._try(connection, before)) is not None:
            if clock() > deadline:
                raise found
            sleep(0.05)
        self._heart = Thread(target=self._beat, name="kos lease", daemon=True)
        self._heart.start()

    def _try(self, connection: Connection, before: Callable[[Connection], None]) -> LeaseHeld | None:
        has_session = not self._store.topology.control.primary.pooler
        facts = {
            "subject": self.subject,
            "operation": self.operation,
            "holder": self._holder,
            "has_session": has_session,
            "seconds": self._seconds,
        }
        with connection.transaction():
            connection.execute(QUERIES.lock_subject, facts)
            found = connection.execute(QUERIES.find_lease, facts).fetchone()
            if found is not None:
                operation, name, who, _, late, gone = found
                if not (late or gone):
                    return LeaseHeld(self.subject, str(operation), name, who)
            before(connection)
            row = connection.execute(QUERIES.take_lease, facts).fetchone()
            assert row is not None
            self.token = int(row[0])
            self._name(connection, has_session=has_session)
        return None

    def _name(self, connection: Connection, *, has_session: bool) -> None:
        connection.execute(QUERIES.name_session, {"name": self.session_name})
        if has_session:
            connection.execute(QUERIES.hold_session_lock, {"subject": self.subject, "token": self.token})

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction in the control database that commits only if this lease is held until then.

        Raises:
            LeaseLost: another runner has taken it over.
            StoreUnavailable, psycopg.Error
        """
        with self._lock:
            connection = self._alive()
            with connection.transaction():
                if connection.execute(QUERIES.check_lease, self._facts).fetchone() is None:
                    raise self.lost()
                yield connection

    def check(self) -> None:
        """Raise `LeaseLost` if another runner has taken it over."""
        with self.write():
            return

    def lost(self) -> LeaseLost:
        """The error that says so."""
        return LeaseLost(self.subject, str(self.operation))

    def close(self) -> None:
        """Give it back, if it is still ours."""
        self._ended.set()
        if self._heart is not None:
            self._heart.join()
        with self._lock:
            connection, self._connection = self._connection, None
            if connection is None:
                return
            try:
                self.give_back(connection)
            except psycopg.Error:
                connection.close()  # the server lets go of it with the session
            else:
                connection.close()

    def give_back(self, control: Connection) -> None:
        """Let others have it once this transaction ends."""
        control.execute(QUERIES.give_back_lease, self._facts)

    @property
    def _facts(self) -> dict[str, object]:
        return {
            "subject": self.subject,
            "token": self.token,
            "operation": self.operation,
            "holder": self._holder,
            "seconds": self._seconds,
        }

    def _connect(self) -> Connection:
        server, login = self._store.topology.control.primary, self._store.topology.control.operator
        return postgres.connect(server, login)

    def _alive(self) -> Connection:
        """The connection, with the heart beaten on it; a new one where its server was restarted, or where a taker over
        has ended it."""
        assert self._connection is not None
        try:
            self._beat_on(self._connection)
        except psycopg.OperationalError:
            if not self._connection.broken:
                raise
            fresh = self._connect()
            try:
                self._beat_on(fresh)
                self._name(fresh, has_session=not self._store.topology.control.primary.pooler)
            except BaseException:
                fresh.close()
                raise
            self._connection = fresh
        return self._connection

    def _beat_on(self, connection: Connection) -> None:
        if connection.execute(QUERIES.beat, self._facts).fetchone() is None:
            raise self.lost()

    def _beat(self) -> None:
        """Say again and again that we are alive. What fails here is met again by the next event."""
        while not self._ended.wait(self._seconds / 6):
            try:
                with self._lock:
                    self._alive()
            except LeaseLost:
                return
            except (psycopg.Error, StoreError):
                continue


def session_prefix(operation: UUID) -> str:
    """How the names of all sessions begin that work on an operation."""
    return f"kos operation {operation} "
