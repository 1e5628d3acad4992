"""The Cypher that writes, reads and compares the graph. Labels, types and names of properties come from a checked
declaration; everything else is a parameter.

Nodes of ours beside those of tenants: `KosTenant` says which generation readers see, `KosGeneration` how far one is,
`KosPending` is an edge one of whose nodes is not there (yet, or any more), `KosStore` tells this store from another.
Their `kos_scope` is empty, which is no tenant's: no query of a tenant sees them. It is there, and indexed, so that no
server tries a tenant's conditions on them first: a condition that fails would tell of what it failed on. For the same
reason no index of a tenant's labels begins with another property of the tenant's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kos.projections.graph.batch import EDGE_PROPERTIES, NODE_PROPERTIES
from kos.projections.graph.mapping import Edge, GraphMap, Node, Property

OURS = ("KosTenant", "KosGeneration", "KosStore", "KosPending")


def schema(graph: GraphMap) -> Iterator[str]:
    """What is looked up by is indexed. All of it can be repeated."""
    for label in ("KosTenant", "KosGeneration", "KosStore", *(each.label for each in graph.nodes)):
        yield f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{label}) REQUIRE n.kos_id IS UNIQUE"
    for label in (*OURS, *(each.label for each in graph.nodes)):
        yield f"CREATE INDEX IF NOT EXISTS FOR (n:{label}) ON (n.kos_scope)"
    for node in graph.nodes:
        for name in node.indexes:
            yield f"CREATE INDEX IF NOT EXISTS FOR (n:{node.label}) ON (n.kos_scope, n.{name})"
    for name in ("kos_id", "kos_from", "kos_to", "kos_generation"):
        yield f"CREATE INDEX IF NOT EXISTS FOR (n:KosPending) ON (n.{name})"
    yield "CREATE INDEX IF NOT EXISTS FOR (n:KosGeneration) ON (n.kos_tenant)"


IDENTITY = """
MERGE (s:KosStore {kos_id: 'store'}) ON CREATE SET s.kos_identity = $identity, s.kos_scope = ''
RETURN s.kos_identity AS identity
"""

LIVE = """
MATCH (t:KosTenant {kos_id: $tenant}) MATCH (g:KosGeneration {kos_id: t.kos_live})
RETURN g.kos_id AS scope, g.kos_incarnation AS incarnation, g.kos_position AS position, g.kos_leaf AS leaf,
       g.kos_declared AS declared
"""

# `kos_before` is what readers see while it is made, `kos_chunk` what was loaded last.
BEGIN = """
OPTIONAL MATCH (t:KosTenant {kos_id: $tenant}) WITH coalesce(t.kos_live, '') AS before
CREATE (g:KosGeneration {kos_id: $scope, kos_tenant: $tenant, kos_incarnation: 0, kos_position: 0, kos_leaf: '',
                         kos_pending: 0, kos_superseded: 0, kos_turn: 0, kos_scope: '', kos_before: before,
                         kos_chunk: '', kos_declared: $declared})
"""

# The write comes before the comparison: so it is compared under the lock of the node, with what was committed by then.
MOVE = """
MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_turn = g.kos_turn + 1
WITH g WHERE g.kos_position = $position AND g.kos_incarnation = $incarnation AND g.kos_superseded = 0
SET g.kos_position = $to_position, g.kos_incarnation = $to_incarnation, g.kos_leaf = $to_leaf
RETURN g.kos_pending AS pending
"""

SWITCH = """
MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_turn = g.kos_turn + 1
WITH g WHERE g.kos_position >= 0
MERGE (t:KosTenant {kos_id: $tenant}) SET t.kos_turn = coalesce(t.kos_turn, 0) + 1, t.kos_scope = ''
WITH g, t, coalesce(t.kos_live, '') AS before WHERE before = g.kos_before OR before = $scope
SET t.kos_live = $scope
RETURN before
"""

# By the clock of the server, in milliseconds: who removes it later may be on another machine.
SUPERSEDE = "MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_superseded = timestamp()"

GENERATIONS = """
MATCH (g:KosGeneration {kos_tenant: $tenant})
OPTIONAL MATCH (t:KosTenant {kos_id: $tenant})
RETURN g.kos_id AS scope, t IS NOT NULL AND t.kos_live = g.kos_id AS live,
       timestamp() - g.kos_superseded AS unseen
