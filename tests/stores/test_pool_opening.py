"""Opening a pool may take long: a server says nothing, a command prints the secret. Others don't wait for it."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pytest

from fix_proxy import Proxy, ProxyTo
from kos import errors
from kos.tenancy import AsyncStore, Store, Tenant
from kos.topology import cache, graph
from kos.topology.model import Login, Secret, Topology

HERE = "select kos.current_tenant_id()"


@dataclass
class Silent:
    """Another shard, which takes connections and says nothing until it is healed, and a tenant that is there."""

    proxy: Proxy
    topology: Topology
    tenant: Tenant

    def is_asked(self) -> bool:
        return self.proxy.living() > 0


@pytest.fixture
def silent(store: Store, tenant: Tenant, proxy_to: ProxyTo) -> Iterator[Silent]:
    control = store.topology.control
    proxy = proxy_to(control.primary)
    proxy.stall()
    shard = replace(control, name="silent", primary=proxy.of(control.primary))
    topology = replace(store.topology, shards=(control, shard))
    yield Silent(proxy, topology, replace(tenant, shard="silent"))
    proxy.heal()


def until(is_so: Callable[[], bool]) -> None:
    waiting = threading.Event()
    for _ in range(3000):
        if is_so():
            return
        waiting.wait(0.01)
    raise AssertionError


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed meanwhile"])
def test_a_shard_that_says_nothing_keeps_nobody_else_waiting(silent: Silent, tenant: Tenant, closed: bool) -> None:
    said: list[Any] = []

    def work() -> None:
        try:
            with store.session(silent.tenant) as session:
                said.append(session.execute(HERE).fetchone())
        except errors.KosError as error:
            said.append(type(error))

    with Store(silent.topology) as store:
        waiting = threading.Thread(target=work)
        waiting.start()
        until(silent.is_asked)
        with store.tenant(tenant.name) as session:
            assert session.execute(HERE).fetchone() == (tenant.id,)
        if closed:
            store.close()
        assert said == [], "it had to wait for the other"
        silent.proxy.heal()
        waiting.join(60)
    assert said == [errors.StoreClosed if closed else (tenant.id,)]


@pytest.mark.parametrize("closed", [False, True], ids=["open", "closed meanwhile"])
def test_nor_another_task(silent: Silent, tenant: Tenant, closed: bool) -> None:
    async def one(session: Any) -> Any:
        async with session:
            return await (await session.execute(HERE)).fetchone()

    async def go() -> None:
        async with AsyncStore(silent.topology) as store:
            waiting = asyncio.create_task(one(store.session(silent.tenant)))
            await asyncio.to_thread(until, silent.is_asked)
            assert await one(store.tenant(tenant.name)) == (tenant.id,)
            if closed:
                await store.close()
            assert not waiting.done(), "it had to wait for the other"
            silent.proxy.heal()
            if closed:
                with pytest.raises(errors.StoreClosed):
                    await waiting
            else:
                assert await waiting == (tenant.id,)

    asyncio.run(go())


# secrets


class Commands:
    """Secrets that are printed only while the event loop goes on."""

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[threading.Event] = queue.SimpleQueue()
        self.count = 0

    def login(self, login: Login) -> Login:
        def read() -> str:
            self.count += 1
            answer = threading.Event()
            self._asked.put(answer)
            assert answer.wait(15), "the loop stands still"
            assert login.password
            return login.password.read()

        return replace(login, password=Secret(read))

    async def answer(self) -> None:
        while True:
            with suppress(queue.Empty):
                self._asked.get_nowait().set()
            await asyncio.sleep(0.001)

    def run(self, work: Awaitable[Any]) -> None:
        async def go() -> None:
            answering = asyncio.create_task(self.answer())
            await work
            answering.cancel()

        asyncio.run(go())


async def use_postgres(store: Store, commands: Commands) -> None:
    control = store.topology.control
    shard = replace(control, app=commands.login(control.app))
    async with AsyncStore(replace(store.topology, shards=(shard,))) as other, other.control() as connection:
        await connection.execute("select 1")


async def use_cache(store: Store, commands: Commands) -> None:
    server = store.topology.cache
    assert server
    assert server.login
    async with cache.open_async(replace(server, login=commands.login(server.login))) as client:
        await client.ping()


async def use_graph(store: Store, commands: Commands) -> None:
    server = store.topology.graph
    assert server
    async with graph.open_async(replace(server, login=commands.login(server.login))) as driver:
        await driver.verify_connectivity()


@pytest.mark.parametrize("use", [use_postgres, use_cache, use_graph])
def test_the_loop_goes_on_while_a_command_prints_a_secret(full_store: Store, use: Any) -> None:
    commands = Commands()
    commands.run(use(full_store, commands))
    assert commands.count >= 1
