"""SQLAlchemy 2 with kos, on asyncio. Copy this file and `sqlalchemy_sync.py`, whose event it shares.

    async with tenant_session(engine, "acme") as session, session.begin():
        session.add(Atom(atom_type="city", name="Bern"))

Works with `postgresql+psycopg` and `postgresql+asyncpg`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from sqlalchemy_sync import ATTEMPTS, TenantSession, entry, may_run_again, pause

Result = TypeVar("Result")


def tenant_session(
    engine: AsyncEngine,
    tenant: str,
    *,
    epoch: int | None = None,
    persona: str | None = None,
    user_id: str | None = None,
) -> AsyncSession:
    """A session in one tenant. `epoch` is what you believe of its placement; None believes the database."""
    return AsyncSession(
        engine,
        sync_session_class=TenantSession,  # the event that enters listens to this class
        info={"entry": entry(tenant, epoch, persona, user_id)},
        expire_on_commit=False,  # asyncio can't reload an attribute when it is read
    )


async def transact(
    open_session: Callable[[], AsyncSession],
    work: Callable[[AsyncSession], Awaitable[Result]],
    attempts: int = ATTEMPTS,
) -> Result:
    """Run `work` in one transaction and commit; from its start again where the database says so.

    `open_session` is called for every attempt: if it looks up where the tenant is (engine, epoch), it looks again.
    `work` may run several times, so what it does outside of the database must stand repetition.
    """
    for attempt in range(1, attempts + 1):
        try:
            async with open_session() as session, session.begin():
                await session.connection()  # enters now: `work` never begins in the wrong place
                return await work(session)
        except DBAPIError as error:
            if not may_run_again(error) or attempt == attempts:
                raise
        await asyncio.sleep(pause(attempt))
    raise ValueError(f"attempts is at least 1, not {attempts}")
