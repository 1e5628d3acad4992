"""What an application can do to an entry by mistake: odd names, settings of its own, savepoints, and staying inside."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from fix_own_postgres import MakePostgres
from kos import errors
from kos.tenancy import TIERS, Store, Tenant, create_tenant, fence, install
from kos.tenancy.fence import Patience
from kos.topology.model import Login, Shard, Topology, fixed

Connection = psycopg.Connection[Any]
PASSWORD = "only for this test"
INSERT = "insert into knowledge.atoms (atom_type, name) values ('T', 'x')"


@pytest.fixture
def application(store: Store, tenant: Tenant) -> Iterator[Connection]:
    """A session of kos_app that has entered nothing, in autocommit; `acme` is there, of the row tier."""
    with store.control() as connection:
        yield connection


def refusal(connection: Connection, *statements: str) -> str | None:
    """The SQLSTATE that the last of these statements is refused with, in one transaction that is rolled back."""
    *before, last = statements
    with connection.transaction(force_rollback=True):
        for statement in before:
            connection.execute(statement)
        try:
            with connection.transaction():
                connection.execute(last)
        except psycopg.Error as error:
            return error.sqlstate
    return None


NO_NAMES = [
    *("ACME", " acme", "acme ", "%", "acme%", "____", "-" * 36, "-" * 26 + "f" + "-" * 9, "x" * 1_000_000),
    *(
        "01234567-89ab-cdef-0123-456789abcde",
        "0123456789abcdef0123456789abcdef",
        "٠١٢٣٤٥٦٧-٠١٢٣-٠١٢٣-٠١٢٣-٠١٢٣٤٥٦٧٨٩٠١",
    ),
    *("ab-ab-ab-abc-a-abcd-abcd-abcdabcdabcd", "abcd-abc-abcd-abcd-abcd-abcdabcdabcd"),
    *("________-____-____-____-____________", "somebody-with-just-that-many-letters"),
]


def test_what_is_neither_a_name_nor_an_id_is_unknown(application: Connection) -> None:
    for name in NO_NAMES:
        with pytest.raises(psycopg.DatabaseError) as caught:
            application.execute("select kos.enter(%s)", (name,))
        assert caught.value.sqlstate == "KS002", name[:50]


def test_an_id_is_known_in_either_case(application: Connection, tenant: Tenant) -> None:
    for text in (str(tenant.id), str(tenant.id).upper()):
        assert application.execute("select kos.enter(%s)", (text,)).fetchone() == ("knowledge, public, pg_temp",)


@pytest.mark.parametrize(("limit", "left"), [("0", "1min"), ("90min", "1min"), ("1s", "1s")])
def test_a_null_limit_is_the_default(application: Connection, limit: str, left: str) -> None:
    application.execute(f"set transaction_timeout = '{limit}'")
    with application.transaction():
        application.execute("select kos.enter('acme', timeout_ms => null)")
        assert application.execute("show transaction_timeout").fetchone() == (left,)


@pytest.mark.parametrize("limit", ["0", "90min"])
def test_a_negative_limit_is_refused(application: Connection, limit: str) -> None:
    application.execute(f"set transaction_timeout = '{limit}'")
    assert refusal(application, "select kos.enter('acme', timeout_ms => -5)") == "22023"


def test_an_identity_that_enter_did_not_make_cant_write(application: Connection, tenant: Tenant) -> None:
    """Its epoch could not be checked."""
    by_hand = f"select set_config('kos.tenant_id', '{tenant.id}', true)"
    for write in (INSERT, "update knowledge.atoms set name = 'y'", "delete from knowledge.atoms"):
        assert refusal(application, by_hand, write) == "KS001"


def test_a_tenant_set_by_hand_after_the_entry_has_a_fence_too(
    store: Store, application: Connection, tenant: Tenant
) -> None:
    """The limit, stated in the SQL contract: who sets the identity by hand reads, and writes where the epochs agree."""
    other = create_tenant(store, "other")
    by_hand = ("select kos.enter('acme')", f"select set_config('kos.tenant_id', '{other.id}', true)")
    assert refusal(application, *by_hand, INSERT) is None
    fence.raise_epoch(store, "other")
    assert refusal(application, *by_hand, "select from knowledge.atoms") is None
    assert refusal(application, *by_hand, INSERT) == "KS003"


def test_copy_into_a_tenants_table_is_refused(application: Connection) -> None:
    copy = "copy knowledge.atoms (atom_type, name) from stdin"
    assert refusal(application, "select kos.enter('acme')", copy) == "0A000"


def test_an_entry_is_undone_with_its_savepoint(store: Store, application: Connection, tenant: Tenant) -> None:
    """Identity and lock alike; what was written under it is undone as well. So another tenant may be entered then."""
    create_tenant(store, "other")
    with store.operator() as operator, application.transaction():
        with application.transaction(force_rollback=True):
            application.execute("select kos.enter('acme')")
            application.execute(INSERT)
            assert len(fence.holders(operator, tenant)) == 1
        assert fence.holders(operator, tenant) == []
        assert refusal(application, INSERT) == "KS001"
        application.execute("select kos.enter('other')")
        application.execute(INSERT)
    assert fence.raise_epoch(store, "acme").epoch == 2
    with store.tenant("acme") as session:
        assert session.execute("select count(*) from atoms").fetchone() == (0,)


SETTINGS = [
    *("search_path = 'pg_temp, public'", "search_path = ''", "default_transaction_isolation = 'serializable'"),
    *("standard_conforming_strings = off", "intervalstyle = 'sql_standard'", "datestyle = 'SQL, DMY'"),
    *("transform_null_equals = on", "quote_all_identifiers = on", "plan_cache_mode = 'force_custom_plan'"),
    *("lock_timeout = 1", "idle_in_transaction_session_timeout = '1h'", "bytea_output = 'escape'"),
]


def test_settings_of_the_session_change_nothing(application: Connection) -> None:
    for setting in SETTINGS:
        application.execute(f"set {setting}")
        with application.transaction(force_rollback=True):
            application.execute("select set_config('search_path', kos.enter('acme'), true)")
            application.execute("insert into atoms (atom_type, name) values ('T', 'x')")
            assert application.execute("select name from atoms").fetchall() == [("x",)], setting
        assert refusal(application, INSERT) == "KS001", setting


def test_who_waits_inside_a_copy_is_ended_by_who_closes(store: Store, application: Connection, tenant: Tenant) -> None:
    """PostgreSQL looks at its limits between messages: a COPY that gets no input outlasts them."""
    application.execute("begin")
    application.execute("select kos.enter('acme', timeout_ms => 50)")
    application.execute("create temporary table given (line text)")
    application.pgconn.exec_(b"copy given from stdin")
    closed = fence.raise_epoch(store, "acme", Patience(end_after=0.2, limit=10))
    assert (closed.epoch, closed.ended) == (2, 1)
    application.pgconn.finish()


@pytest.mark.long
def test_a_prepared_transaction_holds_the_fence(own_postgres: MakePostgres) -> None:
    """It outlives its session, so no limit ends it; servers allow none unless told to."""
    server = own_postgres("wheel")
    server.configure(max_prepared_transactions=1)
    server.start()
    server.execute("create database product")
    logins = [Login(role, fixed(PASSWORD)) for role in ("kos_app", "kos_operator")]
    primary = replace(server.server, database="product")
    topology = Topology((Shard(1, "main", primary, (), *logins, installer=server.superuser),))
    install(topology)
    server.execute(*(f"alter role {login.user} login password '{PASSWORD}'" for login in logins))
    with Store(topology) as store:
        create_tenant(store, "acme")
        with store.control() as connection:
            connection.execute("begin")
            connection.execute("select kos.enter('acme')")
            connection.execute(INSERT)
            connection.execute("prepare transaction 'mine'")
            with pytest.raises(errors.TenantBusy, match="prepared transaction"):
                fence.raise_epoch(store, "acme", Patience(limit=0.5))
            connection.execute("commit prepared 'mine'")
        assert fence.raise_epoch(store, "acme").epoch == 2


def test_an_entry_asks_nobody_for_locks(store: Store, superuser: psycopg.Connection[Any]) -> None:
    """Looking them up costs more than all of the entry. It is for an identity that somebody left behind."""
    create_tenant(store, "acme")
    superuser.execute(
        "create or replace function kos.is_inside(tenant text) returns boolean language plpgsql stable as"
        " $$ begin raise 'was asked for the locks'; end $$"
    )
    with store.control() as connection:
        for _ in range(2):  # a setting that was local once is not null afterwards, but empty
            with connection.transaction():
                connection.execute("select kos.enter('acme')")
                connection.execute("select kos.enter('acme', persona => 'developer')")


@pytest.mark.parametrize("tier", TIERS)
def test_one_call_is_the_whole_entry(store: Store, tier: str) -> None:
    """In any language: it sets where the tenant's tables are as well, for this transaction only, and says it."""
    tenant = create_tenant(store, "acme", tier)
    with store.session(tenant) as session:
        connection = session.connection
        session.execute("commit")
        before = connection.execute("show search_path").fetchone()
        connection.execute("begin")
        [(path,)] = connection.execute("select kos.enter('acme')").fetchall()
        assert connection.execute("show search_path").fetchone() == (path,)
        connection.execute("insert into atoms (atom_type, name) values ('T', 'x')")
        connection.execute("savepoint again")
        [(same,)] = connection.execute("select set_config('search_path', kos.enter('acme'), true)").fetchall()
        assert same == path
        connection.execute("rollback to savepoint again")
        assert connection.execute("select name from atoms").fetchall() == [("x",)]
        connection.execute("commit")
        assert connection.execute("show search_path").fetchone() == before
