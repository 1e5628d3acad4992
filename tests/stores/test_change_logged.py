"""Changes of tables that are adopted at level log, while they are written: the log says what the tables hold."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import psycopg
import pytest
from change_catalog import left_over
from change_load import ROWS, Code
from logged_table import differences

from adopted import adopt, here, wrong_in_log
from fix_database import as_superuser
from fix_product import as_owner
from kos.adoption import status
from kos.log import compare, seal_all
from kos.schema_change import ChangePlan, find_open, finish, plan_change, roll_back, start
from kos.tenancy import Store
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from product_schema import ROWS as MADE

TABLE = "public.shop_comment"
MORE = f"""
insert into {TABLE} (account_id, name, amount, slug)
  select 1 + g % 20, 'name ' || g, g, '00' || g from generate_series({MADE + 1}, {ROWS}) g;
update {TABLE} set slug = '00' || id, data = '{{"a": 1}}'
"""
OLD = (
    f"insert into {TABLE} (account_id, name, amount, slug)"
    " values (1 + mod(%(n)s, 20), 'name ' || %(n)s, %(n)s, '00' || %(n)s)",
    f"update {TABLE} set name = 'name ' || %(n)s, amount = %(n)s where id = %(row)s",
)


@dataclass(frozen=True)
class Kind:
    """A change; `new` is what code of after writes, `after` what it writes only when it is finished; `right` is true of
    the rows then. `fills` says of which column every row has an event that says who filled it."""

    name: str
    change: str
    new: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    right: str = "true"
    fills: str = ""


KINDS = (
    Kind(
        "add a column that is filled",
        f"-- kos: fill shop_comment.size = amount * 2\nalter table {TABLE} add column size numeric not null",
        (f"update {TABLE} set size = %(n)s * 2 where id = %(row)s",),
        right="size is not null",
        fills="size",
    ),
    Kind(
        "rename a column",
        f"alter table {TABLE} rename column name to title",
        (f"update {TABLE} set title = 'name ' || %(n)s where id = %(row)s",),
        right="title like 'name %'",
        fills="title",
    ),
    Kind(
        "retype a column",
        f"alter table {TABLE} alter column slug type bigint using slug::bigint",
        after=(f"update {TABLE} set slug = %(n)s where id = %(row)s",),
        right="slug > 0",
        fills="slug_new",
    ),
    Kind(
        "drop a column",
        f"alter table {TABLE} drop column data",
        (f"update {TABLE} set tags = '{{a}}' where id = %(row)s",),
    ),
    Kind(
        "a column that is not null",
        f"-- kos: fill shop_comment.kind_id = 1\nalter table {TABLE} alter column kind_id set not null",
        (f"update {TABLE} set kind_id = 2 where id = %(row)s",),
        right="kind_id is not null",
        fills="kind_id",
    ),
)


@pytest.fixture
def shop(product: Topology) -> Iterator[Store]:
    with Store(product) as store:
        with as_owner(product) as owner:
            owner.execute(MORE.encode())
        adopt(store, "shop_comment", baseline="full")
        yield store


@pytest.fixture
def superuser(product_template: Stack, product: Topology) -> Iterator[psycopg.Connection[Any]]:
    with as_superuser(product_template, product.control.primary.database) as connection:
        yield connection


def agrees(store: Store) -> None:
    """`kos log verify` finds nothing, at one cut, while the table is written. The worker makes the capture anew."""
    assert compare(store, here(store)) == []
    assert [(each.loses, each.complete) for each in status(store, here(store))] == [(False, True)]
    with store.operator() as operator:
        operator.execute("select kos.keep_log()")
    assert [(each.capture, each.complete) for each in status(store, here(store))] == [("ok", True)]


NOT_SEEN = "a change of names is no event: of a row that was not written since, the log has what the column held before"


def tried(kind: Kind) -> object:
    marks = [pytest.mark.xfail(reason=NOT_SEEN, strict=True)] if kind.name == "retype a column" else []
    return pytest.param(kind, id=kind.name.replace(" ", "-"), marks=marks)


@pytest.mark.parametrize("kind", [tried(kind) for kind in KINDS])
def test_the_log_says_what_the_table_holds(kind: Kind, shop: Store, superuser: psycopg.Connection[Any]) -> None:
    def connect() -> psycopg.Connection[Any]:
        return as_owner(shop.topology)

    def plan() -> ChangePlan:
        return plan_change(shop, kind.change, name="logged", schemas=("public",))

    agrees(shop)
    with Code(OLD, connect, connect) as old:
        start(shop, plan())
        agrees(shop)
        with Code(kind.new, connect) as first:
            old.go_on()
        agrees(shop)
        roll_back(shop)
        old.go_on()
        agrees(shop)
        start(shop, plan())
        agrees(shop)
        with Code(kind.new, connect) as new:
            old.go_on()
            old.stop()
            operation = opened(shop)
            finish(shop)
            agrees(shop)
            with Code(kind.after, connect) as after:
                new.go_on()
    assert old.failed + first.failed + new.failed + after.failed == []
    agrees(shop)
    # Who reads the log's last state back into the types of the table's columns finds its rows, of all columns.
    assert wrong_in_log(shop, TABLE) == []
    assert differences(superuser, TABLE) == []
    assert superuser.execute(f"select bool_and({kind.right}) from {TABLE}").fetchone() == (True,)
    assert left_over(superuser) == []
    if kind.fills:
        assert filled(superuser, operation, kind.fills) >= ROWS


def opened(store: Store) -> UUID:
    """The change that is open."""
    found = find_open(store)
    assert found is not None
    return found.id


def filled(superuser: psycopg.Connection[Any], operation: UUID, column: str, table: str = "shop_comment") -> int:
    """The rows whose events have this column, and say that the change has filled it. Each is noted, as is why."""
    reasons = superuser.execute("select access_id, reason from kos.cross_tenant_access where ended_at is not null")
    said = [f"all tenants, access {number}: {reason}" for number, reason in reasons if str(operation) in reason]
    row = superuser.execute(
        "select count(distinct e.key) from kos.knowledge_events e join kos.shapes s using (shape_id)"
        " where s.table_name = %s and e.operation = 'U' and e.context[1] = 'kos_operator'"
        " and e.context[6] = any (%s) and kos.event_data(s.columns, e.image) ? %s",
        (table, said, column),
    ).fetchone()
    assert row is not None
    return int(row[0])


def test_a_table_with_triggers_of_its_own_is_not_read_again_for_each_batch(
    product: Topology, superuser: psycopg.Connection[Any]
) -> None:
    """Its capture looks for the rows as they are after a batch: by their keys."""
    rows = 30_000
    change = "-- kos: fill shop_order.size = amount * 2\nalter table public.shop_order add column size numeric"
    read = "select seq_tup_read from pg_stat_user_tables where relid = 'public.shop_order'::regclass"
    sessions = "select count(*) from pg_stat_activity where usename = 'kos_operator' and datname = current_database()"
    with Store(product) as store, as_owner(product) as owner:
        more = f"insert into shop_order (account_id, name) select 1, 'n ' || g from generate_series(1, {rows}) g"
        owner.execute(more.encode())
        owner.execute(b"analyze shop_order")
        adopt(store, "shop_order", baseline="none")
        plan = plan_change(store, change, name="logged", schemas=("public",))
        before = superuser.execute(read).fetchone()
        start(store, plan)
        until = time.monotonic() + 5  # sessions tell what they have read when they end
        while superuser.execute(sessions).fetchone() != (0,) and time.monotonic() < until:
            time.sleep(0.05)
        after = superuser.execute(read).fetchone()
        assert superuser.execute("select count(*) from shop_order where size is null").fetchone() == (0,)
        seal_all(superuser)
        assert filled(superuser, opened(store), "size", "shop_order") == rows + MADE
        finish(store)
    assert before is not None
    assert after is not None
    assert after[0] - before[0] < 3 * rows  # of some dozen batches
