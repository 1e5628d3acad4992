"""The pace of the fills of a change: its limits stand in the control database, where anybody can change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kos import errors
from kos.log import Room
from kos.schema_change.feedback import ReplicaLag
from kos.schema_change.latency import AppLatency, ask
from kos.schema_change.model import ChangePlan
from kos.schema_change.placements import by_place
from kos.schema_change.site import QUERIES, Site
from kos.schema_change.throttle import Limits, Pace
from kos.tenancy import Store
from kos.tenancy.placement import control_place, shard_named


def check_query(store: Store, plan: ChangePlan, query: str) -> None:
    """Ask a query for the latency once in each database of a plan: a slip is told to who made it, not to the status.

    Raises:
        LatencyUnknown
    """
    for place in by_place(plan.placements):
        with store.operator(place) as operator:
            told = ask(operator, query)
        if told.milliseconds is None:
            raise errors.LatencyUnknown(place.name, told.reason)


@contextmanager
def pace_of(site: Site) -> Iterator[Pace]:
    """The pace in one placement; what it waits for is shown by `kos change status`."""
    store, fences = site.run.store, site.run.fences
    facts = {"operation": site.operation}
    with fences.beside(control_place(store.topology)) as control, fences.beside(site.placement.place) as beside:
        lags = ReplicaLag(beside, shard_named(store.topology, site.placement.shard))

        def limits() -> Limits:
            site.heed(control)
            row = control.execute(QUERIES.limits, facts).fetchone()
            return Limits(*row) if row else Limits()

        room = Room(store, site.placement.place, lambda what, done, total: site.doing(what) if done == 0 else None)
        try:
            yield Pace(limits, lags, AppLatency(beside), site.doing, lambda: room.make(beside))
        finally:
            lags.close()
