"""A network that fails: a proxy in front of a server, which cuts, half-closes, delays, stalls and slows down."""

from __future__ import annotations

import asyncio
import math
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar
from urllib.parse import urlsplit

import pytest

from kos.topology.embedded.ports import LOOPBACK
from kos.topology.model import CacheServer, GraphServer, PostgresServer

REQUESTS = "requests"  # from client to server
ANSWERS = "answers"  # from server to client
BOTH = (REQUESTS, ANSWERS)

PATIENCE_SECONDS = 10.0
MOST_BYTES = 65536
SLICES = 20  # of a second: so often something goes through a throttle

AnyServer = TypeVar("AnyServer", CacheServer, GraphServer, PostgresServer)


@dataclass
class Fault:
    """What happens to every piece of data on its way, until `over`."""

    seconds: float = 0.0  # math.inf: it never arrives
    bytes_per_second: float = math.inf
    over: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def most(self) -> int:
        """How much goes through at once."""
        return int(min(MOST_BYTES, max(1.0, self.bytes_per_second / SLICES)))

    async def is_sat_out(self, size: int) -> bool:
        """Wait as long as it makes so many bytes wait; False where it was over before."""
        wait = self.seconds + size / self.bytes_per_second
        if wait == 0:
            return True
        try:
            await asyncio.wait_for(self.over.wait(), None if math.isinf(wait) else wait)
        except TimeoutError:
            return True
        return False


@dataclass(eq=False)
class Link:
    """One connection of a client, and ours to the server. `to` has the end that each direction leads to."""

    to: dict[str, asyncio.StreamWriter]
    shut: set[str] = field(default_factory=set)

    def shut_down(self, direction: str) -> None:
        """Whoever that direction leads to sees the end of the stream; what comes yet is dropped."""
        if direction not in self.shut:
            self.shut.add(direction)
            self.to[direction].write_eof()

    def reset(self) -> None:
        """Both ends see "connection reset by peer"."""
        for each in self.to.values():
            _reset(each)


class Proxy:
    """Stands in front of one server on loopback; its methods may be called from any thread.

    A fault holds for the connections that there are and for new ones, until the next fault of that direction or `heal`;
    it is of both directions unless told otherwise. `cut` and `half_close` are done to those that there are: certainly
    to one that something came through. `connections` counts what was ever accepted.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxy", daemon=True)
        self._faults = {direction: Fault() for direction in BOTH}
        self._links: set[Link] = set()
        self._refuses = False
        self.connections = 0
        self.port = 0

    def __enter__(self) -> Proxy:
        self._thread.start()
        self._listener = asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(PATIENCE_SECONDS)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE_SECONDS)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE_SECONDS)
        self._loop.close()

    def of(self, server: AnyServer) -> AnyServer:
        """The same server as it is found through this proxy."""
        if isinstance(server, GraphServer):
            return replace(server, uri=f"{urlsplit(server.uri).scheme}://{LOOPBACK}:{self.port}")
        return replace(server, host=LOOPBACK, port=self.port)

    # the faults

    def cut(self) -> None:
        """Reset all connections. New ones go through."""
        self._do(self._cut)

    def refuse(self) -> None:
        """Reset all connections, and from now on every new one, as soon as it is there."""
        self._do(self._refuse)

    def half_close(self, direction: str) -> None:
        """On the connections that there are, end one direction; the other goes on."""
        self._do(lambda: [link.shut_down(direction) for link in self._links])

    def delay(self, seconds: float, *directions: str) -> None:
        """Each piece of data waits so long, and those behind it wait for it."""
        self._set(Fault(seconds=seconds), directions)

    def stall(self, *directions: str) -> None:
        """Connections are accepted, and nothing arrives."""
        self._set(Fault(seconds=math.inf), directions)

    def throttle(self, bytes_per_second: float, *directions: str) -> None:
        """No more than this goes through, on each connection."""
        self._set(Fault(bytes_per_second=bytes_per_second), directions)

    def heal(self) -> None:
        """What was held back arrives now, and from now on everything at once."""
        self._do(self._heal)

    def living(self) -> int:
        """How many connections there are now."""
        return int(self._do(lambda: len(self._links)))

    # the same, inside the proxy's own thread

    def _do(self, what: Callable[[], Any]) -> Any:
        async def inside() -> Any:
            return what()

        return asyncio.run_coroutine_threadsafe(inside(), self._loop).result(PATIENCE_SECONDS)

    def _cut(self) -> None:
        for link in self._links:
            link.reset()
        self._links.clear()

    def _refuse(self) -> None:
        self._refuses = True
        self._cut()

    def _heal(self) -> None:
        self._refuses = False
        for direction in BOTH:
            self._replace(direction, Fault())

    def _set(self, fault: Fault, directions: tuple[str, ...]) -> None:
        self._do(lambda: [self._replace(each, replace(fault, over=asyncio.Event())) for each in directions or BOTH])

    def _replace(self, direction: str, fault: Fault) -> None:
        self._faults[direction].over.set()
        self._faults[direction] = fault

    async def _listen(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, LOOPBACK, 0)

    async def _close(self) -> None:
        self._listener.close()
        tasks = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)  # what was aborted is closed in the loop's next round

    async def _serve(self, from_client: asyncio.StreamReader, to_client: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._refuses:
            _reset(to_client)
            return
        try:
            from_server, to_server = await asyncio.open_connection(LOOPBACK, self._target)
        except OSError:  # the server is down
            _reset(to_client)
            return
        link = Link({REQUESTS: to_server, ANSWERS: to_client})
        self._links.add(link)
        try:
            if not self._refuses:  # since we connected
                await self._forward(link, from_client, from_server)
        except asyncio.CancelledError:
            pass  # the proxy closes
        finally:
            self._links.discard(link)
            link.reset()

    async def _forward(self, link: Link, from_client: asyncio.StreamReader, from_server: asyncio.StreamReader) -> None:
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(REQUESTS, from_client, link))
                both.create_task(self._pump(ANSWERS, from_server, link))
            for each in link.to.values():  # both directions have ended: what is on its way still arrives
                each.close()
                await each.wait_closed()
        except* OSError:
            pass  # one end was reset, and so the other is

    async def _pump(self, direction: str, source: asyncio.StreamReader, link: Link) -> None:
        while data := await source.read(MOST_BYTES):
            await self._pass_on(direction, data, link)
        link.shut_down(direction)

    async def _pass_on(self, direction: str, data: bytes, link: Link) -> None:
        """Let data through, each piece under the fault that there is by then."""
        while data:
            fault = self._faults[direction]
            size = min(len(data), fault.most)
            passes = await fault.is_sat_out(size)
            if direction in link.shut:
                return
            if passes:
                link.to[direction].write(data[:size])
                await link.to[direction].drain()
                data = data[size:]


def _reset(writer: asyncio.StreamWriter) -> None:
    to_peer: socket.socket = writer.get_extra_info("socket")
    if to_peer.fileno() >= 0:
        to_peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # close means reset
    writer.transport.abort()


ProxyTo = Callable[[CacheServer | GraphServer | PostgresServer], Proxy]


@pytest.fixture
def proxy_to() -> Iterator[ProxyTo]:
    """Puts a proxy in front of a server: `proxy = proxy_to(cache)`, then use `proxy.of(cache)`."""
    with ExitStack() as running:

        def make(server: CacheServer | GraphServer | PostgresServer) -> Proxy:
            port = urlsplit(server.uri).port if isinstance(server, GraphServer) else server.port
            assert port
            return running.enter_context(Proxy(port))

        yield make
