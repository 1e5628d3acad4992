"""Make a tenant, in any tier, and take one away.

The name is claimed first, with the placement decided, in state 'creating'. Every later step can be repeated, and the
state becomes 'active' last: so a command that was killed is finished by running it again.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from kos import errors
from kos.tenancy import placement, schema_files
from kos.tenancy.changes import catch_up, finished_changes, join_open, making
from kos.tenancy.install import install_database
from kos.tenancy.operating import lasting
from kos.tenancy.placement import Place
from kos.tenancy.store import Connection, Store
from kos.tenancy.tenant import QUERIES, Tenant, check_name, check_tier, place
from kos.topology.model import Shard
from kos.translate import translated


@dataclasses.dataclass(frozen=True)
class TenantPlan:
    """What making a tenant would do."""

    name: str
    tier: str
    shard: str
    database: str
    schema: str


def plan_tenant(store: Store, name: str, tier: str, shard: str | None) -> TenantPlan:
    """Where a new tenant would live. Reads only; refuses what `create_tenant` refuses.

    What a killed creation has begun is finished where it was begun, and nowhere else.
    """
    check_name(name)
    wanted = check_tier(tier)
    chosen = placement.shard_named(store.topology, shard) if shard else store.topology.control
    with store.control() as control:
        row = control.execute(QUERIES.find_tenant, {"tenant": name}).fetchone()
    begun = Tenant.from_row(row) if row else None
    if begun and begun.state == "active":
        raise errors.TenantExists(name, begun.tier)
    if begun and begun.state != "removing":
        if shard not in {None, begun.shard}:
            raise errors.BegunElsewhere(name, begun.shard, chosen.name)
        chosen = placement.shard_named(store.topology, begun.shard)
    database, schema = place(name, wanted, chosen.primary.database)
    return TenantPlan(name, wanted, chosen.name, database, schema)


def create_tenant(
    store: Store,
    name: str,
    tier: str = "row",
    service_plan: str | None = None,
    shard: str | None = None,
    state: str = "active",
    tenant_id: UUID | None = None,
) -> Tenant:
    """A new tenant, ready to be entered. `state` is what it is left in ('importing' while an import fills it).
    `tenant_id` is the id of a new one, where a plan has fixed it.

    `service_plan` is "standard" if not said, and `shard` the first one; of a tenant that was begun already, both are
    what they were, and only the service plan can still be another.

    Raises:
        InvalidTenantName, UnknownTier, UnknownShard, UnregisteredShard: nothing was made.
        TenantExists: an active tenant has the name.
        BegunElsewhere: a creation of it was killed that had begun on another shard.
        TierNotAllowed: the server does not let the operator make what the tier needs; the name is free again.
        TenantChanged, UnknownTenant: another command has removed it meanwhile.
    """
    with _alone(store, name):
        plan = plan_tenant(store, name, tier, shard)
        claim = {**dataclasses.asdict(plan), "service_plan": service_plan, "state": "creating", "id": tenant_id}
        tenant, claimed = _claim(store, claim, state)
        home = placement.shard_named(store.topology, tenant.shard)
        try:
            _build(store, tenant, home)
        except psycopg.errors.InsufficientPrivilege as error:
            if claimed:
                _remove(store, tenant)
            reason = error.diag.message_primary or str(error)
            raise errors.TierNotAllowed(tenant.tier, home.primary.address, reason) from error
        except errors.PlaceTaken:
            if claimed:
                _forget(store, tenant)
            raise
        with store.operator() as control:
            change_state(control, tenant, state, known=("creating", state))
    return dataclasses.replace(tenant, state=state)


def finish_tenant(store: Store, tenant: Tenant) -> Tenant:
    """Declare a tenant that was being filled to be whole. Repeatable.

    Raises:
        TenantChanged, UnknownTenant: it is being removed, or gone.
    """
    with store.operator() as control:
        change_state(control, tenant, "active", known=("importing", "active"))
    return dataclasses.replace(tenant, state="active")


def change_state(control: Connection, tenant: Tenant, state: str, *, known: Sequence[str]) -> None:
    """Change a tenant's state, if it is in one of those that the caller knows of.

    Raises:
        TenantChanged, UnknownTenant: another command has been there meanwhile.
    """
    facts = {"id": tenant.id, "state": state, "known": list(known)}
    if control.execute(QUERIES.set_state, facts).rowcount == 0:
        row = control.execute(QUERIES.find_tenant, {"tenant": str(tenant.id)}).fetchone()
        if row is None:
            raise errors.UnknownTenant(tenant.name)
        raise errors.TenantChanged(tenant.name, Tenant.from_row(row).state)


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


def find_shipped(store: Store, name: str) -> Tenant:
    """As `find_tenant`, for what is done with the tables that kos made.

    Raises:
        UnknownTenant, TenantAdopted
    """
    tenant = find_tenant(store, name)
    if tenant.adopted:
        raise errors.TenantAdopted(tenant.name)
    return tenant


def enterable(store: Store, name: str) -> Tenant:
    """A whole tenant, for what is done with the tables that kos made, as the directory has it now.

    Raises:
        UnknownTenant, TenantUnfinished, TenantAdopted
    """
    tenant = store.find(name, again=True)
    if tenant.adopted:
        raise errors.TenantAdopted(tenant.name)
    return tenant


def shipped_tenants(store: Store) -> list[Tenant]:
    """The whole ones whose tables kos made, by name."""
    return [each for each in list_tenants(store) if each.state == "active" and not each.adopted]


def rows_per_table(store: Store, tenant: Tenant) -> dict[str, int]:
    """How many rows the tenant has in each of its tables; `TablesMissing` if it has none."""
    with store.session(tenant, read_only=True, isolation="repeatable read") as session:
        names = session.execute(QUERIES.tables_of_schema, {"schema": tenant.schema}).fetchall()
        counts = {}
        for (name,) in names:
            row = session.execute(QUERIES.count_rows.format(table=Identifier(name))).fetchone()
            counts[name] = row[0] if row else 0
    if not counts:
        raise errors.TablesMissing(tenant.name, tenant.schema, tenant.database)
    return counts


@dataclasses.dataclass(frozen=True)
class Seen:
    """A tenant as it was found. `rows` per table is None while it is unfinished, where its tables are a product's, and
    where `error` says why not."""

    tenant: Tenant
    rows: dict[str, int] | None
    error: errors.KosError | None


def look_at(store: Store, tenants: Iterable[Tenant]) -> Iterator[Seen]:
    """Each of these tenants with its rows; one that can't be asked does not hide the others."""
    unreachable: dict[Place, errors.KosError] = {}
    for tenant in tenants:
        if tenant.state != "active" or tenant.adopted:
            yield Seen(tenant, None, None)
            continue
        where = placement.place_of(tenant)
        if where in unreachable:  # not to wait for the same silence once per tenant
            yield Seen(tenant, None, unreachable[where])
            continue
        try:
            yield Seen(tenant, rows_per_table(store, tenant), None)
        except Exception as raised:
            error = translated(raised)
            if error is None:
                raise
            if isinstance(error, errors.StoreUnavailable):
                unreachable[where] = error
            yield Seen(tenant, None, error)


