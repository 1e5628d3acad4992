"""A small TCP proxy that delays each way by so many milliseconds: what a network between two machines does.

    python delay.py TARGET_PORT MILLISECONDS      prints the port it listens on, serves until its input ends

A process of its own, so that it does not compete for the client's interpreter.
"""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

LOOPBACK = "127.0.0.1"


@contextmanager
def delayed(target: int, milliseconds: float) -> Iterator[int]:
    """The port of a running proxy."""
    command = [sys.executable, __file__, str(target), str(milliseconds)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield int(process.stdout.readline())
        finally:
            process.stdin.close()
            process.wait(10)


def _pump(source: socket.socket, sink: socket.socket, seconds: float) -> None:
    waiting: SimpleQueue[tuple[float, bytes]] = SimpleQueue()

    def send() -> None:
        while True:
            due, data = waiting.get()
            time.sleep(max(0.0, due - time.monotonic()))
            try:
                sink.sendall(data) if data else sink.shutdown(socket.SHUT_WR)
            except OSError:
                return  # the other side has gone, and says so to its own reader
            if not data:
                return

    threading.Thread(target=send, daemon=True).start()
    data = b"-"
    while data:
        try:
            data = source.recv(65536)
        except OSError:
            data = b""
        waiting.put((time.monotonic() + seconds, data))


def _serve(listener: socket.socket, target: int, seconds: float) -> None:
    while True:
        client, _ = listener.accept()
        server = socket.create_connection((LOOPBACK, target))
        for one in (client, server):
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for pair in ((client, server), (server, client)):
            threading.Thread(target=_pump, args=(*pair, seconds), daemon=True).start()


def main() -> None:
    """Serve until standard input ends, which it does when the benchmark does."""
    target, milliseconds = int(sys.argv[1]), float(sys.argv[2])
    listener = socket.create_server((LOOPBACK, 0))
    threading.Thread(target=_serve, args=(listener, target, milliseconds / 1000), daemon=True).start()
    print(listener.getsockname()[1], flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()
