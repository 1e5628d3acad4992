"""How kos comes to change tables of somebody else's, on every version, without a superuser: the least that is needed.

An administrator with CREATEROLE and CREATEDB made the product's role and kos; that role owns the product's tables.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from fix_own_postgres import MakePostgres
from fix_product import OWNER, PASSWORD, make_product, make_roles
from kos.adoption import Plan, Wanted, display, plan
from kos.tenancy import install
from kos.topology import postgres as opening
from kos.topology.model import Login, PostgresServer, Shard, Tls, Topology, fixed

pytestmark = pytest.mark.long

ADMINISTRATOR = Login("administrator", fixed(PASSWORD))
OPERATOR = Login("kos_operator", fixed(PASSWORD))
APPLICATION = Login(OWNER, fixed(PASSWORD))

BARE: dict[str, Plan] = {}  # by version: what the application's own role was told before kos was there


@pytest.fixture(scope="module", params=["debian", "16", "17", "wheel"])
def managed(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> Topology:
    server = own_postgres(request.param)
    server.start()
    server.execute(f"create role administrator login createrole createdb password '{PASSWORD}'")
    primary = PostgresServer("main", "127.0.0.1", server.server.port, "product", Tls("disable"))
    maintenance = PostgresServer("main", "127.0.0.1", server.server.port, "postgres", Tls("disable"))
    with opening.connect(maintenance, ADMINISTRATOR) as connection:
        connection.execute("create database product")
        make_roles(connection, grant=False)
    make_product(primary, ADMINISTRATOR)
    app = Login("kos_app", fixed(PASSWORD))
    topology = Topology((Shard(1, "main", primary, (), app, OPERATOR, installer=ADMINISTRATOR),))
    with opening.connect(primary, APPLICATION) as connection:
        BARE[request.param] = plan(connection, Wanted(level="enforce"))
    install(topology)
    with opening.connect(primary, ADMINISTRATOR) as connection:
        connection.execute(f"alter role kos_operator login password '{PASSWORD}'")
    return topology


def connect(topology: Topology, login: Login) -> psycopg.Connection[Any]:
    return opening.connect(topology.control.primary, login)


@pytest.fixture
def administrator(managed: Topology) -> Iterator[psycopg.Connection[Any]]:
    """Whatever it grants is taken back."""
    with connect(managed, ADMINISTRATOR) as connection:
        yield connection
        connection.execute("drop role if exists kos_adopter")
        connection.execute(f"revoke {OWNER} from kos_operator")
        connection.execute(f"revoke kos_app from {OWNER}")


def planned(topology: Topology, *patterns: str) -> Plan:
    with connect(topology, OPERATOR) as connection:
        return plan(connection, Wanted(patterns))


def why(found: Plan, capability: str) -> list[str]:
    return [blocker.reason for each in found.tables for blocker in each.blocked(capability)]


def test_it_needs_no_kos_to_look(managed: Topology, request: pytest.FixtureRequest) -> None:
    found = BARE[request.node.callspec.params["managed"]]
    assert not found.installed
    assert sum(each.of_class == "tenant" for each in found.tables) == 229
    assert [each.kind for each in found.tables for each in each.blocked("log") if each.kind == "grant"] == ["grant"]
    assert found.effects is not None
    assert [each.role for each in found.effects.roles if each.owns] == ["product_app", "product_legacy", "postgres"]


def test_the_grants_that_it_prints_are_enough(managed: Topology, administrator: psycopg.Connection[Any]) -> None:
    before = planned(managed, "shop_order")
    assert why(before, "row_security") == [f"kos may not act as its owner, {OWNER}"]
    assert before.tables[0].tenants is None  # the statistics of a table are for those who may read it
    assert len(before.grants) == 3
    for grant in before.grants:
        administrator.execute(grant)
    after = planned(managed, "shop_order")
    assert (why(after, "log"), why(after, "row_security"), after.grants) == ([], [], ())
    assert after.tables[0].tenants == 20
    with connect(managed, OPERATOR) as operator, operator.transaction():
        operator.execute(f"set local role {OWNER}")
        operator.execute("alter table public.shop_order enable row level security, force row level security")
        raise psycopg.Rollback


def test_an_operator_that_inherits_would_be_bound(managed: Topology, administrator: psycopg.Connection[Any]) -> None:
    """The plain grant, and an owner who enters tenants: the tenant policy then counts for the operator as well."""
    administrator.execute(f"grant {OWNER} to kos_operator")
    assert why(planned(managed, "shop_order"), "row_security") == []
    administrator.execute(f"grant kos_app to {OWNER}")
    assert why(planned(managed, "shop_order"), "row_security") == [
        "kos_operator inherits the rights of kos_app: the tenant policy would bind it as well"
    ]
    administrator.execute(f"revoke {OWNER} from kos_operator")
    for grant in planned(managed, "shop_order").grants:
        administrator.execute(grant)
    assert why(planned(managed, "shop_order"), "row_security") == []


def test_a_right_to_make_triggers_is_not_enough(managed: Topology) -> None:
    """Whoever has it makes a trigger, and can't take it away again."""
    with connect(managed, APPLICATION) as owner:
        owner.execute("grant trigger on public.shop_order to kos_operator")
        (reason,) = why(planned(managed, "shop_order"), "log")
        owner.execute("revoke trigger on public.shop_order from kos_operator")
    assert reason.endswith("(a right to make triggers alone is none to take them away again)")


def test_the_sql_that_it_prints_runs_on_this_version(managed: Topology, administrator: psycopg.Connection[Any]) -> None:
    for grant in planned(managed, "shop_order").grants:
        administrator.execute(grant)
    with connect(managed, APPLICATION) as owner:
        for which in ("columns", "keys"):
            for line in display.script(planned(managed), which):
                if "legacy_balance" not in line:
                    owner.execute(line)
    found = planned(managed)
    assert [
        line for which in ("columns", "keys") for line in display.script(found, which) if "legacy" not in line
    ] == []
