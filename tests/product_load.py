"""A product at work: sessions that read and write single rows of its tables, and how long each statement took."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from product_schema import ACCOUNTS

STATEMENTS = (
    "update public.{0} set amount = amount + 1 where id = %s",
    "update public.{0} set name = name || '.' where id = %s",
    "select * from public.{0} where id = %s",
)
ENTER = "select kos.enter(%s)"
INSERT = "insert into public.support_note (account_id, note) values (%s, 'load')"


@dataclass
class Load:
    """What the sessions have seen. `longest` is in seconds, per statement. With `enters`, each statement is in a
    transaction that enters the tenant whose row it is about, and `written` counts the rows that were."""

    tables: Sequence[str]
    enters: bool = False
    statements: int = 0
    written: int = 0
    longest: float = 0.0
    slowest: str = ""
    failed: list[BaseException] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def work(self, connection: psycopg.Connection[Any], stop: threading.Event, seed: int) -> None:
        """One session, until it is told to stop."""
        dice = random.Random(seed)
        try:
            while not stop.is_set():
                table, row = dice.choice(self.tables), dice.randint(1, 20)
                account = 1 + row % ACCOUNTS
                statement = INSERT if dice.random() < 0.1 else dice.choice(STATEMENTS).format(table)
                given = account if statement is INSERT else row
                if self.enters:
                    with connection.transaction():
                        self._run(connection, ENTER, str(account))
                        self._run(connection, statement, given)
                else:
                    self._run(connection, statement, given)
        except BaseException as error:
            self.failed.append(error)

    def _run(self, connection: psycopg.Connection[Any], statement: str, given: object) -> None:
        began = time.perf_counter()
        count = connection.execute(statement.encode(), (given,)).rowcount
        self._note(time.perf_counter() - began, statement)
        if not statement.startswith("select"):
            assert count == 1, f"{statement} of {given} wrote {count} rows"
            self.written += count

    def _note(self, seconds: float, statement: str) -> None:
        with self._lock:
            self.statements += 1
            if seconds > self.longest:
                self.longest, self.slowest = seconds, statement


@contextmanager
def running(
    connect: Callable[[], psycopg.Connection[Any]], tables: Sequence[str], sessions: int = 2, *, enters: bool = False
) -> Iterator[Load]:
    """The load, as long as the block; it has begun to work when the block begins."""
    load, stop = Load(tables, enters), threading.Event()
    connections = [connect() for _ in range(sessions)]
    threads = [
        threading.Thread(target=load.work, args=(each, stop, seed), daemon=True)
        for seed, each in enumerate(connections)
    ]
    for thread in threads:
        thread.start()
    try:
        deadline = time.monotonic() + 30
        while load.statements < 20 and not load.failed:
            if time.monotonic() > deadline:
                raise AssertionError("the load did not begin")
            time.sleep(0.01)
        yield load
    finally:
        stop.set()
        for thread in threads:
            thread.join(60)
        for connection in connections:
            connection.close()
