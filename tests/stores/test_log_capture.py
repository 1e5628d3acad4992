"""Capture: whatever a statement does to a table, its log then says exactly what the table holds."""

from __future__ import annotations

import psycopg
import pytest
from logged_table import ACME, BETA, Connection, assert_exact, events, log, make, seal

THINGS = """
create table things (
  tenant_id uuid not null, id integer primary key, name text, amount numeric,
  twice numeric generated always as (amount * 2) stored)
"""
ROWS = f"""
insert into things (tenant_id, id, name, amount)
select case when n % 2 = 0 then '{ACME}' else '{BETA}' end::uuid, n, 'thing ' || n, n from generate_series(1, 9) n
"""


@pytest.fixture
def things(superuser: Connection) -> Connection:
    """A logged table with nine rows of two tenants, two of which were changed."""
    make(superuser, THINGS)
    log(superuser)
    superuser.execute(ROWS)
    return superuser


STATEMENTS = {
    "update of several rows": "update things set name = upper(name), amount = amount + 0.50 where id < 6",
    "update of nothing": "update things set name = name",
    "update to null": "update things set name = null, amount = null where id in (1, 2)",
    "delete": "delete from things where id > 4",
    "upsert, both branches": f"""
        insert into things values ('{ACME}', 2, 'other', 3), ('{BETA}', 20, 'new', 4)
        on conflict (id) do update set name = excluded.name, amount = excluded.amount""",
    "upsert that does nothing": f"insert into things values ('{ACME}', 2, 'other', 3) on conflict do nothing",
    "merge": f"""
        merge into things t using (values (1, 'deleted'), (2, 'updated'), (30, 'inserted')) v (id, what) on t.id = v.id
        when matched and v.what = 'deleted' then delete
        when matched then update set name = v.what
        when not matched then insert (tenant_id, id, name) values ('{BETA}', v.id, v.what)""",
    "truncate": "truncate things",
    "truncate, then insert": f"truncate things; {ROWS}",
    "one key changes": "update things set id = 40 where id = 4",
    "keys move on": "update things set id = id - 1, name = 'was ' || id",
    "keys change places": """
        with gone as (delete from things where id in (1, 2, 3) returning *)
        insert into things (tenant_id, id, name, amount)
        select tenant_id, 4 - id, name, amount from gone order by id""",
    "delete and insert of one key": f"""
        with gone as (delete from things where id = 2 returning id)
        insert into things (tenant_id, id, name) select '{ACME}', id, 'again' from gone""",
    "delete and update to one key": """
        with gone as (delete from things where id = 2 returning id)
        update things set id = 2 from gone where things.id = 4""",
    "tenant changes": f"update things set tenant_id = '{BETA}' where id in (2, 4)",
    "tenant and key change": f"update things set tenant_id = '{BETA}', id = id + 100 where id in (2, 4)",
    "tenants change places": f"""
        update things set tenant_id = case tenant_id when '{ACME}' then '{BETA}' else '{ACME}' end::uuid""",
    "savepoint that is rolled back": """
        begin; update things set name = 'kept' where id = 1; savepoint s; update things set name = 'lost';
        delete from things where id = 3; rollback to s; update things set amount = 7 where id = 5; commit""",
    "transaction that is rolled back": "begin; delete from things; rollback",
    "many changes of one row": f"""
        begin; update things set name = 'a' where id = 1; update things set amount = 5 where id = 1;
        delete from things where id = 1; insert into things values ('{ACME}', 1, 'b');
        update things set name = null where id = 1; commit""",
}


@pytest.mark.parametrize("statement", STATEMENTS.values(), ids=STATEMENTS)
def test_the_log_follows_every_statement(things: Connection, statement: str) -> None:
    assert_exact(things)
    things.execute(statement)
    assert_exact(things)
    things.execute("update things set amount = coalesce(amount, 0) + 1")
    assert_exact(things)


def test_keys_that_swap_by_their_order(things: Connection) -> None:
    """Keys (1, 2) and (2, 1): each is the other's old one, which a unique index allows where it never sees both."""
    make(things, "create table pairs (a integer, b integer, v text, primary key (a, b))", "pairs")
    log(things, "pairs", None)
    things.execute("insert into pairs values (3, 1, 'first'), (2, 1, 'second'), (1, 1, 'third')")
    things.execute("update pairs set a = a + 1")
    assert_exact(things, "pairs")


def test_copy(things: Connection) -> None:
    with things.cursor() as cursor, cursor.copy("copy things (tenant_id, id, name) from stdin") as copy:
        for row in [(ACME, 50, "\\N"), (BETA, 51, "a\tb"), (ACME, 52, None)]:
            copy.write_row(row)
    assert_exact(things)


def test_what_did_not_change_is_not_in_the_image(things: Connection) -> None:
    things.execute("alter table things alter name set storage external")
    things.execute("update things set name = repeat('x', 100000) where id = 1")
    things.execute("update things set amount = 3 where id = 1")
    *_, (operation, data) = [each for each in events(things) if each[1]["id"] == "1"]
    assert operation == "U"
    assert "name" not in data
    assert_exact(things)


