"""Which tables were taken in, at which level, and whether their capture is in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kos.adoption.enforce import enforced
from kos.adoption.tables import Logged, logged_tables
from kos.tenancy import Place, Store


@dataclass(frozen=True)
class Status:
    """One adopted table. `complete`: the log has every row that was there when it was taken in; `capture` is ok or
    broken, and `loses` says that changes are lost by it."""

    name: str
    level: str
    tenant_column: str | None
    baseline: str
    sensitive: dict[str, str]
    complete: bool
    since: datetime
    capture: str
    loses: bool
    faults: tuple[str, ...]


def status(store: Store, place: Place) -> tuple[Status, ...]:
    """The adopted tables of one database, by name.

    Raises:
        StoreUnavailable
    """
    with store.operator(place) as operator:
        secured = enforced(operator)
        return tuple(_status(each, each.name in secured) for each in logged_tables(operator))


def _status(table: Logged, secured: bool) -> Status:
    return Status(
        name=table.name,
        level="enforce" if secured else "log",
        tenant_column=table.tenant_column,
        baseline=table.baseline,
        sensitive=table.sensitive,
        complete=table.complete_at is not None,
        since=table.since,
        capture="broken" if table.faults else "ok",
        loses=table.loses,
        faults=table.faults,
    )
