"""A schema changes while two programs use it: one that knows the tables of before, and the one that takes its place.

The change is the mission's own. It is made in one tenant's schema, and taken away again at the end by another change:
what loads sample data the next time knows no embedding.
"""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from kos import errors, sql
from kos.schema_change import ChangePlan, change_status, find_open, finish, plan_change, roll_back, start
from kos.tenancy import Session, Store
from kos.tour.tour import Fact, Tour

QUERIES = sql.load("kos.tour", "change.sql")
TENANT = "foundry"
NAME, AWAY = "tour-embedding", "tour-embedding-away"
DIMENSIONS = 1536
CHANGE = """
-- kos: fill atoms.embedding with kos.tour.change:compute_embedding(value)
ALTER TABLE atoms ADD COLUMN embedding VECTOR(1536);
ALTER TABLE atoms ALTER COLUMN embedding SET NOT NULL;
CREATE INDEX CONCURRENTLY atoms_embedding_idx ON atoms USING ivfflat (embedding vector_cosine_ops);
"""
TAKE_AWAY = """
-- kos: hide atoms.embedding = array_fill(0::real, array[1536])::vector
ALTER TABLE atoms DROP COLUMN embedding;
"""
STATEMENTS = 100  # of each program, before and after each step of the change
PAUSE_SECONDS = 0.002  # between two rounds of statements
PATIENCE_SECONDS = 60.0
FAILURES = 5  # after which a program has said enough


def compute_embedding(value: str | None) -> list[float]:
    """1536 numbers that follow from a text. A stand-in for a model: equal texts are near, others are not."""
    return [byte / 16 - 8 for byte in hashlib.shake_256((value or "").encode()).digest(DIMENSIONS)]


def change_schema(tour: Tour) -> Fact:
    """The step."""
    store = tour.store
    if (name := _open_by_somebody(store)) is not None:
        return Fact(
            f"the change {name} is open, and one is at a time: 0 rows were filled", lines=("kos change status",)
        )
    clear(store)
    before, after = Program(store, "before"), Program(store, "after")
    failed = _failed_of_load(tour)
    made = _make(tour, before, after)
    take_away(tour)
    failed = len(before.failures) + len(after.failures) + _failed_of_load(tour) - failed
    longest_ms = max(before.longest, after.longest) * 1000
    return Fact(
        f"{made.rows:,} rows got their embedding; {failed:,} statements failed, the longest took {longest_ms:.0f} ms",
        holds=not failed and made.complete and made.rows > 0,
        lines=(
            f"started in {made.started:.1f} s: {DIMENSIONS:,} numbers in each row, from Python, and an ivfflat index",
            f"code of before ({before.done:,} statements) inserts without, code of after ({after.done:,}) finds by it",
            f"finished in {made.finished:.1f} s, code of before being gone: NOT NULL, and no scan under its lock",
            "taken away again by a second change",
        ),
        figures={
            "rows": made.rows,
            "started_seconds": made.started,
            "finished_seconds": made.finished,
            "statements": before.done + after.done,
            "failed": failed,
            "longest_ms": longest_ms,
        },
    )


@dataclass(frozen=True)
class Made:
    """How the change went: rows that it filled, and seconds. `complete` says that every row has an embedding, and that
    an atom is found by its own."""

    rows: int
    started: float
    finished: float
    complete: bool


def _make(tour: Tour, before: Program, after: Program) -> Made:
    """Start it under code of before, let both work, then finish it under code of after."""
    store = tour.store
    began = time.monotonic()
    with before.at_work():
        start(store, _plan(store, NAME, CHANGE), tour.progress)
        started, rows = time.monotonic() - began, change_status(store).placements[0].rows or 0
        with after.at_work():
            before.go_on()
            before.stop()
            began = time.monotonic()
            finish(store, tour.progress)
            finished = time.monotonic() - began
            after.go_on()
    return Made(rows, started, finished, complete=_is_found(store) and _all_filled(store))


