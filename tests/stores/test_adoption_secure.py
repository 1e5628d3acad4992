"""`kos adopt --level enforce` as an operation: tables are logged and enforced, tenants known, and all is taken back."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from fix_enforced import ADMINISTRATOR, APPLICATION, connect
from fix_product import catalog
from kos import errors, journal
from kos.adoption import (
    Adopted,
    Plan,
    Wanted,
    adopt_tables,
    check,
    check_effects,
    plan,
    plan_release,
    planned_adoption,
    release_tables,
    status,
    tables,
    tenants,
    uninstall,
)
from kos.knowledge import removal
from kos.knowledge.exchange import export_tenant
from kos.knowledge.samples import plan_load
from kos.log import seal_all
from kos.tenancy import Place, Store, create_tenant, find_tenant, list_tenants, look_at
from kos.topology.model import Topology

enforcing = importlib.import_module("kos.adoption.enforce")

Connection = psycopg.Connection[Any]
NAMED = (
    "accounts_account",
    "shop_order",
    "shop_item_group",
    "events_event",
    "crm_contact",
    "countries",
    "tickets_of_teams",
)


@pytest.fixture
def topology(cloned: Callable[[], Topology]) -> Topology:
    return cloned()


@pytest.fixture
def store(topology: Topology) -> Iterator[Store]:
    with Store(topology) as store:
        yield store


def here(store: Store) -> Place:
    control = store.topology.control
    return Place(control.name, control.primary.database)


def planned(store: Store, *patterns: str, level: str = "enforce", column: str = "account_id") -> tuple[Plan, Wanted]:
    wanted = Wanted(patterns, level=level, tenant_column=column)
    with store.operator() as operator:
        found = plan(operator, wanted, shard="main")
    check(found, wanted)
    return found, wanted


def adopt(store: Store, *patterns: str, **options: Any) -> Adopted:
    return adopt_tables(store, planned_adoption(store, *planned(store, *patterns, **options)))


def release(store: Store, *patterns: str) -> None:
    release_tables(store, plan_release(store, here(store), patterns))


def of_product(topology: Topology) -> str:
    excluded = ("--exclude-schema=kos", "--exclude-schema=knowledge", "--exclude-table=public.legacy_balance")
    return catalog(topology.control.primary, APPLICATION, *excluded)


def rows(connection: Connection, query: str) -> list[tuple[Any, ...]]:
    return connection.execute(query).fetchall()


def test_tables_are_logged_and_enforced_and_both_are_taken_back(store: Store, topology: Topology) -> None:
    before = of_product(topology)
    done = adopt(store, *NAMED[:6])
    assert set(done.enforced) == {f"public.{name}" for name in NAMED[:5]}
    assert {each.name: each.level for each in status(store, here(store))} == {
        f"public.{name}": "log" if name == "countries" else "enforce" for name in NAMED[:6]
    }
    with connect(topology, APPLICATION) as app, app.transaction():
        app.execute("select kos.enter('7')")
        app.execute("update public.shop_order set name = name || '!'")
        app.execute("insert into public.events_event (account_id, at) values (7, '2026-01-20')")
    with store.operator() as operator:
        seal_all(operator)
        tenant = find_tenant(store, "7").id
        assert rows(operator, "select distinct tenant_id, context[1] from kos.knowledge_events") == [(tenant, "")]
        assert rows(operator, "select count(*) from kos.knowledge_events") == [(3,)]
    assert adopt(store, *NAMED[:6]).operation is None
    release(store, "*")
    assert of_product(topology) == before
    assert list_tenants(store) == []
    with store.operator() as operator:
        assert rows(operator, "select count(*) from kos.fence") == [(0,)]
        assert rows(operator, "select count(*) from kos.adopted_product") == [(0,)]


ODD = """
create schema odd;
create table odd.orders (id bigint primary key, account_id bigint not null);
insert into odd.orders values (1, 7);
create table odd.lines (account_id bigint not null, line text);
create table odd.objects (id bigint primary key, account_id bigint not null, kind regclass);
"""


def adopt_odd(store: Store, topology: Topology) -> tuple[str, Adopted]:
    """Two of three tables can be kept apart, and not logged. Returns how the catalog was, and what was done."""
    with connect(topology, ADMINISTRATOR) as administrator:
        administrator.execute(f"grant create on database {topology.control.primary.database} to {APPLICATION.user}")
    with connect(topology, APPLICATION) as app:
        app.execute(ODD)
    before = of_product(topology)
    wanted = Wanted(level="enforce", tenant_column="account_id", schema="odd")
    with store.operator() as operator:
        found = plan(operator, wanted, shard="main")
    return before, adopt_tables(store, planned_adoption(store, found, wanted))


def test_what_can_be_kept_apart_and_not_logged_is_taken_out_as_well(store: Store, topology: Topology) -> None:
    before, done = adopt_odd(store, topology)
    assert done.adopted == ("odd.orders",)
    assert done.enforced == ("odd.lines", "odd.objects", "odd.orders")
    assert {each.name for each in done.left_out} == {"odd.lines", "odd.objects"}
    assert [(each.name, each.level, each.baseline, each.capture) for each in status(store, here(store))] == [
        ("odd.lines", "enforce", None, None),
        ("odd.objects", "enforce", None, None),
        ("odd.orders", "enforce", "lazy", "ok"),
    ]
    secured = of_product(topology)
    released = release_tables(store, plan_release(store, here(store), ["odd.*"]))
    assert released.released == done.enforced
    assert of_product(topology) == before
    assert status(store, here(store)) == ()
    assert secured != before


@pytest.mark.long
def test_a_release_that_is_taken_back_logs_what_was_logged(
    store: Store, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, _ = adopt_odd(store, topology)
    there, secured = status(store, here(store)), of_product(topology)
    monkeypatch.setattr(tables, "LOCK_ATTEMPTS", 2)
    with store.tenant("7", timeout=5) as session, pytest.raises(errors.TenantBusy):
        session.execute("select 1")
        release(store, "*")
    assert of_product(topology) == before
    (operation,) = [each for each in journal.list_operations(store) if each.state == "failed"]
    journal.roll_back(store, str(operation.id))
    assert sorted(of_product(topology).splitlines()) == sorted(secured.splitlines())  # rights are told in another order
    assert [(each.name, each.level) for each in status(store, here(store))] == [
        (each.name, each.level) for each in there
    ]


def test_row_security_stays_where_the_product_has_policies_for_it_by_now(store: Store, topology: Topology) -> None:
    adopt(store, "shop_order", "crm_contact", "events_event", "crm_log")  # crm_contact had row security, not forced
    with connect(topology, APPLICATION) as app:
        app.execute("create policy later on public.shop_order using (name <> 'hidden')")
        app.execute("create policy later on public.events_event_2026_01 using (true)")
    planned = plan_release(store, here(store), ["*"])
    done = release_tables(store, planned)
    assert done.kept == ("later on public.events_event_2026_01", "later on public.shop_order")
    flags = """
        select relname, relforcerowsecurity from pg_class
         where relrowsecurity and relnamespace = 'public'::regnamespace order by 1"""
    with store.operator() as operator:
        assert rows(operator, flags) == [("crm_contact", False), ("events_event_2026_01", True), ("shop_order", True)]
    assert "kos_" not in of_product(topology).replace("kos_owner", "")
    adopt(store, "shop_order")  # by now it had them before
    assert release_tables(store, plan_release(store, here(store), ["*"])).kept == ()


def test_a_policy_that_comes_while_a_release_waits_for_its_lock_keeps_row_security(
    store: Store, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(store, "shop_order")
    lock = enforcing._lock
    came = []

    def wait(connection: Any, target: Any) -> None:
        if not came:
            with connect(topology, APPLICATION) as app:
                came.append(app.execute("create policy later on public.shop_order using (name <> 'hidden')"))
        lock(connection, target)

    monkeypatch.setattr(enforcing, "_lock", wait)
    release_tables(store, plan_release(store, here(store), ["*"]))
    with store.operator() as operator:
        flags = "select relrowsecurity, relforcerowsecurity from pg_class where oid = 'public.shop_order'::regclass"
        assert rows(operator, flags) == [(True, True)]


def test_an_uninstallation_takes_out_what_is_not_logged(store: Store, topology: Topology) -> None:
    _, done = adopt_odd(store, topology)
    assert "kos_" in of_product(topology)
    store.close()
    assert uninstall(topology, here(store)).released == done.enforced
    assert "kos_" not in of_product(topology)


def test_a_table_is_taken_on_from_level_log_and_back_to_it(store: Store, topology: Topology) -> None:
    """An application enters from level log on, and need not wait until it must."""
    adopt(store, "shop_order", level="log")
    with store.tenant("7") as session:
        assert session.execute("select count(*) from public.shop_order").fetchone() == (40,)
    done = adopt(store, "shop_order")
    assert (done.adopted, done.enforced) == ((), ("public.shop_order",))
    with store.tenant("7") as session:
        assert session.execute("select count(*) from public.shop_order").fetchone() == (2,)


def test_an_adoption_that_is_rolled_back_leaves_what_was_logged(
    store: Store, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(store, "shop_order", level="log")
    with connect(topology, APPLICATION) as app:
        app.execute("create table public.empty_names (id int primary key, account_id text not null)")
        app.execute("insert into public.empty_names values (1, '')")  # no tenant can be named so
    logged = of_product(topology)
    with pytest.raises(errors.TenantNotRegistered):
        adopt(store, "shop_order", "empty_names")
    (operation,) = [each for each in journal.list_operations(store) if each.state == "failed"]
    journal.roll_back(store, str(operation.id))
    assert of_product(topology) == logged
    assert [(each.name, each.level) for each in status(store, here(store))] == [("public.shop_order", "log")]
    assert len(list_tenants(store)) == 20


def test_the_capture_passes_the_fence_of_every_tenant(store: Store, topology: Topology) -> None:
    adopt(store, "extra_00")
    with connect(topology, APPLICATION) as app:
        app.execute("select kos.register_tenant('7'), kos.register_tenant('8')")
    with store.operator() as operator:
        operator.execute("update kos.fence set serving = false where name = '8'")
    with pytest.raises(psycopg.Error) as raised, store.all_tenants(reason="writes for one that moved") as operator:
        operator.execute("insert into public.extra_00 (account_id, name) values (7, 'x'), (8, 'x')")
    assert raised.value.sqlstate == "KS003"
    with store.all_tenants(reason="writes for both, to one that is here") as operator:
        operator.execute("insert into public.extra_00 (account_id, name) values (7, 'x')")
        assert rows(operator, "select account_id from public.extra_00") == [(7,)]
    with store.operator() as operator:
        seal_all(operator)
        ((context,),) = rows(operator, "select context from kos.knowledge_events")
    assert context[0] == "kos_operator"
    assert context[5].endswith("writes for both, to one that is here")


def test_what_is_for_shipped_tables_leaves_the_products_alone(store: Store, tmp_path: Any) -> None:
    adopt(store, "shop_order")
    seven = find_tenant(store, "7")
    assert seven.adopted
    assert [(each.rows, each.error) for each in look_at(store, [seven])] == [(None, None)]
    for refused in (
        lambda: removal.plan_removal(store, "7"),
        lambda: removal.remove(store, "7"),
        lambda: export_tenant(store, "7", tmp_path / "export"),
        lambda: plan_load(store, "cities", "7"),
    ):
        with pytest.raises(errors.TenantAdopted):
            refused()
    with store.operator() as operator:
        assert rows(operator, "select count(*) from public.shop_order") == [(40,)]
        operator.execute("select kos.unregister_tenant('7')")
    with pytest.raises(errors.UnknownTenant), store.tenant("7", timeout=5) as session:
        session.execute("select 1")


@pytest.mark.long
def test_names_of_shipped_tenants_are_kept(store: Store, topology: Topology) -> None:
    create_tenant(store, "acme")
    with connect(topology, APPLICATION) as app:
        app.execute("insert into public.tickets_of_teams (team, line) values ('acme', 'line')")
    adopt(store, "tickets_of_teams", column="team", level="log")  # the others are known, and acme is the shipped one
    assert [(each.name, each.adopted) for each in list_tenants(store)] == [
        ("Team 0", True), ("Team 1", True), ("Team 2", True), ("acme", False)
    ]  # fmt: skip
    with pytest.raises(errors.TenantNotRegistered, match="acme"):
        adopt(store, "tickets_of_teams", column="team")
    with pytest.raises(errors.TenantExists):
        create_tenant(store, "acme")


def test_roles_that_would_see_nothing_are_to_be_accepted(store: Store) -> None:
    found, _ = planned(store, "shop_order")
    with pytest.raises(errors.EffectsNotAccepted, match="product_legacy, product_reports"):
        check_effects(found, accepted=False)
    check_effects(found, accepted=True)
    found, _ = planned(store, "access_key")  # only the owner uses it, and that enters tenants
    check_effects(found, accepted=False)


def test_a_table_that_somebody_holds_is_told_and_resumed(
    store: Store, topology: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    adopt(store, "shop_order", level="log")
    monkeypatch.setattr(tables, "LOCK_ATTEMPTS", 2)
    with connect(topology, APPLICATION) as reader, reader.transaction():
        reader.execute("select from public.shop_order limit 1")
        with pytest.raises(errors.TableBusy, match=r"public\.shop_order"):
            adopt(store, "shop_order")
        assert [each.level for each in status(store, here(store))] == ["log"]
    adopt(store, "shop_order")
    assert [each.level for each in status(store, here(store))] == ["enforce"]


def test_many_tenants_are_forgotten_some_at_a_time(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a lock until its transaction ends, and a place in the table of locks is everybody's."""
    adopt(store, "shop_order", level="log")
    monkeypatch.setattr(tenants, "FORGOTTEN_AT_ONCE", 3)
    told: list[tuple[str, int, int | None]] = []
    locks = "select count(*) from pg_locks where locktype = 'advisory' and mode = 'ExclusiveLock' and pid = {}"
    forget, held = tenants.forget_some, []

    def forget_and_count(connection: Connection) -> int:
        left = forget(connection)
        held.extend(rows(connection, locks.format(connection.info.backend_pid))[0])
        return left

    monkeypatch.setattr(tenants, "forget_some", forget_and_count)
    release_tables(store, plan_release(store, here(store), ["*"]), lambda *given: told.append(given))
    assert [given[1:] for given in told if given[0] == "tenants forgotten"] == [
        (min(number, 20), 20) for number in range(3, 23, 3)
    ]
    assert len(held) == 7
    assert max(held) <= 3 + 2  # and those of the operation
    assert list_tenants(store) == []


@pytest.mark.long
def test_nobody_waits_for_a_tenant_that_is_forgotten(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    adopt(store, "shop_order", level="log")
    monkeypatch.setattr(tables, "LOCK_ATTEMPTS", 2)
    with store.tenant("7") as session:
        session.execute("select 1")
        with pytest.raises(
            errors.TenantBusy, match=r"'7' could not be closed in 2 attempts .* held by pid \d+ \(\w+\)"
        ):
            release(store, "*")
        with store.tenant("7", timeout=5) as other:  # which would wait behind a lock that was waited for
            assert other.execute("select 1").fetchone() == (1,)
        with pytest.raises(errors.UnknownTenant), store.tenant("8", timeout=5) as other:
            other.execute("select 1")
    release(store, "*")
    assert list_tenants(store) == []


@pytest.mark.long
def test_an_uninstalled_database_has_nothing_of_kos(store: Store, topology: Topology) -> None:
    adopt(store, *NAMED[:6])
    assert "kos_" in of_product(topology)
    store.close()
    uninstall(topology, here(store))
    assert "kos_" not in of_product(topology)
