"""A transaction that needs several locks: nobody waits for the sum of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import psycopg
import pytest
from psycopg.sql import SQL, Composed

from fix_shop import SHOP, Connection, Shop
from kos.schema_change import finish, plan_change, start
from kos.schema_change.locks import first, in_one_message
from kos.schema_change.model import Action

OTHERS = ("buys", "gifts", "loans", "notes")
KEY = "create table art (id integer primary key, name text); insert into art select g from generate_series(1, 100) g;"
REFERS = (
    "create table {0} (id integer primary key, art_id integer references art); insert into {0} select g, g from art;"
)
LIMIT, WAITED = 30.0, 1.0  # seconds
SOON = 20.0
MOMENT = 0.02

HELD = """
select c.relname from pg_locks l join pg_class c on c.oid = l.relation
 where l.pid <> pg_backend_pid() and l.mode = 'AccessExclusiveLock' and c.relname = any(%s)
"""


@pytest.fixture
def art(shop: Shop) -> Shop:
    """A key that four tables refer to."""
    shop.fresh(
        SHOP, KEY, *(REFERS.format(each).replace("from art;", "from generate_series(1, 9) g;") for each in OTHERS)
    )
    return shop


def soon(what: Callable[[], set[str]]) -> set[str]:
    """The first answer that isn't empty."""
    deadline = time.monotonic() + SOON
    while not (found := what()):
        assert time.monotonic() < deadline
        time.sleep(MOMENT)
    return found


@contextmanager
def reading(shop: Shop, table: str) -> Iterator[Connection]:
    with shop.connect() as other, other.transaction():
        other.execute(f"select count(*) from {table}".encode())
        yield other


def locked(shop: Shop) -> set[str]:
    """Tables that are locked, or asked for, against everybody."""
    return {name for (name,) in shop.superuser.execute(HELD, (["art", *OTHERS],))}


def test_the_key_is_not_locked_while_others_are_waited_for(art: Shop) -> None:
    """All use the key; nobody waits for it because somebody reads a table that refers to it."""
    change = "alter table art alter id type bigint"
    start(art.store, plan_change(art.store, change, schemas=(SHOP,)))
    seen: set[str] = set()
    with ThreadPoolExecutor(1) as pool:
        with reading(art, "notes"):
            finished = pool.submit(finish, art.store)
            soon(lambda: locked(art) & {"notes"})
            until = time.monotonic() + WAITED
            while time.monotonic() < until:
                seen |= locked(art)
        finished.result(SOON)
    assert "notes" in seen
    assert "art" not in seen
    art.clean = True


def action(*also: str) -> Action:
    return Action("a", "a", "art", "product_app", "ACCESS EXCLUSIVE", ("select 1",), also=also)


def ordered(shop: Shop, wanted: Action) -> list[str]:
    """The order of the locks: each is waited for, since somebody has them all."""
    found: list[str] = []
    names = (wanted.table, *wanted.also)
    with ExitStack() as stack, shop.connect() as other, ThreadPoolExecutor(1) as pool:
        holders = {name: stack.enter_context(shop.connect()) for name in names}
        for name, each in holders.items():
            each.execute(f"begin; lock table {name} in access share mode".encode())
        done = pool.submit(_lock, other, wanted)
        for _ in names:
            asked = soon(lambda: asked_for(shop, other) - set(found)).pop()
            found.append(asked)
            holders[asked].execute("rollback")
        done.result(SOON)
    return found


def asked_for(shop: Shop, other: Connection) -> set[str]:
    """The tables that a session waits for."""
    waits = "select c.relname from pg_locks l join pg_class c on c.oid = l.relation where not granted and pid = %s"
    return {name for (name,) in shop.superuser.execute(waits, (other.info.backend_pid,))}


def asked(shop: Shop, relation: str) -> set[int]:
    """Who waits for a relation."""
    waits = "select pid from pg_locks l join pg_class c on c.oid = l.relation where not granted and relname = %s"
    return {pid for (pid,) in shop.superuser.execute(waits, (relation,))}


def _lock(connection: Connection, wanted: Action) -> None:
    with connection.transaction():
        connection.execute(first(SHOP, wanted, f"{LIMIT}s"))


def test_its_own_table_comes_last(art: Shop) -> None:
    art.clean = True
    assert ordered(art, action("notes", "gifts")) == ["gifts", "notes", "art"]


def test_a_view_comes_before_what_it_reads(art: Shop) -> None:
    """Who uses it has its lock first: the other way round, all who have queued for the table would be in the way."""
    art.clean = True
    art.owner.execute("create view all_art as select id from art")
    assert ordered(art, action("all_art")) == ["all_art", "art"]


