"""What a worker tells Prometheus. Labels are databases; tenants are told in the log and in /healthz."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

LABEL = ("database",)
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
            "What went wrong, by kind: database, seal, rotate, find, directory.",
            (*LABEL, "kind"),
            registry=registry,
        )
        self._of_leader = (self.pending, self.lag, self.broken, self.parked)

    def watch(self, database: str) -> None:
        """A database that this worker looks after from now on: what counts begins with 0."""
        self.leader.labels(database).set(0)
        self.reachable.labels(database).set(0)
        self.sealed.labels(database)
        self.seconds.labels(database)

    def leads(self, database: str, *, leads: bool) -> None:
        """Whether this worker leads there. What only a leader tells is not told by two."""
        self.leader.labels(database).set(int(leads))
        if not leads:
            for gauge in self._of_leader:
                gauge.remove_by_labels({"database": database})

    def forget(self, database: str) -> None:
        """The database is gone."""
        for metric in (*self._of_leader, self.leader, self.reachable, self.sealed, self.seconds, self.errors):
            metric.remove_by_labels({"database": database})

    def text(self) -> bytes:
        """All of it as Prometheus reads it."""
        return generate_latest(self._registry)
