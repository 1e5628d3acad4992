"""Which tables were taken in, at which level, and whether their capture is in order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from kos.adoption.tables import TakenIn, tables_taken_in
from kos.tenancy import Place, Store


@dataclass(frozen=True)
class Status:
    """One adopted table. `complete`: the log has every row that was there when it was taken in; `capture` is ok or
    broken, and `loses` says that changes are lost by it. A table that can be kept apart and not logged is at level
    enforce with neither `baseline` nor `capture`."""

    name: str
    level: str
    tenant_column: str | None
    baseline: str | None
    sensitive: dict[str, str]
    complete: bool
    since: datetime
    capture: str | None
    loses: bool
    faults: tuple[str, ...]


def status(store: Store, place: Place) -> tuple[Status, ...]:
    """The adopted tables of one database, by name.

    Raises:
        StoreUnavailable
    """
    with store.operator(place) as operator:
        return tuple(map(_status, tables_taken_in(operator)))


def _status(table: TakenIn) -> Status:
    return Status(
        name=table.name,
        level="enforce" if table.enforced else "log",
        tenant_column=table.tenant_column,
        baseline=table.baseline,
        sensitive=table.sensitive,
        complete=table.complete_at is not None,
        since=table.since,
        capture=("broken" if table.faults else "ok") if table.logged else None,
        loses=table.loses,
        faults=table.faults,
    )
