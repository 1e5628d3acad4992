"""How the log of each database is: what waits, how long, and which tables' changes are not captured."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

import psycopg

from kos.errors import StoreBusy, ValueUnreadable
from kos.log.cut import cut
from kos.log.seal import QUERIES
from kos.tenancy import Place, Store
from kos.tenancy.store import Connection

EXAMPLES = 20
ATTEMPTS = 10
_UNREADABLE = "KS022"


@dataclass(frozen=True)
class Broken:
    """A table whose capture is not as it should be; `loses`: changes are not in the log."""

    table: str
    fault: str
    loses: bool


@dataclass(frozen=True)
class LogStatus:
    """The log of one database. `lag_seconds`: the age of the oldest committed change without a position; None where the
    server keeps no commit times."""

    shard: str
    database: str
    pending_bytes: int
    pending_rows: int
    waiting_tenants: int
    lag_seconds: float | None
    sealed_events: int
    tables: int
    incarnation: int | None
    commit_times: bool
    broken: tuple[Broken, ...]

    @property
    def healthy(self) -> bool:
        return not any(each.loses for each in self.broken)


@dataclass(frozen=True)
class Mismatch:
    """A row that its log knows otherwise."""

    table: str
    tenant: UUID
    key: tuple[str, ...]
    fault: str


def status(store: Store, place: Place) -> LogStatus:
    """The log of one database.

    Raises:
        StoreUnavailable
    """
    with store.operator(place) as operator:
        row = operator.execute(QUERIES.status).fetchone()
        broken = operator.execute(QUERIES.broken_captures).fetchall()
    assert row is not None
    size, rows, waiting, lag, sealed, tables, _, _, incarnation, timed = row
    return LogStatus(
        place.shard, place.database, size, rows, waiting, lag, sealed, tables, incarnation, timed,
        tuple(Broken(*each) for each in broken),
    )  # fmt: skip


def compare(store: Store, place: Place, limit: int = EXAMPLES) -> list[Mismatch]:
    """Compare every logged table with its log, at one cut: finds what was written past the triggers. Reads all rows.

    No writer waits; sealing does, until it is done.

    Raises:
        StoreBusy: new tenants kept writing between the list of tenants and the cut.
        ValueUnreadable: an encrypted value of the log was changed, or its key is gone.
    """
    for _ in range(ATTEMPTS):
        with store.operator(place) as operator:
            tenants = [tenant for (tenant,) in operator.execute(QUERIES.tenants_of_log)]
        with cut(store, place, tenants) as here:
            # A tenant whose first change came after the list is not in the cut, and would seem to have no log.
            if here.connection.execute(QUERIES.unsealed, {"limit": 1}).fetchone() is None:
                return _compared(here.connection, limit)
    raise StoreBusy("PostgreSQL", "tenants that are new to the log go on writing")


def _compared(connection: Connection, limit: int) -> list[Mismatch]:
    found = []
    for schema, table in connection.execute(QUERIES.tables_of_log).fetchall():
        name = connection.execute(QUERIES.quoted, {"schema": schema, "table": table}).fetchone()
        assert name is not None
        try:
            rows = connection.execute(QUERIES.compare_log, {"table": name[0], "limit": limit}).fetchall()
        except psycopg.Error as error:
            if error.sqlstate == _UNREADABLE:
                raise ValueUnreadable(error.diag.message_detail or "", error.diag.column_name or "") from error
            raise
        found += [Mismatch(f"{schema}.{table}", tenant, tuple(key), fault) for tenant, key, fault in rows]
    return found
