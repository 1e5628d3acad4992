"""A store: the databases of a topology, opened for tenant sessions and for the operator."""

from __future__ import annotations

from asyncio import Lock
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from kos import errors, topology
from kos.tenancy import placement
from kos.tenancy.async_session import AsyncSession
from kos.tenancy.entry import Entry
from kos.tenancy.handshake import LIBRARY, checked, refused
from kos.tenancy.placement import Place
from kos.tenancy.tenant import QUERIES, Tenant, ready
from kos.topology import postgres
from kos.topology.model import Topology

Connection = psycopg.AsyncConnection[TupleRow]
Pool = AsyncConnectionPool[Connection]


def open_async(using: Topology | None = None, *, pool_size: int = placement.POOL_SIZE) -> AsyncStore:
    """A store on the configured topology (or the one given). Connects when it is first used; starts no server.

    Raises:
        NotConfigured, ConfigInvalid: no topology could be found or read.
    """
    return AsyncStore(using or topology.find(), pool_size=pool_size)


class AsyncStore:
    """The databases of a topology. Sessions of tenants go through one pool per database, as the application's role.

    `pool_size` is the most connections per database. Use it as a context manager, or call `close`.
    """

    def __init__(self, using: Topology, *, pool_size: int = placement.POOL_SIZE) -> None:
        self.topology = using
        self._pool_size = pool_size
        self._pools: dict[Place, Pool] = {}
        self._directory: dict[str, Tenant] = {}
        self._lock = Lock()

    def tenant(self, name: str, **entry: Any) -> AsyncSession:
        """A session in a tenant, for a `with` block. Keywords are the fields of `Entry`: persona, user, request,
        address, agent, read_only, isolation, timeout.

        Raises (when the block is entered):
            UnknownTenant, TenantUnfinished, StoreUnavailable, DatabaseNotInstalled, DatabaseBehind, LibraryTooOld
        """
        return AsyncSession(self, name, Entry.of(**entry))

    def session(self, tenant: Tenant, **entry: Any) -> AsyncSession:
        """A session in a tenant that was found already, finished or not."""
        return AsyncSession(self, tenant.name, Entry.of(**entry), tenant)

    async def find(self, name: str, *, again: bool = False) -> Tenant:
        """A tenant that can be entered, by name or id; from memory unless `again`."""
        known = self._directory.get(name)
        if known is not None and not again:
            return known
        async with self.control() as connection:
            cursor = await connection.execute(QUERIES.find_tenant, {"tenant": name})
            tenant = ready(name, await cursor.fetchone())
        self._directory[name] = tenant
        return tenant

    @asynccontextmanager
    async def control(self) -> AsyncIterator[Connection]:
        """A pooled connection to the control tables, as the application's role."""
        place = placement.control_place(self.topology)
        connection = await self._take(place)
        try:
            yield connection
        finally:
            await (await self._pool(place)).putconn(connection)

    @asynccontextmanager
    async def operator(self, place: Place | None = None) -> AsyncIterator[Connection]:
        """A connection of its own as the operator, in autocommit mode; to the control tables unless a place is named.

        The operator sees every tenant.
        """
        place = place or placement.control_place(self.topology)
        shard = placement.shard_named(self.topology, place.shard)
        connection = await postgres.connect_async(placement.server_at(self.topology, place), shard.operator)
        try:
            yield connection
        finally:
            await connection.close()

    async def take(self, tenant: Tenant) -> Connection:
        """A connection to the tenant's database from the pool."""
        return await self._take(placement.place_of(tenant))

    async def give_back(self, tenant: Tenant, connection: Connection) -> None:
        """Return what `take` gave."""
        await (await self._pool(placement.place_of(tenant))).putconn(connection)

    async def renew(self, tenant: Tenant) -> None:
        """Drop the pooled connections that died with their server."""
        await (await self._pool(placement.place_of(tenant))).check()

    async def forget(self, place: Place) -> None:
        """Let go of a database that is going to disappear."""
        async with self._lock:
            pool = self._pools.pop(place, None)
        if pool is not None:
            await pool.close()

    async def close(self) -> None:
        """Close all pools; sessions that are open lose their connections."""
        async with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            await pool.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def _take(self, place: Place) -> Connection:
        pool = await self._pool(place)
        try:
            return await pool.getconn()
        except PoolTimeout as error:
            server = placement.server_at(self.topology, place)
            raise errors.StoreUnavailable(server.name, server.address, str(error)) from error

    async def _pool(self, place: Place) -> Pool:
        known = self._pools.get(place)
        if known is not None:
            return known
        async with self._lock:
            if place not in self._pools:
                self._pools[place] = await self._open_pool(place)
            return self._pools[place]

    async def _open_pool(self, place: Place) -> Pool:
        shard = placement.shard_named(self.topology, place.shard)
        server = placement.server_at(self.topology, place)
        # One connection first: a pool would go on trying in the background and hide the reason.
        probe = await postgres.connect_async(server, shard.app)
        try:
            cursor = await probe.execute(QUERIES.handshake, {"library": LIBRARY})
            checked(server.address, await cursor.fetchone())
        except psycopg.Error as error:
            raise refused(server.address, error) from error
        finally:
            await probe.close()
        options = placement.pool_options(server, shard.app, self._pool_size)
        pool: Pool = AsyncConnectionPool(**options, configure=None if server.pooler else _prepare)
        await pool.open()
        return pool


async def _prepare(connection: Connection) -> None:
    await connection.execute(QUERIES.prepare_enter)
