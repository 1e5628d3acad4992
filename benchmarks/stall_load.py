"""Code of before and of after at work: processes that read and write single rows, each at its pace, and somebody who
keeps what he has read and written locked for a while, again and again."""

from __future__ import annotations

import multiprocessing
import random
import threading
import time
from array import array
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from stall_kinds import Kind

OLD, MIXED, NEW, OVER = range(4)  # whose code runs: that of before, of each in half of the sessions, of after
PROCESSES, SESSIONS = 4, 4  # of each process: enough that commits which wait for the disk do not hold up all others
SEATS = PROCESSES * SESSIONS
PACE = SEATS / 2240  # seconds between two statements of a session; those of a transaction follow at once
CATCH_UP = 1.0  # seconds that a session catches up with, after it was held up
HOLD, GAP = 0.5, 0.3  # seconds that somebody keeps his transaction open, and rests
CUSTOMERS = 20_000
FIRST_NEW, SHARE = 10_000_000, 1_000_000  # ids that a session gives
PATIENCE = 60.0

# What is done, and how often of 100 times; BEGIN and COMMIT are not counted as statements, but they are measured too.
UNITS = (
    (40, ("read",)),
    (20, ("update",)),
    (8, ("insert",)),
    (8, ("delete",)),
    (4, ("read customer",)),
    (4, ("update customer",)),
    (2, ("insert customer", "delete customer")),
    (10, ("begin", "read", "update", "insert", "update customer", "delete", "commit")),
    (4, ("also",)),
)
_UNCOUNTED = ("begin", "commit")
HELD = ("read", "update", "read customer", "update customer", "also")

Parameters = dict[str, Any]


@dataclass
class Taken:
    """What a session has met: when statements began, how long each took, and how long it was until then since it, or
    its transaction, was due; `counts` is 0 for BEGIN and COMMIT."""

    at: array[float] = field(default_factory=lambda: array("d"))
    seconds: array[float] = field(default_factory=lambda: array("d"))
    since_due: array[float] = field(default_factory=lambda: array("d"))
    counts: array[int] = field(default_factory=lambda: array("b"))
    failed: list[str] = field(default_factory=list)


class Load:
    """The processes; they are started once, and work for one kind after another."""

    def __init__(self, parameters: Parameters) -> None:
        context = multiprocessing.get_context("spawn")
        self.phase = context.Value("i", OVER)
        self.reached = context.Array("i", [OVER] * SEATS)  # the phase that each has begun to work in
        self._parameters = parameters
        self._pipes = []
        self._processes = []
        for number in range(PROCESSES):
            ours, theirs = context.Pipe()
            given = (parameters, range(number, SEATS, PROCESSES), theirs, self.phase, self.reached)
            self._processes.append(context.Process(target=_work, args=given, daemon=True))
            self._pipes.append(ours)

    def __enter__(self) -> Load:
        for each in self._processes:
            each.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.phase.value = OVER
        for pipe, process in zip(self._pipes, self._processes, strict=True):
            pipe.send(None)
            process.join(PATIENCE)

    def begin(self, kind: Kind, rows: int) -> None:
        """Code of before is at work when this returns."""
        self.phase.value = OLD
        for pipe in self._pipes:
            pipe.send((kind.codes, rows))
        self.go_to(OLD)

    def go_to(self, phase: int) -> None:
        """When this returns, nobody runs other code than that phase's."""
        self.phase.value = phase
        deadline = time.monotonic() + PATIENCE
        while set(self.reached) != {phase}:
            assert time.monotonic() < deadline, f"the load stands still in {list(self.reached)}"
            time.sleep(0.005)

    def end(self) -> list[Taken]:
        """What they have met."""
        self.phase.value = OVER
        found: list[Taken] = []
        for pipe in self._pipes:
            assert pipe.poll(PATIENCE), "a process of the load does not end"
            found += pipe.recv()
        return found

    @contextmanager
    def held(self, kind: Kind, failed: list[str]) -> Iterator[threading.Event]:
        """Set whenever somebody begins to hold: two tables, and what the kind has besides."""
        over, holding = threading.Event(), threading.Event()

        def hold() -> None:
            with psycopg.connect(**self._parameters, autocommit=True) as connection:
                while not over.is_set():
                    code = kind.codes[self.phase.value == NEW]
                    try:
                        with connection.transaction():
                            for name in HELD:
                                connection.execute(code[name].encode(), {"id": 0, "customer": 0})
                            holding.set()
                            over.wait(HOLD)
                    except psycopg.Error as error:
                        failed.append(f"{type(error).__name__}: {error}")
                    over.wait(GAP)

        holder = threading.Thread(target=hold)
        holder.start()
        try:
            yield holding
        finally:
            over.set()
            holder.join()


