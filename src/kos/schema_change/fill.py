"""Rows that get values, batch by batch, while everybody works on.

A fill goes through a table by ranges of its pages, up to the page that was the last one when it began: what is written
afterwards went through the change's triggers, or has values of its own. A batch is one transaction: the rows of some
pages, and the note of how far the fill is. So it can be killed anywhere, and goes on where it was.

Whoever meets a row of a batch waits until that commits, and no longer. A batch that meets somebody's lock gives way,
and comes back with fewer pages; a page that stays locked is put aside until the others are done.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeVar

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from kos import errors
from kos.progress import Advance, silent
from kos.schema_change.blocking import described
from kos.schema_change.facts import Connection
from kos.schema_change.model import Fill
from kos.schema_change.ranges import (
    QUERIES,
    Crossing,
    Part,
    Rewritten,
    Site,
    Size,
    expression,
    facts_of,
    noted,
    pages,
    parts_of,
    reached,
)
from kos.schema_change.throttle import Allowance, Pace

FIRST_PAGES, MOST_PAGES = 64, 32_768
LIMIT = 2.0  # times what a batch is to take, it is ended: those who wait for it would wait too long
PATIENCE = 600.0  # seconds of asking for what somebody keeps locked; resuming asks again
PAUSE, PAUSE_MAX = 0.02, 2.0  # seconds between two attempts, in which those who waited behind us go on
TRIES = 2  # at a single page, before it is put aside
MOST_ASIDE = 100  # pages, before they are returned to
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
    """Fill all rows of a table in one placement, from where an earlier run was. `progress` hears of pages; `pace` tells
    what is waited for.

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

    def __init__(self, site: Site, fill: Fill, pace: Pace, progress: Advance) -> None:
        self.site = site
        self.fill = fill
        self.pace = pace
        self.progress = progress
        self.row = Identifier(fill.table)  # as expressions may call it, also in a partition
        self.size = self.writing = Size(self.first_pages, self.most_pages)  # of what is read, and of what is written
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
            count = sum(last - first for each, _ in self.blocked for first, last in each.aside)
            raise errors.FillBlocked(part.shown, count, blocker)
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
                self._patiently(part.shown, partial(noted, self.site, self.fill, part))
            for part in todo:
                if self.whole(part, self.walk):
                    done[part.oid] = part
            if all(part.oid in done for part in self.parts()):
                done = {oid: part for oid, part in done.items() if self.whole(part, self.return_to)}
            parts = self.parts()

    def parts(self) -> list[Part]:
        """As they are now."""
        return self._patiently(self.fill.table, partial(parts_of, self.site, self.fill))

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
        while part.next_page < part.pages:
            allowed = self.pace.before_batch()
            first = part.next_page
            self.writing.aim(allowed.seconds)
            last = min(first + self.size.within(allowed.rows), part.pages)
            try:
                self.batch(part, first, last, allowed)
            except BUSY:
                self._meets(part, last)
            except TooLong:
                self.size.shrink(last - first, 0.25)
                self.pace.after_batch(0)
            except REFUSED:
                if last - first > 1:
                    self.size.shrink(last - first, 0.5)
                elif self.one_by_one(part, first, last):
                    self._passed(part, last)
                else:
                    self._meets(part, last)
            else:
                self._passed(part, last)

    def batch(self, part: Part, first: int, last: int, allowed: Allowance) -> None:
        """One transaction: these pages, and the note that they are done."""
        began = self.pace.clock()
        with self.transaction() as connection:
            with limited(connection, allowed.seconds * LIMIT if last - first > 1 else None):
                rows = connection.execute(self._statement(part, pages(self.row, first, last))).rowcount
            self.checkpoint(connection, part, part.after(first, last), rows)
        self.pace.after_batch(rows)
        self.size.lasted(last - first, rows, self.pace.clock() - began, allowed.seconds)

    def one_by_one(self, part: Part, first: int, last: int) -> bool:
        """A page of which a row was refused: each of its rows in a transaction of its own. False if one is locked."""
        refused = 0
        try:
            for ctid, row in self._rows(part, first, last):
                place = QUERIES.place.format(row=self.row, ctid=Literal(ctid))
                try:
                    with self.transaction() as connection:
                        count = connection.execute(self._statement(part, place)).rowcount
                        self.checkpoint(connection, part, None, count)
                except REFUSED as error:
                    self.failed(row, error)
                    refused += 1
        except BUSY:
            return False
        if refused and not part.failed:
            part.failed = True
            with self.transaction() as connection:
                self.checkpoint(connection, part, part.after(first, last), 0)
        return True

    def failed(self, row: str, error: Exception) -> None:
        """A row has no value. Where it is everything that fails, that is told before all of it was tried."""
        text = error.diag.message_primary if isinstance(error, psycopg.Error) else None
        kind = "" if isinstance(error, RowRefused) else f"{type(error).__name__}: "
        self.failures[row] = text or f"{kind}{error}".rstrip(": ")
        if len(self.failures) >= MOST_FAILED:
            self.fail_if_any()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A transaction that reaches all rows."""
        try:
            with self.site.transaction(self.way.role) as connection:
                if self.way.access is not None:
                    connection.execute(QUERIES.cross_tenants, {"access": str(self.way.access)})
                if self.way.nested:
                    connection.execute(QUERIES.capture_by_key)
                yield connection
        except psycopg.DatabaseError as error:
            # Of no class that PostgreSQL knows, nor one of ours: the product's own.
            if type(error) is psycopg.DatabaseError and not (error.sqlstate or "KS").startswith("KS"):
                raise RowRefused(error.diag.message_primary) from error
            raise

    def checkpoint(self, connection: Connection, part: Part, page: int | None, rows: int) -> None:
        """Note how far a part is, in the transaction of the batch, as the operator; None: as far as before."""
        connection.execute(QUERIES.act_as_ourselves)
        facts = facts_of(self.site, self.fill, part) | {"next_page": page, "rows": rows}
        if connection.execute(QUERIES.checkpoint, facts).rowcount == 0:
            raise Rewritten

    def names(self, part: Part) -> list[str]:
        """The columns that name a row to people."""
        return [name for (name,) in self.site.connection.execute(QUERIES.key_columns, {"oid": part.oid})]

    def return_to(self, part: Part) -> None:
        """What was put aside, until it is done or patience ends."""
        deadline, pause, blocker = self.pace.clock() + PATIENCE, PAUSE, ""
        while part.aside:
            for first, last in list(part.aside):
                allowed = self.pace.before_batch()
                try:
                    self.batch(part, first, last, allowed)
                except REFUSED:
                    is_done = self.one_by_one(part, first, last)
                except BUSY:
                    is_done = False
                else:
                    is_done = True
                if is_done:
                    part.aside.remove((first, last))
                    deadline, pause = self.pace.clock() + PATIENCE, PAUSE
                else:
                    _, blocker = self._blocker(part, first, last)
            if part.aside:
                if self.pace.clock() > deadline:
                    self.blocked.append((part, blocker))
                    return
                pause = self._pause(blocker, pause)

    def _statement(self, part: Part, where: Composable) -> Composed:
        needs = expression(self.fill.needs)
        if self.fill.delete:
            delete: Composed = QUERIES.delete.format(part=part.identifier, row=self.row, where=where, needs=needs)
            return delete
        each = [SQL("{} = {}").format(Identifier(name), expression(text)) for name, text in self.fill.assign.items()]
        update: Composed = QUERIES.update.format(
            part=part.identifier, row=self.row, assign=SQL(", ").join(each), where=where, needs=needs
        )
        return update

    def _rows(self, part: Part, first: int, last: int) -> list[tuple[str, str]]:
        """All rows of a page, by place and name: what they need may be the very thing that can't be computed."""
        names = self.names(part)
        query = QUERIES.rows_of_range.format(
            part=part.identifier,
            row=self.row,
            columns=texts(self.row, names),
            range=pages(self.row, first, last),
            needs=SQL("true"),
        )
        with self.transaction() as connection:
            rows = connection.execute(query).fetchall()
        return [(ctid, named(names, keys, ctid)) for ctid, _, keys in rows]

    def _passed(self, part: Part, last: int) -> None:
        part.next_page, self._tries = last, 0
        self.progress(part.shown, last, part.pages)
        if len(part.aside) >= MOST_ASIDE:
            self.return_to(part)

    def _meets(self, part: Part, last: int) -> None:
        """Somebody has a lock: fewer pages next time; one page is put aside; the whole table can only be waited for."""
        amount = last - part.next_page
        whole, blocker = self._blocker(part, part.next_page, last)
        self._tries += 1
        if whole:
            self._wait_for_table(part, blocker)
        elif amount > 1:
            self.size.shrink(amount, 0.5)
            self._pause(blocker, PAUSE)
            self._tries = 0
        elif self._tries < TRIES:
            self._pause(blocker, PAUSE)
        else:
            part.aside.append((part.next_page, last))
            self._passed(part, last)

    def _wait_for_table(self, part: Part, blocker: str) -> None:
        deadline, pause, whole = self.pace.clock() + PATIENCE, PAUSE, True
        while whole:
            if self.pace.clock() > deadline:
                raise errors.FillBlocked(part.shown, part.pages - part.next_page, blocker)
            pause = self._pause(blocker, pause)
            whole, now = self._blocker(part, 0, 0)
            blocker = now if whole else blocker

    def _blocker(self, part: Part, first: int, last: int) -> tuple[bool, str]:
        """Whether somebody keeps all writers out; and who has what we wait for. Asked as the owner, who sees what his
        own sessions do."""
        with self.site.transaction(self.fill.owner) as connection:
            row = connection.execute(QUERIES.table_blockers, {"oid": part.oid}).fetchone()
            if row is not None:
                return True, described(*row)
            query = QUERIES.row_blockers.format(
                oid=part.oid, part=part.identifier, row=self.row, range=pages(self.row, first, last)
            )
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
    """End what takes longer; None: however long it takes.

    Raises:
        TooLong: it was ended by that limit, and nobody else.
    """
    connection.execute(QUERIES.limit_batch, {"milliseconds": str(int((seconds or 0) * 1000))})
    began = time.monotonic()
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        if seconds is None or time.monotonic() - began < seconds:
            raise
        raise TooLong from error


def texts(row: Identifier, columns: Iterable[str]) -> Composable:
    """Their values as one array of texts."""
    each = [SQL("{}.{}::text").format(row, Identifier(name)) for name in columns]
    return SQL("array[{}]::text[]").format(SQL(", ").join(each))


def named(columns: Sequence[str], values: Sequence[str], ctid: str) -> str:
    """A row, for people: by its key, or by its place where it has none."""
    return ", ".join(f"{name}={value}" for name, value in zip(columns, values, strict=True)) or f"ctid {ctid}"
