"""Make a tenant, in any tier, and take one away.

The name is claimed first, with the placement decided, in state 'creating'. Every later step can be repeated, and the
state becomes 'active' last: so a command that was killed is finished by running it again.
"""

from __future__ import annotations

import dataclasses
from uuid import UUID

import psycopg
from psycopg.sql import Identifier

from kos import errors
from kos.tenancy import placement, schema_files
from kos.tenancy.install import install_database
from kos.tenancy.placement import Place
from kos.tenancy.store import Connection, Store
from kos.tenancy.tenant import QUERIES, Tenant, check_name, check_tier, place
from kos.topology.model import Shard


@dataclasses.dataclass(frozen=True)
class TenantPlan:
    """What making a tenant would do."""

    name: str
    tier: str
    shard: str
    database: str
    schema: str


def plan_tenant(store: Store, name: str, tier: str, shard: str | None) -> TenantPlan:
    """Where a new tenant would live. Reads only; refuses what `create_tenant` refuses."""
    check_name(name)
    wanted = check_tier(tier)
    chosen = placement.shard_named(store.topology, shard) if shard else store.topology.control
    with store.control() as control:
        row = control.execute(QUERIES.find_tenant, {"tenant": name}).fetchone()
    if row is not None and Tenant.from_row(row).state == "active":
        raise errors.TenantExists(name, Tenant.from_row(row).tier)
    database, schema = place(name, wanted, chosen.primary.database)
    return TenantPlan(name, wanted, chosen.name, database, schema)


def create_tenant(
    store: Store,
    name: str,
    tier: str = "row",
    service_plan: str = "standard",
    shard: str | None = None,
    state: str = "active",
) -> Tenant:
    """A new tenant, ready to be entered. `state` is what it is left in ('importing' while an import fills it).

    Raises:
        InvalidTenantName, UnknownTier, UnknownShard: nothing was made.
        TenantExists: an active tenant has the name.
        TierNotAllowed: the server does not let the operator make what the tier needs; the name is free again.
    """
    plan = plan_tenant(store, name, tier, shard)
    chosen = placement.shard_named(store.topology, plan.shard)
    claim = {
        **dataclasses.asdict(plan),
        "service_plan": service_plan,
        "state": "creating",
        "shard_id": chosen.number,
    }
    tenant, claimed = _claim(store, claim, state)
    try:
        _build(store, tenant, chosen)
    except psycopg.errors.InsufficientPrivilege as error:
        if claimed:
            remove_tenant(store, tenant.name)
        reason = error.diag.message_primary or str(error)
        raise errors.TierNotAllowed(tenant.tier, chosen.primary.address, reason) from error
    with store.operator() as control:
        control.execute(QUERIES.set_state, {"id": tenant.id, "state": state})
    return dataclasses.replace(tenant, state=state)


def finish_tenant(store: Store, tenant: Tenant) -> Tenant:
    """Declare a tenant that was being filled to be whole."""
    with store.operator() as control:
        control.execute(QUERIES.set_state, {"id": tenant.id, "state": "active"})
    return dataclasses.replace(tenant, state="active")


def list_tenants(store: Store) -> list[Tenant]:
    """All tenants, by name."""
    with store.control() as control:
        return [Tenant.from_row(row) for row in control.execute(QUERIES.list_tenants).fetchall()]


def find_tenant(store: Store, name: str) -> Tenant:
    """One tenant by name or id, finished or not; `UnknownTenant` otherwise."""
    with store.control() as control:
        row = control.execute(QUERIES.find_tenant, {"tenant": name}).fetchone()
    if row is None:
        raise errors.UnknownTenant(name)
    return Tenant.from_row(row)


def rows_per_table(store: Store, tenant: Tenant) -> dict[str, int]:
    """How many rows the tenant has in each of its tables."""
    with store.session(tenant, read_only=True, isolation="repeatable read") as session:
        names = session.execute(QUERIES.tables_of_schema, {"schema": tenant.schema}).fetchall()
        counts = {}
        for (name,) in names:
            row = session.execute(QUERIES.count_rows.format(table=Identifier(name))).fetchone()
            counts[name] = row[0] if row else 0
    return counts


