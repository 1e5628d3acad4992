"""Changes of each sort under load, with somebody who holds their tables again and again: who waits, and how long."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import psycopg

from arms import Bar, Finding, Report, Worst
from bench import Bench
from kos import schema_change
from kos.tenancy import Store
from stall_kinds import KINDS, Kind
from stall_load import CUSTOMERS, GAP, HOLD, MIXED, NEW, PROCESSES, SESSIONS, Load, Taken

CLAIM = "changes of schema under load"
CONTROL = "the same DDL in one go"
STALL, SLOW, RATE = 250.0, 50.0, 2000.0  # milliseconds: the longest, and of 999 of 1,000; statements per second
ROWS, MORE_ROWS, QUICK_ROWS = 50_000, 300_000, 20_000  # more of them where a change fills them
ROUNDS = 2
TOGETHER = 1.0  # seconds that code of before and of after run together when the change is started
NOTHING = Kind("(no change)", "select")


@dataclass
class Seen:
    """What a round has met while the change was under way."""

    lasted: float
    counted: int
    seconds: list[float]
    since_due: list[float]
    failed: list[str]

    @property
    def rate(self) -> float:
        return self.counted / self.lasted

    @property
    def longest(self) -> float:
        return 1000 * max(self.seconds)

    @property
    def has_lost(self) -> bool:
        return bool(self.failed) or self.longest > STALL


Work = Callable[[Bench, Kind, Load], None]
Rounds = list[tuple[Kind, list[Seen], list[Seen]]]


def run(bench: Bench) -> Report:
    rounds = 1 if bench.quick else ROUNDS
    with bench.superuser() as superuser:
        superuser.execute("create role loaded_app login password 'loaded'")
        version = superuser.info.server_version // 10_000
    found: Rounds = []
    with Load(bench.parameters("loaded_app", "loaded")) as load:
        idle = [_round(bench, NOTHING, load, _nothing)]
        for kind in (each for each in KINDS if each.since <= version):
            ours = [_round(bench, kind, load, _online) for _ in range(rounds)]
            plain = [_round(bench, kind, load, _naive) for _ in range(rounds)]
            found.append((kind, ours, plain))
            print(f"  {' | '.join(_row(*found[-1]))}", file=sys.stderr, flush=True)  # it takes minutes
    with bench.superuser() as superuser:
        superuser.execute("drop schema loaded cascade")
        superuser.execute("drop role loaded_app")
    report = Report(CLAIM)
    _judge(report, found)
    report.table = [_HEAD, _row(NOTHING, idle, []), *(_row(*each) for each in found)]
    report.notes += [*_notes(rounds), *_failures(found)]
    return report


def _judge(report: Report, found: Rounds) -> None:
    ours = list(chain.from_iterable(each for _, each, _ in found))
    lost = [kind.name for kind, _, plain in found if not all(each.has_lost for each in plain)]
    in_all = sum(each.counted for each in ours)
    slow = max(_p999(each.seconds) for each in ours)
    loses = f"control: changes of {len(found)} that in one go made nobody wait so long, and failed nobody"
    report.findings += [
        Finding(f"failed statements of {in_all:,}", Worst(sum(len(each.failed) for each in ours)), Bar(at_most=0)),
        Finding("longest stall", Worst(max(each.longest for each in ours), " ms"), Bar(at_most=STALL)),
        Finding("p99.9", Worst(slow, " ms"), Bar(at_most=SLOW)),
        Finding("statements per second", Worst(min(each.rate for each in ours)), Bar(at_least=RATE)),
        Finding(loses, Worst(len(lost)), Bar(at_most=0), is_control=True),
    ]
    if lost:
        report.notes.append(f"Controls that did not lose: {', '.join(lost)}.")


_HEAD = ("change", "took", "statements/s", "failed", "longest stall", "p99.9", "p99.9 since due",
         "in one go: longest stall", "failed")  # fmt: skip


def _row(kind: Kind, ours: list[Seen], plain: list[Seen]) -> tuple[str, ...]:
    """The worst of each."""
    return (
        kind.name,
        f"{max(each.lasted for each in ours):.1f} s",
        f"{min(each.rate for each in ours):,.0f}",
        str(sum(len(each.failed) for each in ours)),
        f"{max(each.longest for each in ours):.0f} ms",
        f"{max(_p999(each.seconds) for each in ours):.1f} ms",
        f"{max(_p999(each.since_due) for each in ours):.0f} ms",
        f"{min(each.longest for each in plain):.0f} ms" if plain else "–",
        str(min(len(each.failed) for each in plain)) if plain else "–",
    )


def _notes(rounds: int) -> list[str]:
    return [
        f"{ROWS:,} rows, or {MORE_ROWS:,} where a change fills them, and {CUSTOMERS:,} customers; each kind"
        f" {rounds} times, of which the worst figure stands here,"
        " and of the control the best. The first line is the same load and holder, and no change.",
        f"{PROCESSES} processes of {SESSIONS} sessions read, update, insert and delete single rows of two tables by"
        " their key, with prepared statements, one after another, in autocommit and in transactions of five. BEGIN and"
        " COMMIT are measured like all others, and not counted as statements per second. A statement that finds or"
        " writes another number of rows than one has failed.",
        f"Somebody reads and writes both tables in a transaction that he keeps open for {HOLD:g} s, again and again,"
        f" with {GAP:g} s between: what waits for him makes all others wait. The control begins when he has begun.",
        f"Until `start` ends, all code is that of before; then {TOGETHER:g} s long half of it is that of after; from"
        " just before `finish` on, all of it.",
        "*Since due* counts from when the session would have sent a statement, had none before it waited. It has no"
        " bar.",
        "Left out are kinds that ask for no lock that anybody waits for, such as a new view, a new value of an enum,"
        " or a grant: their control can't lose.",
    ]


def _failures(found: Rounds) -> list[str]:
    failed = ((kind, each.failed) for kind, ours, _ in found for each in ours if each.failed)
    return [f"Failed, {kind.name}: `{' '.join(failed[0].split())}`" for kind, failed in failed]


def _p999(seconds: list[float]) -> float:
    """Milliseconds that 999 of 1,000 are within."""
    return 1000 * sorted(seconds)[len(seconds) * 999 // 1000]


def _online(bench: Bench, kind: Kind, load: Load) -> None:
    with Store(bench.topology) as store:
        schema_change.start(store, schema_change.plan_change(store, kind.change))
        load.go_to(MIXED)
        time.sleep(TOGETHER)
        load.go_to(NEW)
        schema_change.finish(store)


def _naive(bench: Bench, kind: Kind, load: Load) -> None:
    with bench.superuser() as superuser:
        try:
            superuser.execute(kind.in_one_go.encode())
        except psycopg.errors.DeadlockDetected as error:
            raise RuntimeError(f"{kind.name}: in one go it does not even end") from error
    load.go_to(NEW)


def _nothing(bench: Bench, kind: Kind, load: Load) -> None:
    time.sleep(5 * TOGETHER)


def _round(bench: Bench, kind: Kind, load: Load, work: Work) -> Seen:
    rows = QUICK_ROWS if bench.quick else MORE_ROWS if kind.fills else ROWS
    with bench.superuser() as superuser:
        superuser.execute("set client_min_messages = warning")
        with superuser.transaction():
            superuser.execute(kind.tables(rows, CUSTOMERS).encode())
        superuser.execute("vacuum (analyze) loaded.orders, loaded.customers")
        superuser.execute("checkpoint")
    load.begin(kind, rows)
    failed: list[str] = []
    with load.held(kind, failed) as holding:
        time.sleep(0.5)  # all statements are prepared
        holding.clear()
        assert holding.wait(60)  # the naive way must not slip through between
        began = time.perf_counter()
        work(bench, kind, load)
        time.sleep(0.3)
        ended = time.perf_counter()
    return _seen(load.end(), failed, began, ended)


def _seen(found: list[Taken], failed: list[str], began: float, ended: float) -> Seen:
    seen = Seen(ended - began, 0, [], [], failed + list(chain.from_iterable(each.failed for each in found)))
    for each in found:
        for at, seconds, since_due, counts in zip(each.at, each.seconds, each.since_due, each.counts, strict=True):
            if began <= at <= ended:
                seen.counted += counts
                seen.seconds.append(seconds)
                seen.since_due.append(since_due)
    return seen
