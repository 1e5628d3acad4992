"""The fence: nobody who comes with an old epoch ever writes; and how it is closed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from fence_client import Client
from fence_history import ENTER, FORGE, INSERT, ISOLATIONS

from kos import errors
from kos.tenancy import Store, Tenant, create_tenant, fence
from kos.tenancy.fence import Patience
from kos.topology import postgres as opening


@pytest.fixture
def client(store: Store) -> Iterator[Client]:
    shard = store.topology.control
    started = Client(opening.conninfo(shard.primary, shard.app))
    yield started
    started.close()


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("entry", [ENTER, FORGE], ids=["enter", "forge"])
def test_who_waited_during_a_cutover_is_refused(
    store: Store, tenant: Tenant, client: Client, isolation: str, entry: str
) -> None:
    """The dangerous moment: a session asks for the lock while the cutover has it, then goes on with an old snapshot."""
    known = {"id": tenant.id, "schema": tenant.schema, "epoch": 1}
    with store.operator() as operator:
        with operator.transaction():
            operator.execute("select kos.advance_epoch(%s)", (tenant.id,))
            client.send(f"begin isolation level {isolation}", "select 1")
            assert client.answers(5.0) == ["ok"]
            client.send(entry.format(**known), INSERT.format(**known))
            _wait_until(lambda: _waiters(operator) == 1)
        answers = client.answers(5.0)
        client.send("commit")
        client.answers(5.0)
        assert answers == ["KS003" if isolation == "read committed" else "40001"]
        assert operator.execute("select count(*) from knowledge.atoms").fetchone() == (0,)


def test_closing_waits_for_who_is_inside(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'x')")
        with pytest.raises(errors.TenantBusy) as caught:
            fence.raise_epoch(store, "acme", Patience(limit=0.5))
        assert f"pid {session.connection.info.backend_pid}" in caught.value.holders
    assert fence.raise_epoch(store, "acme").epoch == 2


def test_an_old_holder_stalls_nobody(store: Store, tenant: Tenant) -> None:
    """While a session stays inside, the exclusive lock is not even asked for, so others go in and out."""
    attempts: list[int] = []
    with store.tenant("acme") as session:
        session.execute("select 1")
        closing = threading.Thread(target=_try_to_close, args=(store, attempts))
        closing.start()
        while closing.is_alive():
            with store.tenant("acme") as other:
                other.execute("select 1")
        closing.join()
    with store.operator() as operator:
        assert operator.execute("select epoch from kos.fence").fetchone() == (1,)
    assert attempts == [0], "nobody queues behind a session that stays"


def test_holders_are_ended_where_the_caller_says_so(store: Store, tenant: Tenant) -> None:
    with pytest.raises(psycopg.OperationalError), store.tenant("acme") as session:
        session.execute("select 1")
        closed = fence.raise_epoch(store, "acme", Patience(end_after=0.2, limit=10))
        assert (closed.epoch, closed.ended) == (2, 1)
        session.execute("select 1")


def test_the_guard_refuses_what_no_session_may_do(store: Store, tenant: Tenant) -> None:
    create_tenant(store, "own", "schema")
    with pytest.raises(errors.PlacementMoved, match="in schema tenant_own"), store.tenant("own") as session:
        session.execute("insert into knowledge.atoms (atom_type, name) values ('T', 'x')")
    with store.operator() as operator, operator.transaction():
        operator.execute("select kos.enter('acme')")
        operator.execute("set local role kos_owner")
        with pytest.raises(psycopg.DatabaseError) as caught, operator.transaction():
            operator.execute("truncate knowledge.atoms cascade")
    assert caught.value.sqlstate == "KS005"


@pytest.mark.parametrize(
    "statement",
    [
        "insert into knowledge.atoms (atom_type, name) values ('T', 'y')",
        "update knowledge.atoms set name = 'y'",
        "delete from knowledge.atoms",
        "merge into knowledge.atoms a using (values ('x')) v (name) on a.name = v.name when matched then delete",
        "with gone as (delete from knowledge.atoms returning 1) select count(*) from gone",
    ],
)
def test_every_kind_of_write_passes_the_fence(store: Store, tenant: Tenant, statement: str) -> None:
    """By settings made by hand, with an epoch that is over: the guard alone stands in the way."""
    with store.tenant("acme") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'x')")
    fence.raise_epoch(store, "acme")
    with store.control() as connection, pytest.raises(psycopg.DatabaseError) as caught, connection.transaction():
        connection.execute(
            "select set_config('kos.tenant_id', %s, true), set_config('kos.epoch', '1', true)", (str(tenant.id),)
        )
        connection.execute(statement)
    assert caught.value.sqlstate == "KS003"
    with store.tenant("acme") as session:
        assert session.execute("select name from atoms").fetchall() == [("x",)]


def test_one_transaction_one_tenant(store: Store, tenant: Tenant) -> None:
    create_tenant(store, "other")
    with pytest.raises(errors.AnotherTenantEntered), store.tenant("acme") as session:
        session.execute("select 1")
        session.execute("select kos.enter('other')")


@pytest.mark.parametrize(
    ("call", "sqlstate"), [("''", "KS001"), ("null", "KS001"), ("'nobody'", "KS002"), ("'acme', 9", "KS003")]
)
def test_refusals_have_an_sqlstate_of_their_own(store: Store, tenant: Tenant, call: str, sqlstate: str) -> None:
    with store.control() as connection, pytest.raises(psycopg.DatabaseError) as caught:
        connection.execute(f"select kos.enter({call})")
    assert caught.value.sqlstate == sqlstate


def _waiters(operator: psycopg.Connection[Any]) -> int:
    row = operator.execute("select count(*) from pg_locks where locktype = 'advisory' and not granted").fetchone()
    return int(row[0]) if row else 0


def _try_to_close(store: Store, attempts: list[int]) -> None:
    with pytest.raises(errors.TenantBusy) as caught:
        fence.raise_epoch(store, "acme", Patience(limit=1.0))
    attempts.append(caught.value.attempts)


def _wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
