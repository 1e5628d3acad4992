"""The SQL that mends what is in the way, to be read and run by whoever owns the tables: kos only prints it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.sql import SQL, Composable, Identifier, Literal

from kos import sql
from kos.adoption.classes import Place
from kos.adoption.facts import Facts, Key, Reference, Relation

MENDS = sql.load("kos.adoption", "mends.sql")


_ACTIONS = {"c": SQL(" cascade"), "r": SQL(" restrict"), "n": SQL(" set null"), "d": SQL(" set default")}
NOTHING = SQL("")


@dataclass(frozen=True)
class Owned:
    """The facts, and what they mean for one tenant column."""

    facts: Facts
    places: dict[int, Place]
    column: str

    def name(self, *parts: str) -> str:
        """A name for a new object: cut as PostgreSQL would, but never to one that another has."""
        full = "_".join(parts)
        if len(full.encode()) > 63:
            digest = hashlib.sha256(full.encode()).hexdigest()[:8]
            full = full.encode()[:54].decode(errors="ignore") + "_" + digest
        return full

    def column_of(self, oid: int) -> str:
        """The tenant column of a table; of a child, the one that it is to get."""
        column = self.places[oid].column
        return column.name if column else self.column


def text(statement: Composable) -> str:
    """A statement as it is to be run."""
    return statement.as_string() + ";"


def bare(statement: Composable) -> str:
    """The same on its own, without the comment that it has in its file."""
    return "\n".join(line for line in text(statement).splitlines() if not line.startswith("--"))


# the column


def column_sql(owned: Owned, oid: int) -> tuple[str, ...]:
    """Give a child the tenant column: add, fill, index, make it not null. Its parents get theirs before."""
    parents = [each.target for each in owned.places[oid].path[:-1]]
    return tuple(text(each) for child in (*reversed(parents), oid) for each in _column(owned, child))


def _column(owned: Owned, oid: int) -> Iterator[Composable]:
    relation, path = owned.facts.relations[oid], owned.places[oid].path
    column, pairs = Identifier(owned.column), list(zip(path[0].columns, path[0].refers_to, strict=True))
    parent = {
        "column": column,
        "parent": owned.facts.relations[path[0].target].identifier,
        "parent_column": Identifier(owned.column_of(path[0].target)),
    }
    yield MENDS.begin_column.format(
        table=relation.identifier,
        type=sql.literal(_type(owned, path)),
        function=Identifier(relation.schema, owned.name(relation.name, "fill", owned.column)),
        trigger=Identifier(owned.name(relation.name, "fill", owned.column)),
        match_new=_match("new", pairs),
        **parent,
    )
    for leaf in _leaves(owned.facts, relation):
        yield MENDS.backfill.format(
            table=leaf.identifier, literal=Literal(leaf.identifier.as_string()), match_row=_match("c", pairs), **parent
        )
    yield from _not_null(owned, relation, owned.column)
    yield from _index(owned, relation, (owned.column,), unique=False)
    root = _root_of(owned, path[-1].target)
    if root is not None:
        constraint = Identifier(owned.name(relation.name, owned.column, "fkey"))
        yield from _reference(owned, relation, constraint, (owned.column,), root)


def _not_null(owned: Owned, relation: Relation, column: str) -> Iterator[Composable]:
    constraint = Identifier(owned.name(relation.name, column, "present"))
    there: dict[str, Composable] = {"table": relation.identifier, "constraint": constraint}
    yield MENDS.add_check.format(column=Identifier(column), **there)
    yield MENDS.validate.format(**there)
    yield MENDS.set_not_null.format(table=relation.identifier, column=Identifier(column))
    yield MENDS.drop_constraint.format(**there)


def _type(owned: Owned, path: Sequence[Reference]) -> str:
    column = owned.places[path[-1].target].column
    assert column is not None
    return column.type


def _match(alias: str, pairs: Iterable[tuple[str, str]]) -> Composable:
    return SQL(" and ").join(
        SQL("p.{} = {}").format(Identifier(theirs), Identifier(alias, own)) for own, theirs in pairs
    )


def _root_of(owned: Owned, oid: int) -> tuple[Relation, tuple[str, ...], Composable] | None:
    """The table of the tenants, and how a tenant's table refers to it."""
    place = owned.places[oid]
    if place.of_class == "root" and place.column:
        return owned.facts.relations[oid], (place.column.name,), NOTHING
    for reference in owned.facts.references:
        target = owned.places.get(reference.target)
        if reference.source == oid and reference.columns == (owned.column,) and target and target.of_class == "root":
            return owned.facts.relations[reference.target], reference.refers_to, _actions(reference)
    return None


