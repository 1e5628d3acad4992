"""A full baseline while the product works, and tables that are hard to tell apart or that go away."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from adopted import adopt, here, release, wrong_in_log
from fix_product import as_owner
from kos import errors, journal
from kos.adoption import ADOPT, Wanted, baseline, plan, planned_adoption, status
from kos.journal import Runner
from kos.tenancy import Store
from kos.topology.model import Topology
from waiting import ROW, waiters

SECONDS = 30.0


@pytest.fixture
def shop(product: Topology) -> Iterator[Store]:
    with Store(product) as store:
        yield store


def alike(owner: psycopg.Connection[Any], first: str, second: str, key: str, value: str) -> None:
    """Two tables of a product whose rows have the same keys."""
    for name in (first, second):
        owner.execute(f"create table {name} (id {key} primary key, account_id bigint not null)")
        owner.execute(f"insert into {name} select {value}, 1 from generate_series(1, 10) n")


@pytest.mark.parametrize(
    ("first", "second", "key", "value"),
    [
        ("public.users_with_id", "public.profiles_of_users", "uuid", "md5(n::text)::uuid"),
        ("public.same_name", "billing.same_name", "bigint", "n"),
    ],
)
def test_rows_of_other_tables_with_the_same_keys_are_copied_too(
    shop: Store, monkeypatch: pytest.MonkeyPatch, first: str, second: str, key: str, value: str
) -> None:
    monkeypatch.setattr(baseline, "PENDING_BYTES", 0)  # what is copied of one is sealed before the other's turn
    with as_owner(shop.topology) as owner:
        alike(owner, first, second, key, value)
    adopt(shop, first, second, baseline="full", tenant_column="account_id")
    assert wrong_in_log(shop, first, second) == []


def beside(shop: Store, waits: Callable[[], None], change: Callable[[psycopg.Connection[Any]], Any]) -> None:
    """Take a table in while a transaction of the product has changed a row, which commits once it is waited for."""
    raised: list[BaseException] = []

    def take() -> None:
        try:
            waits()
        except BaseException as error:  # told below
            raised.append(error)

    with as_owner(shop.topology) as owner, as_owner(shop.topology) as watch:
        owner.execute("begin")
        change(owner)
        taking = threading.Thread(target=take)
        taking.start()
        deadline = time.monotonic() + SECONDS
        while not waiters(watch, ROW):
            assert time.monotonic() < deadline, f"nobody waits for the change; {raised}"
            time.sleep(0.01)
        owner.execute("commit")
        taking.join(SECONDS)
    assert raised == []


def test_a_key_that_changes_while_its_row_is_copied_skips_no_other(
    shop: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(baseline, "BATCH", 3)
    with as_owner(shop.topology) as owner:
        owner.execute("create table public.keyed (id bigint primary key, account_id bigint not null)")
        owner.execute("insert into public.keyed select n, 1 from generate_series(1, 10) n")
    adopt(shop, "keyed", baseline="none", tenant_column="account_id")
    beside(
        shop,
        lambda: adopt(shop, "keyed", baseline="full", tenant_column="account_id"),
        lambda owner: owner.execute("update public.keyed set id = 900 where id = 3"),
    )
    assert wrong_in_log(shop, "public.keyed") == []
    (found,) = (each for each in status(shop, here(shop)) if each.name == "public.keyed")
    assert found.complete


def test_a_row_that_moves_to_another_partition_while_it_is_copied(shop: Store) -> None:
    adopt(shop, "events_event", baseline="none")
    with as_owner(shop.topology) as owner:
        row = owner.execute("select id, at from public.events_event_2026_01 order by id limit 1").fetchone()
    assert row is not None
    beside(
        shop,
        lambda: adopt(shop, "events_event", baseline="full"),
        lambda owner: owner.execute(
            "update public.events_event set at = at + interval '1 month' where id = %s and at = %s", row
        ),
    )
    assert wrong_in_log(shop, "public.events_event") == []


def test_a_table_that_is_dropped_is_forgotten(shop: Store) -> None:
    adopt(shop, "shop_label", "shop_rule")
    with as_owner(shop.topology) as owner:
        owner.execute("drop table public.shop_label cascade")
    assert [each.name for each in status(shop, here(shop))] == ["public.shop_rule"]
    assert adopt(shop, "shop_rule").already == ("public.shop_rule",)
    with shop.operator() as operator:
        assert operator.execute("select * from kos.broken_captures()").fetchall() == []
        operator.execute("select kos.keep_log()")
        noted = operator.execute("select relation::regclass::text from kos.logged_tables where not relation in"
                                 " (select oid from pg_class)").fetchall()  # fmt: skip
        captures = operator.execute(
            "select proname from pg_proc p where proname ~ '^capture_[0-9a-f]{32}$'"
            " and not exists (select from pg_trigger t where t.tgfoid = p.oid)"
        ).fetchall()
    assert (noted, captures) == ([], [])
    assert release(shop, "shop_rule") == ("public.shop_rule",)


def test_what_the_log_said_under_an_earlier_name_is_not_true_any_more_either(shop: Store) -> None:
    """Not written since it was renamed, the other tenant's rows stand in the log under the old name only."""
    with as_owner(shop.topology) as owner:
        owner.execute("create table public.early (id bigint primary key, account_id bigint not null)")
        owner.execute("insert into public.early values (1, 7), (2, 8)")
        adopt(shop, "early", baseline="full", tenant_column="account_id")
        assert wrong_in_log(shop, "public.early") == []
        owner.execute("alter table public.early rename to late")
        owner.execute("insert into public.late values (3, 7)")
        assert wrong_in_log(shop, "public.late") == []
        release(shop, "late")
        owner.execute("delete from public.late")
    adopt(shop, "late", baseline="full", tenant_column="account_id")
    assert wrong_in_log(shop, "public.late") == []


def test_a_policy_that_came_after_the_plan_hides_no_row_from_the_copy(shop: Store) -> None:
    asked = Wanted(("crm_contact",), level="log", baseline="full")
    with shop.operator() as operator:
        made = planned_adoption(shop, plan(operator, asked, shard="main"), asked).plan
    with as_owner(shop.topology) as owner:
        owner.execute("create policy narrow on public.crm_contact as restrictive using (name <> 'hidden')")
        owner.execute("update public.crm_contact set name = 'hidden' where id = 1")
    with pytest.raises(errors.TableUnsuitable, match="its restrictive policy narrow hides rows from kos_owner"):
        Runner(shop, ADOPT).run(made)
    (left,) = journal.list_operations(shop, unfinished=True)
    (found,) = status(shop, here(shop))
    assert (found.loses, found.complete) == (True, False)
    with as_owner(shop.topology) as owner:
        owner.execute("drop policy narrow on public.crm_contact")
    journal.resume(shop, str(left.id))
    assert wrong_in_log(shop, "public.crm_contact") == []
