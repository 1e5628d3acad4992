"""A first statement that is larger than what a socket takes at once."""

from __future__ import annotations

import asyncio

import pytest

from kos.tenancy import AsyncStore, Store, Tenant

MEGABYTE = 2**20
SIZES = [8]  # megabytes: more than loopback takes at once
LENGTH = "select length(%s::text)"


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_sent_to_its_end(store: Store, tenant: Tenant, size: int) -> None:
    with store.tenant(tenant.name) as session:
        assert session.execute(LENGTH, ("x" * size * MEGABYTE,)).fetchone() == (size * MEGABYTE,)


@pytest.mark.timeout(60)
@pytest.mark.parametrize("size", SIZES)
def test_it_is_sent_to_its_end_by_a_task(store: Store, tenant: Tenant, size: int) -> None:
    async def ask() -> object:
        async with AsyncStore(store.topology) as other, other.tenant(tenant.name) as session:
            return await (await session.execute(LENGTH, ("x" * size * MEGABYTE,))).fetchone()

    assert asyncio.run(ask()) == (size * MEGABYTE,)
