"""Tables get other columns while sessions have statements prepared on them."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from fix_pgbouncer import behind_pgbouncer
from fix_twins import Twin
from kos import errors
from kos.schema_change import finish, plan_change, start
from kos.tenancy import Store, create_tenant
from kos.tenancy.preparing import has_star
from kos.topology.model import Topology

STAR = "select * from atoms"
NAMED = "select number_value from atoms"
ON_SERVER = "select count(*) from pg_prepared_statements where statement = '{}'"
OFTEN = 8  # psycopg prepares what it has run five times
SIZE = 3
ADD = "alter table atoms add column extra integer"
RETYPE = "alter table atoms alter column number_value type double precision"
CHANGE = """
-- kos: fill atoms.shade = 'grey'
alter table atoms add column shade text not null;
alter table atoms rename column value to content;
"""


@pytest.fixture
def names(store: Store) -> list[str]:
    """A tenant among others' rows and one with tables of its own, named as their tiers; a row in each."""
    for tier in ("row", "schema"):
        create_tenant(store, tier, tier)
        with store.tenant(tier) as session:
            session.execute("insert into atoms (atom_type, name, number_value) values ('T', 'x', 1)")
    return ["row", "schema"]


def everywhere(twin: Twin, tenant: str, *statements: str, size: int = SIZE) -> list[Any]:
    """The rows of the last one; all of them in one session on each connection of the pool."""
    sessions = [twin.enter(tenant) for _ in range(size)]
    failure: BaseException | None = None
    try:
        rows = [[row for session in sessions for row in twin.execute(session, each)] for each in statements]
    except BaseException as error:
        failure = error
        raise
    finally:
        for session in sessions:
            twin.leave(session, failure)
    return rows[-1]


def width(twin: Twin, tenant: str, size: int = SIZE) -> int:
    """How many columns a star has, as the first statement and as a later one, often on each connection."""
    rows = []
    for _ in range(OFTEN):
        rows += everywhere(twin, tenant, STAR, size=size)
        rows += everywhere(twin, tenant, "select 1", STAR, size=size)
    (found,) = {len(row) for row in rows}
    return found


def by_hand(store: Store, change: str) -> None:
    """In the row tier and in the schema."""
    with store.operator() as operator:
        for schema in ("knowledge", "tenant_schema"):
            operator.execute(SQL("set search_path = {}").format(Identifier(schema)))
            operator.execute(change.encode())


def add(store: Store) -> None:
    by_hand(store, ADD)


def begin(store: Store) -> None:
    start(store, plan_change(store, CHANGE, name="shades"))


@pytest.mark.parametrize(("steps", "more"), [((add,), [1]), ((begin, finish), [2, 1])], ids=["by hand", "kos change"])
def test_no_star_fails(
    twin_of: Any, database: Topology, store: Store, names: list[str], steps: tuple[Any, ...], more: list[int]
) -> None:
    """In a pool in which each connection has it prepared."""
    twin = twin_of(database, pool_size=SIZE)
    before = [width(twin, name) for name in names]
    for step, wider in zip(steps, more, strict=True):
        assert everywhere(twin, names[0], "select 1", ON_SERVER.format(STAR)) == [(1,)] * SIZE
        step(store)
        assert [width(twin, name) for name in names] == [each + wider for each in before]


def test_no_star_fails_while_there_are_tables_of_two_shapes(twin: Twin, store: Store, names: list[str]) -> None:
    """One connection, so that what was prepared in one tenant's schema is used in the other's."""
    create_tenant(store, "late", "schema")
    twin.run("late", "insert into atoms (atom_type, name) values ('T', 'x')")
    before = width(twin, "schema", size=1)
    by_hand(store, ADD)
    for _ in range(2):
        assert width(twin, "late", size=1) == before
        assert width(twin, "schema", size=1) == before + 1


