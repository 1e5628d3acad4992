"""One tenant can't see, change or learn of another's rows. What could break that: test_isolation_checks.py."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from kos.tenancy import Session, Store, Tenant, create_tenant

ATOM = "insert into atoms (atom_type, name) values ('T', %s) returning id"


@pytest.fixture
def two(store: Store) -> tuple[Tenant, Tenant]:
    return create_tenant(store, "acme"), create_tenant(store, "other")


def add(store: Store, tenant: Tenant, name: str = "mine") -> UUID:
    with store.tenant(tenant.name) as session:
        row = session.execute(ATOM, (name,)).fetchone()
    assert row is not None
    return row[0]


@pytest.mark.parametrize(
    "attempt",
    [
        "select id from atoms where id = %(id)s",
        "select id from atoms where tenant_id = %(other)s",
        "update atoms set name = 'stolen' where id = %(id)s returning id",
        "delete from atoms where id = %(id)s returning id",
        "with found as (select * from atoms) select id from found where tenant_id = %(other)s",
    ],
)
def test_anothers_rows_are_not_there(store: Store, two: tuple[Tenant, Tenant], attempt: str) -> None:
    _, other = two
    atom = add(store, other)
    with store.tenant("acme") as session:
        assert session.execute(attempt, {"id": atom, "other": other.id}).fetchall() == []
    with store.tenant("other") as session:
        assert session.execute("select name from atoms").fetchall() == [("mine",)]


@pytest.mark.parametrize(
    "attempt",
    [
        "insert into atoms (tenant_id, atom_type, name) values (%(other)s, 'T', 'planted')",
        "update atoms set tenant_id = %(other)s",
    ],
)
def test_rows_cant_be_put_into_another_tenant(store: Store, two: tuple[Tenant, Tenant], attempt: str) -> None:
    acme, other = two
    add(store, acme)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.tenant("acme") as session:
        session.execute(attempt, {"other": other.id})


def test_a_reference_into_another_tenant_is_refused(store: Store, two: tuple[Tenant, Tenant]) -> None:
    """Foreign keys bypass row security: without tenant_id in them this would succeed, and tell that the row exists."""
    acme, other = two
    mine, theirs = add(store, acme), add(store, other)
    with pytest.raises(psycopg.errors.ForeignKeyViolation), store.tenant("acme") as session:
        session.execute(
            "insert into relations (relation_type, from_atom_id, to_atom_id) values ('knows', %s, %s)", (mine, theirs)
        )


def test_a_unique_name_tells_nothing_of_other_tenants(store: Store, two: tuple[Tenant, Tenant]) -> None:
    for tenant in two:
        with store.tenant(tenant.name) as session:
            session.execute("insert into molecules (name) values ('same name')")


@pytest.mark.parametrize(
    "attempt",
    [
        "select * from kos.fence",
        "update kos.fence set epoch = 1",
        "select kos.advance_epoch(kos.current_tenant_id())",
        "select * from kos.fence_holders(kos.current_tenant_id())",
        "select kos.pass_fence(kos.current_tenant_id(), 1)",
        "update kos.tenants set name = 'x'",
        "alter table atoms disable row level security",
        "drop policy tenant_isolation on atoms",
        "alter table atoms disable trigger kos_guard",
        "truncate atoms cascade",
        "set role kos_owner",
        "set role kos_operator",
        "set session_replication_role = replica",
        "insert into kos.knowledge_events (tenant_id, position) values (kos.current_tenant_id(), 1)",
        "create table knowledge.planted ()",
        "create function kos.planted() returns int language sql return 1",
    ],
)
def test_the_application_may_not(store: Store, two: tuple[Tenant, Tenant], attempt: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.tenant("acme") as session:
        session.execute(attempt)


def test_row_security_can_be_switched_off_by_nobody_without_an_error(store: Store, two: tuple[Tenant, Tenant]) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.tenant("acme") as session:
        session.execute("set local row_security = off")
        session.execute("select * from atoms")


def test_the_owner_of_the_tables_changes_nothing(store: Store, two: tuple[Tenant, Tenant]) -> None:
    """It reads rows again for the log, and that is all."""
    add(store, two[0])
    with store.operator() as operator, operator.transaction():
        operator.execute("select kos.enter('acme')")
        operator.execute("set local role kos_owner")
        assert operator.execute("select count(*) from knowledge.atoms").fetchone() == (1,)
        assert operator.execute("update knowledge.atoms set name = 'other'").rowcount == 0


def test_temporary_tables_dont_shadow_those_of_the_tenant(store: Store, two: tuple[Tenant, Tenant]) -> None:
    add(store, two[0])
    with store.tenant("acme") as session:
        session.execute("create temporary table atoms (id int) on commit drop")
        assert session.execute("select name from atoms").fetchall() == [("mine",)]


@pytest.mark.parametrize(
    ("persona", "seen"),
    [
        (None, {"plain", "implemented", "mapped"}),
        ("domain_expert", {"plain", "implemented", "mapped"}),
        ("developer", {"implemented"}),
        ("product_owner", {"mapped"}),
        ("stranger", set()),
    ],
)
def test_personas_narrow_what_is_seen(
    store: Store, two: tuple[Tenant, Tenant], persona: str | None, seen: set[str]
) -> None:
    acme, other = two
    add(store, acme, "plain")
    add(store, other, "elsewhere")
    implemented, mapped = add(store, acme, "implemented"), add(store, acme, "mapped")
    with store.tenant("acme") as session:
        session.execute("insert into implementations (atom_id, system, location) values (%s, 's', 'l')", (implemented,))
        session.execute("insert into capability_mappings (atom_id, capability) values (%s, 'c')", (mapped,))
    with store.tenant("acme", persona=persona) as session:
        assert {name for (name,) in session.execute("select name from atoms").fetchall()} == seen


def test_the_application_pays_nothing_for_personas(store: Store, two: tuple[Tenant, Tenant]) -> None:
    with store.tenant("acme") as session:
        plan = "\n".join(line for (line,) in session.execute("explain select name from atoms").fetchall())
    assert "InitPlan 1" in plan
    for other in ("SubPlan", "InitPlan 2", "Filter", "implementations"):
        assert other not in plan


def test_a_persona_lasts_as_long_as_its_transaction(store: Store, two: tuple[Tenant, Tenant]) -> None:
    def roles(session: Session) -> object:
        return session.execute("select current_user, session_user").fetchone()

    add(store, two[0], "plain")
    with store.tenant("acme", persona="developer") as session:
        assert roles(session) == ("kos_persona", "kos_app")
        connection = session.connection
        session.execute("savepoint before")
        session.execute("select kos.enter('acme')")
        assert roles(session) == ("kos_app", "kos_app")
        assert session.execute("select count(*) from atoms").fetchone() == (1,)
        session.execute("rollback to savepoint before")
        assert roles(session) == ("kos_persona", "kos_app")
        assert session.execute("select count(*) from atoms").fetchone() == (0,)
    with store.tenant("acme") as session:
        assert session.connection is connection
        assert roles(session) == ("kos_app", "kos_app")
        assert session.execute("select count(*) from atoms").fetchone() == (1,)


@pytest.mark.parametrize("persona", ["developer", "product_owner", "domain_expert", "stranger"])
def test_no_persona_reaches_another_tenant(store: Store, two: tuple[Tenant, Tenant], persona: str) -> None:
    _, other = two
    implemented = add(store, other, "elsewhere")
    with store.tenant(other.name) as session:
        session.execute("insert into implementations (atom_id, system, location) values (%s, 's', 'l')", (implemented,))
        session.execute("insert into capability_mappings (atom_id, capability) values (%s, 'c')", (implemented,))
    with store.tenant("acme", persona=persona) as session:
        for table in ("atoms", "implementations", "capability_mappings"):
            assert session.execute(SQL("select count(*) from {}").format(Identifier(table))).fetchone() == (0,)
    with pytest.raises(psycopg.errors.InsufficientPrivilege), store.tenant("acme", persona=persona) as session:
        session.execute("insert into atoms (tenant_id, atom_type, name) values (%s, 't', 'planted')", (other.id,))


def test_a_login_that_may_not_take_a_persona_on_is_refused(
    store: Store, two: tuple[Tenant, Tenant], superuser: psycopg.Connection[Any]
) -> None:
    superuser.execute("create role kos_test_outsider")
    try:
        superuser.execute("grant usage on schema kos to kos_test_outsider")
        superuser.execute("grant execute on all functions in schema kos to kos_test_outsider")
        with superuser.transaction():
            superuser.execute("set local session authorization kos_test_outsider")
            superuser.execute("savepoint before")
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match='set role "kos_persona"'):
                superuser.execute("select kos.enter('acme', persona => 'developer')")
            superuser.execute("rollback to savepoint before")
    finally:
        superuser.execute("drop owned by kos_test_outsider")
        superuser.execute("drop role kos_test_outsider")
