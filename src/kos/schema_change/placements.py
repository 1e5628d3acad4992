"""Where a change is made: one schema, some of a database, or those of all tenants wherever they are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import psycopg

from kos import errors
from kos.knowledge import TENANT_TABLES
from kos.schema_change.facts import Connection
from kos.schema_change.model import Placement, Scope
from kos.schema_change.parse import Change
from kos.schema_change.site import QUERIES
from kos.tenancy import Store
from kos.tenancy.placement import Place, control_place, places, shard_named
from kos.tenancy.schema_files import schemas_here

DEFAULT_SCHEMA = "public"

Lost = dict[Place, Exception]
"""Databases that could not be reached, or asked, and why."""


@dataclass(frozen=True)
class Found:
    """Placements, and the databases of which nobody can tell now which of theirs there are."""

    placements: list[Placement] = field(default_factory=list)
    lost: Lost = field(default_factory=dict)


def scope_of(
    store: Store,
    change: Change,
    tables: tuple[str, ...],
    schemas: tuple[str, ...],
    shard: str | None,
    database: str | None,
) -> Scope:
    """What a change is for, by what its author has said: schemas, by name or pattern (`tenant_*`); else the schema that
    its statements name; else, where its tables are those that kos ships, all tenants'; else `public`."""
    at = shard_named(store.topology, shard) if shard else store.topology.control
    place = Place(at.name, database or at.primary.database)
    if schemas:
        return Scope(*place, schemas)
    if change.schema:
        return Scope(*place, (change.schema,))
    if shard is None and database is None and set(tables) & set(TENANT_TABLES):
        return Scope(*control_place(store.topology), (), shipped=True)
    return Scope(*place, (DEFAULT_SCHEMA,))


def refuse_poolers(store: Store) -> None:
    """What a change sets for its session, and what runs outside of transactions, would go to anybody's behind one.

    Raises:
        ChangeThroughPooler
    """
    for shard in store.topology.shards:
        if shard.primary.pooler:
            raise errors.ChangeThroughPooler(shard.primary.address)


def find_placements(store: Store, scope: Scope) -> list[Placement]:
    """All that are there now, by database.

    Raises:
        NoSchema: nothing matches.
        StoreUnavailable
    """
    found = look_for_placements(store, scope)
    for error in found.lost.values():
        raise error
    return found.placements


def look_for_placements(store: Store, scope: Scope) -> Found:
    """The same, of the databases that can be reached.

    Raises:
        NoSchema: nothing matches.
    """
    found = Found()
    for place in _places(store, scope):
        try:
            with store.operator(place) as operator:
                found.placements.extend(Placement(*place, schema) for schema in _schemas(operator, scope))
        except (errors.StoreUnavailable, psycopg.OperationalError) as error:
            found.lost[place] = error
    if not (found.placements or found.lost):
        raise errors.NoSchema(", ".join(scope.schemas), scope.database)
    return found


def _places(store: Store, scope: Scope) -> Sequence[Place]:
    if not scope.shipped:
        return [Place(scope.shard, scope.database)]
    with store.control() as control:
        return places(store.topology, control)


def _schemas(operator: Connection, scope: Scope) -> list[str]:
    if scope.shipped:
        return [schema for schema in schemas_here(operator) if schema != "kos"]
    patterns = [_like(each) for each in scope.schemas]
    return [schema for (schema,) in operator.execute(QUERIES.schemas_like, {"patterns": patterns}).fetchall()]


def _like(pattern: str) -> str:
    """A shell's pattern as LIKE has it."""
    plain = pattern.replace("\\", "\\\\").replace("_", "\\_").replace("%", "\\%")
    return plain.replace("*", "%").replace("?", "_")


def by_place(placements: list[Placement] | tuple[Placement, ...]) -> dict[Place, list[Placement]]:
    """Those of one database together."""
    found: dict[Place, list[Placement]] = defaultdict(list)
    for each in placements:
        found[each.place].append(each)
    return found
