"""A tenant's rows as lines of JSON, made and read by the server: the same text for the same rows, always."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from psycopg.sql import SQL, Composable, Composed, Identifier

from kos.sql import load, statement
from kos.tenancy.store import Connection

QUERIES = load("kos.knowledge.exchange")


@dataclass(frozen=True)
class Table:
    """A tenant's table in this schema: the columns of its rows, and those in which null means JSON's null."""

    name: str
    columns: tuple[str, ...]
    json_columns: frozenset[str]
    key: tuple[tuple[str, bool], ...]

    def select_only(self, columns: Iterable[str]) -> Table:
        """The same table with fewer columns, in that order."""
        return Table(self.name, tuple(columns), self.json_columns, self.key)

    @property
    def query(self) -> Composed:
        """What reads the rows."""
        # Text is ordered by bytes: collations differ between servers, and the files must not.
        key = [SQL('{} collate "C"' if text else "{}").format(Identifier(name)) for name, text in self.key]
        asked: Composed = QUERIES.copy_rows_out.format(
            table=Identifier(self.name), columns=_list(self.columns), key=SQL(", ").join(key)
        )
        return asked

    def read(self, connection: Connection) -> Iterator[bytes]:
        """All rows of the entered tenant, in the order of their primary key: a line each, in pieces."""
        with connection.cursor().copy(self.query) as copy:
            for piece in copy:
                yield bytes(piece)

    def write(self, connection: Connection, pieces: Iterable[bytes]) -> int:
        """Insert the rows that the lines hold; how many."""
        connection.execute(QUERIES.make_incoming)
        with connection.cursor().copy(QUERIES.copy_lines_in) as copy:
            for piece in pieces:
                copy.write(piece)
        query = QUERIES.insert_lines.format(
            table=Identifier(self.name),
            columns=_list(self.columns),
            values=SQL(", ").join(map(self._value, self.columns)),
        )
        inserted = connection.execute(query).rowcount
        connection.execute(QUERIES.forget_incoming)
        return inserted

    def count(self, connection: Connection) -> int:
        """Rows of the entered tenant."""
        row = connection.execute(QUERIES.count_rows.format(table=Identifier(self.name))).fetchone()
        assert row is not None
        return int(row[0])

    def delete_all(self, connection: Connection) -> None:
        """Delete the entered tenant's rows."""
        connection.execute(QUERIES.delete_rows.format(table=Identifier(self.name)))

    def _value(self, column: str) -> Composable:
        if column in self.json_columns:
            return statement(QUERIES.value, column=Identifier(column))
        return Identifier("r", column)


def describe(connection: Connection, name: str) -> Table:
    """A table as the entered tenant's schema has it."""
    columns = connection.execute(QUERIES.columns, {"table": name}).fetchall()
    key = connection.execute(QUERIES.primary_key, {"table": name}).fetchall()
    return Table(
        name,
        tuple(column for column, _ in columns),
        frozenset(column for column, is_json in columns if is_json),
        tuple((column, bool(text)) for column, text in key),
    )


def pin(connection: Connection) -> None:
    """Make values the same text whatever the settings of the server and the role are; until the transaction ends."""
    connection.execute(QUERIES.pin_settings)


def _list(columns: Iterable[str]) -> Composed:
    return SQL(", ").join(map(Identifier, columns))
