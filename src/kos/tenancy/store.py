"""A store: the databases of a topology, opened for tenant sessions and for the operator."""

# Written by tools/make_sync.py from async_store.py: change that file.

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from threading import Lock
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg.rows import TupleRow
from psycopg_pool import ConnectionPool, PoolClosed, PoolTimeout

from kos import errors, topology
from kos.tenancy import placement
from kos.tenancy.bookmark import Bookmark
from kos.tenancy.entry import ATTEMPTS, Entry
from kos.tenancy.handshake import LIBRARY, checked, refused
from kos.tenancy.placement import Place
from kos.tenancy.preparing import decide
from kos.tenancy.session import Session, roll_back
from kos.tenancy.tenant import QUERIES, Tenant, ready
from kos.topology import forks, postgres
from kos.topology.model import Topology

Connection = psycopg.Connection[TupleRow]
Pool = ConnectionPool[Connection]

# As text: the core imports no capability.
_READERS = {
    "cache": ("kos.projections.cache", "CacheReader"),
    "graph": ("kos.projections.graph.reading", "GraphReader"),
}


def open(using: Topology | None = None, *, pool_size: int = placement.POOL_SIZE) -> Store:
    """A store on the configured topology (or the one given). Connects when it is first used; starts no server.

    Raises:
        NotConfigured, ConfigInvalid: no topology could be found or read.
    """
    return Store(using or topology.find(), pool_size=pool_size)


