"""Making and removing tenants, in every tier, also when the command was killed in between."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from kos import errors
from kos.tenancy import (
    Store,
    Tenant,
    create_tenant,
    find_tenant,
    finish_tenant,
    list_tenants,
    remove_tenant,
    rows_per_table,
)
from kos.tenancy import create as creation
from kos.tenancy.create import plan_tenant
from kos.tenancy.placement import Place, place_of
from kos.topology.model import Topology
from suites import short

TIERS = ("row", "schema", "database")
ATOM = "insert into atoms (atom_type, name) values ('T', 'x')"


@pytest.mark.parametrize("tier", TIERS)
def test_a_tenant_is_placed_and_ready(store: Store, tier: str) -> None:
    tenant = create_tenant(store, "acme-2", tier, "enterprise")
    assert (tenant.name, tenant.tier, tenant.service_plan, tenant.state, tenant.epoch) == (
        "acme-2",
        tier,
        "enterprise",
        "active",
        1,
    )
    assert tenant.id.version == 7
    assert find_tenant(store, "acme-2") == find_tenant(store, str(tenant.id)) == tenant
    own = store.topology.control.primary.database
    assert (tenant.database, tenant.schema) == {
        "row": (own, "knowledge"),
        "schema": (own, "tenant_acme_2"),
        "database": (f"{own}_acme_2", "knowledge"),
    }[tier]
    with store.tenant("acme-2") as session:
        session.execute(ATOM)
    assert rows_per_table(store, tenant)["atoms"] == 1


def test_a_name_is_given_once(store: Store) -> None:
    create_tenant(store, "acme", "schema")
    for tier in TIERS:
        with pytest.raises(errors.TenantExists) as caught:
            create_tenant(store, "acme", tier)
        assert caught.value.tier == "schema"


@pytest.mark.parametrize(
    ("name", "tier", "shard", "kind"),
    [
        ("Acme", "row", None, errors.InvalidTenantName),
        ("acme", "planet", None, errors.UnknownTier),
        ("acme", "row", "moon", errors.UnknownShard),
    ],
)
def test_bad_input_makes_nothing(store: Store, name: str, tier: str, shard: str | None, kind: type[Exception]) -> None:
    with pytest.raises(kind):
        create_tenant(store, name, tier, shard=shard)
    assert list_tenants(store) == []


@pytest.mark.parametrize("tier", short(TIERS, "schema"))
@pytest.mark.parametrize("killed_at", ["before anything is made", "half way", "before it is declared whole"])
def test_a_killed_creation_is_finished_by_the_same_command(
    store: Store, monkeypatch: pytest.MonkeyPatch, tier: str, killed_at: str
) -> None:
    class Killed(BaseException):
        """Not an Exception: as after SIGKILL, no clean-up runs."""

    def dying(*_: object, **__: object) -> None:
        raise Killed

    point = {
        "before anything is made": (creation, "_build"),
        "half way": (creation, "install_database") if tier == "database" else (creation.schema_files, "apply"),
        "before it is declared whole": (creation.dataclasses, "replace"),
    }[killed_at]
    with monkeypatch.context() as patched:
        patched.setattr(*point, dying)
        if not (tier == "row" and killed_at == "half way"):
            with pytest.raises(Killed):
                create_tenant(store, "acme", tier)
    finished = killed_at == "before it is declared whole"
    if not finished and not (tier == "row" and killed_at == "half way"):
        with pytest.raises(errors.TenantUnfinished), store.tenant("acme"):
            pass
    if not finished:
        create_tenant(store, "acme", tier)
    with store.tenant("acme") as session:
        session.execute(ATOM)


@pytest.mark.parametrize("tier", short(TIERS, "database"))
def test_removal_takes_everything_of_one_tenant_and_nothing_of_others(store: Store, tier: str) -> None:
    for name in ("acme", "other"):
        create_tenant(store, name, tier)
        with store.tenant(name) as session:
            session.execute(ATOM)
            session.execute(
                "insert into relations (relation_type, from_atom_id, to_atom_id) select 'same', id, id from atoms"
            )
    gone = find_tenant(store, "acme")
    remove_tenant(store, "acme")
    with pytest.raises(errors.UnknownTenant):
        find_tenant(store, "acme")
    assert rows_per_table(store, find_tenant(store, "other"))["relations"] == 1
    home = Place("main", store.topology.control.primary.database)
    with store.operator(home) as operator:
        databases = [name for (name,) in operator.execute("select datname from pg_database").fetchall()]
        schemas = [name for (name,) in operator.execute("select nspname from pg_namespace").fetchall()]
        assert (gone.database in databases) == (tier != "database")
        assert (gone.schema in schemas) == (tier != "schema")
        assert operator.execute("select count(*) from knowledge.atoms where tenant_id = %s", (gone.id,)).fetchone() == (
            0,
        )
        assert operator.execute("select count(*) from kos.fence where name = 'acme'").fetchone() == (0,)
    create_tenant(store, "acme", tier)
    assert place_of(find_tenant(store, "acme")) == place_of(gone)


def test_the_missions_view_and_function_say_where_a_tenant_lives(store: Store) -> None:
    tenant = create_tenant(store, "acme", "database")
    with store.control() as connection:
        row = connection.execute("select * from kos.tenant_shards where tenant_id = %s", (tenant.id,)).fetchone()
        route = connection.execute("select kos.route_to_shard(%s)", (tenant.id,)).fetchone()
    server = store.topology.control.primary
    assert row == (tenant.id, 1, server.host, tenant.database)
    assert route == (f"host='{server.host}' port={server.port} dbname='{tenant.database}'",)


class Killed(BaseException):
    """Not an Exception: as after SIGKILL, no clean-up runs."""


def begin(store: Store, monkeypatch: pytest.MonkeyPatch, **options: Any) -> None:
    """A creation that is killed before anything is made."""

    def dying(*_: object) -> None:
        raise Killed

    with monkeypatch.context() as patched, pytest.raises(Killed):
        patched.setattr(creation, "_build", dying)
        create_tenant(store, "acme", **options)


def test_a_repeated_creation_has_the_service_plan_that_is_asked_for_now(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(store, monkeypatch, service_plan="free")
    begin(store, monkeypatch)
    assert find_tenant(store, "acme").service_plan == "free", "nothing else was asked for"
    assert create_tenant(store, "acme", service_plan="enterprise").service_plan == "enterprise"
    assert find_tenant(store, "acme").service_plan == "enterprise"


@pytest.mark.parametrize("meanwhile", ["removing", "gone"])
def test_what_another_command_made_of_a_tenant_meanwhile_stays(
    store: Store, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    """As if the lock on its name had been lost."""
    build = creation._build

    def and_be_overtaken(*given: Any) -> None:
        build(*given)
        with store.operator() as control:
            if meanwhile == "gone":
                control.execute("delete from kos.tenants")
            else:
                control.execute("update kos.tenants set state = 'removing'")

    monkeypatch.setattr(creation, "_build", and_be_overtaken)
    with pytest.raises((errors.TenantChanged, errors.UnknownTenant)) as caught:
        create_tenant(store, "acme")
    assert caught.value.fields == {"tenant": "acme"} | ({} if meanwhile == "gone" else {"state": "removing"})
    assert [each.state for each in list_tenants(store)] == ([] if meanwhile == "gone" else ["removing"])


def test_only_a_tenant_that_is_being_filled_can_be_finished(store: Store) -> None:
    tenant = create_tenant(store, "acme", state="importing")
    with store.operator() as control:
        control.execute("update kos.tenants set state = 'removing'")
    with pytest.raises(errors.TenantChanged):
        finish_tenant(store, tenant)
    assert find_tenant(store, "acme").state == "removing"


def test_a_tenant_that_was_finished_meanwhile_is_not_removed_as_unfinished(
    store: Store,
) -> None:
    tenant = create_tenant(store, "acme", state="importing")

    def permit(_: Any, found: Tenant) -> None:
        assert found.state == "importing"
        finish_tenant(store, tenant)

    with pytest.raises(errors.TenantChanged) as caught:
        remove_tenant(store, "acme", permit=permit)
    assert caught.value.state == "active"
    with store.tenant("acme") as session:
        session.execute(ATOM)


def test_a_repeated_creation_on_another_shard_is_refused(database: Topology, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two shards of one server: the second one's database was not even made."""
    first = database.control
    elsewhere = replace(first.primary, name="second", database=f"{first.primary.database}_second")
    with Store(replace(database, shards=(first, replace(first, number=2, name="second", primary=elsewhere)))) as store:
        begin(store, monkeypatch, shard=first.name)
        for command in (create_tenant, lambda *_, shard: plan_tenant(store, "acme", "row", shard)):
            with pytest.raises(errors.BegunElsewhere) as caught:
                command(store, "acme", shard="second")
            assert (caught.value.shard, caught.value.wanted) == (first.name, "second")
        assert create_tenant(store, "acme").shard == first.name
