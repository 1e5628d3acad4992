"""An ArcadeDB of the tests' own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kos.topology.embedded import graph
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.wheels import programs
from kos.topology.model import GraphServer, Login, Tls, fixed
from own_server import PASSWORD, OwnServer


class OwnArcadeDB(OwnServer):
    """An ArcadeDB as an embedded stack has it."""

    def __init__(self) -> None:
        super().__init__("graph", graph, programs("graph"), port_count=2)  # Bolt, and HTTP
        login = Login(graph.USER, fixed(PASSWORD))
        self.store = GraphServer(f"bolt://{LOOPBACK}:{self.site.port}", login, graph.DATABASE, Tls("disable"))


@pytest.fixture(scope="module")
def own_arcadedb() -> Iterator[OwnArcadeDB]:
    """An ArcadeDB that runs as long as the module's tests: who kills it, starts it again."""
    with OwnArcadeDB() as server:
        yield server
