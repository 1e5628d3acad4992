"""Seals under way in one database, each on a connection of its own."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any
from uuid import UUID

import psycopg

from kos.log.seal import QUERIES as LOG_QUERIES
from kos.pace import Growing
from kos.sql import load
from kos.translate import translated

QUERIES = load("kos.worker")
LOCK_TIMEOUT = "500ms"  # another's long seal of the same tenant must not hold a connection up

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Outcome:
    """How a seal ended: events that got their position, or what was raised."""

    tenant: UUID
    events: int
    raised: Exception | None
    seconds: float


class Seals:
    """At most `size` seals at once. `ended` is called, in a seal's own thread, after its outcome can be collected.

    Used by one thread, that of its database; the outcomes come back to it through `collect`.
    """

    def __init__(self, connect: Callable[[], Connection], size: int, ended: Callable[[], None]) -> None:
        self._connect = connect
        self._size = size
        self._ended = ended
        self._idle: deque[Connection] = deque()
        self._running: dict[UUID, list[Connection]] = {}
        self._outcomes: SimpleQueue[Outcome] = SimpleQueue()

    @property
    def running(self) -> set[UUID]:
        """Tenants that are being sealed."""
        return set(self._running)

    @property
    def free(self) -> int:
        """How many more may begin."""
        return self._size - len(self._running)

    def begin(self, tenant: UUID) -> None:
        """Seal a tenant, beside what this thread does."""
        using: list[Connection] = []
        self._running[tenant] = using
        # Daemons: what hangs inside the C library can't be interrupted, only left behind.
        threading.Thread(target=self._seal, args=(tenant, using), name=f"seal {tenant}", daemon=True).start()

    def collect(self) -> list[Outcome]:
        """What ended since the last time."""
        found = []
        with suppress(Empty):
            while True:
                outcome = self._outcomes.get_nowait()
                self._running.pop(outcome.tenant, None)
                found.append(outcome)
        return found

    def drop_idle(self) -> None:
        """Close the connections that are not in use."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def finish(self, seconds: float) -> list[Outcome]:
        """Wait for what is under way, then interrupt it; returns the outcomes. Begin nothing afterwards."""
        found: list[Outcome] = []
        for patience in (seconds, 1.0):
            deadline, pause = time.monotonic() + patience, Growing(0.005, 0.1)
            while self._running and time.monotonic() < deadline:
                time.sleep(pause.take())
                found += self.collect()
            for using in list(self._running.values()):
                for connection in list(using):
                    with suppress(psycopg.Error):  # it can't be reached: then its server ends it
                        connection.cancel_safe(timeout=1.0)
        self.drop_idle()
        return found

    def _seal(self, tenant: UUID, using: list[Connection]) -> None:
        began = time.monotonic()
        events, failure = 0, None
        try:
            using.append(self._take())
            events = seal(using[0], tenant, LOCK_TIMEOUT)
        except Exception as raised:  # noqa: BLE001 - told by the thread that collects it
            failure = raised
        # Back among the idle before the outcome is told: a connection counts once.
        for connection in using:
            if connection.broken:
                connection.close()
            else:
                self._idle.append(connection)
        self._outcomes.put(Outcome(tenant, events, failure, time.monotonic() - began))
        self._ended()

    def _take(self) -> Connection:
        with suppress(IndexError):
            return self._idle.pop()
        return self._connect()


def seal(connection: Connection, tenant: UUID, lock_timeout: str) -> int:
    """Seal what one tenant has waiting; returns the number of events. The connection is in autocommit mode."""
    row = connection.execute(LOG_QUERIES.seal_briefly, {"tenant": tenant, "lock_timeout": lock_timeout}).fetchone()
    return int(row[0]) if row and row[0] is not None else 0


def told(raised: Exception) -> str:
    """What is said of an error: never the rows that PostgreSQL quotes in its details."""
    if isinstance(raised, psycopg.Error) and raised.sqlstate and raised.diag.message_primary:
        return f"{raised.diag.message_primary} ({raised.sqlstate})"
    error = translated(raised)
    return str(error) if error else repr(raised)


def told_of_database(raised: Exception) -> str:
    """The same of an error that concerns a whole database."""
    if isinstance(raised, psycopg.errors.UndefinedFunction | psycopg.errors.InvalidSchemaName):
        return "its schema kos has no log yet: kos upgrade"
    return told(raised)
