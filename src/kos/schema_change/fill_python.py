"""Values that a Python function gives: read, computed outside of any transaction, and written to rows that are still
what the function was given.

A row that changed meanwhile keeps what it has, and is computed anew in the next pass. One that always changes is locked
in the end, and gets the value that is of what it has then. A row for which the function raises or has no value is told
of at the end, and all others are filled.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial, reduce
from threading import Lock
from typing import Any

import psycopg
from psycopg.adapt import PyFormat, Transformer
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from kos import errors
from kos.progress import Advance
from kos.schema_change.facts import Connection
from kos.schema_change.fill import BUSY, LIMIT, PATIENCE, PAUSE, REFUSED, Filling, RowRefused, TooLong, limited, named
from kos.schema_change.model import Fill
from kos.schema_change.ranges import QUERIES, Part, Point, Range, Site, Size, expression
from kos.schema_change.throttle import Allowance, Pace

CALL_SECONDS = 1.0  # of calls between two writes: so much is computed again after a kill, and may be stale by then
FIRST_ROWS, MOST_ROWS = 16, 4096
PASSES = 5  # rows that were changed in each of them are locked; also attempts at such a row, if the function is slow

_importing = Lock()
_VECTORS = {"vector", "halfvec"}
_DOCUMENTS = {"json", "jsonb"}

Function = Callable[..., Any]


@dataclass(frozen=True)
class Row:
    """A row as it was read, where it is, and as what; `value` is what it is to get. `key` finds it also elsewhere."""

    place: str
    version: str
    name: str
    inputs: tuple[Any, ...]
    value: str = ""
    key: Mapping[str, str] = field(default_factory=dict)

    def is_this(self, part: Part) -> Composable:
        """The condition for a row of the part to be this one."""
        each = [SQL("{}.{} = {}").format(part.row, Identifier(name), Literal(text)) for name, text in self.key.items()]
        return SQL(" and ").join(each) if each else part.is_at(Literal(self.place))


def load(name: str) -> Function:
    """`module:function`, where the module may be in the current folder.

    Raises:
        FillUnloadable
    """
    module, _, path = name.partition(":")
    here = os.getcwd()
    with _importing:
        sys.path.insert(0, here)
        try:
            function = reduce(getattr, path.split("."), importlib.import_module(module))
        except Exception as error:
            raise errors.FillUnloadable(name, f"{type(error).__name__}: {error}") from error
        finally:
            sys.path.remove(here)
    if not callable(function):
        raise errors.FillUnloadable(name, "it can't be called")
    return function


class PythonFilling(Filling):
    """One fill in one placement, by a function."""

    first_pages, most_pages = 4, 512
    first_rows, most_rows = 256, 16_384

    def __init__(self, site: Site, fill: Fill, pace: Pace, progress: Advance) -> None:
        super().__init__(site, fill, pace, progress)
        assert fill.python is not None
        self.function = load(fill.python)
        self.chunk = Size(FIRST_ROWS, MOST_ROWS)
        self._without: set[tuple[int, str, str]] = set()  # rows that were given no value, as they were then
        self._found = 0
        self._again = False
        self._types: dict[int, tuple[str, str]] = {}

    def work(self, parts: list[Part]) -> None:
        """Passes, until one finds nothing to do; then what has moved out of the way of each."""
        super().work(parts)
        self._again = True
        for _ in range(PASSES):
            if self.blocked:
                return
            self._found = 0
            for part in self.parts():
                self.look_again(part)
            if not self._found:
                return
        for part in [] if self.blocked else self.parts():
            self._reach_all(part)

    def _reach_all(self, part: Part) -> None:
        for _ in range(PASSES):
            if self.whole(part, self.reach_the_rest):
                return
            self._begin_anew(part)
        raise errors.FillBlocked(part.shown, 1, "a session that writes the whole table anew", "row")

    def _begin_anew(self, part: Part) -> None:
        """It was written anew, so where its rows were means nothing any more; or it is gone."""
        if any(part.oid == each.oid for each in self.parts()):
            self._patiently(part.shown, partial(self._note, part))

    def reach_the_rest(self, part: Part) -> None:
        """One statement finds the rows that are without a value, wherever they are moved to meanwhile."""
        waiting = deque(self._read(part, SQL("true")))
        deadline, pause = self.pace.clock() + PATIENCE, PAUSE
        while waiting:
            try:
                self._reach(part, waiting[0])
            except BUSY as error:
                _, blocker = self._blocker(part, Range(part.at, part.at))
                if self.pace.clock() > deadline:
                    raise errors.FillBlocked(part.shown, len(waiting), blocker, "row") from error
                pause = self._pause(blocker, pause)
                waiting.rotate(-1)
            else:
                waiting.popleft()
                deadline, pause = self.pace.clock() + PATIENCE, PAUSE

    def _reach(self, part: Part, row: Row) -> None:
        """Lock a row, and write what was computed for it, if that is of what the row has now. Else compute it at once,
        if whoever waits for the row waits for no longer than a batch, or once more."""
        for _ in range(PASSES):
            allowed = self.pace.before_batch()
            began = self.pace.clock()
            computed = list(self._computed(part, [row]))
            fast = self.pace.clock() - began <= allowed.seconds
            if not computed:
                return
            try:
                with self.transaction(part) as connection:
                    found = self._lock(connection, part, row)
                    if found is None:
                        return
                    if found.inputs == row.inputs:
                        computed = [replace(found, value=computed[0].value)]
                    else:
                        computed = list(self._computed(part, [found])) if fast else []
                    if computed:
                        count = connection.execute(self._given(part, row.is_this(part), computed)).rowcount
                        self.checkpoint(connection, part, None, count)
            except REFUSED as error:
                self._gave_nothing(part, row, error)
                return
            if computed:
                self.pace.after_batch(1)
                self.failures.pop(row.name, None)
                return
            row = found
        self._gave_nothing(part, row, RowRefused("it was written each time while its value was computed"))

    def _lock(self, connection: Connection, part: Part, row: Row) -> Row | None:
        """As it is now; None if it is gone, or has got a value."""
        columns = [SQL("{}.{}").format(part.row, Identifier(column)) for column in self.fill.reads]
        query = QUERIES.lock_row.format(
            part=part.identifier,
            row=part.row,
            place=part.place(),
            version=part.version(self.fill.reads),
            columns=SQL(", ").join(columns),
            where=row.is_this(part),
            needs=expression(self.fill.needs),
        )
        found = connection.execute(query).fetchone()
        return None if found is None else replace(row, place=found[0], version=found[1], inputs=tuple(found[2:]))

    def look_again(self, part: Part) -> None:
        """At all of a part, with what came meanwhile."""
        with self.transaction(part) as connection:
            part.measure(connection)
        if not self.whole(part, self.walk) or not self.whole(part, self.return_to):
            self._found += 1
            self._begin_anew(part)

    def checkpoint(self, connection: Connection, part: Part, point: Point | None, rows: int) -> None:
        """Only the first pass has a place to go on from."""
        super().checkpoint(connection, part, None if self._again else point, rows)

    def aim(self, size: Size, seconds: float) -> None:
        """What is written at once has a size of its own."""

    def batch(self, part: Part, rows_of: Range, allowed: Allowance) -> None:
        """Read the rows of a range, and write their values, chunk by chunk; then note that they are done."""
        began = self.pace.clock()
        rows = self._read(part, part.within(rows_of))
        self._found += len(rows)
        locked: list[Row] = []
        begun = 0
        while begun < len(rows):
            if begun:
                allowed = self.pace.before_batch()
            chunk = rows[begun : begun + self._rows_allowed(allowed)]
            begun += len(chunk)
            locked += self._compute_and_write(part, rows_of, chunk, allowed)
        if locked:
            raise psycopg.errors.LockNotAvailable(f"{len(locked)} rows")
        with self.transaction(part) as connection:
            self.checkpoint(connection, part, part.after(rows_of), 0)
        size = self.sizes[part.unit]
        size.lasted(rows_of.amount, len(rows), self.pace.clock() - began, CALL_SECONDS)

    def _rows_allowed(self, allowed: Allowance) -> int:
        self.chunk.aim(allowed.seconds)
        most = self.chunk.amount if allowed.rows is None else min(self.chunk.amount, allowed.rows)
        return max(1, int(most))

    def _read(self, part: Part, where: Composable) -> list[Row]:
        """The rows that there may be a value for."""
        found = self.read(part, where, expression(self.fill.needs), self.fill.reads)
        return [
            Row(place, version, named(key, place), tuple(inputs), key=key)
            for place, version, key, *inputs in found
            if (part.oid, place, version) not in self._without
        ]

    def _compute_and_write(self, part: Part, rows_of: Range, rows: list[Row], allowed: Allowance) -> list[Row]:
        """Returns the rows that somebody has locked."""
        began = self.pace.clock()
        computed = list(self._computed(part, rows))
        called = self.pace.clock() - began
        locked = self._write(part, rows_of, computed, allowed) if computed else []
        written = self.pace.clock() - began - called
        seconds = max(written, called * allowed.seconds / CALL_SECONDS)
        self.chunk.lasted(len(rows), len(rows), seconds, allowed.seconds)
        return locked

    def _computed(self, part: Part, rows: list[Row]) -> Iterator[Row]:
        """The rows that there is a value for. What is called is somebody else's: it may raise anything."""
        if getattr(self.function, "kos_batch", False) and len(rows) > 1:
            try:
                values = self._of_all([row.inputs for row in rows])
            except Exception:  # noqa: BLE001 - each is tried by itself, and told by its name
                for row in rows:
                    yield from self._computed(part, [row])
                return
            yield from (
                found for row, value in zip(rows, values, strict=True) for found in self._with(part, row, value)
            )
            return
        for row in rows:
            try:
                value = self._of_one(row.inputs)
            except Exception as error:  # noqa: BLE001 - told by the row's name
                self._gave_nothing(part, row, error)
            else:
                yield from self._with(part, row, value)

    def _of_all(self, inputs: list[tuple[Any, ...]]) -> Sequence[Any]:
        values: Sequence[Any] = list(self.function(inputs))
        if len(values) != len(inputs):
            raise ValueError(f"{len(values)} values for {len(inputs)} rows")
        return values

    def _of_one(self, inputs: tuple[Any, ...]) -> Any:
        if getattr(self.function, "kos_batch", False):
            return self._of_all([inputs])[0]
        return self.function(*inputs)

    def _with(self, part: Part, row: Row, value: Any) -> Iterator[Row]:
        try:
            if value is None:
                raise ValueError("the function returned None")
            yield replace(row, value=self._text(part, value))
        except (ValueError, TypeError, psycopg.Error) as error:
            self._gave_nothing(part, row, error)

    def _gave_nothing(self, part: Part, row: Row, error: Exception) -> None:
        self._without.add((part.oid, row.place, row.version))
        self.failed(row.name, error)

    def _write(self, part: Part, rows_of: Range, rows: list[Row], allowed: Allowance) -> list[Row]:
        """In one transaction, or in two of half as many rows, and so on down to the one that is in the way. Returns
        those that are locked."""
        try:
            with self.transaction(part) as connection:
                with limited(connection, allowed.seconds * LIMIT if len(rows) > 1 else None):
                    count = connection.execute(self._given(part, part.within(rows_of), rows)).rowcount
                self.checkpoint(connection, part, None, count)
            self.pace.after_batch(count)
            if count == len(rows):
                for row in rows:
                    self.failures.pop(row.name, None)  # of an earlier pass, before somebody changed it
        except (*BUSY, *REFUSED, TooLong) as error:
            if len(rows) > 1:
                half = len(rows) // 2
                return [
                    each for some in (rows[:half], rows[half:]) for each in self._write(part, rows_of, some, allowed)
                ]
            if isinstance(error, BUSY):
                return rows
            self._gave_nothing(part, rows[0], error)
        return []

    def _given(self, part: Part, where: Composable, rows: list[Row]) -> Composed:
        query: SQL = QUERIES.update_values
        return query.format(
            part=part.identifier,
            row=part.row,
            column=Identifier(str(self.fill.column)),
            type=expression(self._type(part)[0]),
            places=Literal([row.place for row in rows]),
            versions=Literal([row.version for row in rows]),
            values=Literal([row.value for row in rows]),
            where=where,
            at=part.is_at(SQL("kos_given.kos_place")),
            version=part.version(self.fill.reads),
            needs=expression(self.fill.needs),
        )

    def _type(self, part: Part) -> tuple[str, str]:
        """Of the column, as SQL has it and by its bare name."""
        if part.oid not in self._types:
            facts = {"oid": part.oid, "column": self.fill.column}
            row = self.site.connection.execute(QUERIES.column_type, facts).fetchone()
            if row is None:
                raise errors.ChangeRefused(part.shown, f"it has no column {self.fill.column}", "kos change status")
            self._types[part.oid] = (row[0], row[1])
        return self._types[part.oid]

    def _text(self, part: Part, value: Any) -> str:
        """A value as PostgreSQL reads it."""
        kind = self._type(part)[1]
        if hasattr(value, "tolist"):
            value = value.tolist()  # what models return
        if kind in _VECTORS and not isinstance(value, str):
            return f"[{','.join(repr(float(each)) for each in value)}]"
        if kind in _DOCUMENTS and not isinstance(value, str):
            return json.dumps(value)
        if isinstance(value, list) and {type(each) for each in value} == {int, float}:
            value = [float(each) for each in value]  # the driver takes lists of one type
        connection = self.site.connection
        data = Transformer.from_context(connection).get_dumper(value, PyFormat.TEXT).dump(value)
        return bytes(data or b"").decode(connection.info.encoding)
