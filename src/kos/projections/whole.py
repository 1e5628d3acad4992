"""Projections over all databases: which tenants they have, how far they are, and what is parked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from kos.log import head_of, position_of
from kos.log.consumer import OF_PROJECTIONS
from kos.log.whose import all_places, owner_of
from kos.projections.declared import declared
from kos.projections.generation import Site
from kos.projections.model import Projection, Whose
from kos.projections.queries import QUERIES
from kos.tenancy import Place, Store, list_tenants
from kos.tenancy.store import Connection


@dataclass(frozen=True)
class Part:
    """One tenant's part of a projection: plain values, for plans. `name` is what the directory calls it, or its id."""

    tenant: UUID
    name: str
    shard: str
    database: str

    def site(self, store: Store, projection: Projection) -> Site:
        """Where it is worked on, with the epoch that it has now."""
        place = Place(self.shard, self.database)
        with store.operator(place) as operator:
            return Site(store, place, projection, whose_of(operator, self.tenant))


def whose_of(connection: Connection, tenant: UUID) -> Whose:
    """A tenant as it is here now."""
    row = connection.execute(QUERIES.epoch_of, {"tenant": tenant}).fetchone()
    return Whose(tenant, *row) if row else Whose(tenant)


def parts_of(store: Store, tenants: Sequence[str] = ()) -> tuple[Part, ...]:
    """The tenants of these names or ids, else all that have a log.

    Raises:
        NoLog: nobody knows one of them.
    """
    if tenants:
        owners = [owner_of(store, each) for each in tenants]
        return tuple(Part(each.id, each.name, each.place.shard, each.place.database) for each in owners)
    names = {each.id: each.name for each in list_tenants(store)}
    found = []
    for place in all_places(store):
        with store.operator(place) as operator:
            here = operator.execute(QUERIES.tenants_here).fetchall()
        found += [Part(each, names.get(each, str(each)), place.shard, place.database) for (each,) in here]
    return tuple(found)


@dataclass(frozen=True)
class ProjectionStatus:
    """A projection in one database: tenants that it follows, events that it hasn't had, and since when the oldest of
    them is committed, in seconds; rows that are parked; how often it was made for a tenant that is still there, and for
    how many it is being made now."""

    projection: str
    shard: str
    database: str
    tenants: int
    tenants_behind: int
    behind: int
    lag_seconds: float
    parked: int
    rebuilds: int
    making: int

    @property
    def healthy(self) -> bool:
        return not self.parked


def status(store: Store, names: Sequence[str] = ()) -> list[ProjectionStatus]:
    """How far each declared projection is, in each database, as its cursors say."""
    wanted = names or list(declared(store.topology))
    found = []
    for place in all_places(store):
        with store.operator(place) as operator:
            rows = {row[0]: row[1:] for row in operator.execute(QUERIES.status)}
            for name in wanted:
                facts = {"feed": f"{OF_PROJECTIONS}{name}", "limit": None}
                waiting = operator.execute(QUERIES.waiting, facts).fetchall()
                tenants, parked, rebuilds, making = rows.get(name, (0, 0, 0, 0))
                lag = max((seconds for *_, seconds in waiting), default=0.0)
                behind = sum(events for _, events, _ in waiting)
                found.append(
                    ProjectionStatus(name, place.shard, place.database, tenants, len(waiting), behind, max(lag, 0.0),
                                     parked, rebuilds, making)
                )  # fmt: skip
    return found


@dataclass(frozen=True)
class Position:
    """How far a projection is in one tenant's log, which ends at `head`; and how many of its rows are parked."""

    projection: str
    tenant: str
    position: int
    head: int
    behind: int
    parked: int


def positions(store: Store, part: Part) -> list[Position]:
    """Of one tenant, in each declared projection, as its cursors say."""
    found = []
    with store.operator(Place(part.shard, part.database)) as operator:
        head = head_of(operator, part.tenant)
        for name in declared(store.topology):
            position = position_of(operator, f"{OF_PROJECTIONS}{name}", part.tenant).position
            parked = operator.execute(QUERIES.parked, {"projection": name, "tenant": part.tenant}).fetchall()
            found.append(Position(name, part.name, position, head, max(0, head - position), len(parked)))
    return found


@dataclass(frozen=True)
class ParkedRow:
    """A row that a projection leaves as it was, from that position of its tenant's log on."""

    projection: str
    shard: str
    database: str
    tenant: UUID
    table: str
    key: tuple[str, ...]
    position: int
    reason: str
    parked_at: datetime
    tried_at: datetime


def parked_everywhere(store: Store, name: str) -> list[ParkedRow]:
    """All that a projection has parked."""
    found = []
    for place in all_places(store):
        with store.operator(place) as operator:
            for tenant, schema, table, key, *rest in operator.execute(QUERIES.parked_everywhere, {"projection": name}):
                found.append(
                    ParkedRow(name, place.shard, place.database, tenant, f"{schema}.{table}", tuple(key), *rest)
                )
    return found
