"""Upkeep of the log: what escapes capture is found, space comes back, and what can't be logged is refused."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from logged_table import ACME, BETA, Connection, assert_exact, events, log, make, seal

from fix_database import as_superuser
from kos.topology.embedded import Stack
from kos.topology.model import Topology

TABLE = "create table things (tenant_id uuid not null, id integer primary key, v text)"
WRITES = (
    f"insert into things values ('{ACME}', 10, 'x')",
    "update things set v = 'y' where id = 1",
    "delete from things where id = 2",
)
FAULTS = ["it is gone, and the log has no deletion", "the log has never seen it", "the log has other values"]


@pytest.fixture
def things(superuser: Connection) -> Connection:
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(f"insert into things select '{ACME}', n, 'v' from generate_series(1, 5) n")
    return superuser


@pytest.fixture
def other(template: Stack, database: Topology, superuser: Connection) -> Iterator[Connection]:
    """A second session."""
    with as_superuser(template, database.control.primary.database) as connection:
        yield connection


@pytest.mark.parametrize(
    ("before", "after", "reported"),
    [
        ("set session_replication_role = replica", "reset session_replication_role", None),
        ("alter table things disable trigger all", "alter table things enable trigger all", "is disabled"),
        ("alter table things disable trigger user", "select", "is disabled"),
        ("alter table things enable replica trigger kos_capture_update", "select", "is disabled"),
        ("drop trigger kos_capture_insert on things", "select", "is missing"),
        ("set role kos_mover", "reset role", None),
    ],
)
def test_what_escapes_capture_is_found(things: Connection, before: str, after: str, reported: str | None) -> None:
    things.execute("grant all on things to kos_mover")
    things.execute(before)
    broken = (
        things.execute("select fault from kos.broken_captures() where loses").fetchall() if "role" not in before else []
    )
    for write in WRITES:
        things.execute(write)
    things.execute(after)
    seal(things)
    found = things.execute("select fault from kos.compare_log('things') order by 1").fetchall()
    everything = [(fault,) for fault in FAULTS]
    assert (
        found == everything
        if reported is None or "all" in before or "user" in before
        else found and set(found) < set(everything)
    )
    assert bool(broken) == (reported is not None)
    assert all(reported and reported in fault for (fault,) in broken)


def test_taking_a_table_in_again_mends_its_capture(things: Connection) -> None:
    things.execute("drop trigger kos_capture_insert on things; alter table things disable trigger kos_capture_update")
    log(things)
    assert things.execute("select * from kos.broken_captures()").fetchall() == []
    for write in WRITES:
        things.execute(write)
    assert_exact(things)
    things.execute("select kos.unlog_table('things')")
    count = len(events(things))
    things.execute("update things set v = 'z'")
    assert len(events(things)) == count
    log(things)
    found = things.execute("select distinct fault from kos.compare_log('things')").fetchall()
    assert found == [("the log has other values",)], "its log goes on, and knows the rows from before"


PLAIN, KEYED, BY_ID = "create table t", "tenant_id uuid, id integer primary key", "partition by range (id)"
REFUSED = [
    ("no key", "create table t (tenant_id uuid, id integer)", "tenant_id", {}),
    ("a key that can be null", "create table t (tenant_id uuid, id integer unique)", "tenant_id", {}),
    ("a key that is deferrable", "create table t (tenant_id uuid, id integer primary key deferrable)", "tenant_id", {}),
    (
        "a key of some rows",
        f"{PLAIN} (tenant_id uuid, id integer not null); create unique index on t (id) where id > 0",
        "tenant_id",
        {},
    ),
    ("an oid", "create table t (tenant_id uuid, id integer primary key, o oid)", "tenant_id", {}),
    ("oids", "create table t (tenant_id uuid, id integer primary key, o regclass[])", "tenant_id", {}),
    (
        "a domain of oids",
        f"create domain d as regrole; {PLAIN} (tenant_id uuid, id integer primary key, o d)",
        "tenant_id",
        {},
    ),
    (
        "a transaction's id in a range in a composite type",
        f"create type r as range (subtype = xid8); create type c as (a int, r r[]); {PLAIN} ({KEYED}, o c)",
        "tenant_id",
        {},
    ),
    ("a snapshot", f"{PLAIN} ({KEYED}, o pg_snapshot)", "tenant_id", {}),
    ("unlogged", "create unlogged table t (tenant_id uuid, id integer primary key)", "tenant_id", {}),
    ("a partition", f"create table r ({KEYED}) {BY_ID}; {PLAIN} partition of r default", "tenant_id", {}),
    (
        "an unlogged partition",
        f"{PLAIN} ({KEYED}) {BY_ID}; create unlogged table u partition of t default",
        "tenant_id",
        {},
    ),
    ("inherited", f"{PLAIN} ({KEYED}); create table u () inherits (t)", "tenant_id", {}),
    ("a view", "create view t as select 1 as id", None, {}),
    ("an unknown tenant column", "create table t (id integer primary key)", "tenant_id", {}),
    ("a system column", "create table t (id integer primary key)", "ctid", {}),
    (
        "an unknown sensitive column",
        f"{PLAIN} (id integer primary key, v text)",
        None,
        {"sensitive": '{"w": "digest"}'},
    ),
    ("an unknown kind of sensitive", f"{PLAIN} (id integer primary key, v text)", None, {"sensitive": '{"v": "hash"}'}),
    ("a sensitive key", f"{PLAIN} (id integer primary key, v text)", None, {"sensitive": '{"id": "digest"}'}),
]
STATE = """
select (select count(*) from kos.logged_tables), (select count(*) from kos.shapes), (select count(*) from pg_trigger),
       (select count(*) from pg_proc)