def _leaves(facts: Facts, relation: Relation) -> tuple[Relation, ...]:
    """Where the rows are: the table itself, or its partitions."""
    if relation.kind != "p":
        return (relation,)
    return tuple(part for part in facts.parts(relation.oid) if part.kind == "r")


def _index(owned: Owned, relation: Relation, columns: Sequence[str], *, unique: bool) -> Iterator[Composable]:
    """An index that stops nobody. A partitioned table has it once each of its partitions has."""
    suffix = (*columns, "key" if unique else "idx")
    names = SQL(", ").join(map(Identifier, columns))

    def made(query: SQL, of: Relation) -> Composable:
        return query.format(index=Identifier(owned.name(of.name, *suffix)), table=of.identifier, columns=names)

    if relation.kind != "p":
        yield made(MENDS.unique_concurrently if unique else MENDS.index_concurrently, relation)
        return
    if any(part.kind == "p" for part in owned.facts.parts(relation.oid)):
        yield made(MENDS.unique_of_levels if unique else MENDS.index_of_levels, relation)
        return
    yield made(MENDS.unique_parent if unique else MENDS.index_parent, relation)
    for leaf in _leaves(owned.facts, relation):
        yield made(MENDS.unique_concurrently if unique else MENDS.index_concurrently, leaf)
        yield MENDS.attach_index.format(
            index=Identifier(relation.schema, owned.name(relation.name, *suffix)),
            part=Identifier(leaf.schema, owned.name(leaf.name, *suffix)),
        )


def _reference(
    owned: Owned,
    relation: Relation,
    constraint: Identifier,
    columns: Sequence[str],
    target: tuple[Relation, Sequence[str], Composable],
) -> Iterator[Composable]:
    parent, refers_to, actions = target
    given: dict[str, Any] = {
        "table": relation.identifier,
        "constraint": constraint,
        "columns": SQL(", ").join(map(Identifier, columns)),
        "parent": parent.identifier,
        "refers_to": SQL(", ").join(map(Identifier, refers_to)),
        "actions": actions,
    }
    if relation.kind == "p" and owned.facts.here.version < 180000:
        yield MENDS.reference.format(**given)
        return
    yield MENDS.reference_not_valid.format(**given)
    yield MENDS.validate.format(table=relation.identifier, constraint=constraint)


def _actions(reference: Reference, *, only: Sequence[str] = ()) -> Composable:
    """What a foreign key does, to be said again. `only` are the columns that SET NULL may touch: never the tenant's."""
    said: Composable = NOTHING
    if reference.on_delete in _ACTIONS:
        said += SQL(" on delete") + _ACTIONS[reference.on_delete]
        if only and reference.on_delete in "nd":
            said += SQL(" ({})").format(SQL(", ").join(map(Identifier, only)))
    if reference.on_update in _ACTIONS:
        said += SQL(" on update") + _ACTIONS[reference.on_update]
    if reference.deferrable:
        said += SQL(" deferrable initially deferred" if reference.deferred else " deferrable")
    return said


# composite keys, in three phases that follow each other for all tables


