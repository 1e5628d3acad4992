"""A tenant's part of a projection, followed by hand: a test says when."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kos.log import seal_all
from kos.projections import Comparison, Projection, Site, Whose, rebuild, verify
from kos.projections.follow import follow
from kos.projections.generation import only
from kos.projections.graph import GraphMap, GraphProjection
from kos.projections.graph.projection import scope_of
from kos.projections.graph.shipped import SHIPPED
from kos.tenancy import Store
from kos.tenancy.placement import place_of
from kos.topology import graph


@dataclass
class Following:
    """One tenant in one projection."""

    store: Store
    name: str
    projection: Projection

    @property
    def site(self) -> Site:
        tenant = self.store.find(self.name)
        return Site(self.store, place_of(tenant), self.projection, Whose.of(tenant))

    def follow(self) -> int:
        """Seal and apply all there is; how many batches that were. A tenant that isn't there yet is made."""
        site = self.site
        with self.store.operator(site.place) as operator:
            seal_all(operator)
            if self.projection.live(site.whose) is None:
                rebuild(site)
                return 0
            batches = 0
            with only(operator, site, "apply"):
                standing = self.projection.live(site.whose)
                assert standing is not None
                while after := follow(operator, self.projection, site.whose, standing):
                    standing, batches = after, batches + 1
            return batches

    def verify(self) -> Comparison:
        return verify(self.site)

    def write(self, *statements: str) -> None:
        """One transaction in the tenant."""
        with self.store.tenant(self.name) as session:
            for statement in statements:
                session.execute(statement.encode())


def graph_of(store: Store, declared: GraphMap = SHIPPED) -> GraphProjection:
    """The graph of a store, ready."""
    assert store.topology.graph is not None
    made = GraphProjection(store.topology.graph, declared)
    try:
        made.prepare()
    except BaseException:
        made.close()
        raise
    return made


def ask(store: Store, query: str, **parameters: Any) -> list[Any]:
    """Ask the server itself, past what kos puts into a query; the first column of each row."""
    server = store.topology.graph
    assert server is not None
    with graph.open(server) as driver, driver.session(database=server.database) as session:
        return [record[0] for record in session.run(query, parameters)]  # type: ignore[arg-type]


def scope(following: Following) -> str:
    """What the nodes that readers see carry."""
    site = following.site
    live = following.projection.live(site.whose)
    assert live is not None
    return scope_of(site.tenant, live.generation)
