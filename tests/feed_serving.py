"""`kos feed serve` as a process, and requests to it."""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from fix_samples import child_environment
from kos.topology.model import Topology

SEARCH, OTHER = "the token of search", "the token of other"
FEEDS = """
[feeds.search]
token = { env = "SEARCH_TOKEN" }
tenants = ["acme"]

[feeds.other]
token = { env = "OTHER_TOKEN" }
"""


@dataclass
class Serving:
    """A server, and what it has told."""

    process: subprocess.Popen[str]
    address: str
    errors: Path

    def ask(self, path: str, token: str | None = SEARCH, method: str = "GET", **query: object) -> tuple[int, bytes]:
        """Status and body."""
        parts = urlsplit(self.address)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=60)
        headers = {"Authorization": f"Bearer {token}"} if token is not None else {}
        try:
            connection.request(method, f"/feeds/{path}?{urlencode(query)}", headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def events(self, path: str = "search/tenants/acme/events", token: str = SEARCH, **query: object) -> list[Any]:
        """The lines of a stream that ends."""
        status, body = self.ask(path, token, **query)
        assert status == 200, body
        return [json.loads(line) for line in body.splitlines()]

    def end(self) -> int:
        """As a supervisor ends it; its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)


@contextmanager
def serving(topology: Topology, folder: Path, *options: str, feeds: str = FEEDS) -> Iterator[Serving]:
    environment = os.environ | child_environment(topology, folder)
    environment |= {"SEARCH_TOKEN": SEARCH, "OTHER_TOKEN": OTHER}
    with Path(environment["KOS_CONFIG"]).open("a", encoding="utf-8") as file:
        file.write(feeds)
    told = folder / "told"
    command = [sys.executable, "-m", "kos", "feed", "serve", "--listen", "127.0.0.1:0", "--json", *options]
    with (
        told.open("wb") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, env=environment, text=True) as process,
    ):
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first, told.read_text()
            yield Serving(process, json.loads(first)["address"], told)
        finally:
            process.kill()
