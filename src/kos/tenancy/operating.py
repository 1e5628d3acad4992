"""The operator's transactions: those that hold a lock for others, and those in one tenant, where it passes the fence as
everybody does, and sees all rows, or says that it may not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psycopg
from psycopg import IsolationLevel

from kos import errors
from kos.tenancy.entry import Entry, translate
from kos.tenancy.store import Connection
from kos.tenancy.tenant import QUERIES, Tenant


@contextmanager
def lasting(connection: Connection) -> Iterator[None]:
    """A transaction whose locks keep others out while something is done elsewhere. No setting of the server or of the
    role ends it meanwhile, as those for idle transactions would. It can be lost nevertheless: ask it something before
    each step that needs the lock. A transaction that is over does not answer."""
    with connection.transaction():
        connection.execute(QUERIES.lift_time_limits)
        yield


@contextmanager
def inside(connection: Connection, tenant: Tenant, entry: Entry) -> Iterator[Connection]:
    """The rest of an open transaction of the operator, in a tenant. The guard lets only this tenant's epoch write, but
    row security hides no other tenant, so every statement says which one it means.

    Raises:
        UnknownTenant, PlacementMoved
    """
    try:
        connection.execute(QUERIES.enter, entry.values(tenant))
        yield connection
    except psycopg.Error as error:
        typed = translate(error, tenant)
        if typed is error:
            raise
        raise typed from error


@contextmanager
def entered(connection: Connection, tenant: Tenant, entry: Entry) -> Iterator[Connection]:
    """A transaction of the operator in a tenant, as `entry` says, whatever the role's defaults are; see `inside`. It
    lasts no longer than `entry.timeout`, and no other limit ends it before."""
    connection.isolation_level = IsolationLevel[entry.isolation.upper().replace(" ", "_")]
    connection.read_only = entry.read_only
    with lasting(connection), inside(connection, tenant, entry):
        yield connection


def refuse_hidden(connection: Connection, tenant: Tenant, tables: Sequence[str]) -> None:
    """Pass if the connected role sees all rows of the tenant, which it has entered, in these tables of its schema.

    Asked after reading, in the same READ COMMITTED transaction, it is right about what was read: no policy can change
    under a table that is in use.

    Raises:
        TenantRowsHidden
    """
    found = connection.execute(QUERIES.hiding, {"schema": tenant.schema, "tables": list(tables)}).fetchone()
    if found is not None:
        raise errors.TenantRowsHidden(tenant.name, *found)
