"""Rows that get values, batch by batch, while everybody works on.

A fill goes through a table by ranges of its pages, up to the page that was the last one when it began: what is written
afterwards went through the change's triggers, or has values of its own. Where that can't be, it goes in the order of a
key, with ranges of rows. A batch is one transaction: the rows of a range, and the note of how far the fill is. So it
can be killed anywhere, and goes on where it was.

Whoever meets a row of a batch waits until that commits, and no longer. A batch that meets somebody's lock gives way,
and comes back smaller; a page, or a row, that stays locked is put aside until the others are done.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from kos import errors
from kos.progress import Advance, silent
from kos.schema_change.blocking import described
from kos.schema_change.by_key import ByKey
from kos.schema_change.facts import Connection
from kos.schema_change.model import Fill
from kos.schema_change.parts import Crossing, facts_of, note, parts_of, reached
from kos.schema_change.ranges import (
    QUERIES,
    ByPages,
    Part,
    Point,
    Range,
    Rewritten,
    Site,
    Size,
    expression,
    texts,
)
from kos.schema_change.throttle import Allowance, Pace

FIRST_PAGES, MOST_PAGES = 64, 32_768
FIRST_ROWS, MOST_ROWS = 1024, 1_048_576  # of a range of keys
LIMIT = 2.0  # times what a batch is to take, it is ended: those who wait for it would wait too long
OF_LIMIT = 0.9  # and ended after so much of it, it was the limit: the server goes by another clock
PATIENCE = 600.0  # seconds of asking for what somebody keeps locked; resuming asks again
PAUSE, PAUSE_MAX = 0.02, 2.0  # seconds between two attempts, in which those who waited behind us go on
TRIES = 2  # at a single page or row, before it is put aside
MOST_ASIDE = 100  # of them, before they are returned to
MOST_FAILED = 1000  # rows, after which nobody would read about more

BUSY = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure)


class RowRefused(Exception):
    """By a trigger, with an SQLSTATE of its own."""


REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.RaiseException,
    psycopg.errors.CardinalityViolation,
    RowRefused,
)

Found = TypeVar("Found")


class TooLong(Exception):
    """A batch was ended for the sake of those who may wait for it."""


def fill_rows(site: Site, fill: Fill, pace: Pace, progress: Advance = silent) -> None:
    """Fill all rows of a table in one placement, from where an earlier run was. `progress` hears of pages.

    Raises:
        FillFailed: of some rows; all others are filled. A later run takes up those that are not.
        FillBlocked: somebody kept rows locked all the while; the same.
        FillUnloadable, ThrottleBlind, ChangeRefused: nothing is filled.
    """
    if fill.python is None:
        Filling(site, fill, pace, progress).run()
    else:
        from kos.schema_change.fill_python import PythonFilling  # it builds on this module

        PythonFilling(site, fill, pace, progress).run()


class Filling:
    """One fill in one placement, by SQL expressions."""

    first_pages, most_pages = FIRST_PAGES, MOST_PAGES
    first_rows, most_rows = FIRST_ROWS, MOST_ROWS

    def __init__(self, site: Site, fill: Fill, pace: Pace, progress: Advance) -> None:
        self.site = site
        self.fill = fill
        self.pace = pace
        self.progress = progress
        self.sizes = {
            ByPages.unit: Size(self.first_pages, self.most_pages),
            ByKey.unit: Size(self.first_rows, self.most_rows, density=1.0),
        }
        self.way = Crossing(fill.owner)
        self.failures: dict[str, str] = {}  # what names a row, and why it has no value
        self.blocked: list[tuple[Part, str]] = []
        self._tries = 0

    @property
    def column(self) -> str:
        """What is filled, for people."""
        return self.fill.column or ", ".join(self.fill.assign)

    def run(self) -> None:
        """Everything that is to be done, then what could not be."""
        parts = self.parts()
        with reached(self.site, self.fill, parts) as self.way:
            self.work(parts)
        if self.blocked:
            part, blocker = self.blocked[0]
            count = sum(len(each.aside) for each, _ in self.blocked if each.unit == part.unit)
            raise errors.FillBlocked(part.shown, count, blocker, part.unit)
        self.fail_if_any()

    def fail_if_any(self) -> None:
        """Tell of rows that have no value."""
        for row, error in self.failures.items():
            table = f"{self.site.placement.schema}.{self.fill.table}"
            raise errors.FillFailed(table, self.column, row, error, len(self.failures))

    def work(self, parts: list[Part]) -> None:
        """One pass over all parts, and over those that come meanwhile."""
        done: dict[int, Part] = {}
        while todo := [part for part in parts if part.oid not in done]:
            for part in todo:
                self._patiently(part.shown, partial(self._note, part))
            for part in todo:
                if self.whole(part, self.walk):
                    done[part.oid] = part
            parts = self.parts()
            if any(part.aside for part in done.values()) and all(part.oid in done for part in parts):
                done = {oid: part for oid, part in done.items() if self.whole(part, self.return_to)}
                parts = self.parts()

    def parts(self) -> list[Part]:
        """As they are now."""
        return self._patiently(self.fill.table, partial(parts_of, self.site, self.fill))

    def _note(self, part: Part) -> None:
        with self.transaction(part) as connection:
            note(self.site, self.fill, part, connection)

    def whole(self, part: Part, work: Callable[[Part], None]) -> bool:
        """Work through a part; False if it has to be begun anew, or is gone."""
        try:
            work(part)
        except Rewritten:
            return False
        except psycopg.errors.UndefinedTable:
            if any(part.oid == each.oid for each in self.parts()):
                raise
            return False
        return True

    def walk(self, part: Part) -> None:
        """From where the part is to its end."""
        size = self.sizes[part.unit]
        while not part.is_done:
            allowed = self.pace.before_batch()
            self.aim(size, allowed.seconds)
            rows = self._patiently(part.shown, partial(part.next, self.transaction, size.within(allowed.rows)))
            try:
                self.batch(part, rows, allowed)
            except BUSY:
                self._meets(part, rows)
            except TooLong:
                size.shrink(rows.amount, 0.25)
                self.pace.after_batch(0)
            except REFUSED:
                if rows.amount > 1:
                    size.shrink(rows.amount, 0.5)
                elif self.one_by_one(part, rows):
                    self._passed(part, rows.last)
                else:
                    self._meets(part, rows)
            else:
                self._passed(part, rows.last)

    def aim(self, size: Size, seconds: float) -> None:
        """The next range is to take so long."""
        size.aim(seconds)

    def batch(self, part: Part, rows: Range, allowed: Allowance) -> None:
        """One transaction: this range, and the note that it is done."""
        began = self.pace.clock()
        with self.transaction(part) as connection:
            with limited(connection, allowed.seconds * LIMIT if rows.amount > 1 else None):
                count = connection.execute(self._statement(part, part.within(rows))).rowcount
            self.checkpoint(connection, part, part.after(rows), count)
        self.pace.after_batch(count)
        self.sizes[part.unit].lasted(rows.amount, count, self.pace.clock() - began, allowed.seconds)

    def one_by_one(self, part: Part, rows: Range) -> bool:
        """A range of which a row was refused: each of its rows in a transaction of its own. False if one is locked."""
        refused = 0
        try:
            for place, row in self._rows(part, rows):
                try:
                    with self.transaction(part) as connection:
                        count = connection.execute(self._statement(part, part.is_at(Literal(place)))).rowcount
                        self.checkpoint(connection, part, None, count)
                except REFUSED as error:
                    self.failed(row, error)
                    refused += 1
        except BUSY:
            return False
        if refused and not part.failed:
            part.failed = True
            with self.transaction(part) as connection:
                self.checkpoint(connection, part, part.after(rows), 0)
        return True

    def failed(self, row: str, error: Exception) -> None:
        """A row has no value. Where it is everything that fails, that is told before all of it was tried."""
        text = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        kind = "" if isinstance(error, RowRefused) else f"{type(error).__name__}: "
        self.failures[row] = text or f"{kind}{error}".rstrip(": ")
        if len(self.failures) >= MOST_FAILED:
            self.fail_if_any()

    @contextmanager
    def transaction(self, part: Part) -> Iterator[Connection]:
        """A transaction that reaches all rows of a part."""
        try:
            with self.site.transaction(self.way.role) as connection:
                if self.way.access is not None:
                    connection.execute(QUERIES.cross_tenants, {"access": str(self.way.access)})
                if self.way.nested:
                    connection.execute(QUERIES.capture_by_key)
                part.prepare(connection)
                yield connection
        except psycopg.DatabaseError as error:
            # Of no class that PostgreSQL knows, nor one of ours: the product's own.
            if type(error) is psycopg.DatabaseError and not (error.sqlstate or "KS").startswith("KS"):
                raise RowRefused(error.diag.message_primary) from error
            raise

    def checkpoint(self, connection: Connection, part: Part, point: Point | None, rows: int) -> None:
        """Note how far a part is, in the transaction of the batch, as the operator; None: as far as before."""
        connection.execute(QUERIES.act_as_ourselves)
        facts = facts_of(self.site, self.fill, part, point) | {"rows": rows}
        if connection.execute(QUERIES.checkpoint, facts).rowcount == 0:
            raise Rewritten

    def return_to(self, part: Part) -> None:
        """What was put aside, until it is done or patience ends."""
        deadline, pause, blocker = self.pace.clock() + PATIENCE, PAUSE, ""
        while part.aside:
            for rows in list(part.aside):
                allowed = self.pace.before_batch()
                try:
                    self.batch(part, rows, allowed)
                except REFUSED:
                    is_done = self.one_by_one(part, rows)
                except BUSY:
                    is_done = False
                else:
                    is_done = True
                if is_done:
                    part.aside.remove(rows)
                    deadline, pause = self.pace.clock() + PATIENCE, PAUSE
                else:
                    _, blocker = self._blocker(part, rows)
            if part.aside:
                if self.pace.clock() > deadline:
                    self.blocked.append((part, blocker))
                    return
                pause = self._pause(blocker, pause)

    def _statement(self, part: Part, where: Composable) -> Composed:
        each = [SQL("{} = {}").format(Identifier(name), expression(text)) for name, text in self.fill.assign.items()]
        query: SQL = QUERIES.delete if self.fill.delete else QUERIES.update
        return query.format(
            part=part.identifier,
            row=part.row,
            assign=SQL(", ").join(each),
            where=where,
            needs=expression(self.fill.needs),
        )

    def _rows(self, part: Part, rows: Range) -> list[tuple[str, str]]:
        """All rows of a range, by place and name: what they need may be the very thing that can't be computed."""
        return [(place, named(key, place)) for place, _, key in self.read(part, part.within(rows), SQL("true"))]

    def read(self, part: Part, where: Composable, needs: Composable, columns: Sequence[str] = ()) -> list[Any]:
        """Place, version and key of each row that is meant, and the values of these columns."""
        names = part.names(self.site.connection)
        values = [SQL("{}.{}").format(part.row, Identifier(column)) for column in columns]
        query = QUERIES.rows_of_range.format(
            part=part.identifier,
            row=part.row,
            place=part.place(),
            version=part.version(columns),
            columns=SQL(", ").join([texts(part.row, names), *values]),
            where=where,
            needs=needs,
        )
        with self.transaction(part) as connection:
            found = connection.execute(query).fetchall()
        return [(place, version, dict(zip(names, keys, strict=True)), *rest) for place, version, keys, *rest in found]

    def _passed(self, part: Part, point: Point) -> None:
        part.at, self._tries = point, 0
        self.progress(part.shown, part.page(point), part.pages)
        if len(part.aside) >= MOST_ASIDE:
            self.return_to(part)

    def _meets(self, part: Part, rows: Range) -> None:
        """Somebody has a lock: a smaller range next time; the smallest is put aside; the whole table can only be waited
        for."""
        whole, blocker = self._blocker(part, rows)
        self._tries += 1
        if whole:
            self._wait_for_table(part, blocker)
        elif rows.amount > 1:
            self.sizes[part.unit].shrink(rows.amount, 0.5)
            self._pause(blocker, PAUSE)
            self._tries = 0
        elif self._tries < TRIES:
            self._pause(blocker, PAUSE)
        else:
            part.aside.append(rows)
            self._passed(part, rows.last)

    def _wait_for_table(self, part: Part, blocker: str) -> None:
        deadline, pause, whole = self.pace.clock() + PATIENCE, PAUSE, True
        while whole:
            if self.pace.clock() > deadline:
                raise errors.FillBlocked(part.shown, part.pages - part.page(part.at), blocker)
            pause = self._pause(blocker, pause)
            whole, now = self._blocker(part, Range(part.at, part.at))
            blocker = now if whole else blocker

    def _blocker(self, part: Part, rows: Range) -> tuple[bool, str]:
        """Whether somebody keeps all writers out; and who has what we wait for. Asked as the owner, who sees what his
        own sessions do."""
        with self.site.transaction(self.fill.owner) as connection:
            row = connection.execute(QUERIES.table_blockers, {"oid": part.oid}).fetchone()
            if row is not None:
                return True, described(*row)
            query = QUERIES.row_blockers.format(oid=part.oid, holders=part.holders(rows))
            try:
                with connection.transaction():
                    row = connection.execute(query).fetchone()
            except BUSY:
                row = None
        return False, described(*row) if row else "somebody who is gone now"

    def _pause(self, blocker: str, seconds: float) -> float:
        """Let those go on who waited behind us, each time for longer; and not as long as others who do the same."""
        self.pace.rest(f"blocked by {blocker}", f"waiting for {blocker}", seconds * random.uniform(0.5, 1.0))  # noqa: S311
        return min(seconds * 1.5, PAUSE_MAX)

    def _patiently(self, what: str, work: Callable[[], Found]) -> Found:
        """Work that needs the table for a moment."""
        deadline, pause = self.pace.clock() + PATIENCE, PAUSE
        while True:
            try:
                return work()
            except BUSY as error:
                if self.pace.clock() > deadline:
                    raise errors.FillBlocked(what, 0, "somebody who has the whole table") from error
            pause = self._pause("somebody who has the whole table", pause)


@contextmanager
def limited(connection: Connection, seconds: float | None) -> Iterator[None]:
    """End what takes longer, and nothing that comes after it; None: however long it takes.

    Raises:
        TooLong: it was ended by that limit, and nobody else.
    """
    connection.execute(QUERIES.limit_batch, {"milliseconds": str(int((seconds or 0) * 1000))})
    began = time.monotonic()
    try:
        yield
        connection.execute(QUERIES.limit_batch, {"milliseconds": "0"})  # under the limit itself
    except psycopg.errors.QueryCanceled as error:
        if seconds is None or time.monotonic() - began < OF_LIMIT * seconds:
            raise
        raise TooLong from error


def named(key: Mapping[str, str], place: str) -> str:
    """A row, for people: by its key, or by its place where it has none."""
    return ", ".join(f"{name}={value}" for name, value in key.items()) or f"ctid {place}"
