"""A change as its author wrote it: statements parsed as PostgreSQL parses them, and what stands in comments beside them.

The only module that knows the parser.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


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
    """One statement: `node` is postgast's (an AlterTableStmt, IndexStmt, …), `line` where it begins, `text` as written."""

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