def _nothing_else(tenant: Tenant) -> None:
    """A tenant that has nothing outside of PostgreSQL."""


def _anybody(control: Connection, tenant: Tenant) -> None:
    """No reason to keep a tenant."""


def remove_tenant(
    store: Store,
    name: str,
    *,
    permit: Callable[[Connection, Tenant], None] = _anybody,
    clear: Callable[[Tenant], object] = _nothing_else,
) -> None:
    """Everything of a tenant in PostgreSQL: rows, schema or database, its fence, and last its name. Repeatable.

    Whoever is inside leaves first, and nobody enters any more. `permit` may refuse, in the transaction that marks the
    tenant as being removed. `clear` takes away what the tenant has elsewhere, when nobody can enter it any more and
    before it is forgotten. `kos.knowledge.removal` takes the objects as well.
    """
    with _alone(store, name):
        _remove(store, find_shipped(store, name), permit, clear)


@contextmanager
def _alone(store: Store, name: str) -> Iterator[None]:
    """No other command makes or removes a tenant of this name meanwhile. Not to be nested: each waits alone."""
    with store.operator() as control, lasting(control):
        control.execute(QUERIES.lock_name.format(name=Literal(name)))
        yield


def _remove(
    store: Store,
    tenant: Tenant,
    permit: Callable[[Connection, Tenant], None] = _anybody,
    clear: Callable[[Tenant], object] = _nothing_else,
) -> None:
    with store.operator() as control, control.transaction():
        permit(control, tenant)
        change_state(control, tenant, "removing", known=(tenant.state, "removing"))
    _take_down(store, tenant)
    clear(tenant)
    _forget(store, tenant)


def _forget(store: Store, tenant: Tenant) -> None:
    with store.operator() as control:
        control.execute(QUERIES.forget_tenant, {"id": tenant.id})


def _take_down(store: Store, tenant: Tenant) -> None:
    """What the tenant has in its shard, and nothing that does not carry its mark."""
    shard = placement.shard_named(store.topology, tenant.shard)
    with store.operator(Place(tenant.shard, shard.primary.database)) as operator:
        if tenant.tier != "database":
            _empty(operator, tenant)
        elif _mark(operator, QUERIES.mark_of_database, tenant.database) == (_mark_of(tenant),):
            store.forget(placement.place_of(tenant))
            operator.execute(QUERIES.drop_database.format(database=Identifier(tenant.database)))


def _claim(store: Store, claim: dict[str, object], state: str) -> tuple[Tenant, bool]:
    """The tenant's row, and whether it is new. A row that a killed creation left is taken over, and has the service
    plan that is asked for now. What a killed removal left is not: its objects would be forgotten."""
    with store.operator() as control:
        new = control.execute(QUERIES.claim_tenant, claim).fetchone()
        if new is None:
            control.execute(QUERIES.change_service_plan, claim)
        row = control.execute(QUERIES.find_tenant, {"tenant": claim["name"]}).fetchone()
    if row is None:
        raise errors.UnregisteredShard(str(claim["shard"]))
    tenant = Tenant.from_row(row)
    if new is None and tenant.state == "removing":
        raise errors.TenantUnfinished(tenant.name, tenant.state)
    if new is None and (tenant.state == "active" or tenant.tier != claim["tier"]):
        raise errors.TenantExists(tenant.name, tenant.tier)
    if new is None and tenant.state not in {state, "creating"}:
        raise errors.TenantUnfinished(tenant.name, tenant.state)
    return tenant, new is not None


