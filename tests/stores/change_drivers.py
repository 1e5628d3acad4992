"""What drivers and poolers do where `select *` has been prepared and the table gets another column, one case for each
row of the table in docs/schema-change.md. A case opens a driver and gives what is tried over and over: it reads the
table as the driver does, and says how many columns it got."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

import fix_pgbouncer
from fix_node import EXAMPLE
from kos.tenancy import Store
from kos.topology import postgres as opening
from kos.topology.model import Topology
from recipes import UNPREPARED, Django, url

NOTHING, ONCE, EACH = "nothing", "fails once", "fails each time"
STAR = "select * from public.things"
NAMED = "select kind from public.things"
ADD = "alter table public.things add column extra integer"
RETYPE = "alter table public.things alter column kind type bigint"

Attempt = Callable[[], int]
Open = Callable[["Place", ExitStack], Attempt]


@dataclass(frozen=True)
class Place:
    """Where it is tried: a database with a tenant `acme`, and where Node's driver is installed."""

    topology: Topology
    node: Callable[[], Path]


@dataclass(frozen=True)
class Case:
    """A row of the table: what it says on the left, and how it begins on the right."""

    driver: str
    outcome: str
    open: Open
    change: str = ADD


CASES: list[Case] = []


def case(driver: str, outcome: str, change: str = ADD) -> Callable[[Open], Open]:
    def add(opened: Open) -> Open:
        CASES.append(Case(driver, outcome, opened, change))
        return opened

    return add


def called(name: str, package: str) -> str:
    """With the version that is installed here."""
    return f"{name} {'.'.join(version(package).split('.')[:2])}"


@case("a session of kos", NOTHING)
def kos_session(place: Place, end: ExitStack) -> Attempt:
    store = end.enter_context(Store(place.topology, pool_size=1))

    def attempt() -> int:
        with store.tenant("acme") as first:
            first.execute(STAR)
        with store.tenant("acme") as session:
            session.execute("select 1")
            return len(session.execute(STAR).description or ())

    return attempt


@case("… a named column that gets another type, first in its transaction", NOTHING, RETYPE)
def kos_first(place: Place, end: ExitStack) -> Attempt:
    store = end.enter_context(Store(place.topology, pool_size=1))

    def attempt() -> int:
        with store.tenant("acme") as session:
            return len(session.execute(NAMED).description or ())

    return attempt


@case("… the same, later in its transaction", ONCE, RETYPE)
def kos_later(place: Place, end: ExitStack) -> Attempt:
    store = end.enter_context(Store(place.topology, pool_size=1))

    def attempt() -> int:
        with store.tenant("acme") as session:
            session.execute("select 1")
            return len(session.execute(NAMED).description or ())

    return attempt


def with_psycopg(place: Place, end: ExitStack, *, transaction: bool, **options: Any) -> Attempt:
    shard = place.topology.control
    connection = end.enter_context(opening.connect(shard.primary, shard.app))
    for name, value in options.items():
        setattr(connection, name, value)

    def attempt() -> int:
        if not transaction:
            return len(connection.execute(STAR).description or ())
        with connection.transaction():
            return len(connection.execute(STAR).description or ())

    return attempt


@case(called("psycopg", "psycopg"), ONCE)
def psycopg_in_transactions(place: Place, end: ExitStack) -> Attempt:
    return with_psycopg(place, end, transaction=True)


@case("… in autocommit mode", EACH)
def psycopg_in_autocommit(place: Place, end: ExitStack) -> Attempt:
    return with_psycopg(place, end, transaction=False)


@case("… with `prepare_threshold=None`", NOTHING)
def psycopg_unprepared(place: Place, end: ExitStack) -> Attempt:
    return with_psycopg(place, end, transaction=False, prepare_threshold=None)


def with_asyncpg(place: Place, end: ExitStack) -> tuple[asyncio.Runner, Any]:
    loop = end.enter_context(asyncio.Runner())
    address = url(place.topology.control, "asyncpg").set(drivername="postgresql").render_as_string(hide_password=False)

    async def connect() -> Any:
        return await asyncpg.connect(address)

    connection = loop.run(connect())
    end.callback(lambda: loop.run(connection.close()))
    return loop, connection


@case(called("asyncpg", "asyncpg"), NOTHING)
def asyncpg_alone(place: Place, end: ExitStack) -> Attempt:
    loop, connection = with_asyncpg(place, end)

    async def attempt() -> int:
        return len((await connection.fetch(STAR))[0])

    return lambda: loop.run(attempt())


@case("… in a transaction", ONCE)
def asyncpg_in_transactions(place: Place, end: ExitStack) -> Attempt:
    loop, connection = with_asyncpg(place, end)

    async def attempt() -> int:
        async with connection.transaction():
            return len((await connection.fetch(STAR))[0])

    return lambda: loop.run(attempt())


@case("… a statement of `connection.prepare()`", EACH)
def asyncpg_prepared(place: Place, end: ExitStack) -> Attempt:
    loop, connection = with_asyncpg(place, end)
    prepared: list[Any] = []

    async def attempt() -> int:
        if not prepared:
            prepared.append(await connection.prepare(STAR))
        return len((await prepared[0].fetch())[0])

    return lambda: loop.run(attempt())