"""


@pytest.mark.parametrize(
    ("ddl", "tenant", "options"), [each[1:] for each in REFUSED], ids=[each[0] for each in REFUSED]
)
def test_what_cannot_be_logged_is_refused(
    superuser: Connection, ddl: str, tenant: str | None, options: dict[str, Any]
) -> None:
    make(superuser, ddl, "t")
    before = superuser.execute(STATE).fetchone()
    with pytest.raises(psycopg.DatabaseError, match="can't be logged") as caught:
        log(superuser, "t", tenant, **options)
    assert caught.value.sqlstate == "KS020"
    assert superuser.execute(STATE).fetchone() == before


def test_who_may_not_make_triggers_leaves_nothing_half_done(superuser: Connection) -> None:
    superuser.execute(TABLE)
    before = superuser.execute(STATE).fetchone()
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        log(superuser)
    assert superuser.execute(STATE).fetchone() == before


def _turn(superuser: Connection) -> int:
    row = superuser.execute("select number from kos.pending_turn").fetchone()
    assert row
    return int(row[0])


def _rotate(superuser: Connection) -> bool:
    row = superuser.execute("select kos.rotate_pending(1)").fetchone()
    assert row
    return bool(row[0])


def _sizes(superuser: Connection) -> tuple[int, int]:
    row = superuser.execute("select pg_relation_size('kos.pending_1'), pg_relation_size('kos.pending_2')").fetchone()
    assert row
    return int(row[0]), int(row[1])


def test_rotation_gives_space_back(things: Connection) -> None:
    assert not _rotate(things)
    assert _turn(things) == 2
    things.execute("update things set v = 'second'")
    assert not _rotate(things), "what waits for its seal is kept"
    assert all(_sizes(things))
    seal(things)
    assert _rotate(things)
    assert _sizes(things)[0] == 0
    for n in range(6):
        things.execute(f"update things set v = 'again {n}'")
        seal(things)
        _rotate(things)
    assert_exact(things)
    assert len(events(things)) == 5 + 5 + 30


@contextmanager
def _open(connection: Connection, *statements: str) -> Iterator[None]:
    with ExitStack() as ended:
        for statement in statements:
            connection.execute(statement)
        ended.callback(connection.execute, "commit")
        yield


def test_an_open_transaction_keeps_its_rows(things: Connection, other: Connection) -> None:
    with _open(other, "begin", f"insert into things values ('{BETA}', 50, 'late')"):
        _rotate(things)
        things.execute("update things set v = 'in the other table'")
        seal(things)
        assert not _rotate(things), "its writer has not ended"
        assert _sizes(things)[0] > 0
        other.execute(f"insert into things values ('{BETA}', 51, 'later')")
    assert not _rotate(things)
    assert_exact(things)
    assert _rotate(things)
    assert_exact(things)


def test_a_session_that_planned_before_the_turn(things: Connection, other: Connection) -> None:
    """Under a snapshot from before the turn it plans for the old table, and keeps to that after its transaction."""
    with _open(other, "begin isolation level repeatable read", "select 1 from things"):
        _rotate(things)
        assert _turn(things) == 2
        other.execute("update things set v = 'straggler' where id = 1")
    seal(things)
    assert things.execute("select kos.rotate_pending()").fetchone() == (True,)
    other.execute("update things set v = 'planned anew' where id = 1")
    assert _sizes(things)[0] == 0
    turns = set()
    for n in range(4):
        other.execute(f"update things set v = 'later {n}' where id = 1")
        seal(things)
        _rotate(things)
        turns.add(_turn(things))
    assert turns == {1, 2}, "they go on taking turns"
    assert_exact(things)


def test_an_old_snapshot_does_not_stand_in_the_way(things: Connection, other: Connection) -> None:
    with _open(
        other, "begin isolation level repeatable read", "select txid_current(), (select count(*) from kos.shapes)"
    ):
        for n in range(4):
            things.execute(f"update things set v = 'x {n}'")
            seal(things)
            _rotate(things)
        assert min(_sizes(things)) == 0
        assert_exact(things)
    assert_exact(things)


def test_truncate_under_an_old_snapshot_is_found(things: Connection, other: Connection) -> None:
    """A limit: it empties what it can't see, so a tenant that came after its snapshot gets no event."""
    with _open(other, "begin isolation level repeatable read", "select 1 from kos.shapes"):
        things.execute(f"insert into things values ('{BETA}', 60, 'of a tenant that the snapshot has not seen')")
        other.execute("truncate things")
    seal(things)
    assert things.execute("select key, fault from kos.compare_log('things')").fetchall() == [(["60"], FAULTS[0])]


