"""What a batch of changes, or rows of a snapshot, comes to in the graph. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from operator import itemgetter
from typing import Any

from kos.errors import ChangeRejected
from kos.projections.graph.mapping import Edge, End, GraphMap, Node, Property, properties_of
from kos.projections.model import Change, Row, Values, key_text

Rows = dict[str, list[dict[str, Any]]]  # by label or type
Lists = dict[str, list[list[Any]]]  # the same, the properties last, in the declared order
NODE_PROPERTIES, EDGE_PROPERTIES = 3, 4  # where they begin: after id, key and position; id, position, from and to
# Bytes of a text, or of a key, that is in an index. Neo4j takes 8,164 with what is beside it there, ArcadeDB 262,000.
INDEXED = 7000
_WIDEST = 4  # bytes of a character
_ID, _FIRST = itemgetter("id"), itemgetter(0)


def _rows() -> Rows:
    return defaultdict(list)


def _lists() -> Lists:
    return defaultdict(list)


@dataclass
class Batch:
    """Rows by label or type. `id` is unique in the graph: scope and key; `p` are the properties that are set.

    `create`: a whole node of which nothing says that it is there. `put`: a whole node, new or not. `patch`: what has
    changed of one that is there. `join`: an edge that is not there yet. `seek`: what is known of an edge that may be
    there, nobody knows where. `emptied`: labels and types of which nothing is left of this generation.
    """

    scope: str
    emptied: list[str] = field(default_factory=list)
    cut: Rows = field(default_factory=_rows)
    seek: Rows = field(default_factory=_rows)
    remove: Rows = field(default_factory=_rows)
    create: Lists = field(default_factory=_lists)
    put: Lists = field(default_factory=_lists)
    patch: Rows = field(default_factory=_rows)
    patch_edge: Rows = field(default_factory=_rows)
    join: Lists = field(default_factory=_lists)

    def id(self, key: str) -> str:
        """Of a node or an edge in this generation."""
        return f"{self.scope}/{key}"

    def ordered(self) -> Batch:
        """Each list by id: two transactions that lock in one order make no deadlock."""
        for rows in (self.cut, self.seek, self.remove, self.patch, self.patch_edge):
            for each in rows.values():
                each.sort(key=_ID)
        for lists in (self.create, self.put, self.join):
            for one in lists.values():
                one.sort(key=_FIRST)
        return self

    def doubting(self) -> Batch:
        """The same, where any node may be there already."""
        labels = {*self.create, *self.put}
        put = {label: self.create.get(label, []) + self.put.get(label, []) for label in labels}
        return replace(self, create=_lists(), put=_lists() | put).ordered()


def batch_of(name: str, graph: GraphMap, scope: str, changes: Iterable[Change]) -> Batch:
    """What changes come to.

    Raises:
        ChangeRejected: a value is not of the declared type.
    """
    batch = Batch(scope)
    with _refusing(name):
        for change in changes:
            for node in graph.nodes_of(change.table):
                _node(batch, node, change)
            for edge in graph.edges_of(change.table):
                _edge(batch, edge, change)
    return batch.ordered()


def batch_of_rows(name: str, graph: GraphMap, scope: str, position: int, rows: Iterable[Row]) -> Batch:
    """What rows of a snapshot come to.

    Raises:
        ChangeRejected: a value is not of the declared type.
    """
    batch = Batch(scope)
    with _refusing(name):
        for row in rows:
            key, values = key_text(row.key), row.values
            for node in graph.nodes_of(row.table):
                if node.shows(values):
                    batch.create[node.label].append([batch.id(key), key, position, *_all_of_node(node, key, values)])
            for edge in graph.edges_of(row.table):
                if (ends := edge.ends(values)) is not None:
                    batch.join[edge.type].append(_edge_row(batch, edge, key, position, ends, values))
    return batch.ordered()


def _node(batch: Batch, node: Node, change: Change) -> None:
    if change.kind == "truncated":
        batch.emptied.append(node.label)
        return
    key = key_text(change.key)
    row = {"id": batch.id(key), "position": change.position}
    whole = _whole(node, change)
    if change.kind == "deleted" or not node.shows(change.values if whole is None else whole):
        batch.remove[node.label].append(row)
    elif whole is not None:
        rows = batch.create if change.fresh else batch.put
        rows[node.label].append([row["id"], key, change.position, *_all_of_node(node, key, whole)])
    elif patch := properties_of(node.properties, change.values):
        _check_indexed(node, change.values)
        batch.patch[node.label].append(row | {"p": patch | {"kos_position": change.position}})


def _whole(node: Node, change: Change) -> Values | None:
    """The whole row, where it has to be put: it is new, or shown again. Where nobody knows whether it was shown, it is
    taken to be there: of a part nothing whole can be made."""
    if change.kind == "created":
        return change.after
    before = change.before or {}
    if node.hidden is None or node.hidden not in change.values or node.hidden not in before:
        return None
    return None if node.shows(before) and node.shows(change.values) else change.after


def _edge(batch: Batch, edge: Edge, change: Change) -> None:
    if change.kind == "truncated":
        batch.emptied.append(edge.type)
        return
    if not (change.fresh or change.again or _is_known(edge, change)):
        batch.seek[edge.type].append(_sought(batch, edge, change))
        return
    before, after = edge.ends(change.before), edge.ends(change.after)
    row = {"id": batch.id(key_text(change.key)), "position": change.position}
    if before is not None and before != after:
        batch.cut[edge.type].append(row | {"from": batch.id(before[0])})
    if after is None:
        return
    if change.again:
        batch.cut[edge.type].append(row | {"from": batch.id(after[0])})
    ends = {"from": batch.id(after[0]), "to": batch.id(after[1])}
    if before == after:
        if patch := properties_of(edge.properties, change.values):
            batch.patch_edge[edge.type].append(row | ends | {"p": patch | {"kos_position": change.position}})
    else:
        key = key_text(change.key)
        batch.join[edge.type].append(_edge_row(batch, edge, key, change.position, after, change.after or {}))


def _is_known(edge: Edge, change: Change) -> bool:
    """Whether the log says which edge the row was, and all of one that it becomes."""
    if change.before is None or not edge.says <= change.before.keys():
        return False
    after = change.after
    moves = after is not None and edge.ends(change.before) != edge.ends(after)
    return not moves or after is None or all(each.name in after for each in edge.properties)


def _sought(batch: Batch, edge: Edge, change: Change) -> dict[str, Any]:
    """An end of which nothing is said is none: it stays what it is."""
    values = change.values

    def end(of: End) -> str | None:
        key = of.key(values)
        _check_length(f"the key of its {of.label}", key)
        return None if key is None else batch.id(key)

    null = any(each != edge.hidden and each in values and values[each] is None for each in edge.says)
    return {
        "id": batch.id(key_text(change.key)),
        "position": change.position,
        "gone": change.kind == "deleted" or null or (edge.hidden is not None and values.get(edge.hidden) is not None),
        "known": edge.says <= values.keys(),
        "from": end(edge.begin),
        "to": end(edge.end),
        "p": properties_of(edge.properties, values),
    }


def _edge_row(batch: Batch, edge: Edge, key: str, position: int, ends: tuple[str, str], values: Values) -> list[Any]:
    return [batch.id(key), position, batch.id(ends[0]), batch.id(ends[1]), *_all_of_edge(edge, key, ends, values)]


def _all_of_node(node: Node, key: str, values: Values) -> list[Any]:
    _check_length("its key", key)
    _check_indexed(node, values)
    return _all(node.properties, values)


def _all_of_edge(edge: Edge, key: str, ends: tuple[str, str], values: Values) -> list[Any]:
    _check_length("its key", key)  # it is in an index as well, and the ends are, while one of the nodes is not there
    for end, of in zip((edge.begin, edge.end), ends, strict=True):
        if len(of) > INDEXED // _WIDEST:
            _check_length(f"the key of its {end.label}", of)
    return _all(edge.properties, values)


def _all(declared: tuple[Property, ...], values: Values) -> list[Any]:
    """Every declared property: one that the row has not is none."""
    return [each.value(values.get(each.name)) for each in declared]


def _check_indexed(node: Node, values: Values) -> None:
    for name in node.texts_indexed:
        _check_length(name, values.get(name))


def _check_length(what: str, text: str | None) -> None:
    """A server finds out while it writes, or not before it commits, and doesn't say that it is the row's fault."""
    if text is not None and len(text) > INDEXED // _WIDEST and (size := len(text.encode())) > INDEXED:
        raise ValueError(f"{what} is too long for an index of the graph: {size:,} bytes, and it takes {INDEXED:,}")


class _refusing:
    """A value that the graph can't hold is the row's fault."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> None:
        if isinstance(error, ValueError | OverflowError):
            raise ChangeRejected(self._name, str(error)) from error


def expected_node(graph: GraphMap, row: Row) -> tuple[str, str, list[Any] | None] | None:
    """Label, key and properties, in the declared order, of the node that a row is; None if it is none. Properties are
    None where the graph can't hold them."""
    for node in graph.nodes_of(row.table):
        if node.shows(row.values):
            key = key_text(row.key)
            return node.label, key, _held(_all_of_node, node, key, row.values)
    return None


def expected_edges(graph: GraphMap, row: Row) -> list[tuple[str, str, tuple[str, str], list[Any] | None]]:
    """Type, key, keys of both ends and properties of the edges that a row is; properties as of nodes."""
    found = []
    for edge in graph.edges_of(row.table):
        ends = edge.ends(row.values)
        if ends is not None:
            key = key_text(row.key)
            found.append((edge.type, key, ends, _held(_all_of_edge, edge, key, ends, row.values)))
    return found


def _held(properties: Callable[..., list[Any]], *of: Any) -> list[Any] | None:
    try:
        return properties(*of)
    except ValueError:
        return None
