"""A table that kos did not make is written all the time, and taken in meanwhile."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg

from kos import sql
from kos.adoption import Wanted, adopt_tables, plan, planned_adoption
from kos.log import Cursor, Event, seal, tail
from kos.topology import postgres
from kos.topology.model import Shard
from kos.tour.tour import Fact, Tour

QUERIES = sql.load("kos.tour", "shop.sql")
OWNER = "shop"
ACCOUNTS = (41, 42, 43)
WATCHED = 42
COLUMNS = ("id", "account_id", "product", "quantity", "ordered_at")
WANTED = Wanted(patterns=("shop.orders",), level="log", tenant_column="account_id", baseline="full")
STATEMENTS = 200  # before the table is taken in, and after
PATIENCE_SECONDS = 60.0


def adopt_shop(tour: Tour) -> Fact:
    control = tour.store.topology.control
    _make_shop(control)
    with _writing(control) as writer:
        writer.go_on(STATEMENTS)
        taken = _adopt(tour, writer)
        writer.go_on(STATEMENTS)
    events, rows = _logged(tour), _rows(control)
    gapless = [event.position for event in events] == list(range(1, len(events) + 1))
    equal = replay(events) == rows
    how = f"was taken in while {taken:,} statements ran" if taken is not None else "was taken in by an earlier tour"
    return Fact(
        f"{len(events):,} events of account {WATCHED}, without gaps; replayed, they are its {len(rows):,} rows"
        if gapless and equal
        else f"the log of account {WATCHED} has gaps, or says something else than its {len(rows):,} rows",
        holds=gapless and equal,
        lines=(
            f"shop.orders, of a product that knows nothing of kos, {how}",
            f"{writer.done:,} statements in all; the longest took {writer.longest * 1000:.0f} ms",
        ),
        figures={
            "events": len(events),
            "rows": len(rows),
            "statements": writer.done,
            "longest_ms": writer.longest * 1000,
        },
    )


def replay(events: Iterable[Event]) -> dict[str, dict[str, str | None]]:
    """The rows that a log of one table leads to, by key: text by column."""
    rows: dict[str, dict[str, str | None]] = {}
    for event in events:
        if event.operation == "D":
            rows.pop(event.key[0], None)
        else:
            rows[event.key[0]] = {**rows.get(event.key[0], {}), **event.data}
    return rows


@dataclass
class Writer:
    """A product at work: one statement after the other, each a transaction of its own."""

    done: int = 0
    longest: float = 0.0  # seconds
    failure: Exception | None = None
    stop: threading.Event = field(default_factory=threading.Event)

    def work(self, control: Shard) -> None:
        """Write until stopped."""
        try:
            with _administrator(control) as connection:
                connection.execute(QUERIES.act_as_shop)
                self._write(connection)
        except psycopg.Error as error:
            self.failure = error

    def _write(self, connection: psycopg.Connection[Any]) -> None:
        for account, query in itertools.cycle(itertools.product(ACCOUNTS, (QUERIES.order, QUERIES.order_more))):
            if self.stop.is_set():
                return
            began = time.monotonic()
            connection.execute(query, {"account": account, "product": f"product {self.done}"})
            self.longest = max(self.longest, time.monotonic() - began)
            self.done += 1

    def go_on(self, statements: int) -> None:
        """Wait until so many more are done.

        Raises:
            psycopg.Error: one of them failed.
        """
        wanted, deadline = self.done + statements, time.monotonic() + PATIENCE_SECONDS
        while self.done < wanted and self.failure is None and time.monotonic() < deadline:
            self.stop.wait(0.01)
        if self.failure is not None:
            raise self.failure


@contextmanager
def _writing(control: Shard) -> Iterator[Writer]:
    writer = Writer()
    thread = threading.Thread(target=writer.work, args=(control,), daemon=True)
    thread.start()
    try:
        yield writer
    finally:
        writer.stop.set()
        thread.join()


def _make_shop(control: Shard) -> None:
    """The product's role and its table, as whoever runs that product made them."""
    with _administrator(control) as connection:
        if connection.execute(QUERIES.role_exists, {"role": OWNER}).fetchone() == (False,):
            connection.execute(QUERIES.make_role)
            connection.execute(QUERIES.act_for_shop)
        connection.execute(QUERIES.make_schema)
        connection.execute(QUERIES.act_as_shop)
        connection.execute(QUERIES.make_orders)


def _adopt(tour: Tour, writer: Writer) -> int | None:
    """Take the table in; how many statements the product ran meanwhile. None if an earlier tour has taken it in."""
    store, control = tour.store, tour.store.topology.control
    with store.operator() as operator:
        found = plan(operator, WANTED, shard=control.name)
    if found.grants:
        with _administrator(control) as connection:
            for grant in found.grants:  # kos prints them, and leaves it to an administrator to run them
                connection.execute(sql.literal(grant))
        with store.operator() as operator:
            found = plan(operator, WANTED, shard=control.name)
    before = writer.done
    taken = adopt_tables(store, planned_adoption(store, found, WANTED), tour.progress)
    return writer.done - before if taken.adopted else None


def _logged(tour: Tour) -> list[Event]:
    """All events of the account, sealed here and now: the worker does the same a moment later."""
    with tour.store.operator() as operator:
        row = operator.execute(QUERIES.tenant_of, {"value": str(WATCHED)}).fetchone()
        assert row is not None
        seal(operator, row[0])
        return list(tail(operator, row[0], Cursor()))


def _rows(control: Shard) -> dict[str, dict[str, str | None]]:
    with _administrator(control) as connection:
        connection.execute(QUERIES.act_as_shop)
        found = connection.execute(QUERIES.orders_of, {"account": WATCHED}).fetchall()
    return {row[0]: dict(zip(COLUMNS, row, strict=True)) for row in found}


def _administrator(control: Shard) -> psycopg.Connection[Any]:
    assert control.installer is not None, "the embedded stack has one"
    return postgres.connect(control.primary, control.installer)
