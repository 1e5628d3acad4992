"""All databases of a topology, each with a watch; which there are is asked again every few seconds."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack
from threading import Event, Lock, Thread
from typing import Any

from kos import errors
from kos.tenancy.placement import Place, control_place, own_places, places, server_at
from kos.topology.model import Topology
from kos.translate import translated
from kos.worker.log_lines import tell, trace
from kos.worker.metrics import Metrics
from kos.worker.watch import LEADING, STANDBY, Watch, connect

DIRECTORY_SECONDS = 2.0
SEALS = 2
GRACE_SECONDS = 10.0
SPARE_SECONDS = 3.0  # beyond the grace, for interrupting and closing
DIRECTORY = "directory"


class Worker:
    """Seals the log of every database of a topology, beside the thread that made it. Use it as a context manager."""

    def __init__(self, topology: Topology, *, seals: int = SEALS, grace: float = GRACE_SECONDS) -> None:
        """`seals` is how many tenants of one database are sealed at once; `grace` the seconds they get at the end.

        Raises:
            PoolerBetween: the configuration names a pooler, where no session can lead.
        """
        refuse_poolers(topology)
        self.metrics = Metrics()
        self._topology = topology
        self._count = seals
        self._grace = grace
        self._ends = Event()
        self._watches: dict[Place, Watch] = {}
        self._left: dict[Place, int] = {}  # sealed in databases that are gone
        self._lock = Lock()
        self._lost: str | None = None  # why the directory can't be asked
        self._directory = Thread(target=self._follow, name=DIRECTORY, daemon=True)

    def __enter__(self) -> Worker:
        self._serve(set(own_places(self._topology)))
        self._directory.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        watches = self._now()
        for watch in watches:
            watch.stop(self._grace)
        deadline = time.monotonic() + self._grace + SPARE_SECONDS
        for watch in watches:
            watch.wait(max(deadline - time.monotonic(), 0.0))

    def is_alive(self) -> bool:
        """Whether every part of it is at work; they are made to go on whatever happens."""
        return self._directory.is_alive() and all(watch.is_alive() for watch in self._now())

    def health(self) -> tuple[bool, dict[str, Any]]:
        """Whether every database is led or stood by for, and what is known of each."""
        databases = [watch.health() for watch in self._now()]
        healthy = self._lost is None and all(each["state"] in {LEADING, STANDBY} for each in databases)
        return healthy, {"healthy": healthy, "databases": databases, "directory_error": self._lost}

    def sealed(self) -> list[dict[str, Any]]:
        """By database: the events that this worker sealed, what is parked, and what is wrong, as `--json` prints it."""
        found = [
            {
                "shard": each["shard"],
                "database": each["database"],
                "sealed": each["sealed"],
                "failed": [{"tenant": parked["tenant"], "error": parked["error"]} for parked in each["parked"]],
                "error": each["error"],
            }
            for each in (watch.health() for watch in self._now())
        ]
        return found + [
            {"shard": place.shard, "database": place.database, "sealed": count, "failed": [], "error": None}
            for place, count in self._left.items()
        ]

    def _now(self) -> list[Watch]:
        with self._lock:
            return [self._watches[place] for place in sorted(self._watches)]

    # the directory's thread

    def _follow(self) -> None:
        """Notice databases that come and go."""
        while not self._ends.is_set():
            with ExitStack() as stack:
                try:
                    connection = stack.enter_context(connect(self._topology, control_place(self._topology)))
                    while not self._ends.is_set():
                        self._serve(set(places(self._topology, connection)))
                        self._lost = None
                        self._ends.wait(DIRECTORY_SECONDS)
                except Exception as raised:  # noqa: BLE001 - told, and tried again; the known databases are served
                    self._failed(raised)
            self._ends.wait(DIRECTORY_SECONDS)

    def _failed(self, raised: Exception) -> None:
        error = translated(raised)
        where = control_place(self._topology)
        self.metrics.errors.labels(f"{where.shard}/{where.database}", DIRECTORY).inc()
        if error is None:
            trace("a mistake of kos itself", raised)
        elif str(error) != self._lost:
            tell(logging.ERROR, "the list of databases can't be read; trying again", error=str(error))
        self._lost = str(error) if error else repr(raised)

    def _serve(self, wanted: set[Place]) -> None:
        with self._lock:
            if self._ends.is_set():
                return
            new = [
                Watch(self._topology, place, self.metrics, seals=self._count) for place in wanted - set(self._watches)
            ]
            gone: list[Watch] = [self._watches.pop(place) for place in set(self._watches) - wanted]
            self._watches |= {watch.place: watch for watch in new}
        for watch in new:
            watch.start()
        for watch in gone:
            watch.stop(0.0)
            watch.wait(SPARE_SECONDS)
            self.metrics.forget(watch.label)
            self._left[watch.place] = self._left.get(watch.place, 0) + watch.sealed
            tell(logging.INFO, "the database is gone", database=watch.label)


def refuse_poolers(topology: Topology) -> None:
    """Whoever leads holds a lock of his session: behind a pooler that is anybody's. `PoolerBetween` then."""
    for place in own_places(topology):
        server = server_at(topology, place)
        if server.pooler:
            raise errors.PoolerBetween(server.address)