def lacking(owned: Owned, oid: int) -> tuple[tuple[str, ...], ...]:
    """The keys of a tenant's table that somebody refers to, or that are primary, without the tenant column."""
    keys = owned.facts.keys.get(oid, ())
    wanted = [key.columns for key in keys if key.primary]
    wanted += [each.refers_to for each in rewritten(owned) if each.target == oid]
    column = owned.column_of(oid)
    have = [set(key.columns) for key in keys]
    missing = dict.fromkeys(columns for columns in wanted if column not in columns)
    return tuple(columns for columns in missing if {column, *columns} not in have)


def rewritten(owned: Owned) -> Iterator[Reference]:
    """Foreign keys between tables of tenants that leave the tenant out."""
    for reference in owned.facts.references:
        source, target = owned.places.get(reference.source), owned.places.get(reference.target)
        if source and target and source.of_class == target.of_class == "tenant" and not _names_tenant(owned, reference):
            yield reference


def _names_tenant(owned: Owned, reference: Reference) -> bool:
    pair = (owned.column_of(reference.source), owned.column_of(reference.target))
    return pair in zip(reference.columns, reference.refers_to, strict=True)


def keys_sql(owned: Owned, oid: int) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """Put the tenant column into a table's keys, its references, and its primary key: three phases."""
    relation, column = owned.facts.relations[oid], owned.column_of(oid)
    place = owned.places[oid].column
    # With a null in it a composite reference is not checked at all.
    nullable = place is not None and not place.not_null
    own = [reference for reference in rewritten(owned) if reference.source == oid]
    keys = [text(each) for each in (_not_null(owned, relation, column) if nullable else ())]
    keys += [
        text(each)
        for columns in lacking(owned, oid)
        for each in _index(owned, relation, (column, *columns), unique=True)
    ]
    for target in {each.target: each for each in own}:  # what they refer to has its key first, named or not
        keys += [
            text(each)
            for columns in lacking(owned, target)
            for each in _index(owned, owned.facts.relations[target], (owned.column_of(target), *columns), unique=True)
        ]
    references = [text(each) for reference in own for each in _rewrite(owned, reference)]
    primary = next((key for key in owned.facts.keys.get(oid, ()) if key.primary), None)
    swap = _primary(owned, relation, primary, column) if primary and column not in primary.columns else None
    return tuple(keys), tuple(references), (text(swap),) if swap else ()


def _rewrite(owned: Owned, reference: Reference) -> Iterator[Composable]:
    """The reference with the tenant in it, and only then away with the old one."""
    relation, parent = owned.facts.relations[reference.source], owned.facts.relations[reference.target]
    own, theirs = owned.column_of(reference.source), owned.column_of(reference.target)
    target = (parent, (theirs, *reference.refers_to), _actions(reference, only=reference.columns))
    constraint = Identifier(owned.name(reference.name, "of_tenant"))
    yield from _reference(owned, relation, constraint, (own, *reference.columns), target)
    yield MENDS.drop_constraint.format(table=relation.identifier, constraint=Identifier(reference.name))


def _primary(owned: Owned, relation: Relation, primary: Key, column: str) -> Composable | None:
    """None while a table that is no tenant's refers to the old key."""
    kept = any(
        each.target == relation.oid
        and each.refers_to == primary.columns
        and owned.places[each.source].of_class != "tenant"
        for each in owned.facts.references
        if each.source in owned.places
    )
    if kept or primary.constraint is None:
        return None
    names = (column, *primary.columns)
    there: dict[str, Composable] = {"table": relation.identifier, "constraint": Identifier(primary.constraint)}
    ready = next((key for key in owned.facts.keys[relation.oid] if set(key.columns) == set(names)), None)
    if relation.kind == "p" or (ready and ready.constraint):  # the index of another constraint can't be taken
        return sql.statement(MENDS.primary_key_of_parts, columns=SQL(", ").join(map(Identifier, names)), **there)
    index = ready.index if ready else owned.name(relation.name, *names, "key")
    return sql.statement(MENDS.primary_key, index=Identifier(index), **there)
