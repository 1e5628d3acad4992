"""The graph of an embedded stack: ArcadeDB over Bolt, with its own Java, from the wheel `arcadedb-embedded`."""

from __future__ import annotations

import signal

from kos.topology.embedded.census import Ladder
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import CHECK_SECONDS, Launch, NotReady, Site

DATABASE = "kos"
USER = "root"

LADDER: Ladder = ((signal.SIGTERM, 20.0), (signal.SIGKILL, 10.0))
START_SECONDS = 90.0

_OPTIONS = """\
-Xmx768m
-XX:+UseSerialGC
-XX:-UsePerfData
-Djava.net.preferIPv4Stack=true
-Djava.io.tmpdir={data}
-cp
{jars}/*
-Darcadedb.server.mode=production
-Darcadedb.server.rootPath={data}
-Darcadedb.server.rootPasswordPath={password}
-Darcadedb.server.plugins=Bolt:com.arcadedb.bolt.BoltProtocolPlugin
-Darcadedb.server.defaultDatabases={database}[{user}]
-Darcadedb.bolt.host={host}
-Darcadedb.bolt.port={bolt}
-Darcadedb.server.httpIncomingHost={host}
-Darcadedb.server.httpIncomingPort={http}
com.arcadedb.server.ArcadeDBServer
"""


def prepare(site: Site) -> Launch:
    """Write the options: without the two hosts it would listen on every interface."""
    site.make_folders()
    bolt, http = site.ports
    password = site.write(site.conf / "password", site.secrets["graph"])
    options = _OPTIONS.format(
        data=site.data,
        jars=site.programs.root / "jars",
        password=password,
        database=DATABASE,
        user=USER,
        host=LOOPBACK,
        bolt=bolt,
        http=http,
    )
    return Launch((str(site.programs.path), f"@{site.write(site.conf / 'options', _quoted(options))}"), {})


def _quoted(options: str) -> str:
    """Java splits an options file at blanks: a folder's name may have some."""
    lines = (line.replace("\\", "\\\\").replace('"', '\\"') for line in options.splitlines())
    return "".join(f'"{line}"\n' for line in lines)


def check(site: Site) -> None:
    """Ask it for something, over Bolt and in the database of kos."""
    from neo4j import GraphDatabase
    from neo4j.exceptions import DriverError, Neo4jError

    address = f"bolt://{LOOPBACK}:{site.port}"
    try:
        with (
            GraphDatabase.driver(
                address,
                auth=(USER, site.secrets["graph"]),
                connection_timeout=CHECK_SECONDS,
                connection_acquisition_timeout=CHECK_SECONDS,
            ) as driver,
            driver.session(database=DATABASE) as session,
        ):
            session.run("return 1").consume()
    except (DriverError, Neo4jError) as error:
        raise NotReady(str(error)) from error


def furnish(site: Site) -> None:
    """Nothing to do: it makes the database itself."""