def test_a_star_in_a_transaction_that_was_open_meanwhile(twin_of: Any, store: Store, names: list[str]) -> None:
    twin = twin_of(store.topology, pool_size=1)
    before = width(twin, "schema", size=1)
    session = twin.enter("schema")
    twin.execute(session, "select 1")
    by_hand(store, ADD)
    [row] = twin.execute(session, STAR)
    twin.leave(session)
    assert len(row) == before + 1


def test_a_named_column_that_gets_another_type(twin_of: Any, store: Store, names: list[str]) -> None:
    """A first statement goes on. In the middle of a transaction nothing can be sent again: once per connection."""
    first, later = twin_of(store.topology, pool_size=SIZE), twin_of(store.topology, pool_size=1)
    for _ in range(OFTEN):
        everywhere(first, "schema", NAMED)
        later.run("schema", "select 1", NAMED)
    by_hand(store, RETYPE)
    assert everywhere(first, "schema", NAMED) == [(1.0,)] * SIZE
    with pytest.raises(errors.TablesChanged) as caught:
        later.run("schema", "select 1", NAMED)
    assert caught.value.retryable
    assert later.run("schema", "select 1", NAMED)[1] == [(1.0,)]


def test_no_star_fails_behind_a_pooler(twin_of: Any, database: Topology, store: Store, names: list[str]) -> None:
    with behind_pgbouncer(database, SIZE) as pooled:
        twin = twin_of(pooled, pool_size=SIZE)
        before = width(twin, "schema")
        by_hand(store, ADD)
        assert width(twin, "schema") == before + 1
        twin.close()


def test_no_star_fails_of_whoever_has_the_connection_in_hand(store: Store, names: list[str]) -> None:
    """Both sorts of store have their connections decide in the same way."""

    def work() -> tuple[int, int]:
        with store.tenant("schema") as session:
            cursor = session.connection.cursor()
            starred = cursor.execute(STAR, prepare=True).fetchall()
            cursor.executemany("update atoms set version = version + %s returning *", [(1,), (1,)], returning=True)
            return len(starred[0]), len(cursor.fetchall()[0])

    (before,) = {work() for _ in range(OFTEN)}
    by_hand(store, ADD)
    (after,) = {work() for _ in range(OFTEN)}
    assert after == tuple(each + 1 for each in before)


BREAK = (
    "select * from t",
    "SELECT*FROM t",
    "select all * from t",
    "select distinct * from t",
    "select distinct on (a) * from t",
    "select a,* from t",
    'select a as "b", * from t',
    "select t.* from t",
    "select 1 as one, t . * from t",
    "select (t).* from t",
    "select (r).* from (select t as r from t) s",
    "select /* all */ * from t",
    "select /* all */* from t",
    "select -- all of it\n* from t",
    "table t",
    "(table t)",
    "with s as (table t) select s.* from s",
    "insert into t (a) values (1) returning *",
    "update t set a = a * 2 returning t.*",
    "delete from t returning\n  *",
    "merge into t using (values (1)) v (b) on t.a = v.b when matched then update set a = 2 returning *",
)
STAND = (
    "select a from t",
    "select count(*) from t",
    "select a * a from t",
    'select a*2, 3 * a, "a" * 4 from t',
    "update t set a = a * 2",
    "select t from t",
)


@pytest.mark.parametrize(("statements", "breaks"), [(BREAK, True), (STAND, False)], ids=["break", "stand"])
def test_which_statements_a_new_column_breaks(
    superuser: psycopg.Connection[Any], statements: tuple[str, ...], breaks: bool
) -> None:
    """What PostgreSQL does, and what is held of them before it does."""
    broken = {}
    for statement in statements:
        superuser.execute("create temporary table t (a integer)")
        superuser.execute(f"prepare p as {statement}".encode())
        superuser.execute("alter table t add column extra integer")
        try:
            superuser.execute("execute p")
            broken[statement] = False
        except psycopg.errors.FeatureNotSupported:
            broken[statement] = True
        superuser.execute("deallocate p; drop table t")
    assert broken == dict.fromkeys(statements, breaks) == {each: has_star(each.encode()) for each in statements}
