"""A change needs sessions of its own: what it sets for one would be met by others of a pooler."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import change_status, finish, plan_change, roll_back, start
from kos.tenancy import Store

ADD = "alter table goods add column size integer"


def test_a_pooler_is_refused(shop: Shop) -> None:
    shop.fresh(SHOP, "create table goods (id integer primary key)")
    plan = plan_change(shop.store, ADD, schemas=(SHOP,))
    direct = shop.topology.control
    behind = replace(direct, primary=replace(direct.primary, pooler=True))
    calls: tuple[Callable[[Store], object], ...] = (
        lambda store: plan_change(store, ADD, schemas=(SHOP,)),
        lambda store: start(store, plan),
        finish,
        roll_back,
    )
    with Store(replace(shop.topology, shards=(behind,))) as store:
        for call in calls:
            with pytest.raises(errors.ChangeThroughPooler) as refused:
                call(store)
            assert refused.value.address == direct.primary.address
        with pytest.raises(errors.NoChange):  # who only looks may
            change_status(store)
    shop.clean = True
