"""The locks of one transaction, under one time limit, and let go of without waiting for us.

PostgreSQL's `lock_timeout` is for each lock. With the lock of one table held, all who use that wait while another's is
waited for; so all locks are taken first, each under what is left of the limit, and what comes after them likewise. And
who is frozen, or far away, must not keep them: the COMMIT stands in the same message.
"""

from __future__ import annotations

from psycopg.sql import SQL, Composed, Literal

from kos import sql
from kos.schema_change.model import Action
from kos.schema_change.site import QUERIES

_STRONG = ("SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE")


def in_one_message(
    schema: str, action: Action, statements: tuple[str, ...], limit: str, *, note: SQL, turned: bool = False
) -> Composed:
    """The statements of an action, after its locks; the note of it, as the operator; and COMMIT. From the first on
    locks are held, so nothing comes between."""
    parts: list[SQL | Composed] = []
    if not statements or action.waits or action.lock not in _STRONG:
        parts += map(sql.literal, statements)
    else:
        parts.append(first(schema, action, limit, turned=turned))
        for each in statements:
            parts += [QUERIES.limit_locks.format(limit=Literal(limit)), sql.literal(each)]
    return SQL(";\n").join([*parts, QUERIES.act_as_ourselves, note, QUERIES.commit])


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