"""

SUPERSEDED = """
MATCH (g:KosGeneration) WHERE g.kos_superseded > 0 AND timestamp() - g.kos_superseded > $grace
RETURN g.kos_id AS scope
"""

# Before a generation is removed: from then on nothing is put into it, and it is not shown.
CLOSE = """
MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_turn = g.kos_turn + 1
WITH g OPTIONAL MATCH (t:KosTenant {kos_id: g.kos_tenant})
WITH g, t WHERE t IS NULL OR t.kos_live <> g.kos_id
SET g.kos_position = -1
RETURN g.kos_id AS scope
"""

REMOVE_GENERATION = "MATCH (g:KosGeneration {kos_id: $scope}) DELETE g"
REMOVE_TENANT = "MATCH (t:KosTenant {kos_id: $tenant}) DELETE t"
SET_PENDING = "MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_pending = g.kos_pending + $more"
REMOVE_PENDING_OF = """
MATCH (p:KosPending {kos_generation: $scope}) WITH p LIMIT $most DELETE p RETURN count(*) AS removed
"""
LABELS = "CALL db.labels() YIELD label RETURN label"


# Under the lock of the node, for the same reason. `done`: the same was committed before, and the answer was lost.
LOADING = """
MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_turn = g.kos_turn + 1
WITH g, g.kos_chunk = $chunk AS done WHERE g.kos_position >= 0 SET g.kos_chunk = $chunk
RETURN g.kos_pending AS pending, done
"""


def edges_of_all(label: str) -> str:
    """The edges of all nodes of a generation with this label, which are about to go."""
    return (
        f"MATCH (n:{label} {{kos_scope: $scope}})-[r]-() WITH DISTINCT r RETURN r.kos_id AS id, type(r) AS kind, "
        "startNode(r).kos_id AS begins, endNode(r).kos_id AS ends, properties(r) AS p"
    )


def remove_some(label: str) -> str:
    """Nodes of a generation, with their edges; not all at once."""
    return f"MATCH (n:`{label}` {{kos_scope: $scope}}) WITH n LIMIT $most DETACH DELETE n RETURN count(*) AS removed"


# nodes


def put_nodes(node: Node) -> str:
    """Those that aren't there; rows as of `create_nodes`."""
    return (
        f"UNWIND $rows AS row OPTIONAL MATCH (o:{node.label} {{kos_id: row[0]}}) WITH row, o WHERE o IS NULL "
        f"{_create(node)} RETURN count(*) AS count"
    )


def create_nodes(node: Node) -> str:
    """None of which is there: else it fails."""
    return f"UNWIND $rows AS row {_create(node)} RETURN count(*) AS count"


def _create(node: Node) -> str:
    """The properties one by one: of a map, each would be indexed anew."""
    own = "kos_id: row[0], kos_scope: $scope, kos_key: row[1], kos_position: row[2]"
    return f"CREATE (n:{node.label} {{{own}{_literal(node.properties, NODE_PROPERTIES)}}})"


def patch_nodes(label: str) -> str:
    """What has changed, unless it has changed again since."""
    return (
        f"UNWIND $rows AS row MATCH (n:{label} {{kos_id: row.id}}) WHERE n.kos_position < row.position SET n += row.p"
    )


def edges_of_nodes(label: str) -> str:
    """The edges that nodes have which are about to go."""
    return (
        f"UNWIND $rows AS row MATCH (n:{label} {{kos_id: row.id}})-[r]-() WHERE n.kos_position < row.position "
        "WITH DISTINCT r RETURN r.kos_id AS id, type(r) AS kind, startNode(r).kos_id AS begins, "
        "endNode(r).kos_id AS ends, properties(r) AS p"
    )


def remove_nodes(label: str) -> str:
    """Them, and their edges."""
    return (
        f"UNWIND $rows AS row MATCH (n:{label} {{kos_id: row.id}}) WHERE n.kos_position < row.position DETACH DELETE n"
    )


# edges


def join(edge: Edge) -> str:
    """The edges both of whose nodes are there; returns how many."""
    own = "kos_id: row[0], kos_scope: $scope, kos_position: row[1]"
    return (
        f"{_both(edge)} CREATE (a)-[:{edge.type} {{{own}{_literal(edge.properties, EDGE_PROPERTIES)}}}]->(b) "
        "RETURN count(*) AS count"
    )


