"""Tenants that a follower has to make anew: a few at once, each in a thread of its own."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from threading import Lock, Thread
from uuid import UUID

import psycopg

from kos import errors
from kos.pace import Resting
from kos.projections.generation import Site, rebuild
from kos.projections.model import Projection, Whose
from kos.tenancy import Place, Store

MAKING = 2  # tenants at once: so that small ones don't wait for a large one
POSTGRES = "PostgreSQL"  # as errors call it

_PASSING = (errors.StoreBusy, errors.ConnectionLost, errors.ProjectionMoved, psycopg.OperationalError)


class Remaking:
    """Whoever is wanted stays so until it is made. Asked and told by one thread only."""

    def __init__(
        self,
        make: Callable[[], Projection],
        store: Store,
        place: Place,
        ended: Callable[[], None],
        told: Callable[[UUID, Exception], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """A thread that is at its end calls `ended`, and before that `told` of what went wrong."""
        self.resting = Resting()
        self._make, self._store, self._place = make, store, place
        self._ended, self._told, self._clock = ended, told, clock
        self._wanted: dict[UUID, None] = {}  # in the order in which they came
        self._threads: dict[UUID, Thread] = {}  # also those that have ended
        self._lock = Lock()
        self._done: dict[UUID, bool] = {}

    def __contains__(self, tenant: UUID) -> bool:
        """Whether a thread is making it just now."""
        thread = self._threads.get(tenant)
        return thread is not None and thread.is_alive()

    def __len__(self) -> int:
        """How many are being made."""
        return sum(thread.is_alive() for thread in self._threads.values())

    def want(self, tenant: UUID) -> None:
        """It has to be made anew."""
        self._wanted[tenant] = None

    def drop(self, tenant: UUID) -> None:
        """It has not: it is gone, or has nothing."""
        self._wanted.pop(tenant, None)
        self.resting.done(tenant)

    def done(self) -> dict[UUID, bool]:
        """Those that were made since this was last asked; False: somebody else makes it, who looks again sees."""
        with self._lock:
            found, self._done = self._done, {}
        for tenant, made in found.items():
            self._wanted.pop(tenant, None)
            if made:
                self.resting.done(tenant)
        return found

    def start(self, whose: Callable[[UUID], Whose]) -> None:
        """As many as may be, of those that are wanted."""
        now = self._clock()
        for tenant in list(self._wanted):
            if len(self) >= MAKING:
                return
            if tenant not in self and not self.resting.rests(tenant, now):
                self._threads = {each: thread for each, thread in self._threads.items() if thread.is_alive()}
                self._threads[tenant] = Thread(
                    target=self._rebuild, args=(whose(tenant),), name=f"rebuild {tenant}", daemon=True
                )
                self._threads[tenant].start()

    def _rebuild(self, whose: Whose) -> None:
        """In a thread and with connections of its own."""
        try:
            with closing(self._make()) as projection:
                rebuild(Site(self._store, self._place, projection, whose))
            self._note(whose.tenant, made=True)
        except errors.ProjectionBusy:
            self.resting.rest(whose.tenant, self._clock())
            self._note(whose.tenant, made=False)
        except Exception as raised:  # noqa: BLE001 - told, and tried again after a while
            if self._is_passing(raised):
                self.resting.rest(whose.tenant, self._clock())
            else:
                self.resting.park(whose.tenant, self._clock(), str(raised))
            self._told(whose.tenant, raised)
        finally:
            self._ended()

    def _note(self, tenant: UUID, *, made: bool) -> None:
        with self._lock:
            self._done[tenant] = made

    def _is_passing(self, raised: Exception) -> bool:
        """Whether it is no fault of the tenant's. A store that answers, and won't have this tenant, is tried less and
        less often; one that is gone comes back."""
        if not isinstance(raised, errors.StoreUnavailable):
            return isinstance(raised, _PASSING)
        try:
            with closing(self._make()) as projection:
                projection.identity()
        except Exception:  # noqa: BLE001 - what is wrong with the store is told by who follows
            return True
        return raised.store == POSTGRES
