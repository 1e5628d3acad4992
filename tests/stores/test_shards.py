"""Tenants on several shards: each a database of its own here, which to kos is the same as a server of its own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg.sql import SQL, Identifier

from fix_database import as_installer
from kos import errors
from kos.tenancy import TIERS, Store, create_tenant, fence, find_tenant, install, list_tenants, remove_tenant
from kos.topology.model import Topology
from suites import short

ATOM = "insert into atoms (atom_type, name) values ('T', %s)"


@pytest.fixture
def three(database: Topology) -> Iterator[Topology]:
    """The test's database as the first shard, and two more. Those are dropped with it: they begin with its name."""
    first = database.control
    shards = [first]
    for number, name in enumerate(("east", "west"), start=2):
        primary = replace(first.primary, database=f"{first.primary.database}_{name}")
        with as_installer(database, "knowledge_os") as connection:
            connection.execute(SQL("create database {}").format(Identifier(primary.database)))
        shards.append(replace(first, number=number, name=name, primary=primary))
    return replace(database, shards=tuple(shards))


@pytest.fixture
def store(three: Topology) -> Iterator[Store]:
    install(three)
    with Store(three) as store:
        yield store


@pytest.mark.parametrize("tier", short(TIERS, "database"))
def test_a_tenant_lives_on_the_shard_that_was_said(store: Store, three: Topology, tier: str) -> None:
    for shard in ("main", "west"):
        create_tenant(store, f"of-{shard}", tier, shard=shard)
        with store.tenant(f"of-{shard}") as session:
            session.execute(ATOM, (shard,))
            [(here, rows)] = session.execute("select current_database(), array_agg(name) from atoms").fetchall()
        assert here == find_tenant(store, f"of-{shard}").database
        assert here.startswith(next(each.primary.database for each in three.shards if each.name == shard))
        assert rows == [shard]
    remove_tenant(store, "of-west")
    with store.tenant("of-main") as session:
        assert session.execute("select name from atoms").fetchall() == [("main",)]


@pytest.mark.parametrize("tier", short(TIERS, "database"))
def test_the_directory_follows_the_fence_of_another_shard(store: Store, tier: str) -> None:
    create_tenant(store, "acme", tier, shard="east")
    assert fence.raise_epoch(store, "acme").epoch == 2
    assert find_tenant(store, "acme").epoch == 2
    with store.tenant("acme") as session:
        session.execute(ATOM, ("x",))


def test_the_order_of_data_shards_may_change(store: Store, three: Topology) -> None:
    create_tenant(store, "acme", shard="east")
    main, east, west = three.shards
    other = replace(three, shards=(main, replace(west, number=2), replace(east, number=3)))
    install(other)
    with Store(other) as again:
        assert find_tenant(again, "acme").shard == "east"
        with again.tenant("acme") as session:
            session.execute(ATOM, ("x",))


def test_the_directory_is_not_begun_anew_on_another_shard(store: Store, three: Topology) -> None:
    create_tenant(store, "acme", shard="east")
    main, east, west = three.shards
    with pytest.raises(errors.DirectoryElsewhere, match="_east"):
        install(replace(three, shards=(east, main, west)))
    assert [tenant.name for tenant in list_tenants(store)] == ["acme"]


def test_a_shard_has_to_be_registered_before_tenants_live_there(store: Store, three: Topology) -> None:
    south = replace(three.shards[2], number=4, name="south")
    with Store(replace(three, shards=(*three.shards, south))) as wider:
        with pytest.raises(errors.UnregisteredShard) as caught:
            create_tenant(wider, "acme", shard="south")
        assert caught.value.next_command == "kos upgrade"
        assert list_tenants(wider) == []
        install(wider.topology)
        assert create_tenant(wider, "acme", shard="south").shard == "south"
