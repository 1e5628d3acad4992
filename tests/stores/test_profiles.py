"""Every version that is supported, and the least that an administrator may be: CREATEROLE, and the owner.

As on a managed service: no superuser takes part after the database was made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import sweep_toy

from fix_exports import until
from fix_own_postgres import MakePostgres
from kos import errors
from kos.journal import Runner, list_operations
from kos.tenancy import Store, create_tenant, fence, find_tenant, install, list_tenants, remove_tenant
from kos.tenancy.checks import row_security
from kos.tenancy.fence import Patience
from kos.topology import postgres as opening
from kos.topology.model import Login, PostgresServer, Shard, Tls, Topology, fixed

pytestmark = pytest.mark.long

PASSWORD = "only for this test"
ATOM = "insert into atoms (atom_type, name) values ('T', %s)"


@pytest.fixture(scope="module", params=["debian", "16", "17", "wheel"])
def managed(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> Topology:
    """A server whose administrator has CREATEROLE and owns the database `product`, installed by that administrator."""
    server = own_postgres(request.param)
    server.start()
    server.execute(
        f"create role administrator login createrole password '{PASSWORD}'",
        "create database product owner administrator",
        "revoke all on database product from public",
    )
    primary = PostgresServer("main", "127.0.0.1", server.server.port, "product", Tls("disable"))
    administrator, *others = (Login(role, fixed(PASSWORD)) for role in ("administrator", "kos_app", "kos_operator"))
    topology = Topology((Shard(1, "main", primary, (), *others, installer=administrator),))
    install(topology)
    with opening.connect(primary, administrator) as connection:
        for role in ("kos_app", "kos_operator"):
            connection.execute(f"alter role {role} login password '{PASSWORD}'")
    return topology


@pytest.fixture
def store(managed: Topology) -> Iterator[Store]:
    with Store(managed) as store:
        yield store
        for tenant in list_tenants(store):
            remove_tenant(store, tenant.name)


def test_nobody_is_above_row_security(managed: Topology) -> None:
    with opening.connect(managed.control.primary, managed.control.operator) as connection:
        mighty = connection.execute(
            "select rolname from pg_roles where (rolsuper or rolbypassrls) and rolname ~ '^(kos_|administrator)'"
        ).fetchall()
        findings = [finding for finding in row_security(connection) if finding.severity != "ok"]
    assert mighty == []
    assert findings == []


def test_installing_again_has_nothing_to_do(managed: Topology) -> None:
    assert install(managed) == []


@pytest.mark.parametrize("tier", ["row", "schema"])
def test_tenants_live_apart(store: Store, tier: str) -> None:
    for name in ("acme", "other"):
        create_tenant(store, name, tier)
        with store.tenant(name) as session:
            session.execute(ATOM, (name,))
            identity = session.execute("select id from atoms").fetchone()
            assert identity is not None
            assert identity[0].version == 7
    for name in ("acme", "other"):
        with store.tenant(name) as session:
            assert session.execute("select name from atoms").fetchall() == [(name,)]


def test_the_database_tier_is_refused_with_the_reason(store: Store) -> None:
    with pytest.raises(errors.TierNotAllowed, match="permission denied to create database"):
        create_tenant(store, "acme", "database")
    with pytest.raises(errors.UnknownTenant):
        find_tenant(store, "acme")


def test_the_fence_closes_and_old_sessions_are_refused(store: Store) -> None:
    create_tenant(store, "acme")
    with store.tenant("acme") as session:
        session.execute(ATOM, ("x",))
        with pytest.raises(errors.TenantBusy):
            fence.raise_epoch(store, "acme", Patience(limit=0.4))
    assert fence.raise_epoch(store, "acme").epoch == 2
    with store.control() as connection, pytest.raises(psycopg.DatabaseError) as caught:
        connection.execute("select kos.enter('acme', 1)")
    assert caught.value.sqlstate == "KS003"
    with store.tenant("acme") as session:
        session.execute("select 1")
        assert session.tenant.epoch == 2


def is_there(store: Store, row: Any) -> bool:
    with store.operator() as operator:
        return operator.execute("select from pg_stat_activity where pid = %s", row).fetchone() is not None


@pytest.mark.parametrize("stuck", ["in a statement", "between two"])
def test_a_client_that_is_stuck_is_ended(store: Store, stuck: str) -> None:
    """By transaction_timeout from PostgreSQL 17 on; before, by the limits on a statement and on idling."""
    create_tenant(store, "acme")
    ended = (
        psycopg.OperationalError,
        psycopg.errors.QueryCanceled,
        psycopg.errors.IdleInTransactionSessionTimeout,
        psycopg.errors.TransactionTimeout,
    )
    with pytest.raises(ended), store.tenant("acme", timeout=0.3) as session:
        if stuck == "between two":
            row = session.execute("select pg_backend_pid()").fetchone()
            until(lambda: not is_there(store, row))
            session.execute("select 1")
        session.execute("select pg_sleep(20)")
    with store.tenant("acme") as session:
        assert session.execute("select 1").fetchone() == (1,)


def test_operations_are_taken_over_and_taken_back(store: Store, tmp_path: Path) -> None:
    """Also from a runner whose session still lives: it is of the same role, so it may be ended."""
    sweep_toy.set_up(store, tmp_path)
    old = Runner(store, sweep_toy.TOY, point=frozen_at("after checkpoint of copy_rows", store))
    with pytest.raises(errors.LeaseLost):
        old.run(sweep_toy.ToyPlan(6))
    assert sweep_toy.facts(store, None).keys() == {"counted", "published", "source"}
    assert list_operations(store)[0].state == "rolled_back"


def frozen_at(point: str, store: Store) -> Callable[[str], None]:
    """As if the process stood still there, until another one has rolled its operation back."""

    def stand_still(reached: str) -> None:
        if reached == point:
            with store.operator() as operator:
                operator.execute("update kos.leases set until = clock_timestamp()")
            Runner(store, sweep_toy.TOY).roll_back(list_operations(store)[0])

    return stand_still
