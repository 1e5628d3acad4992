"""Following a log in batches: the whole way, against one transaction per event."""

from __future__ import annotations

import random
import statistics
import time
from typing import Any

from arms import Bar, Finding, Report, ratio
from bench import Bench
from kos.log import seal_all
from kos.projections import Site, Whose, follow, rebuild
from kos.projections.graph import GraphProjection
from kos.tenancy import Store, create_tenant
from kos.tenancy.placement import place_of
from kos.topology.model import Topology

CONTROL = "one transaction per event"
APPLY_BAR = Bar(at_least=50.0)
BATCH = 2000


def follow_log(report: Report, bench: Bench, name: str, topology: Topology) -> None:
    """The whole way, with what the log asks for beside it: reading, the rows as they were before, the cursor."""
    tenant = f"followed-{name.lower()}"
    rates: dict[int, list[float]] = {BATCH: [], 1: []}
    with Store(topology) as store:
        found = create_tenant(store, tenant)
        assert topology.graph is not None
        projection = GraphProjection(topology.graph)
        projection.prepare()
        whose, place, known = Whose.of(found), place_of(found), list[str]()
        _mix(store, tenant, known, 100, 20)
        with store.operator(place) as operator:
            seal_all(operator)
            rebuild(Site(store, place, projection, whose))
            for turn in range(3 if bench.quick else 6):
                for size, events, together in ((BATCH, 2 * BATCH, 20), (1, 200, 1)):
                    _mix(store, tenant, known, events, together)
                    seal_all(operator)
                    spent = _followed(operator, projection, whose, size)
                    if turn:  # the first one warms Java up
                        rates[size].append(events / spent)
        projection.close()
    report.findings.append(
        Finding(f"a log followed in batches of {BATCH:,}, {name}", ratio(rates[BATCH], rates[1]), APPLY_BAR)
    )
    report.figures += [
        (f"{name}: a log, in batches", f"{statistics.median(rates[BATCH]):,.0f} events/s"),
        (f"{name}: a log, {CONTROL}", f"{statistics.median(rates[1]):,.0f} events/s"),
    ]


def _mix(store: Store, tenant: str, known: list[str], events: int, together: int) -> None:
    """Half of them new atoms, a quarter relations, a quarter new names, in transactions of so many."""
    chance = random.Random(len(known))
    for start in range(0, events, together):
        with store.tenant(tenant) as session:
            for number in range(start, start + together):
                if number % 4 < 2:
                    row = session.execute(
                        "insert into atoms (atom_type, name) values ('T', 'n') returning id"
                    ).fetchone()
                    known.append(str(row[0]))  # type: ignore[index]
                elif number % 4 == 2:
                    ends = chance.choices(known, k=2)
                    session.execute("insert into relations (relation_type, from_atom_id, to_atom_id)"
                                    " values ('R' || gen_random_uuid(), %s, %s)", ends)  # fmt: skip
                else:
                    session.execute("update atoms set name = name || '!' where id = %s", (chance.choice(known),))


def _followed(operator: Any, projection: GraphProjection, whose: Whose, size: int) -> float:
    """Seconds that a backlog takes in batches of that size."""
    before, follow.BATCH = follow.BATCH, size
    try:
        standing = projection.live(whose)
        began = time.perf_counter()
        while standing is not None:
            standing = follow.follow(operator, projection, whose, standing)
        return time.perf_counter() - began
    finally:
        follow.BATCH = before
