"""Feeds as plain SQL functions: whole transactions, cursors that move with the effect, two consumers, deaths."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import psycopg
import pytest
from fence_client import Client
from logged_table import ACME, BETA, Connection, log, make, seal

from fix_exports import until

NEXT = "select position, key[2], transaction::text, ends_transaction, leaf from kos.feed_next(%s, %s, %s)"
DONE = "select kos.feed_done(%s, %s, %s, %s, %s)"
CURSOR = "select position from kos.feed_cursor('copy', %s)"
Row = tuple[Any, ...]


@pytest.fixture
def things(superuser: Connection) -> Connection:
    """A logged table, its rows by tenant and number, and a copy that consumers make of it."""
    make(superuser, "create table things (tenant_id uuid, id int, primary key (tenant_id, id))")
    log(superuser)
    superuser.execute("create table copied (tenant_id uuid, position bigint, id text)")
    superuser.execute("grant all on copied to kos_operator, kos_app")
    return superuser


def put(connection: Connection, first: int, count: int = 1, tenant: str = ACME) -> None:
    connection.execute(
        "insert into things select %s, g from generate_series(%s::int, %s) g", (tenant, first, first + count - 1)
    )


@contextmanager
def another(connection: Connection) -> Iterator[Connection]:
    parameters = connection.info.get_parameters() | {"password": connection.info.password}
    with psycopg.connect(**parameters, autocommit=True) as other:
        yield other


def take(connection: Connection, at_most: int = 1000, feed: str = "copy", tenant: str = ACME) -> list[Row]:
    return connection.execute(NEXT, (feed, tenant, at_most)).fetchall()


def done(connection: Connection, at: int, rows: list[Row], feed: str = "copy", tenant: str = ACME) -> None:
    connection.execute(DONE, (feed, tenant, at, rows[-1][0], rows[-1][4]))


def refused(connection: Connection, query: str, values: tuple[Any, ...]) -> str | None:
    with pytest.raises(psycopg.Error) as caught:
        connection.execute(query.encode(), values)
    return caught.value.sqlstate


@pytest.mark.parametrize("at_most", [None, 1, 2, 3, 7, 1000])
def test_batches_are_whole_transactions_however_late_they_commit(things: Connection, at_most: int) -> None:
    with another(things) as late:
        late.execute("begin")
        put(late, 100, 5)
        for first, count in ((1, 1), (2, 3), (5, 2)):
            put(things, first, count)
        with things.transaction(force_rollback=True):
            put(things, 200)
        seal(things)
        things.execute("set role kos_operator")
        batches = list(consume(things, at_most))
        late.execute("commit")
        things.execute("reset role")
        put(things, 7)
        seal(things)
        batches += consume(things, at_most)
    rows = [row for batch in batches for row in batch]
    assert [int(row[1]) for row in rows] == [*range(1, 7), *range(100, 105), 7]
    assert [row[0] for row in rows] == list(range(1, 13))
    for batch in batches:
        transactions = [len(list(group)) for _, group in groupby(batch, lambda row: row[2])]
        assert batch[-1][3]
        assert len(batch) <= (at_most or 1) or len(transactions) == 1
    if at_most in (3, 7):  # and as many as fit
        assert [len(batch) for batch in batches] == {3: [1, 3, 2, 5, 1], 7: [6, 6]}[at_most]


def consume(connection: Connection, at_most: int) -> Iterator[list[Row]]:
    """Until nothing is left."""
    while rows := take(connection, at_most):
        (at,) = connection.execute(CURSOR, (ACME,)).fetchone() or (None,)
        done(connection, at, rows)
        yield rows


def test_a_cursor_moves_with_the_effect_and_not_without(things: Connection) -> None:
    put(things, 1, 3)
    seal(things)
    with things.transaction(force_rollback=True):
        done(things, 0, take(things))
    rows = take(things)
    assert [row[0] for row in rows] == [1, 2, 3]
    assert refused(things, DONE, ("copy", ACME, 0, 2, rows[1][4])) == "KS027"
    assert refused(things, DONE, ("copy", ACME, 0, 3, rows[1][4])) == "KS021"
    assert refused(things, DONE, ("copy", ACME, 0, 3, None)) == "KS021"
    assert refused(things, DONE, ("copy", ACME, 0, 4, rows[2][4])) == "KS021"
    assert refused(things, DONE, ("copy", ACME, 3, 3, rows[2][4])) == "KS026"
    done(things, 0, rows)
    assert refused(things, DONE, ("copy", ACME, 0, 3, rows[2][4])) == "KS026"
    assert take(things) == []
    assert len(take(things, feed="another")) == 3


def test_a_cursor_is_put_anywhere_between_transactions(things: Connection) -> None:
    put(things, 1, 3)
    put(things, 4, 2)
    seal(things)
    rows = take(things)
    done(things, 0, rows)
    seek = "select kos.feed_seek('copy', %s, %s, %s)"
    things.execute(seek, (ACME, 3, None))
    assert take(things) == rows[3:]
    things.execute(seek, (ACME, 0, None))
    assert take(things) == rows
    things.execute(seek, (ACME, 3, rows[2][4]))
    assert take(things) == rows[3:]
    assert refused(things, seek, (ACME, 3, rows[1][4])) == "KS021"
    assert refused(things, seek, (ACME, 6, rows[1][4])) == "KS021"
    assert refused(things, seek, (ACME, 2, None)) == "KS027"
    assert refused(things, seek, (ACME, 6, None)) == "KS027"
    assert refused(things, seek, (ACME, -1, None)) == "KS027"
    assert refused(things, "select kos.feed_seek('Not a name', %s, 0)", (ACME,)) == "23514"
    assert things.execute("select kos.feed_drop('copy')").fetchone() == (1,)
    assert take(things) == rows


@pytest.mark.parametrize("begun", [False, True])
def test_of_two_consumers_of_one_name_one_moves_it(things: Connection, begun: bool) -> None:
    put(things, 1)
    seal(things)
    if begun:
        done(things, 0, take(things))
        put(things, 2)
        seal(things)
    with another(things) as first:
        at, rows = int(begun), take(things)
        first.execute("begin")
        done(first, at, rows)
        parameters = things.info.get_parameters() | {"password": things.info.password}
        second = Client(parameters)
        statement = f"select kos.feed_done('copy', '{ACME}', {at}, {at + 1}, '\\x{rows[0][4].hex()}')"
        second.send(statement)
        until(lambda: blocked(things, second.pid))
        first.execute("commit")
        assert second.answers(30.0) == ["KS026"]
        second.close()
    assert take(things) == []


def blocked(connection: Connection, pid: int) -> bool:
    return connection.execute("select cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone() == (True,)


COPY = f"insert into copied select '{ACME}', position, key[2] from kos.feed_next('copy', '{ACME}', 3)"
SAY = (
    "select kos.feed_done('copy', tenant_id, 0, position, leaf) from kos.knowledge_events"
    f" where tenant_id = '{ACME}' and position = 3"
)


@pytest.mark.parametrize("died_after", [("begin", COPY), ("begin", COPY, SAY), ("begin", COPY, SAY, "commit")], ids=len)
def test_a_consumer_that_is_killed_in_its_transaction_doubles_and_loses_nothing(
    things: Connection, died_after: tuple[str, ...]
) -> None:
    for number in range(1, 8):
        put(things, number)
    seal(things)
    client = Client(things.info.get_parameters() | {"password": things.info.password})
    client.send(*died_after)
    assert client.answers(30.0) == ["ok"]
    client.process.kill()
    client.close()
    lives = "select from pg_stat_activity where pid = %s"
    until(lambda: things.execute(lives, (client.pid,)).rowcount == 0)
    for rows in consume(things, 3):
        for row in rows:
            things.execute("insert into copied values (%s, %s, %s)", (ACME, row[0], row[1]))
    found = things.execute("select position, id::int from copied order by 1").fetchall()
    assert found == [(number, number) for number in range(1, 8)]


def test_an_application_has_the_cursors_of_its_tenant_only(things: Connection) -> None:
    for tenant in (ACME, BETA):
        put(things, 1, tenant=tenant)
        seal(things)
        done(things, 0, take(things, tenant=tenant), tenant=tenant)
        put(things, 2, tenant=tenant)
    seal(things)
    (of_beta,) = take(things, tenant=BETA)
    things.execute("begin")
    things.execute("set local role kos_app")
    assert things.execute("select set_config('kos.tenant_id', %s, true)", (ACME,)).fetchone() == (ACME,)
    (row,) = take(things)
    done(things, 1, [row])
    assert take(things, tenant=BETA) == []
    assert things.execute("select position from kos.feed_cursors").fetchall() == [(2,)]
    assert things.execute("select kos.feed_drop('copy', %s)", (BETA,)).fetchone() == (0,)
    for attempt, code in (
        ("select kos.feed_seek('copy', %(beta)s, 0)", "42501"),
        ("select kos.feed_done('copy', %(beta)s, 1, 2, %(leaf)s)", "KS021"),
        ("select kos.feed_done('copy', %(beta)s, 0, 0, null)", "42501"),
        ("select * from kos.feeds()", "42501"),
        ("select * from kos.feed_waiting('copy')", "42501"),
    ):
        things.execute("savepoint here")
        with pytest.raises(psycopg.Error) as caught:
            things.execute(attempt.encode(), {"beta": BETA, "leaf": of_beta[4]})
        assert caught.value.sqlstate == code, attempt
        things.execute("rollback to savepoint here")
    assert things.execute("select kos.feed_drop('copy')").fetchone() == (1,)
    things.execute("commit")
    assert take(things, tenant=BETA) == [of_beta]


def test_what_waits_for_a_feed(things: Connection) -> None:
    put(things, 1)
    put(things, 1, 3, tenant=BETA)
    seal(things)
    done(things, 0, take(things, 1))
    things.execute("set role kos_operator")
    waiting = "select tenant_id::text, position, head, since is not null from kos.feed_waiting(%s, %s)"
    assert things.execute(waiting, ("copy", 10)).fetchall() == [(BETA, 0, 3, True)]
    assert things.execute(waiting, ("new", 10)).fetchall() == [(ACME, 0, 1, True), (BETA, 0, 3, True)]
    assert things.execute(waiting, ("new", 1)).fetchall() == [(ACME, 0, 1, True)]
    things.execute("select kos.feed_seek('copy', %s, 0)", (BETA,))
    feeds = "select feed, tenant_id::text, position, head, since is null from kos.feeds()"
    assert things.execute(feeds).fetchall() == [("copy", ACME, 1, 1, True), ("copy", BETA, 0, 3, False)]


def test_the_cursors_of_a_tenant_go_with_its_log(things: Connection) -> None:
    put(things, 1)
    seal(things)
    done(things, 0, take(things))
    things.execute("select kos.forget_log(%s)", (ACME,))
    put(things, 2)
    seal(things)
    assert [row[1] for row in take(things)] == ["2"]


def test_each_event_is_described_as_the_log_describes_it(things: Connection) -> None:
    put(things, 1, 2)
    seal(things)
    described = "select to_jsonb(f)::text from {} f"
    one = things.execute(described.format("kos.feed_next('copy', %s)").encode(), (ACME,)).fetchall()
    assert one == things.execute(described.format("kos.read_feed(%s, 0, null, 10)").encode(), (ACME,)).fetchall()
    assert json.loads(one[0][0])["event_data"] == {"tenant_id": ACME, "id": "1"}
