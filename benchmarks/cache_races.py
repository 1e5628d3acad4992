"""Readers with bookmarks against writers, in several processes: how many reads were older than their bookmark.

A *register* says of each row which version was written last, by whom it is known: the bookmark of that write. A reader
takes both, reads the row through the cache, and must see that version or a later one. At the dangerous points some
wait: a reader between its load and what it keeps of it, the one who follows the log between its steps.
"""

from __future__ import annotations

import multiprocessing
import random
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import Any
from uuid import UUID

from bench import TENANT
from kos import log
from kos.projections.cache import CacheProjection, CacheReader, Counters
from kos.projections.model import Change, Kind, Reached, TableName, Whose
from kos.tenancy import Store
from kos.tenancy.bookmark import Bookmark
from kos.topology import cache as opening
from kos.topology.model import CacheServer, Topology

READ = "select version from atoms where id = %s"
WRITE = "update atoms set version = version + 1 where id = %s returning version"
SHARE_OF_WRITES = 0.03
SHARE_HELD_UP = 0.1
HELD_UP = 0.02  # seconds, at most
PAUSE = 0.005  # between two looks of who follows the log
_KINDS: dict[str, Kind] = {"I": "created", "U": "changed", "D": "deleted", "T": "truncated", "B": "created"}
_fork = multiprocessing.get_context("fork")  # a topology has secrets, which are read by functions


@dataclass(frozen=True)
class Found:
    """What the readers of one arm have seen."""

    reads: int
    writes: int
    old: int
    counters: Counters
    seconds: float


class Register:
    """Of each row: its version, and the bookmark of who wrote that. Shared by all processes."""

    def __init__(self, rows: int) -> None:
        self._values = _fork.RawArray("q", rows * 3)
        self._locks = [_fork.Lock() for _ in range(rows)]

    def note(self, row: int, version: int, mark: Bookmark) -> None:
        """Committed, and known to whoever asks from now on."""
        with self._locks[row]:
            if version > self._values[row * 3]:
                self._values[row * 3 : row * 3 + 3] = [version, mark.incarnation, mark.transaction]

    def last(self, row: int) -> tuple[int, Bookmark | None]:
        """The version that a reader must see at least."""
        with self._locks[row]:
            version, incarnation, transaction = self._values[row * 3 : row * 3 + 3]
        return version, Bookmark(incarnation, transaction) if incarnation else None


@dataclass(frozen=True)
class Race:
    """One arm. `reads` are of all processes together."""

    topology: Topology
    rows: Sequence[UUID]
    reads: int
    processes: int

    def run(self, work: Callable[[Race, Register, int, Any], None], follows: bool) -> Found:
        """Have all processes read, and one follow the log, if there is one to follow."""
        register, answers, over = Register(len(self.rows)), _fork.SimpleQueue(), _fork.Event()
        began = time.monotonic()
        readers = [_fork.Process(target=work, args=(self, register, seed, answers)) for seed in range(self.processes)]
        following = [_fork.Process(target=follow, args=(self.topology, over))] if follows else []
        for each in (*following, *readers):
            each.start()
        told = [answers.get() for _ in readers]
        over.set()
        for each in (*following, *readers):
            each.join()
        if any(each.exitcode for each in (*following, *readers)):
            raise RuntimeError("a process of the race has failed")
        total = Counters(*(sum(getattr(one[3], each.name) for one in told) for each in fields(Counters)))
        reads, writes, old = (sum(one[n] for one in told) for n in range(3))
        return Found(reads, writes, old, total, time.monotonic() - began)


def through_sessions(race: Race, register: Register, seed: int, answers: Any) -> None:
    """Reads and writes of one process, through `cached`."""
    chance = random.Random(seed)
    with Store(race.topology, pool_size=2) as store:
        # The cache is there, and a busy machine no reason to go around it.
        store.cache = reader = CacheReader(race.topology.cache, budget=5.0)

        def read(row: int, mark: Bookmark | None) -> int:
            key = race.rows[row]
            with store.tenant(TENANT, after=mark) as session:

                def load() -> int:
                    found = session.execute(READ, (key,)).fetchone()
                    _be_held_up(chance)
                    return int(found[0]) if found else 0

                return int(session.cached("atom", key, load, any_user=True))

        answers.put((*_take_turns(race, register, chance, read, _write(race, store)), reader.counters))


