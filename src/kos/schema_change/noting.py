"""What a plan says of tables that get another column, and of those whose rows are sent elsewhere."""

from __future__ import annotations

from typing import Any

from kos import errors
from kos.schema_change.draft import Draft
from kos.schema_change.facts import QUERIES
from kos.schema_change.model import Fill, Recipe


def notes(draft: Draft) -> tuple[str, ...]:
    """For people, table by table."""
    found: list[str] = []
    tables = {*draft.fresh, *(table for table, _ in draft.physical)} - draft.created
    for table in sorted(tables):
        columns = _new_columns(draft, table)
        if columns:
            found += _of_column(draft, table)
            found += _of_subscribers(draft, table, columns)
    return tuple(found)


def refuse_unidentified(draft: Draft, recipe: Recipe) -> None:
    """A row that PostgreSQL could not name to subscribers can't be updated, by nobody.

    Raises:
        ChangeRefused: a table whose rows a fill writes is published without a replica identity.
    """
    for each in (*recipe.fill, *recipe.tighten):
        if not isinstance(each, Fill) or each.table in draft.created:
            continue
        facts = {"oid": draft.table(each.table).oid, "deletes": each.delete}
        row: Any = draft.connection.execute(QUERIES.unidentified, facts).fetchone()
        if row is not None:
            part, publication = row
            raise errors.ChangeRefused(
                each.text,
                f"publication {publication} sends its rows, and {part} has no replica identity, as it must",
                f"alter table {part} replica identity full",
            )


def _new_columns(draft: Draft, table: str) -> list[str]:
    """Those that are there from start on."""
    fresh = draft.fresh.get(table, set())
    renamed = {called for (of, called), now in draft.physical.items() if of == table and now not in fresh}
    return sorted(fresh | renamed)


def _of_column(draft: Draft, table: str) -> list[str]:
    fresh = draft.fresh.get(table, set())
    moved = [called for (of, called), now in draft.physical.items() if of == table and now in {*fresh, called}]
    found = [
        f"{table} gets a column: a session that has prepared `select *` of it gets SQLSTATE 0A000 once, "
        "and must prepare again; name the columns, or see that the driver does so",
        f"{table} gets a column: COPY FROM without a list of columns fails from start on, and COPY TO and INSERT … "
        "SELECT * have one more; name the columns",
    ]
    if moved:
        found.append(
            f"{table}.{', '.join(moved)}: the last of the columns from finish on; an INSERT or COPY without a list of "
            "columns writes others then"
        )
    if draft.table(table).kind == "p":
        found.append(
            f"{table} is partitioned: from start on ATTACH PARTITION fails for a table without the new column, after "
            "finish or rollback for one with what is gone then; CREATE TABLE … PARTITION OF does not"
        )
    return found


def _of_subscribers(draft: Draft, table: str, columns: list[str]) -> list[str]:
    rows = draft.connection.execute(QUERIES.publications, {"oid": draft.table(table).oid}).fetchall()
    return [
        f"{table} is in publication {name}: subscribers stop at the first row with a column that they lack; "
        f"add {', '.join(columns)} there before"
        for (name,) in rows
    ]