def remove_tenant(store: Store, name: str) -> None:
    """Everything of a tenant: rows, schema or database, its fence, and last its name. Repeatable.

    Whoever is inside leaves first, and nobody enters any more.
    """
    tenant = find_tenant(store, name)
    with store.operator() as control:
        control.execute(QUERIES.set_state, {"id": tenant.id, "state": "creating"})
    shard = placement.shard_named(store.topology, tenant.shard)
    home = Place(tenant.shard, shard.primary.database)
    if tenant.tier == "database":
        store.forget(placement.place_of(tenant))
        with store.operator(home) as operator:
            operator.execute(QUERIES.drop_database.format(database=Identifier(tenant.database)))
    else:
        with store.operator(home) as operator:
            _empty(operator, tenant)
    with store.operator() as control:
        control.execute(QUERIES.forget_tenant, {"id": tenant.id})


def _claim(store: Store, claim: dict[str, object], state: str) -> tuple[Tenant, bool]:
    """The tenant's row, and whether it is new. A row that a killed command of the same kind left is taken over."""
    with store.operator() as control:
        new = control.execute(QUERIES.claim_tenant, claim).fetchone()
        row = control.execute(QUERIES.find_tenant, {"tenant": claim["name"]}).fetchone()
    assert row is not None
    tenant = Tenant.from_row(row)
    if new is None and (tenant.state == "active" or tenant.tier != claim["tier"]):
        raise errors.TenantExists(tenant.name, tenant.tier)
    if new is None and tenant.state not in {state, "creating"}:
        raise errors.TenantUnfinished(tenant.name, tenant.state)
    return tenant, new is not None


def _build(store: Store, tenant: Tenant, shard: Shard) -> None:
    home = Place(shard.name, shard.primary.database)
    if tenant.tier == "database":
        with store.operator(home) as operator:
            if operator.execute(QUERIES.database_exists, {"database": tenant.database}).fetchone() != (True,):
                operator.execute(QUERIES.create_database.format(database=Identifier(tenant.database)))
    with store.operator(placement.place_of(tenant)) as operator:
        if tenant.tier == "database":
            operator.execute(QUERIES.close_database.format(database=Identifier(tenant.database)))
            operator.execute(schema_files.QUERIES.grant_connect.format(database=Identifier(tenant.database)))
            install_database(operator)
        elif tenant.tier == "schema":
            for step in list(schema_files.pending(operator, tenant.schema)):
                schema_files.apply(operator, step)
        facts = {
            "id": tenant.id,
            "name": tenant.name,
            "tier": tenant.tier,
            "schema": tenant.schema,
            "epoch": tenant.epoch,
        }
        operator.execute(QUERIES.open_fence, facts)


def _empty(operator: Connection, tenant: Tenant) -> None:
    with operator.transaction():
        operator.execute(QUERIES.lock_fence, {"id": tenant.id})
        if tenant.tier == "schema":
            operator.execute(QUERIES.drop_schema.format(schema=Identifier(tenant.schema)))
            operator.execute(QUERIES.forget_schema, {"schema": tenant.schema})
        else:
            _delete_rows(operator, tenant.id, tenant.schema)
        operator.execute(QUERIES.forget_fence, {"id": tenant.id})


def _delete_rows(operator: Connection, tenant: UUID, schema: str) -> None:
    """Delete in an order that foreign keys allow: referring tables before the tables they refer to."""
    if operator.execute(QUERIES.enter_to_remove, {"id": str(tenant)}).rowcount == 0:
        return
    for (name,) in operator.execute(QUERIES.tables_to_empty, {"schema": schema}).fetchall():
        operator.execute(QUERIES.delete_rows.format(table=Identifier(schema, name)), {"id": tenant})
