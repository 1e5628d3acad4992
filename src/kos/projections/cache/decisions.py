"""What reading through the cache decides, without input and output: for both readers alike."""

from __future__ import annotations

import json
from collections import OrderedDict
from contextlib import suppress
from dataclasses import dataclass, field
from enum import Enum
from time import monotonic
from typing import Any, NamedTuple

from kos import errors
from kos.projections.cache import names, wire
from kos.projections.cache.kinds import CacheKind, Key
from kos.projections.cache.scripts import FILL, READ
from kos.tenancy.bookmark import KNOWN_SECONDS, Bookmark
from kos.tenancy.entry import Entry
from kos.tenancy.tenant import Tenant

MOST_READERS = 1000  # of one entry: more than so many users have it anew
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 5.0  # seconds that a cache is left alone after a failure
KNOWN_BOOKMARKS = 10_000
POLL = 0.003  # seconds between two looks whether another reader has loaded it


class Position(NamedTuple):
    """In a tenant's log; ordered as logs are."""

    incarnation: int
    position: int


ANY = Position(0, 0)


@dataclass
class Counters:
    """What came of the reads of one reader. `around`: the session or its bookmark asked PostgreSQL; `resting`: so did
    everyone, after a failure; `refused`: read too early, or no room."""

    hits: int = 0
    misses: int = 0
    waits: int = 0
    fills: int = 0
    refused: int = 0
    around: int = 0
    resting: int = 0
    failures: int = 0


class Said(Enum):
    """What the cache says to a read."""

    VALUE = "here it is"
    LOAD = "load it"
    WAIT = "somebody loads it"
    NO_STATE = "nothing is known of this tenant"
    OTHERWISE = "who follows the log knows this kind otherwise, or not"


class Nonsense(Exception):
    """The cache answered what it can't answer."""


@dataclass(frozen=True)
class Answer:
    """What the cache says to a read: a value, or the generation to fill."""

    said: Said
    value: Any = None
    generation: bytes = b""


class Wish(NamedTuple):
    """What a reader wants, at the place where its tenant is."""

    kind: CacheKind
    entry: str
    key: tuple[str, str]  # the tenant's id and epoch
    reader: str
    has_persona: bool
    ttl: float

    @classmethod
    def of(cls, kind: CacheKind, key: Key, tenant: Tenant, entry: Entry, ttl: float, *, any_user: bool) -> Wish:
        """Of a session's."""
        whose = names.reader(entry, any_user=any_user)
        return cls(kind, kind.entry(key), tenant.key, whose, entry.persona is not None, ttl)

    def is_of(self, tenant: Tenant) -> bool:
        """Whether the tenant is still where it was."""
        return tenant.key == self.key


def read_command(wish: Wish, need: Position, lease: bytes) -> wire.Command:
    """Ask for a value; where it is missing, others believe for so many milliseconds that this reader loads it."""
    return wire.Command(READ, (*_which(wish, need), lease), wish.kind.for_reading[wish.has_persona])


def fill_command(wish: Wish, generation: bytes, head: Position, payload: bytes, ttl: float) -> wire.Command:
    """Keep one."""
    kind = (wish.kind.name.encode(), wish.kind.definition.encode())
    how = (generation, b"%d" % max(1, round(ttl * 1000)), payload, b"%d" % MOST_READERS)
    return wire.Command(FILL, (*_which(wish, head), *kind, *how))


def leave_command(wish: Wish, generation: bytes) -> wire.Command:
    """Whoever was believed to load it has nothing to keep. Another reader's turn may end by it: then two load."""
    key = names.prefix(*wish.key).encode() + generation + b":" + wish.entry.encode()
    return wire.Command(None, (b"HDEL", key, b"l" + wish.reader.encode()))


def _which(wish: Wish, at: Position) -> tuple[bytes, ...]:
    prefix = names.prefix(*wish.key).encode()
    return prefix + b"state", prefix, wish.entry.encode(), wish.reader.encode(), b"%d" % at[0], b"%d" % at[1]


def want_command(wish: Wish) -> wire.Command:
    """Tell the worker that a tenant has no state."""
    return wire.Command(None, (b"SADD", names.WANTED.encode(), ".".join(wish.key).encode()))


def is_a_read(command: wire.Command) -> bool:
    """Whether a cache that refuses this is no use at all: one that has no room still is."""
    return command.script is READ


def answer_of(reply: bytes) -> Answer:
    """What the script `read` said.

    Raises:
        Nonsense
    """
    match reply[:1]:
        case b"j" | b"b" | b"n":
            return Answer(Said.VALUE, value_of(reply))
        case b"L":
            return Answer(Said.LOAD, generation=reply[1:])
        case b"W":
            return Answer(Said.WAIT, generation=reply[1:])
        case b"S":
            return Answer(Said.NO_STATE)
        case b"K":
            return Answer(Said.OTHERWISE)
    raise Nonsense(reply[:40])


def payload_of(kind: CacheKind, value: Any) -> bytes:
    """A value as it is kept. None is one, too: there is nothing.

    Raises:
        CacheValueRefused
    """
    if value is None:
        return b"n"
    if isinstance(value, bytes):
        return b"b" + value
    try:
        return b"j" + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise errors.CacheValueRefused(kind.name, str(error)) from error


def value_of(payload: bytes) -> Any:
    """What was kept.

    Raises:
        Nonsense
    """
    match payload[:1]:
        case b"n":
            return None
        case b"b":
            return payload[1:]
    try:
        return json.loads(payload[1:])
    except ValueError as error:
        raise Nonsense(payload[:40]) from error


@dataclass
class Breaker:
    """Leaves a cache that has failed alone; then one reader tries it, and if that fails, it rests twice as long."""

    until: float = 0.0
    pause: float = 0.0
    tried: bool = False

    def allows(self, now: float) -> bool:
        """Whether this reader may ask it."""
        if not self.pause:
            return True
        if now < self.until:
            return False
        self.until, self.tried = now + self.pause, True  # the others wait for what becomes of this one
        return True

    def failed(self, now: float) -> None:
        """It did not answer, or could not. Those who had asked at the same time say so, too: that is one failure."""
        if not self.pause:
            self.pause = FIRST_PAUSE
        elif self.tried:
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
        self.until, self.tried = now + self.pause, False

    def answered(self) -> None:
        """It did."""
        self.pause, self.tried = 0.0, False


@dataclass
class KnownBookmarks:
    """Positions of bookmarks that are sealed; so a read that finds its value asks PostgreSQL nothing. For a while: then
    it is asked again, whether it was restored meanwhile."""

    known: OrderedDict[tuple[tuple[str, str], Bookmark], tuple[Position, float]] = field(default_factory=OrderedDict)

    def find(self, tenant: Tenant, mark: Bookmark) -> Position | None:
        """Where it is, if that is known."""
        position, asked = self.known.get((tenant.key, mark), (None, 0.0))
        return position if monotonic() - asked < KNOWN_SECONDS else None

    def note(self, tenant: Tenant, mark: Bookmark, position: int) -> Position:
        """Remember it."""
        found = Position(mark.incarnation, position)
        self.known[tenant.key, mark] = found, monotonic()
        with suppress(KeyError):  # another thread was at it
            if len(self.known) > KNOWN_BOOKMARKS:
                self.known.popitem(last=False)
        return found
