"""What is known of an expression before it is computed. Where nothing is, the answer is the careful one."""

from __future__ import annotations

import re
from typing import Any

from kos.schema_change import parse
from kos.schema_change.facts import QUERIES, Connection

# Their text and their casts depend on what a session has set.
_BY_SETTING = re.compile(
    r"\b(date|time|timestamp|timestamptz|timetz|interval|money|real|float\d?|double|bytea|\w*range|reg\w+)\b"
)
_BY_SESSION = ("SQLValueFunction", "SubLink")
_BY_ROLE = ("SVFOP_CURRENT_ROLE", "SVFOP_CURRENT_USER", "SVFOP_USER")
_OF_SEQUENCES = {"nextval", "currval", "setval"}


def is_settled(connection: Connection, schema: str, node: Any, types: tuple[str, ...]) -> bool:
    """Whether an expression has the same value whenever it is computed, and in whose session. `types` are those of its
    columns and of what is made of it."""
    found = [type(each).__name__ for each in parse.inside(node)]
    casts = [parse.render_type(each) for each in parse.inside(node) if type(each).__name__ == "TypeName"]
    with connection.transaction():
        connection.execute(QUERIES.look_from_inside, {"schema": schema})
        bases = connection.execute(QUERIES.bases, {"types": [*types, *casts]}).fetchall()
    named = (*types, *casts, *(name for (name,) in bases))
    if any(each in _BY_SESSION for each in found) or any(map(_BY_SETTING.search, named)):
        return False
    functions = sorted(parse.functions_of(node))
    row = connection.execute(QUERIES.immutable, {"functions": functions, "types": [*types, *casts]}).fetchone()
    return bool(row and row[0])


def goes_by_owner(connection: Connection, table: str, node: Any) -> bool:
    """Whether a trigger of a table computes it with the rights of its owner: if who writes may lack them. Not where row
    security binds the owner too, who would find other rows."""
    functions, forced = _needs_rights(connection, node, table)
    return (parse.asks_tables(node) or functions) and not forced


def asks_role(node: Any) -> bool:
    """Whether it is the name of who computes it: that of who writes, and of nobody else."""
    return any(
        type(each).__name__ == "SQLValueFunction" and parse.choice(each, "op") in _BY_ROLE
        for each in parse.inside(node)
    )


def looks_up_names(connection: Connection, schema: str, table: str, node: Any, types: tuple[str, ...]) -> bool:
    """Whether a trigger that computes it looks for a type, an operator or a sequence by name, and nothing else tells
    whose rights it is to do so with: who writes through a view may have none on the schema. `types` are those of its
    columns and of what is made of it."""
    functions, _ = _needs_rights(connection, node, table)
    inside = list(parse.inside(node))
    if parse.asks_tables(node) or functions:
        return False
    casts = [parse.render_type(each) for each in inside if type(each).__name__ == "TypeName"]
    if parse.functions_of(node) & _OF_SEQUENCES or any(each.startswith("reg") for each in casts):
        return True
    with connection.transaction():
        connection.execute(QUERIES.look_from_inside, {"schema": schema})
        row = connection.execute(QUERIES.not_ours, {"types": [*types, *casts]}).fetchone()
    return bool(row and row[0])


def open_schema(connection: Connection, schema: str) -> str | None:
    """One of those in which a change finds what it calls, where everybody may create something."""
    row = connection.execute(QUERIES.open_schema, {"schema": schema}).fetchone()
    return row[0] if row else None


def _needs_rights(connection: Connection, node: Any, table: str) -> tuple[bool, bool]:
    tables = [table, *(each.relname for each in parse.inside(node) if type(each).__name__ == "RangeVar")]
    asked = {"functions": sorted(parse.functions_of(node)), "tables": tables}
    functions, forced = connection.execute(QUERIES.needs_rights, asked).fetchone() or (True, True)
    return functions, forced


def never_fails(connection: Connection, schema: str, node: Any, source: str, target: str) -> bool:
    """Whether an expression over a column of a type has a value of the other for all values: the column as it stands,
    perhaps with casts that lose nothing."""
    if parse.kind(node) == "TypeCast":
        between = parse.render_type(parse.inner(node).type_name)
        inside = never_fails(connection, schema, parse.inner(node).arg, source, between)
        return inside and _converts(connection, schema, between, target)
    return parse.kind(node) == "ColumnRef" and _converts(connection, schema, source, target)


def is_same_for_all(node: Any) -> bool:
    """Whether it reads nothing, so that no row has a value that it fails for."""
    return not parse.columns_of(node) and not parse.asks_tables(node)


def _converts(connection: Connection, schema: str, source: str, target: str) -> bool:
    """Whether every value of a type has one of the other, without an error."""
    if source == target or target in ("text", "character varying"):
        return True
    if "(" in target:
        return False
    with connection.transaction():
        connection.execute(QUERIES.look_from_inside, {"schema": schema})
        row = connection.execute(QUERIES.safe_cast, {"source": source, "target": target}).fetchone()
    return bool(row and row[0])
