"""The fence: nobody who comes with an old epoch ever writes; and how it is closed."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fix_twins import Twin
from kos import errors
from kos.tenancy import Store, Tenant, create_tenant, fence, find_tenant
from kos.tenancy.fence import Patience
from kos.tenancy.placement import Place
from kos.tenancy.tenant import QUERIES
from kos.topology import postgres as opening

CLIENT = Path(__file__).with_name("fence_client.py")
ISOLATIONS = ("read committed", "repeatable read", "serializable")
WRITE = (
    "insert into {schema}.atoms (atom_type, name, number_value) "
    "values ('T', 'x', current_setting('kos.epoch')::numeric)"
)


class Client:
    """A client process. `send` queues statements; a frozen process reads them when it is woken."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        command = [sys.executable, str(CLIENT), json.dumps(parameters)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.waiting = 0
        self.frozen = False

    def send(self, *statements: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(statements) + "\n")
        self.process.stdin.flush()
        self.waiting += 1

    def answers(self, seconds: float) -> list[str]:
        """The answers that arrive within some time; stops waiting when none is outstanding."""
        assert self.process.stdout is not None
        found: list[str] = []
        deadline = time.monotonic() + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while self.waiting and selector.select(max(0.0, deadline - time.monotonic())):
                found.append(self.process.stdout.readline().strip())
                self.waiting -= 1
        return found

    def freeze(self) -> None:
        os.kill(self.process.pid, signal.SIGSTOP)
        self.frozen = True

    def wake(self) -> None:
        os.kill(self.process.pid, signal.SIGCONT)
        self.frozen = False

    def close(self) -> None:
        self.wake()
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(timeout=30)
        self.process.stdout.close()


@pytest.fixture
def clients(store: Store, tenant: Tenant) -> Iterator[list[Client]]:
    shard = store.topology.control
    parameters = opening.conninfo(shard.primary, shard.app)
    started = [Client(parameters) for _ in range(3)]
    yield started
    for client in started:
        client.close()


# What a client does with the epoch that it believes in. The settings of `forge` are what an application that never
# calls kos.enter could set by hand.
STEPS = {
    "begin": lambda tenant, epoch, isolation: [f"begin isolation level {isolation}", "select 1"],
    "enter": lambda tenant, epoch, isolation: [f"select kos.enter('{tenant.id}', {epoch})"],
    "forge": lambda tenant, epoch, isolation: [
        f"select set_config('kos.tenant_id', '{tenant.id}', true), set_config('kos.epoch', '{epoch}', true)"
    ],
    "write": lambda tenant, epoch, isolation: [WRITE.format(schema=tenant.schema)],
    "commit": lambda tenant, epoch, isolation: ["commit"],
}

action = st.one_of(
    st.tuples(st.sampled_from([*STEPS, "freeze", "wake"]), st.integers(0, 2)),
    st.tuples(st.just("raise"), st.just(0)),
)


@settings(
    max_examples=int(os.environ.get("KOS_FENCE_EXAMPLES", "25")),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(action, min_size=4, max_size=25), st.lists(st.sampled_from(ISOLATIONS), min_size=3, max_size=3))
def test_no_write_of_an_old_epoch_is_ever_accepted(
    store: Store, tenant: Tenant, clients: list[Client], actions: list[tuple[str, int]], isolations: list[str]
) -> None:
    """Whatever clients do, and whenever they are frozen and woken: the rows of an epoch are, at the end, the rows that
    the cutover which ended that epoch has seen."""
    believed = _begin_anew(store, tenant, clients)
    seen: dict[int, int] = {}
    for name, number in actions:
        client = clients[number]
        if name == "raise":
            seen |= _raise(store, tenant)
        elif name == "freeze" and not client.frozen:
            client.freeze()
        elif name == "wake" and client.frozen:
            client.wake()
            client.answers(0.02)
        elif name in STEPS:
            client.send(*STEPS[name](tenant, believed, isolations[number]))
            client.answers(0.02)
    for client in clients:
        client.wake()
        client.send("commit")
        client.answers(10.0)
    with store.operator() as operator:
        found = dict(operator.execute("select number_value, count(*) from knowledge.atoms group by 1").fetchall())
    assert {epoch: found.get(epoch, 0) for epoch in seen} == seen


def _begin_anew(store: Store, tenant: Tenant, clients: list[Client]) -> int:
    for client in clients:
        client.wake()
        client.send("rollback")
        client.answers(10.0)
        assert client.waiting == 0
    with store.operator() as operator, operator.transaction():
        operator.execute("select kos.enter('acme')")
        operator.execute("delete from knowledge.atoms")
        row = operator.execute("select epoch from kos.fence").fetchone()
    assert row is not None
    return int(row[0])


def _raise(store: Store, tenant: Tenant) -> dict[int, int]:
    """A cutover by hand: the epoch that ends, and how many rows it has. Nothing where somebody stays inside."""
    with store.operator() as operator:
        try:
            with operator.transaction():
                operator.execute("set local lock_timeout = '20ms'")
                row = operator.execute("select kos.advance_epoch(%s)", (tenant.id,)).fetchone()
                assert row is not None
                ended = int(row[0]) - 1
                count = operator.execute(
                    "select count(*) from knowledge.atoms where number_value = %s", (ended,)
                ).fetchone()
        except psycopg.errors.LockNotAvailable:
            return {}
    assert count is not None
    return {ended: count[0]}


@pytest.mark.parametrize("isolation", ISOLATIONS)
@pytest.mark.parametrize("entry", ["enter", "forge"])
def test_who_waited_during_a_cutover_is_refused(
    store: Store, tenant: Tenant, clients: list[Client], isolation: str, entry: str
) -> None:
    """The dangerous moment: a session asks for the lock while the cutover has it, then goes on with an old snapshot."""
    client = clients[0]
    with store.operator() as operator:
        with operator.transaction():
            operator.execute("select kos.advance_epoch(%s)", (tenant.id,))
            client.send(*(STEPS["begin"](tenant, 1, isolation)))
            assert client.answers(5.0) == ["ok"]
            client.send(*STEPS[entry](tenant, 1, isolation), *STEPS["write"](tenant, 1, isolation))
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


class Killed(BaseException):
    """Not an Exception: as after SIGKILL, no clean-up runs."""


class Dying(Store):
    """Is killed where the fence of a tenant's own database is raised and the directory was to follow."""

    def operator(self, place: Place | None = None) -> Any:
        if place is None:
            raise Killed
        return super().operator(place)


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
            connection.execute(WRITE.format(schema=tenant.schema))
            assert _refusal(connection, "select kos.enter('other')") == "KS004"
        with connection.transaction(), connection.transaction(force_rollback=True):
            connection.execute("select kos.enter('acme')")
        with connection.transaction():
            connection.execute("select kos.enter('other')")


def _refusal(connection: psycopg.Connection[Any], statement: str) -> str | None:
    with pytest.raises(psycopg.DatabaseError) as caught, connection.transaction():
        connection.execute(statement)
    return caught.value.sqlstate


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