def _build(store: Store, tenant: Tenant, shard: Shard) -> None:
    if tenant.tier == "database":
        _make_database(store, tenant, shard)
        with store.operator(placement.place_of(tenant)) as operator:
            operator.execute(QUERIES.close_database.format(database=Identifier(tenant.database)))
            operator.execute(schema_files.QUERIES.grant_connect.format(database=Identifier(tenant.database)))
            install_database(operator)
    elif tenant.tier == "schema":
        with store.operator(placement.place_of(tenant)) as operator:
            _make_schema(operator, tenant)
            for step in list(schema_files.pending(operator, tenant.schema)):
                schema_files.apply(operator, step)
    with making(store) as lock, store.operator(placement.place_of(tenant)) as operator:
        if tenant.tier != "row":
            with store.operator() as control:
                finished = finished_changes(control)
            catch_up(operator, tenant.schema, finished)
            join_open(store, placement.place_of(tenant), tenant.schema, finished, lock)
        facts = {
            "id": tenant.id,
            "name": tenant.name,
            "tier": tenant.tier,
            "schema": tenant.schema,
            "epoch": tenant.epoch,
        }
        operator.execute(QUERIES.open_fence, facts)


def _mark_of(tenant: Tenant) -> str:
    """What the comment on a tenant's own schema or database says."""
    return f"kos tenant {tenant.id}"


def _mark(operator: Connection, query: SQL, name: str) -> tuple[str | None] | None:
    return operator.execute(query, {"name": name}).fetchone()


def _make_database(store: Store, tenant: Tenant, shard: Shard) -> None:
    """The tenant's database with its mark. Refuses one that exists, unless it is the tenant's or nobody's: empty."""
    name = Identifier(tenant.database)
    with store.operator(Place(shard.name, shard.primary.database)) as operator:
        found = _mark(operator, QUERIES.mark_of_database, tenant.database)
        if found == (_mark_of(tenant),):
            return
        if found is None:
            operator.execute(QUERIES.create_database.format(database=name))
        elif found != (None,) or not _is_empty(store, tenant):
            raise errors.PlaceTaken(tenant.name, "database", tenant.database)
        operator.execute(QUERIES.mark_database.format(name=name, mark=Literal(_mark_of(tenant))))


def _is_empty(store: Store, tenant: Tenant) -> bool:
    try:
        with store.operator(placement.place_of(tenant)) as inside:
            return inside.execute(QUERIES.is_empty_database).fetchone() == (True,)
    except errors.StoreUnavailable:
        return False  # not even ours to look into


def _make_schema(operator: Connection, tenant: Tenant) -> None:
    """The tenant's schema with its mark, in one transaction. Refuses one that exists and is not the tenant's."""
    name = Identifier(tenant.schema)
    with operator.transaction():
        found = _mark(operator, QUERIES.mark_of_schema, tenant.schema)
        if found is None:
            operator.execute(QUERIES.create_marked_schema.format(name=name))
            operator.execute(QUERIES.mark_schema.format(name=name, mark=Literal(_mark_of(tenant))))
        elif found != (_mark_of(tenant),):
            raise errors.PlaceTaken(tenant.name, "schema", tenant.schema)


def _empty(operator: Connection, tenant: Tenant) -> None:
    with operator.transaction():
        operator.execute(QUERIES.lock_fence, {"id": tenant.id})
        if tenant.tier != "schema":
            _delete_rows(operator, tenant.id, tenant.schema)
        elif _mark(operator, QUERIES.mark_of_schema, tenant.schema) == (_mark_of(tenant),):
            operator.execute(schema_files.QUERIES.become_owner)
            operator.execute(QUERIES.unlog_schema, {"schema": tenant.schema})
            operator.execute(QUERIES.become_operator)
            operator.execute(QUERIES.drop_schema.format(schema=Identifier(tenant.schema)))
            operator.execute(QUERIES.forget_schema, {"schema": tenant.schema})
        operator.execute(QUERIES.forget_log, {"id": tenant.id})
        operator.execute(QUERIES.forget_fence, {"id": tenant.id})


def _delete_rows(operator: Connection, tenant: UUID, schema: str) -> None:
    """Delete in an order that foreign keys allow: referring tables before the tables they refer to."""
    if operator.execute(QUERIES.enter_to_remove, {"id": str(tenant)}).rowcount == 0:
        return
    tables = operator.execute(QUERIES.tables_to_empty, {"schema": schema}).fetchall()
    operator.execute(QUERIES.become_mover)
    for (name,) in tables:
        operator.execute(QUERIES.delete_rows.format(table=Identifier(schema, name)), {"id": tenant})
    operator.execute(QUERIES.become_operator)
