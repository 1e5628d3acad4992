"""Tables that were changed while others write: nobody waits for another's capture, and none goes by what was before."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from logged_table import ACME, Connection, assert_exact, events, log, make, seal
from psycopg.sql import SQL, Identifier
from test_install import empty
from test_log_keys import in_clear

from fix_database import as_superuser
from kos.tenancy import install, schema_files
from kos.tenancy.schema_files import Source
from kos.topology.embedded import Stack
from kos.topology.model import Topology

__all__ = ["empty"]

TABLE = "create table things (tenant_id uuid not null, id integer primary key, n integer default 0, a text, b text)"
ROWS = f"insert into things select '{ACME}', g, g, 'a' || g, 'b' || g from generate_series(1, 4) g"


@pytest.fixture
def things(superuser: Connection) -> Connection:
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    return superuser


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_nobody_waits_for_who_writes_first_after_a_change(template: Stack, things: Connection, level: str) -> None:
    things.execute("alter table things add column d text")
    with (
        as_superuser(template, things.info.dbname) as first,
        as_superuser(template, things.info.dbname) as second,
    ):
        for session in (first, second):
            session.execute(f"set lock_timeout = '2s'; begin isolation level {level}; select from things")
        first.execute("update things set n = 9 where id = 1")
        second.execute("update things set n = 9, d = 'x' where id = 2")
        things.execute("set lock_timeout = '2s'; select kos.refresh_captures()")
        first.execute("commit")
        second.execute("update things set d = 'y' where id = 3")
        second.execute("commit")
        first.execute("update things set a = 'later', d = 'z' where id in (2, 4)")
    assert_exact(things, without=("d",))


@contextmanager
def copied(stack: Stack, source: Connection) -> Iterator[Connection]:
    """A copy of the files of a database, whose tables have the same numbers; nobody may be connected to the source."""
    database = source.info.dbname
    source.close()
    name = f"{database}_copy"  # dropped with the other
    with as_superuser(stack, "knowledge_os") as server:
        copy = SQL("create database {} template {} strategy file_copy")
        server.execute(copy.format(Identifier(name), Identifier(database)))
    with as_superuser(stack, name) as there:
        yield there


def broken(superuser: Connection) -> list[Any]:
    return superuser.execute("select fault, loses from kos.broken_captures()").fetchall()


SECRET = {"sensitive": '{"a": "encrypted", "b": "digest"}'}


def test_a_copy_notes_its_columns_itself(template: Stack, things: Connection) -> None:
    """Then they may get other names there."""
    log(things, **SECRET)
    things.execute("update things set a = 'open sesame', b = 'open sesame'")
    with copied(template, things) as there:
        there.execute("select kos.keep_log()")
        there.execute("alter table things rename a to x; alter table things rename tenant_id to whose")
        there.execute("alter table things rename b to y")
        there.execute("update things set x = 'open sesame 2', y = '471147115' where id < 3")
        there.execute("select kos.keep_log(); update things set x = 'open sesame 3', y = '471147116' where id < 2")
        assert in_clear(there) == []
        assert broken(there) == []
        assert_exact(there, without=("y",))


def test_what_has_another_name_in_a_copy_is_hidden_before_it_is_noted(template: Stack, things: Connection) -> None:
    log(things, **SECRET)
    things.execute("update things set a = 'open sesame', b = 'open sesame'")
    with copied(template, things) as there:
        there.execute("alter table things rename a to x; alter table things add c text")
        there.execute("update things set x = 'open sesame 2', b = '471147115', n = 7, c = '471147115' where id < 3")
        assert (
            "its sensitive column a has another name since the database was copied: new columns are hidden",
            False,
        ) in (broken(there))
        there.execute("select kos.keep_log()")
        assert broken(there) == []
        there.execute("update things set x = 'open sesame 3', n = 8, c = '471147115' where id < 3")
        assert in_clear(there) == []
        assert there.execute(
            "select sensitive from kos.logged_tables where relation = 'things'::regclass"
        ).fetchone() == ({"a": "encrypted", "b": "digest", "c": "encrypted", "x": "encrypted"},)


def test_the_name_of_a_hidden_column_stays_hidden(things: Connection) -> None:
    log(things, **SECRET)
    things.execute("update things set a = 'open sesame', b = 'open sesame'; alter table things drop a")
    things.execute("update things set b = '471147115'; select kos.keep_log()")
    things.execute("alter table things add a text; update things set a = 'open sesame 2'")
    things.execute("select kos.keep_log(); update things set a = 'open sesame 3'")
    assert in_clear(things) == []
    things.execute("alter table things drop b; select kos.keep_log()")
    things.execute("select * from kos.adopt_table('things', 'tenant_id', 'none')")
    things.execute("alter table things add b text; update things set b = 'open sesame 4'")
    assert in_clear(things) == []
    assert broken(things) == [("the table has changed since its capture was made", False)]


CHANGES = {
    "a column more": "alter table things add column d text default 'x'",
    "a column less": "alter table things drop column a",
    "another name": "alter table things rename a to z",
    "names that swap": "alter table things rename a to z; alter table things rename b to a;"
                       "alter table things rename z to b",
    "another type": "alter table things alter n type text",
    "another table": "alter table things rename to stuff; alter table stuff drop b; alter table stuff add b text;"
                     "alter table stuff rename to things",
}  # fmt: skip


EACH_CHANGE = [
    pytest.param(change, refreshed, marks=[] if number % 2 == refreshed else [pytest.mark.long])
    for number, change in enumerate(CHANGES)
    for refreshed in (False, True)
]


@pytest.mark.parametrize(("change", "refreshed"), EACH_CHANGE)
def test_a_snapshot_from_before_a_change_of_the_table(
    template: Stack, things: Connection, change: str, refreshed: bool
) -> None:
    """It can't tell how the table is now: its transaction fails, and nothing later in its session goes by it."""
    with as_superuser(template, things.info.dbname) as other:
        other.execute("begin isolation level repeatable read; select from kos.fence")
        things.execute(CHANGES[change])
        if refreshed:
            things.execute("select kos.refresh_captures()")
        with pytest.raises(psycopg.errors.SerializationFailure, match=r"public\.things was changed after"):
            other.execute("update things set n = '1' where id = 1")
        other.execute("rollback")
        other.execute(f"insert into things select '{ACME}', 5; update things set n = '2', b = 'new' where id < 3")
        assert_exact(things, without=("d", "b"))
        other.execute("begin isolation level repeatable read; update things set n = '3' where id = 3; commit")
    assert_exact(things, without=("d", "b"))


