"""Keeping a tenant's graph queries inside of the tenant.

A graph has no row security, and all tenants lie in one. Every node and every edge that kos writes carries the property
`kos_scope` (which tenant, which generation). `scoped` puts it into every node pattern of a query, or refuses the query;
`check_scope` looks at what came back, should a server have ignored a pattern.

Edges join nodes of one scope, so those between two nodes of a scope, and the nodes in between, are of that scope too.
Patterns of relationships are left alone: Neo4j takes no properties in those of shortestPath.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kos import errors
from kos.projections.graph import cypher
from kos.projections.graph.grammar import Query

SCOPE = "kos_scope"
_ENTRY = f"{SCOPE}: ${SCOPE}"


def scoped(query: str) -> str:
    """`query`, asking for nodes of the scope `$kos_scope` only. Comments become blanks; the rest stays as it is.

    Raises:
        GraphQueryRefused: it does more than read, or is not understood.
    """
    text = cypher.without_comments(query)
    found = Query(text)
    found.read()
    pieces = []
    begin = 0
    for end, before, after in sorted(found.gaps):
        pieces += [text[begin:end], before, _ENTRY, after]
        begin = end
    return "".join([*pieces, text[begin:]])


def check_parameters(parameters: Mapping[str, Any]) -> None:
    """See that no parameter takes the place of one of ours.

    Raises:
        GraphQueryRefused: a name begins with `kos_`, or is more than letters, digits and underscores.
    """
    for name in parameters:
        if not cypher.is_plain(name) or cypher.is_reserved(name):
            raise errors.GraphQueryRefused("this can't be the name of a parameter", 0, str(name))


def check_scope(value: Any, scope: str) -> None:
    """See that all nodes and relationships in a result are of `scope`, also those in paths, lists and maps.

    Raises:
        ForeignNode: one is not. Nothing of the result may be shown.
    """
    from neo4j.graph import Entity, Path

    pending = [value]
    while pending:
        each = pending.pop()
        if isinstance(each, Entity):
            if each.get(SCOPE) != scope:
                raise errors.ForeignNode(each.element_id, scope)
        elif isinstance(each, Path):
            pending += [*each.nodes, *each.relationships]
        elif isinstance(each, Mapping):
            pending += each.values()
        elif isinstance(each, list | tuple):
            pending += each
