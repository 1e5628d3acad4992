"""Which projections an installation has: the graph and the cache, where their stores are, and the product's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module

from kos import errors
from kos.projections.cache import CacheProjection
from kos.projections.cache.kinds import kinds_of
from kos.projections.graph import SHIPPED, Edge, End, GraphMap, GraphProjection, Node, Property
from kos.projections.model import Projection, TableName
from kos.topology.model import GraphServer, ProjectionSettings, Topology

GRAPH, CACHE = "graph", "cache"
Make = Callable[[], Projection]


def declared(topology: Topology) -> dict[str, Make]:
    """What makes each, by name. Nothing is connected before it is made."""
    settings = {each.name: each for each in topology.projections}
    found: dict[str, Make] = {}
    if topology.graph is not None:
        found[GRAPH] = partial(_graph, topology.graph, settings.get(GRAPH, ProjectionSettings(GRAPH)))
    if topology.cache is not None:
        found[CACHE] = partial(_cache, topology)
    for name, each in settings.items():
        if each.use is not None:
            found[name] = partial(_own, each)
    return {name: make for name, make in found.items() if name not in settings or settings[name].enabled}


def make(topology: Topology, name: str) -> Projection:
    """The one of that name.

    Raises:
        UnknownProjection
    """
    found = declared(topology)
    if name not in found:
        raise errors.UnknownProjection(name, ", ".join(found) or "none")
    return found[name]()


def _graph(server: GraphServer, settings: ProjectionSettings) -> Projection:
    return GraphProjection(server, graph_map(settings))


def _cache(topology: Topology) -> Projection:
    assert topology.cache is not None
    return CacheProjection(topology.cache, kinds_of(topology))


def graph_map(settings: ProjectionSettings) -> GraphMap:
    """The shipped tables, and those that are declared.

    Raises:
        ConfigInvalid: they don't go together.
    """
    nodes = [
        Node(
            each.label,
            TableName.read(each.table),
            tuple(map(Property.read, each.properties)),
            each.hidden,
            each.indexes,
        )
        for each in settings.nodes
    ]
    edges = [
        Edge(
            each.type,
            TableName.read(each.table),
            End(*each.begin),
            End(*each.end),
            tuple(map(Property.read, each.properties)),
            each.hidden,
        )
        for each in settings.edges
    ]
    before = SHIPPED if settings.shipped else GraphMap(())
    try:
        return GraphMap((*before.nodes, *nodes), (*before.edges, *edges))
    except ValueError as error:
        raise errors.ProjectionMisdeclared(settings.name, str(error)) from error


def _own(settings: ProjectionSettings) -> Projection:
    module, _, name = (settings.use or "").partition(":")
    try:
        made: Projection = getattr(import_module(module), name)(settings.name, **dict(settings.options))
    except (ImportError, AttributeError, TypeError) as error:
        raise errors.ProjectionMisdeclared(settings.name, f"{settings.use} can't be made: {error}") from error
    return made
