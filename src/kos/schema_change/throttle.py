"""How fast a fill may go on: limits that hold from the next batch on, whenever somebody changes them.

Between two batches, `Pace` asks for the limits anew and waits for as long as one of them is in the way:

* by hand: paused, or a rate of rows;
* the replicas: no batch begins while one is behind by more than half of what is allowed, or has not replayed the batch
  before: how far behind that will put it, it does not tell until then. Batches become as short as makes a replica need
  a quarter of what is allowed for each;
* the application: what its writers meet is a batch's rows, locked until the batch commits. So batches take half of
  the latency that is allowed, or less. And none begins while its statements take longer than that, by whatever tells
  (see `latency`), or while that can't be told.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

BATCH_SECONDS = 0.05  # what a batch is to take, and who meets it has to wait, where no limit asks for less
PAUSE = 0.2  # between two looks at the limits
LOOK = 0.02  # between two looks at replicas, which tell their lag the better the more often they are asked
TOLD = 1.0  # a figure that changes is told so often
SHORTEST = 0.01  # a batch that is to take less would do nothing but begin and commit
RATE_SECONDS = 0.5  # a batch has the rows of so much time at a limited rate, or fewer

GROWTH, SHRINKING = 2.0, 0.25  # the most that one batch changes the time of the next

RUNNING, PAUSED, RATE = "running", "paused", "rate limited"


@dataclass(frozen=True)
class Limits:
    """What a change may do while it runs. `max_rate` are rows per second and per placement that is filled; None is no
    limit. `latency_query` returns the milliseconds that `max_latency_ms` is for; without one kos looks itself."""

    paused: bool = False
    max_rate: float | None = None
    max_lag_ms: float | None = None
    max_latency_ms: float | None = None
    latency_query: str | None = None


@dataclass(frozen=True)
class Allowance:
    """What the next batch may take. `rows` is None where nothing limits them."""

    seconds: float
    rows: float | None


@dataclass(frozen=True)
class Measured:
    """A latency, and what has it. Without `milliseconds`, `reason` is why nobody can tell."""

    what: str
    milliseconds: float | None
    reason: str = ""

    @property
    def text(self) -> str:
        """For people."""
        return self.reason if self.milliseconds is None else f"{self.what} {self.milliseconds:.0f} ms"


Latencies = Callable[[str | None], Sequence[Measured]]
"""What the application feels, by a query where there is one."""

Lags = Callable[[], Mapping[str, float | None]]
"""How far each replica is behind, in milliseconds; None for one that does not answer."""


def nobody() -> Mapping[str, float | None]:
    """There are no replicas."""
    return {}


def roomy() -> bool:
    """There is room in the log."""
    return False


def unknown(query: str | None) -> Sequence[Measured]:
    """Nobody looks."""
    return [Measured("latency", None, "nobody looks at the latency")]


class Pace:
    """The pace of one fill.

    `limits` are asked for before every batch, `lags` and `latencies` where a limit needs them. `tell` hears "running",
    with the latency where that is limited, or what is waited for, whenever that changes. `make_room` lets the log catch
    up where too much waits for its position, tells so, and returns whether it did.
    """

    def __init__(
        self,
        limits: Callable[[], Limits] = Limits,
        lags: Lags = nobody,
        latencies: Latencies = unknown,
        tell: Callable[[str], None] = lambda state: None,
        make_room: Callable[[], bool] = roomy,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._limits = limits
        self._lags = lags
        self._latencies = latencies
        self._tell = tell
        self._make_room = make_room
        self.clock = clock
        self._wait = wait
        self._began: float | None = None
        self._rows = 0
        self._ended: float | None = None  # when the last batch did, until all replicas have it
        self._waited = False  # for a replica, since then
        self._replayed = SHORTEST  # seconds that a batch may take for the replicas' sake
        self._running = RUNNING
        self._kind = self._state = ""
        self._told = float("-inf")

    def before_batch(self) -> Allowance:
        """Wait until a batch may begin.

        Raises:
            ThrottleBlind: the replicas' lag is limited, and nobody here can see it.
        """
        if self._make_room():
            self._kind = ""  # it has told what it did
        while True:
            limits = self._limits()
            found = self._in_the_way(limits)
            if found is None:
                break
            self.rest(*found)
        self.say(RUNNING, self._running)
        self._began, self._rows = self.clock(), 0
        allowed = allowance(limits)
        return replace(allowed, seconds=min(allowed.seconds, self._replayed)) if limits.max_lag_ms else allowed

    def after_batch(self, rows: int) -> None:
        """So many rows were written."""
        self._rows += rows
        self._ended, self._waited = self.clock(), False

    def rest(self, kind: str, state: str, seconds: float) -> None:
        """Wait, and tell why. A `kind` is told at once, figures in its `state` now and then."""
        self.say(kind, state)
        self._wait(seconds)

    def say(self, kind: str, state: str) -> None:
        """Tell a state, if it is news."""
        now = self.clock()
        if kind != self._kind or (state != self._state and now - self._told >= TOLD):
            self._kind, self._state, self._told = kind, state, now
            self._tell(state)

    def _in_the_way(self, limits: Limits) -> tuple[str, str, float] | None:
        """What is, how to tell it, and how long to wait before the next look. What costs nothing is asked first."""
        if limits.paused:
            return PAUSED, PAUSED, PAUSE
        if limits.max_rate and self._began is not None:
            left = self._began + self._rows / limits.max_rate - self.clock()
            if left > 0:
                return RATE, f"{RATE}: {limits.max_rate:g} rows/s", min(left, PAUSE)
        return self._behind(limits.max_lag_ms) or self._slow(limits)

    def _behind(self, most: float | None) -> tuple[str, str, float] | None:
        if most is None:
            return None
        # A lag is the age of what is not replayed yet: one that is older than the batch's end has not got the batch.
        since = float("inf") if self._ended is None else (self.clock() - self._ended) * 1000
        for name, lag in sorted(self._lags().items(), key=_slowest_first):
            if lag is None:
                return f"replica {name} away", f"waiting for replica {name}, which does not answer", PAUSE
            if lag > min(most / 2, since):
                self._waited = True
                return f"replica {name}", f"waiting for replica {name}: {lag:.0f} ms", LOOK
        self._learn(most)
        return None

    def _learn(self, most: float) -> None:
        """From how long the replicas took for the last batch. Where nobody waited for them, they can take more."""
        if self._ended is not None:
            taken, wanted = self.clock() - self._ended, most / 4000
            factor = max(SHRINKING, min(GROWTH, wanted / taken)) if self._waited else GROWTH
            self._replayed = max(SHORTEST, min(BATCH_SECONDS, self._replayed * factor))
            self._ended = None

    def _slow(self, limits: Limits) -> tuple[str, str, float] | None:
        self._running, most = RUNNING, limits.max_latency_ms
        if most is None:
            return None
        found = self._latencies(limits.latency_query)
        worst = max(found, key=_latency)
        if worst.milliseconds is None or worst.milliseconds > most:
            return f"{worst.what}{worst.reason}", f"waiting: {worst.text}", PAUSE
        self._running = f"{RUNNING}: {found[-1].text}"
        return None


def allowance(limits: Limits) -> Allowance:
    """What a batch may take under limits that are not in its way now."""
    allowed = [each / 2000 for each in (limits.max_latency_ms, limits.max_lag_ms) if each]
    seconds = max(SHORTEST, min([BATCH_SECONDS, *allowed]))
    return Allowance(seconds, limits.max_rate * RATE_SECONDS if limits.max_rate else None)


def _latency(measured: Measured) -> float:
    return float("inf") if measured.milliseconds is None else measured.milliseconds


def _slowest_first(item: tuple[str, float | None]) -> float:
    return float("-inf") if item[1] is None else -item[1]
