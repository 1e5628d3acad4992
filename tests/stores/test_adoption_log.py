"""Level log: the tables of a product are logged, with its owner's rights and no more, while it works on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from fix_database import as_superuser
from fix_product import as_owner
from kos.adoption import Adopted, Wanted, adopt_tables, check, plan, planned_adoption, status
from kos.tenancy import Place, Store
from kos.topology.embedded import Stack
from kos.topology.model import Topology


@pytest.fixture
def shop(product: Topology) -> Iterator[Store]:
    with Store(product) as store:
        yield store


@pytest.fixture
def superuser(product_template: Stack, product: Topology) -> Iterator[psycopg.Connection[Any]]:
    """For looking at everything."""
    with as_superuser(product_template, product.control.primary.database) as connection:
        yield connection


def here(store: Store) -> Place:
    control = store.topology.control
    return Place(control.name, control.primary.database)


def adopt(store: Store, *patterns: str, **wanted: Any) -> Adopted:
    asked = Wanted(patterns, level="log", **wanted)
    with store.operator() as operator:
        found = plan(operator, asked, shard=here(store).shard)
    check(found, asked)
    return adopt_tables(store, planned_adoption(store, found, asked))


def test_it_works(shop: Store, superuser: Any) -> None:
    done = adopt(shop, "shop_order", "events_event", "crm_contact", "billing.invoice", "countries", baseline="full")
    with as_owner(shop.topology) as owner:
        owner.execute("update public.shop_order set name = name || '!' where id = 1")
    superuser.execute("select kos.seal(tenant_id) from kos.unsealed()")
    for name in done.adopted:
        assert superuser.execute(f"select * from kos.compare_log('{name}')").fetchall() == []
