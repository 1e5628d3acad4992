"""Where a change is made: one schema, some of a database, or those of all tenants wherever they are."""

from __future__ import annotations

from collections import defaultdict

from kos import errors
from kos.knowledge import TENANT_TABLES
from kos.schema_change.model import Placement, Scope
from kos.schema_change.parse import Change
from kos.schema_change.site import QUERIES
from kos.tenancy import Store
from kos.tenancy.placement import Place, control_place, places, shard_named
from kos.tenancy.schema_files import schemas_here

DEFAULT_SCHEMA = "public"


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


def find_placements(store: Store, scope: Scope) -> list[Placement]:
    """All that are there now, by database.

    Raises:
        NoSchema: nothing matches.
    """
    found = _shipped(store) if scope.shipped else _named(store, scope)
    if not found:
        raise errors.NoSchema(", ".join(scope.schemas), scope.database)
    return found


def _shipped(store: Store) -> list[Placement]:
    with store.control() as control:
        here = places(store.topology, control)
    found = []
    for place in here:
        with store.operator(place) as operator:
            found += [Placement(*place, schema) for schema in schemas_here(operator) if schema != "kos"]
    return found


def _named(store: Store, scope: Scope) -> list[Placement]:
    patterns = [_like(each) for each in scope.schemas]
    with store.operator(Place(scope.shard, scope.database)) as operator:
        rows = operator.execute(QUERIES.schemas_like, {"patterns": patterns}).fetchall()
    return [Placement(scope.shard, scope.database, schema) for (schema,) in rows]


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
