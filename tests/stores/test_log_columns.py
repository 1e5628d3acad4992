"""Columns that get other names, go, and come: a row that nobody has written since is as its log says, and one that was
written past the triggers is found."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from logged_table import ACME, Connection, assert_exact, log, make, seal
from test_install import empty
from test_log_feed import dump_and_restore
from test_log_keys import in_clear

from fix_database import as_superuser
from kos.tenancy import install, schema_files
from kos.tenancy.schema_files import Source
from kos.topology.embedded import Stack
from kos.topology.model import Topology

__all__ = ["empty"]

TABLE = "create table things (tenant_id uuid not null, id integer primary key, n integer, a text, b text)"
ROWS = f"insert into things select '{ACME}', g, g, 'a' || g, 'b' || g from generate_series(1, 4) g"
PAST = "set session_replication_role = replica; {}; reset session_replication_role"
CHANGES = {
    "another name": ("alter table things rename b to c", "c"),
    "names that swap": ("alter table things rename a to x; alter table things rename b to a;"
                        "alter table things rename x to b", "a"),
    "a name that was another's": ("alter table things drop a; alter table things rename b to a", "a"),
    "there and back": ("alter table things rename b to c; update things set c = 'c' where id = 1;"
                       "alter table things rename c to b", "b"),
    "a table's name too": ("alter table things rename b to c; alter table things rename to stuff;"
                           "update stuff set n = 0 where id = 1; alter table stuff rename to things", "c"),
}  # fmt: skip


def faults(superuser: Connection) -> list[Any]:
    seal(superuser)
    return superuser.execute("select key, fault from kos.compare_log('things') order by key").fetchall()


def state(superuser: Connection, at: int, table: str = "things") -> list[Any]:
    query = "select data from kos.log_state(%s, 'public', %s, %s) order by key"
    return [data for (data,) in superuser.execute(query, (ACME, table, at)).fetchall()]


@pytest.mark.parametrize("change", CHANGES)
def test_a_column_is_known_under_the_name_that_it_has(superuser: Connection, change: str) -> None:
    ddl, column = CHANGES[change]
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    superuser.execute(ddl)
    assert_exact(superuser)
    superuser.execute("update things set n = n + 1 where id < 3")
    assert_exact(superuser)
    superuser.execute("select kos.refresh_captures()")
    superuser.execute(f"update things set n = n + 1, {column} = 'later' where id = 2")
    assert_exact(superuser)
    superuser.execute(PAST.format(f"update things set {column} = 'unseen' where id = 4"))
    assert faults(superuser) == [(["4"], "the log has other values")]


def test_a_column_that_takes_the_name_and_place_of_another_is_another(superuser: Connection) -> None:
    """Its table looks as it did, so that only the numbers of its columns tell the difference."""
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    superuser.execute("alter table things drop b; alter table things add b text")
    assert faults(superuser) == []
    assert all("b" not in data for data in state(superuser, 99))
    superuser.execute("update things set b = 'new'")
    assert_exact(superuser)
    superuser.execute(PAST.format("update things set b = 'b1' where id = 1"))
    assert faults(superuser) == [(["1"], "the log has other values")]


def test_a_log_is_read_under_the_names_of_then(superuser: Connection) -> None:
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    seal(superuser)
    superuser.execute(
        "alter table things drop a; alter table things rename b to a; update things set n = 9 where id = 1"
    )
    seal(superuser)
    assert [data["a"] for data in state(superuser, 4)] == ["a1", "a2", "a3", "a4"]
    assert [data["b"] for data in state(superuser, 4)] == ["b1", "b2", "b3", "b4"]
    assert [data["a"] for data in state(superuser, 5)] == ["b1", "b2", "b3", "b4"]
    assert all("b" not in data for data in state(superuser, 5))
    # One that is logged no more is known as it was last.
    superuser.execute("alter table things rename a to z; select kos.unlog_table('things'); drop table things")
    assert [data["a"] for data in state(superuser, 5)] == ["b1", "b2", "b3", "b4"]


def test_partitions_whose_columns_stand_in_another_order(superuser: Connection) -> None:
    make(superuser, f"{TABLE} partition by range (id)")
    superuser.execute(
        "create table low (x integer, b text, a text, n integer, id integer not null, tenant_id uuid not null);"
        "alter table low drop x; alter table things attach partition low for values from (0) to (3);"
        "create table high partition of things for values from (3) to (9)"
    )
    superuser.execute("grant all on low, high to kos_owner")
    log(superuser)
    superuser.execute(ROWS)
    superuser.execute("alter table things rename a to x; alter table things rename b to a; alter table things drop n")
    assert_exact(superuser)
    superuser.execute("update things set x = 'later' where id in (1, 3)")
    assert_exact(superuser)
    superuser.execute(PAST.format("update things set a = 'unseen' where id in (2, 4)"))
    assert faults(superuser) == [(["2"], "the log has other values"), (["4"], "the log has other values")]


def test_what_is_encrypted_can_be_read_under_another_name(superuser: Connection) -> None:
    make(superuser, TABLE)
    log(superuser, sensitive='{"a": "encrypted", "b": "encrypted"}')
    superuser.execute(ROWS.replace("'a'", "'open sesame '"))
    superuser.execute(
        "alter table things rename a to x; alter table things rename b to a; alter table things rename x to b"
    )
    assert_exact(superuser)
    superuser.execute("update things set a = 'later' where id = 1")
    assert_exact(superuser)
    assert in_clear(superuser) == []
    assert state(superuser, 99)[1] == {"tenant_id": ACME, "id": "2", "n": "2", "a": "[encrypted]", "b": "[encrypted]"}
    superuser.execute(PAST.format("update things set b = 'unseen' where id = 4"))
    assert faults(superuser) == [(["4"], "the log has other values")]
    # Nobody can have one column's value read as another's.
    superuser.execute("update kos.knowledge_events set image[4] = image[5] where key = '{3}'")
    with pytest.raises(psycopg.DatabaseError, match="that was changed, or whose key is gone"):
        faults(superuser)


def test_a_dumps_copy_goes_on_with_the_columns(template: Stack, superuser: Connection) -> None:
    """There they are counted anew."""
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    superuser.execute("alter table things drop a; alter table things rename b to a")
    superuser.execute("select kos.refresh_captures()")
    seal(superuser)
    name = dump_and_restore(template, superuser.info.dbname, f"{superuser.info.dbname}_copy")  # dropped with the other
    with as_superuser(template, name) as restored:
        assert_exact(restored)
        restored.execute("update things set a = 'there' where id = 1; alter table things add b text default 'new'")
        restored.execute("update things set n = 0 where id = 2")
        assert_exact(restored, without=("b",))
        restored.execute("select kos.refresh_captures()")
        restored.execute("alter table things rename a to z; update things set b = 'b' where id = 3")
        assert_exact(restored, without=("b",))
        restored.execute(PAST.format("update things set z = 'unseen' where id = 4"))
        assert faults(restored) == [(["4"], "the log has other values")]


def test_who_follows_the_log_sees_which_column_an_event_means(superuser: Connection) -> None:
    """As docs/log.md tells it."""
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    superuser.execute(
        "alter table things drop a; alter table things rename b to a; update things set a = 'x' where id = 1"
    )
    seal(superuser)
    found = superuser.execute(
        "select e.position, c.description ->> 'name', c.id"
        "  from kos.knowledge_events e join kos.shapes s using (shape_id)"
        " cross join lateral rows from (jsonb_array_elements(s.columns), unnest(s.column_ids)) c (description, id)"
        " where e.position in (1, 5)"
    ).fetchall()
    ids = {(position, name): known for position, name, known in found}
    assert ids[5, "a"] == ids[1, "b"] != ids[1, "a"]
    assert ids[5, "n"] == ids[1, "n"]


def test_what_was_logged_before_columns_had_ids(
    empty: Topology, template: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An upgrade: columns are known by the names that they have then."""
    before = Source(schema_files.CONTROL.packages)
    before.__dict__["files"] = tuple(each for each in schema_files.CONTROL.files if each.version < 19)
    monkeypatch.setattr(schema_files, "CONTROL", before)
    install(empty)
    with as_superuser(template, empty.control.primary.database) as superuser:
        make(superuser, TABLE)
        log(superuser)
        superuser.execute(ROWS)
        superuser.execute("alter table things drop n")
        assert_exact(superuser)
        monkeypatch.undo()
        install(empty)
        assert_exact(superuser)
        superuser.execute("alter table things drop a; alter table things rename b to a")
        assert_exact(superuser)
        superuser.execute("select kos.keep_log()")
        superuser.execute("update things set a = 'later' where id = 1")
        assert_exact(superuser)
        assert superuser.execute("select * from kos.broken_captures()").fetchall() == []
        superuser.execute(PAST.format("update things set a = 'unseen' where id = 4"))
        assert faults(superuser) == [(["4"], "the log has other values")]
