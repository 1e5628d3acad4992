"""The server's disk is full while a change is under way: nothing is lost, and it goes on when there is room."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from change_catalog import difference, dumps, left_over
from change_kind import GOODS, GOODS_RIGHT, GOODS_ROWS

from fix_shop import SHOP, Shop
from fix_small_disk import SmallDisk
from kos import errors
from kos.journal import Record, resume
from kos.schema_change import ChangePlan, change_status, find_open, finish, plan_change, roll_back, start
from suites import short

WANTED = "wanted"
ROWS = 20_000
FILL = "-- kos: fill goods.height = id\nalter table goods add column height integer not null"
INDEX = "create index goods_note on goods (note, name, code)"
ROOM = {FILL: 1024, INDEX: 200}  # kilobytes that are left: for a part of the fill, and of the index


@pytest.fixture
def goods(shop: Shop, small_disk: SmallDisk) -> Shop:
    """A shop on a small disk."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS.replace("600", str(ROWS)))
    return shop


def begin(shop: Shop, plan: ChangePlan) -> None:
    """`kos change start`, for the first time or again."""
    start(shop.store, plan)


def go_on(shop: Shop, plan: ChangePlan) -> None:
    """`kos operation resume`."""
    resume(shop.store, str(opened(shop).id))


def opened(shop: Shop) -> Record:
    """The change that is open."""
    found = find_open(shop.store)
    assert found is not None
    return found


def fails_on(disk: SmallDisk, shop: Shop, sql: str) -> ChangePlan:
    """The change is begun, and meets a full disk. What is told says so, and what to do."""
    plan = plan_change(shop.store, sql, schemas=(SHOP,))
    disk.fill_up(leave_kilobytes=ROOM[sql])
    with pytest.raises(errors.StoreFull) as full:
        begin(shop, plan)
    assert "No space left on device" in full.value.reason
    left = opened(shop).id
    told = full.value.next_command
    assert told.startswith("free some room on its server, ")
    assert told.endswith(f"kos operation resume {left} (or take it back: kos operation rollback {left})")
    (placement,) = change_status(shop.store).placements
    assert placement.state == "failed"
    assert "no room left" in str(placement.error)
    return plan


def rows_of(shop: Shop) -> object:
    """All that is in them, but for what is new."""
    return shop.owner.execute(
        b"select count(*), sum(hashtext((id, name, note, price, code, stamp)::text)) from goods"
    ).fetchone()


def invalid(shop: Shop) -> list[tuple[object, ...]]:
    """Indexes that a build has left."""
    return shop.superuser.execute(
        "select relname from pg_index join pg_class c on c.oid = indexrelid where not indisvalid"
    ).fetchall()


def expected(shop: Shop, sql: str) -> dict[str, str]:
    """What the plain SQL makes of it."""
    shop.fresh(WANTED, GOODS)
    shop.owner.execute(sql.encode())
    (found,) = dumps(shop.topology, WANTED)
    shop.drop(WANTED)
    shop.owner.execute(f"set search_path = {SHOP}".encode())
    return found


@pytest.mark.parametrize("again", short([begin, go_on], go_on))
@pytest.mark.parametrize("sql", [FILL, INDEX], ids=["fill", "index"])
def test_it_goes_on_when_there_is_room(
    goods: Shop, small_disk: SmallDisk, sql: str, again: Callable[[Shop, ChangePlan], None]
) -> None:
    wanted, before = expected(goods, sql), rows_of(goods)
    plan = fails_on(small_disk, goods, sql)
    assert rows_of(goods) == before
    if sql == FILL:
        filled = goods.owner.execute(b"select count(height) from goods").fetchone()
        assert filled is not None
        assert 0 < filled[0] < ROWS
    else:
        assert invalid(goods) == [("goods_note",)]
    with pytest.raises(errors.StoreFull):
        again(goods, plan)
    small_disk.make_room()
    again(goods, plan)
    assert invalid(goods) == []
    finish(goods.store)
    assert rows_of(goods) == before
    assert goods.is_true(GOODS_RIGHT)
    if sql == FILL:
        assert goods.is_true("select bool_and(height = id) from goods")
    (found,) = dumps(goods.topology, SHOP)
    assert difference(wanted, found) == ""
    assert left_over(goods.superuser) == []
    goods.clean = True


@pytest.mark.parametrize("sql", [FILL, INDEX], ids=["fill", "index"])
def test_it_is_taken_back_while_there_is_none(goods: Shop, small_disk: SmallDisk, sql: str) -> None:
    (catalog,), before = dumps(goods.topology, SHOP), rows_of(goods)
    fails_on(small_disk, goods, sql)
    roll_back(goods.store)
    assert rows_of(goods) == before
    (found,) = dumps(goods.topology, SHOP)
    assert difference(catalog, found) == ""
    assert left_over(goods.superuser) == []
    goods.clean = True
