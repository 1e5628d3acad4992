"""Asking the graph, in a session."""

from __future__ import annotations

import threading
from asyncio import sleep
from collections.abc import Mapping
from time import monotonic
from typing import TYPE_CHECKING, Any

import psycopg

from kos import errors
from kos.log.consumer import OF_PROJECTIONS
from kos.projections.graph import statements
from kos.projections.graph.asking import GONE, LOST, access_mode, question, typed
from kos.projections.graph.projection import GRACE_SECONDS, NAME, scope_of, standing_of
from kos.projections.graph.scoping import check_scope
from kos.projections.model import Reached
from kos.projections.queries import QUERIES
from kos.tenancy.async_session import AsyncSession
from kos.tenancy.bookmark import Bookmark
from kos.topology import forks
from kos.topology import graph as opening
from kos.topology.model import GraphServer, Topology

if TYPE_CHECKING:
    from neo4j import AsyncDriver, AsyncTransaction, Record

SECONDS = 5.0  # that a bookmark is waited for
TIMEOUT = 30.0  # seconds that a query may take
LONGEST_TIMEOUT = GRACE_SECONDS / 2
FIRST_PAUSE, LONGEST_PAUSE = 0.005, 0.1
ALL = 2**62  # records
SPARE = 1.0  # seconds for the server to say that a query has taken too long


