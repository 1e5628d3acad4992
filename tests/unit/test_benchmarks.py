"""The benchmarks' arithmetic, and that no claim stands without its control."""

from __future__ import annotations

import asyncio
import importlib
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

FOLDER = Path(__file__).parents[2] / "benchmarks"
SHARED = {"arms", "bench", "cache_races", "delay", "projection_log", "replica", "run", "stall_kinds", "stall_load"}
CLAIMS = sorted(path.stem for path in FOLDER.glob("*.py") if path.stem not in SHARED)
times = st.lists(st.floats(1e-6, 10), min_size=2, max_size=30)


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], ModuleType]:
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module
    for name in (*SHARED, *CLAIMS):
        sys.modules.pop(name, None)


@pytest.fixture
def arms(load: Callable[[str], ModuleType]) -> ModuleType:
    return load("arms")


def test_every_claim_is_run(load: Callable[[str], ModuleType]) -> None:
    assert sorted(load("run").CLAIMS) == CLAIMS


@pytest.mark.parametrize("name", CLAIMS)
def test_every_claim_with_a_bar_has_a_control(name: str, load: Callable[[str], ModuleType]) -> None:
    module = load(name)
    source = (FOLDER / f"{name}.py").read_text(encoding="utf-8")
    has_bar = "Bar(" in source
    assert has_bar == bool(module.CONTROL)
    assert has_bar == bool(re.search(r"Finding\([^\n]*(\n[^\n]*)?is_control=True", source))


def test_a_ratio_is_taken_round_by_round(arms: ModuleType) -> None:
    found = arms.ratio([2.0, 40.0, 9.0], [1.0, 10.0, 3.0])
    assert (found.median, found.low, found.high) == (3.0, 2.5, 3.5)


def test_speed_is_above_one_for_the_faster_and_cost_below(arms: ModuleType) -> None:
    taken = {"fast": [1.0, 1.0], "slow": [4.0, 4.0]}
    assert arms.speed(taken, "fast", "slow").median == 4.0
    assert arms.cost(taken, "fast", "slow").median == 0.25


@given(times)
def test_an_arm_against_itself_is_one(taken: list[float]) -> None:
    sys.path.insert(0, str(FOLDER))
    found = importlib.import_module("arms").ratio(taken, taken)
    sys.path.remove(str(FOLDER))
    assert (found.low, found.median, found.high) == (1.0, 1.0, 1.0)


def test_rounds_that_do_not_match_are_refused(arms: ModuleType) -> None:
    with pytest.raises(ValueError, match="zip"):
        arms.ratio([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="two rounds"):
        arms.ratio([1.0], [1.0])


@pytest.mark.parametrize(
    ("at_least", "at_most", "median", "reached"),
    [(0.8, None, 0.8, True), (0.8, None, 0.79, False), (None, 1.05, 1.05, True), (None, 1.05, 1.06, False)],
)
def test_a_bar_is_held_to_the_median(
    arms: ModuleType, at_least: float | None, at_most: float | None, median: float, reached: bool
) -> None:
    bar = arms.Bar(at_least=at_least, at_most=at_most)
    finding = arms.Finding("x", arms.Ratio(median, median / 2, median * 2), bar)
    assert bar.reached(finding.ratio) is reached
    assert finding.verdict == ("reached" if reached else "NOT reached")


def test_every_arm_goes_first_as_often_as_the_others(arms: ModuleType) -> None:
    assert Counter(order[0] for order in arms.orders(["a", "b", "c"], 9)) == {"a": 3, "b": 3, "c": 3}


def test_arms_take_turns_and_the_first_round_is_not_counted(arms: ModuleType) -> None:
    clock = Clock()
    seen: list[str] = []

    def arm(name: str, seconds: float) -> Callable[[int], None]:
        def run(call: int) -> None:
            seen.append(name)
            clock.now += 100.0 if call == 1 else seconds  # one call that waited for another program

        return run

    found = arms.measure({"a": arm("a", 1.0), "b": arm("b", 2.0)}, rounds=2, calls=3, clock=clock)
    assert found == {"a": [1.0, 1.0], "b": [2.0, 2.0]}
    assert "".join(seen) == "aaabbb" + "bbbaaa" + "aaabbb"


def test_coroutines_are_measured_alike(arms: ModuleType) -> None:
    clock = Clock()

    async def work(call: int) -> None:
        clock.now += 3.0

    found = asyncio.run(arms.measure_async({"a": work}, rounds=2, calls=3, clock=clock))
    assert found == {"a": [3.0, 3.0]}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now
