"""A change as its author wrote it: statements as PostgreSQL parses them, and what stands in comments beside them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from kos import errors
from kos.schema_change.nodes import (
    Unreadable,
    _set_attribute,
    add_column,
    add_identity,
    asks_tables,
    choice,
    columns_of,
    create_sequence,
    definition,
    functions_of,
    inner,
    inside,
    is_null,
    kind,
    names,
    over_row,
    parse_expression,
    parse_statement,
    parsed,
    rename_columns,
    renamed_in_index,
    render,
    render_command,
    render_expression,
    render_type,
    tables_of,
    tokens,
    without_constraints,
)

__all__ = [
    "Change",
    "Directives",
    "PythonFill",
    "Statement",
    "_set_attribute",
    "add_column",
    "add_identity",
    "asks_tables",
    "choice",
    "columns_of",
    "create_sequence",
    "definition",
    "functions_of",
    "inner",
    "inside",
    "is_null",
    "kind",
    "names",
    "over_row",
    "parse_change",
    "parse_expression",
    "parse_statement",
    "rename_columns",
    "renamed_in_index",
    "render",
    "render_command",
    "render_expression",
    "render_type",
    "shown",
    "tables_of",
    "without_constraints",
]


@dataclass(frozen=True)
class PythonFill:
    """`-- kos: fill TABLE.COLUMN with module:function(column, …)`"""

    callable: str
    reads: tuple[str, ...]


@dataclass(frozen=True)
class Directives:
    """What the comments say, by (table, column). Expressions are SQL, parsed once to see that they are."""

    fill: dict[tuple[str, str], str | PythonFill] = field(default_factory=dict)
    back: dict[tuple[str, str], str] = field(default_factory=dict)
    hide: dict[tuple[str, str], str] = field(default_factory=dict)
    orphans: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass(frozen=True)
class Statement:
    """One statement: `node` is postgast's (an AlterTableStmt, …), `line` where it begins, `text` as it was written."""

    node: Any
    line: int
    text: str


@dataclass(frozen=True)
class Change:
    """A whole file. `schema` is the one that its statements name, if they name any; their tables have lost it."""

    text: str
    statements: tuple[Statement, ...]
    directives: Directives
    schema: str | None


def parse_change(text: str) -> Change:
    """The statements of a file and its directives.

    Raises:
        ChangeUnreadable: it isn't SQL, or a directive isn't one.
        ChangeRefused: its statements name several schemas.
    """
    statements = parse_statements(text)
    schemas = {schema for each in statements for schema in _schemas(each.node)}
    if len(schemas) > 1:
        raise errors.ChangeRefused(
            "this file",
            f"its statements name several schemas: {', '.join(sorted(schemas))}",
            "write one file for each schema, or leave the schema out: a change is made in every placement's",
        )
    schema = next(iter(schemas), None)
    for each in statements:
        if schema is not None:
            _unqualify(each.node, schema)
    return Change(text, statements, _directives(text), schema)


def parse_statements(text: str) -> tuple[Statement, ...]:
    """The statements of a file, with the names that they give.

    Raises:
        ChangeUnreadable: it isn't SQL.
    """
    try:
        return tuple(_statements(text, parsed(text)))
    except Unreadable as problem:
        raise errors.ChangeUnreadable(_line(text, problem.position), str(problem)) from None


def shown(statement: Statement) -> str:
    """A statement for one line."""
    text = " ".join(statement.text.split())
    return text if len(text) <= 80 else text[:79] + "…"


def _statements(text: str, found: Any) -> Iterator[Statement]:
    """Offsets of the parser are bytes; comments before a statement aren't its own."""
    raw = text.encode()
    starts = [each.start for each in tokens(text) if _token(each) not in _COMMENTS]
    for each in found.stmts:
        end = each.stmt_location + each.stmt_len if each.stmt_len else len(raw)
        start = next((start for start in starts if start >= each.stmt_location), each.stmt_location)
        before = raw[:start].decode()
        yield Statement(inner(each.stmt), before.count("\n") + 1, raw[start:end].decode().strip())


def _line(text: str, position: int) -> int:
    """Of a position in characters; the parser has none for an end that came too soon."""
    return text[: max(position, 0)].count("\n") + 1


# the schema


# How many parts a name must have for its first to be the schema, by what kind of object is named in a list.
_PARTS = {
    "OBJECT_COLUMN": 3,
    "OBJECT_TABCONSTRAINT": 3,
    "OBJECT_TRIGGER": 3,
    "OBJECT_POLICY": 3,
    "OBJECT_RULE": 3,
}
_NAMED = ("type_name", "defnames", "domainname", "funcname", "names", "collname", "opclass")
_TARGETS = ("relation", "sequence", "view", "table")


def _schemas(statement: Any) -> Iterator[str]:
    """The schemas of what a statement is about; what it refers to may be elsewhere."""
    fields = {each.name for each in statement.DESCRIPTOR.fields}
    for name in _TARGETS:
        if name in fields and type(getattr(statement, name)).__name__ == "RangeVar":
            yield from filter(None, [getattr(statement, name).schemaname])
    if "into" in fields and hasattr(statement.into, "rel"):
        yield from filter(None, [statement.into.rel.schemaname])
    for each in statement.relations if "relations" in fields else ():
        yield from filter(None, [inner(each).schemaname])
    for name in ("type_name", "defnames", "domainname"):
        if name in fields and statement.DESCRIPTOR.fields_by_name[name].is_repeated:
            yield from names(getattr(statement, name))[:-1]
    least, lists = _objects(statement)
    for each in lists:
        named = inner(each)
        if type(named).__name__ == "RangeVar":
            yield from filter(None, [named.schemaname])
        elif type(named).__name__ == "List" and len(parts := names(named.items)) >= least:
            yield parts[0]


