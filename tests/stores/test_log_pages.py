"""What is asked of a log again and again reads what it is asked for, however much there is: in a new database too, of
whose tables the planner knows nothing yet."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest

from kos.log import seal_all
from kos.tenancy import Store, create_tenant
from kos.tenancy.placement import place_of
from kos.tenancy.store import Connection

FEW, MANY = 200, 6_000
MOST = 60  # pages more; an index has grown by a level
NOTHING = "rows that are new since"

ASKED = {
    "who has something to seal": "select * from kos.unsealed_among(array[%(tenant)s::uuid])",
    "who of all has": "select * from kos.unsealed()",
    "sealing": "select kos.seal(%(tenant)s)",
    "the newest seal": "select * from kos.newest_seal(%(tenant)s)",
    "the next events": "select * from kos.read_feed(%(tenant)s, %(at)s, null, 10)",
    "the next transactions": "select * from kos.feed_next('pages', %(tenant)s, 10)",
    "the end of a transaction": "select kos.end_of_transaction(%(tenant)s, %(at)s + 1)",
    "who waits for a feed": "select * from kos.feed_waiting('pages', 10)",
    "all feeds": "select * from kos.feeds()",
    "the state of the log": "select * from kos.log_status()",
    "the position of a bookmark": "select kos.bookmark_position(%(tenant)s, kos.incarnation(), '3'::xid8)",
    "rows as they were": "select * from kos.rows_at(%(tenant)s, %(at)s, %(schema)s, 'atoms', %(keys)s)",
    NOTHING: "select * from kos.rows_at(%(tenant)s, %(before)s, %(schema)s, 'atoms', %(keys)s)",
}


@pytest.mark.parametrize("what", ASKED)
def test_pages_do_not_grow_with_the_log(full_store: Store, what: str) -> None:
    tenant = create_tenant(full_store, "acme")
    with full_store.operator(place_of(tenant)) as operator:
        operator.execute("select kos.feed_seek('pages', %s, 0, null)", (tenant.id,))
        few = _pages_of(full_store, operator, tenant.id, what, FEW)
        many = _pages_of(full_store, operator, tenant.id, what, MANY)
    assert few > 0
    assert many <= few + MOST


def _pages_of(store: Store, operator: Connection, tenant: UUID, what: str, rows: int) -> int:
    """How many pages are looked at when that many rows more, and then ten, have been written."""
    _write(store, rows)
    seal_all(operator)
    at = _head(operator, tenant)
    _write(store, 10)
    if what not in ("who has something to seal", "who of all has", "sealing"):
        seal_all(operator)
    found = operator.execute(
        "select key from kos.knowledge_events where tenant_id = %s and position between %s - 9 and %s", (tenant, at, at)
    ).fetchall()
    keys = json.dumps([key for (key,) in found])
    asked = {"tenant": tenant, "at": at, "before": at - 10, "schema": "knowledge", "keys": keys}
    for _ in range(3):  # the first times it looks into the catalogs, too
        with operator.transaction(force_rollback=True):
            [(plan,)] = operator.execute(
                f"explain (analyze, buffers, format json) {ASKED[what]}".encode(), asked
            ).fetchall()
        assert (_rows(plan) == 0) is (what == NOTHING)
    return _pages(plan)


def _rows(plan: list[dict[str, Any]]) -> float:
    return float(plan[0]["Plan"]["Actual Rows"])


def _pages(plan: list[dict[str, Any]]) -> int:
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


def _head(operator: Connection, tenant: UUID) -> int:
    row = operator.execute("select position from kos.newest_seal(%s)", (tenant,)).fetchone()
    assert row is not None
    return int(row[0])


def _write(store: Store, rows: int) -> None:
    with store.tenant("acme") as session:
        session.execute(
            "insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, %s) n", (rows,)
        )
