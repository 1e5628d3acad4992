"""A constraint that is added NOT VALID, and not proved yet, binds whoever writes: also who updates an old row that
violates it. So it is added when no such row is to be seen, and taken away again whenever its proof fails: who finishes
a change is told of the rows, and the application goes on as before."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

import psycopg
from psycopg.sql import SQL, Identifier, Literal

from kos import errors, sql
from kos.schema_change import act
from kos.schema_change.model import Action, Fill
from kos.schema_change.site import QUERIES, Site
from kos.schema_change.watching import watched

TOLD = 5  # rows


@contextmanager
def naming_rows(site: Site, action: Action) -> Iterator[None]:
    """Around what adds a constraint, or proves one. Looking takes no lock that anybody waits for.

    Raises:
        ChangeFailed: there are rows in its way, which it names.
    """
    if action.against and not action.scans and act.is_to_do(site, action):
        with act.told(site, action):
            rows = _rows_against(site, action)
        if rows:
            raise errors.ChangeFailed(action.text, site.placement.name, f"violated by {rows}", "mend the rows")
    try:
        yield
    except errors.ChangeFailed as error:
        if not (action.against and action.scans and isinstance(error.__cause__, psycopg.IntegrityError)):
            raise
        rows = ""
        with suppress(psycopg.Error, errors.ChangeBlocked):
            rows = _rows_against(site, action)
        reason = ": ".join(filter(None, (error.reason, rows)))
        raise errors.ChangeFailed(error.what, error.placement, reason, error.instead) from error.__cause__


def _rows_against(site: Site, action: Action) -> str:
    """Some of the rows in the way of an action, for people; "" where none are, or where its owner can't see all."""
    found: list[str] = []

    def look(site: Site, action: Action, lock_timeout: str, _: bool) -> None:
        with site.transaction(action.owner, lock_timeout) as connection:
            asked = site.facts | {"table": action.table}
            keys = [name for (name,) in connection.execute(QUERIES.key_of, asked).fetchall()] or ["ctid"]
            table = Identifier(action.table)
            values = [SQL("{}.{}::text").format(table, Identifier(key)) for key in keys]
            connection.execute(QUERIES.see_all_rows)
            query = QUERIES.rows_against.format(
                keys=SQL(", ").join(values), table=table, against=sql.literal(action.against), most=Literal(TOLD + 1)
            )
            rows = connection.execute(query).fetchall()
            found.extend(", ".join(f"{key}={value}" for key, value in zip(keys, row, strict=True)) for row in rows)

    try:
        with watched(site, action, tells=False):
            act.patiently(site, action, look)
    except psycopg.errors.InsufficientPrivilege:
        return ""
    return "; ".join([*found[:TOLD], *(["…"] if len(found) > TOLD else [])])


def take_away(site: Site, items: Sequence[Action | Fill]) -> None:
    """What is added and not proved. What was filled, or cleaned up, under it is looked through again next time."""
    for number, proof in reversed([*enumerate(items)]):
        if not isinstance(proof, Action) or proof.proves is None or act.is_done(site, proof.name):
            continue
        first = next(place for place, each in enumerate(items) if each.name == proof.proves)
        bind = items[first]
        if not isinstance(bind, Action) or not act.is_done(site, bind.name):
            continue
        act.undo(site, bind)
        for each in items[first:number]:
            if isinstance(each, Fill):
                with site.transaction() as connection:
                    connection.execute(QUERIES.repeat_fill, site.facts | {"fill": each.name})
