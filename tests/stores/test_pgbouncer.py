"""Tenant sessions behind PgBouncer with one server connection: what one client leaves behind, the next one meets.

The controls must leak. A control that doesn't would mean that the clients do not share a connection, and that the
tests beside it prove nothing.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from kos.tenancy import AsyncStore, Session, Store, Tenant, create_tenant, fence
from kos.topology import postgres as opening
from kos.topology.model import Topology

pytestmark = pytest.mark.long

INSERT = "insert into atoms (atom_type, name) values ('T', %s)"
ROUNDS = 60
CLIENTS = 4
Connection = psycopg.Connection[Any]
Pair = tuple[Tenant, Tenant]

LEFT_BEHIND = """
select current_setting('search_path'), coalesce(current_setting('kos.tenant_id', true), ''),
       coalesce(current_setting('kos.epoch', true), ''), coalesce(current_setting('kos.user_id', true), ''),
       current_setting('transaction_timeout'), current_setting('transaction_isolation'),
       current_setting('transaction_read_only')
"""
NOTHING = ('"$user", public', "", "", "", "0", "read committed", "off")


@contextmanager
def client(topology: Topology) -> Iterator[Connection]:
    """A client of its own, as the application's role, in autocommit mode."""
    shard = topology.control
    connection = opening.connect(shard.primary, shard.app)
    try:
        yield connection
    finally:
        connection.close()


