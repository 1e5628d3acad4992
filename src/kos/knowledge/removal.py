"""Take a tenant away with everything that it has: rows, schema or database, objects, holds, name.

Refused while its objects are held. The tenant is marked as being removed, nobody enters any more, its rows go, then its
objects, and last its name. So a removal that was killed is finished by running it again, and no object is left that
nobody looks for. A hold that is made meanwhile ends it, as it ends a collection.
"""

from __future__ import annotations

from dataclasses import dataclass

from kos.errors import TenantHeld
from kos.knowledge.bucket import bucket_of
from kos.knowledge.objects import DELETIONS, QUERIES, no_new_holds
from kos.progress import Advance, silent
from kos.tenancy import Store, Tenant, find_shipped, look_at, remove_tenant
from kos.tenancy.store import Connection


@dataclass(frozen=True)
class RemovalPlan:
    """What would be lost. `rows` per table is None where they can't be counted: the tenant is unfinished or broken."""

    tenant: Tenant
    rows: dict[str, int] | None
    objects: int
    bytes_of_objects: int


def plan_removal(store: Store, name: str, progress: Advance = silent) -> RemovalPlan:
    """What removing a tenant would take away. Reads only; refuses what `remove` refuses.

    Raises:
        UnknownTenant, TenantAdopted
        TenantHeld: a hold on its objects is in force.
        StoreUnavailable: its database or object storage does not answer.
    """
    tenant = find_shipped(store, name)
    [seen] = look_at(store, [tenant])
    with store.operator() as control:
        _refuse_held(control, tenant)
    number = size = 0
    if store.topology.objects is not None:
        for page in bucket_of(store, "kos tenant remove").pages(tenant.id):
            number, size = number + len(page), size + sum(stored.bytes for stored in page)
            progress(f"counting objects of {tenant.name}", number, None)
    return RemovalPlan(tenant, seen.rows, number, size)


def remove(store: Store, name: str, progress: Advance = silent) -> None:
    """Remove a tenant. Repeatable; a removal that was killed goes on.

    Raises:
        UnknownTenant, TenantAdopted
        TenantHeld: a hold on its objects is in force. If it is not new, nothing was done.
        StoreUnavailable: what is left is removed by running it again.
    """

    def clear(tenant: Tenant) -> None:
        if store.topology.objects is not None:
            _remove_objects(store, tenant, progress)

    progress(f"rows of {name}", 0, None)
    remove_tenant(store, name, permit=_refuse_held, clear=clear)


def _remove_objects(store: Store, tenant: Tenant, progress: Advance) -> None:
    bucket = bucket_of(store, "kos tenant remove")
    removed = 0
    for page in bucket.pages(tenant.id):
        for start in range(0, len(page), DELETIONS):
            with no_new_holds(store) as control:
                _refuse_held(control, tenant)
                for stored in page[start : start + DELETIONS]:
                    control.execute(QUERIES.still_there)
                    bucket.delete(tenant.id, stored.sha256)
                    removed += 1
            progress(f"objects of {tenant.name}", removed, None)


def _refuse_held(control: Connection, tenant: Tenant) -> None:
    # Shared until the end of the transaction: who makes a hold waits for what did not know of it.
    control.execute(QUERIES.share_holds)
    row = control.execute(QUERIES.reason_of_hold, {"tenant": tenant.id}).fetchone()
    if row is not None:
        raise TenantHeld(tenant.name, str(row[0]))
