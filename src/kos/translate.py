"""What drivers and the system raise, as errors of kos.

For the command line, and wherever one broken part must not hide the others. What is not translated is a mistake in
kos itself: it goes on as it is, with its traceback.
"""

from __future__ import annotations

import errno
import os
import sys

import psycopg

from kos.errors import ConnectionLost, FileRefused, KosError, StoreBusy, StoreFull, StoreRefused

POSTGRESQL = "PostgreSQL"

# Lock timeout, conflict, deadlock, time limits of statement and transaction, object in use; and what passes by itself:
# too many connections, too little memory.
_BUSY = {"55P03", "40001", "40P01", "57014", "25P03", "25P04", "55006", "53000", "53200", "53300"}
_FULL = {"53100"}
_GOING_DOWN = {"57P01", "57P02", "57P03", "57P05"}
_DRIVERS = (
    ("object storage", "botocore.exceptions", ("BotoCoreError", "ClientError")),
    ("the cache", "redis.exceptions", ("RedisError",)),
    ("the graph", "neo4j.exceptions", ("DriverError", "Neo4jError")),
)


def translated(error: Exception) -> KosError | None:
    """The error of kos that says the same; None for a mistake in the program."""
    if isinstance(error, KosError):
        return error
    if isinstance(error, psycopg.Error):
        return _of_postgres(error)
    if isinstance(error, OSError) and error.errno != errno.EPIPE:
        return FileRefused(_file_of(error), error.strerror or _one_line(error))
    for store, module, names in _DRIVERS:
        # Loaded by whoever uses it: what was not loaded has raised nothing.
        kinds = tuple(getattr(sys.modules[module], name) for name in names) if module in sys.modules else ()
        if isinstance(error, kinds):
            return StoreRefused(store, _one_line(error))
    return None


def _of_postgres(error: psycopg.Error) -> KosError | None:
    state = error.sqlstate
    if state is None:  # from the driver, not from a server
        lost = isinstance(error, psycopg.OperationalError)
        return ConnectionLost(POSTGRESQL, _one_line(error)) if lost else None
    if isinstance(error, psycopg.errors.SyntaxError):
        return None
    # Without detail and context: these may hold a tenant's rows.
    reason = " ".join((error.diag.message_primary or _one_line(error)).split())
    if state.startswith("08") or state in _GOING_DOWN:
        return ConnectionLost(POSTGRESQL, reason)
    if state in _FULL:
        return StoreFull(POSTGRESQL, reason)
    if state in _BUSY:
        return StoreBusy(POSTGRESQL, reason)
    return StoreRefused(POSTGRESQL, f"{reason} ({state})")


def _file_of(error: OSError) -> str:
    if error.filename is not None:
        return str(error.filename)
    try:
        os.getcwd()
    except FileNotFoundError:  # somebody deleted it
        return "the current folder"
    return "a file"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__
