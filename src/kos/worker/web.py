"""The two pages of a worker: /healthz and /metrics."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from threading import Thread
from typing import Any

from kos.errors import ListenRefused

METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
READ_SECONDS = 10.0  # that a client is given to say what it wants


class Pages(ThreadingHTTPServer):
    """Answers in threads of its own, until it is closed."""

    daemon_threads = True

    def __init__(
        self, listen: str, health: Callable[[], tuple[bool, dict[str, Any]]], metrics: Callable[[], bytes]
    ) -> None:
        """Listens from now on.

        Raises:
            ListenRefused: that address can't be had.
        """
        self._thread: Thread | None = None
        self.health = health
        self.metrics = metrics
        host, port = _address(listen)
        self.address_family = socket.AF_INET6 if ":" in host else socket.AF_INET
        try:
            super().__init__((host, port), Page)
        except (OSError, OverflowError) as error:
            reason = error.strerror if isinstance(error, OSError) else None
            raise ListenRefused(listen, reason or str(error)) from None

    @property
    def address(self) -> str:
        """Where it listens, with the port that it got."""
        host, port = self.server_address[:2]
        shown = str(host)
        return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"

    def server_bind(self) -> None:
        """Without the look-up of our own name that the standard library makes: that may take long, and isn't used."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def answer(self) -> None:
        """Begin to answer."""
        self._thread = Thread(target=self.serve_forever, args=(0.1,), name="pages", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answer no more."""
        if self._thread:  # else it would wait for an end that never comes
            self.shutdown()
        self.server_close()


class Page(BaseHTTPRequestHandler):
    """One request."""

    server: Pages
    timeout = READ_SECONDS
    server_version = "kos"
    sys_version = ""

    def do_GET(self) -> None:
        """Whichever page."""
        path = self.path.partition("?")[0]
        if path == "/healthz":
            healthy, body = self.server.health()
            self._send(200 if healthy else 503, "application/json", json.dumps(body, ensure_ascii=False).encode())
        elif path == "/metrics":
            self._send(200, METRICS_TYPE, self.server.metrics())
        else:
            self._send(404, "text/plain; charset=utf-8", b"there are /healthz and /metrics\n")

    do_HEAD = do_GET

    def log_message(self, format: str, *args: Any) -> None:
        """A line for each scrape would bury what matters."""

    def _send(self, code: int, kind: str, body: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _address(listen: str) -> tuple[str, int]:
    host, colon, port = listen.rpartition(":")
    if not colon or not host or not port.isdigit():
        raise ListenRefused(listen, "write it as HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)
