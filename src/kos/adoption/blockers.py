"""What each capability is blocked by, table by table. Pure functions over the facts."""

from __future__ import annotations

from collections.abc import Iterator

from kos.adoption.facts import Column, Key, Relation
from kos.adoption.mends import Owned, lacking, rewritten
from kos.adoption.model import CAPABILITIES, Blocker

ALL = CAPABILITIES
LOGGED = ("log", "history", "move", "distribution")
BY_TENANT = ("log", "history", "row_security", "move", "distribution")
WRITTEN = ("log", "history", "row_security", "move", "distribution")
PLACED = ("move", "distribution")
CHANGED = ("log", "history", "row_security", "schema_change")


def key_of(owned: Owned, oid: int) -> Key | None:
    """What tells a table's rows apart: its primary key, or a unique index over columns that are never null."""
    return next((key for key in owned.facts.keys.get(oid, ()) if key.primary or key.not_null), None)


def of_table(relation: Relation) -> Iterator[Blocker]:
    """Kinds of table that can't be taken in, whatever is in them."""
    kinds = {"m": "a materialized view: its rows are copies", "f": "a foreign table: its rows are elsewhere"}
    if relation.kind in kinds:
        yield Blocker("unsuitable", ALL, kinds[relation.kind])
    if relation.unlogged:
        yield Blocker("unsuitable", ALL, "unlogged: a crash empties it, and the log would not know")
    if relation.restricted:
        yield Blocker("unsuitable", LOGGED, "a restrictive policy of its own would hide rows from the capture")
    for name in relation.subscriptions:
        said = f"the subscription {name} writes it, and what that writes fires no trigger"
        yield Blocker(
            "unsuitable", WRITTEN, f"{said}: take it in where it is published, or drop the subscription first"
        )
    if relation.inherits or relation.inherited:
        which = "inherits from another table" if relation.inherits else "other tables inherit from it"
        yield Blocker("unsuitable", ALL, f"{which}: triggers and policies of one do not count for the other")


def of_columns(owned: Owned, relation: Relation, nulls: bool | None) -> Iterator[Blocker]:
    """What its keys, types and rows are in the way of."""
    place = owned.places[relation.oid]
    if relation.kind in "rp" and key_of(owned, relation.oid) is None:
        yield Blocker("key", LOGGED, "no primary key, and no unique index over columns that are never null")
    for column in owned.facts.uncarried.get(relation.oid, ()):
        yield Blocker("type", LOGGED, f"{column.name} is of the type {column.type}, which the log can't carry")
    if place.of_class == "child":
        yield Blocker(
            "column",
            BY_TENANT,
            f"no column {owned.column}; its tenant is found by {', '.join(way(owned, relation.oid))}",
        )
    if place.column and nulls:
        yield Blocker("nulls", BY_TENANT, f"{place.column.name} is null in some rows: they have no tenant")
    if place.column and nulls is None and not _never_null(owned, place.column):
        yield Blocker("nulls", (), f"{place.column.name} may be null, which could not be told quickly")


def _never_null(owned: Owned, column: Column) -> bool:
    """Also by a primary key. The roots' column is made from what refers to it, a key in any case."""
    return column.not_null or any(
        key.primary and column.name in key.columns for key in owned.facts.keys.get(column.oid, ())
    )


def of_rights(owned: Owned, relation: Relation) -> Iterator[Blocker]:
    """What the operator may not do with the table."""
    if owned.facts.here.is_bound:
        said = f"{owned.facts.here.role} inherits the rights of kos_app: the tenant policy would bind it as well"
        yield Blocker("grant", ("row_security",), said)
    if relation.may_act and not relation.may_open:
        said = f"kos may not let kos_owner use the schema {relation.schema}, which {relation.schema_owner} owns"
        yield Blocker("grant", LOGGED[:2], said)
    if relation.may_act:
        return
    reason = f"kos may not act as its owner, {relation.owner}"
    if relation.may_trigger:
        reason += " (a right to make triggers alone is none to take them away again)"
    yield Blocker("grant", CHANGED, reason)


def of_keys(owned: Owned, relation: Relation) -> Iterator[Blocker]:
    """What moves and distribution need beyond the rest."""
    oid = relation.oid
    place = owned.places[oid]
    if place.of_class != "tenant" or place.column is None or relation.kind not in "rp":
        return
    column = place.column.name
    if not place.column.not_null:
        yield Blocker("composite", PLACED, f"{column} may be null: a reference with a null in it is not checked")
    for columns in lacking(owned, oid):
        yield Blocker("composite", PLACED, f"the key ({', '.join(columns)}) is without {column}")
    for reference in (each for each in rewritten(owned) if each.source == oid):
        yield Blocker("composite", PLACED, f"the foreign key {reference.name} is without {column}")
    for key in owned.facts.keys.get(oid, ()):
        if key.primary and column not in key.columns and not lacking(owned, oid):
            yield Blocker("composite", ("distribution",), f"the primary key is without {column}")
        if not key.primary and column not in key.columns:
            said = f"({', '.join(key.columns)}) is unique across tenants: whether within one is enough, only you know"
            yield Blocker("meaning", ("distribution",), said)
    for reference in owned.facts.references:
        target = owned.places.get(reference.target)
        if reference.source == oid and target and target.of_class == "root" and column not in reference.columns:
            reason = f"{', '.join(reference.columns)} refers to a tenant as well: it may be another one"
            yield Blocker("meaning", PLACED, reason)


def way(owned: Owned, oid: int) -> tuple[str, ...]:
    """The path from a child to a table of a tenant."""
    path = owned.places[oid].path
    return tuple(f"{', '.join(each.columns)} → {owned.facts.relations[each.target].full_name}" for each in path)
