"""The synchronous and the asynchronous store behind one face, step by step, so that one test holds both."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg.sql import Composed

from kos.tenancy import AsyncStore, Store
from kos.topology.model import Topology

Statement = str | Composed
Rows = list[tuple[Any, ...]]


class Twin:
    """A store. `enter` and `leave` are the two ends of a session's block."""

    def __init__(self, topology: Topology, **options: Any) -> None:
        self.store: Any = Store(topology, **options)

    def enter(self, tenant: str, **entry: Any) -> Any:
        return self.store.tenant(tenant, **entry).__enter__()

    def execute(self, session: Any, statement: Statement) -> Rows:
        return _rows(session.execute(statement))

    def leave(self, session: Any, error: BaseException | None = None) -> None:
        session.__exit__(type(error) if error else None, error, None)

    def run(self, tenant: str, *statements: Statement, **entry: Any) -> list[Rows]:
        """The statements in a session of their own."""
        session = self.enter(tenant, **entry)
        try:
            answers = [self.execute(session, statement) for statement in statements]
        except BaseException as error:
            self.leave(session, error)
            raise
        self.leave(session)
        return answers

    def find(self, name: str) -> Any:
        return self.store.find(name, again=True)

    def read_control(self, *statements: Statement) -> list[Rows]:
        with self.store.control() as connection:
            return [_rows(connection.execute(statement)) for statement in statements]

    def read_operator(self, statement: Statement) -> Rows:
        with self.store.operator() as connection:
            return _rows(connection.execute(statement))

    def close(self) -> None:
        self.store.close()


class AsyncTwin(Twin):
    """The same with the asynchronous store, in an event loop that stands still between the steps."""

    def __init__(self, topology: Topology, **options: Any) -> None:
        self.store = AsyncStore(topology, **options)
        self._runner = asyncio.Runner()

    def enter(self, tenant: str, **entry: Any) -> Any:
        return self._runner.run(self.store.tenant(tenant, **entry).__aenter__())

    def execute(self, session: Any, statement: Statement) -> Rows:
        async def work() -> Rows:
            cursor = await session.execute(statement)
            return await cursor.fetchall() if cursor.description else []

        return self._runner.run(work())

    def leave(self, session: Any, error: BaseException | None = None) -> None:
        self._runner.run(session.__aexit__(type(error) if error else None, error, None))

    def find(self, name: str) -> Any:
        return self._runner.run(self.store.find(name, again=True))

    def read_control(self, *statements: Statement) -> list[Rows]:
        async def work() -> list[Rows]:
            async with self.store.control() as connection:
                cursors = [await connection.execute(statement) for statement in statements]
                return [await cursor.fetchall() if cursor.description else [] for cursor in cursors]

        return self._runner.run(work())

    def read_operator(self, statement: Statement) -> Rows:
        async def work() -> Rows:
            async with self.store.operator() as connection:
                return await (await connection.execute(statement)).fetchall()

        return self._runner.run(work())

    def close(self) -> None:
        self._runner.run(self.store.close())

    def end(self) -> None:
        self._runner.close()


def _rows(cursor: psycopg.Cursor[Any]) -> Rows:
    return cursor.fetchall() if cursor.description else []


@pytest.fixture(params=[Twin, AsyncTwin], ids=["sync", "async"])
def twin_of(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Makes a twin on a topology; all of them are closed at the end."""
    made: list[Twin] = []

    def make(topology: Topology, **options: Any) -> Twin:
        made.append(request.param(topology, **options))
        return made[-1]

    yield make
    for twin in made:
        twin.close()
        if isinstance(twin, AsyncTwin):
            twin.end()


@pytest.fixture
def twin(twin_of: Any, database: Topology) -> Twin:
    """A store of one connection per database, so that every session gets what the one before gave back."""
    made: Twin = twin_of(database, pool_size=1)
    return made
