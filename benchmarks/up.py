"""`kos up` to healthy: from nothing, and again with data that are there."""

from __future__ import annotations

import statistics
import time

from arms import Report
from bench import Bench, temporary_folder
from kos.tenancy import install
from kos.topology import health
from kos.topology.embedded import Stack

CLAIM = "kos up to healthy"
CONTROL = None  # reported, with what takes the time; there is nothing to compare it with
STEPS = ("servers", "schema", "health", "worker")


def run(bench: Bench) -> Report:
    report = Report(CLAIM)
    taken: dict[str, list[float]] = {}
    for _ in range(1 if bench.quick else 3):
        with temporary_folder() as folder:
            stack = Stack(folder)
            for kind in ("cold", "warm"):
                for what, seconds in _up(stack).items():
                    taken.setdefault(f"{kind}: {what}", []).append(seconds)
                stack.down()
    for what, seconds in taken.items():
        report.figures.append((what, f"{statistics.median(seconds):.2f} s"))
    report.notes.append(
        "Cold is a folder without anything, warm one that was stopped. Servers start side by side, so the slowest"
        " decides: the graph's Java, and in the cold case PostgreSQL's initdb. A store's seconds end when its own"
        " driver got an answer; the worker's begin when the stores are found healthy, and it was started before. The"
        " start of Python and of the command line is not in it."
    )
    return report


def _up(stack: Stack) -> dict[str, float]:
    """Seconds in all, then of each step, then of each store."""
    began = time.monotonic()
    started = stack.up()
    servers = time.monotonic()
    install(stack.topology())
    stack.set_role_passwords()
    schema = time.monotonic()
    worker = stack.begin_worker()
    found = health.check(stack.topology())  # while the worker comes up
    healthy = time.monotonic()
    worker.wait()
    ended = time.monotonic()
    sick = [store.name for store in found if not store.healthy]
    assert not sick, f"not healthy: {', '.join(sick)}"
    steps = dict(zip(STEPS, (servers - began, schema - servers, healthy - schema, ended - healthy), strict=True))
    stores = {f"of the servers: {store}": seconds for store, seconds in sorted(started.started.items())}
    return {"all": ended - began, **steps, **stores}
