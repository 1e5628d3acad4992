"""How a session gives its connection back: committed, and without anything of its own that outlives a transaction.

The pool hands a connection on to the next tenant. Settings of the session and temporary tables are taken away each
time: a plain `select` may have made them, and nothing that is cheaper tells. It goes with the COMMIT as one message.
What only a function or another command leaves (a role, a cursor with hold, `listen`, an advisory lock) is taken away as
well, for 10 µs more, unless all statements were a `select` that calls none: the text of one that does says nothing of
what its functions leave, nor of what a parameter names.

After a rollback psycopg drops all prepared statements, and with them the entry (`prepare kos_enter`): it is prepared
anew, else every later entry on this connection would fail once before it is sent in another way.

Statements that were prepared stay after a commit. So do a lock or a cursor that a function of the application's own has
left where it was called by a view or an operator, until a session calls a function itself, or writes.
"""

from __future__ import annotations

import re
from collections.abc import Generator
from functools import lru_cache
from typing import Any

import psycopg
from psycopg import generators
from psycopg.abc import QueryNoTemplate as Query
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult

from kos.tenancy.bookmark import INCARNATION, TRANSACTION, Bookmark, is_known, made
from kos.tenancy.tenant import QUERIES

COMMIT = b"commit"
ALWAYS = (b"reset all", b"discard temp")
UNLOCK = b"select pg_catalog.pg_advisory_unlock_all()"
CLEAN = (b"reset session authorization", b"close all", b"unlisten *", UNLOCK, *ALWAYS)
PREPARED = (b"deallocate all", QUERIES.prepare_enter.as_bytes())
_READS = re.compile(r"\s*select\b[^(;]*", re.IGNORECASE)


def is_reading(query: Query) -> bool:
    """Whether this statement can write nothing, and `ALWAYS` is enough after it: a `select` that calls no function."""
    return isinstance(query, str) and _is_reading(query)


@lru_cache(maxsize=1000)
def _is_reading(query: str) -> bool:
    return _READS.fullmatch(query) is not None


def leave(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    *,
    commit: bool,
    plain: bool = False,
    reads: bool = False,
    rolled_back: bool = False,
) -> Generator[Any, Any, Bookmark | None]:
    """For `connection.wait`: commit, if asked for, and clean up; after statements that were all `plain` less is
    needed, and where psycopg has just sent a ROLLBACK, more. A connection that can't be cleaned is closed.

    Behind a pooler nothing is cleaned: the server's connection is the pooler's, with settings of its own. Returns the
    bookmark of what was committed; after statements that only `reads`, nobody asks for it, which costs 20 µs.

    Raises:
        psycopg.Error: the commit failed.
    """
    pgconn = connection.pgconn
    cleaning: tuple[bytes, ...] = ALWAYS if plain else CLEAN
    if rolled_back:
        cleaning += PREPARED
    if connection.prepare_threshold is None:
        cleaning = ()
    committing: tuple[bytes, ...] = ()
    if commit and pgconn.transaction_status != TransactionStatus.IDLE:
        committing = (COMMIT,) if reads else (TRANSACTION, COMMIT)
    asking = (INCARNATION,) if committing and not (reads or is_known(connection)) else ()
    results = yield from _answers(pgconn, committing + cleaning + asking)
    refused: psycopg.Error | None = None
    mark: Bookmark | None = None
    if committing and any(each.status == ExecStatus.FATAL_ERROR for each in results[: len(committing)]):
        refused = psycopg.errors.error_from_result(results[-1], encoding=connection.info.encoding)
        # The server took nothing of the message after that.
        results = [] if pgconn.status == ConnStatus.BAD else (yield from _answers(pgconn, cleaning))
    elif committing and not reads:
        mark = made(connection, results[0], results[-1] if asking else None)
    if any(result.status == ExecStatus.FATAL_ERROR for result in results) and pgconn.status != ConnStatus.BAD:
        pgconn.finish()
    if refused:
        raise refused
    return mark


def _answers(pgconn: PGconn, commands: tuple[bytes, ...]) -> Generator[Any, Any, list[PGresult]]:
    if not commands:
        return []
    pgconn.send_query(b"; ".join(commands))
    results: list[PGresult] = yield from generators.execute(pgconn)
    return results
