"""A store: the databases of a topology, opened for tenant sessions and for the operator."""

# Written by tools/make_sync.py from async_store.py: change that file.

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from threading import Lock
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolTimeout

from kos import errors, topology
from kos.tenancy import placement
from kos.tenancy.entry import Entry
from kos.tenancy.handshake import LIBRARY, checked, refused
from kos.tenancy.placement import Place
from kos.tenancy.session import Session
from kos.tenancy.tenant import QUERIES, Tenant, ready
from kos.topology import postgres
from kos.topology.model import Topology

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]


def open(using: Topology | None = None, *, pool_size: int = placement.POOL_SIZE) -> Store:
    """A store on the configured topology (or the one given). Connects when it is first used; starts no server.

    Raises:
        NotConfigured, ConfigInvalid: no topology could be found or read.
    """
    return Store(using or topology.find(), pool_size=pool_size)


class Store:
    """The databases of a topology. Sessions of tenants go through one pool per database, as the application's role.

    `pool_size` is the most connections per database. Use it as a context manager, or call `close`.
    """

    def __init__(self, using: Topology, *, pool_size: int = placement.POOL_SIZE) -> None:
        self.topology = using
        self._pool_size = pool_size
        self._pools: dict[Place, Pool] = {}
        self._directory: dict[str, Tenant] = {}
        self._lock = Lock()

    def tenant(self, name: str, **entry: Any) -> Session:
        """A session in a tenant, for a `with` block. Keywords are the fields of `Entry`: persona, user, request,
        address, agent, read_only, isolation, timeout.

        Raises (when the block is entered):
            UnknownTenant, TenantUnfinished, StoreUnavailable, DatabaseNotInstalled, DatabaseBehind, LibraryTooOld
        """
        return Session(self, name, Entry.of(**entry))

    def session(self, tenant: Tenant, **entry: Any) -> Session:
        """A session in a tenant that was found already, finished or not."""
        return Session(self, tenant.name, Entry.of(**entry), tenant)

    def find(self, name: str, *, again: bool = False) -> Tenant:
        """A tenant that can be entered, by name or id; from memory unless `again`."""
        known = self._directory.get(name)
        if known is not None and not again:
            return known
        with self.control() as connection:
            cursor = connection.execute(QUERIES.find_tenant, {"tenant": name})
            tenant = ready(name, cursor.fetchone())
        self._directory[name] = tenant
        return tenant

    @contextmanager
    def control(self) -> Iterator[Connection]:
        """A pooled connection to the control tables, as the application's role."""
        place = placement.control_place(self.topology)
        connection = self._take(place)
        try:
            yield connection
        finally:
            (self._pool(place)).putconn(connection)

    @contextmanager
    def operator(self, place: Place | None = None) -> Iterator[Connection]:
        """A connection of its own as the operator, in autocommit mode; to the control tables unless a place is named.

        The operator sees every tenant.
        """
        place = place or placement.control_place(self.topology)
        shard = placement.shard_named(self.topology, place.shard)
        connection = postgres.connect(placement.server_at(self.topology, place), shard.operator)
        try:
            yield connection
        finally:
            connection.close()

    def take(self, tenant: Tenant) -> Connection:
        """A connection to the tenant's database from the pool."""
        return self._take(placement.place_of(tenant))

    def give_back(self, tenant: Tenant, connection: Connection) -> None:
        """Return what `take` gave."""
        (self._pool(placement.place_of(tenant))).putconn(connection)

    def renew(self, tenant: Tenant) -> None:
        """Drop the pooled connections that died with their server."""
        (self._pool(placement.place_of(tenant))).check()

    def forget(self, place: Place) -> None:
        """Let go of a database that is going to disappear."""
        with self._lock:
            pool = self._pools.pop(place, None)
        if pool is not None:
            pool.close()

    def close(self) -> None:
        """Close all pools; sessions that are open lose their connections."""
        with self._lock:
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, place: Place) -> Connection:
        pool = self._pool(place)
        try:
            return pool.getconn()
        except PoolTimeout as error:
            server = placement.server_at(self.topology, place)
            raise errors.StoreUnavailable(server.name, server.address, str(error)) from error

    def _pool(self, place: Place) -> Pool:
        known = self._pools.get(place)
        if known is not None:
            return known
        with self._lock:
            if place not in self._pools:
                self._pools[place] = self._open_pool(place)
            return self._pools[place]

    def _open_pool(self, place: Place) -> Pool:
        shard = placement.shard_named(self.topology, place.shard)
        server = placement.server_at(self.topology, place)
        # One connection first: a pool would go on trying in the background and hide the reason.
        probe = postgres.connect(server, shard.app)
        try:
            cursor = probe.execute(QUERIES.handshake, {"library": LIBRARY})
            checked(server.address, cursor.fetchone())
        except psycopg.Error as error:
            raise refused(server.address, error) from error
        finally:
            probe.close()
        options = placement.pool_options(server, shard.app, self._pool_size)
        pool: Pool = ConnectionPool(**options, configure=None if server.pooler else _prepare)
        pool.open()
        return pool


def _prepare(connection: Connection) -> None:
    connection.execute(QUERIES.prepare_enter)
