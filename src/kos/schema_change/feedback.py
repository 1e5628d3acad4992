"""What replicas feel of a fill: how far they are behind.

A lag is a time, told by positions in the log: PostgreSQL's own `replay_lag` stands still while a replica does. The
primary's position is noted whenever somebody asks, and a replica that has not come to a position yet is behind by the
time since that was noted, or more. It is told the longest that it can be, so the answer is as exact as the questions
are frequent.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from typing import Any

import psycopg

from kos import errors, sql
from kos.schema_change.facts import Connection
from kos.topology import postgres
from kos.topology.model import Login, PostgresServer, Shard

QUERIES = sql.load("kos.schema_change", "fill.sql")
NOTED = 10_000  # positions


class ReplicaLag:
    """The replicas of a shard: those that its configuration names are asked, the primary is asked for others.

    `connection` is one to the primary, of somebody who is not in a transaction.
    """

    def __init__(self, connection: Connection, shard: Shard, clock: Callable[[], float] = time.monotonic) -> None:
        self._connection = connection
        self._shard = shard
        self._clock = clock
        self._noted: deque[tuple[float, int]] = deque(maxlen=NOTED)
        self._seen: set[str] = set()
        self._open: dict[str, psycopg.Connection[Any]] = {}

    def __call__(self) -> dict[str, float | None]:
        """Milliseconds, by the replica's name; None for one that does not answer, or is not connected any more.

        Raises:
            ThrottleBlind: the primary has replicas that nobody has named, and hides how far they are.
        """
        row = self._connection.execute(QUERIES.wal_written).fetchone()
        assert row is not None
        self._noted.append((self._clock(), int(row[0])))
        found = self._streaming() | {server.name: self._ask(server) for server in self._shard.replicas}
        self._seen |= set(found)
        return {name: self._lag(*found.get(name, (None, None))) for name in self._seen}

    def close(self) -> None:
        """Let go of the replicas."""
        for connection in self._open.values():
            connection.close()
        self._open.clear()

    def _streaming(self) -> dict[str, tuple[int | None, float | None]]:
        rows = self._connection.execute(QUERIES.streaming).fetchall()
        if any(hidden for *_, hidden in rows) and not self._shard.replicas:
            raise errors.ThrottleBlind(self._shard.name)
        return {f"{name} of {self._shard.name}": (at, behind) for name, at, behind, hidden in rows if not hidden}

    def _ask(self, server: PostgresServer) -> tuple[int | None, float | None]:
        login: Login = self._shard.operator
        try:
            if server.name not in self._open:
                self._open[server.name] = postgres.connect(server, login, connect_seconds=2)
            row = self._open[server.name].execute(QUERIES.wal_replayed).fetchone()
        except (errors.StoreUnavailable, psycopg.Error):
            if server.name in self._open:
                self._open.pop(server.name).close()
            return None, None
        return (int(row[0]), row[1]) if row and row[0] is not None else (None, None)

    def _lag(self, at: int | None, behind: float | None) -> float | None:
        """Since when there has been something that a replica at this position has not got; `behind` are the seconds
        that are said where we don't know."""
        if at is None:
            return None
        now, newest = self._noted[-1]
        if at >= newest:
            return 0.0
        since = max((when for when, position in self._noted if position <= at), default=None)
        if since is None:
            return max(now - self._noted[0][0], behind or 0.0) * 1000
        return (now - since) * 1000
