"""The names that PostgreSQL gives to constraints and indexes that are made without one: the same are made here, but
before, since what is made in steps must be named in each."""

from __future__ import annotations

from typing import Any

from kos import sql
from kos.schema_change.draft import Draft
from kos.schema_change.parse import inner, names

QUERIES = sql.load("kos.schema_change", "objects.sql")
LONGEST = 63  # bytes

_CALLED = {"CoalesceExpr": "coalesce", "ArrayExpr": "array", "AArrayExpr": "array", "RowExpr": "row"}


def is_used(draft: Draft, name: str, *, relation: bool = True, constraint: bool = True) -> bool:
    """Whether the catalog has a relation or constraint of that name that is not gone at the end of the change."""
    asked = {"schema": draft.schema, "name": name}
    row = draft.connection.execute(QUERIES.names_used, asked).fetchone()
    assert row is not None
    return (row[0] and relation) or (row[1] and constraint)


def choose(draft: Draft, table: str, columns: str, label: str) -> str:
    """`table_columns_label`, shortened to fit; with a number if it is taken.

    Relations and constraints have names of their own, except that an index of a constraint must have both.
    """
    relation, constraint = label not in ("check", "fkey"), label not in ("idx", "stat")
    number = 0
    while True:
        name = _made(draft.renamed.get(table, table), columns, label + (str(number) if number else ""))
        used = not draft.frees(table, name) and is_used(draft, name, relation=relation, constraint=constraint)
        if not used and name not in draft.taken:
            return name
        number += 1


def joined(columns: list[str]) -> str:
    """The part of a name that tells the columns."""
    text = ""
    for each in columns:
        text += ("_" if text else "") + each
        if len(text.encode()) > LONGEST:
            break
    return text


def index_columns(elements: Any) -> list[str]:
    """What the columns of an index are called; expressions by what they call."""
    found: list[str] = []
    for each in elements:
        element = inner(each)
        name = element.name or called(inner(element.expr)) or "expr"
        candidate, number = name, 1
        while candidate in found:
            candidate, number = _cut(name, LONGEST - len(str(number))) + str(number), number + 1
        found.append(candidate)
    return found


def called(node: Any) -> str | None:
    """As the column of a SELECT would be."""
    what = type(node).__name__
    if what == "A_Indirection":
        fields = names(node.indirection)
        return fields[-1] if fields else called(inner(node.arg))
    if what == "FuncCall":
        return names(node.funcname)[-1]
    if what == "ColumnRef":
        return next(iter(names(node.fields[-1:])), None)
    if what == "TypeCast":
        return called(inner(node.arg)) or names(node.type_name.names)[-1]
    if what == "CollateClause":
        return called(inner(node.arg))
    if what == "CaseExpr":
        last = called(inner(node.defresult)) if node.HasField("defresult") else None
        return last or "case"
    return _CALLED.get(what)


def _made(table: str, columns: str, label: str) -> str:
    """PostgreSQL's makeObjectName: the longer part gives way."""
    room = LONGEST - len(label) - 1 - (1 if columns else 0)
    first, second = len(table.encode()), len(columns.encode())
    while first + second > room:
        if first > second:
            first -= 1
        else:
            second -= 1
    return "_".join(filter(None, (_cut(table, first), _cut(columns, second), label)))


def _cut(text: str, size: int) -> str:
    return text.encode()[:size].decode(errors="ignore")
