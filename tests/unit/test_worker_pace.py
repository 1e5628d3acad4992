"""When the worker asks again, whom it seals next, and whom it leaves alone."""

from __future__ import annotations

import logging
import uuid

from kos.pace import Growing, Resting, ready_of
from kos.worker.log_lines import JsonLines

A, B, C = (uuid.UUID(int=number) for number in (1, 2, 3))


def test_a_pause_doubles_and_begins_anew() -> None:
    pause = Growing(0.01, 0.25)
    assert [pause.take() for _ in range(7)] == [0.01, 0.02, 0.04, 0.08, 0.16, 0.25, 0.25]
    pause.reset()
    assert pause.take() == 0.01


def test_who_is_ready_keeps_the_order_of_those_who_wait() -> None:
    resting = Resting()
    resting.park(B, 100.0, "broken")
    assert ready_of([C, B, A], {A}, resting, 100.5) == [C]
    assert ready_of([C, B, A], set(), resting, 101.0) == [C, B, A]


def test_a_tenant_is_parked_longer_each_time_until_a_minute() -> None:
    resting, now = Resting(), 0.0
    pauses = []
    for _ in range(9):
        rest = resting.park(A, now, "broken")
        pauses.append(rest.until - now)
        now = rest.until
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    resting.done(A)
    assert resting.park(A, now, "broken").until - now == 1


def test_one_that_only_has_to_wait_is_not_named_and_rests_briefly() -> None:
    resting = Resting()
    for _ in range(20):
        resting.rest(A, 0.0)
    assert resting.parked() == {}
    assert resting.next_end(0.0) == 1.0
    resting.park(A, 0.0, "broken")
    assert resting.next_end(0.0) == 1.0
    assert list(resting.parked()) == [A]


def test_who_waits_for_nothing_is_forgotten() -> None:
    resting = Resting()
    resting.park(A, 0.0, "broken")
    resting.park(B, 0.0, "broken")
    resting.keep([B])
    assert list(resting.parked()) == [B]


def test_a_line_of_the_log_is_one_json_object() -> None:
    record = logging.LogRecord("kos.worker", logging.INFO, "", 0, "leads", (), None)
    record.fields = {"database": "main/knowledge_os", "tenant": A}
    line = JsonLines().format(record)
    assert "\n" not in line
    assert line.endswith(f'"level": "info", "event": "leads", "database": "main/knowledge_os", "tenant": "{A}"}}')
