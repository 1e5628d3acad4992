"""Neo4j Community, the reference for what the graph's projection does: `make test-long` fetches it where it can."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from kos.errors import StoreUnavailable
from kos.topology import graph
from kos.topology.embedded.census import Ladder
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import CHECK_SECONDS, Launch, NotReady, Site, clean_environment
from kos.topology.embedded.wheels import Programs, programs
from kos.topology.model import GraphServer, Login, Tls, fixed
from own_server import PASSWORD, OwnServer

JARS = Path(sys.prefix) / "neo4j"
FETCHED = Path(sys.prefix) / ".neo4j"  # the Makefile's sign that all jars are there
PASSWORD_SECONDS = 60.0

# Its transaction log would take 256 MB at once, for each database.
SETTINGS = """\
server.default_listen_address={host}
server.bolt.listen_address={host}:{port}
server.http.enabled=false
server.memory.pagecache.size=64m
db.tx_log.preallocate=false
dbms.usage_report.enabled=false
"""
OPENED = ("java.io", "java.lang", "java.nio", "sun.nio.ch")
QUICK_START = "-XX:TieredStopAtLevel=1"
OPTIONS = (
    "-Xmx512m",
    "-XX:+UseSerialGC",
    QUICK_START,
    "-XX:-UsePerfData",
    *(f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in OPENED),
    "-cp",
    f"{JARS}/*",
)


class Neo4j:
    """How a Neo4j is started and asked."""

    def __init__(self, *, fast: bool = False) -> None:
        self._options = tuple(each for each in OPTIONS if not (fast and each == QUICK_START))

    LADDER: Ladder = ((signal.SIGTERM, 30.0), (signal.SIGKILL, 10.0))
    START_SECONDS = 120.0

    def prepare(self, site: Site) -> Launch:
        """Its settings, and the password that its first start takes for its own."""
        site.make_folders()
        site.write(site.conf / "neo4j.conf", SETTINGS.format(host=LOOPBACK, port=site.port))
        # What it unpacks goes where the rest of it is, and with it.
        java = (str(site.programs.path), f"-Djava.io.tmpdir={site.data}", f"-Djna.tmpdir={site.data}", *OPTIONS)
        if not (site.data / "data").exists():
            _set_password(site, java)
        arguments = ("org.neo4j.server.CommunityEntryPoint", f"--home-dir={site.data}", f"--config-dir={site.conf}")
        return Launch((*java, *arguments), {})

    def check(self, site: Site) -> None:
        """Ask it for something, over Bolt."""
        try:
            graph.probe(_described(site), int(CHECK_SECONDS))
        except StoreUnavailable as error:
            raise NotReady(str(error)) from error

    def furnish(self, site: Site) -> None:
        """Nothing to do: Community has one database, which it makes itself."""


def _set_password(site: Site, java: tuple[str, ...]) -> None:
    environment = {**clean_environment(site), "NEO4J_HOME": str(site.data), "NEO4J_CONF": str(site.conf)}
    command = [*java, "org.neo4j.cli.AdminTool", "dbms", "set-initial-password", PASSWORD]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=PASSWORD_SECONDS, check=False
    )
    assert done.returncode == 0, done.stderr


def _described(site: Site) -> GraphServer:
    return GraphServer(f"bolt://{LOOPBACK}:{site.port}", Login("neo4j", fixed(PASSWORD)), "neo4j", Tls("disable"))


class OwnNeo4j(OwnServer):
    """A Neo4j Community. ArcadeDB's wheel brings the Java that it runs on."""

    def __init__(self, *, fast: bool = False) -> None:
        """`fast`: compiled in full, for what is measured; it starts slower."""
        if not FETCHED.exists():
            pytest.skip("Neo4j is not there (make test-long fetches it where Maven is installed and reaches its jars)")
        java: Programs = programs("graph")
        super().__init__("graph", Neo4j(fast=fast), java)
        self.store = _described(self.site)


@pytest.fixture(scope="session")
def own_neo4j() -> Iterator[OwnNeo4j]:
    """A Neo4j of this test process: who kills it, starts it again, and leaves it empty."""
    with OwnNeo4j() as server:
        yield server


@pytest.fixture(scope="session")
def neo4j(own_neo4j: OwnNeo4j) -> GraphServer:
    """Where it is, for those who leave it running; leave it empty."""
    return own_neo4j.store
