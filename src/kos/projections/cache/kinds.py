"""Kinds of cached values: which rows make one old, and how it is named in the store."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from uuid import UUID

from kos import errors
from kos.projections.cache.wire import Packed
from kos.projections.model import Change, TableName
from kos.topology.model import ProjectionSettings, Topology

Key = str | int | UUID | tuple[str | int | UUID, ...]
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}", re.ASCII)
_TABLE = re.compile(r"[^\0|,]+")
_TYPES = (UUID, int, str)


@dataclass(frozen=True)
class CacheKind:
    """A kind of value: made of one row of `table`, and of whatever rows of the tables in `depends`.

    Any event of a table in `depends` makes all values of the kind old, one in `persona_depends` those that sessions
    with a persona have read: which rows a persona sees may hang on other tables. `key` has the types of the row's key,
    without the tenant's own column; without a `table` it is the caller's own, and only the others count. A key that is
    text has to be spelled as it is stored.
    """

    name: str
    table: str | None = None
    depends: tuple[str, ...] = ()
    persona_depends: tuple[str, ...] = ()
    key: tuple[type, ...] = (UUID,)

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise errors.CacheKindInvalid(self.name, "its name is of a-z, 0-9 and _, a letter first, up to 63 of them")
        if not all(map(_TABLE.fullmatch, self.tables)) or not self.tables:
            raise errors.CacheKindInvalid(self.name, "it has no table, or one whose name has NUL, | or a comma in it")
        if not self.key or any(each not in _TYPES for each in self.key):
            raise errors.CacheKindInvalid(self.name, "its key has other types than UUID, int and str")

    @cached_property
    def tables(self) -> tuple[str, ...]:
        """All that it is made of."""
        return (*self.tables_of_all, *self.persona_depends)

    @cached_property
    def tables_of_all(self) -> tuple[str, ...]:
        """What it is made of for whoever has no persona."""
        return (*((self.table,) if self.table else ()), *self.depends)

    @cached_property
    def definition(self) -> str:
        """What makes a value old, as one text: readers and the worker that follows the log compare it."""
        types = ",".join(each.__name__ for each in self.key)
        return f"{self.table or ''}|{','.join(sorted(self.depends))}|{','.join(sorted(self.persona_depends))}|{types}"

    @cached_property
    def for_reading(self) -> tuple[Packed, Packed]:
        """What a read says of the kind: of a session without a persona, and of one with."""
        which = (self.tables_of_all, self.tables)
        said = ((self.name, self.definition, *(f"table:{each}" for each in tables)) for tables in which)
        one, other = (Packed.of([part.encode() for part in parts]) for parts in said)
        return one, other

    def entry(self, key: Key) -> str:
        """The name of the value for a key, the same however the key is written.

        Raises:
            CacheKeyRefused
        """
        if not isinstance(key, tuple):
            key = (key,)
        if len(key) != len(self.key):
            raise self._refused()
        # Each with its length before it, so that no two keys make one name, whatever is in them.
        name = self.name
        for kind, part in zip(self.key, key, strict=True):
            text = self._text(kind, part)
            name += f":{len(text)}:{text}"
        return name

    def entry_of_row(self, key: tuple[str, ...], tenant: UUID) -> str | None:
        """The same for the key of an event, which has the tenant's column as well in most tables; None if it is of
        another form than declared."""
        parts = list(key)
        if len(parts) == len(self.key) + 1 and str(tenant) in parts:
            parts.remove(str(tenant))
        try:
            return self.entry(tuple(parts))
        except errors.CacheKeyRefused:
            return None

    def _text(self, kind: type, part: Any) -> str:
        # An id can be written in several ways that PostgreSQL takes for the same; an event has one of them.
        try:
            if kind is UUID:
                return str(part if isinstance(part, UUID) else UUID(part))
            if kind is int and not isinstance(part, bool):
                return str(int(part))
        except (ValueError, TypeError, AttributeError) as error:
            raise self._refused() from error
        if kind is not str or not isinstance(part, str):
            raise self._refused()
        try:
            part.encode()
        except UnicodeEncodeError as error:
            raise self._refused() from error
        return part

    def _refused(self) -> errors.CacheKeyRefused:
        types = ", ".join(each.__name__ for each in self.key)
        return errors.CacheKeyRefused(self.name, types if len(self.key) == 1 else f"a tuple of {types}")


KINDS = (
    CacheKind("atom", "atoms", persona_depends=("implementations", "capability_mappings")),
    CacheKind("molecule", "molecules", depends=("molecule_atoms",)),
    CacheKind("document", "documents"),
    CacheKind("annotation", "annotations"),
    CacheKind("relation", "relations"),
    CacheKind("implementation", "implementations"),
    CacheKind("capability_mapping", "capability_mappings"),
    CacheKind("sensitive_atom", "sensitive_atoms"),
)
"""Those of the tables that kos ships."""


_TYPE_NAMES = {"uuid": UUID, "integer": int, "text": str}


def kinds_of(topology: Topology) -> tuple[CacheKind, ...]:
    """The shipped kinds, and those that kos.toml declares for the cache."""
    settings = next((each for each in topology.projections if each.name == "cache"), ProjectionSettings("cache"))
    own = [
        CacheKind(name, table, depends, key=tuple(_TYPE_NAMES[each] for each in key))
        for name, table, depends, key in settings.kinds
    ]
    return (*(KINDS if settings.shipped else ()), *own)


def by_name(kinds: Iterable[CacheKind]) -> Mapping[str, CacheKind]:
    """Kinds by their names.

    Raises:
        CacheKindInvalid: two have one name.
    """
    found: dict[str, CacheKind] = {}
    for kind in kinds:
        if found.setdefault(kind.name, kind) is not kind:
            raise errors.CacheKindInvalid(kind.name, "another one has the name")
    return found


@dataclass(frozen=True)
class Touched:
    """What a change makes old: single entries, and everything that is made of a table."""

    entries: tuple[str, ...]
    tables: tuple[str, ...]


def touched(change: Change, kinds: Iterable[CacheKind], tenant: UUID) -> Touched:
    """What a change makes old."""
    entries: list[str] = []
    tables: set[str] = set()
    for kind in kinds:
        tables.update(each for each in (*kind.depends, *kind.persona_depends) if _means(each, change.table))
        if kind.table is None or not _means(kind.table, change.table):
            continue
        entry = None if change.kind == "truncated" else kind.entry_of_row(change.key, tenant)
        if entry is None:  # all rows, or nobody can tell which one
            tables.add(kind.table)
        else:
            entries.append(entry)
    return Touched(tuple(entries), tuple(sorted(tables)))


def _means(declared: str, table: TableName) -> bool:
    return TableName.read(declared).means(table.schema or "", table.name)
