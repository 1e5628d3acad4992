"""The locks of one transaction, under one time limit.

PostgreSQL's `lock_timeout` is for each lock. With the lock of one table held, all who use that wait while another's is
waited for; so all locks are taken first, each under what is left of the limit, and what comes after them likewise.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Literal

from kos import sql
from kos.schema_change.model import Action
from kos.schema_change.site import QUERIES

_STRONG = ("SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")


def in_one_message(
    schema: str, action: Action, statements: tuple[str, ...], limit: str, *, turned: bool = False
) -> SQL | Composed:
    """The statements of an action, after its locks. From the first on locks are held, so nothing comes between."""
    if action.waits or action.lock not in _STRONG:
        return sql.literal("; ".join(statements))
    less = QUERIES.limit_locks.format(limit=Literal(limit))
    parts: list[SQL | Composed] = [first(schema, action, limit, turned=turned)]
    for each in statements:
        parts += [less, sql.literal(each)]
    return SQL(";\n").join(parts)


def first(schema: str, action: Action, limit: str, *, turned: bool = False) -> Composed:
    """Locks on the tables of an action and their partitions: others' before its own, since who writes a row that refers
    to another takes them in that order; `turned`, the other way round. What the owner may not lock is left to the
    statements."""
    locks: Composed = QUERIES.lock_first.format(
        schema=Literal(schema),
        table=Literal(action.table),
        tables=Literal([action.table, *action.also]),
        whole=Literal(not action.only),
        mode=sql.literal(action.lock),
        limit=Literal(limit),
        sign=Literal(-1 if turned else 1),
    )
    return locks
