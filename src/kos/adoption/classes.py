"""Which table is whose: by its column, by its references, or nobody's. Pure functions over the facts."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass

from kos import errors
from kos.adoption.facts import Column, Facts, Reference

CANDIDATES = (
    "tenant_id",
    "account_id",
    "organization_id",
    "organisation_id",
    "org_id",
    "company_id",
    "customer_id",
    "workspace_id",
)


@dataclass(frozen=True)
class Place:
    """How a table belongs to a tenant: `of_class`, its column if it has one, else the way to a table that has."""

    of_class: str
    column: Column | None = None
    path: tuple[Reference, ...] = ()


def choose_column(facts: Facts, wanted: str | None) -> str:
    """The tenant column's name: the one asked for, else the one that most tables have.

    Raises:
        UnknownTenantColumn, NoTenantColumn
    """
    tables = {oid for oid, relation in facts.relations.items() if relation.kind in "rp" and relation.root is None}
    counts = Counter(name for oid, name in facts.columns if oid in tables)
    if wanted is not None:
        if not counts[wanted]:
            raise errors.UnknownTenantColumn(wanted, facts.here.database)
        return wanted
    if not counts:
        raise errors.NoTenantColumn(facts.here.database, ", ".join(CANDIDATES))
    return max(CANDIDATES, key=lambda name: counts[name])


def classify(facts: Facts, name: str) -> dict[int, Place]:
    """The place of every table. What can't be taken in as it is has a place nevertheless."""
    places: dict[int, Place] = {}
    for oid, relation in facts.relations.items():
        column = facts.columns.get((oid, name))
        if relation.root is not None:
            places[oid] = Place("partition", column)
        elif column is not None:
            places[oid] = Place("tenant", column)
    for oid, column in _roots(facts, places, name).items():
        places[oid] = Place("root", column)
    for oid, path in _paths(facts, places).items():
        places[oid] = Place("child", None, path)
    return {oid: places.get(oid, Place("shared")) for oid in facts.relations}


def _roots(facts: Facts, places: dict[int, Place], name: str) -> dict[int, Column]:
    """Tables whose key the tenant column refers to: each of their rows is a tenant."""
    found: dict[int, Column] = {}
    for reference in facts.references:
        place = places.get(reference.source)
        if place and place.column and reference.columns == (name,) and reference.target not in places:
            found[reference.target] = Column(reference.target, reference.refers_to[0], place.column.type, True)
    return found


def _paths(facts: Facts, places: dict[int, Place]) -> dict[int, tuple[Reference, ...]]:
    """The shortest way from each other table to one of a tenant; over columns that are never null, if there is one."""
    found: dict[int, tuple[Reference, ...]] = {}
    for references in ([each for each in facts.references if each.not_null], list(facts.references)):
        towards: dict[int, list[Reference]] = {}
        for reference in references:
            towards.setdefault(reference.target, []).append(reference)
        reached = deque(oid for oid in facts.relations if oid in found or oid in places)
        while reached:
            target = reached.popleft()
            for reference in towards.get(target, ()):
                if reference.source not in places and reference.source not in found:
                    found[reference.source] = (reference, *found.get(target, ()))
                    reached.append(reference.source)
    return found
