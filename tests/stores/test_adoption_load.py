"""A product at work does not notice that its tables are taken in."""

from __future__ import annotations

import pytest

from adopted import adopt, here, wrong_in_log
from fix_product import as_owner
from kos.adoption import status
from kos.tenancy import Store
from kos.topology.model import Topology
from product_load import running
from product_schema import APPS, NOUNS


@pytest.mark.long
def test_no_statement_fails_while_300_tables_are_taken_in(product: Topology) -> None:
    tables = [f"{app}_{noun}" for app in APPS for noun in NOUNS]
    with Store(product) as store:
        with running(lambda: as_owner(product), tables) as load:
            done = adopt(store, baseline="full")
            counted = load.statements
        assert load.failed == []
        assert counted > 1000
        assert len(done.adopted) + len(done.left_out) == 301
        assert len(done.adopted) == 246
        found = {each.name: each for each in status(store, here(store))}
        assert {(each.capture, each.complete) for each in found.values()} == {("ok", True)}
        assert wrong_in_log(store, *(".".join(map('"{}"'.format, name.split("."))) for name in done.adopted)) == []
