"""A cut: positions, and the snapshot that shows exactly what they hold.

Moves, backups, verification and projections begin with one: they read the tables in the snapshot, and the events after
the positions are what came later. No writer waits for it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from uuid import UUID

import stamina
from psycopg.sql import SQL, Identifier, Literal

from kos.errors import StoreBusy
from kos.log.seal import QUERIES
from kos.tenancy import Place, Store
from kos.tenancy.store import Connection

# Of more tenants than these all logs are locked as one: a lock for each would fill the table of locks, which is
# everybody's.
ONE_BY_ONE = 1000
PATIENCE = 60.0  # seconds


@dataclass(frozen=True)
class Cut:
    """`snapshot` can be imported (`set transaction snapshot`) while the cut is open. Positions are per tenant."""

    positions: dict[UUID, int]
    incarnation: int
    snapshot: str
    connection: Connection


@contextmanager
def cut(store: Store, place: Place, tenants: Sequence[UUID], *, lock_timeout: str | None = None) -> Iterator[Cut]:
    """A cut of some tenants of one database, open as long as the block.

    The seals commit at its end, so a cut whose block fails has sealed nothing. Until then nobody else seals these
    tenants; while a cut of more than 1,000 is open, nobody seals any. Import the snapshot, lock what you will read
    (`lock table … in access share mode`) and leave the block. A table that is truncated between its end and your
    first look at it would be empty in the snapshot. Lock with a `lock_timeout`, and begin again when it strikes: who
    waits to truncate stands before you, and waits for this block. `lock_timeout`: how long the cut itself waits for who
    keeps a logged table, or a seal; nobody seals these tenants meanwhile.

    Raises:
        psycopg.errors.LockNotAvailable: it has waited as long as that.
        StoreUnavailable
        StoreBusy: of more than 1,000 tenants, and somebody was sealing at every moment of a minute.
    """
    with store.operator(place) as operator, ExitStack() as locks:
        _lock(operator, tenants, locks)
        tables = operator.execute(QUERIES.tables_of_log).fetchall()
        operator.execute(QUERIES.begin_cut)
        try:
            if lock_timeout is not None:
                operator.execute(QUERIES.limit_cut.format(timeout=Literal(lock_timeout)))
            yield _seal_in_snapshot(operator, tables, tenants)
            operator.commit()
        except BaseException:
            operator.rollback()
            raise


def _lock(operator: Connection, tenants: Sequence[UUID], locks: ExitStack) -> None:
    """Before the snapshot exists: it must see what a sealer that holds a lock commits."""
    if len(tenants) > ONE_BY_ONE:
        _lock_all(operator)
        locks.callback(operator.execute, QUERIES.unlock_all_logs)
        return
    operator.execute(QUERIES.share_logs)
    locks.callback(operator.execute, QUERIES.unshare_logs)
    for (key,) in operator.execute(QUERIES.logs_in_order, {"tenants": list(tenants)}).fetchall():
        operator.execute(QUERIES.lock_log, {"key": key})
        locks.callback(operator.execute, QUERIES.unlock_log, {"key": key})


def _lock_all(operator: Connection) -> None:
    for attempt in stamina.retry_context(
        on=StoreBusy, attempts=None, timeout=PATIENCE, wait_initial=0.01, wait_max=0.1
    ):
        with attempt:
            if operator.execute(QUERIES.lock_all_logs).fetchone() != (True,):
                raise StoreBusy("PostgreSQL", "logs are sealed all the time: a cut of so many tenants finds no moment")


def _seal_in_snapshot(operator: Connection, tables: list[tuple[str, str]], tenants: Sequence[UUID]) -> Cut:
    if tables:
        names = SQL(", ").join(Identifier(*name) for name in tables)
        operator.execute(QUERIES.lock_tables.format(tables=names))
    positions = {}
    incarnation = 0
    for tenant in tenants:
        operator.execute(QUERIES.seal_locked, {"tenant": tenant})
        row = operator.execute(QUERIES.head, {"tenant": tenant}).fetchone()
        assert row is not None
        positions[tenant], incarnation = row[0], max(incarnation, row[1])
    snapshot = operator.execute(QUERIES.export_snapshot).fetchone()
    assert snapshot is not None
    return Cut(positions, incarnation, str(snapshot[0]), operator)
