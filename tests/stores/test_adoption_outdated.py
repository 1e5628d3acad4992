"""What was planned is done to the tables that were looked at, as they were taken in then, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from adopted import adopt, here, release
from fix_database import as_superuser
from fix_product import as_owner
from kos import errors, journal
from kos.adoption import Planned, Wanted, adopt_tables, baseline, plan, plan_release, planned_adoption, status
from kos.adoption import release_tables as release_planned
from kos.tenancy import Store
from kos.topology.embedded import Stack
from kos.topology.model import Topology

NEW = "create table public.{} (id bigint primary key, account_id bigint not null)"


@pytest.fixture
def shop(product: Topology) -> Iterator[Store]:
    with Store(product) as store:
        with as_owner(product) as owner:
            for name in ("first", "second"):
                owner.execute(NEW.format(name))
                owner.execute(f"insert into public.{name} values (1, 7)")
        yield store


@pytest.fixture
def of_kos(product_template: Stack, product: Topology) -> Iterator[Callable[[], list[Any]]]:
    """Tells which tables of the product have triggers of kos."""
    with as_superuser(product_template, product.control.primary.database) as superuser:
        yield lambda: superuser.execute(
            "select distinct tgrelid::regclass::text from pg_trigger where tgname ~ '^kos_'"
            " and tgrelid in (select oid from pg_class where relnamespace = 'public'::regnamespace) order by 1"
        ).fetchall()


def planned(store: Store, *patterns: str, **wanted: Any) -> Planned:
    asked = Wanted(patterns, level="log", tenant_column="account_id", **wanted)
    with store.operator() as operator:
        return planned_adoption(store, plan(operator, asked, shard=here(store).shard), asked)


def replace_table(store: Store, name: str) -> None:
    with as_owner(store.topology) as owner:
        owner.execute(f"drop table public.{name}")
        owner.execute(NEW.format(name))


def test_what_another_operator_has_taken_in_meanwhile_is_planned_for_anew(shop: Store) -> None:
    mine = planned(shop, "first", "second", baseline="none")
    adopt(shop, "first", baseline="lazy", tenant_column="account_id")
    with pytest.raises(errors.PlanOutdated):
        adopt_tables(shop, mine)
    assert journal.list_operations(shop, unfinished=True) == []
    assert [(each.name, each.baseline) for each in status(shop, here(shop))] == [("public.first", "lazy")]
    adopt_tables(shop, planned(shop, "second"))
    assert len(status(shop, here(shop))) == 2


def test_what_another_operator_has_taken_out_meanwhile_is_planned_for_anew(shop: Store) -> None:
    adopt(shop, "first", "second", tenant_column="account_id")
    mine = plan_release(shop, here(shop), ["*"])
    release(shop, "first")
    adopt(shop, "first", baseline="none", tenant_column="account_id")
    with pytest.raises(errors.PlanOutdated):
        release_planned(shop, mine)
    assert len(status(shop, here(shop))) == 2
    assert len(release(shop, "*")) == 2


def test_a_table_that_was_made_anew_since_it_was_planned_for(shop: Store) -> None:
    mine = planned(shop, "first", "second")
    replace_table(shop, "first")
    with pytest.raises(errors.TableReplaced, match=r"public\.first"):
        adopt_tables(shop, mine)
    assert status(shop, here(shop)) == ()
    with as_owner(shop.topology) as owner:
        owner.execute("drop table public.first")
    with pytest.raises(errors.TableGone, match=r"public\.first"):
        adopt_tables(shop, mine)
    assert journal.list_operations(shop) == []


@pytest.fixture
def half_done(shop: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """An adoption of both tables that has failed once both were logged, and the first copied."""
    with monkeypatch.context() as patch:
        patch.setattr(baseline.Room, "make", lambda room, asked: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            adopt_tables(shop, planned(shop, "first", "second", baseline="full"))
    (left,) = journal.list_operations(shop, unfinished=True)
    return str(left.id)


def test_a_table_that_was_made_anew_under_way_is_not_gone_on_with(
    shop: Store, half_done: str, of_kos: Callable[[], list[Any]]
) -> None:
    replace_table(shop, "second")
    with pytest.raises(errors.TableReplaced, match=r"public\.second") as refused:
        journal.resume(shop, half_done)
    assert f"kos operation rollback {half_done}" in refused.value.next_command
    journal.roll_back(shop, half_done)
    assert of_kos() == []


def test_a_table_that_was_renamed_under_way_is_taken_out_under_its_new_name(
    shop: Store, half_done: str, of_kos: Callable[[], list[Any]]
) -> None:
    with as_owner(shop.topology) as owner:
        owner.execute("alter table public.second rename to third")
        owner.execute(NEW.format("second"))
    assert of_kos() == [("first",), ("third",)]
    with pytest.raises(errors.TableReplaced, match=r"public\.second"):
        journal.resume(shop, half_done)
    journal.roll_back(shop, half_done)
    assert of_kos() == []
    assert status(shop, here(shop)) == ()
