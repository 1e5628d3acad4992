"""Does this library fit the database's kos schema? A database serves libraries down to the version that it names."""

from __future__ import annotations

from typing import Any

import psycopg

from kos import errors
from kos.tenancy.schema_files import CONTROL
from kos.topology import postgres
from kos.topology.model import PostgresServer

LIBRARY = CONTROL.version
"""The version of the kos schema that this library was written for."""


def checked(database: str, row: tuple[Any, ...] | None) -> None:
    """Pass, or raise `DatabaseBehind`: the database has to be at this library's version or later."""
    found = row[0] if row and row[0] else 0
    if found < LIBRARY:
        raise errors.DatabaseBehind(database, found, LIBRARY)


def refused(server: PostgresServer, error: psycopg.Error) -> Exception:
    """The typed error for a handshake that failed; any other error as it is."""
    database = server.address
    if error.sqlstate == "KS007":
        return errors.LibraryTooOld(database, LIBRARY, int(error.diag.message_detail or 0))
    if isinstance(error, psycopg.errors.InvalidSchemaName | psycopg.errors.UndefinedFunction):
        return errors.DatabaseNotInstalled(database)
    if isinstance(error, psycopg.OperationalError):
        return postgres.unavailable(server, error)
    return error
