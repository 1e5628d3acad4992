"""Whose log it is that somebody names, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from kos import errors
from kos.log.seal import QUERIES
from kos.tenancy import Place, Store, find_tenant
from kos.tenancy.placement import places
from kos.tenancy.store import Connection


class Owner(NamedTuple):
    """A tenant with a log: `name` is what the directory, or an adopted table, calls it."""

    id: UUID
    name: str
    place: Place


def all_places(store: Store) -> list[Place]:
    """Every database that has a log."""
    with store.control() as connection:
        return places(store.topology, connection)


def logs_of(connection: Connection, values: Sequence[str]) -> dict[UUID, str]:
    """The logs of tenants that an adopted table has under these values, whether anything of them is there or not."""
    return {identity: value for value, identity in connection.execute(QUERIES.logs_of, {"values": list(values)})}


def owner_of(store: Store, tenant: str) -> Owner:
    """A tenant of the directory, by name or id, or one that only adopted tables know, by its value there.

    Raises:
        NoLog: nobody knows it.
    """
    try:
        found = find_tenant(store, tenant)
        return Owner(found.id, found.name, Place(found.shard, found.database))
    except errors.UnknownTenant:
        for place in all_places(store):
            with store.operator(place) as operator:
                row = operator.execute(QUERIES.has_tenant, {"value": tenant}).fetchone()
            if row is not None and row[0] is not None:
                return Owner(row[0], tenant, place)
    raise errors.NoLog(tenant)
