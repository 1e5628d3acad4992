"""Begin, entry and first statement as one message to the server, answered by one message.

psycopg's own pipeline sends every command apart, as soon as the socket takes it, and asks the server for a
synchronisation after BEGIN; on a fast network that costs more than the round trip it saves. Here the commands are
collected in libpq's buffer and sent at once. This rests on a few of psycopg's private generators (as its `Pipeline`
does), all of them named in this file; `docs/decisions/0003-one-message.md` says what was measured.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import psycopg
from psycopg.abc import Params, PQGen
from psycopg.abc import QueryNoTemplate as Query
from psycopg.generators import send

from kos.tenancy.entry import Entering, Entry
from kos.tenancy.preparing import repeatable
from kos.tenancy.tenant import QUERIES

PREPARED = b"kos_enter"
_TEXT = QUERIES.enter_positional.as_bytes()


class _Together(psycopg.Pipeline):
    """A pipeline that sends nothing before its end. Its base class is the synchronous one, but nothing that is used
    here waits by itself."""

    def _communicate_gen(self) -> PQGen[None]:
        while self.command_queue:
            self.command_queue.popleft()()
        return
        yield  # makes this a generator, as psycopg expects

    answered = False

    def _process_results(self, queued: Any, results: list[Any]) -> None:
        # A connection that died in the pool has its server's farewell waiting: an answer is one without an error.
        super()._process_results(queued, results)
        self.answered = True

    def answers(self) -> PQGen[None]:
        """Send what is collected, and wait for what the server says to it."""
        self.pgconn.pipeline_sync()
        self.result_queue.append(None)
        yield from send(self.pgconn)  # a socket takes only so much at once; the server answers when it has all
        yield from self._fetch_gen(flush=False)


def send_together(
    connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any],
    cursor: psycopg.Cursor[Any] | psycopg.AsyncCursor[Any],
    entry: Entry,
    entering: Entering,
    query: Query,
    params: Params | None,
    options: dict[str, Any],
) -> Generator[Any, Any, None]:
    """For `connection.wait`, on a connection in autocommit mode: afterwards it is inside a transaction, the tenant is
    entered, and `cursor` has the result of `query`.

    Raises:
        psycopg.Error: the first of the three that failed; then the connection has a transaction to be rolled back.
    """
    pgconn = connection.pgconn
    encoding = connection.info.encoding
    values = [None if value is None else value.encode(encoding) for value in entry.values(entering.tenant)]
    pipeline = _Together(connection)  # type: ignore[arg-type]
    pgconn.enter_pipeline_mode()
    connection._pipeline = pipeline
    try:
        pgconn.send_query_params(entry.begin.encode(), None)
        pipeline.result_queue.append(None)
        if connection.prepare_threshold is None:  # behind a pooler
            pgconn.send_query_params(_TEXT, values)
        else:
            pgconn.send_query_prepared(PREPARED, values)
        pipeline.result_queue.append(None)
        repeatable(connection, True)
        try:
            yield from cursor._execute_gen(query, params, **options)
        except Exception:
            yield from pipeline.answers()  # the driver can't make a message of it; what went before is under way
            raise
        yield from pipeline.answers()
    finally:
        entering.answered = pipeline.answered
        connection._pipeline = None
        repeatable(connection, False)
        if pgconn.status != psycopg.pq.ConnStatus.BAD:
            pgconn.exit_pipeline_mode()
