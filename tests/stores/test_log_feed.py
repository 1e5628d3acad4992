"""The feed and the seals behind it: late commits, lost histories, databases that came from a dump, sealers that die."""

from __future__ import annotations

import os
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from fence_client import Client
from log_history import SCHEMA, check_chains, check_transactions, log_rows
from psycopg.sql import SQL, Identifier

from fix_database import as_superuser
from fix_exports import until
from kos import errors
from kos.log import Cursor, Event, read, seal, seal_all
from kos.tenancy import Place, Store
from kos.tenancy.placement import control_place
from kos.topology.embedded import Stack, postgres_tool

ONE, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
INSERT = "insert into public.firsts (tenant, id, stamp) values (%s, %s, nextval('public.stamps'))"
Connection = psycopg.Connection[Any]


@pytest.fixture
def place(store: Store) -> Place:
    return control_place(store.topology)


@pytest.fixture
def product(store: Store, superuser: Connection) -> Connection:
    """Two logged tables."""
    superuser.execute(SCHEMA.encode())
    return superuser


def put(connection: Connection, key: int, tenant: uuid.UUID = ONE) -> None:
    connection.execute(INSERT, (tenant, key))


@pytest.fixture
def copies(template: Stack, product: Connection) -> Iterator[list[str]]:
    """Names of databases that the test makes; they are dropped at its end."""
    names: list[str] = []
    yield names
    for name in names:
        with as_superuser(template, "knowledge_os") as connection:
            connection.execute(SQL("drop database if exists {} with (force)").format(Identifier(name)))


def new_name(copies: list[str], product: Connection) -> str:
    copies.append(f"{product.info.dbname}_{len(copies)}")
    return copies[-1]


def all_events(connection: Connection, tenant: uuid.UUID = ONE) -> list[Event]:
    """After a seal, and after what must be true of them always."""
    seal_all(connection)
    events = read(connection, tenant, Cursor(), 1_000_000)
    assert [each.position for each in events] == list(range(1, len(events) + 1))
    ends = connection.execute("select position from kos.seals where tenant_id = %s", (tenant,)).fetchall()
    check_transactions(events, {position for (position,) in ends})
    check_chains(events)
    return events


def keys(events: list[Event]) -> list[str]:
    return [each.key[-1] for each in events]


def test_a_reader_skips_and_repeats_nothing_however_late_a_commit_is(
    template: Stack, store: Store, place: Place, product: Connection
) -> None:
    seen: list[Event] = []
    with store.operator(place) as operator, ExitStack() as opened:
        late = [opened.enter_context(as_superuser(template, product.info.dbname)) for _ in range(6)]
        cursor = Cursor()

        def poll() -> None:
            nonlocal cursor
            seal(operator, ONE)
            for limit in (1, 1000):  # a page that may end within a transaction, and the rest
                for event in read(operator, ONE, cursor, limit):
                    seen.append(event)
                    cursor = Cursor.after(event)

        for number, writer in enumerate(late):
            writer.execute("begin")
            put(writer, 10 * number)
            put(product, 10 * number + 1)
            poll()
        for number in (3, 0, 5, 1, 4, 2):
            put(late[number], 10 * number + 2)
            poll()
            late[number].execute("commit")
            put(product, 10 * number + 3)
            poll()
        assert [each.position for each in seen] == list(range(1, 25))
        assert seen == all_events(operator)


def test_a_reader_of_a_lost_history_is_told(
    template: Stack, product: Connection, store: Store, place: Place, copies: list[str]
) -> None:
    put(product, 1)
    with store.operator(place) as operator:
        [first] = all_events(operator)
    earlier = dump_and_restore(template, product.info.dbname, new_name(copies, product))
    put(product, 2)
    with store.operator(place) as operator:
        lost = all_events(operator)[-1]
    with as_superuser(template, earlier) as restored:
        with pytest.raises(errors.FeedDiverged):
            read(restored, ONE, Cursor.after(lost))
        put(restored, 2)
        assert [each.position for each in all_events(restored)] == [1, 2]
        with pytest.raises(errors.FeedDiverged):
            read(restored, ONE, Cursor.after(lost))
        assert keys(read(restored, ONE, Cursor.after(first))) == ["2"]


