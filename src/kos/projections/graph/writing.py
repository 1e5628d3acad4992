"""A batch into the graph, inside one transaction of the caller's."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from kos.projections.graph import statements
from kos.projections.graph.batch import EDGE_PROPERTIES, NODE_PROPERTIES, Batch
from kos.projections.graph.mapping import OWN, Edge, GraphMap, Node

if TYPE_CHECKING:
    from neo4j import Transaction

MOST = 2000  # rows of one statement that removes


class Writing:
    """One batch. `pending` is how many edges of the generation lack a node: mostly none, and then nobody looks."""

    def __init__(self, graph: GraphMap, batch: Batch, tx: Transaction, pending: int) -> None:
        self._graph, self._batch, self._tx = graph, batch, tx
        self._pending = self._before = pending
        self._edges = {each.type: each for each in graph.edges}

    def write(self) -> None:
        """All of it: what goes before what comes, nodes before edges."""
        batch = self._batch
        for name in batch.emptied:
            self._empty(name)
        for kind, rows in batch.cut.items():
            self._run(statements.cut(self._edges[kind]), rows)
            self._forget_pending(kind, rows)
        sought = [(self._edges[kind], self._seek(self._edges[kind], rows)) for kind, rows in batch.seek.items()]
        for label, rows in batch.remove.items():
            self._remove(label, rows)
        for node in self._graph.nodes:
            self._create(node)
            if put := batch.put.get(node.label, []):
                if self._count(statements.put_nodes(node), put) < len(put):
                    self._run(statements.patch_nodes(node.label), [_as_patch(node, row) for row in put])
                self._revive(put)
            if patches := batch.patch.get(node.label, []):
                self._run(statements.patch_nodes(node.label), patches)
        for kind, rows in batch.patch_edge.items():
            self._patch(self._edges[kind], rows)
        for kind, edges in batch.join.items():
            self._join(self._edges[kind], edges)
        for edge, edges in sought:
            self._join(edge, edges)
        if self._pending != self._before:
            more = self._pending - self._before
            self._tx.run(statements.SET_PENDING, scope=batch.scope, more=more).consume()

    def _create(self, node: Node) -> None:
        if rows := self._batch.create.get(node.label, []):
            self._run(statements.create_nodes(node), rows)
            self._revive(rows)

    def _run(self, cypher: str, rows: Sequence[dict[str, Any] | list[Any] | str], **more: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for start in range(0, len(rows), MOST):
            part = rows[start : start + MOST]
            found += self._tx.run(cypher, rows=part, scope=self._batch.scope, **more).data()
        return found

    def _count(self, cypher: str, rows: list[list[Any]]) -> int:
        return sum(each["count"] for each in self._run(cypher, rows))

    def _empty(self, name: str) -> None:
        """Nothing of a label or type is left in this generation."""
        scope = self._batch.scope
        if name in self._edges:
            _until_none(self._tx, statements.cut_some(self._edges[name]), scope=scope)
            if self._pending:
                removed = _until_none(self._tx, statements.REMOVE_PENDING_TYPE, scope=scope, type=name)
                self._pending -= removed
            return
        self._keep_pending(self._tx.run(statements.edges_of_all(name), scope=scope).data())
        _until_none(self._tx, statements.remove_some(name), scope=scope)

    def _remove(self, label: str, rows: list[dict[str, Any]]) -> None:
        """Nodes. Edges whose rows are still there wait for their node to come back."""
        self._keep_pending(self._run(statements.edges_of_nodes(label), rows))
        self._run(statements.remove_nodes(label), rows)

    def _keep_pending(self, edges: Iterable[dict[str, Any]]) -> None:
        # Once each: an edge is found from both of its nodes, in several parts of what is removed.
        edges = {(edge["kind"], edge["id"]): edge for edge in edges}.values()
        self._add_pending([
            {"id": edge["id"], "type": edge["kind"], "from": edge["begins"], "to": edge["ends"],
             "position": edge["p"]["kos_position"], "p": _said(edge["p"])}
            for edge in edges
        ])  # fmt: skip

    def _add_pending(self, rows: list[dict[str, Any]]) -> None:
        if rows:
            rows = [row | {"data": json.dumps(row["p"])} for row in rows]
            self._run(statements.CREATE_PENDING, rows)
            self._pending += len(rows)

    def _forget_pending(self, kind: str, rows: list[dict[str, Any]]) -> None:
        if self._pending:
            self._remove_pending(self._run(statements.PENDING, rows, type=kind))

    def _remove_pending(self, found: list[dict[str, Any]]) -> None:
        if found:
            self._run(statements.REMOVE_PENDING, found)
            self._pending -= len(found)

    def _patch(self, edge: Edge, rows: list[dict[str, Any]]) -> None:
        self._run(statements.patch_edges(edge), rows)
        if self._pending:
            found = {each["id"]: each for each in self._run(statements.PENDING, rows, type=edge.type)}
            self._remove_pending(list(found.values()))
            self._add_pending(
                [
                    row | {"type": edge.type, "p": json.loads(found[row["id"]]["data"]) | _said(row["p"])}
                    for row in rows
                    if row["id"] in found
                ]
            )

    def _seek(self, edge: Edge, rows: list[dict[str, Any]]) -> list[list[Any]]:
        """Cut edges of which only the ids are known; what they are to be joined as. What nothing is said of stays."""
        new = {row["id"]: row for row in rows}
        there = self._run(statements.seek(edge), list(new))
        waiting = self._run(statements.PENDING, rows, type=edge.type) if self._pending else []
        cut = [{"id": each["id"], "from": each["begins"], "position": new[each["id"]]["position"]} for each in there]
        if cut:
            self._run(statements.cut(edge), cut)
        self._remove_pending([each for each in waiting if each["position"] < new[each["id"]]["position"]])
        for each in waiting:
            each["p"] = json.loads(each["data"])
        found = {each["id"]: each for each in sorted(there + waiting, key=lambda each: each["position"])}
        rows = [row for row in rows if not row["gone"]]
        return [joined for row in rows if (joined := _as_joined(edge, row, found.get(row["id"]))) is not None]

    def _join(self, edge: Edge, rows: list[list[Any]]) -> None:
        if self._count(statements.join(edge), rows) < len(rows):
            joined = {each["id"] for each in self._run(statements.joinable(edge), rows)}
            self._add_pending([_as_pending(edge, row) for row in rows if row[0] not in joined])

    def _revive(self, nodes: list[list[Any]]) -> None:
        """Edges that have waited for these nodes."""
        if not self._pending:
            return
        rows = [{"id": node[0]} for node in nodes]
        found = self._run(statements.PENDING_FROM, rows) + self._run(statements.PENDING_TO, rows)
        waiting = {(each["kind"], each["id"]): each for each in found}
        for edge in self._graph.edges:
            of_type = [_of_pending(edge, each) for (kind, _), each in sorted(waiting.items()) if kind == edge.type]
            if of_type:
                joined = {each["id"] for each in self._run(statements.joinable(edge), of_type)}
                self._run(statements.join(edge), of_type)
                self._remove_pending([waiting[edge.type, each] for each in joined])


def _as_patch(node: Node, row: list[Any]) -> dict[str, Any]:
    names = [each.name for each in node.properties]
    values = dict(zip(names, row[NODE_PROPERTIES:], strict=True))
    return {"id": row[0], "position": row[2], "p": values | {"kos_position": row[2]}}


def _as_joined(edge: Edge, row: dict[str, Any], was: dict[str, Any] | None) -> list[Any] | None:
    """None where it is newer already, or nobody knows between which nodes it would be."""
    if was is None:
        if not row["known"]:
            return None
        was = {"begins": None, "ends": None, "p": {}}
    elif was["position"] >= row["position"]:
        return None
    begin, end = row["from"] or was["begins"], row["to"] or was["ends"]
    values = was["p"] | row["p"]
    return [row["id"], row["position"], begin, end, *(values.get(each.name) for each in edge.properties)]


def _as_pending(edge: Edge, row: list[Any]) -> dict[str, Any]:
    names = [each.name for each in edge.properties]
    values = dict(zip(names, row[EDGE_PROPERTIES:], strict=True))
    return {"id": row[0], "type": edge.type, "from": row[2], "to": row[3], "position": row[1], "p": values}


def _of_pending(edge: Edge, said: dict[str, Any]) -> list[Any]:
    values = json.loads(said["data"])
    return [said["id"], said["position"], said["begins"], said["ends"],
            *(values.get(each.name) for each in edge.properties)]  # fmt: skip


def _said(properties: dict[str, Any]) -> dict[str, Any]:
    """Without what kos keeps there."""
    return {name: value for name, value in properties.items() if not name.startswith(OWN)}


def _until_none(tx: Transaction, cypher: str, **parameters: Any) -> int:
    """Repeat a statement that removes some, until there is nothing left; how many that were."""
    removed = 0
    while some := tx.run(cypher, most=MOST, **parameters).single(strict=True)["removed"]:
        removed += some
    return removed
