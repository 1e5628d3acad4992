"""A cache that follows a tenant's log as far as a test says, and sessions that read through it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import redis

from fix_redis import OwnCache
from kos import log
from kos.projections.cache import KINDS, AsyncCacheReader, CacheKind, CacheProjection, CacheReader
from kos.projections.model import Change, Kind, Reached, Standing, TableName, Whose
from kos.tenancy import AsyncStore, Store, Tenant
from kos.topology import cache as opening
from kos.topology.model import CacheServer, Topology

OPERATIONS: dict[str, Kind] = {"I": "created", "U": "changed", "D": "deleted", "T": "truncated"}
PATIENT = 20.0  # seconds: no test depends on how fast the machine is
READ_NAME = "select name from atoms where id = %s"


class Follower:
    """The worker's part, in small: what a tenant's log has goes to the cache, when it is told to."""

    def __init__(self, store: Store, tenant: Tenant, server: CacheServer, kinds: Sequence[CacheKind] = KINDS) -> None:
        self.store = store
        self.tenant = tenant
        self.whose = Whose.of(tenant)
        self.projection = CacheProjection(server, kinds)
        self.standing = Standing("", Reached())
        self._operator = store.operator()
        self.operator = self._operator.__enter__()

    def close(self) -> None:
        self.projection.close()
        self._operator.__exit__(None, None, None)

    def begin(self) -> None:
        """A new generation that begins where the log ends now, and is seen."""
        made = self.projection.begin(self.whose, secrets.token_hex(8))
        made = self.projection.apply(self.whose, made, [], self.end())
        self.projection.switch(self.whose, made)
        self.standing = made

    def end(self) -> Reached:
        log.seal(self.operator, self.tenant.id)
        events = list(log.tail(self.operator, self.tenant.id, log.Cursor()))
        return Reached(events[-1].incarnation, events[-1].position, events[-1].leaf) if events else Reached()

    def follow(self, *, seal: bool = True) -> None:
        """All that is there."""
        if seal:
            log.seal(self.operator, self.tenant.id)
        reached = self.standing.reached
        while events := log.read(self.operator, self.tenant.id, log.Cursor(reached.position, reached.leaf)):
            last = events[-1]
            reached = Reached(last.incarnation, last.position, last.leaf)
            self.standing = self.projection.apply(self.whose, self.standing, [*map(change_of, events)], reached)


def change_of(event: log.Event) -> Change:
    kind = OPERATIONS[event.operation]
    return Change(TableName(event.table, event.schema), kind, event.key, event.data, event.position)


class Site:
    """A tenant with a cache, and the synchronous sessions that read through it."""

    reader_kind: Any = CacheReader

    def __init__(self, topology: Topology, tenant: Tenant, server: CacheServer, **options: Any) -> None:
        self.options = {"budget": PATIENT, "patience": PATIENT, "lease": 60.0, **options}
        self.topology = replace(topology, cache=server)
        self.store = Store(self.topology, pool_size=60)
        self.writer = Store(topology)  # another one: it learns nothing for the readers
        self.tenant = tenant
        self.follower = Follower(self.store, tenant, server, self.options.pop("kinds", KINDS))
        self.reader = self.reader_kind(server, self.follower.projection.kinds, **self.options)
        self.loads = 0
        self.open()

    def open(self) -> None:
        self.store.cache = self.reader

    def close(self) -> None:
        self.follower.close()
        self.store.close()
        self.writer.close()

    def insert(self, name: str) -> UUID:
        with self.writer.tenant(self.tenant.name) as acme:
            row = acme.execute("insert into atoms (atom_type, name) values ('city', %s) returning id", (name,))
            return row.fetchone()[0]  # type: ignore[index]

    def write(self, query: str, *values: Any) -> str:
        with self.writer.tenant(self.tenant.name) as acme:
            acme.execute(query, values)
        return str(acme.bookmark)

    def rename(self, atom: UUID, name: str) -> str:
        return self.write("update atoms set name = %s where id = %s", name, atom)

    def cached(
        self, key: Any, *, kind: str = "atom", before: Callable[[], Any] = lambda: None, name: Any = None, **how: Any
    ) -> Any:
        """The atom's name, through the cache; `before` and `after_load` happen around the load."""
        after_load = how.pop("after_load", lambda: None)
        options = {each: how.pop(each) for each in ("ttl", "any_user") if each in how}
        with self.store.tenant(name or self.tenant.name, **how) as acme:

            def load() -> Any:
                self.loads += 1
                before()
                row = acme.execute(READ_NAME, (key if isinstance(key, UUID) else str(key),)).fetchone()
                after_load()
                return row and row[0]

            return acme.cached(kind, key, load, **options)


class AsyncSite(Site):
    """The same with asynchronous sessions."""

    reader_kind = AsyncCacheReader

    def open(self) -> None:
        self.runner = asyncio.Runner()
        self.asynchronous = AsyncStore(self.topology, pool_size=60)
        self.asynchronous.cache = self.reader

    def close(self) -> None:
        self.follower.close()
        self.runner.run(self.asynchronous.close())
        self.runner.close()
        self.store.close()
        self.writer.close()

    def cached(
        self, key: Any, *, kind: str = "atom", before: Callable[[], Any] = lambda: None, name: Any = None, **how: Any
    ) -> Any:
        return self.runner.run(self.cached_there(key, kind=kind, before=before, name=name, **how))

    async def cached_there(
        self, key: Any, *, kind: str = "atom", before: Callable[[], Any] = lambda: None, name: Any = None, **how: Any
    ) -> Any:
        after_load = how.pop("after_load", lambda: None)
        options = {each: how.pop(each) for each in ("ttl", "any_user") if each in how}
        async with self.asynchronous.tenant(name or self.tenant.name, **how) as acme:

            async def load() -> Any:
                self.loads += 1
                before()
                row = await (await acme.execute(READ_NAME, (key,))).fetchone()
                after_load()
                return row and row[0]

            return await acme.cached(kind, key, load, **options)


SERVERS = ["valkey", pytest.param("redis", marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=SERVERS)
def module_cache(request: pytest.FixtureRequest) -> Iterator[OwnCache]:
    """A cache that the tests of one module share; none of them may stop it."""
    with OwnCache(request.param) as server:
        yield server


@pytest.fixture
def plain_client(module_cache: OwnCache) -> Iterator[redis.Redis]:
    """The driver's own client, on an empty cache."""
    with opening.open(module_cache.store) as client:
        client.flushall()
        yield client


@pytest.fixture
def site_of(database: Topology, tenant: Tenant) -> Iterator[Any]:
    """Makes a site on a cache; `kind` says whether its sessions are asynchronous."""
    made: list[Site] = []

    def make(server: CacheServer, kind: type[Site] = Site, **options: Any) -> Site:
        made.append(kind(database, tenant, server, **options))
        return made[-1]

    yield make
    for each in made:
        each.close()
