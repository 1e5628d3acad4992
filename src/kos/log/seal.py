"""Sealing: committed changes get their positions. `kos.seal` does it; this says where and when."""

from __future__ import annotations

from uuid import UUID

from kos import sql
from kos.tenancy.store import Connection

QUERIES = sql.load("kos.log")
TENANTS_AT_ONCE = 1000


def seal(operator: Connection, tenant: UUID) -> int:
    """Seal what is committed by now of one tenant; how many events that were."""
    row = operator.execute(QUERIES.seal, {"tenant": tenant}).fetchone()
    assert row is not None
    return int(row[0])


def seal_all(operator: Connection) -> int:
    """Seal whatever waits in this database when this begins; how many events that were.

    Each tenant in a transaction of its own: one that fails undoes no other.
    """
    waiting = operator.execute(QUERIES.unsealed, {"limit": TENANTS_AT_ONCE}).fetchall()
    return sum(seal(operator, tenant) for (tenant,) in waiting)
