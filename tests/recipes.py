"""The recipes of examples/, behind one face each, so that one set of expectations holds all of them."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from kos.topology.model import Shard, Topology

EXAMPLES = Path(__file__).parents[1] / "examples"
sys.path.insert(0, str(EXAMPLES))

import sqlalchemy_async  # noqa: E402
import sqlalchemy_sync  # noqa: E402

Rows = list[list[tuple[Any, ...]]]
# Behind a pooler a prepared statement is met by another server connection.
UNPREPARED: dict[str, dict[str, Any]] = {
    "psycopg": {"prepare_threshold": None},
    "asyncpg": {"statement_cache_size": 0, "prepared_statement_cache_size": 0},
}


class Recipe(Protocol):
    """What a recipe does, on a pool of one connection."""

    refused: tuple[type[Exception], ...]

    def inside(self, tenant: str, *statements: str) -> Rows:
        """The statements in one session of the recipe."""

    def transact(self, tenant: str, statements: Sequence[str], epochs: Sequence[int | None], runs: list[int]) -> Rows:
        """The statements with the recipe's retries; `runs` gets an entry whenever the work begins."""

    def outside(self, *statements: str) -> Rows:
        """The statements on the same pool, with no tenant."""

    def autocommit(self, tenant: str) -> None:
        """What the recipe refuses: a tenant without a transaction."""

    def model(self, tenant: str, name: str) -> tuple[Any, list[str]]:
        """Write an atom through the mapped class, and change it: its id, and all names that the class then finds."""

    def sqlstate(self, error: Exception) -> str | None: ...

    def close(self) -> None: ...


def url(shard: Shard, driver: str) -> sa.URL:
    server, login = shard.primary, shard.app
    assert login.password is not None
    return sa.URL.create(
        f"postgresql+{driver}", login.user, login.password.read(), server.host, server.port, server.database
    )


def _rows(result: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in result] if result.returns_rows else []


class Alchemy:
    """SQLAlchemy, synchronous, with psycopg."""

    refused = (RuntimeError,)

    def __init__(self, topology: Topology) -> None:
        shard = topology.control
        options = UNPREPARED["psycopg"] if shard.primary.pooler else {}
        self.engine: Any = sa.create_engine(url(shard, "psycopg"), pool_size=1, max_overflow=0, connect_args=options)

    def inside(self, tenant: str, *statements: str) -> Rows:
        with sqlalchemy_sync.tenant_session(self.engine, tenant) as session, session.begin():
            return [_rows(session.execute(sa.text(statement))) for statement in statements]

    def transact(self, tenant: str, statements: Sequence[str], epochs: Sequence[int | None], runs: list[int]) -> Rows:
        believed = iter(epochs)

        def work(session: Any) -> Rows:
            runs.append(1)
            return [_rows(session.execute(sa.text(statement))) for statement in statements]

        return sqlalchemy_sync.transact(
            lambda: sqlalchemy_sync.tenant_session(self.engine, tenant, epoch=next(believed)), work, len(epochs)
        )

    def outside(self, *statements: str) -> Rows:
        with self.engine.connect() as connection:
            return [_rows(connection.execute(sa.text(statement))) for statement in statements]

    def autocommit(self, tenant: str) -> None:
        engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
        with sqlalchemy_sync.tenant_session(engine, tenant) as session:
            session.execute(sa.text("select 1"))

    def model(self, tenant: str, name: str) -> tuple[Any, list[str]]:
        with sqlalchemy_sync.tenant_session(self.engine, tenant) as session, session.begin():
            atom = sqlalchemy_sync.Atom(atom_type="T", name="new", number_value=1.5)
            session.add(atom)
            session.flush()
            atom.name = name
            return atom.id, list(session.scalars(sa.select(sqlalchemy_sync.Atom.name)))

    def sqlstate(self, error: Exception) -> str | None:
        return getattr(getattr(error, "orig", None), "sqlstate", None)

    def close(self) -> None:
        assert self.engine.pool.checkedout() == 0
        self.engine.dispose()


