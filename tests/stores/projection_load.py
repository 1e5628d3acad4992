"""Sessions that write and read while everything around them dies, and what each reader must not see.

Every row has one writer, which numbers what it does to it (`version`): so what a reader sees of a row is a place in
that row's history. A reader with a bookmark sees nothing before the bookmark's place, and nobody sees a place before
one that was seen already, nor anything of a row that was seen to be gone.
"""

from __future__ import annotations

import random
import time
import traceback
import uuid
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from threading import Event, Lock, Thread
from typing import Any

import psycopg

from kos import errors
from kos.tenancy import Store

SHOWN, HIDDEN, GONE, VOID = "shown", "hidden", "gone", "void"
DOWN = (errors.StoreUnavailable, errors.StoreBusy, errors.OutcomeUnknown, psycopg.OperationalError)
LATE = (errors.ProjectionBehind, errors.ProjectionNotReady, errors.BookmarkUnsealed)


@dataclass
class History:
    """What its writer did to one row, in order; the number in it is the row's version. `floor`: what was seen."""

    tenant: str
    key: uuid.UUID
    states: list[str] = field(default_factory=lambda: [GONE])  # version 0: before it was there
    floor: int = 0

    @property
    def place(self) -> int:
        """Where it is now: what is VOID did not happen."""
        return max(place for place, state in enumerate(self.states) if state != VOID)

    @property
    def is_there(self) -> bool:
        return self.states[self.place] != GONE

    def latest(self, version: int | None, states: tuple[str, ...]) -> int:
        """The latest place that looks so."""
        if version is not None:
            return version
        return max((place for place, state in enumerate(self.states) if state in states), default=-1)

    def earliest(self, version: int | None, states: tuple[str, ...], floor: int) -> int | None:
        """The earliest place that looks so and is not before the floor."""
        if version is not None:
            return version if version >= floor else None
        return next((place for place, state in enumerate(self.states) if place >= floor and state in states), None)


@dataclass(frozen=True)
class Mark:
    """What a writer knows to be committed: a row's place, and the bookmark."""

    row: History
    place: int
    bookmark: str


class WrongAnswer(AssertionError):
    """A reader saw what it must not."""


@dataclass
class Load:
    """Threads on tenants of one store; a context manager. `counts` says what came of it, `wrong` what must not be."""

    store: Store
    tenants: list[str]
    seed: int
    writers: int = 2
    readers: int = 2
    pause: float = 0.05  # seconds, at most, between two transactions of a writer
    rows: list[History] = field(default_factory=list)
    marks: deque[Mark] = field(default_factory=lambda: deque(maxlen=50))
    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    longest: float = 0.0  # seconds that the graph was asked
    pauses: list[Lock] = field(default_factory=list)

    def __enter__(self) -> Load:
        self.ends = Event()
        self.lock = Lock()
        dice = random.Random(self.seed)
        made: list[Callable[[random.Random], Any]] = [Writer(self).run for _ in range(self.writers)]
        made += [Reader(self).run for _ in range(self.readers)]
        self.threads = [Thread(target=self._guarded, args=(run, random.Random(dice.random()))) for run in made]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a session does not end"

    def _guarded(self, run: Callable[[random.Random], Any], dice: random.Random) -> None:
        while not self.ends.is_set():
            try:
                run(dice)
            except (*DOWN, *LATE) as error:
                self.counts[type(error).__name__] += 1
                self.ends.wait(0.02)
            except psycopg.Error as error:  # the server ended our session, or two of us met
                self.counts[type(error).__name__] += 1
            except Exception:
                self.wrong.append(traceback.format_exc())

    def truncate(self, connect: Callable[[], psycopg.Connection[Any]], name: str, table: str) -> None:
        """All rows of a tenant's table, which are in a schema of its own; no writer has anything under way."""
        with ExitStack() as stack:
            for pause in self.pauses:
                stack.enter_context(pause)
            gone = [row for row in self.rows if row.tenant == name and row.is_there] if table == "atoms" else []
            for row in gone:
                row.states.append(GONE)
            try:
                with connect() as connection, connection.transaction():
                    connection.execute("select set_config('search_path', kos.enter(%s), true)", (name,))
                    connection.execute(f"truncate {table} cascade".encode())
                self.counts[f"truncated {table}"] += 1
            except (*DOWN, psycopg.Error) as error:
                self.counts[f"truncating: {error}"] += 1
                if any(self.is_in_table(row) for row in gone):
                    for row in gone:
                        row.states[-1] = VOID

    def is_in_table(self, row: History) -> bool:
        """Asked until the database says it."""
        while True:
            with suppress(errors.KosError, psycopg.Error), self.store.tenant(row.tenant) as acme:
                return acme.execute(READ, (row.key,)).fetchone() is not None
            time.sleep(0.05)


ALL = "select id, version, deleted_at is null from atoms"
READ = "select version, deleted_at is null from atoms where id = %s"


