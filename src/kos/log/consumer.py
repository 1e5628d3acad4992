"""Named feeds: a cursor per tenant, beside the log, that moves when its consumer says what it has stored.

Each function takes a connection: an operator's, for any tenant, or a session's (`acme.connection`), for its own. In a
session, the consumer's effect and `done` are one transaction, so each event has its effect exactly once.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import psycopg

from kos import errors
from kos.log.feed import BATCH, DIVERGED, IDLE, Cursor, Event, event_of, read
from kos.log.seal import QUERIES
from kos.tenancy.store import Connection

OF_PROJECTIONS = "projection."  # how the cursors of projections are called: they follow what their stores say
_MOVED = "KS026"
_WITHIN = "KS027"


@dataclass(frozen=True)
class Batch:
    """Whole transactions that come next for a feed, and where its cursor stood before them."""

    feed: str
    tenant: UUID
    at: int
    events: tuple[Event, ...]

    @property
    def end(self) -> Cursor:
        """Where the cursor stands after them."""
        return Cursor.after(self.events[-1])


@dataclass(frozen=True)
class Consumer:
    """How far a feed is in a tenant's log, which ends at `head`. `since`: when the oldest event was committed that it
    hasn't had; None where it has had all."""

    feed: str
    tenant: UUID
    position: int
    head: int
    since: datetime | None
    moved_at: datetime | None

    @property
    def behind(self) -> int:
        """How many events it hasn't had."""
        return max(0, self.head - self.position)


def next_batch(connection: Connection, feed: str, tenant: UUID, limit: int = BATCH) -> Batch | None:
    """The next whole transactions: as many as have at most `limit` events together, or one that has more; None where
    nothing is there.

    Raises:
        FeedDiverged: the log no longer has the event that the cursor stands on.
    """
    with _typed(feed, tenant):
        rows = connection.execute(QUERIES.feed_next, {"feed": feed, "tenant": tenant, "limit": limit}).fetchall()
    events = tuple(event_of(row) for row in rows)
    return Batch(feed, tenant, events[0].position - 1, events) if events else None


def done(connection: Connection, batch: Batch) -> None:
    """The consumer has stored what a batch means to it.

    Raises:
        FeedMoved: another consumer has moved the cursor meanwhile, or this was said already.
        FeedDiverged: the log was restored since the batch was read.
    """
    advance(connection, batch.feed, batch.tenant, batch.at, batch.end)


def advance(connection: Connection, feed: str, tenant: UUID, at: int, end: Cursor) -> None:
    """The same without a batch, for who reads events by `kos.log.tail`: from `at` to the end of a transaction.

    Raises:
        FeedMoved, FeedDiverged, WithinTransaction, InvalidFeedName
    """
    where = {"feed": feed, "tenant": tenant, "at": at, "end": end.position, "leaf": end.leaf}
    with _typed(feed, tenant):
        connection.execute(QUERIES.feed_done, where)


def position_of(connection: Connection, feed: str, tenant: UUID) -> Cursor:
    """Where a feed's cursor stands; at 0 where it never moved."""
    row = connection.execute(QUERIES.feed_cursor, {"feed": feed, "tenant": tenant}).fetchone()
    assert row is not None
    return Cursor(*row)


def seek(connection: Connection, feed: str, tenant: UUID, to: Cursor) -> None:
    """Put a feed's cursor at the end of a transaction, or at 0.

    With the leaf that the consumer has seen there, a log that was restored is noticed.

    Raises:
        FeedDiverged, WithinTransaction, InvalidFeedName
    """
    where = {"feed": feed, "tenant": tenant, "at": to.position, "leaf": to.leaf}
    with _typed(feed, tenant):
        connection.execute(QUERIES.feed_seek, where)


def check_not_of_projection(feed: str) -> None:
    """For who may move a cursor: readers of a projection believe in its own.

    Raises:
        FeedOfProjection
    """
    if feed.startswith(OF_PROJECTIONS):
        raise errors.FeedOfProjection(feed, feed.removeprefix(OF_PROJECTIONS))


def drop(connection: Connection, feed: str, tenant: UUID | None = None) -> int:
    """Forget a feed, in one tenant or in all that the connection sees; how many cursors that were."""
    row = connection.execute(QUERIES.feed_drop, {"feed": feed, "tenant": tenant}).fetchone()
    assert row is not None
    return int(row[0])


def feeds(operator: Connection) -> list[Consumer]:
    """Every feed in every tenant's log of a database, by name."""
    return [Consumer(*row) for row in operator.execute(QUERIES.feeds).fetchall()]


def waiting(operator: Connection, feed: str, limit: int | None = 1000) -> list[Consumer]:
    """The tenants of a database that have something for a feed, the longest waiting first; also where it never was."""
    return [
        Consumer(feed, *row)
        for row in operator.execute(QUERIES.feed_waiting, {"feed": feed, "limit": limit}).fetchall()
    ]


def batches(
    connection: Connection,
    feed: str,
    tenant: UUID,
    *,
    limit: int = BATCH,
    follow: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Batch]:
    """All batches of a feed; with `follow`, those that come later as well, for ever.

    The cursor moves when the next batch is asked for: a loop's body has then stored the one before. Whoever leaves the
    loop within a batch gets it again. The connection commits by itself, as the operator's does.

    Raises:
        FeedMoved, FeedDiverged, InvalidFeedName
    """
    while True:
        batch = next_batch(connection, feed, tenant, limit)
        if batch is not None:
            yield batch
            done(connection, batch)
        elif follow:
            sleep(IDLE)
        else:
            return


def pages(
    connection: Connection,
    feed: str,
    tenant: UUID,
    *,
    limit: int = BATCH,
    follow: bool = False,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[list[Event]]:
    """The same with at most `limit` events at once: one page may end within a transaction, and the next goes on there.

    The cursor moves when the next page is asked for, up to the last transaction that is whole by then.

    Raises:
        FeedMoved, FeedDiverged, InvalidFeedName
    """
    cursor = position_of(connection, feed, tenant)
    at = cursor.position
    while True:
        events = read(connection, tenant, cursor, limit)
        if events:
            yield events
            cursor = Cursor.after(events[-1])
            ends = [event for event in events if event.ends_transaction]
            if ends:
                advance(connection, feed, tenant, at, Cursor.after(ends[-1]))
                at = ends[-1].position
        elif follow:
            sleep(IDLE)
        else:
            return


@contextmanager
def _typed(feed: str, tenant: UUID) -> Iterator[None]:
    try:
        yield
    except psycopg.Error as error:
        if error.sqlstate in (DIVERGED, _WITHIN):
            kind = errors.FeedDiverged if error.sqlstate == DIVERGED else errors.WithinTransaction
            raise kind(str(tenant), int(error.diag.message_detail or 0)) from error
        if error.sqlstate == _MOVED:
            raise errors.FeedMoved(feed, str(tenant)) from error
        if error.diag.constraint_name == "feed_cursors_feed_check":
            raise errors.InvalidFeedName(feed) from error
        raise