@pytest.mark.parametrize("moment", ["before", "after"])
def test_a_trigger_of_the_application(things: Connection, moment: str) -> None:
    """An AFTER ROW trigger's change of the same row is captured first, with the image that is newer."""
    change = "new.name := new.name || '!'" if moment == "before" else (
        "if pg_trigger_depth() < 3 then update things set name = name || '!', amount = 9 where id = new.id; end if"
    )  # fmt: skip
    things.execute(
        f"create function again() returns trigger language plpgsql as $$ begin {change}; return new; end $$;"
        f"create trigger again {moment} insert or update on things for each row execute function again()"
    )
    things.execute("update things set name = 'x' where id < 4")
    things.execute(f"insert into things values ('{ACME}', 60, 'y')")
    things.execute("update things set id = 61 where id = 60")
    things.execute("delete from things where id = 5")
    assert_exact(things)


def test_a_function_that_writes_inside_of_a_statement_is_found(things: Connection) -> None:
    """A limit: its change is captured while the statement around it is not over, so before that one's."""
    things.execute(
        "create function write_too(here integer) returns text language plpgsql as $$ begin "
        "update things set name = 'by the function' where id = here; return 'by the statement'; end $$"
    )
    things.execute(
        f"insert into things select '{ACME}', n, case n when 71 then write_too(70) end from generate_series(70, 71) n"
    )
    seal(things)
    faults = things.execute("select key, fault from kos.compare_log('things')").fetchall()
    assert faults == [(["70"], "the log has other values")]


def test_a_generated_column_that_is_virtual(superuser: Connection) -> None:
    if superuser.info.server_version < 180000:
        pytest.skip("virtual columns are new in PostgreSQL 18")
    make(
        superuser,
        "create table things (id integer primary key, v integer, w integer generated always as (v + 1) virtual)",
    )
    log(superuser, tenant=None)
    superuser.execute("insert into things values (1, 1), (2, 2); update things set v = 5 where id = 2")
    assert_exact(superuser)


def test_an_identity_column(superuser: Connection) -> None:
    make(superuser, "create table things (id bigint generated always as identity primary key, v text)")
    log(superuser, tenant=None)
    superuser.execute(
        "insert into things (v) values ('a'), ('b'); insert into things overriding system value values (7, 'c')"
    )
    assert_exact(superuser)


def test_names_that_need_quotes(superuser: Connection) -> None:
    name = 'public."Odd ""table"" %I"'
    make(superuser, f'create table {name} ("%s" integer primary key, "n" text, "position" text, "a\'b" text)', name)
    log(superuser, name, None)
    superuser.execute(f"insert into {name} values (1, 'a', 'b', 'c'), (2, 'a', 'b', 'c')")
    superuser.execute(f'update {name} set "n" = \'x\', "a\'b" = null where "%s" = 1; delete from {name} where "%s" = 2')
    assert_exact(superuser, name)


TENANTS = [
    ("bigint", "1", "2"),
    ("text", "acme", "bêta \\N"),
    ("char(4)", "a", "b"),
    ("uuid", ACME, BETA),
    ("numeric", "1", "2"),
]


@pytest.mark.parametrize(("kind", "one", "other"), TENANTS, ids=[kind for kind, *_ in TENANTS])
def test_tenants_of_every_kind_and_none(superuser: Connection, kind: str, one: str, other: str) -> None:
    make(superuser, f"create table things (tenant_id {kind}, id integer primary key, v text)")
    log(superuser)
    superuser.execute("insert into things values (%s, 1, 'a'), (%s, 2, 'b'), (null, 3, 'c')", (one, other))
    superuser.execute("update things set tenant_id = null where id = 1")
    superuser.execute("update things set tenant_id = %s where id in (2, 3)", (one,))
    superuser.execute("update things set v = 'd'")
    assert_exact(superuser)
    superuser.execute("truncate things")
    assert_exact(superuser)


def test_who_moves_tenants_is_not_captured(things: Connection) -> None:
    """By its role. What anybody could set is no proof of it."""
    things.execute("grant all on things to kos_mover, kos_app")
    before = len(events(things))
    things.execute("set role kos_mover")
    things.execute("update things set name = 'moved'")
    things.execute("reset role")
    assert len(events(things)) == before
    things.execute("set role kos_app")
    for forged in ("kos.role", "kos.mover", "kos.persona", "application_name"):
        things.execute("select set_config(%s, 'kos_mover', false)", (forged,))
    things.execute(f"insert into things values ('{ACME}', 80)")
    things.execute("reset role")
    assert len(events(things)) == before + 1
    with psycopg.connect(things.info.dsn, password=things.info.password, autocommit=True) as app:
        app.execute("set session authorization kos_app")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            app.execute("select set_config('role', 'kos_mover', false)")


SESSIONS = {
    "standard_conforming_strings": "off",
    "quote_all_identifiers": "on",
    "row_security": "off",
    "enable_hashjoin": "off",
    "search_path": "''",
    "plan_cache_mode": "force_generic_plan",
    "transform_null_equals": "on",
    "default_transaction_isolation": "'serializable'",
    "enable_mergejoin": "off",
    "constraint_exclusion": "on",
    "plpgsql.variable_conflict": "use_variable",
}


@pytest.mark.parametrize("setting", SESSIONS)
def test_a_session_with_settings_of_its_own(things: Connection, setting: str) -> None:
    things.execute(f"set {setting} = {SESSIONS[setting]}")
    things.execute(f"insert into public.things values ('{ACME}', 90, E'\\\\N', 1.0)")
    things.execute("update public.things set name = E'\\\\x' where id < 3")
    things.execute("delete from public.things where id = 3")
    things.execute(f"reset {setting}")
    assert_exact(things)