def dump_and_restore(stack: Stack, database: str, name: str) -> str:
    with as_superuser(stack, database) as connection:
        where = connection.info.get_parameters() | {"password": connection.info.password}
    environment = os.environ | {
        "PGHOST": str(where["host"]),
        "PGPORT": str(where["port"]),
        "PGUSER": "postgres",
        "PGPASSWORD": where["password"],
    }
    with as_superuser(stack, "knowledge_os") as connection:
        connection.execute(SQL("create database {} template template0").format(Identifier(name)))
    dumped = subprocess.run(
        [postgres_tool("pg_dump"), "--format=custom", database], env=environment, check=True, capture_output=True
    ).stdout
    subprocess.run(
        [postgres_tool("pg_restore"), "--exit-on-error", f"--dbname={name}"],
        env=environment, check=True, input=dumped, capture_output=True,
    )  # fmt: skip
    return name


# The source has counted so many transactions more than the server of its copy.
COUNT_ON = """
update kos.seals set snapshot = (
  select format('%s:%s:%s', pg_snapshot_xmin(snapshot)::text::bigint + %(ahead)s,
                pg_snapshot_xmax(snapshot)::text::bigint + %(ahead)s,
                (select string_agg((x::text::bigint + %(ahead)s)::text, ',')
                   from pg_snapshot_xip(snapshot) x)))::pg_snapshot;
update kos.pending_1 set transaction = (transaction::text::bigint + %(ahead)s)::text::xid8;
update kos.pending_2 set transaction = (transaction::text::bigint + %(ahead)s)::text::xid8;
"""


@pytest.mark.parametrize("ahead", [0, 1_000_000_000])
def test_a_database_from_a_dump_goes_on(
    template: Stack, product: Connection, store: Store, place: Place, copies: list[str], ahead: int
) -> None:
    """What waited is sealed once, what was sealed never again, in a copy and in a copy of the copy."""
    with as_superuser(template, product.info.dbname) as late:
        late.execute("begin")
        put(late, 1)  # has a lower id than what is sealed before it
        put(product, 2)
        put(product, 1, OTHER)
        with store.operator(place) as operator:
            assert keys(all_events(operator)) == ["2"]
        late.execute("commit")
    put(product, 3)
    put(product, 2, uuid.UUID(int=3))  # of a tenant that had no seal
    database, wanted, incarnations = product.info.dbname, ["2", "1", "3"], [1]
    for copied in (1, 2):
        database = dump_and_restore(template, database, new_name(copies, product))
        with as_superuser(template, database) as restored:
            restored.execute(COUNT_ON.replace("%(ahead)s", str(ahead)).encode())
            for more in range(2):  # a second seal in the copy finds only what came after the first
                put(restored, 100 * copied + more)
                put(restored, 100 * copied + more, OTHER)
                wanted.append(str(100 * copied + more))
                events = all_events(restored)
                assert keys(events) == wanted
            assert keys(all_events(restored, OTHER)) == ["1", *(key for key in wanted[3:] if key != "150")]
            assert keys(all_events(restored, uuid.UUID(int=3))) == ["2"]
            assert restored.execute("select count(*) from kos.unsealed()").fetchone() == (0,)
            incarnations.append(events[-1].incarnation)
            assert len(log_rows(restored, ONE, len(events))["firsts"]) == len(wanted)
            put(restored, 100 * copied + 50)  # waits while the next dump is made
            wanted.append(str(100 * copied + 50))
            assert restored.execute("select kos.is_drained('kos.pending_1')").fetchone() == (False,)
    assert incarnations == [1, 2, 3]


