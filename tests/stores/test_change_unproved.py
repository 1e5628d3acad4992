"""A constraint that rows violate: who finishes is told which, and the application goes on as before."""

from __future__ import annotations

import psycopg
import pytest
from change_catalog import difference, dumps, left_over
from change_kind import GOODS, GOODS_ROWS
from test_change_traps import begin

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, roll_back

NOT_NULL = "alter table goods alter column note set not null"
CHECK = "alter table goods add constraint sold check (price > 0)"
KEY = "alter table goods add constraint of_kind foreign key (stamp) references kinds"
KINDS = "create table kinds (id bigint primary key); insert into kinds select generate_series(1, 600)"
BAD = {NOT_NULL: "note = null", CHECK: "price = 0", KEY: "stamp = 601"}
GOOD = {NOT_NULL: "note = 'n'", CHECK: "price = 1", KEY: "stamp = 7"}
UNPROVED = "select exists (select from pg_constraint where conrelid = 'shop.goods'::regclass and not convalidated)"
# From whoever owns goods, not from PostgreSQL.
HIDDEN = """
alter table shop.goods enable row level security;
alter table shop.goods force row level security;
create policy few on shop.goods using (id <> 7);
"""
UNREADABLE = "alter table shop.kinds owner to product_legacy; grant references on shop.kinds to product_app"


@pytest.fixture
def goods(shop: Shop) -> Shop:
    """A shop that sells something, in kinds."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS, KINDS)
    return shop


def set_seven(shop: Shop, values: str) -> None:
    """Of row 7, also where it is hidden."""
    shop.superuser.execute(f"update shop.goods set {values} where id = 7".encode())


def fail(shop: Shop) -> str:
    """`kos change finish`, in vain; and what it has left is in nobody's way."""
    with pytest.raises((errors.ChangeFailed, errors.FillFailed)) as caught:
        finish(shop.store)
    set_seven(shop, "size = '2'")
    assert not shop.is_true(UNPROVED)
    return str(caught.value)


@pytest.mark.parametrize("sql", [NOT_NULL, CHECK, KEY])
def test_rows_that_are_seen_are_named_before_it_is_there(goods: Shop, sql: str) -> None:
    set_seven(goods, BAD[sql])
    (before,) = dumps(goods.topology, SHOP)
    begin(goods, sql)
    assert "id=7" in fail(goods)
    (after,) = dumps(goods.topology, SHOP)
    assert difference(before, after) == ""
    set_seven(goods, GOOD[sql])
    finish(goods.store)
    with pytest.raises(psycopg.errors.IntegrityError):
        set_seven(goods, BAD[sql])
    goods.clean = True


@pytest.mark.parametrize("sql", [NOT_NULL, CHECK, KEY])
def test_it_is_taken_away_again_when_its_proof_fails(goods: Shop, sql: str) -> None:
    """As of a row that comes just before it; here of one that its owner can't see, and PostgreSQL does."""
    goods.superuser.execute(HIDDEN.encode() if sql != KEY else UNREADABLE.encode())
    set_seven(goods, BAD[sql])
    begin(goods, sql)
    for _ in range(2):
        fail(goods)
    set_seven(goods, GOOD[sql])
    finish(goods.store)
    with pytest.raises(psycopg.errors.IntegrityError):
        set_seven(goods, BAD[sql])
    goods.clean = True


def test_what_is_filled_under_it_is_looked_through_again(goods: Shop) -> None:
    """Nothing keeps others from writing more of what is to be filled, when the constraint is away."""
    set_seven(goods, BAD[NOT_NULL])
    begin(goods, f"-- kos: fill goods.note = case when id <> 7 then 'n' end\n{NOT_NULL}")
    assert "id=7" in fail(goods)
    pages = [page for (page,) in goods.superuser.execute("select next_page from kos.change_fills order by fill")]
    assert 0 in pages
    roll_back(goods.store)
    assert left_over(goods.superuser) == []
    goods.clean = True


def test_all_that_is_not_proved_is_taken_away(goods: Shop) -> None:
    """Of partitions, each has its own; that of one which was proved stays, and is in nobody's way."""
    goods.owner.execute(
        b"create table sales (id bigint primary key, kind bigint) partition by range (id);"
        b"create table sales_1 partition of sales for values from (0) to (10);"
        b"create table sales_2 partition of sales for values from (10) to (20);"
        b"insert into sales values (1, 1), (11, 601)"
    )
    goods.superuser.execute(UNREADABLE.encode())
    begin(goods, "alter table sales add foreign key (kind) references kinds")
    with pytest.raises(errors.ChangeFailed, match="601"):
        finish(goods.store)
    assert not goods.is_true(UNPROVED.replace("goods", "sales_2"))
    goods.superuser.execute("update shop.sales set kind = 2 where id = 11")
    finish(goods.store)
    assert goods.is_true("select bool_and(convalidated) from pg_constraint where conrelid = 'shop.sales_2'::regclass")
    goods.clean = True
