"""A product whose database is not the one with the directory of tenants."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

from fix_enforced import ADMINISTRATOR, APPLICATION
from kos import errors
from kos.adoption import Adopted, Wanted, adopt_tables, check, plan, plan_release, planned_adoption, release_tables
from kos.adoption import tenants as adopting
from kos.tenancy import Place, Store, create_tenant, install, list_tenants
from kos.topology import postgres as opening
from kos.topology.model import Topology


@pytest.fixture
def store(owned: Topology) -> Iterator[Store]:
    """Two shards: the directory's, and the one with the product."""
    first, names = owned.control, [f"test_{uuid.uuid4().hex[:12]}" for _ in range(2)]
    with opening.connect(replace(first.primary, database="postgres"), ADMINISTRATOR) as connection:
        for name, template in zip(names, ("template1", "product"), strict=True):
            connection.execute(SQL("create database {} template {}").format(Identifier(name), Identifier(template)))
    main, west = (replace(first.primary, database=name) for name in names)
    with opening.connect(west, ADMINISTRATOR) as connection:  # its template was a directory
        connection.execute("set role kos_owner")
        connection.execute("delete from kos.shards")
    topology = replace(
        owned, shards=(replace(first, primary=main), replace(first, number=2, name="west", primary=west))
    )
    install(topology)
    with Store(topology) as store:
        yield store


def place(store: Store) -> Place:
    return Place("west", store.topology.shards[1].primary.database)


def adopt(store: Store, *patterns: str, level: str = "enforce", column: str = "account_id") -> Adopted:
    wanted = Wanted(patterns, level=level, tenant_column=column)
    with store.operator(place(store)) as operator:
        found = plan(operator, wanted, shard="west")
    check(found, wanted)
    return adopt_tables(store, planned_adoption(store, found, wanted))


def names(store: Store) -> list[tuple[str, str]]:
    return [(each.name, each.shard) for each in list_tenants(store)]


def test_its_tenants_are_in_the_directory_until_it_is_released(store: Store) -> None:
    done = adopt(store, "shop_order")
    assert done.enforced == ("public.shop_order",)
    assert ("7", "west") in names(store)
    with store.tenant("7") as session:
        mine = session.execute("select distinct account_id::text from public.shop_order").fetchall()
    assert mine == [("7",)]
    release_tables(store, plan_release(store, place(store), ("*",)))
    assert names(store) == []


def test_a_name_that_the_directory_has_is_left_out_at_level_log_and_refused_at_enforce(store: Store) -> None:
    create_tenant(store, "acme")
    with opening.connect(store.topology.shards[1].primary, APPLICATION) as app:
        app.execute("insert into public.tickets_of_teams (team, line) values ('acme', 'line')")
    adopt(store, "tickets_of_teams", column="team", level="log")
    assert names(store) == [("Team 0", "west"), ("Team 1", "west"), ("Team 2", "west"), ("acme", "main")]
    with pytest.raises(errors.TenantNotRegistered, match="acme"):
        adopt(store, "tickets_of_teams", column="team")


def test_who_has_lost_the_lease_tells_the_directory_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen just before it would, and woken when somebody else has taken all back."""
    tell = adopting.tell_directory
    lost: list[Any] = []

    def frozen(*given: Any, **options: Any) -> None:
        monkeypatch.setattr(adopting, "tell_directory", tell)
        with store.operator(place(store)) as other:
            lost.append(other.execute("update kos.leases set token = token + 1 returning token").fetchone())
        with store.operator() as control:
            lost.append(control.execute("update kos.leases set token = token + 1 returning token").fetchone())
        tell(*given, **options)
        raise AssertionError("it may be told, but not committed")

    monkeypatch.setattr(adopting, "tell_directory", frozen)
    with pytest.raises(errors.LeaseLost):
        adopt(store, "shop_order")
    assert len(lost) == 2
    assert names(store) == []
