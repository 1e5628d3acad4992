"""`store.all_tenants`: the operator's work on all tenants of a place, with its reason written down first."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg
import pytest

from kos import errors
from kos.log import seal_all
from kos.tenancy import AsyncStore, Place, Store, Tenant, create_tenant
from kos.tenancy.placement import place_of

ATOM = "insert into {schema}.atoms (tenant_id, atom_type, name, value) values (%s, 'fact', 'pi', '3') returning id"


def accesses(store: Store, place: Place | None = None) -> list[tuple[Any, ...]]:
    query = """select role_name, database_name = current_database(), reason, ended_at is not null
                 from kos.cross_tenant_access order by access_id"""
    with store.operator(place) as operator:
        return operator.execute(query).fetchall()


@pytest.mark.parametrize("tier", ["row", "schema", "database"])
def test_it_reads_and_writes_in_every_tier(store: Store, tier: str) -> None:
    tenants = [create_tenant(store, name, tier) for name in ("one", "two")]
    for tenant in tenants[:1] if tier == "database" else tenants:
        with store.all_tenants(reason="fill in what is missing", place=place_of(tenant)) as connection:
            connection.execute(ATOM.format(schema=tenant.schema), (tenant.id,))
    place = place_of(tenants[0])
    with store.all_tenants(reason="count", place=place) as connection:
        found = {
            row
            for schema in {tenant.schema for tenant in tenants}
            for row in connection.execute(f"select tenant_id from {schema}.atoms")
        }
    assert found == {(tenant.id,) for tenant in (tenants[:1] if tier == "database" else tenants)}
    told = [("kos_operator", True, "fill in what is missing", True)] * (1 if tier == "database" else 2)
    assert accesses(store, place) == [*told, ("kos_operator", True, "count", True)]


def test_the_events_say_who_and_why(store: Store, tenant: Tenant) -> None:
    with store.all_tenants(reason="mend what a bug left") as connection:
        connection.execute(ATOM.format(schema="knowledge"), (tenant.id,))
    with store.tenant(tenant.name, user="ada") as session:
        session.execute("update atoms set name = 'e'")
    with store.operator() as operator:
        seal_all(operator)
        contexts = [row[0] for row in operator.execute("select context from kos.knowledge_events order by position")]
        (access,) = operator.execute("select access_id from kos.cross_tenant_access").fetchone() or ()
    assert contexts[0] == ["kos_operator", "", "", "", "", f"all tenants, access {access}: mend what a bug left"]
    assert (contexts[1][0], len(contexts[1])) == ("ada", 5)


def test_it_passes_the_fence_of_every_tenant_that_it_writes(store: Store, tenant: Tenant) -> None:
    with store.operator() as operator:
        operator.execute("update kos.fence set serving = false where tenant_id = %s", (tenant.id,))
    with pytest.raises(psycopg.Error) as raised, store.all_tenants(reason="too late") as connection:
        connection.execute(ATOM.format(schema="knowledge"), (tenant.id,))
    assert raised.value.sqlstate == "KS003"
    with store.operator() as operator:
        assert operator.execute("select count(*) from knowledge.atoms").fetchone() == (0,)


@pytest.mark.parametrize(
    "write",
    [
        "update knowledge.atoms set name = 'late'",
        "delete from knowledge.atoms",
        "insert into knowledge.atoms select * from a",
    ],
)
def test_no_write_to_rows_of_one_that_moved(store: Store, tenant: Tenant, write: str) -> None:
    """Nobody has entered it; the capture looks whose rows these are."""
    with store.tenant(tenant.name) as session:
        session.execute("insert into atoms (atom_type, name) values ('Point', 'kept')")
    with store.operator() as operator:
        operator.execute("update kos.fence set serving = false where tenant_id = %s", (tenant.id,))
    with pytest.raises(psycopg.Error) as raised, store.all_tenants(reason="too late") as connection:
        connection.execute(
            "create temporary table a as select * from knowledge.atoms; update a set id = gen_random_uuid()"
        )
        connection.execute(write.encode())
    assert raised.value.sqlstate == "KS003"
    with store.operator() as operator:
        assert operator.execute("select name from knowledge.atoms").fetchall() == [("kept",)]


@pytest.mark.parametrize("reason", ["", " \n\t"])
def test_it_wants_a_reason(store: Store, reason: str) -> None:
    with pytest.raises(errors.ReasonMissing), store.all_tenants(reason=reason):
        pass
    assert accesses(store) == []


def test_a_block_that_fails_is_written_down_and_changes_nothing(store: Store, tenant: Tenant) -> None:
    with pytest.raises(RuntimeError), store.all_tenants(reason="will fail") as connection:
        connection.execute(ATOM.format(schema="knowledge"), (tenant.id,))
        assert accesses(store) == [("kos_operator", True, "will fail", False)]
        raise RuntimeError
    with store.operator() as operator:
        assert operator.execute("select count(*) from knowledge.atoms").fetchone() == (0,)
    assert accesses(store) == [("kos_operator", True, "will fail", True)]


def test_a_block_that_lost_its_session_stays_open_in_the_list(store: Store) -> None:
    with pytest.raises(psycopg.OperationalError), store.all_tenants(reason="is cut off") as connection:
        with store.operator() as other:
            other.execute("select pg_terminate_backend(%s)", (connection.info.backend_pid,))
        connection.execute("select 1")
    assert accesses(store) == [("kos_operator", True, "is cut off", False)]


def test_an_application_can_not_have_it(store: Store, tenant: Tenant) -> None:
    """Not by calling what the store calls, and not by the setting, also while somebody's access is open."""
    with store.tenant(tenant.name) as session, pytest.raises(psycopg.errors.InsufficientPrivilege):
        session.execute("select kos.begin_cross_tenant_access('mine now')")
    with store.all_tenants(reason="is open") as connection:
        (access,) = connection.execute("select current_setting('kos.crossing')").fetchone() or ()
        with store.control() as app, pytest.raises(psycopg.Error) as raised, app.transaction():
            settings = "select set_config('kos.crossing', %s, true), set_config('kos.tenant_id', %s, true)"
            app.execute(settings, (access, str(tenant.id)))
            app.execute(ATOM.format(schema="knowledge"), (tenant.id,))
    assert raised.value.sqlstate == "KS001"


