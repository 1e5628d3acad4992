"""Measuring arms against each other: interleaved, in several rounds, as ratios with their spread. What is promised as
a figure of its own, such as no failed statement, is held to the worst of all rounds.

Words: an *arm* is one way to do the work; the *control* is the arm that shows what a figure means, by losing or by
being the plain way; a *round* runs every arm once, so that what the machine does meanwhile meets all of them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Times = dict[str, list[float]]
"""Seconds per call, one figure for each round."""


@dataclass(frozen=True)
class Ratio:
    """The median of the rounds' ratios, and the quartiles around it."""

    median: float
    low: float
    high: float
    unit = "×"

    @property
    def held(self) -> float:
        """What a bar is held against."""
        return self.median

    def __str__(self) -> str:
        return f"{self.median:.2f}× ({self.low:.2f}–{self.high:.2f})"


@dataclass(frozen=True)
class Worst:
    """The worst figure of all rounds: no median hides it."""

    held: float
    unit: str = ""

    def __str__(self) -> str:
        return shown(self.held, self.unit)


@dataclass(frozen=True)
class Bar:
    """What a figure must be: at least, or at most, so much, in the figure's unit."""

    at_least: float | None = None
    at_most: float | None = None

    def reached(self, found: Ratio | Worst) -> bool:
        if self.at_least is not None and found.held < self.at_least:
            return False
        return self.at_most is None or found.held <= self.at_most

    def told(self, unit: str) -> str:
        """For a table."""
        limits = (("≥", self.at_least), ("≤", self.at_most))
        return " and ".join(f"{sign} {shown(limit, unit)}" for sign, limit in limits if limit is not None)


@dataclass(frozen=True)
class Finding:
    """One figure, and the bar it is held to; without a bar it is there to be read beside the others."""

    what: str
    ratio: Ratio | Worst
    bar: Bar | None = None
    is_control: bool = False

    @property
    def verdict(self) -> str:
        if self.bar is None:
            return ""
        return "reached" if self.bar.reached(self.ratio) else "NOT reached"


@dataclass
class Report:
    """What one claim's file found: its findings, figures beside them (what, value), a table (its head first), notes."""

    claim: str
    findings: list[Finding] = field(default_factory=list)
    figures: list[tuple[str, str]] = field(default_factory=list)
    table: list[tuple[str, ...]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def ratio(numerators: Sequence[float], denominators: Sequence[float]) -> Ratio:
    """Round by round, then the median and the quartiles of that.

    Raises:
        ValueError: the two do not have the same rounds, or there are fewer than two.
    """
    ratios = [above / below for above, below in zip(numerators, denominators, strict=True)]
    if len(ratios) < 2:
        raise ValueError("a spread needs two rounds or more")
    low, _, high = statistics.quantiles(ratios, n=4, method="inclusive")
    return Ratio(statistics.median(ratios), low, high)


def speed(times: Times, arm: str, against: str) -> Ratio:
    """How fast `arm` is, as a multiple of the other: above 1 it is faster."""
    return ratio(times[against], times[arm])


def cost(times: Times, arm: str, against: str) -> Ratio:
    """How long `arm` takes, as a multiple of the other: above 1 it is slower."""
    return ratio(times[arm], times[against])


def median_of(times: Times, arm: str) -> float:
    """Seconds per call."""
    return statistics.median(times[arm])


def orders(names: Sequence[str], rounds: int) -> Iterator[list[str]]:
    """The order of the arms in each round: each goes first as often as the others, since going first may cost."""
    for number in range(rounds):
        turn = number % len(names)
        yield [*names[turn:], *names[:turn]]


def measure(
    arms: Mapping[str, Callable[[int], object]],
    *,
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """Run each arm `calls` times in every round, with the number of the call.

    The figure of a round is the median over its calls: one call that waited for another program says nothing of the
    arm. A round that is not counted goes first.
    """
    times: Times = {name: [] for name in arms}
    for number, order in enumerate(orders(list(arms), rounds + 1)):
        for name in order:
            arm, taken = arms[name], []
            for call in range(calls):
                began = clock()
                arm(call)
                taken.append(clock() - began)
            if number:
                times[name].append(statistics.median(taken))
    return times


async def measure_async(
    arms: Mapping[str, Callable[[int], Awaitable[object]]],
    *,
    rounds: int,
    calls: int,
    clock: Callable[[], float] = time.perf_counter,
) -> Times:
    """`measure` for coroutines, in the running loop."""
    times: Times = {name: [] for name in arms}
    for number, order in enumerate(orders(list(arms), rounds + 1)):
        for name in order:
            arm, taken = arms[name], []
            for call in range(calls):
                began = clock()
                await arm(call)
                taken.append(clock() - began)
            if number:
                times[name].append(statistics.median(taken))
    return times


def shown(figure: float, unit: str) -> str:
    """For a table: ratios with two digits, counts and times without more than they need."""
    if unit == Ratio.unit:
        return f"{figure:.2f}×"
    return f"{figure:,.0f}{unit}" if figure >= 100 or figure == int(figure) else f"{figure:.3g}{unit}"


def microseconds(seconds: float) -> str:
    """For a table."""
    return f"{seconds * 1e6:.1f} µs" if seconds < 0.001 else f"{seconds * 1e3:.2f} ms"
