"""What a table is, as the live catalog says. Reads only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import TupleRow

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Column:
    """A column. `default` is its expression as SQL; `generated` is '', 's' (stored) or 'v'; `identity` is '', 'a' or
    'd'; `sequence` is the one that it owns, with its schema."""

    name: str
    type: str
    not_null: bool
    default: str | None
    volatile_default: bool
    generated: str
    identity: str
    collation: str | None
    sequence: str | None
    comment: str | None


@dataclass(frozen=True)
class Constraint:
    """A constraint: `kind` as in pg_constraint.contype (n, c, p, u, f, x). `definition` is pg_get_constraintdef's."""

    name: str
    kind: str
    columns: tuple[str, ...]
    definition: str
    validated: bool
    index: str | None
    refers_to: str | None
    """Of a foreign key: the table, with its schema."""


@dataclass(frozen=True)
class Index:
    """An index. `columns` are those that it reads anywhere: key, expression, INCLUDE or WHERE."""

    name: str
    definition: str
    columns: tuple[str, ...]
    unique: bool
    valid: bool
    primary: bool
    constraint: str | None
    replica_identity: bool


@dataclass(frozen=True)
class Table:
    """A table of a placement. `kind` is pg_class.relkind: r, p (partitioned), v, m, f. `readers` are views, rules,
    functions' bodies and policies that depend on a column: (column, what kind, its name)."""

    oid: int
    schema: str
    name: str
    owner: str
    kind: str
    rows: int
    pages: int
    columns: dict[str, Column]
    constraints: dict[str, Constraint]
    indexes: dict[str, Index]
    referred_by: tuple[tuple[str, str, str], ...]
    """Foreign keys of other tables: (table with schema, constraint, definition)."""
    triggers: tuple[tuple[str, str], ...]
    """(name, definition), without those of constraints and of kos."""
    readers: tuple[tuple[str, str, str], ...]
    partition_key: tuple[str, ...]
    is_partition: bool
    logged: bool

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key; none if there is no such."""
        return next((each.columns for each in self.constraints.values() if each.kind == "p"), ())


def read_table(connection: Connection, schema: str, name: str) -> Table | None:
    """A table as it is now; None if there is none of that name."""
    raise NotImplementedError(connection, schema, name)


def fingerprint(connection: Connection, schemas: list[str], tables: list[str]) -> dict[str, Any]:
    """Something per schema that is equal where these tables are: for a thousand schemas in one query."""
    raise NotImplementedError(connection, schemas, tables)
