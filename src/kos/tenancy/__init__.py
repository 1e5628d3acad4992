"""Tenants, where each one lives, and the fence.

Promise: a session sees and changes the rows of the one tenant that it has entered, in the place where that tenant
lives now; a session that comes with an old placement is refused by the database itself, and nothing is written.

Invariants: the identity of a session ends with its transaction. Lock first, then check, in two statements. An epoch
is raised only while nobody is inside. No role of kos has superuser or BYPASSRLS.

Words: a *tenant* has a *placement* (shard, database, schema, tier) and an *epoch*; to *enter* it is to pass its
*fence* for one transaction.
"""

from kos.tenancy.async_store import AsyncStore, open_async
from kos.tenancy.create import (
    create_tenant,
    enterable,
    find_shipped,
    find_tenant,
    finish_tenant,
    list_tenants,
    look_at,
    remove_tenant,
    rows_per_table,
    shipped_tenants,
)
from kos.tenancy.install import Change, Failure, install
from kos.tenancy.placement import Place
from kos.tenancy.session import Session
from kos.tenancy.store import Store, open
from kos.tenancy.tenant import ROW_SCHEMA, TIERS, Tenant, Tier

__all__ = [
    "ROW_SCHEMA",
    "TIERS",
    "AsyncStore",
    "Change",
    "Failure",
    "Place",
    "Session",
    "Store",
    "Tenant",
    "Tier",
    "create_tenant",
    "enterable",
    "find_shipped",
    "find_tenant",
    "finish_tenant",
    "install",
    "list_tenants",
    "look_at",
    "open",
    "open_async",
    "remove_tenant",
    "rows_per_table",
    "shipped_tenants",
]