STANDS_IN = "select tableoid::regclass::text, count(*) from kos.knowledge_events group by 1"


def _make_partitions(superuser: Connection) -> int:
    row = superuser.execute("select kos.make_log_partitions()").fetchone()
    assert row
    return int(row[0])


def test_a_month_that_is_begun_by_a_seal_gets_its_partition(things: Connection, other: Connection) -> None:
    """Beside the seal it has to wait, and says so; then it moves what the seal left in the default partition."""
    assert things.execute(STANDS_IN).fetchall() == []
    with _open(other, "begin", f"select kos.seal('{ACME}')"), pytest.raises(psycopg.errors.LockNotAvailable):
        _make_partitions(things)
    assert things.execute(STANDS_IN).fetchall() == [("kos.knowledge_events_default", 5)]
    before = things.execute("select * from kos.knowledge_events order by position").fetchall()
    assert _make_partitions(things) == 2
    [(name, count)] = things.execute(STANDS_IN).fetchall()
    assert (name != "kos.knowledge_events_default", count) == (True, 5)
    assert things.execute("select * from kos.knowledge_events order by position").fetchall() == before
    things.execute("update things set v = 'in the same month'")
    assert_exact(things)
    assert things.execute(STANDS_IN).fetchall() == [(name, 10)]
    assert _make_partitions(things) == 0
    assert things.execute(PROTECTION.format(name)).fetchone() == PROTECTED


PROTECTION = """
select relrowsecurity, relforcerowsecurity, has_table_privilege('kos_app', c.oid, 'select')
  from pg_class c where c.oid = '{}'::regclass
"""
PROTECTED = (True, True, False)


def test_a_month_of_much_stays_where_it_is(things: Connection) -> None:
    things.execute(f"insert into things select '{ACME}', n, 'v' from generate_series(10, 10010) n")
    seal(things)
    assert _make_partitions(things) == 1, "the next month only"
    assert [name for name, _ in things.execute(STANDS_IN)] == ["kos.knowledge_events_default"]


