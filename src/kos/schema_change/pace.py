"""The pace of the fills of a change: its limits stand in the control database, where anybody can change them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from kos.schema_change.feedback import ReplicaLag, commit_seconds
from kos.schema_change.site import QUERIES, Site
from kos.schema_change.throttle import Limits, Pace
from kos.tenancy.placement import control_place, shard_named


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

        def latency() -> float:
            return commit_seconds(beside)

        try:
            yield Pace(limits, lags, latency, site.doing)
        finally:
            lags.close()
