"""Reading through the cache, in a session."""

from __future__ import annotations

from asyncio import sleep
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

import psycopg

from kos import errors, sql
from kos.projections.cache import decisions
from kos.projections.cache.async_wire import AsyncLines
from kos.projections.cache.decisions import Answer, Position, Said, Wish
from kos.projections.cache.kinds import KINDS, CacheKind, Key, by_name, kinds_of
from kos.projections.cache.wire import Command, Lost, Refused
from kos.tenancy.async_session import AsyncSession
from kos.topology.model import CacheServer, Topology

QUERIES = sql.load("kos.projections.cache")
LOST = "KS028"


class AsyncCacheReader:
    """What a store's sessions read through. `server` None: there is no cache, PostgreSQL answers.

    A read costs at most `budget` seconds for the cache beside what PostgreSQL takes, and waits at most `patience` for
    another reader that loads the same; a reader that loads is believed to be at it for `lease` seconds. `kinds` are
    those that sessions may name; the worker has to have the same.
    """

    def __init__(
        self,
        server: CacheServer | None,
        kinds: Sequence[CacheKind] = KINDS,
        *,
        budget: float = 0.05,
        patience: float = 0.05,
        lease: float = 1.0,
        ttl: float = 3600.0,
        negative_ttl: float = 60.0,
    ) -> None:
        self.counters = decisions.Counters()
        self.budget = budget
        self.patience = patience
        self.ttl = ttl
        self.negative_ttl = negative_ttl
        self._kinds = by_name(kinds)
        self._lease = b"%d" % max(1, round(lease * 1000))
        self._lines = AsyncLines(server) if server else None
        self._breaker = decisions.Breaker()
        self._bookmarks = decisions.KnownBookmarks()

    @classmethod
    def of(cls, topology: Topology) -> AsyncCacheReader:
        """Of the cache that is configured, with the kinds that are declared."""
        return cls(topology.cache, kinds_of(topology))

    async def read(
        self,
        session: AsyncSession,
        kind: str,
        key: Key,
        load: Callable[[], Any],
        *,
        ttl: float | None = None,
        any_user: bool = False,
    ) -> Any:
        """The value of a key, from the cache or from `load`; see `cached` of a session."""
        if kind not in self._kinds:
            raise errors.UnknownCacheKind(kind, ", ".join(sorted(self._kinds)))
        if ttl is not None and not ttl > 0:
            raise ValueError(f"ttl is in seconds and more than 0, not {ttl!r}")
        kept = self.ttl if ttl is None else ttl
        wish = Wish.of(self._kinds[kind], key, session.tenant, session.entry, kept, any_user=any_user)
        if self._lines is None or session.entry.isolation != "read committed" or not session.has_only_read:
            self.counters.around += 1
            return await self._load(wish, load)
        if not self._breaker.allows(monotonic()):
            self.counters.resting += 1
            return await self._load(wish, load)
        need = await self._need(session)
        if need is None:
            self.counters.around += 1
            return await self._load(wish, load)
        if not wish.is_of(session.tenant):  # it was entered, and has moved
            wish = Wish.of(wish.kind, key, session.tenant, session.entry, kept, any_user=any_user)
        return await self._through(session, wish, need, load)

    async def close(self) -> None:
        """End the connections to the cache."""
        if self._lines:
            await self._lines.close()

    async def _through(self, session: AsyncSession, wish: Wish, need: Position, load: Callable[[], Any]) -> Any:
        deadline = monotonic() + self.budget
        answer = await self._look(wish, need, deadline)
        if answer is not None and answer.said is Said.WAIT:
            began = monotonic()
            answer = await self._wait(wish, need, deadline)
            deadline += min(monotonic() - began, self.patience)
        if answer is None:
            return await self._load(wish, load)
        if answer.said is Said.VALUE:
            self.counters.hits += 1
            return answer.value
        self.counters.misses += 1
        if answer.generation:
            return await self._fill(session, wish, answer.generation, load, deadline - monotonic())
        if answer.said is Said.NO_STATE:
            await self._ask(decisions.want_command(wish), deadline)
        return await self._load(wish, load)

    async def _need(self, session: AsyncSession) -> Position | None:
        """Where a value must be at least; None as long as the session's bookmark isn't sealed."""
        mark = session.after
        if mark is None:
            return decisions.ANY
        known = self._bookmarks.find(session.tenant, mark)
        if known:
            return known
        facts = {"incarnation": mark.incarnation, "transaction": str(mark.transaction)}
        try:
            cursor = await session.look(QUERIES.bookmark_position, facts)
            row = await cursor.fetchone()
        except psycopg.Error as error:
            if error.sqlstate == LOST:
                raise errors.BookmarkLost(str(mark)) from error
            raise
        if row is None or row[0] is None:
            return None
        return self._bookmarks.note(session.tenant, mark, row[0])

    async def _look(self, wish: Wish, need: Position, deadline: float) -> Answer | None:
        reply = await self._ask(decisions.read_command(wish, need, self._lease), deadline)
        try:
            return None if reply is None else decisions.answer_of(reply)
        except decisions.Nonsense:
            self._failed()
            return None

    async def _wait(self, wish: Wish, need: Position, deadline: float) -> Answer | None:
        """Another reader loads it: look again for a while. Whoever has waited in vain loads it too."""
        self.counters.waits += 1
        until = monotonic() + self.patience
        while True:
            await sleep(decisions.POLL)
            found = await self._look(wish, need, deadline + self.patience)
            if found is None or found.said is not Said.WAIT or monotonic() >= until:
                return found

    async def _fill(
        self, session: AsyncSession, wish: Wish, generation: bytes, load: Callable[[], Any], left: float
    ) -> Any:
        """Read the end of the log, then the row; so what is kept has everything up to there."""
        leave = decisions.leave_command(wish, generation)
        try:
            cursor = await session.look(QUERIES.log_head)
            head = await cursor.fetchone()
            payload = decisions.payload_of(wish.kind, await load())
            may_keep = head is not None and await self._may_keep(session, wish, has_written=head[2])
        except Exception:  # whoever waits for it need not
            await self._ask(leave, monotonic() + left)
            raise
        if head is None or not may_keep:
            await self._ask(leave, monotonic() + left)
        else:
            ttl = min(wish.ttl, self.negative_ttl) if payload == b"n" else wish.ttl
            command = decisions.fill_command(wish, generation, Position(head[0], head[1]), payload, ttl)
            if await self._ask(command, monotonic() + left) == b"F":
                self.counters.fills += 1
            else:
                self.counters.refused += 1
        return decisions.value_of(payload)

    async def _may_keep(self, session: AsyncSession, wish: Wish, *, has_written: bool) -> bool:
        """Whether what was loaded may be others': nothing of it is this transaction's own, and the tenant was not
        found elsewhere when it was entered."""
        if has_written or not wish.is_of(session.tenant):
            return False
        if session.has_only_read:
            return True
        settled = session.settled
        cursor = await session.look(QUERIES.log_head)
        row = await cursor.fetchone()
        if row is None or row[2]:
            return False
        session.has_written_nothing(settled)  # so that its next reads need not go around the cache
        return True

    async def _load(self, wish: Wish, load: Callable[[], Any]) -> Any:
        """Without the cache; what comes out is what would come out of it."""
        return decisions.value_of(decisions.payload_of(wish.kind, await load()))

    async def _ask(self, command: Command, deadline: float) -> bytes | None:
        """What the cache says; None where it does not, or has no room, or is no cache that can be written."""
        assert self._lines
        try:
            reply = await self._lines.ask(command, deadline)
        except (Lost, Refused) as error:
            if isinstance(error, Lost) or decisions.is_a_read(command):
                self._failed()
            return None
        self._breaker.answered()
        return reply

    def _failed(self) -> None:
        self.counters.failures += 1
        self._breaker.failed(monotonic())
