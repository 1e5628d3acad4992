"""What the worker does with the cache: a batch of events makes entries old, and moves the tenant's state."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from secrets import token_hex
from typing import TYPE_CHECKING, Any
from uuid import UUID

from kos import errors
from kos.projections.cache import names
from kos.projections.cache.kinds import KINDS, CacheKind, by_name, touched
from kos.projections.cache.scripts import APPLY, BEGIN, MARK, SWITCH, Script
from kos.projections.model import Change, Difference, Reached, Row, Standing, TableName, Wanted, Whose
from kos.tenancy.store import Connection
from kos.topology import cache
from kos.topology.answer import one_line
from kos.topology.model import CacheServer

if TYPE_CHECKING:
    from redis import Redis

PART = 500  # entries that one script makes old: the server does nothing else meanwhile
MADE_MS = 3_600_000  # that a generation may be in the making
MOST_WANTED = 1000
SCANNED = 1000


class CacheProjection:
    """The cache as a projection. It is filled by readers, so what the worker does is to forget.

    A tenant's state says which generation readers see and how far the log was followed. Only the worker makes one: a
    reader knows where the log ends, but not what was invalidated before its time, and by whom.
    """

    def __init__(self, server: CacheServer, kinds: Sequence[CacheKind] = KINDS, *, name: str = "cache") -> None:
        self.name = name
        self.kinds = tuple(by_name(kinds).values())
        tables = sorted({table for kind in self.kinds for table in kind.tables})
        self.wanted: Sequence[Wanted] | None = [Wanted(TableName.read(table), columns=()) for table in tables]
        self._server = server
        self._opened: Redis | None = None
        self._definitions = {f"kind:{kind.name}": kind.definition for kind in self.kinds}
        self._kinds = "\n".join(f"{name} {text}" for name, text in sorted(self._definitions.items()))

    def prepare(self) -> None:
        """Nothing: a cache has no schema."""

    def identity(self) -> str:
        """The server's run, and a mark that is gone with everything else: an earlier state that was put back is of
        another run, and who has emptied it has taken the mark."""
        from redis.exceptions import ResponseError

        with self._asking() as client:
            try:
                run = str(client.info("server").get("run_id", ""))
            except ResponseError:  # this account may not, or nobody
                run = ""
            mark = _run(client, MARK, [names.IDENTITY], [token_hex(8)])
        return f"{run} {mark.decode()}"

    def live(self, whose: Whose) -> Standing | None:
        """What readers see; None also where they see kinds that are not the ones of this projection."""
        with self._asking() as client:
            found: Any = client.hmget(
                f"{names.prefix_of(whose)}state", ["generation", "kinds", "incarnation", "position", "leaf"]
            )
        generation, kinds, incarnation, position, leaf = found
        if generation is None or kinds is None or kinds.decode() != self._kinds:
            return None
        return Standing(generation.decode(), Reached(int(incarnation), int(position), leaf or None))

    def begin(self, whose: Whose, generation: str) -> Standing:
        """An empty generation; of a tenant, one is made at a time."""
        at = {"incarnation": 0, "position": 0, "leaf": "", "from_incarnation": 0, "from_position": 0}
        fields = {"generation": generation, "kinds": self._kinds, **at, **self._definitions}
        flat = [part for pair in fields.items() for part in pair]
        with self._asking() as client:
            _run(client, BEGIN, [_keys(whose)[1]], [MADE_MS, *flat])
        return Standing(generation, Reached())

    def load(self, whose: Whose, standing: Standing, rows: Sequence[Row]) -> None:
        """Nothing: readers fill it."""

    def apply(
        self, whose: Whose, standing: Standing, changes: Sequence[Change], reached: Reached, *, rehearse: bool = False
    ) -> Standing:
        """What the changes make old is gone, and `reached` is reached. In several steps, the last of which moves the
        position: to have forgotten something early does no harm."""
        entries: dict[str, None] = {}
        tables: dict[str, int] = {}
        for change in changes:
            found = touched(change, self.kinds, whose.tenant)
            entries.update(dict.fromkeys(found.entries))
            for table in found.tables:
                tables[f"table:{table}"] = max(change.position, tables.get(f"table:{table}", 0))
        floors = [part for pair in tables.items() for part in pair]
        names_left = list(entries)
        with self._asking() as client:
            while not rehearse and len(names_left) > PART:
                part, names_left = names_left[:PART], names_left[PART:]
                self._apply(client, whose, standing, reached, "more", [0, *part])
            how = "rehearse" if rehearse else "last"
            self._apply(client, whose, standing, reached, how, [len(tables), *floors, *names_left])
        return Standing(standing.generation, reached)

    def switch(self, whose: Whose, standing: Standing) -> None:
        """Readers see this generation; the other's entries end with their time."""
        with self._asking() as client:
            said = _run(client, SWITCH, _keys(whose), self._at(standing))
        self._check(whose, said)

    def clear(self, whose: Whose) -> None:
        """The generation in the making, and the states of earlier epochs: their entries end with their time."""
        gone = [_keys(whose)[1]]
        for epoch in range(whose.epoch):
            gone += _keys(Whose(whose.tenant, epoch))
        with self._asking() as client:
            for key in gone:  # one by one: in a cluster they are in several places
                client.unlink(key)

    def forget(self, tenant: UUID) -> None:
        """Everything of a tenant, at any epoch. Goes through all names of the server."""
        with self._asking() as client:
            for key in client.scan_iter(match=f"kos:{{{tenant}.*}}:*", count=SCANNED):
                client.unlink(key)

    def compare(
        self, whose: Whose, standing: Standing, rows: Iterable[Row], log: Connection | None = None
    ) -> Iterator[Difference]:
        """The rows of a snapshot don't say what sessions have read: what is kept is compared with the log."""
        from kos.projections.cache.checking import check_entries

        deque(rows, maxlen=0)
        return iter(()) if log is None else check_entries(self, log, whose, standing)

    def tidy(self) -> None:
        """Nothing: what readers see no more ends with its time."""

    def close(self) -> None:
        """Give the connections back."""
        if self._opened:
            self._opened.close()
            self._opened = None

    # what is the cache's own

    def asking(self) -> list[Whose]:
        """Tenants that readers have found no state of, at the epochs where they were; each is told once."""
        with self._asking() as client:
            found: Any = client.spop(names.WANTED, MOST_WANTED)
        return [whose for text in found or [] if (whose := names.whose(text.decode(errors="replace")))]

    def entries(self, whose: Whose, standing: Standing) -> Iterator[tuple[str, bytes, bytes]]:
        """What is kept in a generation: the entry, whose it is, and where it stands with its value."""
        beginning = f"{names.prefix_of(whose)}{standing.generation}:"
        with self._asking() as client:
            for key in client.scan_iter(match=f"{_literally(beginning)}*", count=SCANNED):
                found: Any = client.hgetall(key)
                entry = key.decode()[len(beginning) :]
                yield from ((entry, field[1:], value) for field, value in found.items() if field[:1] == b"v")

    def floors(self, whose: Whose, standing: Standing) -> dict[str, tuple[int, int]]:
        """From where on what is made of a table is not old."""
        with self._asking() as client:
            state: Any = client.hgetall(_keys(whose)[0])
        if state.get(b"generation") != standing.generation.encode():
            return {}
        found = {name.decode()[6:]: value.split() for name, value in state.items() if name.startswith(b"table:")}
        return {table: (int(incarnation), int(position)) for table, (incarnation, position) in found.items()}

    def _apply(
        self, client: Redis, whose: Whose, standing: Standing, reached: Reached, how: str, rest: list[Any]
    ) -> None:
        to = [reached.incarnation, reached.position, reached.leaf or b""]
        self._check(
            whose, _run(client, APPLY, _keys(whose), [*self._at(standing), *to, how, names.prefix_of(whose), *rest])
        )

    def _at(self, standing: Standing) -> list[Any]:
        return [standing.generation, self._kinds, standing.reached.incarnation, standing.reached.position]

    def _check(self, whose: Whose, said: bytes) -> None:
        if said != b"A":
            raise errors.ProjectionMoved(self.name, str(whose.tenant))

    @contextmanager
    def _asking(self) -> Iterator[Redis]:
        from redis.exceptions import RedisError

        if self._opened is None:
            self._opened = cache.open(self._server)
        try:
            yield self._opened
        except (RedisError, OSError) as error:
            raise errors.StoreUnavailable("the cache", self._server.address, one_line(error)) from error


def _keys(whose: Whose) -> list[str]:
    prefix = names.prefix_of(whose)
    return [f"{prefix}state", f"{prefix}making"]


def _run(client: Redis, script: Script, keys: list[str], arguments: list[Any]) -> bytes:
    """A script, by its name, or whole for a server that does not know it."""
    from redis.exceptions import NoScriptError

    try:
        said: Any = client.evalsha(script.sha.decode(), len(keys), *keys, *arguments)
    except NoScriptError:
        said = client.eval(script.text, len(keys), *keys, *arguments)
    return bytes(said)


def _literally(text: str) -> str:
    """For a pattern of the server's."""
    return "".join(f"\\{each}" if each in "*?[]\\^" else each for each in text)
