"""Locks that others hold: those of an autovacuum, which makes way for who waits long enough."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from kos import errors
from kos.schema_change import change_status, finish, plan_change, start
from kos.schema_change.blocking import described
from kos.tenancy import Store
from kos.topology import doctor
from kos.topology import postgres as opening

COLUMN = "alter table shop.goods add column height integer"
ROWS = 200_000  # a worker that may read one page in 0.1 s is at it for minutes
SOON = 20.0
GRANT = "grant set on parameter deadlock_timeout to kos_operator"
WORKERS = """
select a.pid from pg_stat_activity a join pg_locks l using (pid)
 where a.backend_type = 'autovacuum worker' and l.relation = 'shop.goods'::regclass and l.granted
"""


@pytest.fixture(scope="module")
def server(own_postgres: MakePostgres) -> OwnPostgres:
    """One on which autovacuum looks every second."""
    server = own_postgres("wheel")
    server.configure(fsync="off", autovacuum_naptime=1)
    server.start()
    return server


@pytest.fixture(scope="module")
def store(server: OwnPostgres) -> Iterator[Store]:
    with Store(install_on(server)) as store:
        yield store


@pytest.fixture
def superuser(server: OwnPostgres, store: Store) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """In a database with a table that is being vacuumed, slowly."""
    with server.connect() as anywhere:
        anywhere.execute(GRANT)
    with opening.connect(store.topology.control.primary, server.superuser) as connection:
        connection.execute(
            "create schema shop; grant usage, create on schema shop to kos_owner;"
            "create table shop.goods (id bigint, note text); alter table shop.goods owner to kos_owner"
        )
        connection.execute(
            "alter table shop.goods set (autovacuum_vacuum_cost_delay = 100, autovacuum_vacuum_cost_limit = 1,"
            " autovacuum_vacuum_threshold = 0, autovacuum_vacuum_scale_factor = 0)"
        )
        connection.execute(b"insert into shop.goods select g, 'note ' || g from generate_series(1, %d) g" % ROWS)
        connection.execute("delete from shop.goods where id % 2 = 0")
        worker(connection)
        yield connection
        connection.execute("drop schema shop cascade")


def worker(connection: psycopg.Connection[tuple[object, ...]]) -> int:
    """The pid of the autovacuum of the table, as soon as there is one."""
    deadline = time.monotonic() + SOON
    while (row := connection.execute(WORKERS).fetchone()) is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return int(str(row[0]))


@pytest.mark.long
def test_an_autovacuum_makes_way(store: Store, superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    pid = worker(superuser)
    with ThreadPoolExecutor(1) as pool:
        pool.submit(start, store, plan_change(store, COLUMN)).result(SOON)
        pool.submit(finish, store).result(SOON)
    assert pid not in {each for (each,) in superuser.execute(WORKERS)}


@pytest.mark.long
def test_an_autovacuum_that_need_not_make_way_is_named(
    store: Store, superuser: psycopg.Connection[tuple[object, ...]]
) -> None:
    superuser.execute(GRANT.replace("grant", "revoke").replace(" to ", " from "))
    (found,) = [each for each in doctor.examine(store.topology).capabilities if each.name == "autovacuum"]
    assert (found.allowed, found.mend) == (False, GRANT)
    pid = worker(superuser)
    with ThreadPoolExecutor(1) as pool:
        started = pool.submit(start, store, plan_change(store, COLUMN))
        deadline = time.monotonic() + SOON
        while f"pid {pid} (?, ?): hidden from us" not in doing(store):
            assert time.monotonic() < deadline, doing(store)
            time.sleep(0.05)
        assert not started.done()
        superuser.execute(GRANT)
        started.result(SOON)
    finish(store)


def doing(store: Store) -> str:
    """What `kos change status` says of the only placement."""
    try:
        (placement,) = change_status(store).placements
    except errors.NoChange:
        return ""
    return placement.doing or ""


def test_who_is_in_the_way_is_told_as_far_as_it_is_known() -> None:
    assert described(7, "shop", "active", "select 1", 4) == "pid 7 (shop, active, 4 s): select 1"
    assert described(7, None, None, None) == "pid 7 (?, ?): hidden from us"
    seen = described(7, None, "autovacuum worker", "autovacuum: VACUUM shop.goods", 4)
    assert seen == "pid 7 (?, autovacuum worker, 4 s): autovacuum: VACUUM shop.goods"
