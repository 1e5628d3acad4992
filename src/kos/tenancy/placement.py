"""Where a session's connections go: from a tenant's placement to a server, a role, and a pool."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import psycopg

from kos import errors
from kos.tenancy.tenant import QUERIES, Tenant
from kos.topology import postgres
from kos.topology.model import Login, PostgresServer, Shard, Topology

POOL_SIZE = 10
POOL_WAIT = 15.0  # seconds that a session waits for a connection


class Place(NamedTuple):
    """One database of one shard, as sessions and operations reach it."""

    shard: str
    database: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.shard}/{self.database}"


def shard_named(topology: Topology, name: str) -> Shard:
    """The shard of that name; `UnknownShard` if the configuration has none."""
    for shard in topology.shards:
        if shard.name == name:
            return shard
    raise errors.UnknownShard(name, ", ".join(shard.name for shard in topology.shards))


def place_of(tenant: Tenant) -> Place:
    """Where the tenant's tables are."""
    return Place(tenant.shard, tenant.database)


def control_place(topology: Topology) -> Place:
    """Where the control tables are."""
    return Place(topology.control.name, topology.control.primary.database)


def own_places(topology: Topology) -> list[Place]:
    """Every shard's own database."""
    return [Place(shard.name, shard.primary.database) for shard in topology.shards]


def places(topology: Topology, control: psycopg.Connection[Any]) -> list[Place]:
    """Every database that tenants may live in: the shards' own, and those that the directory names."""
    own = own_places(topology)
    try:
        rows = control.execute(QUERIES.databases).fetchall()
    except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
        return own  # not installed yet: each database says so itself
    known = {shard.name for shard in topology.shards}
    return own + [place for place in (Place(*row) for row in rows) if place.shard in known and place not in own]


def server_at(topology: Topology, place: Place) -> PostgresServer:
    """The primary of a place, with the place's own database."""
    return replace(shard_named(topology, place.shard).primary, database=place.database)


def pool_options(server: PostgresServer, login: Login, size: int) -> dict[str, Any]:
    """What psycopg's pool is made with. Each connection asks for the connection string anew, so that tokens that expire
    go on working."""
    return {
        "conninfo": "",
        "kwargs": partial(_parameters, server, login),
        "min_size": 0,
        "max_size": size,
        "timeout": POOL_WAIT,
        "num_workers": 1,
        "open": False,
    }


def pool_options_async(server: PostgresServer, login: Login, size: int) -> dict[str, Any]:
    """The same for asyncio. The secret is read in a thread: a command may take its time."""

    async def parameters() -> dict[str, Any]:
        return await asyncio.to_thread(_parameters, server, login)

    return pool_options(server, login, size) | {"kwargs": parameters}


def _parameters(server: PostgresServer, login: Login) -> dict[str, Any]:
    return {**postgres.conninfo(server, login), **postgres.driver_options(server), "autocommit": True}
