"""The pace of a fill: limits by hand, and those that the replicas and the application's latency set."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace

import pytest

from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from kos import errors
from kos.schema_change.feedback import ReplicaLag
from kos.schema_change.throttle import BATCH_SECONDS, Allowance, Limits, Measured, Pace, allowance
from kos.topology import postgres as opening
from kos.topology.model import Shard
from suites import spread


class Clock:
    """A clock that only waiting moves on."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


def pace_of(limits: list[Limits], told: list[str], clock: Clock, lags: list[Mapping[str, float | None]]) -> Pace:
    """A pace whose limits and lags are the last ones in the lists; lags are used up one by one."""

    def lag() -> Mapping[str, float | None]:
        return lags.pop(0) if len(lags) > 1 else lags[0]

    return Pace(lambda: limits[-1], lag, tell=told.append, clock=clock, wait=clock.wait)


def test_rows_are_limited_over_time() -> None:
    limits, told, clock = [Limits(max_rate=1000)], list[str](), Clock()
    pace = pace_of(limits, told, clock, [{}])
    for _ in range(20):
        pace.before_batch()
        clock.now += 0.05  # the batch
        pace.after_batch(500)
    assert clock.now == pytest.approx(19 * 0.5 + 0.05)
    assert told == [each for _ in range(19) for each in ("running", "rate limited: 1000 rows/s")] + ["running"]
    limits.append(Limits())
    pace.before_batch()
    assert clock.now == pytest.approx(19 * 0.5 + 0.05)


def test_the_slowest_replica_is_waited_for_until_it_is_behind_by_half_of_what_it_may() -> None:
    told: list[str] = []
    lags: list[Mapping[str, float | None]] = [
        {"a": 10.0, "b": 812.0}, {"a": 10.0, "b": 400.0}, {"a": None, "b": 20.0}, {"a": 251.0, "b": 0.0},
        {"a": 249.0, "b": 249.0},
    ]  # fmt: skip
    pace_of([Limits(max_lag_ms=500)], told, Clock(), lags).before_batch()
    assert told == [
        "waiting for replica b: 812 ms",
        "waiting for replica a, which does not answer",
        "waiting for replica a: 251 ms",
        "running",
    ]


class Follower:
    """A replica that replays each batch for a number of seconds for each second that the batch took."""

    def __init__(self, clock: Clock, slowness: float) -> None:
        self.clock = clock
        self.slowness = slowness
        self.until = 0.0
        self.ended: list[float] = []
        self.largest = 0.0

    def batch(self, seconds: float) -> None:
        self.clock.now += seconds
        self.ended.append(self.clock.now)
        self.until = max(self.until, self.clock.now) + seconds * self.slowness

    def lag(self) -> Mapping[str, float | None]:
        """Since the end of the last batch but one, as long as the last one is not replayed: before it, all was."""
        behind = self.clock.now < self.until
        lag = (self.clock.now - (self.ended[-2] if len(self.ended) > 1 else 0.0)) * 1000 if behind else 0.0
        if behind:
            self.largest = max(self.largest, (self.clock.now - self.ended[-1]) * 1000)
        return {"a": lag}


@pytest.mark.parametrize("slowness", [0.0, 0.5, 4.0, 12.0])
def test_batches_become_as_short_as_a_slow_replica_needs(slowness: float) -> None:
    clock = Clock()
    follower = Follower(clock, slowness)
    pace = Pace(lambda: Limits(max_lag_ms=500), follower.lag, clock=clock, wait=clock.wait)
    lasted = []
    for _ in range(60):
        lasted.append(pace.before_batch().seconds)
        assert clock.now >= follower.until, "a batch begins before the replica has the one before"
        follower.batch(lasted[-1])
        pace.after_batch(100)
    assert follower.largest <= 250
    wanted = BATCH_SECONDS if slowness < 0.125 / BATCH_SECONDS else 0.125 / slowness
    assert lasted[-1] == pytest.approx(max(wanted, 0.01), rel=0.35)


def test_without_a_limit_of_lag_replicas_are_not_waited_for() -> None:
    clock = Clock()
    follower = Follower(clock, 12.0)
    pace = Pace(Limits, follower.lag, clock=clock, wait=clock.wait)
    for _ in range(5):
        assert pace.before_batch().seconds == BATCH_SECONDS
        follower.batch(BATCH_SECONDS)
        pace.after_batch(100)
    assert clock.now == pytest.approx(5 * BATCH_SECONDS)


def test_nobody_asks_for_what_no_limit_needs() -> None:
    def fail(query: str | None) -> list[Measured]:
        raise AssertionError(query)

    def fail_too() -> Mapping[str, float | None]:
        raise AssertionError

    Pace(Limits, fail_too, fail).before_batch()


def test_the_slowest_and_what_nobody_can_tell_is_waited_for() -> None:
    told, clock = list[str](), Clock()
    asked: list[str | None] = []

    def latencies(query: str | None) -> list[Measured]:
        asked.append(query)
        if clock.now < 3:
            return [Measured("commits take", 2.0), Measured("it", None, "it fails")]
        slow = 300.0 if clock.now < 5 else 100.0
        commit = 251.0 if clock.now < 7 else 250.0
        return [Measured("commits take", commit), Measured("statements take", slow)]

    limits = Limits(max_latency_ms=250, latency_query="q")
    pace = Pace(lambda: limits, latencies=latencies, tell=told.append, clock=clock, wait=clock.wait)
    pace.before_batch()
    waits = ["waiting: it fails", "waiting: statements take 300 ms", "waiting: commits take 251 ms"]
    assert told == [*waits, "running: statements take 100 ms"]
    assert clock.now == pytest.approx(7, abs=0.3)
    assert set(asked) == {"q"}


