"""Changes of tables that are not stored as heaps, or not only: from the plan to the end."""

from __future__ import annotations

import pytest
from change_kind import GOODS, GOODS_RIGHT, GOODS_ROWS

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import change_status, finish, plan_change, roll_back, start
from kos.schema_change.facts import fingerprint

DAYS = """
create table days (id bigint, at date, note text, primary key (at, id)) partition by range (at);
create table days_1 partition of days for values from ('2026-01-01') to ('2026-02-01');
create table days_2 partition of days for values from ('2026-02-01') to ('2026-06-01') using heap2;
insert into days select g, '2026-01-01'::date + g % 100, 'note ' || g from generate_series(1, 3000) g;
"""
WIDE = """
-- kos: fill days.wide = id * 10
alter table days add column wide bigint not null;
alter table days rename column note to remark;
"""
PARTS = ["shop.days_1", "shop.days_2"]


@pytest.fixture
def shop2(shop: Shop) -> Shop:
    """A shop with another access method."""
    if shop.superuser.execute("select from pg_am where amname = 'heap2'").fetchone() is None:
        shop.superuser.execute("create access method heap2 type table handler heap_tableam_handler")
    return shop


def test_a_table_of_both_kinds_of_partitions(shop2: Shop) -> None:
    shop2.fresh(SHOP, DAYS)
    plan = plan_change(shop2.store, WIDE, name="days", schemas=(SHOP,))
    start(shop2.store, plan)
    roll_back(shop2.store)
    assert shop2.is_true(
        "select count(*) = 0 from pg_attribute where attrelid = 'days_2'::regclass and attname = 'wide'"
    )
    start(shop2.store, plan)
    (here,) = change_status(shop2.store).placements
    assert (here.rows, here.pages) == (3000, here.of_pages)
    assert shop2.is_true("select bool_and(wide = id * 10 and remark = note) from days")
    shop2.owner.execute(b"insert into days values (9999, '2026-03-01', 'old')")
    finish(shop2.store)
    assert shop2.is_true("select bool_and(wide = id * 10 and remark is not null) and count(*) = 3001 from days")
    shop2.clean = True


def test_columns_kept_equal_in_a_table_that_is_no_heap(shop2: Shop) -> None:
    shop2.fresh(SHOP, GOODS.replace("bigint not null);", "bigint not null) using heap2;"), GOODS_ROWS)
    change = """
    alter table goods rename column name to title;
    alter table goods alter column price type numeric(14, 4);
    alter table goods alter column id type integer;
    alter table goods alter column note set not null;
    """
    start(shop2.store, plan_change(shop2.store, change, name="goods", schemas=(SHOP,)))
    shop2.owner.execute(b"update goods set name = 'name 7', note = 'note 7', stamp = 7 where id = 3")
    finish(shop2.store)
    assert shop2.is_true(GOODS_RIGHT.replace("name <>", "title <>"))
    assert shop2.is_true("select pg_typeof(id) = 'integer'::regtype from goods limit 1")
    shop2.clean = True


@pytest.mark.parametrize(
    ("table", "part", "reason", "instead"),
    [
        (
            "create table days (id bigint) using heap2",
            "days",
            "stored as heap2",
            "alter table shop.days add primary key",
        ),
        (
            "create table days (id bigint) partition by range (id);"
            "create table days_1 partition of days for values from (1) to (2) using heap2",
            "days_1",
            "stored as heap2",
            "alter table shop.days_1 add primary key",
        ),
        (
            "create table days (id bigint) partition by range (id);"
            "create foreign table days_1 partition of days for values from (1) to (2) server elsewhere",
            "days_1",
            "it is a foreign table",
            "detach it",
        ),
    ],
)
def test_what_can_not_be_gone_through_is_refused_by_the_plan(
    shop2: Shop, table: str, part: str, reason: str, instead: str
) -> None:
    shop2.superuser.execute(
        "drop foreign data wrapper if exists nothing cascade; create foreign data wrapper nothing;"
        "create server elsewhere foreign data wrapper nothing; grant usage on foreign server elsewhere to public"
    )
    shop2.fresh(SHOP, table)
    with pytest.raises(errors.ChangeRefused, match=reason) as refused:
        plan_change(shop2.store, WIDE.partition("alter table days rename")[0], schemas=(SHOP,))
    assert refused.value.what == f"shop.{part}"
    assert instead in refused.value.instead
    plan_change(shop2.store, "alter table days add column colour text", schemas=(SHOP,))  # which fills no rows
    shop2.clean = True


def test_a_schema_with_another_access_method_has_a_recipe_of_its_own(shop2: Shop) -> None:
    def found() -> object:
        return fingerprint(shop2.superuser, [SHOP], ["days"])[SHOP]

    shop2.fresh(SHOP, DAYS.replace(" using heap2", ""))
    heaps = found()
    shop2.owner.execute(b"alter table days_2 set access method heap2")
    both = found()
    shop2.owner.execute(b"create unique index on days_2 (id, at)")
    assert len({heaps, both, found()}) == 3
    shop2.clean = True
