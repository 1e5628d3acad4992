"""The rows that a table has already: copied into its log, in batches by key, while the product works on.

A batch locks its rows first, and reads them again in a second statement: so what it logs is what they are, after all
that was logged of them before.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any

from psycopg.sql import Identifier

from kos import errors, sql
from kos.adoption.facts import Connection
from kos.adoption.tables import QUERIES, expect, patiently
from kos.log import Room

if TYPE_CHECKING:
    from kos.adoption.adopt import AdoptPlan, Taken
    from kos.journal import Run

BATCH = 2000
PENDING_BYTES = 64 * 1024 * 1024  # of what waits for its position; then that comes first


def copy_rows(run: Run[AdoptPlan]) -> None:
    """Copy the rows that are there into the log, where the baseline is full (it is {baseline})."""
    if run.plan.baseline != "full":
        return
    most = run.kept.get("pending_bytes", PENDING_BYTES)
    room = Room(run.store, run.place, run.progress, at_most=most)
    at = run.cursor or {"table": 0, "after": None, "rows": 0}
    while at["table"] < run.plan.count:
        table = run.plan.tables[at["table"]]
        at = _batch(run, table, at)
        run.advance(at["rows"], what=f"rows of {table.name} copied into the log")
        room.make(run.fences.connection(run.place))


def leave_rows(run: Run[AdoptPlan]) -> None:
    """What was logged stays in the log."""


def _batch(run: Run[AdoptPlan], table: Taken, at: dict[str, Any]) -> dict[str, Any]:
    """One batch, and where the next one begins."""
    with run.transaction() as connection:
        expect(connection, table, run.plan.database)
    later: dict[str, Any] = {}

    def copy() -> None:
        with run.transaction() as connection:
            rows, last, ended = _locked(connection, run, table, at["after"])
            for part, ids in _by_part(rows).items():
                _refuse_hidden(connection, table, part)
                connection.execute(QUERIES.log_baseline, {"part": part, "rows": ids})
            if ended:
                connection.execute(QUERIES.complete_baseline, {"table": table.oid})
            later.update(table=at["table"] + ended, after=None if ended else last, rows=at["rows"] + len(rows))
            run.checkpoint(later, done=later["rows"])

    patiently(run.transaction, table, copy)
    return later


def _locked(
    connection: Connection, run: Run[AdoptPlan], table: Taken, after: list[str] | None
) -> tuple[list[tuple[int, str]], list[str] | None, bool]:
    """The next rows, partition and place of each, locked until the end of the transaction; the last key that was looked
    at; and whether it is the table's."""
    given = {"table": table.oid, "after": after, "upto": None, "limit": run.kept.get("batch", BATCH)}
    connection.execute(QUERIES.wait_briefly)
    keys = _as_owner(connection, table, given)
    if not keys:
        return [], None, True
    given["upto"] = list(keys[-1][0])
    rows = _as_owner(connection, table, given)
    return rows, given["upto"], len(keys) < given["limit"]


def _as_owner(connection: Connection, table: Taken, given: dict[str, Any]) -> list[Any]:
    query = connection.execute(QUERIES.baseline_query, given).fetchone()
    assert query is not None
    connection.execute(QUERIES.act_as.format(role=Identifier(table.owner)))
    if connection.execute(QUERIES.sees_all, {"table": table.oid}).fetchone() != (True,):
        raise errors.RowsHidden(table.name, table.owner)
    rows = connection.execute(sql.literal(query[0])).fetchall()
    connection.execute(QUERIES.act_as_ourselves)
    return rows


def _refuse_hidden(connection: Connection, table: Taken, part: int) -> None:
    """The copy is made with the rights of kos, under which policies count that its owner has made since the plan."""
    found = connection.execute(QUERIES.what_hides_rows, {"part": part}).fetchone()
    if found is not None and found[0] is not None:
        raise errors.TableUnsuitable(table.name, found[0])


def _by_part(rows: list[tuple[int, str]]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = defaultdict(list)
    for part, place in rows:
        found[part].append(place)
    return found
