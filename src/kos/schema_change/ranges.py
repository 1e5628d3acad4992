"""The rows of a table, in ranges: where they are, how far each part is, and how large the next batch is.

Words: a *part* is a table without partitions, or one of a partitioned table's. The *way* through it goes by its pages
(here), or in the order of a key (`by_key`); a *range* are the rows from one *point* of the way up to another one. A
range is put *aside* where it can't be done now, and comes back after the others.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import ClassVar, Protocol
from uuid import UUID

from psycopg.sql import SQL, Composable, Identifier, Literal

from kos import sql
from kos.schema_change.facts import Connection
from kos.schema_change.model import Placement

QUERIES = sql.load("kos.schema_change", "fill.sql")
GROWTH, SHRINKING = 2.0, 0.25  # the most that one batch changes the size of the next


class Site(Protocol):
    """A placement that is worked on: the operator's connection, in autocommit mode, and transactions on it that the
    lease's fence has let in, as a role and with the placement's schema first in the search path."""

    @property
    def placement(self) -> Placement: ...

    @property
    def operation(self) -> UUID: ...

    @property
    def connection(self) -> Connection: ...

    def transaction(self, owner: str | None = None) -> AbstractContextManager[Connection]: ...


@dataclass(frozen=True)
class Point:
    """So many pages, or rows, are behind it; where the way is that of a key: those up to `key`."""

    count: int = 0
    key: tuple[str, ...] = ()


START = Point()


@dataclass(frozen=True)
class Range:
    """The rows after one point, up to another."""

    first: Point
    last: Point

    @property
    def amount(self) -> int:
        """Pages, or rows."""
        return self.last.count - self.first.count


@dataclass
class Part(ABC):
    """A part: what is before `at` is done, but for what was put `aside`, and for rows that have no value, if any
    `failed`. `row` is what expressions call its rows, `index` that of its key, if the way is one. `pages` are those
    that it had when the fill began; `mark` is another number as soon as its points mean nothing any more. Where its
    rows are `hidden` from its owner, only the operator gets at all of them; where it is `logged`, events say who has
    written."""

    oid: int
    schema: str
    name: str
    shown: str
    row: Identifier
    hidden: bool = False
    logged: bool = False
    index: int | None = None
    mark: int = 0
    pages: int = 0
    at: Point = START
    aside: list[Range] = field(default_factory=list)
    failed: bool = False

    unit: ClassVar[str]  # what ranges are counted in

    @property
    def identifier(self) -> Identifier:
        """For SQL."""
        return Identifier(self.schema, self.name)

    def after(self, done: Range) -> Point:
        """The point before which all is done as soon as this range is. What was put aside is not told apart from what
        comes after it, since to look at filled rows again is cheap; and a row that had no value may be anywhere once
        somebody has mended it, so that a later run begins anew."""
        if self.failed:
            return START
        if left := [each for each in self.aside if each != done]:
            return left[0].first
        return self.at if done in self.aside else done.last

    @abstractmethod
    def measure(self, connection: Connection) -> None:
        """How far the way goes today."""

    @abstractmethod
    def go_on(self, next_page: int, pages: int, key: tuple[str, ...]) -> None:
        """From where an earlier run was."""

    @property
    @abstractmethod
    def is_done(self) -> bool:
        """Whether the way is at its end."""

    @abstractmethod
    def next(self, transaction: Transaction, amount: int) -> Range:
        """From where we are, so much or what is left."""

    @abstractmethod
    def page(self, point: Point) -> int:
        """How many of the pages are behind a point: all of them at the end only."""

    @abstractmethod
    def prepare(self, connection: Connection) -> None:
        """What a transaction needs that is about a range of it."""

    @abstractmethod
    def within(self, range: Range) -> Composable:
        """The condition for a row to be in a range. PostgreSQL reads these and no others."""

    @abstractmethod
    def place(self) -> Composable:
        """A text that a row is found by again."""

    @abstractmethod
    def is_at(self, place: Composable) -> Composable:
        """The condition for a row to be the one with that text."""

    @abstractmethod
    def version(self, columns: Iterable[str]) -> Composable:
        """A text that is another one when somebody has changed these columns of a row."""

    @abstractmethod
    def holders(self, range: Range) -> Composable:
        """A query for the transactions that have a row of a range, as far as that can be told."""

    @abstractmethod
    def names(self, connection: Connection) -> list[str]:
        """The columns that name a row to people."""


Transaction = Callable[[Part], AbstractContextManager[Connection]]


class ByPages(Part):
    """The rows of a heap, page by page. What is written after the way was measured may be behind its end."""

    unit = "page"

    def measure(self, connection: Connection) -> None:
        row = connection.execute(QUERIES.pages, {"oid": self.oid}).fetchone()
        assert row is not None
        self.mark, self.pages = row

    def go_on(self, next_page: int, pages: int, key: tuple[str, ...]) -> None:
        self.at, self.pages = Point(next_page), pages

    @property
    def is_done(self) -> bool:
        return self.at.count >= self.pages

    def next(self, transaction: Transaction, amount: int) -> Range:
        return Range(self.at, Point(min(self.at.count + amount, self.pages)))

    def page(self, point: Point) -> int:
        return point.count

    def prepare(self, connection: Connection) -> None:
        """Nothing."""

    def within(self, range: Range) -> Composable:
        first, last = (SQL("{}::tid").format(Literal(f"({each.count},0)")) for each in (range.first, range.last))
        return sql.statement(QUERIES.range, row=self.row, first=first, last=last)

    def place(self) -> Composable:
        return SQL("{}.ctid::text").format(self.row)

    def is_at(self, place: Composable) -> Composable:
        return SQL("{}.ctid = {}::tid").format(self.row, place)

    def version(self, columns: Iterable[str]) -> Composable:
        return SQL("{}.xmin::text").format(self.row)

    def holders(self, range: Range) -> Composable:
        return sql.statement(QUERIES.holders, part=self.identifier, row=self.row, range=self.within(range))

    def names(self, connection: Connection) -> list[str]:
        return [name for (name,) in connection.execute(QUERIES.key_columns, {"oid": self.oid})]


@dataclass
class Size:
    """How much of something the next batch takes, so that it takes the time that it may."""

    amount: int
    most: int
    density: float = 0.0  # rows per page, as they were filled last
    seconds: float = 0.0  # that the last one was to take

    def aim(self, seconds: float) -> None:
        """It is to take so long now; for less time than the last one had, it is made smaller at once."""
        if seconds < self.seconds:
            self._set(self.amount * seconds / self.seconds)
        self.seconds = seconds

    def within(self, rows: float | None) -> int:
        """As much as there may be where only so many rows are allowed."""
        if rows is None or not self.density:
            return self.amount
        return max(1, min(self.amount, int(rows / self.density)))

    def lasted(self, amount: int, rows: int, seconds: float, target: float) -> None:
        """Learn from a batch. One that was smaller than it could have been says nothing against larger ones."""
        factor = max(SHRINKING, min(GROWTH, target / max(seconds, 1e-6)))
        if factor < 1 or amount >= self.amount:
            self._set(amount * factor)
        if rows:
            self.density = rows / amount

    def shrink(self, amount: int, factor: float) -> None:
        """That one was too large."""
        self._set(amount * factor)

    def _set(self, amount: float) -> None:
        self.amount = max(1, min(self.most, int(amount)))


class Rewritten(Exception):
    """The points of the way mean nothing any more: the rows are elsewhere, or have another key."""


def texts(row: Identifier, columns: Iterable[str]) -> Composable:
    """Their values as one array of texts."""
    each = [SQL("{}.{}::text").format(row, Identifier(name)) for name in columns]
    return SQL("array[{}]::text[]").format(SQL(", ").join(each))


def expression(text: str) -> Composable:
    """SQL of the change's author, which was parsed when it was planned. Only for statements that go without parameters:
    a percent sign is one."""
    return sql.literal(text)