def clear(store: Store) -> None:
    """Take away what a tour has left that was killed. Harmless where there is nothing."""
    left = find_open(store)
    if left is not None and left.plan.get("name") in {NAME, AWAY}:
        try:
            roll_back(store)
        except errors.PastReturn:
            finish(store)
    with store.tenant(TENANT) as session:
        session.execute(QUERIES.remove_all)
        left_column = session.execute(QUERIES.is_there).fetchone() == (True,)
    if left_column:
        _remove_column(store)


def take_away(tour: Tour) -> None:
    """The column, its index with it, and the rows of programs that were ended."""
    with tour.store.tenant(TENANT) as session:
        session.execute(QUERIES.remove_all)
    _remove_column(tour.store)


@dataclass
class Program:
    """A program at work in the tenant: `knows` says which tables, those of before or after. Each statement is a
    transaction of its own."""

    store: Store
    knows: str
    done: int = 0
    longest: float = 0.0  # seconds
    failures: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """It is at work as long as the block lasts, or until `stop`."""
        self._thread = threading.Thread(target=self._work, name=f"tour {self.knows}", daemon=True)
        self._thread.start()
        try:
            self.go_on()
            yield
        finally:
            self.stop()

    def stop(self) -> None:
        """It has ended when this returns."""
        self._over.set()
        self._thread.join()

    def go_on(self) -> None:
        """Return when so many more statements are done; or when it has failed too often."""
        wanted, deadline = self.done + STATEMENTS, time.monotonic() + PATIENCE_SECONDS
        while self.done < wanted and self._thread.is_alive() and time.monotonic() < deadline:
            time.sleep(PAUSE_SECONDS)

    def _work(self) -> None:
        number = 0
        while not self._over.wait(PAUSE_SECONDS) and len(self.failures) < FAILURES:
            number += 1
            try:
                self._round(f"{self.knows} {number}")
            except (errors.KosError, psycopg.Error) as error:
                self.failures.append(str(error))

    def _round(self, value: str) -> None:
        facts: dict[str, Any] = {"value": value}
        self._say("read", facts)
        if self.knows == "after":
            self._say("require", {"change": NAME})
            facts["embedding"] = str(compute_embedding(value))
        ((row,),) = self._say(f"write_{self.knows}", facts)
        self._say("revise", {"id": row})
        self._say("remove", {"id": row})

    def _say(self, query: str, facts: dict[str, Any]) -> list[Any]:
        began = time.monotonic()
        with self.store.tenant(TENANT) as session:
            found = _rows(session, query, facts)
        self.longest = max(self.longest, time.monotonic() - began)
        self.done += 1
        return found


def _rows(session: Session, query: str, facts: dict[str, Any]) -> list[Any]:
    cursor = session.execute(getattr(QUERIES, query), facts)
    return cursor.fetchall() if cursor.description else []


def _plan(store: Store, name: str, text: str) -> ChangePlan:
    return plan_change(store, text, name=name, schemas=(store.find(TENANT).schema,))


def _remove_column(store: Store) -> None:
    start(store, _plan(store, AWAY, TAKE_AWAY))
    finish(store)


def _open_by_somebody(store: Store) -> str | None:
    """The name of a change that is open, if it isn't the tour's."""
    record = find_open(store)
    name = None if record is None else str(record.plan.get("name"))
    return None if name in {NAME, AWAY} else name


def _is_found(store: Store) -> bool:
    """Whether code of after finds an atom by its embedding."""
    with store.tenant(TENANT) as session:
        row = session.execute(QUERIES.some_atom).fetchone()
        assert row is not None, "a step before this one loads data"
        return _rows(session, "nearest", {"embedding": str(compute_embedding(row[1]))}) == [(row[1],)]


def _all_filled(store: Store) -> bool:
    with store.tenant(TENANT) as session:
        ((atoms, filled),) = _rows(session, "filled", {})
    return bool(atoms == filled)


def _failed_of_load(tour: Tour) -> int:
    return tour.load.meter.failed if tour.load is not None else 0
