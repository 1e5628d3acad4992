"""Where the open change stands, in every placement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg

from kos import errors
from kos.journal import Record, plan_of
from kos.journal.history import BACKWARDS
from kos.schema_change.change import CHANGE, tidy
from kos.schema_change.model import CONTRACT, LEFT_OUT, PHASES, ChangePlan, Placement
from kos.schema_change.pace import check_query
from kos.schema_change.placements import by_place, look_for_placements
from kos.schema_change.site import QUERIES
from kos.schema_change.start import open_change
from kos.schema_change.throttle import Limits
from kos.tenancy import Store
from kos.tenancy.placement import Place


@dataclass(frozen=True)
class PlacementStatus:
    """How far one placement is. `doing` is what is under way or waited for. `pages` of `of_pages` of its tables have
    been filled, at `rate` rows per second; `seconds_left` at that rate. What nobody knows is None."""

    placement: str
    phase: str | None
    state: str
    doing: str | None
    error: str | None
    rows: int | None
    pages: int | None
    of_pages: int | None
    rate: float | None
    seconds_left: float | None
    updated_at: datetime | None


@dataclass(frozen=True)
class ChangeStatus:
    """The open change. `state` is its operation's: waiting means that it is started, and waits for finish or rollback.
    `phase` is the one that placements are in which are behind all others."""

    operation: UUID
    name: str
    state: str
    holder: str | None
    phase: str | None
    limits: Limits
    placements: tuple[PlacementStatus, ...]
    unreachable: tuple[str, ...]

    @property
    def is_left(self) -> bool:
        """Whether its run ended without a word: a lease that nobody has renewed is nobody's."""
        return self.holder is None and self.state in {"running", "rolling_back"}

    @property
    def counts(self) -> dict[str, int]:
        """How many placements are in each state."""
        found: dict[str, int] = {}
        for each in self.placements:
            key = f"{each.phase} {each.state}" if each.phase else each.state
            found[key] = found.get(key, 0) + 1
        return found


def change_status(store: Store) -> ChangeStatus:
    """Where the open change stands.

    Raises:
        NoChange, PlanUnreadable
    """
    record = open_change(store)
    plan: ChangePlan = plan_of(CHANGE, record)
    placements: list[PlacementStatus] = []
    late, unreachable = _late(store, plan, record)
    for place, here in by_place((*plan.placements, *late)).items():
        try:
            placements += _here(store, place, here, record, late)
        except (errors.StoreError, psycopg.Error) as error:
            unreachable.append(f"{place.name}: {error}")
    behind = [PHASES.index(each.phase) for each in placements if each.phase]
    return ChangeStatus(
        operation=record.id,
        name=plan.name,
        state=record.state,
        holder=record.holder,
        phase=PHASES[min(behind)] if behind else None,
        limits=limits_of(store, record.id),
        placements=tuple(placements),
        unreachable=tuple(unreachable),
    )


def limits_of(store: Store, operation: UUID) -> Limits:
    """The limits that hold for a change now."""
    with store.operator() as control:
        row = control.execute(QUERIES.limits, {"operation": operation}).fetchone()
    return Limits(*row) if row else Limits()


def throttle(
    store: Store,
    *,
    paused: bool | None = None,
    max_rate: float | None = None,
    max_lag_ms: float | None = None,
    max_latency_ms: float | None = None,
    latency_query: str | None = None,
) -> Limits:
    """Change the limits of the open change; it heeds them before its next batch. What is None stays; 0 lifts a limit,
    and a query that is empty is asked no more.

    Raises:
        NoChange
        LatencyUnknown: the query does not tell it; all limits are as before.
    """
    record = open_change(store)
    if latency_query:
        check_query(store, plan_of(CHANGE, record), latency_query)
    facts: dict[str, object] = {"operation": record.id, "paused": paused}
    for key, given, short in (
        ("max_rate", max_rate, "rate"),
        ("max_lag_ms", max_lag_ms, "lag"),
        ("max_latency_ms", max_latency_ms, "latency"),
        ("latency_query", latency_query, "query"),
    ):
        facts |= {key: given or None, f"set_{short}": given is not None}
    with store.operator() as control:
        row = control.execute(QUERIES.throttle, facts).fetchone()
    return Limits(*row) if row else Limits()


def _late(store: Store, plan: ChangePlan, record: Record) -> tuple[list[Placement], list[str]]:
    """Those that are there, and were not when the change was planned; and why nobody can tell."""
    if record.state in BACKWARDS or record.step == tidy.__name__:
        return [], []
    planned = {(each.place, each.schema) for each in plan.placements}
    try:
        found = look_for_placements(store, plan.scope)
    except errors.NoSchema:
        return [], []
    except (errors.KosError, psycopg.Error) as error:
        return [], [f"schemas that have come since: {error}"]
    late = [each for each in found.placements if (each.place, each.schema) not in planned]
    return late, [f"schemas that have come since: {place.name}: {error}" for place, error in found.lost.items()]


def _here(
    store: Store, place: Place, planned: list[Placement], record: Record, late: list[Placement]
) -> list[PlacementStatus]:
    facts = {"operation": record.id}
    with store.operator(place) as operator:
        begun = {row[0]: row for row in operator.execute(QUERIES.placements, facts).fetchall()}
        fills = {row[0]: row for row in operator.execute(QUERIES.fills, facts).fetchall()}
    names = [each.schema for each in planned]
    names += [schema for schema in begun if schema not in set(names)]
    # The last step forgets them, one database after another.
    unknown = (CONTRACT, "done") if record.step == tidy.__name__ else (None, "not begun")
    states = dict.fromkeys(names, unknown) | {each.schema: (None, "behind") for each in late if each.place == place}
    return [_status(Placement(*place, each), begun.get(each), fills.get(each), states[each]) for each in names]


def _status(
    placement: Placement,
    begun: tuple[Any, ...] | None,
    filled: tuple[Any, ...] | None,
    unknown: tuple[str | None, str],
) -> PlacementStatus:
    phase, state, doing, error, updated_at = begun[2:] if begun else (*unknown, None, None, None)
    phase = None if state == LEFT_OUT else phase  # it is behind nobody
    rows = pages = of_pages = rate = left = None
    if filled:
        _, rows, pages, of_pages, seconds = filled
        rate = rows / seconds if seconds else None
        left = (of_pages - pages) * seconds / pages if pages and seconds else None
    return PlacementStatus(
        placement=placement.name,
        phase=phase,
        state=state,
        doing=doing,
        error=error,
        rows=rows,
        pages=pages,
        of_pages=of_pages,
        rate=rate,
        seconds_left=left,
        updated_at=updated_at,
    )