class Store:
    """The databases of a topology. Sessions of tenants go through one pool per database, as the application's role.

    `pool_size` is the most connections per database. Use it as a context manager, or call `close`. In a process that is
    forked from this one it has connections of its own.
    """

    def __init__(self, using: Topology, *, pool_size: int = placement.POOL_SIZE) -> None:
        self.topology = using
        self._pool_size = pool_size
        self._closed = False
        self._directory: dict[str, Tenant] = {}
        self._readers: dict[str, Any] = {}
        self._lent: dict[Connection, Pool] = {}
        self.begin_anew()
        forks.note(self)

    def begin_anew(self) -> None:
        """Have no connections yet, as in a process that was forked: those that there are belong to its parent."""
        lent, self._lent = self._lent, {}
        self._pools: dict[Place, Pool] = {}
        self._opening: dict[Place, Lock] = {}  # one each: a server that says nothing keeps nobody from another
        self._lock = Lock()
        self._making = threading.Lock()
        for connection in lent:
            forks.deafen(connection)

    def tenant(self, name: str, *, after: Bookmark | str | None = None, **entry: Any) -> Session:
        """A session in a tenant, for a `with` block. Other keywords are the fields of `Entry`: persona, user, request,
        address, agent, read_only, isolation, timeout. What it reads from the graph or the cache is not older than
        `after`, another session's bookmark.

        Raises:
            BookmarkUnreadable
        Raises (when the block is entered):
            UnknownTenant, TenantUnfinished, StoreUnavailable, PoolExhausted, StoreClosed, DatabaseNotInstalled,
            DatabaseBehind, LibraryTooOld
        """
        return Session(self, name, Entry.of(**entry), after=None if after is None else Bookmark.read(after))

    def session(self, tenant: Tenant, **entry: Any) -> Session:
        """A session in a tenant that was found already, finished or not."""
        return Session(self, tenant.name, Entry.of(**entry), tenant)

    @property
    def cache(self) -> Any:
        """What sessions read through: an `CacheReader`. Set another one for other kinds, times and limits."""
        return self._reader("cache")

    @cache.setter
    def cache(self, reader: Any) -> None:
        self._readers["cache"] = reader

    @property
    def graph(self) -> Any:
        """What sessions ask the graph through: an `GraphReader`. Set another one for other times."""
        return self._reader("graph")

    @graph.setter
    def graph(self, reader: Any) -> None:
        self._readers["graph"] = reader

    def _reader(self, what: str) -> Any:
        """Made when it is first used; one, also where several threads use it first."""
        found = self._readers.get(what)
        if found is None:
            with self._making:
                found = self._readers.get(what)
                if found is None:
                    module, name = _READERS[what]
                    found = self._readers[what] = getattr(import_module(module), name).of(self.topology)
        return found

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

    def remember(self, name: str, tenant: Tenant) -> None:
        """Keep what a session has learned about the tenant that it found by `name`."""
        self._directory[name] = tenant

    @contextmanager
    def control(self) -> Iterator[Connection]:
        """A pooled connection to the control tables, as the application's role; one that has just answered.

        Raises:
            StoreUnavailable: no connection could be had, or it was lost inside the block.
        """
        place = placement.control_place(self.topology)
        connection = self._take_alive(place)
        try:
            yield connection
        except psycopg.Error as error:
            if connection.broken:
                raise postgres.unavailable(placement.server_at(self.topology, place), error) from error
            raise
        finally:
            try:
                roll_back(connection)
            finally:
                self.give_back(connection)

    @contextmanager
    def operator(self, place: Place | None = None) -> Iterator[Connection]:
        """A connection of its own as the operator, in autocommit mode; to the control tables unless a place is named.

        The operator sees every tenant.
        """
        if self._closed:
            raise errors.StoreClosed()
        place = place or placement.control_place(self.topology)
        shard = placement.shard_named(self.topology, place.shard)
        connection = postgres.connect(placement.server_at(self.topology, place), shard.operator)
        try:
            yield connection
        finally:
            connection.close()

    @contextmanager
    def all_tenants(self, *, reason: str, place: Place | None = None) -> Iterator[Connection]:
        """One transaction of the operator over all tenants of a place; of the first shard's own database if none is
        named. Committed at the end of the block, rolled back on an exception.

        Who works, when and why is written down, and committed, before it begins, in `kos.cross_tenant_access` of that
        database; the events of what is written say so too. Tables are named with their schemas.

        Raises:
            ReasonMissing: nothing was begun.
            StoreUnavailable, StoreClosed
        """
        if not reason.strip():
            raise errors.ReasonMissing()
        with self.operator(place) as connection:
            cursor = connection.execute(QUERIES.begin_cross_tenant_access, {"reason": reason})
            (access,) = cursor.fetchone() or (None,)
            try:
                with connection.transaction():
                    connection.execute(QUERIES.cross_tenants, {"access": str(access)})
                    yield connection
            finally:
                if not connection.broken:
                    connection.execute(QUERIES.end_cross_tenant_access, {"access": access})

    def take(self, tenant: Tenant) -> Connection:
        """A connection to the tenant's database from the pool."""
        return self._take(placement.place_of(tenant))

    def give_back(self, connection: Connection) -> None:
        """Return what `take` gave. It goes to the pool that it is of, also where that was closed: it is closed then."""
        if self.has_lent(connection):
            self._lent.pop(connection).putconn(connection)
        else:
            connection.close()

    def has_lent(self, connection: Connection) -> bool:
        """Whether it is a connection of this process: not one that was taken before a fork."""
        return connection in self._lent

    def renew(self, tenant: Tenant) -> None:
        """Drop the pooled connections that died with their server, and see whether it takes new ones.

        Raises:
            StoreUnavailable: it does not, or the database is gone.
        """
        place = placement.place_of(tenant)
        (self._pool(place)).check()
        (self._connect(place)).close()

    def forget(self, place: Place) -> None:
        """Let go of a database that is going to disappear."""
        with self._lock:
            pool = self._pools.pop(place, None)
        if pool is not None:
            pool.close()

    def close(self) -> None:
        """Close all pools, and the connections to cache and graph. A session that has begun its transaction may end it;
        anything else raises `StoreClosed`."""
        with self._lock:
            self._closed = True
            pools, self._pools = list(self._pools.values()), {}
        for pool in pools:
            pool.close()
        for reader in self._readers.values():
            reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _take(self, place: Place) -> Connection:
        pool = self._pool(place)
        try:
            connection = pool.getconn()
        except PoolTimeout as error:
            # Where others have all connections, the server has nothing to do with it, and is not to be asked.
            if sum(lender is pool for lender in list(self._lent.values())) < self._pool_size:
                (self._connect(place)).close()
            raise errors.PoolExhausted(place.database, self._pool_size, placement.POOL_WAIT) from error
        except PoolClosed as error:
            if self._closed:
                raise errors.StoreClosed() from error
            raise postgres.unavailable(placement.server_at(self.topology, place), error) from error
        self._lent[connection] = pool
        return connection

    def _take_alive(self, place: Place) -> Connection:
        """As `_take`, but the connection has answered: a server that stopped has ended all those in the pool."""
        lost = psycopg.Error()
        for _ in range(ATTEMPTS):
            connection = self._take(place)
            try:
                ConnectionPool.check_connection(connection)
            except psycopg.Error as error:
                lost = error
            except BaseException:
                self.give_back(connection)
                raise
            else:
                return connection
            self.give_back(connection)
            (self._pool(place)).check()
        raise postgres.unavailable(placement.server_at(self.topology, place), lost) from lost

    def _pool(self, place: Place) -> Pool:
        known = self._pools.get(place)
        if known is not None:
            return known
        with self._opening.setdefault(place, Lock()):
            known = self._pools.get(place)
            if known is not None:
                return known
            if self._closed:
                raise errors.StoreClosed()
            pool = self._open_pool(place)
            with self._lock:
                if not self._closed:
                    self._pools[place] = pool
                    return pool
            pool.close()
            raise errors.StoreClosed()

    def _open_pool(self, place: Place) -> Pool:
        server = placement.server_at(self.topology, place)
        # One connection first: a pool would go on trying in the background and hide the reason.
        probe = self._connect(place)
        try:
            cursor = probe.execute(QUERIES.handshake, {"library": LIBRARY})
            checked(server.address, cursor.fetchone())
        except psycopg.Error as error:
            raise refused(server, error) from error
        finally:
            probe.close()
        app = placement.shard_named(self.topology, place.shard).app
        options = placement.pool_options(server, app, self._pool_size)
        pool: Pool = ConnectionPool(**options, configure=None if server.pooler else _prepare)
        pool.open()
        return pool

    def _connect(self, place: Place) -> Connection:
        """A connection beside the pool, which says why where none can be had."""
        shard = placement.shard_named(self.topology, place.shard)
        return postgres.connect(placement.server_at(self.topology, place), shard.app)


def _prepare(connection: Connection) -> None:
    decide(connection)
    connection.execute(QUERIES.prepare_enter)