class AsyncGraphReader:
    """What a store's sessions ask the graph through. `server` None: there is no graph.

    `seconds`: how long a session's bookmark is waited for. `timeout`: how long a query may take, and how long
    the server may say nothing; 60 seconds at most, for what it reads may be replaced meanwhile, and is kept for 120.
    """

    def __init__(self, server: GraphServer | None, *, seconds: float = SECONDS, timeout: float = TIMEOUT) -> None:
        if timeout > LONGEST_TIMEOUT:
            raise ValueError(f"timeout is {LONGEST_TIMEOUT:.0f} seconds at most, not {timeout!r}")
        self.seconds = seconds
        self.timeout = timeout
        self._server = server
        self.begin_anew()
        forks.note(self)

    def begin_anew(self) -> None:
        """Have no connections yet, as in a process that was forked: those that there are belong to its parent."""
        self._driver: AsyncDriver | None = None
        self._making = threading.Lock()

    def _opened(self, server: GraphServer) -> AsyncDriver:
        """Made when it is first used; one, also where several threads use it first."""
        with self._making:
            if self._driver is None:
                self._driver = opening.open_async(server, answer_seconds=self.timeout + SPARE)
            return self._driver

    @classmethod
    def of(cls, topology: Topology) -> AsyncGraphReader:
        """Of the graph that is configured."""
        return cls(topology.graph)

    def of_session(self, session: AsyncSession) -> AsyncGraph:
        """The graph as one session sees it."""
        return AsyncGraph(self, session)

    async def close(self) -> None:
        """End the connections to the graph."""
        if self._driver:
            await self._driver.close()

    async def run(
        self, session: AsyncSession, query: str, parameters: Mapping[str, Any] | None, seconds: float | None
    ) -> list[Record]:
        """The answer, as the driver's records; see `AsyncGraph.run`."""
        if self._server is None:
            raise errors.StoreNotConfigured("graph", "session.graph")
        text = question(session.entry, session.after, query, parameters)
        limit = self.seconds if seconds is None else seconds
        deadline = monotonic() + limit
        need = await self._need(session, deadline, limit)
        pause = FIRST_PAUSE
        while (records := await self._answer(session, need, text, parameters)) is None:
            if monotonic() >= deadline:
                raise errors.ProjectionBehind(NAME, session.tenant.name, limit)
            await sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)
        return records

    async def _answer(
        self, session: AsyncSession, need: Reached, text: str, parameters: Mapping[str, Any] | None
    ) -> list[Record] | None:
        """None where it has to be asked again: the graph isn't as far as it has to be, or changed while it was read."""
        from neo4j.exceptions import Neo4jError

        assert self._server is not None
        with typed(self._server):
            try:
                return await self._ask(self._opened(self._server), session, need, text, parameters)
            except Neo4jError as error:
                if error.code == GONE:
                    return None
                raise

    async def _ask(
        self,
        driver: AsyncDriver,
        session: AsyncSession,
        need: Reached,
        text: str,
        parameters: Mapping[str, Any] | None,
    ) -> list[Record] | None:
        assert self._server is not None
        mode = access_mode(self._server, need)
        # The transaction ends before the session: one that is lost would keep the session, and its connection.
        async with (
            driver.session(database=self._server.database, default_access_mode=mode) as asked,
            await asked.begin_transaction(timeout=self.timeout) as tx,
        ):
            scope = await self._scope(tx, session, need)
            if scope is None:
                return None
            found = await tx.run(text, {**(parameters or {}), "kos_scope": scope})
            records = await found.fetch(ALL)
        for record in records:
            check_scope(record.values(), scope)
        return records

    async def _scope(self, tx: AsyncTransaction, session: AsyncSession, need: Reached) -> str | None:
        """The generation that is shown; None where it isn't as far as it has to be."""
        found = await tx.run(statements.LIVE, tenant=str(session.tenant.id))
        record = await found.single()
        if record is None:
            if need == Reached():
                raise errors.ProjectionNotReady(NAME, session.tenant.name)
            return None
        standing = standing_of(record)
        return scope_of(session.tenant.id, standing.generation) if standing.reached >= need else None

    async def _need(self, session: AsyncSession, deadline: float, limit: float) -> Reached:
        """How far the graph has to be, once its writer knows that it is.

        Asked in PostgreSQL, which says whether the tenant is here, and may be read; and where the cursor is. The
        position that the graph shows is not enough: Neo4j shows what a transaction changed before it is in the indexes.
        """
        mark = session.after
        if mark is None:
            await session.look(QUERIES.nothing)
            return Reached()
        pause = FIRST_PAUSE
        while True:
            need, at = await self._sealed(session, mark)
            if need is not None and at >= need.position:
                return need
            if monotonic() >= deadline:
                if need is None:
                    raise errors.BookmarkUnsealed(str(mark), limit)
                raise errors.ProjectionBehind(NAME, session.tenant.name, limit)
            if need is not None and pause == FIRST_PAUSE:
                await self._see_that_it_answers()
            await sleep(pause)
            if need is not None:
                pause = min(2 * pause, LONGEST_PAUSE)

    async def _see_that_it_answers(self) -> None:
        """One that is gone is not waited for, while a connection to PostgreSQL is kept from others."""
        assert self._server is not None
        with typed(self._server):
            await self._opened(self._server).verify_connectivity()

    async def _sealed(self, session: AsyncSession, mark: Bookmark) -> tuple[Reached | None, int]:
        """What a bookmark stands for, None if that is not sealed, and where the graph's cursor is."""
        facts = {"incarnation": mark.incarnation, "transaction": str(mark.transaction), "feed": OF_PROJECTIONS + NAME}
        try:
            cursor = await session.look(QUERIES.bookmark_position, facts)
            row = await cursor.fetchone()
        except psycopg.Error as error:
            if error.sqlstate == LOST:
                raise errors.BookmarkLost(str(mark)) from error
            raise
        assert row is not None
        position, incarnation, at = row
        return (Reached(incarnation, position) if incarnation is not None else None), at


class AsyncGraph:
    """The graph of one session's tenant."""

    def __init__(self, reader: AsyncGraphReader, session: AsyncSession) -> None:
        self._reader, self._session = reader, session

    async def run(
        self, query: str, parameters: Mapping[str, Any] | None = None, *, seconds: float | None = None
    ) -> list[Record]:
        """Ask in Cypher: MATCH, WHERE, WITH, UNWIND, RETURN and what goes with them. Returns the driver's records.

        Every node that is found is the tenant's own. What the session's bookmark stands for is in it: that is waited
        for, `seconds` at most. What this session's own transaction has written is not in the graph yet.

        Raises:
            GraphQueryRefused: it does more than read, or isn't understood.
            GraphWithoutPersonas: the session has a persona.
            BookmarkNeedsReadCommitted
            ProjectionBehind, ProjectionNotReady, BookmarkUnsealed, BookmarkLost
            GraphQueryFailed: the server can't answer it.
            StoreUnavailable, StoreNotConfigured
        """
        return await self._reader.run(self._session, query, parameters, seconds)
