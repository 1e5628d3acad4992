"""What a database or a role says of time-outs is for the application: a change takes as long as it takes."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from change_kind import GOODS, GOODS_ROWS
from test_change_traps import INDEX, SOON, begin, doing, holding, is_valid, soon

from fix_shop import SHOP, Shop
from kos.schema_change import finish
from suites import short

LIMITS = ("statement_timeout", "lock_timeout", "transaction_timeout", "idle_in_transaction_session_timeout")
SHORT = 0.3  # seconds
SLOW_CHECK = "alter table goods add constraint slow check (pg_sleep(0.002)::text = '')"  # of 600 rows


@pytest.fixture(params=short(["database", "role"], "role"))
def limited(request: pytest.FixtureRequest, shop: Shop) -> Iterator[tuple[Shop, str]]:
    """A shop whose new sessions have all limits: those of everybody, or of the operator."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    database, login = shop.topology.control.primary.database, shop.topology.control.operator.user
    whose = f"database {database}" if request.param == "database" else f"role {login} in database {database}"

    yield shop, whose
    shop.superuser.execute(f"alter {whose} reset all".encode())


@pytest.mark.long
def test_an_index_and_a_scan_take_longer_than_the_limits(limited: tuple[Shop, str]) -> None:
    shop, whose = limited
    with ThreadPoolExecutor(1) as pool, holding(shop, "update goods set note = note where id = 600") as other:
        for name in LIMITS:
            shop.superuser.execute(f"alter {whose} set {name} = '{int(SHORT * 1000)}ms'".encode())
        started = pool.submit(begin, shop, f"{INDEX}; {SLOW_CHECK}")
        soon(lambda: doing(shop), lambda text: "goods_note" in text)
        time.sleep(SHORT * 3)
        assert not started.done()
        assert is_valid(shop, "goods_note") is False
        other.execute("rollback")
        started.result(SOON)
    assert is_valid(shop, "goods_note")
    finish(shop.store)
    shop.clean = True
