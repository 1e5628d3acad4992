"""What a load measures while it runs."""

from __future__ import annotations

import threading
import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass
from math import ceil

QUIET_SECONDS = 0.5  # a silence that is worth telling


@dataclass(frozen=True)
class Reading:
    """A moment of a running load. `seconds` since it began, `quiet` since the last acknowledgement."""

    seconds: float
    attempted: int
    acknowledged: int
    failed: int
    reads: int
    tps: float
    quiet: float
    longest_stall: float


@dataclass(frozen=True)
class Speed:
    """Acknowledged writing transactions per second, how long one took, and the longest time without any (from the
    first one to the end of the run; all of the run if there was none)."""

    seconds: float
    tps: float
    p50_ms: float
    p99_ms: float
    longest_stall_ms: float


class Meter:
    """Counts, from any number of threads. A transaction is timed from its beginning to its acknowledgement."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.attempted = 0
        self.failed = 0
        self.reads = 0
        self.failed_reads = 0
        self._clock = clock
        self._lock = threading.Lock()
        self._latencies = array("f")
        self._began = clock()
        self._ended: float | None = None
        self._last: float | None = None
        self._longest = 0.0
        self._shown = (self._began, 0)

    def clock(self) -> float:
        """The time in seconds, of no particular origin."""
        return self._clock()

    def attempt(self) -> None:
        """A transaction that writes begins."""
        with self._lock:
            self.attempted += 1

    def acknowledge(self, since: float) -> None:
        """One was acknowledged that had begun at `since`."""
        with self._lock:
            now = self._clock()
            self._latencies.append(now - since)
            if self._last is not None:
                self._longest = max(self._longest, now - self._last)
            self._last = now

    def fail(self) -> None:
        """One was not acknowledged."""
        with self._lock:
            self.failed += 1

    def read(self, *, failed: bool = False) -> None:
        """A transaction that only reads came to its end."""
        with self._lock:
            self.failed_reads += failed
            self.reads += not failed

    def end(self) -> None:
        """Nothing new is begun."""
        self._ended = self._clock()

    @property
    def acknowledged(self) -> int:
        """Transactions that were acknowledged."""
        return len(self._latencies)

    def reading(self) -> Reading:
        """This moment; `tps` is over the time since the last reading."""
        with self._lock:
            now, count = self._clock(), len(self._latencies)
            then, before = self._shown
            self._shown = (now, count)
            quiet = 0.0 if self._last is None else now - self._last
            return Reading(
                seconds=now - self._began,
                attempted=self.attempted,
                acknowledged=count,
                failed=self.failed,
                reads=self.reads,
                tps=(count - before) / (now - then) if now > then else 0.0,
                quiet=quiet,
                longest_stall=max(self._longest, quiet),
            )

    def speed(self) -> Speed:
        """All of the run, whose last stall lasts until its end."""
        with self._lock:
            end = self._ended if self._ended is not None else self._clock()
            seconds = end - self._began
            stall = max(self._longest, end - (self._began if self._last is None else self._last))
            ordered = sorted(self._latencies)
        return Speed(
            seconds=seconds,
            tps=len(ordered) / seconds if seconds > 0 else 0.0,
            p50_ms=_at(ordered, 0.50) * 1000,
            p99_ms=_at(ordered, 0.99) * 1000,
            longest_stall_ms=stall * 1000,
        )


def _at(ordered: list[float], share: float) -> float:
    """The smallest value that at least that share of all values does not exceed."""
    return ordered[ceil(len(ordered) * share) - 1] if ordered else 0.0


def line(reading: Reading, of_seconds: float | None = None) -> str:
    """One reading, in one line of a terminal."""
    total = "" if of_seconds is None else f" of {of_seconds:.0f}"
    stall = f"longest stall {reading.longest_stall:.2f} s"
    if reading.quiet >= QUIET_SECONDS:
        stall = f"nothing for {reading.quiet:.1f} s"
    return (
        f"{reading.seconds:5.1f}{total} s  {reading.tps:6,.0f} tps  {reading.acknowledged:9,} acknowledged"
        f"  {reading.failed:,} failed  {stall}"
    )
