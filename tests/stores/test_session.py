"""Tenant sessions: synchronous and asynchronous, held to the same expectations."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_twins import Twin
from kos import errors
from kos.tenancy import AsyncStore, Session, Store, Tenant, create_tenant, fence
from kos.tenancy.placement import place_of

INSERT = "insert into atoms (atom_type, name) values ('T', %s)"


def parts(statement: str | tuple[str, Any]) -> tuple[str, Any]:
    """A statement and its parameters."""
    return (statement, None) if isinstance(statement, str) else statement


class Sync:
    """Runs a list of statements in one session of the synchronous store."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def run(self, tenant: str, *statements: str | tuple[str, Any], **entry: Any) -> list[Any]:
        with self.store.tenant(tenant, **entry) as session:
            cursors = [session.execute(*parts(statement)) for statement in statements]
            return [cursor.fetchall() if cursor.description else None for cursor in cursors]


class Async(Sync):
    """The same through the asynchronous store."""

    def run(self, tenant: str, *statements: str | tuple[str, Any], **entry: Any) -> list[Any]:
        async def work() -> list[Any]:
            async with AsyncStore(self.store.topology) as store, store.tenant(tenant, **entry) as session:
                cursors = [await session.execute(*parts(statement)) for statement in statements]
                return [await cursor.fetchall() if cursor.description else None for cursor in cursors]

        return asyncio.run(work())


@pytest.fixture(params=[Sync, Async])
def runner(request: pytest.FixtureRequest, store: Store) -> Sync:
    return request.param(store)


@pytest.fixture
def tiers(store: Store) -> list[Tenant]:
    return [create_tenant(store, name, name) for name in ("row", "schema", "database")]


def test_each_tier_keeps_its_rows_apart(runner: Sync, tiers: list[Tenant]) -> None:
    create_tenant(runner.store, "other")
    for tenant in (*tiers, None):
        name = tenant.name if tenant else "other"
        runner.run(name, f"insert into atoms (atom_type, name) values ('T', '{name}')")
    for name in ("row", "schema", "database", "other"):
        assert runner.run(name, "select name from atoms") == [[(name,)]]


def test_identity_is_seen_inside_and_gone_after(runner: Sync, tenant: Tenant) -> None:
    identity = runner.run(
        "acme",
        "select kos.current_tenant_id(), kos.current_persona(), kos.current_user_id(), "
        "current_setting('kos.request_id'), current_setting('kos.address'), current_setting('kos.agent')",
        persona="developer",
        user=7,
        request="r-1",
        address="2001:db8::1",
        agent="curl",
    )
    assert identity == [[(tenant.id, "developer", "7", "r-1", "2001:db8::1", "curl")]]
    assert runner.run("acme", "select kos.current_persona(), kos.current_user_id()") == [[(None, None)]]


def test_a_failed_block_leaves_nothing(runner: Sync, tenant: Tenant) -> None:
    with pytest.raises(psycopg.errors.NotNullViolation):
        runner.run(
            "acme", "insert into atoms (atom_type, name) values ('T', 'x')", "insert into atoms (name) values ('y')"
        )
    assert runner.run("acme", "select count(*) from atoms") == [[(0,)]]


def keep_an_error(session: Session) -> None:
    session.execute(INSERT, ("x",))
    with suppress(psycopg.errors.DivisionByZero):
        session.execute("select 1/0")


def keep_an_error_in_a_savepoint(session: Session) -> None:
    session.execute(INSERT, ("x",))
    with suppress(psycopg.errors.DivisionByZero), session.connection.transaction():
        session.execute("select 1/0")


def test_a_kept_error_is_not_taken_for_a_commit(store: Store, tenant: Tenant) -> None:
    """PostgreSQL answers the COMMIT of a failed transaction with ROLLBACK, and no error."""
    with pytest.raises(errors.TransactionFailed), store.tenant("acme") as session:
        keep_an_error(session)
    with store.tenant("acme") as session:
        assert session.execute("select count(*) from atoms").fetchone() == (0,)
        keep_an_error_in_a_savepoint(session)
    with store.tenant("acme") as session:
        assert session.execute("select count(*) from atoms").fetchone() == (1,)


