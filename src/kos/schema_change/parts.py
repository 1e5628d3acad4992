"""The parts of a table that is filled: which there are, how each is gone through, who gets at its rows, and what is
noted of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from psycopg.sql import Identifier

from kos import errors
from kos.schema_change.by_key import ByKey
from kos.schema_change.draft import Draft
from kos.schema_change.facts import Connection
from kos.schema_change.model import Fill, Recipe
from kos.schema_change.parse import tables_of
from kos.schema_change.ranges import QUERIES, ByPages, Part, Point, Site


@dataclass(frozen=True)
class Crossing:
    """How rows are reached: as `role`, or as the operator; `access` is where it says why, if anything asks for that.
    Where changes can be `nested`, their capture reads the table again."""

    role: str | None
    access: int | None = None
    nested: bool = False


def refuse_unreachable(draft: Draft, recipe: Recipe) -> None:
    """While a change is planned.

    Raises:
        ChangeRefused: a table that it fills, or a part of one, can't be gone through.
    """
    for each in (*recipe.fill, *recipe.tighten):
        if isinstance(each, Fill) and each.table not in draft.created:
            _read_parts(draft.connection, draft.schema, each.table)


def parts_of(site: Site, fill: Fill) -> list[Part]:
    """Where a table's rows are now.

    Raises:
        ChangeRefused: a part can't be gone through, or row security hides rows of it.
    """
    with site.transaction(fill.owner) as connection:
        found = _read_parts(connection, site.placement.schema, fill.table)
    for part, crossed in found:
        if part.hidden and not crossed:
            raise errors.ChangeRefused(
                part.shown,
                f"row security hides rows of it from its owner, {fill.owner}, and from the operator",
                f"alter table {part.shown} no force row level security",
            )
    return [part for part, _ in found]


def _read_parts(connection: Connection, schema: str, table: str) -> list[tuple[Part, bool]]:
    """Each with whether the operator has a way of its own to its rows."""
    found: list[tuple[Part, bool]] = []
    rows = connection.execute(QUERIES.parts, {"schema": schema, "table": table}).fetchall()
    for oid, schema_name, name, shown, kind, method, hidden, crossed, logged in rows:
        known = (oid, schema_name, name, shown, Identifier(table), hidden, logged)
        if kind != "r":
            _refuse(shown, kind)
        if method == "heap":
            found.append((ByPages(*known), crossed))
            continue
        key = connection.execute(QUERIES.key, {"oid": oid}).fetchone()
        if key is None:
            raise errors.ChangeRefused(
                shown,
                f"it is stored as {method}, not as a heap, so its rows are filled in the order of a key; and it has no "
                "primary key, nor a unique index over columns that are never null",
                f"before the change: alter table {shown} add primary key (…)",
            )
        index, columns, types = key
        found.append((ByKey(*known, index, columns=tuple(columns), types=tuple(types)), crossed))
    return found


def _refuse(shown: str, kind: str) -> None:
    if kind == "f":
        raise errors.ChangeRefused(
            shown,
            "it is a foreign table: its rows are elsewhere, and aren't filled from here",
            "before the change, detach it from its table, and do the same where its rows are; attach it again when the "
            "change is finished",
        )
    raise errors.ChangeRefused(shown, "it is no table, so it has no rows to fill", "name the table")


def _refuse_hidden(site: Site, fill: Fill, role: str | None) -> None:
    """What isn't seen of a table that an expression asks would be taken for what isn't there.

    Raises:
        ChangeRefused
    """
    asked = {"tables": sorted(tables_of(fill.needs, *fill.assign.values()))}
    if not asked["tables"]:
        return
    with site.transaction(role) as connection:
        row = connection.execute(QUERIES.hidden, asked).fetchone()
    if row is not None:
        raise errors.ChangeRefused(
            row[0],
            f"row security hides rows of it from {role or 'the operator'}, who fills {fill.table}",
            f"alter table {row[0]} no force row level security, until that is done",
        )


@contextmanager
def reached(site: Site, fill: Fill, parts: list[Part]) -> Iterator[Crossing]:
    """How the fill gets at all rows. That it crosses tenants, and what for, is written down before it does: guards and
    events ask for it."""
    hidden = any(part.hidden for part in parts)
    _refuse_hidden(site, fill, None if hidden else fill.owner)
    if not (hidden or any(part.logged for part in parts)):
        yield Crossing(fill.owner)
        return
    given = {"reason": f"change {site.operation}: {fill.text}"}
    row = site.connection.execute(QUERIES.begin_access, given).fetchone()
    assert row is not None
    try:
        parameters = {"parts": [part.oid for part in parts if part.logged]}
        nested = site.connection.execute(QUERIES.nested, parameters).fetchone() == (True,)
        yield Crossing(None if hidden else fill.owner, row[0], nested)
    finally:
        if not site.connection.broken:
            site.connection.execute(QUERIES.end_access, {"access": row[0]})


def note(site: Site, fill: Fill, part: Part, connection: Connection) -> None:
    """Note a part as one that is to be filled, and find out how far it is."""
    part.measure(connection)
    facts = facts_of(site, fill, part) | {"pages": part.pages, "mark": part.mark}
    connection.execute(QUERIES.act_as_ourselves)
    connection.execute(QUERIES.note_part, facts)
    found = connection.execute(QUERIES.find_part, facts).fetchone()
    assert found is not None
    next_page, pages, key = found
    part.go_on(next_page, pages, tuple(key))


def facts_of(site: Site, fill: Fill, part: Part, point: Point | None = None) -> dict[str, Any]:
    """What a part's checkpoint is found by, and says."""
    return {
        "operation": site.operation,
        "schema": site.placement.schema,
        "fill": fill.name,
        "part": part.shown,
        "oid": part.oid,
        "index": part.index,
        "next_page": None if point is None else part.page(point),
        "key": None if point is None else list(point.key),
    }
