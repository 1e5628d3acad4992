"""A session in one tenant: one transaction, entered together with its first statement."""

from __future__ import annotations

from asyncio import Lock, sleep
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from uuid import UUID

import psycopg
from psycopg.abc import Params
from psycopg.abc import QueryNoTemplate as Query
from psycopg.pq import TransactionStatus
from psycopg.rows import TupleRow

from kos import errors
from kos.tenancy.bookmark import Bookmark
from kos.tenancy.entry import After, Entering, Entry, translate
from kos.tenancy.leave import is_reading, leave
from kos.tenancy.placement import place_of
from kos.tenancy.tenant import QUERIES, Tenant
from kos.tenancy.together import send_together

if TYPE_CHECKING:
    from kos.tenancy.async_store import AsyncStore

Connection = psycopg.AsyncConnection[TupleRow]
Cursor = psycopg.AsyncCursor[TupleRow]


class AsyncSession:
    """One transaction in one tenant; committed at the end of the `with` block, rolled back on an exception.

    A connection is taken with the first statement. The entry travels with it, so entering costs no round trip; where
    the tenant has moved meanwhile, nothing was done yet and both are sent again to the new place.
    """

    def __init__(
        self, store: AsyncStore, name: str, entry: Entry, tenant: Tenant | None = None, after: Bookmark | None = None
    ) -> None:
        self._store = store
        self._name = name
        self._entry = entry
        self._tenant = tenant
        self._after = after
        self._open = False
        self._plain = True  # whether they leave nothing in the connection but what any statement may
        self._reads = True  # whether they can write nothing
        self._asked = self._answered = 0  # statements
        self._connection: Connection | None = None
        self._bookmark: Bookmark | None = None
        self._first = Lock()  # of several tasks that begin at once, one takes the connection

    @property
    def store(self) -> AsyncStore:
        """The store that this session belongs to."""
        return self._store

    @property
    def tenant(self) -> Tenant:
        """The tenant, with the placement that this session believes in."""
        if self._tenant is None:
            raise errors.SessionClosed(self._name)
        return self._tenant

    @property
    def entry(self) -> Entry:
        """Who works, on whose behalf, and how."""
        return self._entry

    @property
    def after(self) -> Bookmark | None:
        """What a reader of the graph or the cache must see here at least; None if it does not care."""
        return self._after

    @property
    def has_only_read(self) -> bool:
        """Whether its statements so far can have written nothing, as far as that can be told from their text."""
        return self._reads

    @property
    def settled(self) -> int | None:
        """How many statements it has run; None while one is under way, or may be."""
        return self._asked if self._asked == self._answered else None

    def has_written_nothing(self, settled: int | None) -> None:
        """The server itself has said so after so many statements, whatever their text looks like."""
        if settled is not None and settled == self.settled:
            self._reads = True

    @property
    def bookmark(self) -> Bookmark | None:
        """What it has written, once that is committed, for a reader who must not see less; None if that is nothing."""
        return self._bookmark

    # sync: @property
    async def connection(self) -> Connection:
        """The connection, with the tenant entered: for cursors, COPY, pipelines and savepoints."""
        self._plain = self._reads = False
        self._asked += 1  # what is done there has no end that we see
        if self._connection is None:
            async with self._first:
                if self._connection is None:
                    await self._enter_with(QUERIES.nothing, None, {})
        assert self._connection is not None
        return self._connection

    async def execute(self, query: Query, params: Params | None = None, **options: Any) -> Cursor:
        """Run one statement in the tenant; arguments and result are those of psycopg's `Connection.execute`.

        Raises:
            PlacementMoved, TablesChanged: under this session (run the transaction again).
            psycopg.Error: what the statement itself raised.
        """
        if not is_reading(query):
            self._plain = self._reads = False
        self._asked += 1
        cursor = await self._run(query, params, options)
        self._answered += 1
        return cursor

    async def look(self, query: Query, params: Params | None = None) -> Cursor:
        """The same with a question of the library's own, which writes nothing and leaves nothing."""
        return await self._run(query, params, {})

    @property
    def graph(self) -> Any:
        """The graph of this tenant, an `AsyncGraph`: `run` asks it in Cypher, and is answered from this tenant alone,
        with what the session's bookmark stands for.

        Raises:
            SessionClosed
        """
        if not self._open:
            raise errors.SessionClosed(self._name)
        return self._store.graph.of_session(self)

    async def cached(
        self,
        kind: str,
        key: str | int | UUID | tuple[str | int | UUID, ...],
        load: Callable[[], Any],
        *,
        ttl: float | None = None,
        any_user: bool = False,
    ) -> Any:
        """A value that is kept in the cache: from there, else what `load()` returns, which reads it in this session.

        It is never older than the session's bookmark, and never another tenant's, persona's or user's; `any_user` says
        that what `load` reads doesn't depend on the user. `ttl`: for how many seconds it is kept. What `load` returns
        is JSON or bytes; None, for a row that isn't there, is kept too. A session that has written, or isn't READ
        COMMITTED, loads it always.

        Raises:
            UnknownCacheKind, CacheKeyRefused, CacheValueRefused
            BookmarkLost: the database was restored, or promoted, since.
        """
        if not self._open:
            raise errors.SessionClosed(self._name)
        return await self._store.cache.read(self, kind, key, load, ttl=ttl, any_user=any_user)

    async def _run(self, query: Query, params: Params | None, options: dict[str, Any]) -> Cursor:
        if self._connection is None:
            async with self._first:
                if self._connection is None:
                    return await self._enter_with(query, params, options)
        try:
            return await self._connection.execute(query, params, **options)
        except psycopg.Error as error:
            self._see_whose(self._connection)
            raise translate(error, self.tenant) from error

    async def __aenter__(self) -> Self:
        if self._tenant is None:
            self._tenant = await self._store.find(self._name)
        self._open = True
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._open = False
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            if error is None:
                self._see_whose(connection)
            await self._end(connection, failed=error is not None)
        finally:
            await self._store.give_back(connection)
        if isinstance(error, psycopg.Error):
            typed = translate(error, self.tenant)
            if typed is not error:
                raise typed from error

    def _see_whose(self, connection: Connection) -> None:
        if not self._store.has_lent(connection):
            raise errors.SessionForked(self._name)

    async def _end(self, connection: Connection, *, failed: bool) -> None:
        if failed:
            await roll_back(connection)
            return
        if connection.info.transaction_status is TransactionStatus.INERROR:
            # PostgreSQL would answer this COMMIT with ROLLBACK, and no error: writes would be lost in silence.
            await roll_back(connection)
            raise errors.TransactionFailed(self._name)
        try:
            async with connection.lock:
                self._bookmark = await connection.wait(
                    leave(connection, commit=True, plain=self._plain, reads=self._reads)
                )
        except psycopg.Error as error:
            if connection.broken:
                raise errors.OutcomeUnknown(self._name, str(error).strip()) from error
            raise translate(error, self.tenant) from error
        except BaseException:
            await connection.close()  # as in `roll_back`
            raise

    async def _enter_with(self, query: Query, params: Params | None, options: dict[str, Any]) -> Cursor:
        if not self._open:
            raise errors.SessionClosed(self._name)
        entering = Entering(self.tenant)
        while True:
            connection = await self._take(entering)
            try:
                cursor = await self._send(connection, entering, query, params, options)
            except psycopg.Error as error:
                broken = connection.broken
                await self._abandon(connection)
                after, delay = entering.failed(error, broken=broken)
            except BaseException:
                await self._abandon(connection)
                raise
            else:
                self._connection, self._tenant = connection, entering.tenant
                return cursor
            await sleep(delay)
            if after is After.LOOK_UP_AGAIN:
                await self._look_up(entering)
            elif after is After.RECONNECT:
                await self._renew(entering)

    async def _take(self, entering: Entering) -> Connection:
        """A connection to where the tenant is; its database may be gone because it lives elsewhere now."""
        try:
            return await self._store.take(entering.tenant)
        except errors.StoreUnavailable:
            before = entering.tenant
            await self._look_up(entering)
            if place_of(before) == place_of(entering.tenant):
                raise
        return await self._store.take(entering.tenant)

    async def _renew(self, entering: Entering) -> None:
        try:
            await self._store.renew(entering.tenant)
        except errors.StoreUnavailable:
            # Gone, or not back yet: the pool waits a while, and where the directory can't be asked, nothing is lost.
            with suppress(errors.StoreUnavailable):
                await self._look_up(entering)

    async def _look_up(self, entering: Entering) -> None:
        entering.found(await self._store.find(self._name, again=True))
        self._store.remember(self._name, entering.tenant)

    async def _send(
        self, connection: Connection, entering: Entering, query: Query, params: Params | None, options: dict[str, Any]
    ) -> Cursor:
        if not entering.pipelined:
            await connection.execute(self._entry.begin)
            await connection.execute(QUERIES.enter, self._entry.values(entering.tenant))
            return await connection.execute(query, params, **{**options, "prepare": False})
        cursor = connection.cursor(binary=options.get("binary", False))
        async with connection.lock:
            await connection.wait(send_together(connection, cursor, self._entry, entering, query, params, options))
        return cursor

    async def _abandon(self, connection: Connection) -> None:
        try:
            await roll_back(connection)
        finally:
            await self._store.give_back(connection)


async def roll_back(connection: Connection) -> None:
    """Undo what is open in a pooled connection, and clean it for whoever has it next."""
    if connection.closed:
        return
    try:
        open_now = connection.info.transaction_status is not TransactionStatus.IDLE
        await connection.rollback()
        async with connection.lock:
            await connection.wait(leave(connection, commit=False, rolled_back=open_now))
    except psycopg.OperationalError:
        # The server is gone, and with it the transaction; the pool replaces what is closed.
        await connection.close()
    except BaseException:
        await connection.close()  # cancelled on the way: nobody knows what is left in it
        raise
