"""A question for a graph, asked right after a write: how a new product comes to depend on a licence."""

from __future__ import annotations

import time
from typing import Any

from kos import errors, sql
from kos.tenancy import Store
from kos.tenancy.bookmark import Bookmark
from kos.tour.tour import Fact, Tour

QUERIES = sql.load("kos.tour", "path.sql")
TENANT = "foundry"
PRODUCT = "tour-product"
PACKAGE = "rich"
PATIENCE_SECONDS = 60.0
CYPHER = """
MATCH (product:Atom {name: $product}), (licence:Atom)<-[:RELATES_TO {relation_type: 'has_licence'}]-(:Atom)
WITH DISTINCT product, licence
MATCH way = shortestPath((product)-[:RELATES_TO*..6]->(licence))
RETURN [each IN nodes(way) | each.name] AS names ORDER BY size(names) DESC, names LIMIT 1
"""


def find_path(tour: Tour) -> Fact:
    """The step."""
    store = tour.store
    tour.progress(f"the graph of {TENANT}", 0, None)
    _wait_for_graph(store)
    _remove(store)
    mark = _write(store)
    began = time.monotonic()
    names = _ask(store, mark)
    seconds = time.monotonic() - began
    gone = _ask(store, _remove(store))
    return Fact(
        f"{seconds * 1000:,.0f} ms after its commit, {len(names) - 1} steps lead from {PRODUCT} to a licence",
        holds=len(names) > 2 and names[0] == PRODUCT and not gone,
        lines=(
            " → ".join(names),
            "written in PostgreSQL, asked in the graph with the session's bookmark",
            "removed again: with the next bookmark no path is found",
        ),
        figures={"path": names, "seconds": seconds, "found_after_removal": len(gone)},
    )


def _write(store: Store) -> Bookmark:
    with store.tenant(TENANT) as session:
        session.execute(QUERIES.add_product, {"product": PRODUCT, "package": PACKAGE})
    assert session.bookmark is not None
    return session.bookmark


def _remove(store: Store) -> Bookmark | None:
    with store.tenant(TENANT) as session:
        session.execute(QUERIES.remove_product, {"product": PRODUCT})
    return session.bookmark


def _ask(store: Store, mark: Bookmark | None) -> list[str]:
    with store.tenant(TENANT, after=mark) as session:
        found = session.graph.run(CYPHER, {"product": PRODUCT}, seconds=PATIENCE_SECONDS)
    names: list[Any] = found[0]["names"] if found else []
    return [str(each) for each in names]


def _wait_for_graph(store: Store) -> None:
    """Until the worker has made the tenant's graph: that was begun when its data came."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with store.tenant(TENANT) as session:
                session.graph.run("RETURN 1")
                return
        except errors.ProjectionNotReady:
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)
