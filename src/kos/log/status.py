"""How the log of each database is: what waits, how long, and which tables' changes are not captured."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from kos.log.cut import cut
from kos.log.seal import QUERIES
from kos.tenancy import Place, Store

EXAMPLES = 20


@dataclass(frozen=True)
class Broken:
    """A table whose capture is not as it should be; `loses`: changes are not in the log."""

    table: str
    fault: str
    loses: bool


@dataclass(frozen=True)
class LogStatus:
    """The log of one database. `lag_seconds`: the age of the oldest committed change without a position."""

    shard: str
    database: str
    pending_bytes: int
    pending_rows: int
    waiting_tenants: int
    lag_seconds: float
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
    """Compare every logged table with its log, at one cut: finds what was written past the triggers. Reads all rows."""
    with store.operator(place) as operator:
        waiting = operator.execute(QUERIES.unsealed, {"limit": None}).fetchall()
        tables = operator.execute(QUERIES.tables_of_log).fetchall()
    found = []
    with cut(store, place, [tenant for (tenant,) in waiting]) as here:
        for schema, table in tables:
            name = here.connection.execute(QUERIES.quoted, {"schema": schema, "table": table}).fetchone()
            assert name is not None
            rows = here.connection.execute(QUERIES.compare_log, {"table": name[0], "limit": limit}).fetchall()
            found += [Mismatch(f"{schema}.{table}", tenant, tuple(key), fault) for tenant, key, fault in rows]
    return found
