"""The recipes of examples/, each directly and behind PgBouncer, on a pool of one connection that all tenants share."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from fix_pgbouncer import behind_pgbouncer
from kos.tenancy import Store, create_tenant, fence
from kos.topology.model import Topology
from recipes import UNPREPARED, Alchemy, AsyncAlchemy, AsyncpgAlchemy, Django, Recipe, sqlalchemy_sync, url

TIERS = {"acme": "row", "gamma": "schema", "beta": "row", "delta": "schema"}
PID = "select pg_backend_pid()"
NAMES = "select name from atoms order by name"
LEFT_BEHIND = """
select current_setting('search_path'), coalesce(current_setting('kos.tenant_id', true), ''),
       coalesce(current_setting('kos.user_id', true), ''), current_setting('transaction_timeout')
"""
NOTHING = [[('"$user", public', "", "", "0")]]
AGAIN = "do $$ begin raise exception 'again' using errcode = '{}'; end $$"


def insert(name: str) -> str:
    return f"insert into atoms (atom_type, name) values ('T', '{name}')"


@pytest.fixture(scope="module")
def store(module_database: Topology) -> Iterator[Store]:
    """Two tenants of each tier, for the whole module."""
    with Store(module_database) as store:
        for name, tier in TIERS.items():
            create_tenant(store, name, tier)
        yield store


@pytest.fixture(scope="module", params=["direct", "pgbouncer"])
def front(request: pytest.FixtureRequest, store: Store) -> Iterator[Topology]:
    """How a recipe reaches the database."""
    if request.param == "direct":
        yield store.topology
        return
    with behind_pgbouncer(store.topology) as topology:
        yield topology


@pytest.fixture
def empty(store: Store) -> None:
    for name in TIERS:
        with store.tenant(name) as session:
            session.execute("delete from atoms")


@pytest.fixture(params=[Alchemy, AsyncAlchemy, AsyncpgAlchemy, Django], ids=lambda kind: kind.__name__)
def recipe(request: pytest.FixtureRequest, front: Topology, empty: None) -> Iterator[Recipe]:
    made = request.param(front)
    yield made
    made.close()


def test_tenants_share_a_connection_and_no_rows(recipe: Recipe) -> None:
    pids = set()
    for _ in range(8):  # beyond the fifth, psycopg prepares its statements
        for name in TIERS:
            *_, [(server,)] = recipe.inside(name, insert(name), PID)
            pids.add(server)
    for name in TIERS:
        assert recipe.inside(name, NAMES, "select distinct name from atoms") == [[(name,)] * 8, [(name,)]]
    assert recipe.outside(LEFT_BEHIND) == NOTHING
    pids.add(recipe.outside(PID)[0][0][0])
    assert len(pids) == 1


def test_the_mapped_class_stays_in_its_tenant(recipe: Recipe) -> None:
    ids = set()
    for name in TIERS:
        made, names = recipe.model(name, name)
        assert names == [name]
        ids.add(str(made))
    assert len(ids) == len(TIERS)


def test_the_database_refuses_who_has_not_entered(recipe: Recipe) -> None:
    for name in TIERS:
        recipe.inside(name, insert(name))  # of an empty table nobody asks whose its rows are
    with pytest.raises(Exception, match="this transaction has entered no tenant") as caught:
        recipe.outside("select name from knowledge.atoms")
    assert recipe.sqlstate(caught.value) == "KS001"
    # Without the search path of a tenant, its tables are not even found.
    with pytest.raises(Exception, match='relation "atoms" does not exist'):
        recipe.outside(NAMES)


def test_autocommit_is_refused(recipe: Recipe) -> None:
    with pytest.raises(recipe.refused, match=r"(?i)autocommit"):
        recipe.autocommit("acme")
    assert recipe.outside(LEFT_BEHIND) == NOTHING


def test_a_failed_transaction_leaves_nothing(recipe: Recipe) -> None:
    with pytest.raises(Exception, match="division by zero"):
        recipe.inside("acme", insert("failed"), "select 1/0")
    assert recipe.outside(LEFT_BEHIND) == NOTHING
    assert recipe.inside("acme", NAMES) == [[]]


def test_a_stale_epoch_is_refused_and_looked_up_again(recipe: Recipe, store: Store) -> None:
    new = fence.raise_epoch(store, "gamma").epoch
    old = new - 1
    runs: list[int] = []
    assert recipe.transact("gamma", [insert("once"), NAMES], [old, old, new], runs)[1] == [("once",)]
    assert len(runs) == 1, "nothing runs at an old epoch"
    with pytest.raises(Exception, match=f"at epoch {new}, this session came for {old}") as caught:
        recipe.transact("gamma", [insert("never")], [old, old], runs)
    assert recipe.sqlstate(caught.value) == "KS003"
    assert recipe.inside("gamma", NAMES) == [[("once",)]]
    assert recipe.outside(LEFT_BEHIND) == NOTHING


def test_only_what_did_not_happen_runs_again(recipe: Recipe) -> None:
    for code, attempts in {"40001": 3, "40P01": 3, "KS003": 3, "23505": 1, "KS002": 1}.items():
        runs: list[int] = []
        with pytest.raises(Exception, match="again") as caught:
            recipe.transact("acme", [insert("doubled?"), AGAIN.format(code)], [None] * 3, runs)
        assert recipe.sqlstate(caught.value) == code
        assert len(runs) == attempts, code
    assert recipe.inside("acme", NAMES) == [[]]


def test_an_unknown_tenant_and_none_are_told(recipe: Recipe) -> None:
    with pytest.raises(Exception, match="there is no tenant nobody in this database") as caught:
        recipe.inside("nobody", PID)
    assert recipe.sqlstate(caught.value) == "KS002"
    with pytest.raises(recipe.refused, match="no tenant"):
        recipe.inside("", PID)
    assert recipe.outside(LEFT_BEHIND) == NOTHING


# what is particular to one


@pytest.mark.parametrize("kind", [Alchemy, AsyncAlchemy, AsyncpgAlchemy])
def test_prepared_statements_survive_an_upgrade_between_schemas(store: Store, empty: None, kind: type[Alchemy]) -> None:
    """While `kos upgrade` goes through the tenants' schemas, one statement meets tables of two shapes."""
    query = "select * from atoms"

    def both(recipe: Alchemy, turns: int) -> set[int]:
        return {
            len(row)
            for _ in range(turns)
            for name in ("gamma", "delta")
            for row in recipe.transact(name, [query], [None] * 2, [])[0]
        }

    recipe = kind(store.topology)
    for name in ("gamma", "delta"):
        recipe.inside(name, insert(name))
    (width,) = both(recipe, 8)
    with store.operator() as operator:
        operator.execute("alter table tenant_gamma.atoms add column extra integer")
        try:
            assert both(recipe, 8) == {width, width + 1}
        finally:
            operator.execute("alter table tenant_gamma.atoms drop column extra")
            recipe.close()


