"""From a bookmark to the position from which on a reader of a tenant's log has what it stands for."""

from __future__ import annotations

import time
from collections.abc import Callable
from uuid import UUID

import psycopg

from kos import errors
from kos.log.seal import QUERIES
from kos.tenancy.bookmark import Bookmark
from kos.tenancy.store import Connection

_LOST = "KS028"
_PAUSE = 0.01  # seconds between two looks


def bookmark_position(connection: Connection, tenant: UUID, bookmark: Bookmark | str) -> int | None:
    """Where a reader has to be; None as long as that is not sealed. Asked in the tenant's database.

    Raises:
        BookmarkUnreadable
        BookmarkLost: it was restored, or promoted, since.
    """
    mark = Bookmark.read(bookmark)
    facts = {"tenant": tenant, "incarnation": mark.incarnation, "transaction": str(mark.transaction)}
    try:
        row = connection.execute(QUERIES.bookmark_position, facts).fetchone()
    except psycopg.Error as error:
        if error.sqlstate == _LOST:
            raise errors.BookmarkLost(str(mark)) from error
        raise
    return row[0] if row else None


def wait_for(
    connection: Connection,
    tenant: UUID,
    bookmark: Bookmark | str,
    *,
    seconds: float = 5.0,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """The same, once it is sealed. Not in a transaction whose snapshot stays.

    Raises:
        BookmarkUnsealed: not within that time.
        BookmarkUnreadable, BookmarkLost
    """
    deadline = clock() + seconds
    while (position := bookmark_position(connection, tenant, bookmark)) is None:
        if clock() >= deadline:
            raise errors.BookmarkUnsealed(str(bookmark), seconds)
        sleep(_PAUSE)
    return position