def test_who_looks_at_what_waits_reads_no_huge_transaction(things: Connection) -> None:
    few, many = 1_500, 30_000  # both more than are counted

    def blocks(rows: int) -> int:
        things.execute(f"insert into things select '{BETA}', n, 'v' from generate_series(10, %s) n", (9 + rows,))
        row = things.execute("explain (analyze, buffers, format json) select * from kos.unsealed()").fetchone()
        things.execute("select kos.seal(%s)", (BETA,))
        things.execute("truncate things")
        things.execute("select kos.seal(%s)", (BETA,))
        assert row is not None
        plan = row[0][0]["Plan"]
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] + plan["Temp Written Blocks"])

    blocks(few)  # what is read once per session
    assert blocks(many) < 2 * blocks(few)


def test_the_rows_of_a_transaction_that_is_under_way_are_not_looked_at(things: Connection, other: Connection) -> None:
    few, many = 300, 30_000
    ids = itertools.count(10)
    asked = (
        f"explain (analyze, buffers, format json) select * from kos.unsealed_among(array['{BETA}', '{ACME}']::uuid[])"
    )
    things.execute("select kos.seal(%s)", (ACME,))

    def blocks(rows: int) -> int:
        first = next(ids) * 100_000
        written = f"insert into things select '{BETA}', {first} + n, 'v' from generate_series(1, {rows}) n"
        with _open(other, "begin", written):
            things.execute("update things set v = 'seen' where tenant_id = %s and id = 1", (ACME,))
            row = things.execute(asked).fetchone()
        assert row is not None
        plan = row[0][0]["Plan"]
        assert plan["Actual Rows"] == 1, "the other tenant's change, which waits"
        things.execute("select kos.seal(t) from unnest(%s::uuid[]) t", ([ACME, BETA],))
        return int(plan["Shared Hit Blocks"] + plan["Shared Read Blocks"])

    blocks(few)  # what is read once per session
    assert blocks(many) < 2 * blocks(few)


def test_the_status_counts_what_was_sealed_without_reading_every_seal(things: Connection) -> None:
    things.execute(f"insert into things values ('{BETA}', 10, 'v'), ('{BETA}', 11, 'v')")
    seal(things)
    sealed = "select sealed_events from kos.log_status()"
    assert things.execute(sealed).fetchone() == (7,)
    things.execute(
        "insert into kos.seals"
        " select tenant_id, position + n, 1, incarnation, origin, snapshot, foreign_id, committed_at"
        "  from kos.newest_seal(%s), generate_series(1, 20000) n",
        (ACME,),
    )
    things.execute("vacuum analyze kos.seals")
    assert things.execute(sealed).fetchone() == (20_007,)
    row = things.execute("explain (analyze, buffers, format json) select kos.sealed_events()").fetchone()
    pages = things.execute("select relpages from pg_class where oid = 'kos.seals'::regclass").fetchone()
    assert row
    assert pages
    assert row[0][0]["Plan"]["Shared Hit Blocks"] < pages[0] / 5


def test_a_column_may_have_any_name(things: Connection) -> None:
    things.execute("""alter table things add column "a$capture$b" text, add column "c$body$ %s '" text""")
    things.execute("select kos.keep_log()")
    assert things.execute("select * from kos.broken_captures()").fetchall() == []
    things.execute("""update things set "a$capture$b" = 'x', "c$body$ %s '" = 'y'""".replace("%", "%%"), ())
    assert_exact(things)


FAILING = """
create or replace function kos.make_capture(target regclass) returns void language plpgsql as $$
begin
  raise exception 'this table can not be captured anew';
end $$
"""


@pytest.mark.long
def test_what_fails_for_one_table_stops_no_other_upkeep(things: Connection) -> None:
    told: list[str] = []
    things.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    things.execute(FAILING)
    things.execute("alter table things add column more text")
    things.execute("insert into kos.pending_1 select p.* from kos.pending_1 p, generate_series(1, 40000)")
    seal(things)
    things.execute("select kos.keep_log()")
    assert things.execute("select number from kos.pending_turn").fetchone() == (2,)
    assert [line for line in told if "this table can not be captured anew" in line] != []
    assert [fault for _, fault, _ in things.execute("select * from kos.broken_captures()")] == [
        "the table has changed since its capture was made"
    ]
