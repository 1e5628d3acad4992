"""Opening the graph."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from kos.errors import StoreUnavailable
from kos.topology.answer import Answer, one_line
from kos.topology.model import GraphServer
from kos.topology.tls import authorities

if TYPE_CHECKING:
    from neo4j import AsyncDriver, Driver

CONNECT_SECONDS = 10.0
ANSWER_SECONDS = 120.0


def open_async(
    graph: GraphServer, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
) -> AsyncDriver:
    """The same for asyncio. The secret is read in a thread: a command may take its time."""
    from neo4j import AsyncGraphDatabase
    from neo4j.auth_management import AsyncAuthManagers

    async def credentials() -> tuple[str, str]:
        return await asyncio.to_thread(_login, graph)

    uri, options = _options(graph, connect_seconds)
    driver = AsyncGraphDatabase.driver(uri, auth=AsyncAuthManagers.basic(credentials), **options)
    pool: Any = driver._pool
    opener = pool.opener

    async def opened(*arguments: Any) -> Any:
        connection = await opener(*arguments)
        connection.socket.set_read_timeout(answer_seconds)
        return connection

    pool.opener = opened
    return driver


def open(
    graph: GraphServer, *, connect_seconds: float = CONNECT_SECONDS, answer_seconds: float = ANSWER_SECONDS
) -> Driver:
    """A driver for `graph`. It connects when it is used; the caller closes it.

    The password is read when the driver first needs it, and again when the server no longer takes it. A server that
    says nothing for `answer_seconds` while it is asked counts as gone: the driver itself would wait for ever, unless
    the server has told it not to.
    """
    from neo4j import GraphDatabase
    from neo4j.auth_management import AuthManagers

    uri, options = _options(graph, connect_seconds)
    driver = GraphDatabase.driver(uri, auth=AuthManagers.basic(lambda: _login(graph)), **options)
    pool: Any = driver._pool
    opener = pool.opener

    def opened(*arguments: Any) -> Any:
        connection = opener(*arguments)
        connection.socket.set_read_timeout(answer_seconds)
        return connection

    pool.opener = opened
    return driver


def _login(graph: GraphServer) -> tuple[str, str]:
    return graph.login.user, graph.login.password.read() if graph.login.password else ""


def _options(graph: GraphServer, connect_seconds: float) -> tuple[str, dict[str, Any]]:
    uri, trust = _protection(graph)
    return uri, {
        "connection_timeout": connect_seconds,
        "connection_acquisition_timeout": connect_seconds,
        "user_agent": "kos",
        "telemetry_disabled": True,
        "notifications_min_severity": "OFF",  # a label that nobody has used yet is no news
        **trust,
    }


def _protection(graph: GraphServer) -> tuple[str, dict[str, Any]]:
    """The address without `+s`, and whom to trust: the driver takes a certificate authority only in this form."""
    from neo4j import TrustCustomCAs, TrustSystemCAs

    parts = urlsplit(graph.uri)
    if not parts.scheme.endswith("+s"):
        return graph.uri, {}
    file = authorities(graph.tls)
    trust = TrustCustomCAs(file) if file else TrustSystemCAs()
    plain = urlunsplit(parts._replace(scheme=parts.scheme.removesuffix("+s")))
    return plain, {"encrypted": True, "trusted_certificates": trust}


def probe(graph: GraphServer, seconds: int) -> Answer:
    """Ask the server something through its driver.

    Raises:
        StoreUnavailable: it does not answer, or refuses.
        SecretUnavailable: the password can't be read.
    """
    from neo4j.exceptions import DriverError, Neo4jError

    try:
        with open(graph, connect_seconds=seconds) as driver:
            agent = driver.get_server_info().agent
            # Not execute_query: that would retry past our deadline.
            with driver.session(database=graph.database) as session:
                session.run("RETURN 1").consume()
    except (DriverError, Neo4jError, OSError) as error:
        raise StoreUnavailable("the graph", graph.uri, reason(error)) from error
    return _answer(agent)


def reason(error: BaseException) -> str:
    """What went wrong: the driver tells a server's complaint with its codes, and hides why TLS failed in a cause."""
    from neo4j.exceptions import Neo4jError

    if isinstance(error, Neo4jError) and error.message:
        return error.message
    while error.__cause__:
        error = error.__cause__
    return one_line(error)


def _answer(agent: str) -> Answer:
    """`Neo4j/5.26.0`, or what stands in for it: `Neo4j/5.26.0 compatible (ArcadeDB 26.10.2)`."""
    found = re.search(r"\((?P<kind>\w+) (?P<version>\S+)\)$", agent) or re.match(
        r"(?P<kind>\w+)/(?P<version>\S+)", agent
    )
    if not found:
        return Answer("bolt graph", agent or "unknown")
    return Answer(found["kind"].lower(), found["version"])
