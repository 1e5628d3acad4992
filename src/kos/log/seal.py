"""Sealing: committed changes get their positions. `kos.seal` does it; this says where and when."""

from __future__ import annotations

from uuid import UUID

from kos import sql
from kos.progress import Advance, silent
from kos.tenancy.placement import Place
from kos.tenancy.store import Connection, Store

QUERIES = sql.load("kos.log")
PENDING_BYTES = 256 * 1024 * 1024  # of what waits for its position; then that comes first


def seal(operator: Connection, tenant: UUID) -> int:
    """Seal what is committed by now of one tenant; how many events that were."""
    row = operator.execute(QUERIES.seal, {"tenant": tenant}).fetchone()
    assert row is not None
    return int(row[0])


def seal_all(operator: Connection) -> int:
    """Seal whatever waits in this database when this begins; how many events that were.

    Each tenant in a transaction of its own: one that fails undoes no other.
    """
    waiting = operator.execute(QUERIES.unsealed, {"limit": None}).fetchall()
    return sum(seal(operator, tenant) for (tenant,) in waiting)


def make_room(
    asked: Connection, store: Store, place: Place, progress: Advance = silent, *, at_most: int | None = None
) -> None:
    """For who writes much, before more is written than the log can give positions to: seal what waits, worker or not.

    `asked` is a connection to the place, in no transaction. Nothing is done while `at_most` bytes wait (PENDING_BYTES
    unless said), sealed ones included, until their space is given back.
    """
    row = asked.execute(QUERIES.pending_bytes).fetchone()
    if row is None or row[0] <= (PENDING_BYTES if at_most is None else at_most):
        return
    what = "sealing what waits before more is written"
    progress(what, 0, None)
    with store.operator(place) as operator:
        progress(what, seal_all(operator), None)
        operator.execute(QUERIES.rotate_pending)
