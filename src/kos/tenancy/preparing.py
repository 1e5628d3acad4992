"""Which statements a pooled connection prepares on the server: those that go on when a table gets another column.

PostgreSQL refuses a prepared statement whose result would get another shape (SQLSTATE 0A000), and that ends the
transaction. Nothing tells beforehand: the tables may change between any two transactions, by anybody, and in tenants'
own schemas one connection meets tables of both shapes while a change goes through them. So what takes its columns from
the table (`select *`, `returning *`) is prepared only as the first statement of a transaction: that has done nothing
yet, and is run again. Later it is planned each time; one that names its columns is prepared wherever it stands.

This rests on psycopg's private `PrepareManager`, which decides for all cursors of a connection.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

import psycopg
from psycopg._preparing import Prepare, PrepareManager
from psycopg._queries import PostgresQuery

# A star in a list of columns stands behind one of these words, a comma, a full stop, or the parenthesis of DISTINCT ON;
# in count(*) behind an opening one; for a product behind an operand. A comment may hide what it stands behind. Where
# this takes something for a star that is none, it is planned each time, no more.
_STAR = re.compile(rb"\b(?:select|all|distinct|returning)\s*\*|[^\w\"'(\s]\s*\*|--|\btable\b", re.IGNORECASE)


class Preparing(PrepareManager):
    """Decides for one connection. `repeatable` while the first statement of a transaction is made."""

    repeatable = False

    def get(self, query: PostgresQuery, prepare: bool | None = None) -> tuple[Prepare, bytes]:
        """As psycopg decides, but for a star in what could not be run again."""
        found = super().get(query, prepare)
        if found[0] is not Prepare.NO and not self.repeatable and has_star(query.query):
            return Prepare.NO, b""
        return found


@lru_cache(maxsize=1000)
def has_star(query: bytes) -> bool:
    """Whether the columns of its result may be those of a table, whichever these are. In doubt it says so."""
    return _STAR.search(query) is not None


def decide(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Of a new connection, in which nothing is prepared yet."""
    connection._prepared = Preparing()


def repeatable(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], so: bool) -> None:
    """Whether what is sent next can be run again. Behind a pooler nothing is prepared, and it does not matter."""
    if isinstance(connection._prepared, Preparing):
        connection._prepared.repeatable = so