def _objects(statement: Any) -> tuple[int, list[Any]]:
    """What DROP, COMMENT and GRANT are about, and how many parts a name with a schema has there."""
    fields = {each.name for each in statement.DESCRIPTOR.fields}
    for name in ("remove_type", "objtype"):
        if name in fields:
            what = choice(statement, name)
            if what in _SCHEMALESS:
                return 2, []
            objects = list(statement.objects) if "objects" in fields else []
            if "object" in fields:
                objects.append(statement.object)
            return _PARTS.get(what, 2), objects
    return 2, []


_SCHEMALESS = {"OBJECT_SCHEMA", "OBJECT_EXTENSION", "OBJECT_DATABASE", "OBJECT_ROLE"}


def _unqualify(statement: Any, schema: str) -> None:
    """Take the schema off all names that have it."""
    least, objects = _objects(statement)
    for each in objects:
        if type(inner(each)).__name__ == "List":
            _shorten(inner(each).items, schema, least)
    for each in inside(statement):
        what = type(each).__name__
        if what == "RangeVar" and each.schemaname == schema:
            each.schemaname = ""
        elif what == "ColumnRef":
            _shorten(each.fields, schema, 3)
        elif what == "DefElem" and each.defname == "owned_by":
            _shorten(inner(each.arg).items, schema, 3)
        for name in _NAMED:
            descriptor = each.DESCRIPTOR.fields_by_name.get(name)
            if descriptor is not None and descriptor.is_repeated:
                _shorten(getattr(each, name), schema, 2)


def _shorten(parts: Any, schema: str, least: int) -> None:
    if len(parts) >= least and names(parts[:1]) == [schema]:
        del parts[0]


# directives


_COMMENTS = ("SQL_COMMENT", "C_COMMENT")
_CALL = re.compile(r"\s*([\w.]+:[\w.]+)\s*\(([^()]*)\)\s*")
_WORDS = "fill, back, hide or orphans"


def _token(token: Any) -> str:
    return choice(token, "token")


def comments_of(text: str) -> Iterator[tuple[int, str]]:
    """What stands in comments: the line where each begins, and its text."""
    raw = text.encode()
    for token in tokens(text):
        if _token(token) in _COMMENTS:
            written = raw[token.start : token.end].decode()
            comment = written[2:-2] if written.startswith("/*") else written[2:]
            yield raw[: token.start].decode().count("\n") + 1, comment.strip()


def _directives(text: str) -> Directives:
    """Of all comments that begin with `kos:`, but for what is said to `kos change lint`."""
    found = Directives()
    for line, comment in comments_of(text):
        said = comment.removeprefix("kos:")
        if said != comment and said.split()[:1] != ["allow"]:
            _read_directive(found, said, line)
    return found


def _read_directive(found: Directives, text: str, line: int) -> None:
    """Word, TABLE.COLUMN, then what is said about it."""
    raw = text.encode()
    try:
        words = tokens(text)
    except Unreadable as problem:
        raise errors.ChangeUnreadable(line, str(problem)) from None
    parts = [raw[each.start : each.end].decode() for each in words]
    word = parts[0].lower() if parts else ""
    if word not in ("fill", "back", "hide", "orphans"):
        raise errors.ChangeUnreadable(line, f"after kos: comes {_WORDS}, not {word!r}")
    path, at = [], 1
    while at < len(parts) and is_name(words[at], parts[at]):
        path.append(folded(parts[at]))
        at += 2 if at + 1 < len(parts) and parts[at + 1] == "." else 1
        if parts[at - 1] != ".":
            break
    if len(path) not in (2, 3):
        raise errors.ChangeUnreadable(line, f"after {word} comes TABLE.COLUMN")
    sign = parts[at].lower() if at < len(parts) else ""
    rest = raw[words[at].end :].decode().strip() if sign else ""
    _note(found, word, (path[-2], path[-1]), sign, rest, line)


def _note(found: Directives, word: str, key: tuple[str, str], sign: str, rest: str, line: int) -> None:
    if key in getattr(found, word):
        raise errors.ChangeUnreadable(line, f"{word} {'.'.join(key)} stands twice")
    if word == "orphans":
        if sign not in ("delete", "null") or rest:
            raise errors.ChangeUnreadable(line, "orphans are dealt with by delete or null")
        found.orphans[key] = sign
    elif word == "fill" and sign == "with":
        call = _CALL.fullmatch(rest)
        if call is None:
            raise errors.ChangeUnreadable(line, "after with comes module:function(column, …)")
        reads = tuple(folded(each.strip()) for each in call[2].split(",") if each.strip())
        found.fill[key] = PythonFill(call[1], reads)
    elif sign == "=" and rest:
        try:
            parse_expression(rest)
        except ValueError as problem:
            raise errors.ChangeUnreadable(line, f"{rest}: {problem}") from None
        getattr(found, word)[key] = rest
    else:
        raise errors.ChangeUnreadable(line, f"after {word} TABLE.COLUMN comes = and an expression")


def is_name(token: Any, text: str) -> bool:
    """Whether a token is a name, or a word that can be one."""
    return _token(token) == "IDENT" or choice(token, "keyword_kind") != "NO_KEYWORD" or text.startswith('"')


def folded(name: str) -> str:
    """A name as the catalog has it."""
    return name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