def one(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    assert row is not None
    return row[0] if len(row) == 1 else row


def pid(connection: Connection) -> int:
    return int(one(connection, "select pg_backend_pid()"))


@pytest.fixture
def pair(request: pytest.FixtureRequest, store: Store) -> Pair:
    """Two tenants with one atom each, named as they are; of the row and the schema tier, or as the parameter says."""
    made = []
    for name, tier in zip(("acme", "beta"), getattr(request, "param", ("row", "schema")), strict=True):
        made.append(create_tenant(store, name, tier))
        with store.tenant(name) as session:
            session.execute(INSERT, (name,))
    return made[0], made[1]


every_pair = pytest.mark.parametrize(
    "pair", [("row", "row"), ("schema", "schema"), ("row", "schema")], ids="-".join, indirect=True
)


# the controls


def test_clients_share_one_server_connection(pooled: Topology) -> None:
    with client(pooled) as first, client(pooled) as second:
        assert pid(first) == pid(second)


@every_pair
def test_an_identity_with_session_scope_leaks(pooled: Topology, pair: Pair) -> None:
    """Why kos.enter() has transaction scope: the second client never named a tenant, and reads the first one's rows."""
    acme = pair[0]
    with client(pooled) as first, client(pooled) as second:
        first.execute("select set_config('kos.tenant_id', %s, false)", (str(acme.id),))
        first.execute("select set_config('search_path', %s, false)", (acme.schema,))
        assert pid(first) == pid(second)
        assert one(second, "select kos.current_tenant_id()") == acme.id
        assert one(second, "select current_schema()") == acme.schema
        assert one(second, "select name from atoms") == "acme"


def test_a_leaked_identity_keeps_nobody_out(pooled: Topology, pair: Pair) -> None:
    """Where somebody's own code has leaked one, whoever enters a tenant is in that one, and in no other."""
    acme, beta = pair
    with client(pooled) as first, Store(pooled) as store:
        first.execute("select set_config('kos.tenant_id', %s, false)", (str(acme.id),))
        with store.tenant(beta.name) as session:
            assert session.execute("select name from atoms").fetchall() == [("beta",)]
            server = pid(session.connection)
        assert pid(first) == server


def test_prepared_statements_of_the_session_are_lost(pooled: Topology) -> None:
    """Why `pooler = true` turns them off: the server's connection is another client's by the time they are used."""
    with client(pooled) as first, client(pooled) as second:
        first.prepare_threshold = second.prepare_threshold = 0
        first.execute("select 1")
        with pytest.raises(psycopg.errors.DuplicatePreparedStatement):
            second.execute("select 2")


def test_temporary_tables_and_held_cursors_leak(pooled: Topology, pair: Pair) -> None:
    """What no entry can help against: these belong to the server's connection, rows and all."""
    with Store(pooled) as store, client(pooled) as other:
        with store.tenant("acme") as session:
            session.execute("create temporary table kept as select name from atoms")
            session.execute("declare held cursor with hold for select name from atoms")
        with store.tenant("beta") as session:
            assert session.execute("select name from kept").fetchall() == [("acme",)]
        assert one(other, "fetch held") == "acme"


# what kos does


def test_a_temporary_table_does_not_stand_in_for_a_tenants(pooled: Topology, pair: Pair) -> None:
    """kos.enter() returns a search path that ends in pg_temp, which would come first if it were not named."""
    with Store(pooled) as store, client(pooled) as other:
        other.execute("create temporary table atoms as select 'forged' as name, 1 as version")
        for tenant in pair:
            with store.tenant(tenant.name) as session:
                assert session.execute("select name from atoms").fetchall() == [(tenant.name,)]


def hunt(transaction: Callable[[str], tuple[int, list[str]]], pair: Pair) -> tuple[set[int], int]:
    """Many transactions of two tenants by several clients at once: the servers' pids, and how many saw foreign rows."""
    start = threading.Barrier(CLIENTS)

    def work(number: int) -> list[tuple[int, bool]]:
        start.wait(30)
        seen = []
        for turn in range(ROUNDS):
            name = pair[(number + turn) % 2].name
            server, names = transaction(name)
            seen.append((server, names != [name]))
        return seen

    with ThreadPoolExecutor(CLIENTS) as threads:
        seen = [item for part in threads.map(work, range(CLIENTS)) for item in part]
    assert len(seen) == ROUNDS * CLIENTS
    return {server for server, _ in seen}, sum(foreign for _, foreign in seen)


@every_pair
def test_the_hunt_finds_a_leak(pooled: Topology, pair: Pair) -> None:
    """The control: the same hunt, with an entry whose search path and identity have session scope."""
    local = threading.local()
    made: list[Connection] = []
    places = {tenant.name: (str(tenant.id), tenant.schema) for tenant in pair}

    def transaction(name: str) -> tuple[int, list[str]]:
        if not hasattr(local, "connection"):
            local.connection = opening.connect(pooled.control.primary, pooled.control.app)
            made.append(local.connection)
        local.connection.execute(
            "select set_config('kos.tenant_id', %s, false), set_config('search_path', %s, false)", places[name]
        )
        rows = local.connection.execute("select pg_backend_pid(), name from atoms").fetchall()
        return rows[0][0], [row[1] for row in rows]

    try:
        servers, foreign = hunt(transaction, pair)
    finally:
        for connection in made:
            connection.close()
    assert len(servers) == 1
    assert foreign > 0


@every_pair
@pytest.mark.parametrize("isolation", ["read committed", "repeatable read"])
def test_no_transaction_sees_another_tenant(pooled: Topology, pair: Pair, isolation: str) -> None:
    with Store(pooled) as store:

        def transaction(name: str) -> tuple[int, list[str]]:
            with store.tenant(name, user="u", isolation=isolation) as session:
                names = [row[0] for row in session.execute("select name from atoms")]
                session.execute("update atoms set version = version + 1")
                return pid(session.connection), names

        servers, foreign = hunt(transaction, pair)
    assert len(servers) == 1
    assert foreign == 0
    with client(pooled) as other:
        assert one(other, LEFT_BEHIND) == NOTHING
        assert {pid(other)} == servers


@every_pair
def test_no_transaction_sees_another_tenant_async(pooled: Topology, pair: Pair) -> None:
    async def transaction(store: AsyncStore, name: str) -> tuple[int, bool]:
        async with store.tenant(name, user="u") as session:
            names = [row[0] async for row in await session.execute("select name from atoms")]
            await session.execute("update atoms set version = version + 1")
            row = await (await session.execute("select pg_backend_pid()")).fetchone()
            assert row is not None
            return row[0], names != [name]

    async def work() -> list[tuple[int, bool]]:
        async with AsyncStore(pooled, pool_size=CLIENTS) as store:
            turns = (transaction(store, pair[turn % 2].name) for turn in range(ROUNDS * CLIENTS))
            return await asyncio.gather(*turns)

    seen = asyncio.run(work())
    assert len({server for server, _ in seen}) == 1
    assert not any(foreign for _, foreign in seen)
    with client(pooled) as other:
        assert one(other, LEFT_BEHIND) == NOTHING


def test_tenants_with_a_database_of_their_own(pooled: Topology, store: Store) -> None:
    """PgBouncer pools each database apart."""
    for name, tier in (("acme", "row"), ("beta", "database")):
        create_tenant(store, name, tier)
    with Store(pooled) as behind:
        servers = set()
        for _ in range(2):
            for name in ("acme", "beta"):
                with behind.tenant(name) as session:
                    session.execute(INSERT, (name,))
                    servers.add((name, pid(session.connection)))
        assert len(servers) == 2
        for name in ("acme", "beta"):
            with behind.tenant(name) as session:
                assert session.execute("select distinct name from atoms").fetchall() == [(name,)]


def test_the_limit_on_a_transaction_ends_with_it(pooled: Topology, pair: Pair) -> None:
    with Store(pooled) as store:
        with store.tenant("acme", timeout=7) as session:
            assert session.execute("show transaction_timeout").fetchone() == ("7s",)
            server = pid(session.connection)
        with client(pooled) as other:
            assert pid(other) == server
            assert one(other, LEFT_BEHIND) == NOTHING


def fail_in_python(session: Session) -> None:
    session.execute(INSERT, ("failed",))
    raise ZeroDivisionError


def fail_in_sql(session: Session) -> None:
    session.execute(INSERT, ("failed",))
    session.execute("select 1/0")


@pytest.mark.parametrize("fail", [fail_in_python, fail_in_sql])
def test_a_failed_transaction_leaves_nothing(pooled: Topology, pair: Pair, fail: Callable[[Session], None]) -> None:
    with Store(pooled) as store, client(pooled) as other:
        server = pid(other)
        with pytest.raises((ZeroDivisionError, psycopg.errors.DivisionByZero)), store.tenant("acme", user="u") as acme:
            fail(acme)
        assert one(other, LEFT_BEHIND) == NOTHING
        assert pid(other) == server
        with store.tenant("acme") as session:
            assert session.execute("select name from atoms").fetchall() == [("acme",)]


KILLED = """
import sys
from kos.topology import postgres
from kos.topology.model import Login, PostgresServer, Tls, fixed

port, database, password = sys.stdin.readline().split()
server = PostgresServer("main", "127.0.0.1", int(port), database, Tls("disable"), pooler=True)
connection = postgres.connect(server, Login("kos_app", fixed(password)))
connection.autocommit = False
connection.execute("select set_config('search_path', kos.enter('acme', user_id => 'u'), true)")
connection.execute("insert into atoms (atom_type, name) values ('T', 'killed')")
print(connection.execute("select pg_backend_pid()").fetchone()[0], flush=True)
sys.stdin.readline()
"""


def test_a_client_killed_in_a_transaction_leaves_nothing(pooled: Topology, pair: Pair, store: Store) -> None:
    primary, app = pooled.control.primary, pooled.control.app
    assert app.password is not None
    victim = subprocess.Popen(
        [sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    )
    with victim:
        assert victim.stdin is not None
        assert victim.stdout is not None
        victim.stdin.write(f"{primary.port} {primary.database} {app.password.read()}\n")
        victim.stdin.flush()
        server = int(victim.stdout.readline())
        with store.operator() as operator:
            assert [holder.pid for holder in fence.holders(operator, pair[0])] == [server]
        os.kill(victim.pid, signal.SIGKILL)
    with Store(pooled) as behind:  # waits in PgBouncer until the only connection is free again
        with behind.tenant("acme") as session:
            assert session.execute("select name from atoms").fetchall() == [("acme",)]
        with behind.tenant("beta") as session:
            assert session.execute("select name from atoms").fetchall() == [("beta",)]
    with client(pooled) as other:
        assert one(other, LEFT_BEHIND) == NOTHING
    with store.operator() as operator:
        assert fence.holders(operator, pair[0]) == []


def test_a_moved_tenant_is_entered_again(pooled: Topology, pair: Pair, store: Store) -> None:
    """The refusal of a stale epoch travels in a pipeline, and PgBouncer has to survive that too."""
    with Store(pooled) as behind:
        for epoch in range(2, 12):
            with behind.tenant("acme") as session:
                session.execute(INSERT, (f"at {epoch - 1}",))
            fence.raise_epoch(store, "acme")
        with behind.tenant("acme") as session:
            assert session.execute("select count(*) from atoms").fetchone() == (11,)
            assert session.tenant.epoch == 11