def test_an_unknown_tenant_is_told_at_once(runner: Sync, tenant: Tenant) -> None:
    with pytest.raises(errors.UnknownTenant) as caught:
        runner.run("nobody", "select 1")
    assert caught.value.tenant == "nobody"
    assert caught.value.next_command == "kos tenant list"


def test_a_moved_placement_is_looked_up_again(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        session.execute(INSERT, ("before",))
    fence.raise_epoch(store, "acme")
    with store.tenant("acme") as session:
        assert session.tenant.epoch == 1, "the store believes in the old placement"
        session.execute(INSERT, ("after",))
        assert session.tenant.epoch == 2
    with store.tenant("acme") as session:
        assert session.execute("select name from atoms order by name").fetchall() == [("after",), ("before",)]


def test_a_moved_placement_is_looked_up_again_async(store: Store, tenant: Tenant) -> None:
    async def work() -> int:
        async with AsyncStore(store.topology) as opened:
            async with opened.tenant("acme") as session:
                await session.execute("select 1")
            await asyncio.to_thread(fence.raise_epoch, store, "acme")
            async with opened.tenant("acme") as session:
                await session.execute(INSERT, ("after",))
                return session.tenant.epoch

    assert asyncio.run(work()) == 2


def test_a_fence_that_is_behind_the_directory_is_refused(store: Store, tenant: Tenant) -> None:
    """As a database does that was restored from an old backup."""
    with store.operator() as operator:
        operator.execute("update kos.placements set epoch = 9")
    with pytest.raises(errors.PlacementMoved) as caught, store.tenant("acme") as session:
        session.execute("select 1")
    assert caught.value.retryable


def test_a_tenant_that_is_served_elsewhere_is_refused(store: Store, tenant: Tenant) -> None:
    with store.operator() as operator:
        operator.execute("update kos.fence set serving = false")
    with pytest.raises(errors.PlacementMoved, match="came for 1"), store.tenant("acme") as session:
        session.execute("select 1")


def test_the_first_statement_may_be_several_commands(runner: Sync, tenant: Tenant) -> None:
    assert runner.run("acme", "select 1; select 2") == [[(1,)]]


def test_a_real_syntax_error_is_the_callers(runner: Sync, tenant: Tenant) -> None:
    with pytest.raises(psycopg.errors.SyntaxError, match="selct"):
        runner.run("acme", "selct 1")


@pytest.mark.parametrize(
    ("query", "params", "problem"),
    [
        ("select %s, %s", (1,), "2 placeholders but 1 parameters"),
        ("select %s", (object(),), "cannot adapt type 'object'"),
        ("select %(here)s", {"there": 1}, "here"),
    ],
)
def test_a_first_statement_that_the_driver_refuses(
    runner: Sync, tenant: Tenant, query: str, params: Any, problem: str
) -> None:
    with pytest.raises(psycopg.ProgrammingError, match=problem):
        runner.run("acme", (query, params))
    runner.run("acme", "insert into atoms (atom_type, name) values ('T', 'after')")


def test_the_connection_outlives_a_statement_that_the_driver_refuses(store: Store, tenant: Tenant) -> None:
    backend = "select pg_backend_pid()"
    with store.tenant("acme") as session:
        before = session.execute(backend).fetchone()
    with pytest.raises(psycopg.ProgrammingError), store.tenant("acme") as session:
        session.execute("select %s", (object(),))
    with store.tenant("acme") as session:
        assert session.execute(backend).fetchone() == before


@pytest.mark.parametrize("isolation", ["read committed", "repeatable read", "serializable"])
def test_isolation_and_read_only_are_of_the_transaction(runner: Sync, tenant: Tenant, isolation: str) -> None:
    shown = runner.run(
        "acme", "show transaction_isolation", "show transaction_read_only", isolation=isolation, read_only=True
    )
    assert shown == [[(isolation,)], [("on",)]]
    assert runner.run("acme", "show transaction_isolation", "show transaction_read_only") == [
        [("read committed",)],
        [("off",)],
    ]


def test_the_connection_is_entered(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        with session.connection.cursor().copy("copy (select kos.current_tenant_id()) to stdout") as copy:
            assert b"".join(copy).decode().strip() == str(tenant.id)
        assert session.connection.info.transaction_status == psycopg.pq.TransactionStatus.INTRANS


def test_a_session_is_used_inside_its_block_only(store: Store, tenant: Tenant) -> None:
    session = store.tenant("acme")
    with pytest.raises(errors.SessionClosed):
        session.execute("select 1")
    with session:
        session.execute("select 1")
    with pytest.raises(errors.SessionClosed):
        session.execute("select 1")


def test_entering_costs_no_round_trip(store: Store, tenant: Tenant, tmp_path: Path) -> None:
    """Begin, entry and first statement travel together: libpq's trace has one Sync, after which the server answers."""
    with store.tenant("acme") as session:
        connection = session.connection
    with (tmp_path / "trace").open("w+") as trace:
        connection.pgconn.trace(trace.fileno())
        with store.tenant("acme") as session:
            session.execute("select 1")
            connection.pgconn.untrace()
        trace.seek(0)
        sent = [line.split("\t")[3].strip() for line in trace if line.split("\t")[1] == "F"]
    assert sent.count("Sync") == 1
    assert "Query" not in sent
    assert sent.count("Execute") == 3, "begin, entry, statement"


def test_a_connection_that_died_in_the_pool_is_replaced(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        pid = session.execute("select pg_backend_pid()").fetchone()[0]
    with store.operator() as operator:
        assert operator.execute("select pg_terminate_backend(%s)", (pid,)).fetchone() == (True,)
        while operator.execute("select count(*) from pg_stat_activity where pid = %s", (pid,)).fetchone() != (0,):
            pass
    with store.tenant("acme") as session:
        assert session.execute("select pg_backend_pid()").fetchone()[0] != pid


def test_a_connection_lost_in_the_commit_is_said_to_be_unknown(store: Store, tenant: Tenant) -> None:
    with pytest.raises(errors.OutcomeUnknown), store.tenant("acme") as session:
        session.execute(INSERT, ("x",))
        pid = session.connection.info.backend_pid
        with store.operator() as operator:
            operator.execute("select pg_terminate_backend(%s)", (pid,))
            while operator.execute("select count(*) from pg_stat_activity where pid = %s", (pid,)).fetchone() != (0,):
                pass


def test_no_tenant_no_rows(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        session.execute(INSERT, ("x",))
    statements: list[Callable[[Any], Any]] = [
        lambda c: c.execute("select * from knowledge.atoms"),
        lambda c: c.execute("insert into knowledge.atoms (atom_type, name) values ('T', 'y')"),
        lambda c: c.execute("update knowledge.atoms set name = 'z'"),
        lambda c: c.execute("delete from knowledge.atoms"),
    ]
    for statement in statements:
        with store.control() as connection, pytest.raises(psycopg.Error) as caught, connection.transaction():
            statement(connection)
        assert caught.value.sqlstate == "KS001"


def test_the_server_ends_a_transaction_that_lasts_too_long(store: Store, tenant: Tenant) -> None:
    with (
        pytest.raises((psycopg.OperationalError, psycopg.errors.QueryCanceled)),
        store.tenant("acme", timeout=0.2) as session,
    ):
        session.execute("select pg_sleep(30)")


def test_sessions_of_many_threads_never_mix(store: Store) -> None:
    names = [f"t{number}" for number in range(4)]
    tenants = {name: create_tenant(store, name, "schema" if number % 2 else "row") for number, name in enumerate(names)}
    wrong: list[object] = []

    def work(name: str) -> None:
        for _ in range(50):
            with store.tenant(name) as session:
                row = session.execute("select kos.current_tenant_id(), current_schema()").fetchone()
            if row != (tenants[name].id, tenants[name].schema):
                wrong.append((name, row))

    threads = [threading.Thread(target=work, args=(name,)) for name in names * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_operator_has_every_tenant(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        session.execute(INSERT, ("x",))
    with store.operator(place_of(tenant)) as operator:
        assert operator.execute("select count(*) from knowledge.atoms").fetchone() == (1,)


def test_what_a_server_can_not_do_is_told_as_it_is(twin: Twin, tenant: Tenant) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported):
        twin.run("acme", "select 1", "copy atoms (atom_type, name) from stdin")
