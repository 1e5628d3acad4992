"""Rows that refer to nothing when a foreign key is added: also those that come while the change runs, or move."""

from __future__ import annotations

import pytest

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, start

# A row has a page of its own, so that one that is updated goes to a new page: the last one.
TABLES = """
create table people (id bigint primary key);
create table pets (id bigint primary key, owner_id bigint, pad text not null default repeat('x', 5000));
alter table pets alter column pad set storage plain;
insert into people select generate_series(1, 10);
insert into pets select g, 1 + g % 10 from generate_series(1, 150) g;
"""
MOVED = """
insert into pets select 200 + g, case when g in (2, 140) then 99 end from generate_series(1, 150) g;
create function move() returns trigger language plpgsql as $$
begin
  update pets set pad = repeat('y', 5000) where id = 340 and pad like 'x%';
  return null;
end $$;
create trigger moving after update or delete on pets for each row when (old.id = 202) execute function move();
"""
ORPHAN = "insert into pets values (501, 77)"
DELETED = "delete from people where id = 3"
LEFT = "select count(*) from pets where owner_id is not null and owner_id not in (select id from people)"


def change(fate: str) -> str:
    return f"-- kos: orphans pets.owner_id {fate}\nalter table pets add foreign key (owner_id) references people"


@pytest.mark.parametrize("fate", ["delete", "null"])
@pytest.mark.parametrize("meanwhile", [ORPHAN, DELETED])
def test_orphans_that_come_after_the_start(shop: Shop, fate: str, meanwhile: str) -> None:
    shop.fresh(SHOP, TABLES)
    start(shop.store, plan_change(shop.store, change(fate), schemas=(SHOP,)))
    shop.owner.execute(meanwhile.encode())
    expected = 15 if meanwhile == DELETED else 1
    assert shop.owner.execute(LEFT.encode()).fetchone() == (expected,)
    finish(shop.store)
    assert shop.owner.execute(LEFT.encode()).fetchone() == (0,)
    rows = shop.owner.execute(b"select count(*) from pets").fetchone()
    assert rows == ((151 if meanwhile == ORPHAN else 150) - (expected if fate == "delete" else 0),)
    shop.clean = True


@pytest.mark.parametrize("fate", ["delete", "null"])
def test_an_orphan_that_moves_while_others_are_dealt_with(shop: Shop, fate: str) -> None:
    """The clean-up goes up to the page that was the last one when it began."""
    shop.fresh(SHOP, TABLES, MOVED)
    start(shop.store, plan_change(shop.store, change(fate), schemas=(SHOP,)))
    finish(shop.store)
    assert shop.owner.execute(LEFT.encode()).fetchone() == (0,)
    shop.clean = True


def test_a_row_that_is_no_orphan_of_that_key_is_still_an_error(shop: Shop) -> None:
    shop.fresh(SHOP, TABLES)
    start(shop.store, plan_change(shop.store, change("null").partition("\n")[2], schemas=(SHOP,)))
    shop.owner.execute(ORPHAN.encode())
    with pytest.raises(errors.ChangeFailed, match="violated by id=501"):
        finish(shop.store)
