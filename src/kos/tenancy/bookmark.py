"""A bookmark: what a session has written, as a short text that travels, in a header or a cookie.

It is the transaction's id, and the incarnation that it was counted in. It becomes a position when the transaction is
sealed: who has come to that position shows what the session wrote.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from time import monotonic
from typing import Any, Self
from weakref import WeakKeyDictionary

import psycopg
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from kos import errors

TRANSACTION = b"select pg_catalog.pg_current_xact_id_if_assigned()"  # before the COMMIT
INCARNATION = b"select kos.incarnation()"  # at the end: whatever becomes of it, the transaction is committed
_WRITTEN = re.compile(r"([1-9][0-9]{0,9})\.([1-9][0-9]{0,19})", re.ASCII)
Connection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
KNOWN_SECONDS = 10.0  # that an incarnation is believed: one may begin under a server that goes on
_known: WeakKeyDictionary[Any, tuple[int, float]] = WeakKeyDictionary()  # with when it was asked


@dataclass(frozen=True)
class Bookmark:
    """`str()` makes a text of it, `Bookmark.read` a bookmark of that text."""

    incarnation: int
    transaction: int

    def __str__(self) -> str:
        return f"{self.incarnation}.{self.transaction}"

    @classmethod
    def read(cls, text: str | Bookmark) -> Self:
        """A bookmark that came back.

        Raises:
            BookmarkUnreadable: it isn't one.
        """
        found = _WRITTEN.fullmatch(str(text))
        if found is None or int(found[1]) >= 2**31 or int(found[2]) >= 2**64:
            raise errors.BookmarkUnreadable(str(text)[:40])
        return cls(int(found[1]), int(found[2]))


def is_known(connection: Connection) -> bool:
    """Whether the server's incarnation was asked a moment ago. Behind a pooler the next transaction may be another
    server's."""
    known = _known.get(connection)
    return known is not None and monotonic() - known[1] < KNOWN_SECONDS and connection.prepare_threshold is not None


def made(connection: Connection, transaction: PGresult, incarnation: PGresult | None) -> Bookmark | None:
    """Of what the server said to both questions; None where the transaction has written nothing."""
    if incarnation is not None and incarnation.status == ExecStatus.TUPLES_OK:
        value = incarnation.get_value(0, 0)
        if value is not None:  # a standby, which may become another one
            _known[connection] = int(value), monotonic()
    written = transaction.get_value(0, 0) if transaction.status == ExecStatus.TUPLES_OK else None
    return Bookmark(_known[connection][0], int(written)) if written and connection in _known else None
