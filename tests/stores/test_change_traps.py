"""What goes wrong with changes of schema elsewhere: old transactions, locks, leftovers, ended sessions, plans."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import psycopg
import pytest
from change_catalog import difference, dumps, left_over
from change_kind import GOODS, GOODS_OLD, GOODS_RIGHT, GOODS_ROWS
from change_load import Code

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import change_status, finish, plan_change, roll_back, start
from suites import short

INDEX = "create index goods_note on goods (note)"
COLUMN = "alter table goods add column height integer"
FILL = "-- kos: fill goods.height = id\nalter table goods add column height integer not null"
RENAME = "alter table goods rename column name to title"
LOCK_SECONDS = 2.0  # that somebody holds a lock
BIG_ROWS = 200_000
SOON = 20.0

T = TypeVar("T")


@pytest.fixture
def goods(shop: Shop) -> Shop:
    """A shop that sells something."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    return shop


def more_rows(shop: Shop, last: int) -> None:
    """Rows up to this one. Their codes are none that the load gives."""
    rows = GOODS_ROWS.replace("(1, 600)", f"(601, {last})").replace("'code '", "'bulk '")
    shop.owner.execute(rows.encode())


def begin(shop: Shop, sql: str) -> None:
    """`kos change start`."""
    start(shop.store, plan_change(shop.store, sql, schemas=(SHOP,)))


def doing(shop: Shop) -> str:
    """What `kos change status` says of the only placement; nothing before there is one."""
    try:
        (placement,) = change_status(shop.store).placements
    except errors.NoChange:
        return ""
    return placement.doing or ""


def soon(what: Callable[[], T], wanted: Callable[[T], object]) -> T:
    """The first answer that is wanted."""
    deadline = time.monotonic() + SOON
    while not wanted(found := what()):
        assert time.monotonic() < deadline, f"in vain: {found!r}"
        time.sleep(0.02)
    return found


@contextmanager
def holding(shop: Shop, statement: str) -> Iterator[psycopg.Connection[object]]:
    """Somebody else's transaction, open as long as the block."""
    with shop.connect() as other:
        other.execute("begin isolation level repeatable read")
        other.execute(statement.encode())
        yield other
        other.execute("rollback")


def is_valid(shop: Shop, index: str) -> bool | None:
    """Of an index; None if there is none."""
    row = shop.superuser.execute(
        "select indisvalid from pg_index where indexrelid = to_regclass(%s)", (f"{SHOP}.{index}",)
    )
    found = row.fetchone()
    return None if found is None else bool(found[0])


def test_an_index_waits_for_an_old_transaction_elsewhere_and_says_for_whom(goods: Shop) -> None:
    goods.owner.execute(b"create table unrelated (id bigint primary key)")
    with ThreadPoolExecutor(1) as pool, holding(goods, "select count(*) from unrelated") as other:
        started = pool.submit(begin, goods, INDEX)
        said = soon(lambda: doing(goods), lambda text: f"pid {other.info.backend_pid}" in text)
        assert "goods_note" in said
        assert "unrelated" in said
        other.execute("rollback")
        started.result(SOON)
    assert is_valid(goods, "goods_note")
    finish(goods.store)
    goods.clean = True


def test_nobody_waits_behind_an_index_that_waits(goods: Shop) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Code(GOODS_OLD, goods.connect) as code,
        holding(goods, "update goods set note = note where id = 600") as other,
    ):
        started = pool.submit(begin, goods, INDEX)
        soon(lambda: doing(goods), lambda text: f"pid {other.info.backend_pid}" in text)
        code.go_on(50)
        assert code.failed == []
        other.execute("rollback")
        started.result(SOON)
    assert code.failed == []
    finish(goods.store)
    goods.clean = True


def test_what_a_failed_build_has_left_is_dropped_and_built_anew(goods: Shop) -> None:
    """`IF NOT EXISTS` would find the invalid index, and be content."""
    with goods.connect() as other, other.transaction():
        other.execute("update goods set note = note where id = 1")
        goods.owner.execute(b"set statement_timeout = '100ms'")
        with pytest.raises(psycopg.errors.QueryCanceled):
            goods.owner.execute(b"create index concurrently goods_note on shop.goods (note)")
        goods.owner.execute(b"reset statement_timeout")
    assert is_valid(goods, "goods_note") is False
    begin(goods, INDEX)
    assert is_valid(goods, "goods_note")
    finish(goods.store)
    goods.clean = True


