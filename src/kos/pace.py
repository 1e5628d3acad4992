"""When to ask again, whom to take next, and whom to leave alone for a while. Pure: the time is an argument."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from uuid import UUID

BUSY_SECONDS = 0.01
IDLE_SECONDS = 0.25

PARK_FIRST_SECONDS = 1.0
PARK_MOST_SECONDS = 60.0
REST_FIRST_SECONDS = 0.05
REST_MOST_SECONDS = 1.0


class Growing:
    """A pause that doubles from `first` to `most`, until it is reset."""

    def __init__(self, first: float, most: float) -> None:
        self._first = first
        self._most = most
        self._next = first

    def take(self) -> float:
        """The pause to make now; the next one is longer."""
        now, self._next = self._next, min(self._next * 2, self._most)
        return now

    def reset(self) -> None:
        """Begin with the shortest again."""
        self._next = self._first


@dataclass(frozen=True)
class Rest:
    """A tenant that is left alone until then; `error` says why its seal fails, None where it only could not be now."""

    until: float
    times: int
    error: str | None


class Resting:
    """The tenants of one database that are left alone for a while, each longer the more often in a row."""

    def __init__(self) -> None:
        self._rests: dict[UUID, Rest] = {}

    def __len__(self) -> int:
        return len(self._rests)

    def rest(self, tenant: UUID, now: float) -> None:
        """Its rows could not be sealed yet: somebody has its lock, or an older transaction is under way."""
        self._add(tenant, now, None, REST_FIRST_SECONDS, REST_MOST_SECONDS)

    def park(self, tenant: UUID, now: float, error: str) -> Rest:
        """Its seal fails."""
        return self._add(tenant, now, error, PARK_FIRST_SECONDS, PARK_MOST_SECONDS)

    def done(self, tenant: UUID) -> None:
        """It was sealed."""
        self._rests.pop(tenant, None)

    def keep(self, waiting: Collection[UUID]) -> None:
        """Only these wait for anything."""
        self._rests = {tenant: rest for tenant, rest in self._rests.items() if tenant in waiting}

    def rests(self, tenant: UUID, now: float) -> bool:
        """Whether the tenant is to be left alone still."""
        found = self._rests.get(tenant)
        return found is not None and found.until > now

    def next_end(self, now: float) -> float | None:
        """In how many seconds the first rest ends."""
        ends = [rest.until - now for rest in self._rests.values() if rest.until > now]
        return min(ends, default=None)

    def parked(self) -> dict[UUID, Rest]:
        """Those whose seal fails."""
        return {tenant: rest for tenant, rest in self._rests.items() if rest.error is not None}

    def _add(self, tenant: UUID, now: float, error: str | None, first: float, most: float) -> Rest:
        before = self._rests.get(tenant)
        # A reason of the other kind begins anew: a lock that is taken says nothing about a seal that fails.
        times = before.times if before and (before.error is None) == (error is None) else 0
        rest = Rest(now + min(first * 2.0 ** min(times, 30), most), times + 1, error)
        self._rests[tenant] = rest
        return rest


def ready_of(waiting: Sequence[UUID], running: Collection[UUID], resting: Resting, now: float) -> list[UUID]:
    """Whom to seal next, in the order of `waiting`: with the longest waiting first nobody starves."""
    return [tenant for tenant in waiting if tenant not in running and not resting.rests(tenant, now)]


def longest(waited: Sequence[float | None]) -> float | None:
    """The longest of these waits, in seconds; None if one is not known."""
    known = [seconds for seconds in waited if seconds is not None]
    return max(known, default=0.0) if len(known) == len(waited) else None
