"""The feed: a tenant's events by position, for whoever follows the log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from kos import errors
from kos.log.seal import QUERIES
from kos.tenancy.store import Connection

BATCH = 1000
IDLE = 0.1  # seconds between two looks for new events
DIVERGED = "KS021"


@dataclass(frozen=True)
class Event:
    """One change. `data` holds text by column, null where the value is; of an update, only what may have changed."""

    position: int
    type: str
    schema: str
    table: str
    operation: str
    key: tuple[str, ...]
    data: dict[str, str | None]
    incarnation: int
    transaction: str
    ends_transaction: bool
    leaf: bytes
    occurred_at: datetime


@dataclass(frozen=True)
class Cursor:
    """How far a reader is. With the leaf of the last event, a log that was restored to an earlier moment is noticed."""

    position: int = 0
    leaf: bytes | None = None

    @classmethod
    def after(cls, event: Event) -> Cursor:
        return cls(event.position, event.leaf)


def read(connection: Connection, tenant: UUID, cursor: Cursor, limit: int = BATCH) -> list[Event]:
    """The next events of a tenant after a cursor, at most `limit`.

    Raises:
        FeedDiverged: the log no longer has the event that the cursor stands on.
    """
    where = {"tenant": tenant, "after": cursor.position, "leaf": cursor.leaf, "limit": limit}
    try:
        rows = connection.execute(QUERIES.read_feed, where).fetchall()
    except psycopg.Error as error:
        if error.sqlstate == DIVERGED:
            raise errors.FeedDiverged(str(tenant), cursor.position) from error
        raise
    return [event_of(row) for row in rows]


def head_of(connection: Connection, tenant: UUID) -> int:
    """How far a tenant's log is; 0 where it has none."""
    row = connection.execute(QUERIES.head, {"tenant": tenant}).fetchone()
    assert row is not None
    return int(row[0])


def tail(
    connection: Connection,
    tenant: UUID,
    cursor: Cursor,
    *,
    follow: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Event]:
    """All events after a cursor; with `follow`, those that are sealed later as well, for ever."""
    while True:
        events = read(connection, tenant, cursor)
        for event in events:
            cursor = Cursor.after(event)
            yield event
        if not events:
            if not follow:
                return
            sleep(IDLE)


def event_of(row: tuple[Any, ...]) -> Event:
    """A row of `kos.read_feed` or `kos.feed_next`."""
    position, kind, schema, table, operation, key, *rest = row
    return Event(position, kind, schema, table, operation, tuple(key), *rest)
