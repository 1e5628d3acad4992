"""Code of before and code of after at work while a schema changes: sessions that repeat a few statements.

A statement may name `%(n)s`, a number that no other has, and `%(row)s`, one of the rows that only this session changes:
so sessions never wait for each other, and whatever one waits for is the change's.
"""

from __future__ import annotations

import itertools
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import psycopg

ROWS = 600  # that a table has in the beginning, numbered from 1
SEATS = 8  # sessions that can be at work at the same time
PATIENCE_SECONDS = 60.0
PAUSE_SECONDS = 0.002  # between two transactions: the runner shares this machine
FAILURES = 5  # of one session, after which it has said enough

Connection = psycopg.Connection[Any]
_numbers = itertools.count(ROWS + 1)
_seats = itertools.cycle(range(SEATS))


class Code:
    """Sessions that execute these statements again and again, as long as the block lasts (or until `stop`).

    Half of the time all statements of a round are one transaction, else each is one. All are prepared at once, so a
    session meets the new schema with the plans of the old. `failed` says which statement failed, and how.
    """

    def __init__(self, statements: Sequence[str], *connect: Callable[[], Connection]) -> None:
        self.statements = tuple(statements)
        self.failed: list[str] = []
        self.longest, self.slowest = 0.0, ""  # the longest that a statement took, in seconds, and which
        self._connections = [each() for each in connect] if statements else []
        self._rounds = [0] * len(self._connections)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(number, next(_seats), each), daemon=True)
            for number, each in enumerate(self._connections)
        ]

    def __enter__(self) -> Code:
        for thread in self._threads:
            thread.start()
        self.go_on()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def go_on(self, rounds: int = 3) -> None:
        """Return when each session has done so many more rounds."""
        wanted = [each + rounds for each in self._rounds]
        deadline = time.monotonic() + PATIENCE_SECONDS
        while any(map(threading.Thread.is_alive, self._threads)):
            if all(done >= want for done, want in zip(self._rounds, wanted, strict=True)):
                return
            assert time.monotonic() < deadline, f"the load stands still: {self._rounds}, not {wanted} rounds"
            time.sleep(0.005)

    def stop(self) -> None:
        """No session is at work after this."""
        self._stop.set()
        for thread in self._threads:
            thread.join(PATIENCE_SECONDS)
            assert not thread.is_alive(), "a session of the load does not end"
        for connection in self._connections:
            connection.close()

    def _work(self, number: int, seat: int, connection: Connection) -> None:
        dice, failures = random.Random(seat), 0
        while not self._stop.is_set() and failures < FAILURES and not connection.closed:
            row = 1 + seat + SEATS * dice.randrange(ROWS // SEATS)
            at = ["commit"]
            try:
                self._round(connection, row, at, together=dice.random() < 0.5)
            except BaseException as error:
                failures += 1
                self.failed.append(f"{type(error).__name__}: {error} [{at[-1]}]")
            self._rounds[number] += 1
            time.sleep(PAUSE_SECONDS)

    def _round(self, connection: Connection, row: int, at: list[str], *, together: bool) -> None:
        if together:
            with connection.transaction():
                for statement in self.statements:
                    self._execute(connection, statement, row, at)
                at.append("commit")
        else:
            for statement in self.statements:
                self._execute(connection, statement, row, at)

    def _execute(self, connection: Connection, statement: str, row: int, at: list[str]) -> None:
        at.append(statement)
        began = time.perf_counter()
        connection.execute(statement.encode(), {"n": next(_numbers), "row": row}, prepare=True)
        taken = time.perf_counter() - began
        if taken > self.longest:
            self.longest, self.slowest = taken, statement