def joinable(edge: Edge) -> str:
    """Which of the edges have both."""
    return f"{_both(edge)} RETURN row[0] AS id"


def _both(edge: Edge) -> str:
    return (
        f"UNWIND $rows AS row MATCH (a:{edge.begin.label} {{kos_id: row[2]}}) "
        f"MATCH (b:{edge.end.label} {{kos_id: row[3]}})"
    )


def cut(edge: Edge) -> str:
    """Found from the node that they begin at: no server of both finds an edge by itself."""
    return (
        f"UNWIND $rows AS row MATCH (a:{edge.begin.label} {{kos_id: row.from}})-[r:{edge.type} {{kos_id: row.id}}]->() "
        "WHERE r.kos_position < row.position DELETE r"
    )


def seek(edge: Edge) -> str:
    """Edges by their ids alone: all of that type in the generation are looked at."""
    return (
        f"MATCH (a:{edge.begin.label} {{kos_scope: $scope}})-[r:{edge.type}]->(b) WHERE r.kos_id IN $rows "
        "RETURN r.kos_id AS id, a.kos_id AS begins, b.kos_id AS ends, r.kos_position AS position, properties(r) AS p"
    )


def patch_edges(edge: Edge) -> str:
    """What has changed, unless it has changed again since."""
    return (
        f"UNWIND $rows AS row MATCH (a:{edge.begin.label} {{kos_id: row.from}})-[r:{edge.type} {{kos_id: row.id}}]->() "
        "WHERE r.kos_position < row.position SET r += row.p"
    )


def cut_some(edge: Edge) -> str:
    """All of a type in a generation; not all at once."""
    return (
        f"MATCH (a:{edge.begin.label} {{kos_scope: $scope}})-[r:{edge.type}]->() "
        "WITH r LIMIT $most DELETE r RETURN count(*) AS removed"
    )


CREATE_PENDING = """
UNWIND $rows AS row
CREATE (:KosPending {kos_id: row.id, kos_generation: $scope, kos_type: row.type, kos_from: row.from, kos_to: row.to,
                     kos_position: row.position, kos_data: row.data, kos_scope: ''})
"""
PENDING = """
UNWIND $rows AS row MATCH (p:KosPending {kos_id: row.id}) WHERE p.kos_type = $type
RETURN p.kos_id AS id, p.kos_type AS kind, p.kos_from AS begins, p.kos_to AS ends, p.kos_position AS position,
       p.kos_data AS data
"""
PENDING_FROM = PENDING.replace("{kos_id: row.id}", "{kos_from: row.id}").replace("p.kos_type = $type", "true")
PENDING_TO = PENDING.replace("{kos_id: row.id}", "{kos_to: row.id}").replace("p.kos_type = $type", "true")
REMOVE_PENDING = "UNWIND $rows AS row MATCH (p:KosPending {kos_id: row.id}) WHERE p.kos_type = row.kind DELETE p"
REMOVE_PENDING_TYPE = """
MATCH (p:KosPending {kos_generation: $scope}) WHERE p.kos_type = $type WITH p LIMIT $most DELETE p
RETURN count(*) AS removed
"""

# comparing


def nodes(node: Node) -> str:
    """All of a generation, with the declared properties in their order, and how many it has in all."""
    return (
        f"MATCH (n:{node.label} {{kos_scope: $scope}}) "
        f"RETURN n.kos_key AS key, {_listed('n', node.properties)} AS p, size(keys(n)) AS count"
    )


def edges(edge: Edge) -> str:
    """The same."""
    return (
        f"MATCH (a:{edge.begin.label} {{kos_scope: $scope}})-[r:{edge.type}]->(b) "
        "RETURN r.kos_id AS id, a.kos_id AS begins, b.kos_id AS ends, r.kos_scope AS scope, "
        f"{_listed('r', edge.properties)} AS p, size(keys(r)) AS count"
    )


def _listed(name: str, properties: Iterable[Property]) -> str:
    return "[" + ", ".join(f"{name}.`{each.name}`" for each in properties) + "]"


ALL_PENDING = """
MATCH (p:KosPending {kos_generation: $scope})
RETURN p.kos_id AS id, p.kos_type AS kind, p.kos_from AS begins, p.kos_to AS ends, p.kos_data AS data
"""


def _literal(properties: Iterable[Property], first: int) -> str:
    return "".join(f", `{each.name}`: row[{number}]" for number, each in enumerate(properties, first))
