"""What hangs on a column that another takes the place of: it is made anew as it was when that was planned."""

from __future__ import annotations

from collections.abc import Iterator

from kos import errors
from kos.schema_change.facts import Connection, Table, read_table
from kos.schema_change.model import Hanging, Recipe
from kos.schema_change.site import Site
from kos.schema_change.trees import own_of_partitions

OURS = "kos_"


def hanging(connection: Connection, facts: Table, column: str) -> Hanging:
    """What hangs on a column now."""
    on = sorted([*_on(facts, column), *own_of_partitions(connection, facts, column)])
    return Hanging(facts.name, column, facts.owner, tuple(on))


def _on(facts: Table, column: str) -> Iterator[str]:
    known = facts.columns[column]
    if known.default is not None:
        yield f"default {known.default}"
    if known.not_null:
        yield "not null"
    for of, kind, name in facts.readers:
        if of == column:
            yield f"{kind} {name}"
    for of, name, text in facts.referred_by:
        if not name.startswith(OURS):
            yield f"foreign key {name} of {of}: {text}"
    for each in facts.constraints.values():
        if column in each.columns and not each.name.startswith(OURS):
            yield f"constraint {each.name}: {each.definition}"
    for index in facts.indexes.values():
        if column in index.columns and not index.name.startswith(OURS):
            yield index.definition


def refuse_changed(site: Site, recipe: Recipe) -> None:
    """What somebody has added since would be gone at the end, and what he has dropped would be there again.

    Raises:
        ChangeFailed
    """
    for planned in recipe.hanging:
        with site.transaction(planned.owner) as connection:
            facts = read_table(connection, site.placement.schema, planned.table)
            if facts is None or planned.column not in facts.columns:
                continue
            now = hanging(connection, facts, planned.column)
        differing = sorted(set(now.on) ^ set(planned.on))
        if differing:
            raise errors.ChangeFailed(
                f"{planned.table}.{planned.column}",
                site.placement.name,
                f"not as it was when the change was planned: {'; '.join(differing)}",
                "make it so again",
            )