@pytest.mark.parametrize("newer", [False, True])
def test_a_seal_in_the_transaction_that_writes_leaves_its_writes_to_the_next(
    template: Stack, store: Store, place: Place, product: Connection, newer: bool
) -> None:
    put(product, 1)
    with as_superuser(template, product.info.dbname) as writer:
        writer.execute("begin")
        put(writer, 2)
        if newer:  # so that its own id is below its snapshot's end
            put(product, 4)
        sealed = writer.execute("select kos.seal(%s)", (ONE,)).fetchone()
        assert sealed == (2 if newer else 1,)
        put(writer, 3)
        writer.execute("commit")
    with store.operator(place) as operator:
        assert keys(all_events(operator)) == (["1", "4", "2", "3"] if newer else ["1", "2", "3"])


@contextmanager
def sealer(product: Connection) -> Iterator[Client]:
    """A process with a session that seals; a seal in a transaction holds its locks until the end."""
    client = Client(product.info.get_parameters() | {"password": product.info.password})
    try:
        yield client
    finally:
        if client.process.poll() is None:
            client.close()
        for pipe in (client.process.stdin, client.process.stdout):
            assert pipe is not None
            pipe.close()


SEAL = f"select kos.seal('{ONE}')"


@pytest.mark.parametrize("point", [(), ("begin",), ("begin", SEAL), ("begin", SEAL, "commit")], ids=len)
def test_a_sealer_that_is_killed_loses_nothing(
    store: Store, place: Place, product: Connection, point: tuple[str, ...]
) -> None:
    put(product, 1)
    with sealer(product) as first:
        first.send(*point)
        assert first.answers(30.0) == ["ok"]
        put(product, 2)
        first.process.kill()
        first.process.wait()
    put(product, 3)
    with store.operator(place) as operator:
        assert keys(all_events(operator)) == ["1", "2", "3"]


@pytest.mark.parametrize("point", [("begin",), ("begin", SEAL), ("begin", SEAL, "commit")], ids=len)
def test_a_sealer_that_is_frozen_loses_nothing(
    store: Store, place: Place, product: Connection, point: tuple[str, ...]
) -> None:
    put(product, 1)
    with sealer(product) as frozen, sealer(product) as other, store.operator(place) as operator:
        frozen.send(*point)
        assert frozen.answers(30.0) == ["ok"]
        frozen.freeze()
        put(product, 2)
        other.send(SEAL)
        if point == ("begin", SEAL):
            until(lambda: blocked(product, other.pid))
            assert other.answers(0.0) == []
        else:
            assert other.answers(30.0) == ["ok"]
        frozen.wake()
        frozen.send("commit", SEAL)
        assert frozen.answers(30.0) == ["ok"]
        other.answers(30.0)
        put(product, 3)
        assert keys(all_events(operator)) == ["1", "2", "3"]


def blocked(connection: Connection, pid: int) -> bool:
    return connection.execute("select cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone() == (True,)


@pytest.mark.long
def test_a_huge_transaction_delays_no_other_tenant(store: Store, place: Place, product: Connection) -> None:
    product.execute(
        "insert into public.firsts (tenant, id, stamp) select %s, g, nextval('public.stamps')"
        " from generate_series(1, 100000) g", (ONE,),
    )  # fmt: skip
    put(product, 1, OTHER)
    with sealer(product) as first, store.operator(place) as operator:
        operator.execute("select kos.keep_log()")  # as a worker does before it seals
        first.send("begin", SEAL)
        sealing = "select from pg_locks where pid = %s and locktype = 'advisory' and granted"
        until(lambda: product.execute(sealing, (first.pid,)).rowcount > 0)
        operator.execute("set lock_timeout = '10s'")  # a failure, where it would wait for ever
        assert seal(operator, OTHER) == 1
        assert operator.execute("select from kos.seals where tenant_id = %s", (ONE,)).rowcount == 0
        first.send("commit")
        assert first.answers(120.0) == ["ok", "ok"]
        assert len(all_events(operator)) == 100_000
