"""Each check of tenants' tables finds what was planted, nothing else does, and the mend that it prints mends it.

On a server of its own: roles and their memberships are the server's, and no other test may meet a planted one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from kos.tenancy import Store, create_tenant, install
from kos.tenancy.checks import FILES, row_security, tenant_databases
from kos.topology import postgres as opening
from kos.topology.doctor import Finding
from kos.topology.model import Login, PostgresServer, Shard, Tls, Topology, fixed
from planted_faults import HARMLESS, HARMLESS_SINCE_16, PLANTED, SINCE_16, SINCE_17

pytestmark = pytest.mark.xdist_group("isolation_checks")  # the server is made once, not in every worker

PASSWORD = "only for this test"
PROTECT = "select kos.protect("
WORDS = re.compile(r"^(add tenant_id|have it in|kos upgrade|kos adopt|restore it)")


@pytest.fixture(scope="module", params=["wheel", pytest.param("debian", marks=pytest.mark.long)])
def own(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> OwnPostgres:
    server = own_postgres(request.param)
    server.configure(fsync="off")
    server.start()
    server.execute(f"create role administrator login createrole createdb password '{PASSWORD}'")
    server.execute("create database product owner administrator")
    return server


@pytest.fixture(scope="module")
def topology(own: OwnPostgres) -> Topology:
    """A database with tenants in all three tiers; the administrator has no more than CREATEROLE and CREATEDB."""
    primary = PostgresServer("main", "127.0.0.1", own.server.port, "product", Tls("disable"))
    administrator, *others = (Login(role, fixed(PASSWORD)) for role in ("administrator", "kos_app", "kos_operator"))
    topology = Topology((Shard(1, "main", primary, (), *others, installer=administrator),))
    install(topology)
    own.execute(
        f"alter role kos_app login password '{PASSWORD}'",
        f"alter role kos_operator login createdb password '{PASSWORD}'",
    )
    with Store(topology) as store:
        for tier in ("row", "schema", "database"):
            create_tenant(store, f"of-{tier}", tier)
    return topology


@pytest.fixture
def planting(own: OwnPostgres, topology: Topology) -> Iterator[psycopg.Connection[Any]]:
    """A superuser in a transaction that is rolled back: roles and their rights are under transactions too."""
    with opening.connect(topology.control.primary, own.superuser) as connection:
        connection.autocommit = False
        yield connection
        connection.rollback()


def plant(connection: psycopg.Connection[Any], since: int, statements: str) -> None:
    if connection.info.server_version < since * 10000:
        pytest.skip(f"PostgreSQL {since} brought what is planted here")
    connection.execute(statements)
    connection.execute("reset role")


def faults(connection: psycopg.Connection[Any]) -> list[Finding]:
    """What the operator finds."""
    connection.execute("set local role kos_operator")
    found = [finding for finding in row_security(connection) if finding.severity != "ok"]
    connection.execute("reset role")
    return found


def mend(connection: psycopg.Connection[Any], found: list[Finding]) -> None:
    """Run what is printed, by whom the page says: kos.protect() as the operator, the rest as an administrator."""
    for finding in found:
        for statement in finding.mend.split("; "):
            connection.execute("set local role kos_operator" if statement.startswith(PROTECT) else "reset role")
            connection.execute(statement)


def test_tenants_of_every_tier_pass_every_check(topology: Topology) -> None:
    control = topology.control
    with opening.connect(control.primary, control.operator) as operator:
        findings = [*row_security(operator), *tenant_databases(topology)]
    checks = [name[5:].removesuffix(".sql") for name in FILES]
    assert [finding.check for finding in findings] == checks * 2
    assert [finding for finding in findings if finding.severity != "ok"] == []


def test_every_check_has_a_fault() -> None:
    assert {check for checks, *_ in PLANTED for check in checks.split()} == {
        name[5:].removesuffix(".sql") for name in FILES
    }


@pytest.mark.parametrize(
    ("since", "checks", "subject", "fault"),
    [
        pytest.param(
            since,
            *planted,
            id=f"{planted[0].replace(' ', '+')}-{number}",
            marks=[] if number % 3 == 1 else [pytest.mark.long],
        )
        for since, cases in ((15, PLANTED), (16, SINCE_16), (17, SINCE_17))
        for number, planted in enumerate(cases, 1)
    ],
)
def test_a_planted_fault_is_found_and_mended(
    planting: psycopg.Connection[Any], since: int, checks: str, subject: str, fault: str
) -> None:
    plant(planting, since, fault)
    found = faults(planting)
    assert {(finding.check, finding.subject) for finding in found} == {
        (check, f"product: {subject}") for check in checks.split()
    }
    if not WORDS.match(found[0].mend):
        mend(planting, found)
        assert faults(planting) == []


@pytest.mark.parametrize(
    ("since", "statements"), [*((15, each) for each in HARMLESS), *((16, each) for each in HARMLESS_SINCE_16)]
)
def test_what_breaks_nothing_is_no_finding(planting: psycopg.Connection[Any], since: int, statements: str) -> None:
    plant(planting, since, statements)
    assert faults(planting) == []


def test_a_check_that_can_not_run_is_an_error_and_hides_no_other(planting: psycopg.Connection[Any]) -> None:
    plant(planting, 15, "alter table kos.schema_versions rename column version to number")
    planting.execute("set local role kos_operator")
    found = list(row_security(planting))
    assert [each.check for each in found] == [name[5:].removesuffix(".sql") for name in FILES]
    (broken,) = (each for each in found if each.severity != "ok")
    assert (broken.check, broken.severity, broken.mend) == ("placements_behind", "error", "kos upgrade")
    assert "could not run" in broken.found


def test_protecting_again_changes_nothing(planting: psycopg.Connection[Any]) -> None:
    """Above all it gives no right back that was taken away: applications don't write the log."""
    rights = "select oid::regclass::text, relacl::text from pg_class where oid in (select oid from kos.tenant_tables())"
    policies = "select * from pg_policies"
    triggers = "select pg_get_triggerdef(oid), tgenabled from pg_trigger"
    before = [sorted(planting.execute(query).fetchall(), key=str) for query in (rights, policies, triggers)]
    for _ in range(2):
        planting.execute("select kos.protect(oid) from kos.tenant_tables()")
    after = [sorted(planting.execute(query).fetchall(), key=str) for query in (rights, policies, triggers)]
    assert after == before
    assert planting.execute("select has_table_privilege('kos_app', 'kos.knowledge_events', 'insert')").fetchone() == (
        False,
    )