def test_a_snapshot_from_before_a_table_was_logged_or_a_column_hidden(template: Stack, superuser: Connection) -> None:
    make(superuser, TABLE)
    superuser.execute(ROWS)
    with as_superuser(template, superuser.info.dbname) as other:
        for options in ({}, SECRET):
            other.execute("begin isolation level repeatable read; select from kos.fence")
            log(superuser, **options)
            with pytest.raises(psycopg.errors.SerializationFailure):
                other.execute("update things set n = 1, a = 'open sesame'")
            other.execute("rollback; update things set a = 'a'")
            # A function that was made anew, and is as it was, is no reason to fail.
            other.execute("begin isolation level repeatable read; select from kos.fence")
            superuser.execute("select kos.make_capture('things')")
            other.execute("update things set n = n + 1; commit")
    assert in_clear(superuser) == []
    assert_exact(superuser, without=("b",))


def test_columns_may_have_any_name_under_one_snapshot(superuser: Connection) -> None:
    columns = ", ".join(f"{name} int" for name in ("r", "n", "u", "a", "c", "target", "names"))
    make(superuser, f"create table things (tenant_id uuid not null, id int primary key, {columns})")
    log(superuser)
    for isolation in ("repeatable read", "serializable"):
        superuser.execute("discard plans")
        superuser.execute(f"begin isolation level {isolation}".encode())
        superuser.execute(f"insert into things (tenant_id, id, r) values ('{ACME}', 1, 7)")
        superuser.execute("delete from things; commit")
    assert_exact(superuser)


