"""Find the tenants of one database that have begun to wait, and count what waits: what has to look at all of them.

In a thread and a session of its own: such a look reads over the rows of every transaction that is under way, and the
tenants that are known already shall not wait for it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Lock, Thread
from uuid import UUID

from kos.pace import BUSY_SECONDS, IDLE_SECONDS, Growing
from kos.worker.seals import QUERIES, Connection

MOST_TENANTS = 1000  # in one look; the longest waiting first, so the others come next
STATUS_SECONDS = 5.0
SHARE = 10  # of its time, a look that takes long runs one part in so many; but
LONGEST_STATUS_SECONDS = 60.0  # between two looks at the state of the log
LONGEST_PAUSE_SECONDS = 1.0  # a tenant that is new waits no longer for the next look
AGAIN_SECONDS = 1.0  # after a look that failed


@dataclass(frozen=True)
class Counted:
    """What the metrics say of the log."""

    pending: int
    broken: int


class Finder:
    """Looks while it is let. In its thread, `noticed` is called when there is something to `take`, and `failed` when a
    look has failed, which is then tried again."""

    def __init__(
        self,
        name: str,
        connect: Callable[[], Connection],
        noticed: Callable[[], None],
        failed: Callable[[Exception], None],
        counted: Callable[[Counted], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock = clock
        self._connect, self._noticed, self._failed, self._counted = connect, noticed, failed, counted
        self._found: set[UUID] = set()
        self.failure: Exception | None = None  # of the last look
        self.looked: float | None = None  # when the last look ended that did not fail; None before the first
        self._lock = Lock()
        self._may_look, self._ends = Event(), Event()
        self._pause = Growing(BUSY_SECONDS, IDLE_SECONDS)
        self._status_due = 0.0
        self._thread = Thread(target=self._run, name=f"find {name}", daemon=True)

    def start(self) -> None:
        """Begin, as soon as it is let look."""
        self._thread.start()

    def let(self, *, look: bool) -> None:
        """Only who leads looks."""
        (self._may_look.set if look else self._may_look.clear)()

    def stop(self) -> None:
        """End after the look that is under way; returns at once."""
        self._ends.set()
        self._may_look.set()

    def wait(self, seconds: float) -> None:
        """Wait for the end of it."""
        self._thread.join(seconds)

    def take(self) -> set[UUID]:
        """Tenants that were seen waiting since the last time."""
        with self._lock:
            found, self._found = self._found, set()
        return found

    def _run(self) -> None:
        while not self._ends.is_set():
            if not self._may_look.wait(IDLE_SECONDS):
                continue
            try:
                with self._connect() as connection:
                    self._look_on(connection)
            except Exception as raised:  # noqa: BLE001 - told by the watch; tenants that are known are sealed meanwhile
                if not self._ends.is_set():
                    self.failure = raised
                    self._failed(raised)
                self._ends.wait(AGAIN_SECONDS)

    def _look_on(self, connection: Connection) -> None:
        while self._may_look.is_set() and not self._ends.is_set():
            began = self._clock()
            found = {tenant for tenant, _, _ in connection.execute(QUERIES.unsealed, {"most": MOST_TENANTS})}
            self.looked = self._clock()
            took = self.looked - began
            if found:
                self._pause.reset()
                with self._lock:
                    self._found |= found
                self._noticed()
            if began >= self._status_due:
                pending, broken = connection.execute(QUERIES.log_status).fetchone() or (0, 0)
                self._counted(Counted(pending or 0, broken or 0))
                # It looks at each logged table, of which there can be ten thousand.
                rest = min((self._clock() - self.looked) * SHARE, LONGEST_STATUS_SECONDS)
                self._status_due = began + max(STATUS_SECONDS, rest)
            self.failure = None
            self._ends.wait(max(self._pause.take(), min(took * (SHARE - 1), LONGEST_PAUSE_SECONDS)))
