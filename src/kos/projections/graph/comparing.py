"""The graph of one generation against a snapshot of the tables, exactly: sets of keys, and a hash of each row."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from kos.projections.graph import statements
from kos.projections.graph.batch import expected_edges, expected_node
from kos.projections.graph.mapping import OWN, GraphMap
from kos.projections.model import Difference, Row

if TYPE_CHECKING:
    from neo4j import Session

Found = tuple[str, str]  # label or type, and key


def differences(session: Session, graph: GraphMap, scope: str, rows: Iterable[Row]) -> Iterator[Difference]:
    """What is missing, left over or different. A value of a snapshot that the graph can't hold makes its row different.

    An edge one of whose nodes is not there is kept, and compared, as pending.
    """
    nodes: dict[Found, bytes] = {}
    edges: dict[Found, tuple[tuple[str, str], bytes]] = {}
    for row in rows:
        if (node := expected_node(graph, row)) is not None:
            nodes[node[:2]] = _hash(node[2])
        for kind, key, ends, properties in expected_edges(graph, row):
            edges[kind, key] = ends, _hash(properties)
    present = set(nodes)
    yield from _nodes(session, graph, scope, nodes)
    yield from _edges(session, graph, scope, edges, present)


def _nodes(session: Session, graph: GraphMap, scope: str, expected: dict[Found, bytes]) -> Iterator[Difference]:
    for node in graph.nodes:
        for record in session.run(statements.nodes(node), scope=scope):
            wanted = expected.pop((node.label, record["key"]), None)
            if wanted is None:
                yield Difference(node.label, record["key"], "left over")
            elif wanted != _hash(record["p"]):
                yield Difference(node.label, record["key"], "different")
    for label, key in expected:
        yield Difference(label, key, "missing")


def _edges(
    session: Session,
    graph: GraphMap,
    scope: str,
    expected: dict[Found, tuple[tuple[str, str], bytes]],
    nodes: set[Found],
) -> Iterator[Difference]:
    start = len(scope) + 1
    ends_of = {edge.type: (edge.begin.label, edge.end.label) for edge in graph.edges}

    def judge(kind: str, record: Any, properties: dict[str, Any], *, pending: bool) -> Difference | None:
        key = record["id"][start:]
        wanted = expected.pop((kind, key), None)
        ends = record["begins"][start:], record["ends"][start:]
        if wanted is None:
            return Difference(kind, key, "left over")
        has_both = all((label, end) in nodes for label, end in zip(ends_of[kind], ends, strict=True))
        if wanted != (ends, _hash(properties)) or pending == has_both:
            return Difference(kind, key, "different")
        return None

    for edge in graph.edges:
        for record in session.run(statements.edges(edge), scope=scope):
            if record["scope"] != scope or not record["ends"].startswith(f"{scope}/"):
                yield Difference(edge.type, record["id"], "left over", "", "it leads to another tenant, or generation")
            elif found := judge(edge.type, record, record["p"], pending=False):
                yield found
    for record in session.run(statements.ALL_PENDING, scope=scope):
        if record["kind"] not in ends_of:
            yield Difference(record["kind"], record["id"][start:], "left over")
        elif found := judge(record["kind"], record, json.loads(record["data"]), pending=True):
            yield found
    for kind, key in expected:
        yield Difference(kind, key, "missing")


def _hash(properties: dict[str, Any] | None) -> bytes:
    """Without what kos keeps there, and what is not there. Of a row that the graph can't hold: equal to none."""
    if properties is None:
        return b""
    said = {name: value for name, value in properties.items() if value is not None and not name.startswith(OWN)}
    # A float that is a whole number is one in both: the types are part of the text.
    return hashlib.blake2b(json.dumps(said, sort_keys=True).encode(), digest_size=16).digest()
