"""What the application feels while a fill is at work, in milliseconds.

The application knows best, so a query that somebody gave is asked where there is one. Else, where pg_stat_statements
shows them to us, it is the mean time of the statements that the application has ended in the last second: it rises when
all become slow, and one report among thousands of statements does not stop a fill. In any case a commit of our own is
timed, which is what a writer waits for on a full disk or a slow replica, also while none of the application's ends.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from decimal import Decimal

import psycopg
from psycopg.sql import Identifier

from kos import sql
from kos.schema_change.facts import Connection
from kos.schema_change.throttle import Measured

QUERIES = sql.load("kos.schema_change", "latency.sql")
QUERY_TIMEOUT = "2s"
BETWEEN_QUERIES = 0.2  # seconds between two askings of a query, which may be dear
BETWEEN_STATISTICS = 1.0  # PostgreSQL reads the texts of all statements for each
OURS = ["kos_owner", "kos_operator", "kos_auditor", "kos_mover", "kos_adopter"]  # roles; kos_app is the application

Counted = dict[tuple[int, int], tuple[int, float]]  # calls and milliseconds, by role and statement


class AppLatency:
    """The latency of the application in one database. `connection` is the operator's, outside of transactions."""

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._statements = Statements(connection, clock)
        self._asked: tuple[str, float, Measured] | None = None

    def __call__(self, query: str | None) -> list[Measured]:
        """What the query says, else the statistics, and a commit."""
        commit = Measured("commits take", commit_seconds(self._connection) * 1000)
        told = self._ask(query) if query else self._statements()
        return [commit, told] if told else [commit]

    def _ask(self, query: str) -> Measured:
        now = self._clock()
        if self._asked is None or self._asked[0] != query or now - self._asked[1] >= BETWEEN_QUERIES:
            self._asked = query, now, ask(self._connection, query)
        return self._asked[2]


class Statements:
    """The application's statements, by pg_stat_statements.

    That counts a statement when it ends, and not when it fails. It forgets statements when it has no room, and all when
    somebody resets it: so each is compared with itself, and one that has fewer calls than before began anew.
    """

    def __init__(self, connection: Connection, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._clock = clock
        self._looked = float("-inf")
        self._before: Counted | None = None
        self._mean: float | None = None

    def __call__(self) -> Measured | None:
        """Their mean time; None where it is hidden from us, or nothing is under way."""
        if self._clock() - self._looked >= BETWEEN_STATISTICS:
            self._looked = self._clock()
            self._look()
        return None if self._mean is None else Measured("statements take", self._mean)

    def _look(self) -> None:
        found = self._counted()
        ended = _since(self._before, found) if self._before is not None and found is not None else []
        self._before = found
        calls = sum(count for count, _ in ended)
        if calls:
            self._mean = sum(taken for _, taken in ended) / calls
        elif self._mean is not None and not self._is_at_work():
            self._mean = None  # or the last statement before a night's rest would be waited for till the morning

    def _counted(self) -> Counted | None:
        place = self._connection.execute(QUERIES.find_statements).fetchone()
        if place is None:
            return None
        query = QUERIES.statements.format(schema=Identifier(place[0]))
        try:
            rows = self._connection.execute(query, {"ours": OURS}).fetchall()
        except (
            psycopg.errors.ObjectNotInPrerequisiteState,  # installed, but not loaded
            psycopg.errors.UndefinedColumn,  # of a PostgreSQL before 14, from which the server was upgraded
            psycopg.errors.InsufficientPrivilege,
        ):
            return None
        return {(role, statement): (calls, taken) for role, statement, calls, taken in rows}

    def _is_at_work(self) -> bool:
        return self._connection.execute(QUERIES.is_at_work, {"ours": OURS}).fetchone() == (True,)


def _since(before: Counted, now: Counted) -> list[tuple[int, float]]:
    """Calls and milliseconds that have been added."""
    added = []
    for key, (calls, taken) in now.items():
        calls_before, taken_before = before.get(key, (0, 0.0))
        began_anew = calls < calls_before
        added.append((calls, taken) if began_anew else (calls - calls_before, taken - taken_before))
    return added


def ask(connection: Connection, query: str) -> Measured:
    """What a query that somebody gave says. It can't change anything, and is ended after two seconds.

    A cursor is for a SELECT that writes nothing, or VALUES; and the protocol takes no second statement to prepare.
    """
    what = "the latency query says"
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(QUERIES.read_only)
            connection.execute(QUERIES.limit_query, {"timeout": QUERY_TIMEOUT})
            # psycopg sends what has no parameters as it stands, `%` and all.
            connection.execute(b"declare kos_latency no scroll cursor for " + query.encode(), prepare=True)
            cursor = connection.execute(QUERIES.fetch)
            columns, rows = len(cursor.description or ()), cursor.fetchall()
    except (psycopg.Error, UnicodeError) as error:
        if connection.closed:
            raise
        return Measured(what, None, f"the latency query fails: {str(error).partition(chr(10))[0]}")
    if len(rows) != 1 or columns != 1:
        return Measured(what, None, f"the latency query returns {len(rows)} rows of {columns} columns, not one number")
    value = rows[0][0]
    # Not `< 0`: NaN is no latency either, and would never be above a limit.
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal) or not float(value) >= 0:
        return Measured(what, None, f"the latency query returns {value!r:.60}, not milliseconds")
    return Measured(what, float(value))


def commit_seconds(connection: Connection) -> float:
    """How long a commit of next to nothing takes: it has to reach the disk, and replicas that the primary waits for."""
    began = time.perf_counter()
    connection.execute(QUERIES.smallest_commit)
    return time.perf_counter() - began