def test_a_limit_of_latency_that_nobody_looks_at_is_none_that_is_kept() -> None:
    clock, told = Clock(), list[str]()

    def limits() -> Limits:
        return Limits(max_latency_ms=250 if clock.now < 1 else None)

    Pace(limits, tell=told.append, clock=clock, wait=clock.wait).before_batch()
    assert told == ["waiting: nobody looks at the latency", "running"]


def test_what_making_room_told_is_taken_back() -> None:
    clock, told, crowded = Clock(), list[str](), [False, True, False]
    pace = Pace(tell=told.append, make_room=lambda: crowded.pop(0), clock=clock, wait=clock.wait)
    for _ in range(3):
        pace.before_batch()
    assert told == ["running", "running"]


def test_limits_are_asked_when_room_was_made() -> None:
    clock, told = Clock(), list[str]()

    def limits() -> Limits:
        return Limits(paused=60 <= clock.now < 61)

    def make_room() -> bool:
        clock.wait(60)
        return True

    Pace(limits, tell=told.append, make_room=make_room, clock=clock, wait=clock.wait).before_batch()
    assert told == ["paused", "running"]


def test_limits_make_batches_smaller() -> None:
    assert allowance(Limits()) == Allowance(BATCH_SECONDS, None)
    assert allowance(Limits(max_latency_ms=50)) == Allowance(0.025, None)
    assert allowance(Limits(max_lag_ms=100, max_rate=40)) == Allowance(0.05, 20)


@pytest.fixture(scope="module")
def primary(own_postgres: MakePostgres) -> OwnPostgres:
    """A primary with one replica, which `kos.toml` would call `reader`."""
    server = own_postgres("wheel")
    server.configure(fsync="off")
    server.start()
    return server


@pytest.fixture(scope="module")
def shard(primary: OwnPostgres) -> Shard:
    return install_on(primary).control


@pytest.fixture(scope="module")
def replica(primary: OwnPostgres, shard: Shard, own_postgres: MakePostgres) -> OwnPostgres:
    copy = own_postgres("wheel")
    copy.clone(primary)
    copy.start()
    return copy


@pytest.mark.parametrize("named", spread([False, True], 2), ids=["seen by the primary", "named"])
def test_a_replica_that_stands_still_falls_behind(
    primary: OwnPostgres, shard: Shard, replica: OwnPostgres, named: bool
) -> None:
    server = replace(replica.server, name="reader", database=shard.primary.database)
    here = replace(shard, replicas=(server,) if named else ())
    login = shard.operator if named else primary.superuser
    with opening.connect(shard.primary, login) as connection, primary.connect() as writer, replica.connect() as reader:
        lags = ReplicaLag(connection, here)

        def slowest() -> float:
            found = lags()
            assert set(found) == ({"reader"} if named else {"walreceiver of main"})
            return max(lag or 0.0 for lag in found.values())

        def level() -> tuple[float, float]:
            """When it had everything: not before, not after."""
            until = time.monotonic() + 10
            while True:
                before = time.monotonic()
                if slowest() == 0:
                    return before, time.monotonic()
                assert before < until
                time.sleep(0.01)

        try:
            earliest, latest = level()
            reader.execute("select pg_wal_replay_pause()")
            while reader.execute("select pg_get_wal_replay_pause_state()").fetchone() != ("paused",):
                time.sleep(0.01)
            writer.execute("select pg_logical_emit_message(true, 'x', '')")
            for _ in range(5):
                time.sleep(0.1)
                asked = time.monotonic()
                found = slowest() / 1000
                assert asked - latest <= found <= time.monotonic() - earliest
        finally:
            reader.execute("select pg_wal_replay_resume()")
        level()
        lags.close()


@pytest.mark.parametrize("named", [True, False], ids=["named", "seen by the primary"])
def test_a_replica_that_is_gone_is_no_reason_to_go_faster(
    primary: OwnPostgres, shard: Shard, replica: OwnPostgres, named: bool
) -> None:
    server = replace(replica.server, name="reader", database=shard.primary.database)
    with primary.connect() as connection:
        lags = ReplicaLag(connection, replace(shard, replicas=(server,) if named else ()))
        assert None not in lags().values()
        replica.stop()
        until = time.monotonic() + 10
        while set(lags().values()) != {None}:
            assert time.monotonic() < until
        replica.start()
        while None in lags().values():
            assert time.monotonic() < until
        lags.close()


def test_hidden_replicas_are_no_throttle(primary: OwnPostgres, shard: Shard, replica: OwnPostgres) -> None:
    with opening.connect(shard.primary, shard.operator) as connection:
        lags = ReplicaLag(connection, shard)
        with pytest.raises(errors.ThrottleBlind) as blind:
            Pace(lambda: Limits(max_lag_ms=500), lags).before_batch()
    assert blind.value.shard == "main"
    primary.execute("grant pg_read_all_stats to kos_operator")
    with opening.connect(shard.primary, shard.operator) as connection:
        assert set(ReplicaLag(connection, shard)()) == {"walreceiver of main"}
    primary.execute("revoke pg_read_all_stats from kos_operator")
