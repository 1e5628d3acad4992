"""How a session gives its connection back: committed, and without anything of its own that outlives a transaction.

The pool hands a connection on to the next tenant. What a statement may have left in it can't be told from outside
(`select` makes temporary tables and settings too), so everything is taken away each time: settings and role of the
session, temporary tables, cursors with hold, `listen`. It goes with the COMMIT as one message, and costs the server
about 4 µs. Statements that were prepared stay; so do session-level advisory locks, which no command of such a message
can lift.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
from psycopg import generators
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

COMMIT = b"commit"
CLEAN = (b"reset session authorization", b"reset all", b"close all", b"unlisten *", b"discard temp")


def leave(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], *, commit: bool
) -> Generator[Any, Any, None]:
    """For `connection.wait`: commit, if asked for, and clean up. A connection that can't be cleaned is closed.

    Behind a pooler only the commit is sent: the server's connection is the pooler's, with settings of its own.

    Raises:
        psycopg.Error: the commit failed.
    """
    pgconn = connection.pgconn
    cleaning = () if connection.prepare_threshold is None else CLEAN
    committing = (COMMIT,) if commit and pgconn.transaction_status != TransactionStatus.IDLE else ()
    results = yield from _answers(pgconn, committing + cleaning)
    refused: psycopg.Error | None = None
    if committing and results[0].status == ExecStatus.FATAL_ERROR:
        refused = psycopg.errors.error_from_result(results[0], encoding=connection.info.encoding)
        # The server took nothing of the message after that.
        results = [] if pgconn.status == ConnStatus.BAD else (yield from _answers(pgconn, cleaning))
    if any(result.status == ExecStatus.FATAL_ERROR for result in results) and pgconn.status != ConnStatus.BAD:
        pgconn.finish()
    if refused:
        raise refused


def _answers(pgconn: PGconn, commands: tuple[bytes, ...]) -> Generator[Any, Any, list[PGresult]]:
    if not commands:
        return []
    pgconn.send_query(b"; ".join(commands))
    results: list[PGresult] = yield from generators.execute(pgconn)
    return results
