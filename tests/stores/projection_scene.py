"""A product whose graph and cache are its own, followed by workers that are processes; and what must be true of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from fix_arcadedb import OwnArcadeDB
from fix_neo4j import OwnNeo4j
from fix_own_postgres import OwnPostgres, install_on
from fix_redis import OwnCache
from fix_worker import Process, StartWorker
from kos import errors
from kos.projections import verify
from kos.projections.declared import declared, make
from kos.projections.graph import GraphProjection
from kos.projections.whole import parked_everywhere, parts_of, status
from kos.tenancy import Store, create_tenant
from kos.topology import graph as graphs
from kos.topology import postgres as opening
from kos.topology.model import Topology

SECONDS = 120.0
AWAY = (errors.StoreUnavailable, errors.StoreBusy, errors.ProjectionBusy, errors.ProjectionNotReady)
NO_GRACE = -1.0  # seconds: nobody reads any more what is no longer shown


@dataclass
class Scene:
    """The servers, and workers on them. `topology` is how the test asks, which may be around a proxy."""

    postgres: OwnPostgres
    graph: OwnArcadeDB | OwnNeo4j
    cache: OwnCache
    topology: Topology
    store: Store
    start_worker: StartWorker | None = None
    workers: list[Process] = field(default_factory=list)

    def superuser(self) -> psycopg.Connection[Any]:
        assert self.topology.control.installer is not None
        return opening.connect(self.topology.control.primary, self.topology.control.installer)

    def add_worker(self) -> None:
        assert self.start_worker is not None
        self.workers.append(self.start_worker(self.topology))

    def tenants(self, *names: str) -> list[str]:
        for name in names:
            create_tenant(self.store, name)
        return list(names)

    def check_tidy(self) -> None:
        """When nobody reads what is no longer shown, nothing of it is left in the graph."""
        assert self.topology.graph is not None
        with closing(GraphProjection(self.topology.graph, grace=NO_GRACE)) as projection:
            for part in parts_of(self.store):
                projection.clear(part.site(self.store, projection).whose)
            projection.tidy()
        left = left_over(self.topology)
        assert not left, left


@contextmanager
def scene(postgres: OwnPostgres, graph: OwnArcadeDB | OwnNeo4j, cache: OwnCache, database: str) -> Iterator[Scene]:
    """A product on servers that run."""
    topology = replace(install_on(postgres, database), graph=graph.store, cache=cache.store)
    with Store(topology, pool_size=20) as store:
        yield Scene(postgres, graph, cache, topology, store)


def is_followed(store: Store) -> bool:
    """Whoever follows has come to the end of every log."""
    try:
        found = status(store)
        with store.operator() as operator:
            unsealed = operator.execute("select from kos.unsealed()").fetchone()
        return unsealed is None and all(
            each.tenants == len(parts_of(store)) and not each.tenants_behind for each in found
        )
    except AWAY:
        return False


def check_equal(store: Store) -> int:
    """Each tenant in each projection is what its tables say, and nothing is parked; how many rows that were."""
    rows = 0
    for name in declared(store.topology):
        assert parked_everywhere(store, name) == []
        with closing(make(store.topology, name)) as projection:
            for part in parts_of(store):
                found = verify(part.site(store, projection))
                assert found.differing == 0, (name, part.name, found)
                rows += found.rows
    return rows


def asked(topology: Topology, query: str, **parameters: Any) -> list[dict[str, Any]]:
    """The graph, past everything."""
    assert topology.graph is not None
    with graphs.open(topology.graph) as driver, driver.session(database=topology.graph.database) as session:
        return session.run(query, parameters).data()


def left_over(topology: Topology) -> dict[str, int]:
    """Nodes of generations that no reader is shown, by generation; and generations."""
    live = [each["live"] for each in asked(topology, "MATCH (t:KosTenant) RETURN t.kos_live AS live")]
    found: dict[str, int] = {}
    for query in (
        "MATCH (n) WHERE n.kos_scope <> '' RETURN n.kos_scope AS scope, count(*) AS count",
        "MATCH (n:KosPending) RETURN n.kos_generation AS scope, count(*) AS count",
        "MATCH (n:KosGeneration) RETURN n.kos_id AS scope, count(*) AS count",
    ):
        for each in asked(topology, query):
            if each["scope"] not in live:
                found[each["scope"]] = found.get(each["scope"], 0) + each["count"]
    return found


def eventually(act: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Once it can be reached again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return act()
        except AWAY:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.1)
