"""Make the plan of a change: what its author wrote, in the light of the catalogs that there are. Reads only."""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from uuid import UUID

import psycopg

from kos import errors
from kos.journal import Run
from kos.schema_change.blocking import blockers
from kos.schema_change.creating import refuse_if_not_allowed
from kos.schema_change.facts import Connection, fingerprint, usual_owner
from kos.schema_change.model import EXPAND, ChangePlan, Placement, Recipe
from kos.schema_change.parse import Change, inside, parse_change, render
from kos.schema_change.placements import Found, by_place, find_placements, look_for_placements, refuse_poolers, scope_of
from kos.schema_change.plan import plan_recipe
from kos.schema_change.site import QUERIES
from kos.tenancy import Store
from kos.tenancy.placement import Place

UNNAMED = "change"  # what is called so is not asked for
PARALLEL = 4  # placements at a time; each has a connection, and two indexes beside each other share the disk
LOOK_SECONDS = 3  # that a table which is locked is waited for

Begun = dict[str, tuple[int, str, str]]  # recipe, phase and state, by schema
_HALF = {(EXPAND, "running"), (EXPAND, "failed")}  # what an attempt that was ended has left


def plan_change(
    store: Store,
    sql: str,
    *,
    name: str = UNNAMED,
    schemas: tuple[str, ...] = (),
    shard: str | None = None,
    database: str | None = None,
    parallel: int = PARALLEL,
    tag: str | None = None,
) -> ChangePlan:
    """What a change would do, and where. `sql` is ordinary DDL; `tag` goes into the names of what is only there while
    the change runs; code asks for the change by its `name`.

    Raises:
        ChangeUnreadable: it is no SQL.
        ChangeNameTaken, ChangeThroughPooler
        ChangeRefused: some of it can't be done online; the error says what to do instead.
        ChangeBlocked: somebody keeps a table locked, also for who only looks at it.
        NoSchema, UnknownShard, StoreUnavailable
    """
    refuse_poolers(store)
    change, tag = parse_change(sql), tag or secrets.token_hex(3)
    if not change.statements:
        raise errors.ChangeUnreadable(1, "there is no statement in it")
    tables = tables_of(change)
    scope = scope_of(store, change, tables, schemas, shard, database)
    recipes: dict[str, Recipe] = {}
    placements: list[Placement] = []
    of_name: dict[UUID, str] = {}
    for place, here in by_place(find_placements(store, scope)).items():
        with _looking(store, place, here) as connection:
            asked = {"name": name, "schemas": [each.schema for each in here]}
            of_name |= dict(connection.execute(QUERIES.of_this_name, asked).fetchall())
            for placement, print_ in _printed(connection, here, tables):
                if print_ not in recipes:
                    # Planners write into the statements: each has its own.
                    recipes[print_] = plan_recipe(connection, placement.schema, parse_change(sql), tag)
                placements.append(replace(placement, recipe=list(recipes).index(print_)))
            refuse_if_not_allowed(connection, [each for each in placements if each.place == place], [*recipes.values()])
    plain = plain_sql(change)
    if name != UNNAMED:
        _refuse_taken(store, name, plain, of_name)
    return ChangePlan(
        name=name,
        sql=sql,
        plain=plain,
        tag=tag,
        scope=scope,
        tables=tables,
        recipes=tuple(recipes.values()),
        fingerprints=tuple(recipes),
        placements=tuple(placements),
        parallel=parallel,
    )


def _refuse_taken(store: Store, name: str, plain: str, of_name: dict[UUID, str]) -> None:
    """Code that asks for a change by its name must not get another one, made there before."""
    with store.operator() as control:
        asked = {"operations": list(of_name), "sql": plain}
        row = control.execute(QUERIES.other_text, asked).fetchone()
    if row is not None:
        raise errors.ChangeNameTaken(name, of_name[row[0]])


def tables_of(change: Change) -> tuple[str, ...]:
    """The tables that a change names, by name: those of its own schema."""
    relations = (node for each in change.statements for node in inside(each.node) if type(node).__name__ == "RangeVar")
    return tuple(sorted({each.relname for each in relations if not each.schemaname}))