def test_a_cancelled_build_is_begun_again(goods: Shop) -> None:
    with ThreadPoolExecutor(1) as pool, holding(goods, "update goods set note = note where id = 600") as other:
        started = pool.submit(begin, goods, INDEX)
        soon(lambda: doing(goods), lambda text: f"pid {other.info.backend_pid}" in text)
        pid = building(goods)
        goods.superuser.execute("select pg_cancel_backend(%s)", (pid,))
        soon(lambda: is_valid(goods, "goods_note"), lambda valid: valid is False)
        other.execute("rollback")
        started.result(SOON)
    assert is_valid(goods, "goods_note")
    finish(goods.store)
    goods.clean = True


def building(shop: Shop) -> int:
    """The session that builds an index."""
    row = shop.superuser.execute("select pid from pg_stat_progress_create_index").fetchone()
    assert row
    return int(row[0])


def test_a_reader_goes_on_while_a_change_waits_for_a_lock(goods: Shop) -> None:
    with (
        ThreadPoolExecutor(1) as pool,
        Code(("select name from goods where id = %(row)s", GOODS_OLD[0]), goods.connect) as code,
        holding(goods, "select count(*) from goods") as other,  # a report that lasts: it has ACCESS SHARE
    ):
        started = pool.submit(begin, goods, COLUMN)
        said = soon(lambda: doing(goods), lambda text: f"pid {other.info.backend_pid}" in text)
        assert "count(*)" in said
        time.sleep(LOCK_SECONDS)
        assert not started.done()
        other.execute("rollback")
        started.result(SOON)
    assert code.failed == []
    # The budget is 200 ms; the rest is for a slow machine. Who waits for the report itself, waits for all of it.
    assert code.longest < LOCK_SECONDS / 2
    finish(goods.store)
    goods.clean = True


def test_a_locked_table_is_waited_for(goods: Shop) -> None:
    plan = plan_change(goods.store, COLUMN, schemas=(SHOP,))
    with ThreadPoolExecutor(1) as pool, holding(goods, "lock table goods in access exclusive mode") as other:
        started = pool.submit(start, goods.store, plan)
        said = soon(lambda: doing(goods), lambda text: f"pid {other.info.backend_pid}" in text)
        assert "product_app" in said
        time.sleep(LOCK_SECONDS / 2)
        assert not started.done()
        other.execute("rollback")
        started.result(SOON)
    roll_back(goods.store)
    goods.clean = True


@pytest.mark.long
def test_rolling_back_waits_for_a_lock_as_well(goods: Shop) -> None:
    (before,) = dumps(goods.topology, SHOP)
    begin(goods, RENAME)
    with ThreadPoolExecutor(1) as pool, holding(goods, "select count(*) from goods") as other:
        back = pool.submit(roll_back, goods.store)
        soon(lambda: doing(goods), lambda text: f"pid {other.info.backend_pid}" in text)
        other.execute("rollback")
        back.result(SOON)
    (after,) = dumps(goods.topology, SHOP)
    assert difference(before, after) == ""
    goods.clean = True


def fill_session(shop: Shop) -> int | None:
    """The session that fills."""
    row = shop.superuser.execute(
        "select pid from pg_stat_activity where datname = current_database() and query ilike '%update%goods%'"
        " and usename = 'kos_operator' or usename = 'kos_operator' and query ilike '%change_fills%'"
    ).fetchone()
    return int(row[0]) if row else None


@pytest.mark.parametrize("end", short(["pg_cancel_backend", "pg_terminate_backend"]))
def test_a_fill_whose_session_is_ended_is_gone_on_with(end: str, goods: Shop) -> None:
    more_rows(goods, BIG_ROWS)
    ended = threading.Event()

    def kill() -> None:
        deadline = time.monotonic() + SOON
        while time.monotonic() < deadline:
            done = goods.superuser.execute("select sum(next_page) from kos.change_fills").fetchone()
            pid = fill_session(goods)
            if done and done[0] and pid:
                goods.superuser.execute(f"select {end}(%s)".encode(), (pid,))
                ended.set()
                return

    killer = threading.Thread(target=kill)
    killer.start()
    with Code(GOODS_OLD, goods.connect) as code:
        plan = plan_change(goods.store, FILL, schemas=(SHOP,))
        try:
            start(goods.store, plan)
        except (errors.KosError, psycopg.Error) as error:
            print(f"{end}: {error}")
            killer.join()
            rows = goods.superuser.execute("select sum(rows) from kos.change_fills").fetchone()
            assert rows
            assert rows[0] > 0
            start(goods.store, plan)
        killer.join()
        assert ended.is_set()
    assert code.failed == []
    finish(goods.store)
    assert goods.is_true("select not exists (select from goods where height is null)")
    assert goods.is_true(GOODS_RIGHT)
    assert left_over(goods.superuser) == []
    goods.clean = True