class Writer:
    """One thread's rows, of several tenants."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.mine: dict[str, list[History]] = {name: [] for name in load.tenants}
        self.pause = Lock()
        load.pauses.append(self.pause)

    def run(self, dice: random.Random) -> None:
        with self.pause:
            self.step(dice)
        self.load.ends.wait(dice.uniform(0, self.load.pause))

    def step(self, dice: random.Random) -> None:
        name = dice.choice(self.load.tenants)
        there = [row for row in self.mine[name] if row.is_there]
        chosen = dice.random()
        if len(there) < 20 or chosen < 0.15:
            self.insert(name, 200 if dice.random() < 0.03 else dice.randint(1, 3))
        elif chosen < 0.5:
            some = there[:6] if dice.random() < 0.6 else there  # often the same: else no cache would have them
            self.change(name, dice.sample(some, dice.randint(1, 3)), dice)
        elif chosen < 0.85:
            self.relate(name, there, dice)
        elif chosen < 0.93:
            self.delete(name, dice.sample(there, min(len(there), 40 if len(there) > 150 else 1)))
        else:
            self.rekey(name, dice.choice(there))

    def insert(self, name: str, count: int) -> None:
        rows = [History(name, uuid.uuid4()) for _ in range(count)]
        self.commit(
            name,
            [(row, SHOWN) for row in rows],
            lambda acme: [
                acme.execute("insert into atoms (id, atom_type, name) values (%s, 'load', 'begin')", (row.key,))
                for row in rows
            ],
        )

    def change(self, name: str, rows: list[History], dice: random.Random) -> None:
        """Values, and whether it is deleted softly."""
        states = [HIDDEN if dice.random() < 0.25 else SHOWN for _ in rows]

        def write(acme: Any) -> None:
            for row, state in sorted(zip(rows, states, strict=True), key=lambda each: each[0].key):
                acme.execute(
                    "update atoms set version = %s, name = %s, number_value = %s, deleted_at = %s where id = %s",
                    (len(row.states) - 1, f"a {dice.random()}", dice.randint(0, 9),
                     None if state == SHOWN else "2026-01-01", row.key),
                )  # fmt: skip

        self.commit(name, list(zip(rows, states, strict=True)), write)

    def relate(self, name: str, there: list[History], dice: random.Random) -> None:
        """Edges, also of nodes that are hidden: come, go, and lead elsewhere."""
        one, other, third = (row.key for row in dice.sample(there, 3))

        def write(acme: Any) -> None:
            acme.execute(
                "insert into relations (relation_type, from_atom_id, to_atom_id) values ('R', %s, %s)"
                " on conflict (tenant_id, from_atom_id, relation_type, to_atom_id)"
                " do update set relation_type = 'S' || left(md5(random()::text), 6)",
                (one, other),
            )
            if dice.random() < 0.4:
                acme.execute(
                    "update relations set to_atom_id = %s where id ="
                    " (select id from relations where from_atom_id = %s order by random() limit 1)"
                    " and not exists (select from relations r where r.from_atom_id = %s and r.to_atom_id = %s)",
                    (third, one, one, third),
                )
            if dice.random() < 0.4:
                acme.execute("delete from relations where from_atom_id = %s", (other,))

        self.commit(name, [], write)

    def delete(self, name: str, rows: list[History]) -> None:
        self.commit(
            name,
            [(row, GONE) for row in rows],
            lambda acme: acme.execute("delete from atoms where id = any (%s)", ([row.key for row in rows],)),
        )

    def rekey(self, name: str, row: History) -> None:
        new = History(name, uuid.uuid4())

        def write(acme: Any) -> None:
            acme.execute("delete from relations where %s in (from_atom_id, to_atom_id)", (row.key,))
            acme.execute("update atoms set id = %s, version = 1, deleted_at = null where id = %s", (new.key, row.key))

        self.commit(name, [(row, GONE), (new, SHOWN)], write)

    def commit(self, name: str, steps: list[tuple[History, str]], write: Callable[[Any], Any]) -> None:
        """What it is about to do is known before anybody can see it; what did not happen is taken back."""
        load = self.load
        for row, state in steps:
            row.states.append(state)
        try:
            with load.store.tenant(name) as acme:
                write(acme)
        except BaseException as error:
            load.counts[f"writing: {type(error).__name__}"] += 1
            self.settle(name, steps)
            if not isinstance(error, psycopg.Error | errors.KosError):
                raise
            return
        load.counts["commits"] += 1
        self.note(steps)
        for row, _ in steps:
            load.marks.append(Mark(row, len(row.states) - 1, str(acme.bookmark)))

    def note(self, steps: list[tuple[History, str]]) -> None:
        for row, _ in steps:
            if len(row.states) == 2:
                self.mine[row.tenant].append(row)
                self.load.rows.append(row)

    def settle(self, name: str, steps: list[tuple[History, str]]) -> None:
        """Ask the database whether it happened, until it says so."""
        while steps:
            try:
                with self.load.store.tenant(name) as acme:
                    happened = [is_as_said(acme, row) for row, _ in steps]
            except (errors.KosError, psycopg.Error):
                time.sleep(0.05)
                continue
            if any(happened) != all(happened):
                raise WrongAnswer(f"half of a transaction of {name} is there")
            if happened[0]:
                self.note(steps)
            else:
                for row, _ in steps:
                    row.states[-1] = VOID
            return


def is_as_said(acme: Any, row: History) -> bool:
    found = acme.execute(READ, (row.key,)).fetchone()
    if row.states[-1] == GONE:
        return found is None
    return found is not None and bool(found[0] == len(row.states) - 1)


class Reader:
    """Reads what others have written, through the graph and the cache, mostly with their bookmarks."""

    def __init__(self, load: Load) -> None:
        self.load = load

    def run(self, dice: random.Random) -> None:
        load = self.load
        if not load.marks:
            load.ends.wait(0.01)
            return
        mark = dice.choice(load.marks)
        with_mark = dice.random() < 0.7
        (self.graph if dice.random() < 0.5 else self.cached)(mark, mark.bookmark if with_mark else None)
        if dice.random() < 0.1:
            self.gone(dice.choice(load.tenants))

    def graph(self, mark: Mark, after: str | None) -> None:
        floor, began = mark.row.floor, time.monotonic()
        try:
            with self.load.store.tenant(mark.row.tenant, after=after) as acme, taking_long():
                found = acme.graph.run("MATCH (a:Atom {id: $id}) RETURN a.version AS version",
                                       {"id": str(mark.row.key)}, seconds=2)  # fmt: skip
        finally:
            self.load.longest = max(self.load.longest, time.monotonic() - began)
        if len(found) > 1:
            raise WrongAnswer(f"{mark.row.key} is there {len(found)} times")
        self.load.counts["graph"] += 1
        version = found[0]["version"] if found else None
        self.check("graph", mark, version, (HIDDEN, GONE), place_of(mark, after), floor, raises_floor=True)

    def cached(self, mark: Mark, after: str | None) -> None:
        with self.load.store.tenant(mark.row.tenant, after=after) as acme:

            def read() -> Any:
                self.load.counts["loads"] += 1
                row = acme.execute(READ, (mark.row.key,)).fetchone()
                return None if row is None else row[0]

            try:
                version = acme.cached("atom", mark.row.key, read)
            except Exception as error:
                self.load.counts[f"cached: {type(error).__name__}"] += 1
                raise
        self.load.counts["cached"] += 1
        self.check("cache", mark, version, (GONE,), place_of(mark, after), 0, raises_floor=False)

    def check(
        self, store: str, mark: Mark, version: int | None, states: tuple[str, ...], place: int, floor: int,
        *, raises_floor: bool,
    ) -> None:  # fmt: skip
        """`place` and `floor` are what was known before it was asked."""
        row = mark.row
        with self.load.lock:
            if row.latest(version, states) < place:
                raise WrongAnswer(f"{store}: {row.key} at {version}, older than the bookmark's {place}: {row.states}")
            seen = row.earliest(version, states, max(floor, place))
            if seen is None:
                raise WrongAnswer(f"{store}: {row.key} at {version} after {floor}: {row.states}")
            if raises_floor:
                row.floor = max(row.floor, seen)

    def gone(self, name: str) -> None:
        """What was seen to be gone does not come back."""
        keys = [str(row.key) for row in self.load.rows if row.tenant == name and is_seen_gone(row)]
        with self.load.store.tenant(name) as acme, taking_long():
            found = acme.graph.run("MATCH (a:Atom) WHERE a.id IN $keys RETURN a.id AS id", {"keys": keys})
        self.load.counts["looks for the gone"] += 1
        if found:
            raise WrongAnswer(f"gone, and here again: {[each['id'] for each in found]}")


@contextmanager
def taking_long() -> Iterator[None]:
    """A machine that is busy with starting everything has a question take longer than it may: that is an answer."""
    try:
        yield
    except errors.GraphQueryFailed as error:
        if "timeout" not in str(error):
            raise
        raise errors.ProjectionBehind("graph", "", 0.0) from error


def is_seen_gone(row: History) -> bool:
    return row.floor > 0 and all(state in (GONE, VOID) for state in row.states[row.floor :])


def place_of(mark: Mark, after: str | None) -> int:
    return mark.place if after else 0


def check_acknowledged(store: Store, load: Load) -> int:
    """Every acknowledged write is there, and nothing else; how many rows that are."""
    for name in load.tenants:
        with store.tenant(name) as acme:
            found = {key: tuple(rest) for key, *rest in acme.execute(ALL).fetchall()}
        there = [row for row in load.rows if row.tenant == name and row.is_there]
        assert found == {row.key: (row.place, row.states[row.place] == SHOWN) for row in there}
    return len(load.rows)
