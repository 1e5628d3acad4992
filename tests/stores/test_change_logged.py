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
from kos import errors
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
    called: str = TABLE


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
        "retype the key",
        f"alter table {TABLE} alter column id type integer",
        right="pg_typeof(id) = 'integer'::regtype",
        fills="id_new",
    ),
    Kind(
        "rename a table",
        f"alter table {TABLE} rename to shop_remark",
        ("update public.shop_remark set name = 'name ' || %(n)s where id = %(row)s",),
        called="public.shop_remark",
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


SHORT = {"rename a table"}


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(each, id=each.name.replace(" ", "-"), marks=() if each.name in SHORT else pytest.mark.long)
        for each in KINDS
    ],
)
def test_the_log_says_what_the_table_holds(kind: Kind, shop: Store, superuser: psycopg.Connection[Any]) -> None:
    def connect() -> psycopg.Connection[Any]:
        return as_owner(shop.topology)

    def plan() -> ChangePlan:
        return plan_change(shop, kind.change, schemas=("public",))

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
    assert wrong_in_log(shop, kind.called) == []
    assert differences(superuser, kind.called) == []
    assert superuser.execute(f"select bool_and({kind.right}) from {kind.called}").fetchone() == (True,)
    assert left_over(superuser) == []
    if kind.fills:
        assert filled(superuser, operation, kind.fills) >= ROWS


@pytest.mark.long
def test_changes_one_after_another(shop: Store, superuser: psycopg.Connection[Any]) -> None:
    """Of rows that nobody writes, each finds what the one before has made; a value past the triggers is found."""
    alter = f"alter table {TABLE}"
    for change in (
        f"{alter} alter column slug type bigint using slug::bigint",
        "-- kos: back shop_comment.slug = substr(slug, 2)::bigint\n"
        f"{alter} alter column slug type text using 'x' || slug",
        f"{alter} rename column slug to label",
        f"{alter} drop column data",
        f"-- kos: fill shop_comment.data = label\n{alter} add column data text",
        f"{alter} rename column data to slug",
    ):
        start(shop, plan_change(shop, change, schemas=("public",)))
        agrees(shop)
        finish(shop)
        agrees(shop)
    assert differences(superuser, TABLE) == []
    right = superuser.execute(f"select bool_and(label = 'x' || id and slug = label) from {TABLE}").fetchone()
    assert right == (True,)
    superuser.execute(
        f"set session_replication_role = replica; update {TABLE} set label = 'x' where id = 7;"
        "reset session_replication_role"
    )
    found = compare(shop, here(shop))
    assert [(each.key, each.fault) for each in found] == [(("7",), "the log has other values")]


def test_a_value_that_is_wrong_in_a_column_of_another_type_is_found(
    shop: Store, superuser: psycopg.Connection[Any]
) -> None:
    """Also one that is what the old column had."""
    change = f"alter table {TABLE} alter column slug type bigint using slug::bigint * 2"
    back = "-- kos: back shop_comment.slug = (slug / 2)::text\n"
    start(shop, plan_change(shop, back + change, schemas=("public",)))
    finish(shop)
    # Its captures are those of the table as it is, and a dump from here on knows the columns.
    assert superuser.execute("select table_name, fault from kos.broken_captures()").fetchall() == []
    agrees(shop)
    superuser.execute(
        f"set session_replication_role = replica; update {TABLE} set slug = slug / 2 where id in (7, 9);"
        "reset session_replication_role"
    )
    assert [(each.key, each.fault) for each in compare(shop, here(shop))] == [
        ((key,), "the log has other values") for key in "79"
    ]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("alter column name type bytea using name::bytea", "name: the log hides it"),
        ("rename column name to title", "name: the log hides it"),
        ("alter column account_id type numeric", "account_id: the log tells tenants apart by it"),
        ("drop column account_id", "account_id: the log tells tenants apart by it"),
    ],
)
def test_what_the_log_needs_of_a_column_is_not_taken_from_it(product: Topology, change: str, reason: str) -> None:
    with Store(product) as store:
        adopt(store, "shop_comment", baseline="none", sensitive=("*.name=encrypted",))
        with pytest.raises(errors.ChangeRefused, match=reason):
            plan_change(store, f"alter table {TABLE} {change}", schemas=("public",))


def test_a_key_whose_values_would_be_written_otherwise_is_refused(product: Topology) -> None:
    change = "alter table billing.invoice alter column id type text"
    with Store(product) as store:
        plan_change(store, change, schemas=("billing",))
        adopt(store, "billing.invoice", baseline="none")
        with pytest.raises(errors.ChangeRefused, match="id: the log knows the rows by it"):
            plan_change(store, change, schemas=("billing",))


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


@pytest.mark.long
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
        plan = plan_change(store, change, schemas=("public",))
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
