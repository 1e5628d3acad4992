"""Which tables become nodes, and what becomes an edge: declared, and never coded."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

from kos.projections.model import TableName, Values, Wanted, key_text

Type = Literal["text", "integer", "float", "boolean"]
OWN = "kos_"  # what properties of ours begin with
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,62}", re.ASCII)
_INTEGERS = range(-(2**63), 2**63)
_TRUE = {"true": True, "t": True, "false": False, "f": False}


def _boolean(text: str) -> bool:
    if text not in _TRUE:
        raise ValueError(f"not a boolean: {text[:40]!r}")
    return _TRUE[text]


def _integer(text: str) -> int:
    number = int(text)
    if number not in _INTEGERS:
        raise ValueError(f"an integer of more than 64 bits: {text[:40]!r}")
    return number


# What is no text, number or boolean stays the text that PostgreSQL writes.
_READ: dict[Type, Callable[[str], Any]] = {"text": str, "boolean": _boolean, "float": float, "integer": _integer}


@dataclass(frozen=True)
class Property:
    """A column that becomes a property of the same name."""

    name: str
    type: Type = "text"

    def value(self, text: str | None) -> str | int | float | bool | None:
        """A column's text as the graph keeps it.

        Raises:
            ValueError: it isn't of that type, or the graph can't hold it.
        """
        # Of most there is nothing to do, and of each row there are many.
        return text if text is None or self.type == "text" else _READ[self.type](text)

    @classmethod
    def read(cls, text: str) -> Property:
        """`name` or `confidence:float`."""
        name, _, kind = text.partition(":")
        if not _NAME.fullmatch(name) or name.startswith(OWN) or kind not in ("", "text", "integer", "float", "boolean"):
            raise ValueError(f"not a property: {text!r}; write NAME or NAME:integer, float or boolean")
        return cls(name, cast(Type, kind or "text"))


def properties_of(declared: Sequence[Property], values: Values) -> dict[str, Any]:
    """Those of the values that are declared; null where the value is."""
    return {each.name: each.value(values[each.name]) for each in declared if each.name in values}


@dataclass(frozen=True)
class Node:
    """A table whose rows are nodes with this label. A row whose column `hidden` is not null is none, as if deleted. By
    the properties in `indexes` a tenant's nodes are found without looking at all of them."""

    label: str
    table: TableName
    properties: tuple[Property, ...] = ()
    hidden: str | None = None
    indexes: tuple[str, ...] = ()

    def shows(self, values: Values) -> bool:
        """Whether a row is a node."""
        return self.hidden is None or values.get(self.hidden) is None

    @cached_property
    def texts_indexed(self) -> tuple[str, ...]:
        """The properties in an index that may be too long for it."""
        return tuple(each.name for each in self.properties if each.type == "text" and each.name in self.indexes)

    @property
    def wanted(self) -> Wanted:
        columns = [each.name for each in self.properties] + [each for each in (self.hidden,) if each]
        return Wanted(self.table, tuple(columns), before_of=(self.hidden,) if self.hidden else ())


@dataclass(frozen=True)
class End:
    """Which node an edge begins or ends at: its label, and the columns that hold its key (without the tenant's id)."""

    label: str
    columns: tuple[str, ...]

    def key(self, values: Values) -> str | None:
        """The node's key; None where a column is null: there is no edge then."""
        parts = [values.get(each) for each in self.columns]
        return None if None in parts else key_text([part for part in parts if part is not None])


@dataclass(frozen=True)
class Edge:
    """A table whose rows are edges of this type: a table of its own, or a node's that refers to another."""

    type: str
    table: TableName
    begin: End
    end: End
    properties: tuple[Property, ...] = ()
    hidden: str | None = None

    def ends(self, values: Values | None) -> tuple[str, str] | None:
        """The keys of the two nodes that a row joins; None where it joins none."""
        if values is None or (self.hidden is not None and values.get(self.hidden) is not None):
            return None
        begin, end = self.begin.key(values), self.end.key(values)
        return None if begin is None or end is None else (begin, end)

    @cached_property
    def says(self) -> frozenset[str]:
        """The columns that say which nodes a row joins, if any."""
        return frozenset((*self.begin.columns, *self.end.columns, *([self.hidden] if self.hidden else [])))

    @property
    def wanted(self) -> Wanted:
        columns = [each.name for each in self.properties] + [*self.begin.columns, *self.end.columns]
        return Wanted(
            self.table, tuple(dict.fromkeys(columns + [each for each in (self.hidden,) if each])), before=True
        )


@dataclass(frozen=True)
class GraphMap:
    """All that is declared: labels and types are written once each, and edges join labels that are."""

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...] = ()

    def __post_init__(self) -> None:
        names = [each.label for each in self.nodes] + [each.type for each in self.edges]
        for name in names:
            if not _NAME.fullmatch(name) or name.lower().startswith("kos"):
                raise ValueError(f"not a label or type: {name!r}; letters, digits and _, and not Kos… at its beginning")
        if len(set(names)) != len(names):
            raise ValueError("a label or type is declared twice")
        if len({each.table for each in self.nodes}) != len(self.nodes):
            raise ValueError("a table has two labels")
        for node in self.nodes:
            for name in node.indexes:
                if name not in {each.name for each in node.properties}:
                    raise ValueError(f"node {node.label}: no property {name} is declared, to have an index")
        for edge in self.edges:
            for end in (edge.begin, edge.end):
                if end.label not in {each.label for each in self.nodes}:
                    raise ValueError(f"edge {edge.type}: no node {end.label} is declared")

    @cached_property
    def _found(self) -> dict[TableName, tuple[list[Node], list[Edge]]]:
        """By the tables that were asked for: asked for each row, of few tables."""
        return {}

    def _of(self, table: TableName) -> tuple[list[Node], list[Edge]]:
        found = self._found.get(table)
        if found is None:
            schema = table.schema or ""
            nodes = [each for each in self.nodes if each.table.means(schema, table.name)]
            edges = [each for each in self.edges if each.table.means(schema, table.name)]
            found = self._found[table] = nodes, edges
        return found

    def nodes_of(self, table: TableName) -> list[Node]:
        """What rows of a table are, as nodes: one at most."""
        return self._of(table)[0]

    def edges_of(self, table: TableName) -> list[Edge]:
        """What they are as edges."""
        return self._of(table)[1]

    @property
    def wanted(self) -> tuple[Wanted, ...]:
        """The tables, each once."""
        found: dict[TableName, Wanted] = {}
        for one in [node.wanted for node in self.nodes] + [edge.wanted for edge in self.edges]:
            other = found.get(one.table, Wanted(one.table, ()))
            found[one.table] = Wanted(
                one.table,
                tuple(dict.fromkeys((*(other.columns or ()), *(one.columns or ())))),
                one.before or other.before,
                tuple(dict.fromkeys((*other.before_of, *one.before_of))),
            )
        return tuple(found.values())
