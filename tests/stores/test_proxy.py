"""The proxy that the other tests trust: each fault, as plain sockets on both sides of it see it."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest

from fix_exports import until
from fix_proxy import ANSWERS, REQUESTS, Proxy, ProxyTo
from kos.topology.model import CacheServer

SECONDS = 30.0
SHORT = 0.2  # so long nothing comes, where nothing may come


class Wire:
    """A server's socket, and clients of it through the proxy."""

    def __init__(self, proxy_to: ProxyTo) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.listener.settimeout(SECONDS)
        self.port = self.listener.getsockname()[1]
        self.proxy: Proxy = proxy_to(CacheServer("127.0.0.1", self.port, None, None))
        self.opened = [self.listener]

    def dial(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self.proxy.port), SECONDS)
        self.opened.append(client)
        return client

    def pair(self) -> tuple[socket.socket, socket.socket]:
        """A client's end, and the server's, when the proxy knows of both."""
        before = self.proxy.living()
        client = self.dial()
        server, _ = self.listener.accept()
        server.settimeout(SECONDS)
        self.opened.append(server)
        until(lambda: self.proxy.living() > before)
        return client, server


@pytest.fixture
def wire(proxy_to: ProxyTo) -> Iterator[Wire]:
    made = Wire(proxy_to)
    yield made
    for each in made.opened:
        each.close()


def get(end: socket.socket, size: int) -> bytes:
    """So many bytes, or what came before the end."""
    got = b""
    while len(got) < size and (more := end.recv(size - len(got))):
        got += more
    return got


def says_nothing(end: socket.socket) -> bool:
    end.settimeout(SHORT)
    try:
        end.recv(1)
    except TimeoutError:
        return True
    finally:
        end.settimeout(SECONDS)
    return False


def test_it_forwards_both_ways_and_counts(wire: Wire) -> None:
    client, server = wire.pair()
    client.sendall(b"question")
    assert get(server, 8) == b"question"
    server.sendall(b"answer")
    server.shutdown(socket.SHUT_WR)
    assert get(client, 7) == b"answer"
    client.sendall(b"still here")  # the end of one direction is not the end of the other
    client.close()
    assert get(server, 11) == b"still here"
    until(lambda: wire.proxy.living() == 0)
    wire.pair()
    assert wire.proxy.connections == 2


def test_what_a_server_said_before_it_left_arrives_to_the_last_byte(wire: Wire) -> None:
    client, server = wire.pair()
    client.shutdown(socket.SHUT_WR)
    assert server.recv(1) == b""
    much = bytes(range(256)) * 4096

    def speak() -> None:
        server.sendall(much)
        server.close()

    speaker = threading.Thread(target=speak)
    speaker.start()
    time.sleep(SHORT)  # it is on its way when the connection ends, or this test proves less
    assert get(client, len(much) + 1) == much
    speaker.join()


def test_cut_is_a_reset_for_both_ends_and_new_connections_go_through(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.cut()
    for end in (client, server):
        with pytest.raises(ConnectionResetError):
            end.recv(1)
    assert wire.proxy.living() == 0
    client, server = wire.pair()
    client.sendall(b"again")
    assert get(server, 5) == b"again"


def test_a_cut_drops_what_was_held_back(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.stall(REQUESTS)
    client.sendall(b"lost")
    assert says_nothing(server)
    wire.proxy.cut()
    wire.proxy.heal()
    with pytest.raises(ConnectionResetError):
        server.recv(1)


def test_refuse_resets_new_connections_until_it_heals(wire: Wire) -> None:
    wire.proxy.refuse()
    with pytest.raises(ConnectionResetError):
        wire.dial().recv(1)
    wire.proxy.heal()
    client, server = wire.pair()
    server.sendall(b"welcome")
    assert get(client, 7) == b"welcome"


def test_a_server_that_is_down_is_a_reset(wire: Wire) -> None:
    wire.listener.close()
    with pytest.raises(ConnectionResetError):
        wire.dial().recv(1)


def test_a_reset_of_one_end_is_one_for_the_other(wire: Wire) -> None:
    client, server = wire.pair()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    server.close()
    with pytest.raises(ConnectionResetError):
        client.recv(1)


@pytest.mark.parametrize("direction", [REQUESTS, ANSWERS])
def test_half_close_ends_one_direction_and_keeps_the_other(wire: Wire, direction: str) -> None:
    client, server = wire.pair()
    sender, receiver = (client, server) if direction == REQUESTS else (server, client)
    wire.proxy.half_close(direction)
    assert receiver.recv(1) == b""
    sender.sendall(b"nobody hears")
    receiver.sendall(b"heard")
    assert get(sender, 5) == b"heard"
    receiver.close()
    assert sender.recv(1) == b""


def test_stall_accepts_and_forwards_nothing_until_it_heals(wire: Wire) -> None:
    wire.proxy.stall()
    client, server = wire.pair()
    client.sendall(b"question")
    server.sendall(b"greeting")
    assert says_nothing(server)
    assert says_nothing(client)
    wire.proxy.heal()
    assert get(server, 8) == b"question"
    assert get(client, 8) == b"greeting"


def test_a_stall_of_the_answers_lets_the_questions_through(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.stall(ANSWERS)
    client.sendall(b"question")
    assert get(server, 8) == b"question"
    server.sendall(b"answer")
    assert says_nothing(client)
    wire.proxy.half_close(ANSWERS)
    assert client.recv(1) == b""
    wire.proxy.heal()
    client.sendall(b"more")  # what was held back is lost, and hurts nobody
    assert get(server, 4) == b"more"


def test_delay_holds_each_piece_back_that_long(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.delay(0.3)
    began = time.monotonic()
    client.sendall(b"a")
    assert get(server, 1) == b"a"
    server.sendall(b"b")
    assert get(client, 1) == b"b"
    assert time.monotonic() - began >= 0.6


def test_healing_ends_a_delay_that_has_begun(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.delay(10 * SECONDS)
    client.sendall(b"a")
    assert says_nothing(server)
    wire.proxy.stall()  # what waits goes on to wait, in the next fault
    assert says_nothing(server)
    wire.proxy.heal()
    assert get(server, 1) == b"a"


def test_throttle_lets_no_more_through_per_second(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.throttle(10_000, REQUESTS)
    began = time.monotonic()
    client.sendall(bytes(5_000))
    assert len(get(server, 5_000)) == 5_000
    assert time.monotonic() - began >= 0.5


def test_what_is_throttled_comes_in_pieces(wire: Wire) -> None:
    client, server = wire.pair()
    wire.proxy.throttle(20)
    client.sendall(bytes(10_000))
    assert len(get(server, 1)) == 1  # the whole would take longer than we wait
    wire.proxy.heal()
    assert len(get(server, 9_999)) == 9_999
