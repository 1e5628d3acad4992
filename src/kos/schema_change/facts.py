"""What a table is, as the live catalog says. Reads only.

Whatever stands in the table's schema, or in public, is named without it: as the statements of an action name it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.rows import TupleRow, dict_row

from kos import errors, sql
from kos.schema_change import parse

QUERIES = sql.load("kos.schema_change", "facts.sql")
Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Column:
    """A column. `default` is its expression as SQL; `generated` is '', 's' (stored) or 'v'; `identity` is '', 'a' or
    'd'; `sequence` is the one that it owns."""

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
    """Of a foreign key: the table, quoted where it must be."""
    deferrable: bool


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
    """Foreign keys of other tables: (table, constraint, definition)."""
    triggers: tuple[tuple[str, str], ...]
    """(name, definition), without those of constraints and of kos."""
    readers: tuple[tuple[str, str, str], ...]
    partition_key: tuple[str, ...]
    is_partition: bool
    partition_default: bool
    """Whether it has a default partition."""
    logged: bool
    inherits: bool
    """Whether it is a parent or a child of another by INHERITS."""

    @property
    def key(self) -> tuple[str, ...]:
        """The columns of the primary key; none if there is no such."""
        return next((each.columns for each in self.constraints.values() if each.kind == "p"), ())


def read_table(connection: Connection, schema: str, name: str) -> Table | None:
    """A table as it is now; None if there is none of that name. Definitions name what is in its schema without it."""
    with connection.transaction(), connection.cursor(row_factory=dict_row) as cursor:
        connection.execute(QUERIES.look_from_inside, {"schema": schema})
        table = cursor.execute(QUERIES.table, {"schema": schema, "table": name}).fetchone()
        if table is None:
            return None
        asked = {"oid": table["oid"], "schema": schema, "table": name}
        found: dict[str, list[dict[str, Any]]] = {
            part: cursor.execute(getattr(QUERIES, part), asked).fetchall()
            for part in ("columns", "constraints", "indexes", "referred_by", "triggers", "readers")
        }
    columns = [Column(volatile_default=_volatile(connection, row["default"]), **row) for row in found["columns"]]
    constraints = [Constraint(**_tuples(row)) for row in found["constraints"]]
    return Table(
        **_tuples(table),
        columns={each.name: each for each in columns},
        constraints={each.name: each for each in constraints},
        indexes={row["name"]: Index(**_tuples(row)) for row in found["indexes"]},
        referred_by=tuple((row["table"], row["name"], row["definition"]) for row in found["referred_by"]),
        triggers=tuple((row["name"], row["definition"]) for row in found["triggers"]),
        readers=tuple((row["column"], row["kind"], row["name"]) for row in found["readers"]),
    )


def _tuples(row: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in row.items()}


def _volatile(connection: Connection, default: str | None) -> bool:
    return default is not None and is_volatile(connection, parse.parse_expression(default))


def is_volatile(connection: Connection, expression: Any) -> bool:
    """Whether an expression's node gives another result for each row: PostgreSQL rewrites a table for such a default.

    A function of the same name that does is enough: to fill what needn't be filled harms nobody.
    """
    functions = sorted(parse.functions_of(expression))
    row = connection.execute(QUERIES.volatile, {"functions": functions}).fetchone() if functions else None
    return bool(row and row[0])


def fingerprint(connection: Connection, schemas: list[str], tables: list[str]) -> dict[str, Any]:
    """Something per schema that is equal where these tables are: for a thousand schemas in one query."""
    return dict(connection.execute(QUERIES.fingerprints, {"schemas": schemas, "tables": tables}).fetchall())


@dataclass(frozen=True)
class Grant:
    """A privilege on a table or one of its columns. `grantee` is quoted where it must be."""

    column: str | None
    privilege: str
    grantee: str
    grantable: bool


def read_grants(connection: Connection, table: Table) -> list[Grant]:
    """Who may do what with a table, but its owner."""
    return [Grant(*row) for row in connection.execute(QUERIES.grants, {"oid": table.oid}).fetchall()]


def usual_owner(connection: Connection, schema: str) -> str:
    """Who a new table belongs to."""
    row = connection.execute(QUERIES.owner, {"schema": schema}).fetchone()
    if row is None:
        raise errors.ChangeRefused(schema, "there is no such schema", "look: \\dn")
    return str(row[0])


def relation_kind(connection: Connection, schema: str, name: str) -> str | None:
    """pg_class.relkind of what has this name in the schema."""
    row = connection.execute(QUERIES.relation_kind, {"schema": schema, "name": name}).fetchone()
    return row[0] if row else None
