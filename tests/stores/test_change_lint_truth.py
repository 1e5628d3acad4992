"""What the linter says of PostgreSQL is so: each statement of the corpus, run on each version."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from kos.schema_change.lint import lint
from kos.schema_change.lint_columns import STEADY
from kos.schema_change.model import Recipe
from kos.schema_change.parse import parse_change
from kos.schema_change.plan import plan_recipe
from lint_corpus import DANGEROUS, LIGHT, SAFE, SETUP, Case

Connection = psycopg.Connection[tuple[object, ...]]
STRENGTH = (
    "",
    "AccessShareLock",
    "RowShareLock",
    "RowExclusiveLock",
    LIGHT,
    "ShareLock",
    "ShareRowExclusiveLock",
    "ExclusiveLock",
    "AccessExclusiveLock",
)
LOCKS = """
    select l.mode from pg_locks l where l.pid = pg_backend_pid() and l.locktype = 'relation' and l.relation = %s
"""
FILES = """
    select oid, oid::regclass::text, pg_relation_filenode(oid) from pg_class where relnamespace = 'public'::regnamespace
"""
SCANS = "select coalesce(sum(seq_scan), 0) from pg_stat_xact_user_tables where relid = %s"
TOGETHER = [
    each for each in SAFE if not re.search("index concurrently|[(]concurrently|child concurrently|vacuum", each)
]


@pytest.fixture(
    scope="module",
    params=["wheel", *(pytest.param(each, marks=pytest.mark.long) for each in ("debian", "16", "17"))],
)
def server(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> OwnPostgres:
    server = own_postgres(request.param)
    server.start()
    server.execute(*SETUP)
    return server


@pytest.fixture
def connection(server: OwnPostgres) -> Iterator[Connection]:
    """Whose transaction is taken back at the end."""
    with server.connect() as connection:
        connection.autocommit = False
        yield connection
        connection.rollback()


def observed(connection: Connection, sql: str, table: str) -> tuple[str, bool, bool]:
    """The strongest lock on a table, whether its rows were read, and whether they were written anew."""
    before = {oid: (name, node) for oid, name, node in connection.execute(FILES).fetchall()}
    [relation] = [oid for oid, (name, _) in before.items() if name == table]
    [(scanned,)] = connection.execute(SCANS, (relation,)).fetchall()  # by transactions before, not yet reported
    connection.execute(sql)  # type: ignore[call-overload]
    modes = [str(mode) for (mode,) in connection.execute(LOCKS, (relation,)).fetchall()]
    [(scans,)] = connection.execute(SCANS, (relation,)).fetchall()
    after = {oid: node for oid, _, node in connection.execute(FILES).fetchall()}
    rewritten = relation in after and after[relation] != before[relation][1]
    return max(modes, key=STRENGTH.index, default=""), scans != scanned, rewritten


@pytest.mark.parametrize(
    "case", [each for each in DANGEROUS if each.runs], ids=lambda case: f"{case.table}: {case.sql}"
)
def test_what_postgresql_does(connection: Connection, case: Case) -> None:
    if connection.info.server_version // 10000 < case.since:
        pytest.skip(f"new in PostgreSQL {case.since}")
    lock, scans, rewrites = observed(connection, case.sql, case.table)
    if case.lock:
        expected = scans if case.scans is None else case.scans
        assert (lock, scans, rewrites) == (case.lock, expected, case.rewrites)


@pytest.mark.parametrize("sql", TOGETHER)
def test_what_is_harmless_reads_and_rewrites_nothing_under_a_lock(connection: Connection, sql: str) -> None:
    for table in ("x", "y", "apart"):
        with connection.transaction(force_rollback=True):
            lock, scans, rewrites = observed(connection, sql, table)
            assert not rewrites
            assert not scans or STRENGTH.index(lock) <= STRENGTH.index(LIGHT)


PROOF = (
    "alter table x add constraint d check (a is not null) not valid",
    "alter table x validate constraint d",
)


@pytest.mark.parametrize(
    ("before", "sql", "table", "scans"),
    [
        (PROOF, "alter table x alter a set not null", "x", False),
        (PROOF[:1], "alter table x alter a set not null", "x", True),
        (PROOF, "alter table x drop constraint d, alter a set not null", "x", True),
        (PROOF, "alter table x alter a set not null, drop constraint d", "x", True),
        (PROOF[:1], "alter table x validate constraint d, alter a set not null", "x", True),
        (
            ("alter table apart add constraint d check (k is not null and k = 2)",),
            "alter table parent attach partition apart for values in (2)",
            "apart",
            False,
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_spares_a_scan(
    connection: Connection, before: tuple[str, ...], sql: str, table: str, *, scans: bool
) -> None:
    for each in before:
        connection.execute(each)  # type: ignore[call-overload]
    connection.commit()
    try:
        assert observed(connection, sql, table)[1] is scans
        connection.rollback()
        found = lint("\n".join(f"{each};" for each in ("set lock_timeout = '1s'", *before, sql)))
        mistakes = {each.rule for each in found if each.line == len(before) + 2}
        assert bool(mistakes) is scans
    finally:
        connection.rollback()
        connection.execute(f"alter table {table} drop constraint d")  # type: ignore[call-overload]
        connection.commit()


def test_a_constraint_of_not_null_proves_it_too(connection: Connection) -> None:
    if connection.info.server_version < 180000:
        pytest.skip("new in PostgreSQL 18")
    connection.execute("alter table x add constraint d not null a not valid")
    scans = "select seq_scan from pg_stat_xact_user_tables where relname = 'x'"
    connection.execute("alter table x validate constraint d")
    before = connection.execute(scans).fetchone()
    connection.execute("alter table x alter a set not null")
    assert connection.execute(scans).fetchone() == before


@pytest.mark.parametrize(
    ("statements", "state"),
    [
        (("create index concurrently i on x (a)",), "25001"),
        (("reindex (concurrently) index x_b",), "25001"),
        (("drop index concurrently x_b",), "25001"),
        (("alter table parent detach partition child concurrently",), "25001"),
        (("alter system set work_mem = '1MB'",), "25001"),
        (("vacuum x",), "25001"),
        (("alter type mood add value 'glad'", "update x set m = 'glad' where id = 1"), "55P04"),
    ],
)
def test_what_a_transaction_refuses(connection: Connection, statements: tuple[str, ...], state: str) -> None:
    with pytest.raises(psycopg.Error) as refused:
        for each in ("select 1", *statements):
            connection.execute(each)  # type: ignore[call-overload]
    assert refused.value.sqlstate == state
    [finding] = lint("; ".join(statements), in_transaction=True)
    assert f"({state})" in finding.danger


def test_the_steady_functions_are_steady(connection: Connection) -> None:
    query = "select distinct proname from pg_proc where provolatile = 'v' and pronamespace = 'pg_catalog'::regnamespace"
    assert {name for (name,) in connection.execute(query).fetchall()} & STEADY == set()


def schema(connection: Connection) -> list[tuple[object, ...]]:
    """Of x: its columns, constraints and indexes, without their names."""
    columns = connection.execute("""
        select attname, format_type(atttypid, atttypmod), attnotnull, pg_get_expr(adbin, adrelid) from pg_attribute
          left join pg_attrdef on adrelid = attrelid and adnum = attnum
          where attrelid = 'x'::regclass and attnum > 0 and not attisdropped order by 1""").fetchall()
    constraints = connection.execute("""
        select conname, pg_get_constraintdef(oid), convalidated from pg_constraint
          where conrelid = 'x'::regclass and contype <> 'n' order by 1""").fetchall()
    indexes = connection.execute("""
        select pg_get_indexdef(indexrelid), indisvalid from pg_index where indrelid = 'x'::regclass order by 1
        """).fetchall()
    return [*columns, *constraints, *indexes]


REPLACED = ("index", "drop-index", "unique", "primary-key", "check", "foreign-key", "not-null")


@pytest.mark.parametrize(
    "case",
    [each for each in DANGEROUS if each.rule in REPLACED and each.runs and each.table == "x"],
    ids=lambda case: case.sql,
)
def test_its_advice_comes_to_the_same(server: OwnPostgres, case: Case) -> None:
    """Run in pieces, without a transaction around it, where the constraint drops no word of the naive form."""
    with server.connect() as connection:
        version = connection.info.server_version // 10000
        if version < case.since:
            pytest.skip(f"new in PostgreSQL {case.since}")
        connection.execute("create schema naive; create schema online")
        try:
            made = {}
            [finding] = [
                each for each in lint(f"set lock_timeout = '1s'; {case.sql}", version=version) if each.rule == case.rule
            ]
            lines = [each for each in finding.instead.splitlines() if each.split(" ")[0].isupper()]
            for name, statements in (("naive", [case.sql]), ("online", [line.split(";")[0] for line in lines])):
                connection.execute(f"set search_path = {name}")  # type: ignore[call-overload]
                for each in ("create table y (id integer primary key)", TABLE, "insert into y select 1", ROW):
                    connection.execute(each)
                connection.execute("create index x_b on x (b)")
                for each in statements:
                    connection.execute(each)  # type: ignore[call-overload]
                made[name] = [tuple(str(part).replace(f"{name}.", "") for part in row) for row in schema(connection)]
            assert made["online"] == made["naive"]
        finally:
            connection.execute("drop schema naive cascade; drop schema online cascade")


TABLE = "create table x (id integer not null, a integer, b integer)"
ROW = "insert into x values (1, 1, 1)"


@pytest.mark.parametrize("case", DANGEROUS, ids=lambda case: f"{case.table}: {case.sql}")
def test_what_kos_change_is_said_to_do(server: OwnPostgres, case: Case) -> None:
    [finding, *_] = [each for each in lint(f"set lock_timeout = '1s'; {case.sql}") if each.rule == case.rule]
    if "\nor: kos change start FILE" not in finding.instead:
        return
    with server.connect() as connection:
        if connection.info.server_version // 10000 >= case.since:
            assert plan_recipe(connection, "public", parse_change(case.sql), "tag") != Recipe()
