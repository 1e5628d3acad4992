"""Asking the cache within a time that is given for all of it, asynchronously: see `wire`."""

from __future__ import annotations

import asyncio
from collections import deque
from time import monotonic
from typing import TYPE_CHECKING, Any

from kos.projections.cache.wire import CONNECT_SECONDS, MOST_IDLE, PIECE, Command, Lost, Refused, lost, parsed
from kos.topology import cache, forks
from kos.topology.model import CacheServer

if TYPE_CHECKING:
    from redis.asyncio import Redis


class AsyncLine:
    """One connection, for one at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._reader, self._writer = connection._reader, connection._writer

    async def ask(self, message: bytes, deadline: float) -> bytes | Refused:
        """Send a command, wait for its answer. The connection ends when the time is over: that costs less than ending
        the wait, and there is no use for it any more."""
        over = asyncio.get_running_loop().call_later(deadline - monotonic(), self._writer.transport.abort)
        try:
            self._writer.write(message)
            buffer = bytearray()
            while True:
                piece = await self._reader.read(PIECE)
                if not piece:
                    raise Lost("the cache has closed the connection, or the time is over")
                buffer += piece
                answer = parsed(buffer)
                if answer is not None:
                    return answer
        finally:
            over.cancel()

    async def close(self) -> None:
        """What may come yet on it, nobody wants."""
        await self._connection.disconnect(nowait=True)


class AsyncLines:
    """The connections of one event loop to one cache, made when they are needed, in tasks of their own."""

    def __init__(self, server: CacheServer) -> None:
        self._server = server
        self.begin_anew()
        forks.note(self)

    def begin_anew(self) -> None:
        """As `Lines` does."""
        self._idle: deque[AsyncLine] = deque()
        self._client: Redis | None = None
        self._dialling: set[asyncio.Task[AsyncLine]] = set()
        self._closed = False

    async def ask(self, command: Command, deadline: float) -> bytes:
        """The answer to a command.

        Raises:
            Refused, Lost
        """
        line = None
        try:
            line = self._idle.pop() if self._idle else await self._new(deadline)
            answer = await line.ask(command.message(), deadline)
            if isinstance(answer, Refused) and answer.code == "NOSCRIPT":
                answer = await line.ask(command.message(whole=True), deadline)
        except BaseException as error:
            if line:
                await line.close()
                await self._hang_up()
            raise lost(error) from error  # TimeoutError is an OSError
        await self._put(line)
        if isinstance(answer, Refused):
            raise answer
        return answer

    async def close(self) -> None:
        """End all connections."""
        self._closed = True
        for task in list(self._dialling):
            task.cancel()
        await asyncio.gather(*self._dialling, return_exceptions=True)
        await self._hang_up()
        if self._client:
            await self._client.aclose()

    async def _hang_up(self) -> None:
        """One has ended: the others have most likely ended with their server, too."""
        while self._idle:
            await self._idle.pop().close()

    async def _new(self, deadline: float) -> AsyncLine:
        task = asyncio.create_task(self._dial())
        self._dialling.add(task)
        task.add_done_callback(self._dialling.discard)
        try:
            await asyncio.wait({task}, timeout=deadline - monotonic())
        except asyncio.CancelledError:
            task.add_done_callback(self._keep)
            raise
        if not task.done():
            task.add_done_callback(self._keep)
            raise TimeoutError("the time is over")
        return task.result()

    async def _put(self, line: AsyncLine) -> None:
        if self._closed or len(self._idle) >= MOST_IDLE:
            await line.close()
        else:
            self._idle.append(line)

    def _keep(self, task: asyncio.Task[AsyncLine]) -> None:
        if not task.cancelled() and not task.exception():
            self._idle.append(task.result())

    async def _dial(self) -> AsyncLine:
        if self._client is None:
            self._client = cache.open_async(self._server, connect_seconds=CONNECT_SECONDS)
        pool: Any = self._client.connection_pool
        connection = pool.make_connection()
        try:
            await connection.connect()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        return AsyncLine(connection)
