"""What a pooled connection may have been through: its server ended it, its database is gone, all others are in use,
the store was closed, or the session before has left something in it."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from documents import until
from fix_twins import Twin
from kos import errors
from kos.tenancy import Store, Tenant, create_tenant, find_tenant, leave, list_tenants, placement, remove_tenant
from kos.tenancy.create import plan_tenant
from kos.topology.model import Topology

ATOM = "insert into atoms (atom_type, name) values ('T', '{}')"
OF_THE_APPLICATION = "from pg_stat_activity where usename = 'kos_app' and starts_with(datname, current_database())"


def end_all(store: Store) -> int:
    """The server ends every connection of the application to the databases of this test; how many those were."""
    with store.operator() as operator:
        row = operator.execute(
            f"select count(pg_terminate_backend(pid, 10000)) {OF_THE_APPLICATION}"  # waits until they are gone
        ).fetchone()
    assert row is not None
    return int(row[0])


def how_many(store: Store) -> int:
    with store.operator() as operator:
        row = operator.execute(f"select count(*) {OF_THE_APPLICATION}").fetchone()
    assert row is not None
    return int(row[0])


# the server has ended it

READS = {
    "find": lambda store: store.find("acme", again=True),
    "find_tenant": lambda store: find_tenant(store, "acme"),
    "list_tenants": lambda store: list_tenants(store)[0],
    "plan_tenant": lambda store: plan_tenant(store, "beta", "row", None),
}


@pytest.mark.parametrize("read", READS.values(), ids=READS.keys())
def test_reading_the_directory_survives_ended_connections(store: Store, tenant: Tenant, read: Any) -> None:
    before = read(store)
    assert end_all(store) > 0
    assert read(store) == before


def test_the_directory_is_read_when_every_pooled_connection_was_ended(
    database: Topology, twin_of: Any, store: Store, tenant: Tenant
) -> None:
    twin = twin_of(database, pool_size=3)
    sessions = [twin.enter("acme") for _ in range(3)]
    for session in sessions:
        twin.execute(session, "select 1")
    for session in sessions:
        twin.leave(session)
    assert end_all(store) >= 3
    assert twin.find("acme") == tenant
    assert twin.read_control("select name from kos.tenants") == [[("acme",)]]


def test_a_connection_that_is_lost_while_reading_is_told_by_a_type(twin: Twin, tenant: Tenant) -> None:
    with pytest.raises(errors.StoreUnavailable):
        twin.read_control("select pg_terminate_backend(pg_backend_pid())")
    assert twin.read_control("select 1") == [[(1,)]]


def test_a_control_connection_is_clean_for_the_next(twin: Twin, tenant: Tenant) -> None:
    twin.read_control("select set_config('kos.tenant_id', 'x', false)", "begin", "select 1")
    assert twin.read_control("select current_setting('kos.tenant_id', true)") == [[("",)]]


# its database is gone


@pytest.mark.long
@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "not pooled"])
def test_a_tenant_made_anew_in_another_tier_is_found(twin: Twin, store: Store, pooled: bool) -> None:
    create_tenant(store, "acme", "database")
    if pooled:
        twin.run("acme", ATOM.format("before"))
    else:
        twin.find("acme")
    remove_tenant(store, "acme")
    again = create_tenant(store, "acme", "row")
    twin.run("acme", ATOM.format("after"))
    assert twin.run("acme", "select name, tenant_id from atoms") == [[("after", again.id)]]


@pytest.mark.long
@pytest.mark.parametrize("pooled", [True, False], ids=["pooled", "not pooled"])
def test_a_tenant_whose_database_is_gone_is_unknown(twin: Twin, store: Store, pooled: bool) -> None:
    create_tenant(store, "acme", "database")
    if pooled:
        twin.run("acme", "select 1")
    else:
        twin.find("acme")
    remove_tenant(store, "acme")
    with pytest.raises(errors.UnknownTenant):
        twin.run("acme", "select 1")


def test_a_lost_database_of_the_same_placement_is_told_by_a_type(twin: Twin, store: Store) -> None:
    tenant = create_tenant(store, "acme", "database")
    twin.find("acme")
    with store.operator() as operator:
        operator.execute(f'drop database "{tenant.database}" with (force)')
    with pytest.raises(errors.StoreUnavailable, match="does not exist"):
        twin.run("acme", "select 1")


# all are in use


def test_an_exhausted_pool_is_told_from_a_server_that_is_away(
    twin: Twin, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "POOL_WAIT", 0.2)
    session = twin.enter("acme")
    twin.execute(session, "select 1")
    with pytest.raises(errors.PoolExhausted) as caught:
        twin.run("acme", "select 2")
    assert (caught.value.database, caught.value.size) == (tenant.database, 1)
    assert caught.value.retryable
    assert "pool_size" in caught.value.next_command
    twin.leave(session)
    assert twin.run("acme", "select 3") == [[(3,)]]


def test_a_pool_that_can_not_connect_is_no_exhausted_one(
    twin: Twin, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placement, "POOL_WAIT", 0.2)
    tenant = create_tenant(store, "acme", "database")
    twin.run("acme", "select 1")
    with store.operator() as operator:
        operator.execute(f'drop database "{tenant.database}" with (force)')
    for _ in range(2):  # the dead connection, and then a pool without any
        with pytest.raises(errors.StoreUnavailable, match="does not exist"):
            twin.run("acme", "select 1")


# the store was closed


def test_a_transaction_that_has_begun_may_end_after_the_store_is_closed(
    twin: Twin, store: Store, tenant: Tenant
) -> None:
    session, unused = twin.enter("acme"), twin.enter("acme")
    twin.execute(session, ATOM.format("x"))
    twin.close()
    twin.execute(session, ATOM.format("y"))
    with pytest.raises(errors.StoreClosed):
        twin.execute(unused, "select 1")
    twin.leave(unused)
    twin.leave(session)
    with store.tenant("acme") as after:
        assert after.execute("select count(*) from atoms").fetchone() == (2,)
    store.close()  # only the operator's own connections from here on
    with Store(twin.store.topology) as other:
        until(lambda: how_many(other) == 0)  # no connection outlives its store; a server's end of it takes a moment


def test_a_closed_store_says_so(twin: Twin, tenant: Tenant) -> None:
    twin.run("acme", "select 1")
    twin.close()
    twin.close()
    for use in (
        lambda: twin.run("acme", "select 1"),
        lambda: twin.find("acme"),
        lambda: twin.read_control("select 1"),
        lambda: twin.read_operator("select 1"),
    ):
        with pytest.raises(errors.StoreClosed):
            use()


# the session before has left something in it

PID = "select pg_backend_pid()"


def another(twin: Twin, store: Store) -> Tenant:
    """A tenant that the store knows already: looking it up would clean the connection too."""
    made = create_tenant(store, "other")
    twin.run("other", "select 1")
    return made


@pytest.mark.parametrize(
    "statement",
    [
        "select set_config('kos.tenant_id', '01900000-0000-7000-8000-000000000001', false)",
        "select set_config('kos.tenant_id', '01900000-0000-7000-8000-000000000001', false),"
        " set_config('kos.epoch', '1', false)",
        "select set_config('search_path', 'pg_catalog', false)",
        "set search_path = pg_catalog",
        "set session characteristics as transaction read only",
        "set timezone = 'Asia/Tokyo'",
    ],
)
def test_settings_of_the_session_end_with_it(twin: Twin, store: Store, tenant: Tenant, statement: str) -> None:
    other = another(twin, store)
    ((before,),) = twin.run("acme", "select 1", PID)[1:]
    twin.run("acme", "select 1", statement)
    answers = twin.run("other", ATOM.format("x"), "select kos.current_tenant_id()", "show timezone", PID)
    assert answers[1] == [(other.id,)]
    assert answers[2] != [("Asia/Tokyo",)]
    assert answers[3] == [before], "the connection was handed on, not thrown away"
    assert twin.read_control("show search_path", "select current_setting('kos.tenant_id', true)") == [
        [('"$user", public',)],
        [("",)],
    ]


@pytest.mark.parametrize("statement", ["set role {}", "select set_config('ro' || 'le', '{}', false)"])
def test_a_role_of_the_session_ends_with_it(
    twin: Twin, superuser: psycopg.Connection[Any], store: Store, tenant: Tenant, statement: str
) -> None:
    name = f"other_{tenant.database}_{type(twin).__name__}".lower()  # roles are the whole server's
    role = Identifier(name)
    superuser.execute(SQL("create role {}").format(role))
    try:
        superuser.execute(SQL("grant {} to kos_app").format(role))
        before = twin.run("acme", PID, statement.format(name))[0]
        assert twin.run("acme", PID, "select current_user") == [before, [("kos_app",)]]
    finally:
        superuser.execute(SQL("drop role {}").format(role))


@pytest.mark.parametrize(
    "made",
    [
        "create temporary table staging (name text)",
        "create temporary table staging as select 'secret' as name",
        "select 'secret' as name into temporary staging",
        "do $$ begin create temporary table staging (name text); end $$",
    ],
)
def test_temporary_tables_end_with_the_session(twin: Twin, store: Store, tenant: Tenant, made: str) -> None:
    another(twin, store)
    ((before,),) = twin.run("acme", made, PID)[1:]
    session = twin.enter("other")
    assert twin.execute(session, PID) == [before]
    with pytest.raises(psycopg.errors.UndefinedTable) as caught:
        twin.execute(session, "select * from staging")
    twin.leave(session, caught.value)
    twin.run("other", made)


@pytest.mark.parametrize(
    "left",
    [
        ("DECLARE held CURSOR WITH HOLD FOR select name from atoms", "LISTEN news"),
        (SQL("declare {} cursor with hold for select 1").format(Identifier("held")),),
        ("do $$ begin execute 'declare held cursor with hold for select 1'; execute 'listen news'; end $$",),
        ("select keeping()",),
    ],
)
def test_held_cursors_and_channels_end_with_the_session(
    twin: Twin, store: Store, tenant: Tenant, superuser: psycopg.Connection[Any], left: tuple[Any, ...]
) -> None:
    another(twin, store)
    superuser.execute(
        "create function public.keeping() returns void language sql as 'declare held cursor with hold for select 1'"
    )
    before = twin.run("acme", PID, ATOM.format("x"), *left)[0]
    answers = twin.run("other", "select name from pg_cursors where is_holdable", "select pg_listening_channels()", PID)
    assert answers == [[], [], before]


LOCKS = "select count(*) from pg_locks where locktype = 'advisory' and objid = 7 and pid = pg_backend_pid()"


@pytest.mark.parametrize("failing", [False, True], ids=["committed", "rolled back"])
@pytest.mark.parametrize("taking", ["select pg_advisory_lock(7)", "select locking()"])
def test_advisory_locks_end_with_the_session(
    twin: Twin, store: Store, tenant: Tenant, superuser: psycopg.Connection[Any], taking: str, failing: bool
) -> None:
    another(twin, store)
    superuser.execute("create function public.locking() returns void language sql as 'select pg_advisory_lock(7)'")
    session = twin.enter("acme")
    before, _, taken = (twin.execute(session, each) for each in (PID, taking, LOCKS))
    assert taken == [(1,)]
    twin.leave(session, ZeroDivisionError() if failing else None)
    assert twin.run("other", LOCKS, PID) == [[(0,)], before]


def test_what_is_done_with_the_connection_itself_ends_with_the_session(store: Store, tenant: Tenant) -> None:
    with store.tenant("acme") as session:
        before = session.connection
        before.execute("declare held cursor with hold for select 1")
    with store.tenant("acme") as session:
        assert session.execute("select name from pg_cursors where is_holdable").fetchall() == []
        assert session.connection is before


def test_a_refused_commit_is_told_and_leaves_a_clean_connection(
    twin: Twin, superuser: psycopg.Connection[Any], tenant: Tenant
) -> None:
    superuser.execute("create table public.pair (id int primary key, other int references public.pair deferrable)")
    superuser.execute("grant all on public.pair to kos_app")
    deferred = ("set constraints all deferred", "insert into pair values (1, 2)")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        twin.run("acme", *deferred, "set timezone = 'Asia/Tokyo'")
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        twin.run("acme", "set timezone = 'Asia/Tokyo'", "commit", "begin", *deferred)
    assert twin.run("acme", "show timezone") != [[("Asia/Tokyo",)]]


@pytest.mark.parametrize("failing", [False, True], ids=["committed", "rolled back"])
def test_a_connection_that_can_not_be_cleaned_is_not_handed_on(
    twin: Twin, tenant: Tenant, monkeypatch: pytest.MonkeyPatch, failing: bool
) -> None:
    with monkeypatch.context() as patched:
        for name in ("ALWAYS", "CLEAN"):
            patched.setattr(leave, name, (b"select 1/0",))
        session = twin.enter("acme")
        before = twin.execute(session, PID)
        twin.execute(session, ATOM.format("x"))
        twin.leave(session, ZeroDivisionError() if failing else None)
    count, after = twin.run("acme", "select count(*) from atoms", PID)
    assert count == [(0 if failing else 1,)], "the commit itself has happened"
    assert after != before


def test_cleaning_costs_no_round_trip(store: Store, tenant: Tenant, tmp_path: Any) -> None:
    """It travels with the COMMIT: libpq's trace has one message of the client, and one ReadyForQuery."""
    with store.tenant("acme") as session:
        connection = session.connection
    with (tmp_path / "trace").open("w+") as trace:
        with store.tenant("acme") as session:
            session.execute("select 1")
            connection.pgconn.trace(trace.fileno())
        connection.pgconn.untrace()
        trace.seek(0)
        lines = [line.split("\t") for line in trace]
    assert [line[3].strip() for line in lines if line[1] == "F"] == ["Query"]
    assert [line[3].strip() for line in lines].count("ReadyForQuery") == 1


def test_a_rollback_leaves_the_entry_prepared(database: Topology, twin_of: Any, store: Store, tenant: Tenant) -> None:
    """psycopg drops all that is prepared, once it has prepared something: what a tenant's sessions run often."""
    twin = twin_of(database, pool_size=1)
    often = "select count(*) from atoms"
    for _ in range(8):
        twin.run("acme", often)
    session = twin.enter("acme")
    twin.execute(session, often)
    twin.leave(session, RuntimeError("rolled back"))
    for _ in range(8):
        [_, prepared] = twin.run("acme", often, "select name from pg_prepared_statements order by name desc")
    assert ("kos_enter",) in prepared
    assert len(prepared) >= 2