class AsyncAlchemy(Alchemy):
    """SQLAlchemy on asyncio; one event loop for all calls, as its pool wants it."""

    driver = "psycopg"

    def __init__(self, topology: Topology) -> None:
        shard = topology.control
        options = UNPREPARED[self.driver] if shard.primary.pooler else {}
        self.engine = create_async_engine(url(shard, self.driver), pool_size=1, max_overflow=0, connect_args=options)
        self.loop = asyncio.Runner()

    def inside(self, tenant: str, *statements: str) -> Rows:
        async def work() -> Rows:
            async with self.session(tenant) as session, session.begin():
                return [_rows(await session.execute(sa.text(statement))) for statement in statements]

        return self.loop.run(work())

    def session(self, tenant: str, **entry: Any) -> AsyncSession:
        return sqlalchemy_async.tenant_session(self.engine, tenant, **entry)

    def transact(self, tenant: str, statements: Sequence[str], epochs: Sequence[int | None], runs: list[int]) -> Rows:
        believed = iter(epochs)

        async def work(session: Any) -> Rows:
            runs.append(1)
            return [_rows(await session.execute(sa.text(statement))) for statement in statements]

        return self.loop.run(
            sqlalchemy_async.transact(lambda: self.session(tenant, epoch=next(believed)), work, len(epochs))
        )

    def outside(self, *statements: str) -> Rows:
        async def work() -> Rows:
            async with self.engine.connect() as connection:
                return [_rows(await connection.execute(sa.text(statement))) for statement in statements]

        return self.loop.run(work())

    def autocommit(self, tenant: str) -> None:
        async def work() -> None:
            engine = self.engine.execution_options(isolation_level="AUTOCOMMIT")
            async with sqlalchemy_async.tenant_session(engine, tenant) as session:
                await session.execute(sa.text("select 1"))

        self.loop.run(work())

    def model(self, tenant: str, name: str) -> tuple[Any, list[str]]:
        async def work() -> tuple[Any, list[str]]:
            async with self.session(tenant) as session, session.begin():
                atom = sqlalchemy_sync.Atom(atom_type="T", name="new", number_value=1.5)
                session.add(atom)
                await session.flush()
                atom.name = name
                return atom.id, list(await session.scalars(sa.select(sqlalchemy_sync.Atom.name)))

        return self.loop.run(work())

    def close(self) -> None:
        assert self.engine.pool.checkedout() == 0
        self.loop.run(self.engine.dispose())
        self.loop.close()


class AsyncpgAlchemy(AsyncAlchemy):
    """The same with asyncpg."""

    driver = "asyncpg"


class Django:
    """Django, in this process: settings once, a connection per test."""

    refused = (RuntimeError,)

    def __init__(self, topology: Topology, **options: Any) -> None:
        import django
        from django.conf import settings
        from django.db import connections

        if not settings.configured:
            settings.configure(INSTALLED_APPS=["django_recipe"], USE_TZ=True, DATABASES={})
            django.setup()
        shard = topology.control
        assert shard.app.password is not None
        self.settings = {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": shard.primary.host,
            "PORT": shard.primary.port,
            "NAME": shard.primary.database,
            "USER": shard.app.user,
            "PASSWORD": shard.app.password.read(),
            "OPTIONS": {"pool": {"min_size": 1, "max_size": 1}, **options},
        }
        connections.settings = connections.configure_settings({"default": self.settings})
        self.connection: Any = connections["default"]

    def inside(self, tenant: str, *statements: str) -> Rows:
        from django_recipe import tenancy

        try:
            with tenancy.tenant(tenant):
                return self._run(statements)
        finally:
            self.connection.close()  # back into the pool, as at the end of a request

    def transact(self, tenant: str, statements: Sequence[str], epochs: Sequence[int | None], runs: list[int]) -> Rows:
        from django_recipe import tenancy

        believed = iter(epochs)

        def work() -> Rows:
            runs.append(1)
            return self._run(statements)

        return tenancy.transact(tenant, work, attempts=len(epochs), epoch=lambda: next(believed))

    def outside(self, *statements: str) -> Rows:
        return self._run(statements)

    def autocommit(self, tenant: str) -> None:
        from django_recipe import tenancy

        tenancy.enter(tenant)

    def model(self, tenant: str, name: str) -> tuple[Any, list[str]]:
        from django_recipe import tenancy
        from django_recipe.models import Atom

        with tenancy.tenant(tenant):
            atom = Atom.objects.create(atom_type="T", name="new", number_value="1.5")
            atom.name = name
            atom.save()
            return atom.pk, [found.name for found in Atom.objects.iterator()]

    def sqlstate(self, error: Exception) -> str | None:
        return getattr(error.__cause__, "sqlstate", None)

    def close(self) -> None:
        from django.db import connections

        self.connection.close()
        self.connection.close_pool()
        del connections["default"]

    def _run(self, statements: Sequence[str]) -> Rows:
        found = []
        with self.connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
                found.append(cursor.fetchall() if cursor.description else [])
        return found