@pytest.mark.parametrize(
    "statement",
    [
        "update kos.cross_tenant_access set reason = 'nothing'",
        "update kos.cross_tenant_access set ended_at = null",
        "delete from kos.cross_tenant_access",
        "truncate kos.cross_tenant_access",
    ],
)
def test_the_list_only_grows(store: Store, statement: str) -> None:
    with store.all_tenants(reason="stays") as connection:
        connection.execute("select 1")
    with store.operator() as operator, pytest.raises(psycopg.Error) as raised:
        operator.execute(statement)
    assert raised.value.sqlstate == "KS025"
    assert accesses(store) == [("kos_operator", True, "stays", True)]


def test_the_auditor_reads_it_and_the_application_does_not(store: Store) -> None:
    with store.all_tenants(reason="seen"):
        pass
    with store.operator() as operator:
        rights = operator.execute("select has_table_privilege('kos_auditor', 'kos.cross_tenant_access', 'SELECT')")
        assert rights.fetchone() == (True,)
    with store.control() as app, pytest.raises(psycopg.errors.InsufficientPrivilege):
        app.execute("select from kos.cross_tenant_access")


def test_the_asynchronous_twin(store: Store, tenant: Tenant) -> None:
    async def work() -> None:
        async with AsyncStore(store.topology) as other, other.all_tenants(reason="async") as connection:
            await connection.execute(ATOM.format(schema="knowledge"), (tenant.id,))

    asyncio.run(work())
    assert accesses(store) == [("kos_operator", True, "async", True)]
    with store.operator() as operator:
        assert operator.execute("select count(*) from knowledge.atoms").fetchone() == (1,)
