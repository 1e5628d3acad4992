"""The rows of a table, in ranges of pages: where they are, how far each part is, and how large the next batch is.

Words: a *part* is a table without partitions, or one of a partitioned table's; a *range* are its pages from one on and
up to another one; a range is put *aside* where it can't be done now, and comes back after the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol
from uuid import UUID

from psycopg.sql import SQL, Composable, Identifier, Literal

from kos import errors, sql
from kos.schema_change.facts import Connection
from kos.schema_change.model import Fill, Placement
from kos.schema_change.parse import tables_of

QUERIES = sql.load("kos.schema_change", "fill.sql")
GROWTH, SHRINKING = 2.0, 0.25  # the most that one batch changes the size of the next


class Site(Protocol):
    """A placement that is worked on: the operator's connection, in autocommit mode, and transactions on it that the
    lease's fence has let in, as a role and with the placement's schema first in the search path."""

    @property
    def placement(self) -> Placement: ...

    @property
    def operation(self) -> UUID: ...

    @property
    def connection(self) -> Connection: ...

    def transaction(self, owner: str | None = None) -> AbstractContextManager[Connection]: ...


@dataclass
class Part:
    """A part: `pages` are those that it had when the fill began, of which those before `next_page` are done, but for
    what was put `aside`, and for rows that have no value, if any `failed`. Where its rows are `hidden` from its owner,
    only the operator gets at all of them; where it is `logged`, events say who has written."""

    oid: int
    schema: str
    name: str
    shown: str
    hidden: bool = False
    logged: bool = False
    filenode: int = 0
    pages: int = 0
    next_page: int = 0
    aside: list[tuple[int, int]] = field(default_factory=list)
    failed: bool = False

    @property
    def identifier(self) -> Identifier:
        """For SQL."""
        return Identifier(self.schema, self.name)

    def after(self, first: int, last: int) -> int:
        """The page before which all is done as soon as this range is. What was put aside is not told apart from what
        comes after it, since to look at filled rows again is cheap; and a row that had no value may be anywhere once
        somebody has mended it, so that a later run begins anew."""
        if self.failed:
            return 0
        left = [at for at, _ in self.aside if not first <= at < last]
        return min([max(self.next_page, last), *left])


@dataclass
class Size:
    """How much of something the next batch takes, so that it takes the time that it may."""

    amount: int
    most: int
    density: float = 0.0  # rows per page, as they were filled last
    seconds: float = 0.0  # that the last one was to take

    def aim(self, seconds: float) -> None:
        """It is to take so long now; for less time than the last one had, it is made smaller at once."""
        if seconds < self.seconds:
            self._set(self.amount * seconds / self.seconds)
        self.seconds = seconds

    def within(self, rows: float | None) -> int:
        """As much as there may be where only so many rows are allowed."""
        if rows is None or not self.density:
            return self.amount
        return max(1, min(self.amount, int(rows / self.density)))

    def lasted(self, amount: int, rows: int, seconds: float, target: float) -> None:
        """Learn from a batch. One that was smaller than it could have been says nothing against larger ones."""
        factor = max(SHRINKING, min(GROWTH, target / max(seconds, 1e-6)))
        if factor < 1 or amount >= self.amount:
            self._set(amount * factor)
        if rows:
            self.density = rows / amount

    def shrink(self, amount: int, factor: float) -> None:
        """That one was too large."""
        self._set(amount * factor)

    def _set(self, amount: float) -> None:
        self.amount = max(1, min(self.most, int(amount)))


class Rewritten(Exception):
    """The table has another file than when its pages were counted: its rows are elsewhere."""


@dataclass(frozen=True)
class Crossing:
    """How rows are reached: as `role`, or as the operator; `access` is where it says why, if anything asks for that.
    Where changes can be `nested`, their capture reads the table again."""

    role: str | None
    access: int | None = None
    nested: bool = False


def parts_of(site: Site, fill: Fill) -> list[Part]:
    """Where a table's rows are now.

    Raises:
        ChangeRefused: a part can't be filled by ranges, or row security hides rows of it.
    """
    facts = {"schema": site.placement.schema, "table": fill.table}
    parts = []
    with site.transaction(fill.owner) as connection:
        rows = connection.execute(QUERIES.parts, facts).fetchall()
    for oid, schema, name, shown, kind, method, hidden, crossed, logged in rows:
        if kind != "r" or method != "heap":
            raise errors.ChangeRefused(
                shown, "it is not stored as a heap, so its rows can't be filled by ranges of pages", "fill it by hand"
            )
        if hidden and not crossed:
            raise errors.ChangeRefused(
                shown,
                f"row security hides rows of it from its owner, {fill.owner}",
                f"alter table {shown} no force row level security",
            )
        parts.append(Part(oid, schema, name, shown, hidden, logged))
    return parts


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


def noted(site: Site, fill: Fill, part: Part) -> None:
    """Note a part as one that is to be filled, and find out how far it is."""
    with site.transaction(fill.owner) as connection:
        row = connection.execute(QUERIES.pages, {"oid": part.oid}).fetchone()
        assert row is not None
        part.filenode = row[0]
        facts = facts_of(site, fill, part) | {"pages": row[1], "filenode": row[0]}
        connection.execute(QUERIES.act_as_ourselves)
        connection.execute(QUERIES.note_part, facts)
        found = connection.execute(QUERIES.find_part, facts).fetchone()
    assert found is not None
    part.next_page, part.pages = found


def facts_of(site: Site, fill: Fill, part: Part) -> dict[str, Any]:
    """What a part's checkpoint is found by."""
    return {
        "operation": site.operation,
        "schema": site.placement.schema,
        "fill": fill.name,
        "part": part.shown,
        "oid": part.oid,
    }


def pages(row: Identifier, first: int, last: int) -> Composable:
    """A condition that reads these pages only."""
    return sql.statement(QUERIES.range, row=row, first=tid(first), last=tid(last))


def tid(page: int) -> Composable:
    """Where a page begins, as SQL."""
    return SQL("{}::tid").format(Literal(f"({page},0)"))


def expression(text: str) -> Composable:
    """SQL of the change's author, which was parsed when it was planned. Only for statements that go without parameters:
    a percent sign is one."""
    return sql.literal(text)
