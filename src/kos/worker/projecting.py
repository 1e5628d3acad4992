"""The projections of one database: a follower for each, as long as this worker leads there."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg

from kos.projections import Follower, declared
from kos.tenancy import Place, Store
from kos.topology.model import Topology
from kos.translate import translated
from kos.worker.log_lines import tell, trace
from kos.worker.metrics import Metrics
from kos.worker.seals import Connection

SHOWN = 10  # tenants in /healthz


class Projecting:
    """`start` it, `let` it follow or not, and `stop` it once."""

    def __init__(
        self, topology: Topology, place: Place, label: str, connect: Callable[[], Connection], metrics: Metrics
    ) -> None:
        self._label, self._metrics = label, metrics
        self._last: dict[str, str | None] = {}
        self._store = Store(topology)  # connects for a rebuild only
        self._followers = [
            Follower(make, name, self._store, place, connect, self._changed, self._teller(name))
            for name, make in declared(topology).items()
        ]

    def start(self) -> None:
        """Begin, as soon as it is let."""
        for each in self._followers:
            self._metrics.watch_projection(self._label, each.name)
            each.start()

    def let(self, *, follow: bool) -> None:
        """Only who leads follows."""
        for each in self._followers:
            each.let(follow=follow)

    def notice(self, tenant: UUID) -> None:
        """It was sealed."""
        for each in self._followers:
            each.notice(tenant)

    def stop(self) -> None:
        """End after what is under way; returns at once."""
        for each in self._followers:
            each.stop()

    def wait(self, seconds: float) -> None:
        """Wait for the end of it."""
        for each in self._followers:
            each.wait(seconds)
        self._store.close()

    def health(self) -> list[dict[str, Any]]:
        """What /healthz says. A store that is down makes no worker unhealthy: another one would fare no better."""
        found = []
        for each in self._followers:
            now = each.progress
            failing = [{"tenant": str(tenant), "error": why} for tenant, why in list(now.failing.items())[:SHOWN]]
            found.append(
                {
                    "projection": each.name,
                    "state": now.state,
                    "behind": now.behind,
                    "lag_seconds": round(now.lag, 3),
                    "making": now.making,
                    "failing": failing,
                    "error": now.error,
                }
            )
        return found

    def _changed(self, follower: Follower) -> None:
        self._metrics.projection(self._label, follower.name, follower.progress)

    def _teller(self, name: str) -> Callable[[str, Exception], None]:
        def told(what: str, raised: Exception) -> None:
            self._metrics.errors.labels(self._label, "projection").inc()
            error = translated(raised)
            if error is None and not isinstance(raised, psycopg.Error):
                trace("a mistake of kos itself", raised, database=self._label, projection=name)
            elif self._last.get(what) != str(raised):  # each is said once until it is another
                tell(logging.ERROR, what, database=self._label, projection=name, error=str(error or raised))
            self._last[what] = str(raised)

        return told
