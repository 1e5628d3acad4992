"""Sealing: committed changes get their positions. `kos.seal` does it; this says where and when."""

from __future__ import annotations

import time
from contextlib import suppress
from uuid import UUID

import psycopg

from kos import sql
from kos.progress import Advance, silent
from kos.tenancy.placement import Place
from kos.tenancy.store import Connection, Store

QUERIES = sql.load("kos.log")
PENDING_BYTES = 256 * 1024 * 1024  # of what waits for its position; then that comes first
LOCK_TIMEOUT = "1s"  # for the log of a tenant that somebody else seals, or cuts
REST_SECONDS, REST_SHARE = 1.0, 10.0  # between two attempts that made no room, and in times of what one took


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


class Room:
    """Room in the log of a place, for who writes much there: before more is written than positions can be given to,
    what waits is sealed, whether a worker runs or not.

    It is crowded where the tables of what waits have more than `at_most` bytes (PENDING_BYTES unless said); what is
    sealed counts until its space is given back. Where that can't be, as beside a transaction that goes on and on, it is
    tried again only now and then.
    """

    def __init__(self, store: Store, place: Place, progress: Advance = silent, *, at_most: int | None = None) -> None:
        self._store, self._place, self._progress = store, place, progress
        self._at_most = PENDING_BYTES if at_most is None else at_most
        self._again = float("-inf")

    def make(self, asked: Connection) -> bool:
        """Seal, where it is crowded; whether it was. `asked` is a connection to the place, in no transaction.

        Raises:
            StoreUnavailable
        """
        if time.monotonic() < self._again or not self._is_crowded(asked):
            return False
        began = time.monotonic()
        what = "sealing what waits before more is written"
        self._progress(what, 0, None)
        with self._store.operator(self._place) as operator:
            for count, (tenant,) in enumerate(operator.execute(QUERIES.unsealed, {"limit": None}).fetchall(), start=1):
                # Whoever can't be sealed now, or at all, is the worker's to tell, and none of ours.
                with suppress(psycopg.Error):
                    operator.execute(QUERIES.seal_briefly, {"tenant": tenant, "lock_timeout": LOCK_TIMEOUT})
                self._progress(what, count, None)
            for _ in range(2):  # the one takes turns, the other gives back what was full
                with suppress(psycopg.Error):
                    operator.execute(QUERIES.rotate_pending)
        if self._is_crowded(asked):
            now = time.monotonic()
            self._again = now + max(REST_SECONDS, (now - began) * REST_SHARE)
        return True

    def _is_crowded(self, asked: Connection) -> bool:
        row = asked.execute(QUERIES.pending_bytes).fetchone()
        return row is not None and row[0] > self._at_most
