"""What a database says about its tables: catalog rows and statistics, as plain frozen values. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import SQL, Composed, Identifier

from kos import sql

QUERIES = sql.load("kos.adoption")
NULLS_SECONDS = 2  # for one table; what takes longer is asked before the table is taken in

Connection = psycopg.Connection[Any]


@dataclass(frozen=True)
class Here:
    """The database, and what the connected role may do in it."""

    database: str
    role: str
    version: int
    installed: bool
    adopter_exists: bool
    adopter_granted: bool
    is_bound: bool  # the tenant policy would bind the operator, too
    may_create: bool
    counted_since: datetime | None
    counted_seconds: float | None


@dataclass(frozen=True)
class Relation:
    """A table, or what looks like one."""

    oid: int
    schema: str
    name: str
    kind: str
    unlogged: bool
    owner: str
    may_act: bool
    may_trigger: bool
    may_read: bool
    schema_owner: str
    may_open: bool  # let kos_owner use the schema, if it may not already
    restricted: bool  # by a policy that binds kos_owner, too
    subscriptions: tuple[str, ...]  # that write it, or a partition of it
    root: int | None
    inherits: bool
    inherited: bool
    rows: int | None
    bytes: int
    row_bytes: int
    writes: int
    row_security: bool
    row_triggers: tuple[str, ...]

    @property
    def full_name(self) -> str:
        """For people; SQL has `identifier`."""
        return f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> Identifier:
        return Identifier(self.schema, self.name)


@dataclass(frozen=True)
class Column:
    oid: int
    name: str
    type: str
    not_null: bool = False


@dataclass(frozen=True)
class Key:
    """A unique index that is whole."""

    oid: int
    index: str
    constraint: str | None
    primary: bool
    columns: tuple[str, ...]
    not_null: bool


@dataclass(frozen=True)
class Reference:
    """A foreign key."""

    name: str
    source: int
    target: int
    columns: tuple[str, ...]
    refers_to: tuple[str, ...]
    not_null: bool
    on_delete: str
    on_update: str
    deferrable: bool
    deferred: bool


@dataclass(frozen=True)
class Statistic:
    oid: int
    name: str
    distinct: float
    nulls: float


@dataclass(frozen=True)
class Facts:
    """All that a plan is made of."""

    here: Here
    relations: dict[int, Relation]
    columns: dict[tuple[int, str], Column]
    keys: dict[int, tuple[Key, ...]]
    references: tuple[Reference, ...]
    uncarried: dict[int, tuple[Column, ...]]
    own_schemas: tuple[str, ...]

    def parts(self, oid: int) -> tuple[Relation, ...]:
        """The partitions of a table."""
        return tuple(each for each in self.relations.values() if each.root == oid)


@contextmanager
def reading(connection: Connection) -> Iterator[None]:
    """One transaction that can't change anything, in which every name is told with its schema."""
    with connection.transaction():
        connection.execute(QUERIES.read_only)
        connection.execute(QUERIES.look_from_outside)
        yield


def read(connection: Connection, names: Sequence[str]) -> Facts:
    """The facts; `names` are the columns that may be the tenant's. Inside of `reading`."""
    (here,) = rows_as(connection, Here, QUERIES.here)
    own = ["kos"]
    if here.installed:
        own += [name for (name,) in connection.execute(QUERIES.own_schemas).fetchall()]
    relations = {each.oid: each for each in rows_as(connection, Relation, QUERIES.tables, own=own)}
    oids = list(relations)
    columns = rows_as(connection, Column, QUERIES.columns, oids=oids, names=list(names))
    return Facts(
        here,
        relations,
        {(each.oid, each.name): each for each in columns},
        _by_table(rows_as(connection, Key, QUERIES.keys, oids=oids)),
        tuple(rows_as(connection, Reference, QUERIES.foreign_keys, oids=oids)),
        _by_table(rows_as(connection, Column, QUERIES.uncarried, oids=oids)),
        tuple(own),
    )


def rows_as(connection: Connection, kind: type[Any], query: Any, **given: Any) -> list[Any]:
    """Rows as values of `kind`; arrays become tuples, so that they stay as they are."""
    with connection.cursor(row_factory=dict_row) as cursor:
        found = cursor.execute(query, given).fetchall()
    return [
        kind(**{name: tuple(value) if isinstance(value, list) else value for name, value in row.items()})
        for row in found
    ]


def _by_table(found: Iterable[Any]) -> dict[int, tuple[Any, ...]]:
    grouped: dict[int, list[Any]] = {}
    for each in found:
        grouped.setdefault(each.oid, []).append(each)
    return {oid: tuple(items) for oid, items in grouped.items()}


@contextmanager
def as_owner(connection: Connection, relation: Relation) -> Iterator[None]:
    """With the owner's rights, where our own are not enough. A failed question spoils no other."""
    with connection.transaction():
        connection.execute(QUERIES.act_as.format(role=Identifier(relation.owner)))
        yield
        connection.execute(QUERIES.act_as_ourselves)


def statistics(connection: Connection, facts: Facts, columns: Sequence[Column]) -> dict[tuple[int, str], Statistic]:
    """What ANALYZE knows of these columns, asked as each table's owner where that is allowed."""
    found: dict[tuple[int, str], Statistic] = {}
    schemas = sorted({facts.relations[column.oid].schema for column in columns})
    given = {"schemas": schemas, "names": sorted({column.name for column in columns})}
    owners = {facts.relations[column.oid].owner: facts.relations[column.oid] for column in columns}
    for relation in owners.values():
        if relation.may_act:
            with as_owner(connection, relation):
                rows = rows_as(connection, Statistic, QUERIES.statistics, **given)
        else:
            rows = rows_as(connection, Statistic, QUERIES.statistics, **given)
        found |= {(row.oid, row.name): row for row in rows}
    return found


def column_names(connection: Connection, relations: Sequence[Relation]) -> dict[tuple[str, str], list[str]]:
    """The columns of each table, by schema and name."""
    found: dict[tuple[str, str], list[str]] = {}
    oids = [each.oid for each in relations]
    for schema, table, column in connection.execute(QUERIES.column_names, {"oids": oids}).fetchall():
        found.setdefault((schema, table), []).append(column)
    return found


def has_nulls(connection: Connection, relation: Relation, column: Column) -> bool | None:
    """Whether a row is without a tenant; None where that can't be told quickly, or not at all."""
    answer: bool | None = _ask(connection, relation, QUERIES.has_nulls, column, f"{NULLS_SECONDS}s")
    return answer


def count_tenants(connection: Connection, relation: Relation, column: Column) -> int | None:
    """How many tenants have rows in the table; None if we may not read it."""
    answer: int | None = _ask(connection, relation, QUERIES.count_tenants, column, "0")
    return answer


def _one(connection: Connection, question: Composed) -> Any:
    (row,) = connection.execute(question).fetchall()
    return row[0]


def _ask(connection: Connection, relation: Relation, query: SQL, column: Column, limit: str) -> Any:
    if not (relation.may_act or relation.may_read):
        return None
    question = query.format(table=relation.identifier, column=Identifier(column.name))
    try:
        with connection.transaction():
            connection.execute(QUERIES.limit, {"statement": limit})
            if not relation.may_act:
                return _one(connection, question)
            with as_owner(connection, relation):
                return _one(connection, question)
    except (psycopg.errors.QueryCanceled, psycopg.errors.LockNotAvailable):
        return None