def plain_sql(change: Change) -> str:
    """The change in one go, for a schema that has no rows: nothing concurrently."""
    for each in change.statements:
        if hasattr(each.node, "concurrent"):
            each.node.concurrent = False
    return ";\n".join(render(each.node) for each in change.statements)


def late_placements(run: Run[ChangePlan]) -> Found:
    """Those that the change has not been made in yet, each with the recipe for its catalog: they have come since it was
    planned, or gone and come again. A schema of a tenant that can't be entered yet is its maker's, who joins.

    Raises:
        PlacementDiffers: there is none for it.
        ChangeBlocked
    """
    there = look_for_placements(run.store, run.plan.scope)
    found = Found(lost=there.lost)
    for place, here in by_place(there.placements).items():
        try:
            with _looking(run.store, place, here) as connection:
                found.placements.extend(_late(connection, run.plan, run.operation, here))
        except (errors.StoreUnavailable, psycopg.OperationalError) as error:
            found.lost[place] = error
    return found


def _late(connection: Connection, plan: ChangePlan, operation: UUID, here: list[Placement]) -> Iterator[Placement]:
    begun = _begun(connection, operation)
    half = {schema for schema, (_, *at) in begun.items() if tuple(at) in _HALF}
    new = {each.schema for each in here} - begun.keys()
    if plan.scope.shipped:
        new &= {schema for (schema,) in connection.execute(QUERIES.schemas_in_use)}
    fresh = [each for each in here if each.schema in half | new]
    recipes = _recipes(connection, plan, begun, fresh) if fresh else []
    for placement, recipe in zip(fresh, recipes, strict=True):
        if recipe is None:
            raise errors.PlacementDiffers(placement.name)
        yield replace(placement, recipe=recipe)


def find_recipe(connection: Connection, plan: ChangePlan, operation: UUID, placement: Placement) -> Placement | None:
    """A schema with the recipe for its catalog; None if there is none."""
    recipe = _recipes(connection, plan, _begun(connection, operation), [placement])[0]
    return None if recipe is None else replace(placement, recipe=recipe)


def _recipes(connection: Connection, plan: ChangePlan, begun: Begun, here: list[Placement]) -> list[int | None]:
    """Where an earlier attempt has begun, the catalog is not what it was."""
    found: list[int | None] = []
    for placement, print_ in _printed(connection, here, plan.tables):
        if placement.schema in begun:
            found.append(begun[placement.schema][0])
        else:
            found.append(plan.fingerprints.index(print_) if print_ in plan.fingerprints else None)
    return found


@contextmanager
def _looking(store: Store, place: Place, here: list[Placement]) -> Iterator[Connection]:
    """A connection that looks at these placements. PostgreSQL asks for a lock to tell what an index or a size is:
    nobody waits behind that one, but it must have an end."""
    with store.operator(place) as connection:
        connection.execute(QUERIES.limit_look, {"lock_timeout": f"{LOOK_SECONDS}s"})
        try:
            yield connection
        except psycopg.errors.LockNotAvailable as error:
            schemas = [each.schema for each in here]
            who = blockers(
                connection, schemas, None, usual_owner(connection, schemas[0]), modes=["AccessExclusiveLock"]
            )
            name = here[0].name if len(here) == 1 else f"{len(here)} placements of {place.database}"
            raise errors.ChangeBlocked("look at the catalog", name, LOOK_SECONDS, who) from error


def _begun(connection: Connection, operation: UUID) -> Begun:
    rows = connection.execute(QUERIES.placements, {"operation": operation}).fetchall()
    return {schema: (recipe, phase, state) for schema, recipe, phase, state, *_ in rows}


def _printed(connection: Connection, here: list[Placement], tables: tuple[str, ...]) -> list[tuple[Placement, str]]:
    """Each placement with what its tables are like, as text."""
    prints = fingerprint(connection, [each.schema for each in here], list(tables))
    return [(each, json.dumps(prints.get(each.schema), sort_keys=True, default=str)) for each in here]