def test_a_sqlalchemy_session_enters_again_after_its_commit(store: Store, empty: None) -> None:
    recipe = Alchemy(store.topology)
    with sqlalchemy_sync.tenant_session(recipe.engine, "acme") as session:
        session.execute(sa.text(insert("first")))
        session.commit()
        recipe.inside("beta", insert("between"))
        with session.begin_nested():
            session.execute(sa.text(insert("second")))
        session.commit()
        assert session.scalars(sa.text(NAMES)).all() == ["first", "second"]
    recipe.close()


async def _prepare_beside_others(topology: Topology, driver: str, options: dict[str, Any]) -> None:
    """Statements of one engine by several clients at once, on more server connections than one."""
    engine = create_async_engine(url(topology.control, driver), connect_args=options, pool_size=6)

    async def work(number: int) -> None:
        for _ in range(12):
            async with engine.connect() as connection:
                for query in ("select 1", f"select {number}", "select pg_sleep(0.001)"):
                    await connection.execute(sa.text(query))

    ended = await asyncio.gather(*map(work, range(6)), return_exceptions=True)
    await engine.dispose()
    for error in filter(None, ended):
        raise error


@pytest.mark.parametrize(("driver", "prepared"), [("psycopg", {"prepare_threshold": 0}), ("asyncpg", {})])
def test_behind_a_pooler_drivers_must_not_prepare(store: Store, driver: str, prepared: dict[str, Any]) -> None:
    """One server connection would hide it: a statement that was prepared is there whenever it is looked for."""
    with behind_pgbouncer(store.topology, size=3) as topology:
        with pytest.raises(sa.exc.DBAPIError, match=r"prepared statement .* (already exists|does not exist)"):
            asyncio.run(_prepare_beside_others(topology, driver, prepared))
        asyncio.run(_prepare_beside_others(topology, driver, UNPREPARED[driver]))


def test_django_refuses_what_would_outlive_its_block(store: Store) -> None:
    from django.db import transaction

    from django_recipe.tenancy import tenant

    recipe = Django(store.topology)
    try:
        with pytest.raises(RuntimeError, match="durable"), transaction.atomic(), tenant("acme"):
            pytest.fail("entered")
        recipe.connection.set_autocommit(False)
        with pytest.raises(RuntimeError, match="AUTOCOMMIT off"), tenant("acme"):
            pytest.fail("entered")
    finally:
        recipe.connection.set_autocommit(True)
        recipe.close()


def test_django_enters_within_the_transaction_of_a_request(store: Store, empty: None) -> None:
    """What a view does under ATOMIC_REQUESTS, where tenant() is refused."""
    from django.db import transaction

    from django_recipe.tenancy import enter

    recipe = Django(store.topology)
    with transaction.atomic():
        enter("acme")
        recipe.outside(insert("request"))
    assert recipe.outside(LEFT_BEHIND) == NOTHING
    assert recipe.inside("acme", NAMES) == [[("request",)]]
    recipe.close()


def test_django_runs_nothing_again_that_was_committed(store: Store, empty: None) -> None:
    from django.db import DatabaseError, transaction

    from django_recipe.tenancy import transact

    recipe = Django(store.topology)

    def work() -> None:
        recipe.outside(insert("once"))
        transaction.on_commit(lambda: recipe.outside(AGAIN.format("40001")) and None)

    try:
        with pytest.raises(DatabaseError, match="again"):
            transact("acme", work)
        assert recipe.inside("acme", NAMES) == [[("once",)]]
    finally:
        recipe.close()


# Node


def test_node(node_recipe: Path, front: Topology, store: Store, empty: None) -> None:
    app, operator = front.control.app, store.topology.control.operator
    direct, primary = store.topology.control.primary, front.control.primary
    assert app.password is not None
    assert operator.password is not None
    environment = {
        "PATH": os.environ["PATH"],
        "PGHOST": primary.host,
        "PGPORT": str(primary.port),
        "PGDATABASE": primary.database,
        "PGUSER": app.user,
        "PGPASSWORD": app.password.read(),
        "KOS_OPERATOR_PORT": str(direct.port),
        "KOS_OPERATOR_PASSWORD": operator.password.read(),
        "TENANTS": ",".join(TIERS),
    }
    command = ["node", "--test", "--test-reporter=tap", "tenant.test.js"]
    done = subprocess.run(
        command, cwd=node_recipe, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# pass 9$", done.stdout, re.MULTILINE), done.stdout
