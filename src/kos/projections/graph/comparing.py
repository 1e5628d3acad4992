"""The graph of one generation against a snapshot of the tables, exactly: sets of keys, and a hash of each row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kos.projections.graph import statements
from kos.projections.graph.batch import expected_edges, expected_node
from kos.projections.graph.mapping import GraphMap
from kos.projections.model import Difference, Row

if TYPE_CHECKING:
    from neo4j import Session

Found = tuple[str, str]  # label or type, and key
NODE_KEYS, EDGE_KEYS = 4, 3  # that kos keeps there itself: id, scope and position, and the key of a node


def differences(session: Session, graph: GraphMap, scope: str, rows: Iterable[Row]) -> Iterator[Difference]:
    """What is missing, left over or different. A value of a snapshot that the graph can't hold makes its row different.

    An edge one of whose nodes is not there is kept, and compared, as pending.
    """
    nodes: dict[Found, bytes] = {}
    edges: dict[Found, tuple[tuple[str, str], bytes]] = {}
    for row in rows:
        if (node := expected_node(graph, row)) is not None:
            nodes[node[:2]] = _hash(node[2])
        for kind, key, ends, values in expected_edges(graph, row):
            edges[kind, key] = ends, _hash(values)
    present: set[Found] = set()
    yield from _nodes(session, graph, scope, nodes, present)
    yield from _edges(session, graph, scope, edges, present)


def _nodes(
    session: Session, graph: GraphMap, scope: str, expected: dict[Found, bytes], present: set[Found]
) -> Iterator[Difference]:
    """`present` gets those that are there: what is wrong with a node is told of the node, and not of its edges."""
    for node in graph.nodes:
        for key, values, count in session.run(statements.nodes(node), scope=scope):
            present.add((node.label, key))
            wanted = expected.pop((node.label, key), None)
            if wanted is None:
                yield Difference(node.label, key, "left over", table=str(node.table))
            elif wanted != _hash(values) or count != _own(values) + NODE_KEYS:
                yield Difference(node.label, key, "different", table=str(node.table))
    tables = {node.label: str(node.table) for node in graph.nodes}
    for label, key in expected:
        yield Difference(label, key, "missing", table=tables[label])


def _edges(
    session: Session,
    graph: GraphMap,
    scope: str,
    expected: dict[Found, tuple[tuple[str, str], bytes]],
    nodes: set[Found],
) -> Iterator[Difference]:
    start = len(scope) + 1
    declared = {edge.type: edge for edge in graph.edges}

    def judge(kind: str, record: Any, values: list[Any], *, pending: bool) -> Difference | None:
        key = record["id"][start:]
        wanted = expected.pop((kind, key), None)
        ends = record["begins"][start:], record["ends"][start:]
        if wanted is None:
            return Difference(kind, key, "left over", table=str(declared[kind].table))
        labels = declared[kind].begin.label, declared[kind].end.label
        has_both = all(each in nodes for each in zip(labels, ends, strict=True))
        if wanted != (ends, _hash(values)) or pending == has_both:
            return Difference(kind, key, "different", table=str(declared[kind].table))
        return None

    for edge in graph.edges:
        for record in session.run(statements.edges(edge), scope=scope):
            if record["scope"] != scope or not record["ends"].startswith(f"{scope}/"):
                yield Difference(edge.type, record["id"], "left over", "", "it leads to another tenant, or generation")
            elif found := judge(edge.type, record, record["p"], pending=False):
                yield found
            elif record["count"] != _own(record["p"]) + EDGE_KEYS:
                yield Difference(edge.type, record["id"][start:], "different", table=str(edge.table))
    for record in session.run(statements.ALL_PENDING, scope=scope):
        said = json.loads(record["data"])
        if record["kind"] not in declared:
            yield Difference(record["kind"], record["id"][start:], "left over")
        elif found := judge(
            record["kind"], record, [said.get(each.name) for each in declared[record["kind"]].properties], pending=True
        ):
            yield found
    for kind, key in expected:
        yield Difference(kind, key, "missing", table=str(declared[kind].table))


def _own(values: list[Any]) -> int:
    """How many properties that are: null is none."""
    return len(values) - values.count(None)


def _hash(values: list[Any] | None) -> bytes:
    """Of the declared properties in their order. Of a row that the graph can't hold: equal to none."""
    # Of its text, in which 1, 1.0, "1" and true differ.
    return b"" if values is None else hashlib.blake2b(repr(values).encode(), digest_size=16).digest()
