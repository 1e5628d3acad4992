"""The rows of a table as the statements of a change make them, for expressions to be parsed over: of no table, so that
columns which come with the change are there too, and nothing is read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg.sql import SQL, Composable, Identifier

from kos.schema_change.facts import QUERIES, Connection, Table, read_table
from kos.schema_change.parse import inside, names
from kos.sql import literal

_SYSTEM = {"ctid", "xmin", "xmax", "cmin", "cmax", "tableoid"}


@dataclass
class Rows:
    """A table after the statements that were read so far. `columns` are their types; `ever` has also those that there
    are while the change runs. `keys` are what a foreign key may refer to, by index; `primary` is one of them. `first`
    is the table's name before, and `types` its columns."""

    first: str
    owner: str
    kind: str
    columns: dict[str, str]
    ever: dict[str, str]
    keys: dict[str, tuple[str, ...]]
    primary: tuple[str, ...]
    types: Mapping[str, str] = field(default_factory=dict)

    def add(self, column: str, type_name: str) -> None:
        """ADD COLUMN."""
        self.columns[column] = type_name
        self.ever.setdefault(column, type_name)

    def rename(self, old: str, new: str) -> None:
        """RENAME COLUMN."""
        self.add(new, self.columns.pop(old))
        self.keys = {index: _renamed(key, old, new) for index, key in self.keys.items()}
        self.primary = _renamed(self.primary, old, new)

    def is_as_before(self, columns: Mapping[str, str]) -> bool:
        """Whether the table has these columns, and no other."""
        return dict(columns) == dict(self.types)


def read_rows(connection: Connection, schema: str, name: str) -> Rows | None:
    """Of a table as it is; None if there is none."""
    facts: Table | None = read_table(connection, schema, name)
    if facts is None:
        return None
    keys: dict[str, tuple[str, ...]] = {}
    primary: tuple[str, ...] = ()
    for index, columns, is_primary in connection.execute(QUERIES.unique_keys, {"oid": facts.oid}).fetchall():
        keys[index] = tuple(columns)
        primary = tuple(columns) if is_primary else primary
    types = {each.name: each.type for each in facts.columns.values()}
    return Rows(name, facts.owner, facts.kind, dict(types), dict(types), keys, primary, types)


def row_of(columns: Mapping[str, str], alias: str) -> Composable:
    """A row of nulls as a subquery that PostgreSQL does not look into."""
    listed = SQL(", ").join(
        SQL("cast(null as {}) as {}").format(literal(type_name), Identifier(name))
        for name, type_name in columns.items()
    )
    return SQL("(select {} offset 0) as {}").format(listed, Identifier(alias))


def is_about_row(node: Any, table: str, columns: Mapping[str, str]) -> bool:
    """Whether an expression takes the row as a whole, or what PostgreSQL keeps of each."""
    for each in inside(node):
        if type(each).__name__ == "ColumnRef":
            parts = names(each.fields)
            if len(parts) < len(each.fields) or (parts[-1] not in columns and parts[-1] in {*_SYSTEM, table}):
                return True
    return False


def words(*texts: str) -> set[str]:
    """All that could be a name in some SQL."""
    return set(re.findall(r"\w+", " ".join(texts)))


def _renamed(key: tuple[str, ...], old: str, new: str) -> tuple[str, ...]:
    return tuple(new if each == old else each for each in key)
