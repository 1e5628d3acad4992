"""The graph follows the log: which tables become nodes and edges is declared, and every tenant sees its own alone."""

from kos.projections.graph.mapping import Edge, End, GraphMap, Node, Property
from kos.projections.graph.projection import GraphProjection
from kos.projections.graph.shipped import SHIPPED

__all__ = ["SHIPPED", "Edge", "End", "GraphMap", "GraphProjection", "Node", "Property"]
