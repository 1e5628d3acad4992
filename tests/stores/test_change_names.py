"""The name of a change is what code asks for: one name stands for one change, wherever both would be."""

from __future__ import annotations

import pytest

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, roll_back, start
from kos.schema_change.model import ChangePlan

COUNTER = "counter"
TABLE = "create table goods (id integer primary key)"
SIZE, HEIGHT = (f"alter table goods add column {each} integer" for each in ("size", "height"))


def planned(shop: Shop, sql: str, name: str, schema: str = SHOP) -> ChangePlan:
    return plan_change(shop.store, sql, name=name, schemas=(schema,))


def test_a_name_stands_for_one_change_in_a_schema(shop: Shop) -> None:
    for schema in (COUNTER, SHOP):
        shop.fresh(schema, TABLE)
    start(shop.store, planned(shop, SIZE, "sizes"))
    finish(shop.store)
    shop.superuser.execute("select kos.require_change('sizes', 'shop')")
    with pytest.raises(errors.ChangeNameTaken) as taken:
        planned(shop, HEIGHT, "sizes")
    assert (taken.value.name, taken.value.schema) == ("sizes", SHOP)
    start(shop.store, planned(shop, HEIGHT, "heights"))
    roll_back(shop.store)
    # What was taken back has no name; the same text is the same change; elsewhere nobody takes one for the other.
    planned(shop, "alter table goods add column width integer", "heights")
    planned(shop, f"-- once more\n{SIZE.upper()}", "sizes", COUNTER)
    planned(shop, HEIGHT, "sizes", COUNTER)
    shop.drop(COUNTER)
    shop.clean = True


def test_a_change_without_a_name_stands_for_none(shop: Shop) -> None:
    shop.fresh(SHOP, TABLE)
    for sql in (SIZE, HEIGHT):
        start(shop.store, plan_change(shop.store, sql, schemas=(SHOP,)))
        finish(shop.store)
    shop.clean = True