def test_what_was_null_before_a_constraint_that_looks_at_new_rows_only(superuser: Connection) -> None:
    if superuser.info.server_version < 180000:
        pytest.skip("PostgreSQL 18 brought NOT NULL … NOT VALID")
    make(superuser, "create table things (tenant_id uuid, id int primary key, n int)")
    log(superuser)
    superuser.execute("insert into things values (null, 1, 1), (null, 2, 1)")
    superuser.execute("alter table things add constraint given not null tenant_id not valid")
    superuser.execute(f"update things set tenant_id = '{ACME}' where id = 1")
    superuser.execute("select kos.refresh_captures()")
    superuser.execute("delete from things where id = 2")
    assert_exact(superuser)


def test_what_is_wide_and_came_with_a_default_is_written_where_the_row_still_has_that(things: Connection) -> None:
    things.execute("""alter table things add column d text default 'x', add column j jsonb default '{"a": 1}'""")
    things.execute("select kos.refresh_captures(); update things set d = 'y', j = '{}' where id = 1")
    for row, written in ((1, set()), (2, {"d", "j"}), (1, set()), (2, {"d", "j"})):
        things.execute("update things set n = n + 7 where id = %s", (row,))
        assert {"d", "j"} & events(things)[-1][1].keys() == written
    assert compared(things) == []


def test_a_tenant_column_that_can_be_null_later(things: Connection) -> None:
    things.execute("alter table things alter tenant_id drop not null")
    things.execute("update things set tenant_id = null where id < 3; insert into things values (null, 5)")
    assert_exact(things)
    things.execute("select kos.refresh_captures()")
    assert broken(things) == []
    things.execute(
        f"update things set tenant_id = null where id = 3; update things set tenant_id = '{ACME}' where id = 5"
    )
    assert_exact(things)


def test_a_key_that_tells_rows_apart_no_more(things: Connection) -> None:
    told = "its key is not unique any more, or can be null: rows that share one are one row in the log"
    things.execute("alter table things drop constraint things_pkey")
    for _ in range(2):
        assert (told, True) in broken(things)
        before = len(events(things))
        things.execute(f"insert into things values ('{ACME}', 1)")
        things.execute("update things set n = n + 1 where id = 1")
        assert len(events(things)) == before + 4, "what there is of the key, once after each statement"
        things.execute("delete from things where ctid = (select max(ctid) from things where id = 1)")
        assert_exact(things)
        things.execute("select kos.refresh_captures()")
    things.execute("alter table things alter id drop not null, add unique (id), add unique (tenant_id, id)")
    assert (told, True) in broken(things)
    things.execute("alter table things add primary key (id); select kos.refresh_captures()")
    assert broken(things) == []
    things.execute("update things set n = 10")
    assert_exact(things)


def test_what_a_column_gave_the_rows_that_were_there(things: Connection) -> None:
    """No event of theirs has it, until they are written again, changed or not."""
    things.execute("alter table things add column d text default 'x', add column e text[] default '{x,y}'")
    things.execute("select kos.refresh_captures(); alter table things alter d drop default, add column f text")
    things.execute("alter table things add column g text default gen_random_uuid()")  # writes the table anew
    seal(things)
    assert compared(things) == []
    things.execute("update things set n = 9 where id = 1")
    things.execute("select kos.refresh_captures(); update things set n = 9 where id in (2, 3)")
    last = [data for _, data in events(things)][-3:]
    assert [(data["d"], data["e"], "g" in data, "f" in data, "a" in data) for data in last] == [
        ("x", "{x,y}", True, False, False)
    ] * 3
    assert compared(things) == []
    things.execute("set session_replication_role = replica; update things set f = 'unseen' where id = 4")
    things.execute("reset session_replication_role")
    assert compared(things) == [(["4"], "the log has other values")]
    things.execute("update things set a = 'seen', f = f || '!' where id = 4")
    assert_exact(things, without=("f",))


