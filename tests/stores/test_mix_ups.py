"""Rows, databases and writes that must not end up with somebody else, or be lost, when things go wrong at once."""

from __future__ import annotations

import asyncio
import threading
import time

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from fix_database import as_installer
from kos import errors
from kos.tenancy import AsyncStore, Store, Tenant, create_tenant, find_tenant, list_tenants, remove_tenant
from kos.tenancy import create as creation
from kos.topology.model import Topology

pytestmark = pytest.mark.long

ATOM = "insert into atoms (atom_type, name) values ('T', %s)"


# what has the name of a tenant's place, and is not the tenant's


def test_a_database_of_somebody_else_is_neither_taken_nor_dropped(store: Store, database: Topology) -> None:
    name = f"{database.control.primary.database}_backup"
    with as_installer(database, "knowledge_os") as installer:
        installer.execute(SQL("create database {} owner kos_owner").format(Identifier(name)))
    with as_installer(database, name) as theirs:
        theirs.execute("create schema precious; create table precious.rows as select 1 as one")
    with pytest.raises(errors.PlaceTaken) as caught:
        create_tenant(store, "backup", "database")
    assert caught.value.name == name
    assert list_tenants(store) == [], "the name is free again"
    with as_installer(database, name) as theirs:
        assert theirs.execute("select one from precious.rows").fetchone() == (1,)


def test_a_schema_of_somebody_else_is_neither_taken_nor_dropped(store: Store, database: Topology) -> None:
    with as_installer(database, database.control.primary.database) as theirs:
        theirs.execute("create schema tenant_backup authorization kos_owner; set role kos_owner")
        theirs.execute("create table tenant_backup.rows as select 1 as one")
        with pytest.raises(errors.PlaceTaken):
            create_tenant(store, "backup", "schema")
        assert list_tenants(store) == []
        assert theirs.execute("select one from tenant_backup.rows").fetchone() == (1,)


@pytest.mark.parametrize("tier", ["row", "schema", "database"])
def test_a_killed_removal_leaves_nothing_to_who_gets_the_name(
    store: Store, monkeypatch: pytest.MonkeyPatch, tier: str
) -> None:
    class Killed(BaseException):
        """Not an Exception: as after SIGKILL, no clean-up runs."""

    def dying(*_: object) -> None:
        raise Killed

    old = create_tenant(store, "acme", tier)
    with store.tenant("acme") as session:
        session.execute(ATOM, ("secret of the old customer",))
    with monkeypatch.context() as patched:
        patched.setattr(creation, "_take_down", dying)
        with pytest.raises(Killed):
            remove_tenant(store, "acme")
    assert find_tenant(store, "acme").state == "removing"
    with Store(store.topology) as fresh:
        # A tenant may have objects as well, which this command knows nothing of: removing is finished first.
        with pytest.raises(errors.TenantUnfinished, match="removing"):
            create_tenant(fresh, "acme", tier)
        remove_tenant(fresh, "acme")
        new = create_tenant(fresh, "acme", tier)
        with fresh.tenant("acme") as session:
            assert session.execute("select name from atoms").fetchall() == []
    assert new.id != old.id


# one name, several commands at once


@pytest.mark.parametrize("tier", ["row", "schema", "database"])
def test_a_name_is_given_once_also_at_once(store: Store, tier: str) -> None:
    outcomes: list[object] = []

    def work() -> None:
        with Store(store.topology) as own:
            try:
                outcomes.append(create_tenant(own, "race", tier).name)
            except errors.KosError as error:
                outcomes.append(type(error))

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(str, outcomes)) == sorted(map(str, ["race", errors.TenantExists, errors.TenantExists]))


# one session, several tasks or threads at its first statement


def test_two_tasks_share_the_transaction_of_their_session(store: Store, tenant: Tenant) -> None:
    async def work() -> None:
        async with AsyncStore(store.topology, pool_size=2) as opened, opened.tenant("acme") as session:
            await asyncio.gather(*(session.execute(ATOM, (name,)) for name in ("one", "two")))

    asyncio.run(work())
    with store.tenant("acme") as session:
        assert session.execute("select name from atoms order by name").fetchall() == [("one",), ("two",)]


def test_two_threads_share_the_transaction_of_their_session(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        threads = [threading.Thread(target=session.execute, args=(ATOM, (name,))) for name in ("one", "two")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    with store.tenant("acme") as session:
        assert session.execute("select name from atoms order by name").fetchall() == [("one",), ("two",)]


# what a session says of itself


@pytest.mark.parametrize("field", ["persona", "user", "request", "agent"])
def test_an_identity_is_not_cut_short(field: str, store: Store) -> None:
    with pytest.raises(ValueError, match="NUL"):
        store.tenant("acme", **{field: "admin\0evil"})


@pytest.mark.parametrize("timeout", [0, -1, float("inf"), float("nan"), 3e6])
def test_a_timeout_is_a_number_of_seconds_that_the_server_knows(timeout: float, store: Store) -> None:
    with pytest.raises(ValueError, match="timeout"):
        store.tenant("acme", timeout=timeout)


# the limit on a transaction, and a first statement that ends its connection


def test_the_limit_counts_where_a_looser_one_runs_already(store: Store, tenant: Tenant) -> None:
    with store.control() as connection:
        connection.execute("set transaction_timeout = '60s'")
        connection.execute("begin")
        connection.execute("select kos.enter('acme', timeout_ms => 200)")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("select pg_sleep(10)")
    assert caught.value.sqlstate == "25P04"


@pytest.mark.parametrize("timeout_ms", [0, 5000])
def test_a_tighter_limit_stays(store: Store, tenant: Tenant, timeout_ms: int) -> None:
    with store.control() as connection, connection.transaction():
        connection.execute("set local transaction_timeout = '1s'")
        connection.execute("select kos.enter('acme', timeout_ms => %s)", (timeout_ms,))
        assert connection.execute("show transaction_timeout").fetchone() == ("1s",)


def test_a_first_statement_that_ends_its_connection_is_not_repeated(store: Store, tenant: Tenant) -> None:
    began = time.monotonic()
    with pytest.raises(psycopg.OperationalError), store.tenant("acme", timeout=1) as session:
        session.execute("select pg_sleep(30)")
    assert time.monotonic() - began < 2 * 1.0, "each repetition would last as long as the limit"


def test_what_may_have_committed_is_not_repeated(store: Store, tenant: Tenant) -> None:
    several = (
        "insert into atoms (atom_type, name) values ('T', 'x'); commit; select pg_terminate_backend(pg_backend_pid())"
    )
    with pytest.raises(psycopg.Error), store.tenant("acme") as session:
        session.execute(several)
    with store.tenant("acme") as session:
        assert session.execute("select count(*) from atoms").fetchone() == (1,)
