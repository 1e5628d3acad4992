"""A task that is cancelled while its session cleans up after itself."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from kos.tenancy import AsyncStore, Store, Tenant


async def cancelled_at(monkeypatch: pytest.MonkeyPatch, what: str, task: Any) -> None:
    """Run it until its connection is asked that, whose answer takes long, and cancel it there."""
    reached = asyncio.Event()

    async def slow(*_: Any) -> None:
        reached.set()
        await asyncio.sleep(3600)

    with monkeypatch.context() as patched:
        patched.setattr(psycopg.AsyncConnection, what, slow)
        running = asyncio.create_task(task)
        await reached.wait()
        running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running


@pytest.mark.parametrize("statement", ["select 1/0", "select 1"], ids=["failed at once", "failed later"])
def test_its_connection_is_not_lost_to_others(
    store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, statement: str
) -> None:
    async def fail(other: AsyncStore) -> None:
        async with other.tenant(tenant.name) as session:
            await session.execute(statement)
            raise ZeroDivisionError

    async def go() -> None:
        async with AsyncStore(store.topology, pool_size=1) as other:
            await other.find(tenant.name)
            for _ in range(3):
                await cancelled_at(monkeypatch, "rollback", fail(other))
            async with asyncio.timeout(30), other.tenant(tenant.name) as session:
                found = await (await session.execute("select kos.current_tenant_id()")).fetchone()
                assert found == (tenant.id,)

    asyncio.run(go())


def test_nor_is_that_of_the_directory(store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    async def go() -> None:
        async with AsyncStore(store.topology, pool_size=1) as other:
            for _ in range(3):
                await cancelled_at(monkeypatch, "rollback", other.find(tenant.name, again=True))
            async with asyncio.timeout(30):
                assert (await other.find(tenant.name, again=True)).id == tenant.id

    asyncio.run(go())
