"""What a worker tells Prometheus. Labels are databases; tenants are told in the log and in /healthz."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

if TYPE_CHECKING:
    from kos.projections import Progress

LABEL = ("database",)
PROJECTION = ("database", "projection")
SEAL_BUCKETS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The metrics of one worker, in a registry of their own."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()

        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, LABEL, registry=registry)

        self.pending = gauge("kos_log_pending_rows", "Rows that wait to be sealed, an estimate; told by the leader.")
        self.lag = gauge("kos_log_seal_lag_seconds", "How long the oldest of them has waited; told by the leader.")
        self.broken = gauge("kos_log_broken_tables", "Tables whose capture is broken; told by the leader.")
        self.leader = gauge("kos_worker_leader", "1 where this worker leads, 0 where it stands by.")
        self.reachable = gauge("kos_worker_database_up", "1 where this worker can ask the database, else 0.")
        self.parked = gauge("kos_worker_parked_tenants", "Tenants whose seal fails, left alone for a while.")
        self.sealed = Counter(
            "kos_log_sealed_events", "Events that this worker gave a position.", LABEL, registry=registry
        )
        self.seconds = Histogram(
            "kos_log_seal_seconds", "How long one seal took.", LABEL, registry=registry, buckets=SEAL_BUCKETS
        )
        self.errors = Counter(
            "kos_worker_errors",
            "What went wrong, by kind: database, seal, rotate, find, directory, projection.",
            (*LABEL, "kind"),
            registry=registry,
        )
        self._of_leader = (self.pending, self.lag, self.broken, self.parked)
        self._projections = ProjectionMetrics(registry)

    def watch(self, database: str) -> None:
        """A database that this worker looks after from now on: what counts begins with 0."""
        self.leader.labels(database).set(0)
        self.reachable.labels(database).set(0)
        self.sealed.labels(database)
        self.seconds.labels(database)

    def watch_projection(self, database: str, projection: str) -> None:
        """A projection that this worker may have to follow with."""
        self._projections.watch(database, projection)

    def projection(self, database: str, projection: str, progress: Progress) -> None:
        """What its follower has said."""
        self._projections.take(database, projection, progress)

    def leads(self, database: str, *, leads: bool) -> None:
        """Whether this worker leads there. What only a leader tells is not told by two."""
        self.leader.labels(database).set(int(leads))
        if not leads:
            for gauge in (*self._of_leader, *self._projections.of_leader):
                gauge.remove_by_labels({"database": database})

    def forget(self, database: str) -> None:
        """The database is gone."""
        own = (self.leader, self.reachable, self.sealed, self.seconds, self.errors)
        for metric in (*self._of_leader, *own, *self._projections.all):
            metric.remove_by_labels({"database": database})

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)


class ProjectionMetrics:
    """Those of projections, by database and name."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str) -> Gauge:
            return Gauge(name, text, PROJECTION, registry=registry)

        def counter(name: str, text: str) -> Counter:
            return Counter(name, text, PROJECTION, registry=registry)

        self.behind = gauge("kos_projection_lag_events", "Events that a projection hasn't had; told by the leader.")
        self.lag = gauge("kos_projection_lag_seconds", "How long the oldest of them is committed; told by the leader.")
        self.parked = gauge("kos_projection_parked_rows", "Rows whose changes its store refuses; told by the leader.")
        self.up = gauge("kos_projection_up", "1 where its store takes what it is given; told by the leader.")
        self.making = gauge("kos_projection_rebuilding_tenants", "Tenants that are made anew; told by the leader.")
        self.failing = gauge("kos_projection_failing_tenants", "Tenants that can't be followed; told by the leader.")
        self.applied = counter("kos_projection_applied_events", "Events that this worker applied.")
        self.rebuilds = counter("kos_projection_rebuilds", "Tenants that this worker made anew in a projection.")
        self.of_leader = (self.behind, self.lag, self.parked, self.up, self.making, self.failing)
        self.all = (*self.of_leader, self.applied, self.rebuilds)
        self._counted: dict[tuple[str, str], tuple[int, int]] = {}

    def watch(self, database: str, projection: str) -> None:
        """What counts begins with 0."""
        self.applied.labels(database, projection)
        self.rebuilds.labels(database, projection)

    def take(self, database: str, projection: str, progress: Progress) -> None:
        """What its follower has said."""
        where = database, projection
        self.behind.labels(*where).set(progress.behind)
        self.lag.labels(*where).set(progress.lag)
        self.parked.labels(*where).set(progress.parked)
        self.making.labels(*where).set(progress.making)
        self.failing.labels(*where).set(len(progress.failing))
        self.up.labels(*where).set(int(progress.state == "following"))
        applied, rebuilds = self._counted.get(where, (0, 0))
        self.applied.labels(*where).inc(progress.applied - applied)
        self.rebuilds.labels(*where).inc(progress.rebuilds - rebuilds)
        self._counted[where] = progress.applied, progress.rebuilds
