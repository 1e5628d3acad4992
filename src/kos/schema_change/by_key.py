"""The rows of a table that is not stored as a heap: nobody but its access method knows what its pages hold, so they are
filled in the order of a key.

A key travels as texts, one for each of its columns. Nothing here asks for the system columns of a row, which an access
method need not have.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from kos import sql
from kos.schema_change.facts import Connection
from kos.schema_change.ranges import QUERIES, Part, Point, Range, Transaction, expression, texts

Key = tuple[str, ...]


@dataclass
class ByKey(Part):
    """In the order of a unique index: of its `columns`, which are never null. The way ends at the last key that there
    is when it is measured, and has about `total` rows: pages are told in proportion."""

    columns: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    end: Key = ()
    total: int = 0

    unit = "row"

    def measure(self, connection: Connection) -> None:
        assert self.index is not None
        self.mark = self.index
        connection.execute(QUERIES.read_keys)
        row = connection.execute(QUERIES.pages, {"oid": self.oid}).fetchone()
        last = connection.execute(self._query(QUERIES.last_key, order=self._listed(" desc"))).fetchone()
        plan = connection.execute(QUERIES.estimate.format(part=self.identifier)).fetchone()
        assert row is not None
        assert plan is not None
        self.end = tuple(last[0]) if last else ()
        self.pages = max(row[1], 1) if last else 0
        self.total = max(int(plan[0][0]["Plan"]["Plan Rows"]), 1)

    def go_on(self, next_page: int, pages: int, key: Key) -> None:
        self.pages = pages
        self.at = Point(next_page * self.total // max(pages, 1), key)
        if next_page >= pages:
            self.end = key

    @property
    def is_done(self) -> bool:
        return self.at.key == self.end

    def next(self, transaction: Transaction, amount: int) -> Range:
        where, skip = self._between(self.at.key, self.end), Literal(amount - 1)
        query = self._query(QUERIES.next_key, where=where, order=self._listed(), skip=skip)
        with transaction(self) as connection:
            connection.execute(QUERIES.read_keys)
            found = connection.execute(query).fetchone()
        return Range(self.at, Point(self.at.count + amount, tuple(found[0]) if found else self.end))

    def page(self, point: Point) -> int:
        if point.key == self.end:
            return self.pages
        return min(point.count * self.pages // self.total, self.pages - 1)

    def prepare(self, connection: Connection) -> None:
        connection.execute(QUERIES.by_key)

    def within(self, range: Range) -> Composable:
        return self._between(range.first.key, range.last.key)

    def place(self) -> Composable:
        return SQL("{}::text").format(texts(self.row, self.columns))

    def is_at(self, place: Composable) -> Composable:
        each = [SQL("(({})::text[])[{}]").format(place, Literal(n)) for n in range(1, len(self.columns) + 1)]
        return SQL("({}) = ({})").format(self._listed(), self._typed(each))

    def version(self, columns: Iterable[str]) -> Composable:
        return SQL("md5({}::text)").format(texts(self.row, columns))

    def holders(self, range: Range) -> Composable:
        return SQL("select null::xid where false")

    def names(self, connection: Connection) -> list[str]:
        return list(self.columns)

    def _query(self, query: SQL, **parts: Composable) -> Composed:
        return query.format(part=self.identifier, row=self.row, key=texts(self.row, self.columns), **parts)

    def _between(self, first: Key, last: Key) -> Composable:
        """Of keys after the first, if there is one, and up to the last."""
        bounds = [(">", first), ("<=", last)] if first else [("<=", last)]
        each = [
            SQL("({}) {} ({})").format(self._listed(), sql.literal(sign), self._typed(map(Literal, key)))
            for sign, key in bounds
        ]
        return SQL(" and ").join(each)

    def _listed(self, direction: str = "") -> Composable:
        each = [SQL("{}.{}{}").format(self.row, Identifier(name), sql.literal(direction)) for name in self.columns]
        return SQL(", ").join(each)

    def _typed(self, values: Iterable[Composable]) -> Composable:
        each = [SQL("{}::{}").format(value, expression(of)) for value, of in zip(values, self.types, strict=True)]
        return SQL(", ").join(each)
