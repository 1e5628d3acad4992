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

# libpq fills what we leave out from the user's PGHOSTADDR, PGOPTIONS, … and from his service file: that would lead
# us to another server than the one we name, and change what our sessions do there.
NOT_FROM_ENVIRONMENT: dict[str, Any] = {"hostaddr": "", "options": "", "target_session_attrs": "any"}

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
    parameters = conninfo(server, login, connect_seconds=connect_seconds) | driver_options(server) | options
    try:
        connection = psycopg.connect(autocommit=True, **parameters)
        try:
            settle(server, connection)
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
    parameters |= driver_options(server) | options
    try:
        connection = await psycopg.AsyncConnection.connect(autocommit=True, **parameters)
        try:
            if not server.pooler:
                await connection.execute(_QUERIES.own_session)
        except BaseException:
            await connection.close()
            raise
        return connection
    except psycopg.Error as error:
        refused = unavailable(server, error)
    raise refused  # as in `connect`


def settle(server: PostgresServer, connection: psycopg.Connection[Any]) -> None:
    """Give a session that did something else before the settings that `connect` gives a new one."""
    if not server.pooler:
        connection.execute(_QUERIES.own_session)


def unavailable(server: PostgresServer, error: psycopg.Error) -> StoreUnavailable:
    """The error that says why `server` can't be used. libpq's texts name hosts and roles, never a password."""
    return StoreUnavailable("PostgreSQL", server.address, one_line(error))