def test_what_a_hidden_column_gave(things: Connection) -> None:
    things.execute("alter table things add column d text default 'open sesame', add column e text default '471147115'")
    log(things, sensitive='{"d": "encrypted", "e": "digest"}')
    assert compared(things) == []
    things.execute("update things set n = 9 where id < 3")
    assert compared(things) == []
    assert in_clear(things) == []
    things.execute("set session_replication_role = replica; update things set e = 'unseen', n = n where id = 4")
    things.execute("update things set d = 'unseen' where id = 3; reset session_replication_role")
    assert compared(things) == [(["3"], "the log has other values"), (["4"], "the log has other values")]


def compared(superuser: Connection) -> list[Any]:
    seal(superuser)
    return superuser.execute("select key, fault from kos.compare_log('things') order by key").fetchall()


def test_what_a_column_gave_the_rows_of_partitions(superuser: Connection) -> None:
    make(superuser, f"{TABLE} partition by range (id); create table low partition of things for values from (0) to (9)")
    superuser.execute("grant all on low to kos_owner")
    log(superuser)
    superuser.execute(ROWS)
    superuser.execute("alter table things add column d text default 'x'; alter table things alter d drop default")
    assert compared(superuser) == []
    superuser.execute("update things set n = 9 where id = 1; select kos.refresh_captures()")
    superuser.execute("update things set n = 9 where id = 2; update low set n = 9 where id = 3")
    superuser.execute("vacuum full low")
    superuser.execute("update low set n = 9 where id = 4")
    assert_exact(superuser)


def test_a_policy_that_hides_rows_from_the_capture_is_told(things: Connection) -> None:
    """Where capture reads a row again, it would take one that it can't see for a deleted one."""
    things.execute("alter table things enable row level security")
    things.execute("create policy kos_capture on things for select to kos_owner using (true)")
    things.execute("create policy a on things as restrictive to kos_app using (false)")
    things.execute("create policy b on things as restrictive for update using (false)")
    assert broken(things) == []
    things.execute("create policy c on things as restrictive using (n < 5)")
    things.execute("create policy kos_tenant_isolation on things as restrictive for select to kos_owner using (n < 5)")
    told = "its restrictive policy c, kos_tenant_isolation hides rows from kos_owner"
    assert broken(things) == [(told, True)]


def test_what_was_captured_before_goes_on(empty: Topology, template: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade under a session at work: what it knows is good until its table is looked at."""
    before = Source(schema_files.CONTROL.packages)
    before.__dict__["files"] = tuple(each for each in schema_files.CONTROL.files if each.version < 27)
    monkeypatch.setattr(schema_files, "CONTROL", before)
    install(empty)
    database = empty.control.primary.database
    with as_superuser(template, database) as superuser, as_superuser(template, database) as writer:
        make(superuser, TABLE)
        log(superuser)
        writer.execute(ROWS)
        superuser.execute("alter table things add d text default 'x'; select kos.refresh_captures()")
        writer.execute("update things set n = 1 where id < 4; begin; update things set n = 2 where id = 1")
        monkeypatch.undo()
        install(empty)
        writer.execute(
            "update things set n = 3, a = 'later' where id = 2; commit; update things set n = 4 where id = 3"
        )
        assert set(broken(superuser)) == {("the table has changed since its capture was made", False)}
        assert compared(superuser) == []
        superuser.execute("select kos.keep_log()")
        assert broken(superuser) == []
        assert superuser.execute("select count(*) from kos.filled_columns").fetchone() == (1,)
        writer.execute("update things set n = 5")
        assert_exact(superuser)
