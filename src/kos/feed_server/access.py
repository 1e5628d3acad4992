"""The server's own pooled sessions, as the operator: each is held for one question, and never while a client reads."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from threading import Lock
from typing import Any

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout

from kos import errors
from kos.log.whose import Owner, owner_of
from kos.tenancy import Place, Store
from kos.tenancy.placement import POOL_WAIT, pool_options, server_at, shard_named
from kos.topology import postgres
from kos.topology.model import Feed

SESSIONS = 4  # per database
Connection = psycopg.Connection[Any]


class Access:
    """Who may follow what, and the sessions to answer with. Tokens are read when this is made."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.feeds = {feed.name: feed for feed in store.topology.feeds}
        self._tokens = {feed.name: _digest(feed.token.read()) for feed in store.topology.feeds}
        self._pools: dict[Place, ConnectionPool[Connection]] = {}
        self._lock = Lock()

    def feed(self, name: str, authorization: str | None) -> Feed | None:
        """The feed of that name, if this header shows its token. Takes as long for one that isn't there."""
        scheme, _, shown = (authorization or "").partition(" ")
        right = hmac.compare_digest(_digest(shown), self._tokens.get(name, bytes(32)))
        return self.feeds.get(name) if right and scheme.lower() == "bearer" else None

    def owner(self, feed: Feed, tenant: str) -> Owner:
        """A tenant that this feed may follow.

        Raises:
            NoLog: it may not, or there is none.
        """
        owner = owner_of(self.store, tenant)
        if not may_follow(feed, owner.name, str(owner.id)):
            raise errors.NoLog(tenant)
        return owner

    @contextmanager
    def session(self, place: Place) -> Iterator[Connection]:
        """A session for one question.

        Raises:
            StoreUnavailable, PoolExhausted
        """
        pool = self._pool(place)
        try:
            connection = pool.getconn()
        except PoolTimeout as error:
            postgres.connect(server_at(self.store.topology, place), self._login(place)).close()  # says why
            raise errors.PoolExhausted(place.database, SESSIONS, POOL_WAIT) from error
        try:
            yield connection
        finally:
            pool.putconn(connection)

    def close(self) -> None:
        """End all sessions."""
        for pool in self._pools.values():
            pool.close()

    def _login(self, place: Place) -> Any:
        return shard_named(self.store.topology, place.shard).operator

    def _pool(self, place: Place) -> ConnectionPool[Connection]:
        with self._lock:
            if place not in self._pools:
                options = pool_options(server_at(self.store.topology, place), self._login(place), SESSIONS)
                pool: ConnectionPool[Connection] = ConnectionPool(
                    **options, configure=_by_itself, check=ConnectionPool.check_connection
                )
                pool.open()
                self._pools[place] = pool
            return self._pools[place]


def may_follow(feed: Feed, *names: str) -> bool:
    """Whether a tenant that has these names is one of the feed's."""
    return feed.tenants is None or any(name in feed.tenants for name in names)


def _by_itself(connection: Connection) -> None:
    """Each statement commits: no transaction is open between two."""
    connection.autocommit = True


def _digest(token: str) -> bytes:
    """So that all compared values have one length."""
    return sha256(token.encode()).digest()
