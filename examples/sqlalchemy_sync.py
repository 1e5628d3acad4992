"""SQLAlchemy 2 with kos: sessions whose every transaction is in one tenant. Copy this file.

    with tenant_session(engine, "acme") as session, session.begin():
        session.add(Atom(atom_type="city", name="Bern"))

    transact(lambda: tenant_session(engine, "acme"), lambda session: session.add(...))   # with retries

Needs SQLAlchemy 2.0.43 and psycopg 3: `create_engine("postgresql+psycopg://kos_app@…")`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Connection, Engine, FetchedValue, Numeric, event, text
from sqlalchemy.exc import DBAPIError, NotSupportedError
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, SessionTransaction, mapped_column

Result = TypeVar("Result")

# Sets who is at work, and where the tenant's tables are, for this transaction only.
ENTER = text("select kos.enter(:tenant, epoch => :epoch, persona => :persona, user_id => :user_id)")

# The tenant has moved; serialization failure; deadlock. In each of them nothing happened, so it may run again.
RETRYABLE = {"KS003", "40001", "40P01"}
ATTEMPTS = 4


class TenantSession(Session):
    """A session that enters `info["entry"]` whenever a transaction begins. Made by `tenant_session`."""


@event.listens_for(TenantSession, "after_begin")
def enter(session: Session, transaction: SessionTransaction, connection: Connection) -> None:
    """Enter the tenant, before any statement of the transaction.

    An event and not a call in `tenant_session`: a session that goes on after a commit begins a new transaction by
    itself, on any pooled connection, and must not find itself outside.
    """
    if transaction.nested:
        return  # a savepoint: its transaction has entered
    entry = session.info.get("entry") or {}
    if not entry.get("tenant"):
        raise RuntimeError("this session names no tenant: make it with tenant_session(engine, NAME)")
    driver = connection.connection.dbapi_connection
    if driver is None or connection.dialect.detect_autocommit_setting(driver):
        # The entry would end with its own statement.
        raise RuntimeError("a tenant is entered for one transaction, and AUTOCOMMIT has none")
    connection.execute(ENTER, entry)


def tenant_session(
    engine: Engine, tenant: str, *, epoch: int | None = None, persona: str | None = None, user_id: str | None = None
) -> Session:
    """A session in one tenant. `epoch` is what you believe of its placement; None believes the database."""
    return TenantSession(engine, info={"entry": entry(tenant, epoch, persona, user_id)})


def entry(tenant: str, epoch: int | None, persona: str | None, user_id: str | None) -> dict[str, Any]:
    """The parameters of ENTER."""
    return {"tenant": tenant, "epoch": epoch, "persona": persona, "user_id": user_id}


def transact(
    open_session: Callable[[], Session], work: Callable[[Session], Result], attempts: int = ATTEMPTS
) -> Result:
    """Run `work` in one transaction and commit; from its start again where the database says so.

    `open_session` is called for every attempt: if it looks up where the tenant is (engine, epoch), it looks again.
    `work` may run several times, so what it does outside of the database must stand repetition.
    """
    for attempt in range(1, attempts + 1):
        try:
            with open_session() as session, session.begin():
                session.connection()  # enters now: `work` never begins in the wrong place
                return work(session)
        except DBAPIError as error:
            if not may_run_again(error) or attempt == attempts:
                raise
        time.sleep(pause(attempt))
    raise ValueError(f"attempts is at least 1, not {attempts}")


def may_run_again(error: DBAPIError) -> bool:
    """Whether the transaction certainly did not happen. A lost connection has no SQLSTATE, and is never repeated."""
    # While an upgrade goes through the tenants' schemas, a prepared statement may meet a table of another shape
    # ("cached plan must not change result type"). The driver has dropped it by now.
    return isinstance(error, NotSupportedError) or getattr(error.orig, "sqlstate", None) in RETRYABLE


def pause(attempt: int) -> float:
    """Seconds before the next attempt; random, so that those who met once don't meet again."""
    return random.uniform(0, 0.02 * 2**attempt)


class Base(DeclarativeBase):
    """Tables are named without a schema: the search path says where the tenant's are."""


class Atom(Base):
    """`tenant_id` is not mapped: the database fills it in, and refuses any other."""

    __tablename__ = "atoms"

    id: Mapped[UUID] = mapped_column(primary_key=True, server_default=FetchedValue())
    atom_type: Mapped[str]
    name: Mapped[str]
    number_value: Mapped[float | None] = mapped_column(Numeric(asdecimal=False))
