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

from fix_twins import Twin
from kos import errors
from kos.tenancy import Store, Tenant, create_tenant, fence, find_tenant
from kos.tenancy.fence import Patience
from kos.tenancy.placement import Place
from kos.tenancy.tenant import QUERIES
from kos.topology import postgres as opening
from waiting import ADVISORY, waiters


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
            _wait_until(lambda: waiters(operator, ADVISORY) == 1)
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


class Killed(BaseException):
    """Not an Exception: as after SIGKILL, no clean-up runs."""


class Dying(Store):
    """Is killed where the fence of a tenant's own database is raised and the directory was to follow."""

    def operator(self, place: Place | None = None) -> Any:
        if place is None:
            raise Killed
        return super().operator(place)


@pytest.mark.long
def test_a_cutover_that_was_killed_half_way_locks_nobody_out(twin: Twin, store: Store) -> None:
    """The directory of a tenant with a database of its own stays behind: sessions learn the epoch from the fence."""
    create_tenant(store, "own", "database")
    twin.run("own", "select 1")
    with Dying(store.topology) as dying, pytest.raises(Killed):
        fence.raise_epoch(dying, "own")
    assert find_tenant(store, "own").epoch == 1, "the directory is behind"
    for _ in range(2):
        assert twin.run("own", "select current_setting('kos.epoch')") == [[("2",)]]
    session = twin.enter("own")
    assert session.tenant.epoch == 2, "it is remembered"
    twin.leave(session)
    assert fence.raise_epoch(store, "own").epoch == 3
    assert find_tenant(store, "own").epoch == 3, "the next cutover mends the directory"
    assert twin.run("own", "select current_setting('kos.epoch')") == [[("3",)]]


def test_the_directory_never_goes_back(store: Store, tenant: Tenant) -> None:
    """Of two cutovers the slower one comes last to the directory."""
    own = create_tenant(store, "own", "database")
    with store.operator() as control:
        control.execute(QUERIES.placement_epoch, {"id": own.id, "epoch": 3})
        control.execute(QUERIES.placement_epoch, {"id": own.id, "epoch": 2})
    assert find_tenant(store, "own").epoch == 3


LEFT = "select set_config('kos.tenant_id', %s, false), set_config('kos.epoch', '1', false)"


@pytest.mark.parametrize("left", ["acme's", "of no tenant", "no id"])
def test_an_identity_that_was_left_behind_keeps_nobody_out(store: Store, tenant: Tenant, left: str) -> None:
    """It has session scope, so it is no entry of this transaction; what this transaction has entered still is."""
    other = create_tenant(store, "other")
    values = {"acme's": str(tenant.id), "of no tenant": "01900000-0000-7000-8000-000000000001", "no id": "acme"}
    with store.control() as connection:
        connection.execute(LEFT, (values[left],))
        with connection.transaction():
            connection.execute("select kos.enter('other')")
            assert connection.execute("select kos.current_tenant_id()").fetchone() == (other.id,)
            assert _refusal(connection, "select kos.enter('acme')") == "KS004"
            connection.execute("select kos.enter('other')")


def test_an_identity_that_was_left_behind_and_used_is_kept_to(store: Store, tenant: Tenant) -> None:
    """What has written with it holds the fence of its tenant, and enters no other in the same transaction."""
    create_tenant(store, "other")
    with store.control() as connection:
        connection.execute(LEFT, (str(tenant.id),))
        with connection.transaction():
            connection.execute(INSERT.format(id=tenant.id, schema=tenant.schema, epoch=1))
            assert _refusal(connection, "select kos.enter('other')") == "KS004"
        with connection.transaction(), connection.transaction(force_rollback=True):
            connection.execute("select kos.enter('acme')")
        with connection.transaction():
            connection.execute("select kos.enter('other')")


def _refusal(connection: psycopg.Connection[Any], statement: str) -> str | None:
    with pytest.raises(psycopg.DatabaseError) as caught, connection.transaction():
        connection.execute(statement)
    return caught.value.sqlstate


def _try_to_close(store: Store, attempts: list[int]) -> None:
    with pytest.raises(errors.TenantBusy) as caught:
        fence.raise_epoch(store, "acme", Patience(limit=1.0))
    attempts.append(caught.value.attempts)


def _wait_until(condition: Any, seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "the condition did not come true in time"
