"""What a load measures, with a clock of the test's own."""

from __future__ import annotations

import random

import pytest

from kos.workload.clients import LONGEST_WAIT, SHORTEST_WAIT, Backoff, skewed
from kos.workload.meter import Meter, line


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def meter(clock: Clock) -> Meter:
    return Meter(clock)


def acknowledge(meter: Meter, clock: Clock, at: float, *, took: float = 0.001) -> None:
    clock.now = 100.0 + at
    meter.attempt()
    meter.acknowledge(since=clock.now - took)


def test_speed_is_over_the_whole_run(meter: Meter, clock: Clock) -> None:
    for number in range(1, 101):
        acknowledge(meter, clock, number / 10, took=number / 1000)
    clock.now = 120.0
    meter.end()
    speed = meter.speed()
    assert speed.seconds == 20.0
    assert speed.tps == 5.0
    assert speed.p50_ms == pytest.approx(50)
    assert speed.p99_ms == pytest.approx(99)


def test_the_longest_stall_lies_between_two_acknowledgements(meter: Meter, clock: Clock) -> None:
    for at in (5.0, 5.1, 9.1, 9.2):
        acknowledge(meter, clock, at)
    clock.now = 110.0
    meter.end()
    assert meter.speed().longest_stall_ms == pytest.approx(4_000)


def test_the_last_stall_lasts_until_the_end(meter: Meter, clock: Clock) -> None:
    acknowledge(meter, clock, 1.0)
    acknowledge(meter, clock, 2.0)
    clock.now = 130.0
    meter.end()
    assert meter.speed().longest_stall_ms == pytest.approx(28_000)


def test_a_run_without_any_acknowledgement_is_one_stall(meter: Meter, clock: Clock) -> None:
    clock.now = 107.0
    meter.end()
    speed = meter.speed()
    assert (speed.tps, speed.p50_ms, speed.longest_stall_ms) == (0.0, 0.0, 7_000.0)


def test_what_is_acknowledged_after_the_end_was_under_way(meter: Meter, clock: Clock) -> None:
    acknowledge(meter, clock, 1.0)
    meter.end()
    acknowledge(meter, clock, 1.5)
    assert meter.speed().longest_stall_ms == pytest.approx(500)
    assert meter.acknowledged == 2


def test_a_reading_tells_of_the_time_since_the_last(meter: Meter, clock: Clock) -> None:
    for at in (0.5, 1.0):
        acknowledge(meter, clock, at)
    assert meter.reading().tps == 2.0
    acknowledge(meter, clock, 1.5)
    clock.now = 105.0
    reading = meter.reading()
    assert reading.tps == 0.25
    assert reading.quiet == 3.5
    assert reading.longest_stall == 3.5
    assert "nothing for 3.5 s" in line(reading)
    assert len(line(reading, 600)) <= 96


def test_back_off_grows_to_its_limit_and_starts_again() -> None:
    backoff = Backoff(jitter=lambda: 1.0)
    waits = [backoff.failed() for _ in range(8)]
    assert waits == sorted(waits)
    assert waits[0] == 2 * SHORTEST_WAIT
    assert waits[-1] == LONGEST_WAIT
    backoff.succeeded()
    assert backoff.failed() == waits[0]


def test_jitter_spreads_the_clients() -> None:
    choose = random.Random(1)
    waits = {Backoff(choose.random).failed() for _ in range(100)}
    assert len(waits) == 100
    assert min(waits) >= SHORTEST_WAIT
    assert max(waits) <= 2 * SHORTEST_WAIT


def test_tenants_differ_in_size() -> None:
    assert skewed(4) == [1, 1 / 2, 1 / 3, 1 / 4]
