"""Who is in the way of a lock."""

from __future__ import annotations

from psycopg.sql import Identifier

from kos import sql
from kos.schema_change.facts import Connection

QUERIES = sql.load("kos.schema_change")


def described(
    pid: int | None, role: str | None, state: str | None, query: str | None, seconds: int | None = None
) -> str:
    """A session that is in the way, for people; or a prepared transaction. What PostgreSQL hides from us, as it does of
    other roles' sessions and of autovacuum, is a question mark."""
    since = "" if seconds is None else f", {seconds} s"
    if pid is None:
        return f"{state} {query!r} ({role or '?'}{since}): COMMIT PREPARED or ROLLBACK PREPARED ends it"
    return f"pid {pid} ({role or '?'}, {state or '?'}{since}): {query or 'hidden from us'}"


def blockers(
    connection: Connection, schemas: list[str], tables: list[str] | None, owner: str, *, modes: list[str] | None = None
) -> str:
    """Who holds a lock, of these modes or of any, on one of the tables, or on any of the schemas: the oldest
    transactions."""
    facts = {"schemas": schemas, "tables": tables, "modes": modes}
    with connection.transaction():
        # As the owner: PostgreSQL tells what a session does to its own role only.
        connection.execute(QUERIES.act_as.format(role=Identifier(owner)))
        found = connection.execute(QUERIES.blockers, facts).fetchall()
    return "; ".join(described(*row) for row in found) or "somebody who is gone now"