def _work(parameters: Parameters, seats: Sequence[int], pipe: Any, phase: Any, reached: Any) -> None:
    """One process, for one kind after another."""

    def session(seat: int) -> Taken:
        with psycopg.connect(**parameters, autocommit=True) as connection:
            return Client(connection, *job, seat, phase, reached).run()

    with ThreadPoolExecutor(SESSIONS) as pool:
        while (job := pipe.recv()) is not None:
            pipe.send(list(pool.map(session, seats)))


class Client:
    """A session of the load. It only writes rows that no other one does, so whatever it waits for is the change's, or
    the processors'. Its statements are prepared the first time, and not sent in pipelines."""

    def __init__(self, connection: Any, codes: Any, rows: int, seat: int, phase: Any, reached: Any) -> None:
        self.connection = connection
        self.codes = codes
        self.phase, self.reached, self.seat = phase, reached, seat
        self.last, self.dice = rows // SEATS - 1, random.Random(seat)
        self.given = FIRST_NEW + seat * SHARE
        self.inserted: deque[int] = deque()
        self.taken = Taken()
        self.due = time.perf_counter()

    def run(self) -> Taken:
        """Until the load is over."""
        units, weights = [unit for _, unit in UNITS], [weight for weight, _ in UNITS]
        while True:
            phase = self.phase.value
            self.reached[self.seat] = phase
            if phase == OVER:
                return self.taken
            code = self.codes[phase == NEW or (phase == MIXED and self.seat >= SEATS // 2)]
            (unit,) = self.dice.choices(units, weights)
            if "delete" in unit and not self.inserted:
                unit = ("insert",)
            try:
                self._do(code, unit)
            except (psycopg.Error, AssertionError) as error:
                self.taken.failed.append(f"{type(error).__name__}: {error}")
                self.connection.rollback()

    def _do(self, code: dict[str, str], unit: Sequence[str]) -> None:
        self.given += 1
        row = {"id": self._own(self.last), "customer": self._own(CUSTOMERS // SEATS - 1), "new": self.given}
        if "delete" in unit:
            row["old"] = self.inserted.popleft()
        counted = [name not in _UNCOUNTED for name in unit]
        self.due = max(self.due + PACE * sum(counted), time.perf_counter() - CATCH_UP)
        time.sleep(max(0.0, self.due - time.perf_counter()))
        for name, counts in zip(unit, counted, strict=True):
            self._execute(code[name], row, counts=counts)
        if "insert" in unit:
            self.inserted.append(self.given)

    def _own(self, last: int) -> int:
        return SEATS * self.dice.randint(0, last) + self.seat + 1

    def _execute(self, statement: str, row: dict[str, int], *, counts: bool) -> None:
        began = time.perf_counter()
        try:
            cursor = self.connection.execute(statement, row if counts else None, prepare=counts)
            assert not counts or cursor.rowcount == 1, f"{cursor.rowcount} rows: {statement}"
        finally:
            ended = time.perf_counter()
            self.taken.at.append(began)
            self.taken.seconds.append(ended - began)
            self.taken.since_due.append(ended - self.due)
            self.taken.counts.append(counts)
