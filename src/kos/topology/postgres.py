"""Opening PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

import psycopg

from kos import sql
from kos.errors import StoreUnavailable
from kos.topology.answer import one_line
from kos.topology.model import Login, PostgresServer
from kos.topology.tls import authorities

CONNECT_SECONDS = 10
TRANSACTION_TIMEOUT_SINCE = 170000  # server_version_num

# libpq fills what we leave out from the user's PGHOSTADDR, PGOPTIONS, … and from his service file: that would lead
# us to another server than the one we name, and change what our sessions do there.
NOT_FROM_ENVIRONMENT: dict[str, Any] = {"hostaddr": "", "options": "", "target_session_attrs": "any"}

# What a database or a role says of these is for the application. Our own statements lock first and look then, which
# needs a new snapshot for each, and take as long as they take. Behind a pooler a session's settings would be for
# whoever comes next; so what must not run under another isolation refuses it by itself (kos.seal).
OWN_SESSION = "-c default_transaction_isolation=read\\ committed -c statement_timeout=0"
_QUERIES = sql.load("kos.topology")


def conninfo(server: PostgresServer, login: Login, *, connect_seconds: int = CONNECT_SECONDS) -> dict[str, Any]:
    """What libpq needs to connect; reads the secret now. Also fit for PostgreSQL's own tools, by environment.

    Raises:
        SecretUnavailable: the password can't be read.
    """
    parameters = NOT_FROM_ENVIRONMENT | {
        "host": server.host,
        "port": server.port,
        "dbname": server.database,
        "user": login.user,
        "application_name": "kos",
        "connect_timeout": connect_seconds,
        "sslmode": server.tls.mode,
        # libpq prefers Kerberos encryption over TLS wherever a ticket lies about, verify-full or not.
        "gssencmode": "disable",
    }
    if server.tls.mode.startswith("verify-"):
        parameters["sslrootcert"] = authorities(server.tls) or "system"
    if server.tls.certificate:
        parameters["sslcert"] = str(server.tls.certificate)
    if server.tls.key:
        parameters["sslkey"] = str(server.tls.key)
    if login.password:
        parameters["password"] = login.password.read()
    return parameters


def driver_options(server: PostgresServer) -> dict[str, Any]:
    """What psycopg needs beside `conninfo`. A statement prepared behind a pooler is met by another server."""
    return {"prepare_threshold": None} if server.pooler else {}


def connect(
    server: PostgresServer,
    login: Login,
    *,
    connect_seconds: int = CONNECT_SECONDS,
    **options: Any,
) -> psycopg.Connection[Any]:
    """A new connection for our own work; `options` go to psycopg, and override what is said here.

    Raises:
        SecretUnavailable: the password can't be read.
        StoreUnavailable: the server does not answer, or refuses the login.
    """
    parameters = conninfo(server, login, connect_seconds=connect_seconds) | _own(server) | options
    try:
        connection = psycopg.connect(autocommit=True, **parameters)
        try:
            if _knows_transaction_timeout(server, connection):
                connection.execute(_QUERIES.no_transaction_timeout)
        except BaseException:
            connection.close()
            raise
        return connection
    except psycopg.Error as error:
        refused = unavailable(server, error)
    # Raised here, not in the except: psycopg's error holds what it connected with, password included.
    raise refused


async def connect_async(
    server: PostgresServer,
    login: Login,
    *,
    connect_seconds: int = CONNECT_SECONDS,
    **options: Any,
) -> psycopg.AsyncConnection[Any]:
    """`connect` for asyncio. The secret is read in a thread: a command may take its time."""
    parameters = await asyncio.to_thread(conninfo, server, login, connect_seconds=connect_seconds)
    parameters |= _own(server) | options
    try:
        connection = await psycopg.AsyncConnection.connect(autocommit=True, **parameters)
        try:
            if _knows_transaction_timeout(server, connection):
                await connection.execute(_QUERIES.no_transaction_timeout)
        except BaseException:
            await connection.close()
            raise
        return connection
    except psycopg.Error as error:
        refused = unavailable(server, error)
    raise refused  # as in `connect`


def _own(server: PostgresServer) -> dict[str, Any]:
    return driver_options(server) | ({} if server.pooler else {"options": OWN_SESSION})


def _knows_transaction_timeout(
    server: PostgresServer, connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]
) -> bool:
    """Whether the server knows `transaction_timeout`, which `options` can't name: one that doesn't would refuse us."""
    return not server.pooler and connection.info.server_version >= TRANSACTION_TIMEOUT_SINCE


def unavailable(server: PostgresServer, error: psycopg.Error) -> StoreUnavailable:
    """The error that says why `server` can't be used. libpq's texts name hosts and roles, never a password."""
    return StoreUnavailable("PostgreSQL", server.address, one_line(error))