def delete_after_commit(race: Race, register: Register, seed: int, answers: Any) -> None:
    """The control: what most people write. A miss is loaded and set; who writes deletes, after the commit."""
    chance = random.Random(seed)
    assert race.topology.cache
    counters = Counters()
    with Store(race.topology, pool_size=2) as store, opening.open(race.topology.cache) as client:
        write_row = _write(race, store)

        def read(row: int, _: Bookmark | None) -> int:
            key = race.rows[row]
            kept: Any = client.get(f"atom:{key}")
            if kept is not None:
                counters.hits += 1
                return int(kept)
            counters.misses += 1
            with store.tenant(TENANT) as session:
                found = session.execute(READ, (key,)).fetchone()
            _be_held_up(chance)
            version = int(found[0]) if found else 0
            client.set(f"atom:{key}", version, ex=3600)
            return version

        def write(row: int) -> tuple[int, Bookmark]:
            version, mark = write_row(row)
            client.delete(f"atom:{race.rows[row]}")
            return version, mark

        answers.put((*_take_turns(race, register, chance, read, write), counters))


def _write(race: Race, store: Store) -> Callable[[int], tuple[int, Bookmark]]:
    def write(row: int) -> tuple[int, Bookmark]:
        with store.tenant(TENANT) as session:
            found = session.execute(WRITE, (race.rows[row],)).fetchone()
        assert found
        assert session.bookmark
        return int(found[0]), session.bookmark

    return write


def _take_turns(
    race: Race,
    register: Register,
    chance: random.Random,
    read: Callable[[int, Bookmark | None], int],
    write: Callable[[int], tuple[int, Bookmark]],
) -> tuple[int, int, int]:
    """Reads, writes, and the reads that were older than their bookmark."""
    writes = old = 0
    reads = race.reads // race.processes
    for _ in range(reads):
        if chance.random() < SHARE_OF_WRITES:
            row = chance.randrange(len(race.rows))
            register.note(row, *write(row))
            writes += 1
        row = chance.randrange(len(race.rows))
        version, mark = register.last(row)
        old += read(row, mark) < version
    return reads, writes, old


def _be_held_up(chance: random.Random) -> None:
    if chance.random() < SHARE_HELD_UP:
        time.sleep(chance.random() * HELD_UP)


def begin(topology: Topology, server: CacheServer) -> None:
    """An empty cache, with a state of the tenant at the end of its log."""
    with opening.open(server) as client:
        client.flushall()
    projection = CacheProjection(server)
    with Store(topology) as store, store.operator() as operator:
        tenant = store.find(TENANT)
        whose = Whose.of(tenant)
        log.seal(operator, tenant.id)
        row = operator.execute("select (kos.newest_seal(%s)).*", (tenant.id,)).fetchone()
        assert row
        made = projection.begin(whose, secrets.token_hex(8))
        projection.switch(whose, projection.apply(whose, made, [], Reached(row[3], row[1])))
    projection.close()


def follow(topology: Topology, over: Any) -> None:
    """The worker's part, until it is over: seal, and tell the cache."""
    assert topology.cache
    chance = random.Random(0)
    projection = CacheProjection(topology.cache)
    with Store(topology) as store, store.operator() as operator:
        tenant = store.find(TENANT)
        whose = Whose.of(tenant)
        standing = projection.live(whose)
        assert standing
        while not over.is_set():
            log.seal(operator, tenant.id)
            _be_held_up(chance)
            events = log.read(operator, tenant.id, log.Cursor(standing.reached.position, standing.reached.leaf))
            _be_held_up(chance)
            if events:
                last = events[-1]
                reached = Reached(last.incarnation, last.position, last.leaf)
                standing = projection.apply(whose, standing, [_change(each) for each in events], reached)
            over.wait(PAUSE)
    projection.close()


def _change(event: log.Event) -> Change:
    kind = _KINDS[event.operation]
    return Change(TableName(event.table, event.schema), kind, event.key, event.data, event.position)
