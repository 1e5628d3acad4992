"""Events as lines of JSON, page by page, as fast as the client reads and no faster."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace

from kos.console import plain
from kos.errors import KosError, LogError
from kos.feed_server.access import Access
from kos.log import Cursor, Event, read
from kos.log.whose import Owner
from kos.translate import translated

FIRST, MOST = 64, 1024  # events of a page
PAGE_BYTES = 1 << 20  # pages that have more get shorter
IDLE_FIRST, IDLE_MOST = 0.05, 1.0  # seconds between two looks for new events


class Stream:
    """The events of one tenant after a cursor. The client's socket sets the pace: a page is read from the database
    when the one before is sent."""

    def __init__(self, access: Access, owner: Owner, cursor: Cursor, heartbeat: float) -> None:
        self._access = access
        self._owner = owner
        self._cursor = cursor
        self._heartbeat = heartbeat
        self._limit = FIRST

    async def page(self) -> bytes:
        """The next lines; none where nothing is there.

        Raises:
            FeedDiverged: the log was restored.
        """
        return await asyncio.to_thread(self._page)

    def _page(self) -> bytes:
        with self._access.session(self._owner.place) as connection:
            events = read(connection, self._owner.id, self._cursor, self._limit)
        if not events:
            return b""
        self._cursor = Cursor.after(events[-1])
        lines = b"".join(map(line, events))
        self._limit = max(1, min(MOST, 2 * self._limit, self._limit * PAGE_BYTES // len(lines)))
        return lines

    async def lines(self, first: bytes, *, follow: bool, ended: Callable[[], bool]) -> AsyncIterator[bytes]:
        """All pages, of which the first is read already; with `follow` also what comes later, and heartbeats."""
        page, idle, told = first, IDLE_FIRST, time.monotonic()
        try:
            while not ended():
                if page:
                    yield page
                    idle, told = IDLE_FIRST, time.monotonic()
                elif not follow:
                    return
                elif time.monotonic() - told >= self._heartbeat:
                    yield said({"type": "heartbeat", "position": self._cursor.position})
                    told = time.monotonic()
                else:
                    await asyncio.sleep(idle)
                    idle = min(IDLE_MOST, 2 * idle)
                page = await self.page()
        except Exception as error:
            known = translated(error)
            if known is None:
                raise
            yield said({"type": "error", **told_of(known)})


def line(event: Event) -> bytes:
    """As `kos feed tail --json` prints it."""
    return said({**plain(replace(event, leaf=b"")), "leaf": event.leaf.hex()})


def said(value: dict[str, object]) -> bytes:
    """One line."""
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def told_of(error: KosError) -> dict[str, object]:
    """An error for a client. What a server of ours said is not its concern."""
    ours = not isinstance(error, LogError)
    name = type(error).__name__
    return {"error": name, "message": "" if ours else str(error), "retryable": error.retryable}
