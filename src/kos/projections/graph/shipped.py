"""How the shipped tables become a graph: atoms, what they are related to, and what states or composes them."""

from __future__ import annotations

from kos.projections.graph.mapping import Edge, End, GraphMap, Node, Property
from kos.projections.model import TableName


def _node(label: str, table: str, called: str, *properties: str) -> Node:
    """Looked up by their ids, and by what they are called."""
    declared = tuple(map(Property.read, ("id", called, *properties)))
    return Node(label, TableName(table), declared, hidden="deleted_at", indexes=("id", called))


def _edge(kind: str, table: str, begin: tuple[str, str], end: tuple[str, str], *properties: str) -> Edge:
    ends = [End(label, (column,)) for label, column in (begin, end)]
    return Edge(kind, TableName(table), ends[0], ends[1], tuple(map(Property.read, properties)))


SHIPPED = GraphMap(
    nodes=(
        _node("Atom", "atoms", "name", "atom_type", "value", "number_value:float", "boolean_value:boolean",
              "time_value", "confidence:float", "source", "version:integer", "created_at", "updated_at"),
        _node("Molecule", "molecules", "name", "version:integer", "created_at", "updated_at"),
        _node("Document", "documents", "title", "media_type", "content_sha256", "byte_length:integer",
              "created_at", "updated_at"),
    ),
    edges=(
        _edge("RELATES_TO", "relations", ("Atom", "from_atom_id"), ("Atom", "to_atom_id"),
              "id", "relation_type", "created_at"),
        _edge("COMPOSED_OF", "molecule_atoms", ("Molecule", "molecule_id"), ("Atom", "atom_id"), "role"),
        _edge("STATES", "annotations", ("Document", "document_id"), ("Atom", "atom_id"),
              "id", "start_offset:integer", "end_offset:integer", "quote", "confidence:float", "created_at"),
    ),
)  # fmt: skip
