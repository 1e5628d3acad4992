"""Asking the cache within a time that is given for all of it.

The driver connects and authenticates. Then commands are sent and answers read here: the driver's own limit holds for
each piece of an answer, so a server that sends one byte after the other has no limit at all.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import TYPE_CHECKING, Any, NamedTuple

from kos.errors import KosError
from kos.projections.cache.scripts import Script
from kos.topology import cache, forks
from kos.topology.model import CacheServer

if TYPE_CHECKING:
    from redis import Redis

CONNECT_SECONDS = 2.0  # nobody waits so long: whoever wanted the connection has gone on without it
MOST_IDLE = 32
PIECE = 65536


class Refused(Exception):
    """The cache says that it can't. `code` is the first word of that."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text.decode(errors="replace"))
        self.code = text.partition(b" ")[0].decode(errors="replace")


class Lost(Exception):
    """The cache can't be reached, or hasn't answered in time, or what came makes no sense."""


class Packed(NamedTuple):
    """Arguments that are the same each time, as they are sent."""

    number: int = 0
    bulk: bytes = b""

    @classmethod
    def of(cls, parts: Sequence[bytes]) -> Packed:
        """Make them so once."""
        return cls(len(parts), _bulk(parts))


NOTHING = Packed()


class Command(NamedTuple):
    """One command; of a script, its arguments. `rest` comes behind `arguments`."""

    script: Script | None
    arguments: tuple[bytes, ...]
    rest: Packed = NOTHING

    def message(self, *, whole: bool = False) -> bytes:
        """As it is sent; `whole` with the script's text, for a server that doesn't know it yet."""
        script, arguments, rest = self
        named: tuple[bytes, ...] = ()
        if script is not None and whole:
            named = (b"EVAL", script.text.encode(), b"%d" % script.keys)
        elif script is not None:
            named = (b"EVALSHA", script.sha, b"%d" % script.keys)
        count = len(named) + len(arguments) + rest.number
        return b"*%d\r\n%b%b%b" % (count, _bulk(named), _bulk(arguments), rest.bulk)


def _bulk(parts: Sequence[bytes]) -> bytes:
    return b"".join([b"$%d\r\n%b\r\n" % (len(part), part) for part in parts])


def parsed(buffer: bytes | bytearray) -> bytes | Refused | None:
    """The one answer that is in the buffer; None as long as it isn't whole. Texts and numbers, which is all that our
    scripts say.

    Raises:
        Lost: it is something else.
    """
    end = buffer.find(b"\r\n")
    if end < 0:
        if len(buffer) < PIECE:
            return None
        raise Lost("no answer")
    kind, line = buffer[:1], bytes(buffer[1:end])
    if kind == b"$" and line.isdigit():
        last = end + 2 + int(line)
        if len(buffer) < last + 2:
            return None
        if len(buffer) == last + 2:
            return bytes(buffer[end + 2 : last])
    elif len(buffer) == end + 2 and kind in (b"+", b":"):
        return line
    elif len(buffer) == end + 2 and kind == b"-":
        return Refused(line)
    raise Lost("an answer to something else")


def lost(error: BaseException) -> BaseException:
    """What a command has failed with, as what it is to those who asked; what isn't the cache's doing stays."""
    from redis.exceptions import RedisError

    return Lost(str(error)) if isinstance(error, RedisError | OSError | KosError) else error


class Line:
    """One connection, for one at a time."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self._socket = connection._sock

    def ask(self, message: bytes, deadline: float) -> bytes | Refused:
        """Send a command, wait for its answer."""
        self._socket.settimeout(_left(deadline))
        self._socket.sendall(message)
        buffer = bytearray()
        while True:
            self._socket.settimeout(_left(deadline))
            piece = self._socket.recv(PIECE)
            if not piece:
                raise Lost("the cache has closed the connection")
            buffer += piece
            answer = parsed(buffer)
            if answer is not None:
                return answer

    def close(self) -> None:
        """What may come yet on it, nobody wants."""
        self._connection.disconnect()


class Lines:
    """The connections of one process to one cache, made when they are needed.

    They are made in threads of their own: name, network and password take their time, the caller takes what it has, and
    the connection is there for the next.
    """

    def __init__(self, server: CacheServer) -> None:
        self._server = server
        self.begin_anew()
        forks.note(self)

    def begin_anew(self) -> None:
        """Have no connections yet, as in a process that was forked: on its parent's come the parent's answers."""
        self._idle: deque[Line] = deque()
        self._client: Redis | None = None
        self._dialling = ThreadPoolExecutor(4, thread_name_prefix="kos-cache")
        self._closed = False

    def ask(self, command: Command, deadline: float) -> bytes:
        """The answer to a command.

        Raises:
            Refused, Lost
        """
        line = None
        try:
            line = self._take(deadline)
            answer = line.ask(command.message(), deadline)
            if isinstance(answer, Refused) and answer.code == "NOSCRIPT":
                answer = line.ask(command.message(whole=True), deadline)
        except BaseException as error:
            if line:
                line.close()
                self._hang_up()
            raise lost(error) from error
        self._put(line)
        if isinstance(answer, Refused):
            raise answer
        return answer

    def close(self) -> None:
        """End all connections."""
        self._closed = True
        self._dialling.shutdown(wait=True, cancel_futures=True)
        self._hang_up()
        if self._client:
            self._client.close()

    def _hang_up(self) -> None:
        """One has ended: the others have most likely ended with their server, too."""
        with suppress(IndexError):
            while True:
                self._idle.pop().close()

    def _take(self, deadline: float) -> Line:
        with suppress(IndexError):  # another thread may be first
            return self._idle.pop()
        future = self._dialling.submit(self._dial)
        try:
            return future.result(_left(deadline))
        except TimeoutError:
            future.add_done_callback(self._keep)
            raise

    def _put(self, line: Line) -> None:
        if self._closed or len(self._idle) >= MOST_IDLE:
            line.close()
        else:
            self._idle.append(line)

    def _keep(self, future: Future[Line]) -> None:
        if not future.cancelled() and not future.exception():
            self._put(future.result())

    def _dial(self) -> Line:
        if self._client is None:
            self._client = cache.open(self._server, connect_seconds=CONNECT_SECONDS)
        pool: Any = self._client.connection_pool
        connection = pool.make_connection()
        try:
            connection.connect()
        except BaseException:
            connection.disconnect()
            raise
        return Line(connection)


def _left(deadline: float) -> float:
    left = deadline - monotonic()
    if left <= 0:
        raise TimeoutError("the time is over")
    return left