def test_two_rows_written_in_either_order_while_they_are_filled(goods: Shop) -> None:
    """A fill locks rows as it meets them; whoever locks them in another order must not be the victim."""
    more_rows(goods, 20_000)
    backwards = (
        "select pg_sleep(0.01)",
        "update goods set stamp = stamp where id = 20001 - %(row)s",
        "select pg_sleep(0.01)",
        "update goods set stamp = stamp where id = 600 + %(row)s",
    )
    with Code(backwards, goods.connect, goods.connect) as code:
        begin(goods, FILL)
        finish(goods.store)
    assert code.failed == []
    assert goods.is_true("select not exists (select from goods where height is null)")
    goods.clean = True


def test_a_prepared_star_breaks_with_the_column_and_the_plan_says_so(goods: Shop) -> None:
    """PostgreSQL does that to every driver that prepares; nothing that recreates a table could avoid it."""
    plan = plan_change(goods.store, COLUMN, schemas=(SHOP,))
    assert any("*" in warning for recipe in plan.recipes for warning in recipe.warnings), plan.recipes
    with goods.connect() as prepared:
        for _ in range(2):
            prepared.execute("select * from goods where id = %s", (1,), prepare=True)
        start(goods.store, plan)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            prepared.execute("select * from goods where id = %s", (1,), prepare=True)
    roll_back(goods.store)
    goods.clean = True


def test_code_with_named_columns_keeps_its_plans(goods: Shop) -> None:
    """Through all of it: an index, a column and a new name."""
    with Code((*GOODS_OLD, "select id, stamp from goods where id = %(row)s"), goods.connect) as code:
        begin(goods, f"{INDEX}; {COLUMN}; {RENAME}")
        roll_back(goods.store)
        code.go_on()
    assert code.failed == []
    assert goods.is_true(GOODS_RIGHT)
    goods.clean = True


def test_a_unique_constraint_that_rows_violate_names_them_and_leaves_nothing(goods: Shop) -> None:
    (before,) = dumps(goods.topology, SHOP)
    goods.owner.execute(b"update goods set note = 'twice' where id < 3")
    begin(goods, "alter table goods add constraint once unique (note)")
    with pytest.raises(errors.ChangeFailed, match="twice"):
        finish(goods.store)
    roll_back(goods.store)
    (after,) = dumps(goods.topology, SHOP)
    assert difference(before, after) == ""
    assert left_over(goods.superuser) == []
    goods.clean = True


def test_rows_are_mended_and_finishing_goes_on(goods: Shop) -> None:
    goods.owner.execute(b"update goods set note = null where id < 3")
    begin(goods, "alter table goods alter column note set not null")
    with pytest.raises(errors.ChangeFailed, match="note"):
        finish(goods.store)
    goods.owner.execute(b"update goods set note = 'note ' || stamp where id < 3")
    finish(goods.store)
    with pytest.raises(psycopg.errors.NotNullViolation):
        goods.owner.execute(b"update goods set note = null where id = 1")
    goods.clean = True


def test_a_plan_does_not_wait_for_a_locked_table_for_ever(goods: Shop) -> None:
    with ThreadPoolExecutor(1) as pool, holding(goods, "lock table goods in access exclusive mode") as other:
        pid = other.info.backend_pid
        planned = pool.submit(plan_change, goods.store, COLUMN, schemas=(SHOP,))
        try:
            with pytest.raises(errors.ChangeBlocked) as blocked:
                planned.result(SOON)
        finally:
            other.execute("rollback")
    assert f"pid {pid} (product_app" in blocked.value.blocker
    assert "run it again" in blocked.value.next_command
    goods.clean = True
