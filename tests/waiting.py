"""Who waits for a lock. Tests run beside each other on one server: only the sessions of this database count.

Ask in autocommit: within a transaction the list of sessions stays as it was when it was read first.
"""

from __future__ import annotations

from typing import Any

import psycopg

WAITERS = """
select count(*) from pg_locks l join pg_stat_activity a using (pid)
 where not l.granted and a.datname = current_database()
   and l.locktype = any(%(kinds)s)
   and (%(relation)s::text is null or l.relation = to_regclass(%(relation)s))
"""
ADVISORY, ROW, RELATION = ["advisory"], ["transactionid", "tuple"], ["relation"]


def waiters(connection: psycopg.Connection[Any], kinds: list[str], relation: str | None = None) -> int:
    """How many sessions wait for such a lock, of this relation if one is named."""
    row = connection.execute(WAITERS, {"kinds": kinds, "relation": relation}).fetchone()
    assert row is not None
    return int(row[0])