def test_a_view_of_other_tables_is_left_to_the_statements(art: Shop) -> None:
    """Its lock would be one of all that it reads."""
    art.clean = True
    art.owner.execute("create view all_art as select a.id from art a join notes n on n.art_id = a.id")
    with art.connect() as other, other.transaction():
        other.execute(first(SHOP, action("all_art"), f"{LIMIT}s"))
        assert {name for (name,) in art.superuser.execute(HELD, (["all_art", "art", "notes"],))} == {"art"}


def test_a_renamed_table_is_finished_while_its_view_is_in_use(art: Shop) -> None:
    start(art.store, plan_change(art.store, "alter table notes rename to remarks", schemas=(SHOP,)))
    with art.connect() as reader, ThreadPoolExecutor(2) as pool:
        with reading(art, "remarks"):
            finished = pool.submit(finish, art.store)
            soon(lambda: asked(art, "remarks"))
            # Whoever comes now queues for the view, and so has no lock that is in the way when the first one is gone.
            pool.submit(reader.execute, "select count(*) from remarks")
        finished.result(SOON)
    art.clean = True


def test_after_a_deadlock_the_locks_are_asked_for_in_the_other_order(art: Shop) -> None:
    """Somebody who always uses the table before what it refers to; each attempt in the order of before would meet him
    half way."""
    change = "alter table notes drop constraint notes_art_id_fkey"
    start(art.store, plan_change(art.store, change, schemas=(SHOP,)))
    with ThreadPoolExecutor(1) as pool, art.connect() as other:
        other.execute("begin; select from notes")
        finished = pool.submit(finish, art.store)
        deadline = time.monotonic() + LIMIT
        while not finished.done() and time.monotonic() < deadline:
            if asked(art, "notes"):
                other.execute("select from art; commit")
                other.execute("begin; select from notes")
            time.sleep(MOMENT / 10)
        assert finished.done()
        finished.result()
    art.clean = True


def test_what_one_lock_was_waited_for_is_gone_for_all_others(art: Shop) -> None:
    """Of the limit is left what was not spent, and so for each statement after the locks."""
    art.clean = True
    statements, note = ("select 1", "select 2"), SQL("select 3")
    message = in_one_message(SHOP, action("gifts", "notes"), statements, f"{LIMIT}s", note=note)
    with art.connect() as other, ThreadPoolExecutor(1) as pool:
        with reading(art, "gifts"):
            done = pool.submit(_left_after, other, message)
            soon(lambda: asked_for(art, other))
            time.sleep(WAITED)
        (after_locks, *_) = done.result(SOON)
    assert len(done.result()) == 2  # before each statement
    assert after_locks <= LIMIT - WAITED
    assert sorted(done.result(), reverse=True) == done.result()


def _left_after(connection: Connection, message: SQL | Composed) -> list[float]:
    """The limits that are set, in seconds."""
    left = []
    with connection.transaction():
        cursor = connection.execute(message)
        while True:
            if cursor.description and isinstance(row := cursor.fetchone(), tuple) and str(row[0]).endswith("ms"):
                left.append(int(str(row[0]).removesuffix("ms")) / 1000)
            if not cursor.nextset():
                return left


def test_the_sum_ends_at_the_limit(art: Shop) -> None:
    """The first is had after a while, the second never: it is given up when the limit is over, not a limit later."""
    art.clean = True
    limit = 3.0
    with art.connect() as other, ThreadPoolExecutor(1) as pool, reading(art, "notes"), reading(art, "gifts") as holder:

        def work() -> float:
            began = time.monotonic()
            with pytest.raises(psycopg.errors.LockNotAvailable), other.transaction():
                other.execute(first(SHOP, action("gifts", "notes"), f"{limit}s"))
            return time.monotonic() - began

        done = pool.submit(work)
        time.sleep(limit * 0.7)
        holder.execute("rollback")
        taken = done.result(SOON)
    assert limit * 0.9 <= taken < limit * 1.6  # not 0.7 + 1


def test_partitions_are_locked_after_their_table(shop: Shop) -> None:
    parts = "; ".join(f"create table p{each} partition of art for values in ({each})" for each in (1, 2))
    shop.fresh(SHOP, f"create table art (id integer) partition by list (id); {parts}")
    shop.clean = True
    held = "select count(*) from pg_locks where pid = pg_backend_pid() and mode = 'AccessExclusiveLock'"
    with shop.connect() as other, other.transaction():
        other.execute(first(SHOP, action(), "1s"))
        assert other.execute(held).fetchone() == (3,)