def with_alchemy(place: Place, end: ExitStack, *, commit: bool) -> Attempt:
    engine = sa.create_engine(url(place.topology.control, "psycopg"), pool_size=1, max_overflow=0)
    end.callback(engine.dispose)

    def attempt() -> int:
        with engine.connect() as connection:
            found = len(connection.execute(sa.text(STAR)).keys())
            if commit:
                connection.commit()
            return found

    return attempt


@case(called("SQLAlchemy", "sqlalchemy") + " with psycopg, transactions that only read and are not committed", NOTHING)
def alchemy(place: Place, end: ExitStack) -> Attempt:
    return with_alchemy(place, end, commit=False)


@case("… transactions that are committed", ONCE)
def alchemy_committed(place: Place, end: ExitStack) -> Attempt:
    return with_alchemy(place, end, commit=True)


def with_async_alchemy(place: Place, end: ExitStack, **options: Any) -> Attempt:
    loop = end.enter_context(asyncio.Runner())
    engine = create_async_engine(url(place.topology.control, "asyncpg"), pool_size=2, connect_args=options)
    end.callback(lambda: loop.run(engine.dispose()))

    async def attempt() -> int:
        async with engine.connect() as one, engine.connect() as other:
            found = [len((await each.execute(sa.text(STAR))).keys()) for each in (one, other)]
            return max(found)

    return lambda: loop.run(attempt())


@case(called("SQLAlchemy", "sqlalchemy") + " with asyncpg", ONCE)
def alchemy_asyncpg(place: Place, end: ExitStack) -> Attempt:
    return with_async_alchemy(place, end)


@case("… with both caches off", NOTHING)
def alchemy_asyncpg_unprepared(place: Place, end: ExitStack) -> Attempt:
    return with_async_alchemy(place, end, **UNPREPARED["asyncpg"])


def with_django(place: Place, end: ExitStack, *, atomic: bool = False, **options: Any) -> Attempt:
    recipe = Django(place.topology, **options)
    end.callback(recipe.close)

    def attempt() -> int:
        from django.db import transaction

        if not atomic:
            return len(recipe.outside(STAR)[0][0])
        with transaction.atomic():
            return len(recipe.outside(STAR)[0][0])

    return attempt


@case(called("Django", "django"), NOTHING)
def django(place: Place, end: ExitStack) -> Attempt:
    return with_django(place, end)


@case("… with `prepare_threshold` and `server_side_binding` in OPTIONS", EACH)
def django_prepared(place: Place, end: ExitStack) -> Attempt:
    return with_django(place, end, prepare_threshold=5, server_side_binding=True)


@case("… the same in `atomic()`", ONCE)
def django_atomic(place: Place, end: ExitStack) -> Attempt:
    return with_django(place, end, atomic=True, prepare_threshold=5, server_side_binding=True)


NODE = """
const { Client } = require('pg')
const client = new Client()
async function main() {
  await client.connect()
  const lines = require('readline').createInterface({ input: process.stdin })
  for await (const line of lines) {
    const said = await client.query(JSON.parse(line)).then((found) => found.fields.length, (error) => error.message)
    console.log(JSON.stringify(said))
  }
  await client.end()
}
main()
"""


def with_node(place: Place, end: ExitStack, **query: str) -> Attempt:
    shard = place.topology.control
    assert shard.app.password is not None
    program = end.enter_context(
        subprocess.Popen(
            ["node", "-e", NODE],
            cwd=place.node(),
            env={
                "PATH": "/usr/local/bin:/usr/bin:/bin",
                "PGHOST": shard.primary.host,
                "PGPORT": str(shard.primary.port),
                "PGDATABASE": shard.primary.database,
                "PGUSER": shard.app.user or "",
                "PGPASSWORD": shard.app.password.read(),
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
    )

    def attempt() -> int:
        assert program.stdin is not None
        assert program.stdout is not None
        print(json.dumps({"text": STAR, **query}), file=program.stdin, flush=True)
        said = json.loads(program.stdout.readline())
        if isinstance(said, str):
            raise RuntimeError(said)
        return int(said)

    return attempt


_PG = json.loads((EXAMPLE / "package.json").read_text(encoding="utf-8"))["dependencies"]["pg"]


@case(f"Node's `pg` {'.'.join(_PG.split('.')[:2])}", NOTHING)
def node(place: Place, end: ExitStack) -> Attempt:
    return with_node(place, end)


@case("… a query with a `name`", EACH)
def node_named(place: Place, end: ExitStack) -> Attempt:
    return with_node(place, end, name="things")


@case("PgBouncer in transaction mode, drivers as in [Behind a pooler](how-to/poolers.md#prepared-statements)", NOTHING)
def pooler(place: Place, end: ExitStack) -> Attempt:
    behind = Place(end.enter_context(fix_pgbouncer.behind_pgbouncer(place.topology, 8)), place.node)
    each = [kos_session(behind, end), psycopg_unprepared(behind, end), alchemy_asyncpg_unprepared(behind, end)]
    each += [django(behind, end), node(behind, end)]
    return lambda: max(attempt() for attempt in each)


@case("… 1.25 with `max_prepared_statements`, one connection to the server, psycopg in transactions", ONCE)
def pooler_prepared(place: Place, end: ExitStack) -> Attempt:
    if fix_pgbouncer.version() < (1, 22):
        pytest.skip("this PgBouncer does not carry prepared statements, and forget them again")
    behind = end.enter_context(fix_pgbouncer.behind_pgbouncer(place.topology, more="max_prepared_statements = 100"))
    return with_psycopg(Place(behind, place.node), end, transaction=True, prepare_threshold=5)
