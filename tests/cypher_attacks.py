"""Ways to another tenant's nodes, for a user who may write the query and its parameters.

Each shows something `of B` to somebody of A as long as nothing is scoped. `$other` is the scope of B, `$guess` the
secret of one of B's nodes; `$id`, `$element` and `$edge` are identities of B's.
"""

from __future__ import annotations

PLAIN = [
    "MATCH (n) RETURN n.secret",
    "MATCH (n:Atom) RETURN n.secret",
    "MATCH (n:Atom) RETURN max(n.secret)",
    "OPTIONAL MATCH (n:Atom) RETURN n.secret",
    "MATCH (n:Atom) RETURN properties(n)",
    "MATCH (n:Atom) RETURN n {.*}",
    "MATCH (n:Atom) RETURN [k IN keys(n) | n[k]]",
    "MATCH (n:Atom) WITH n ORDER BY n.secret DESC LIMIT 1 RETURN n.secret",
    "MATCH (a:Atom), (b:Atom) WHERE a.secret <> b.secret RETURN b.secret",
    "UNWIND $names AS name MATCH (n:Atom {name: name}) RETURN n.secret",
    "MATCH (n:Atom {}) RETURN n.secret",
    "MATCH (n:Atom WHERE n.i > 0) RETURN n.secret",
]

PATHS = [
    "MATCH ()-[r:RELATES]->() RETURN endNode(r).secret",
    "MATCH ()-[r*1..3]->() UNWIND r AS e RETURN startNode(e).secret",
    "MATCH p = ()-->() RETURN [n IN nodes(p) | n.secret]",
    "MATCH p = (:Atom)-[*0..2]-() RETURN [n IN nodes(p) | n.secret]",
    "MATCH p = shortestPath((a:Atom {secret: $guess})-[*1..6]-(b:Atom {name: 'n3'})) RETURN [n IN nodes(p) | n.secret]",
    "MATCH p = shortestPath((a:Atom {name: 'n1'})-[*..6]-(b:Atom {name: 'n3'})) RETURN [n IN nodes(p) | n.secret]",
    "MATCH p = allShortestPaths((a:Atom {name: 'n1'})-[*..6]-(b:Atom {name: 'n3'})) RETURN [n IN nodes(p) | n.secret]",
    "MATCH (a:Atom {name: 'n1'}), (b:Atom {name: 'n3'}) RETURN [n IN nodes(shortestPath((a)-[*..6]-(b))) | n.secret]",
]

INSIDE = [
    "RETURN [(x:Atom)-->(y) | y.secret]",
    "RETURN [p = (:Atom)-->() | [n IN nodes(p) | n.secret]]",
    "RETURN reduce(s = '', x IN [(n:Atom)--() | n.secret] | s + x)",
    "MATCH (a:Atom {name: 'n1'}) RETURN [(x:Atom)--() WHERE x.name <> a.name | x.secret]",
    "MATCH (a:Atom) WHERE EXISTS { (m:Atom) WHERE m.secret = $guess } RETURN $guess",
    "MATCH (a:Atom) WHERE EXISTS { MATCH (m:Atom) WHERE m.secret = $guess RETURN m } RETURN $guess",
    "RETURN CASE WHEN COUNT { (m:Atom {secret: $guess}) } > 0 THEN $guess END",
    "RETURN CASE WHEN EXISTS { MATCH (m:X) RETURN m UNION MATCH (m {secret: $guess}) RETURN m } THEN $guess END",
    "RETURN COLLECT { MATCH (m:Atom) RETURN m.secret }",
    "MATCH (a:Atom) WHERE (a)-->(:Atom {secret: $guess}) RETURN $guess",
    "MATCH (a:Atom) WHERE (:Atom {secret: $guess})--() RETURN $guess",
    "MATCH (a:Atom) WHERE (a)--()--(:Atom {secret: $guess}) RETURN $guess",
    "MATCH (a:Atom) WHERE exists((:Atom {secret: $guess})--()) RETURN $guess",
    "MATCH (n:Atom)--(m WHERE EXISTS { (k:Atom) WHERE k.secret = $guess }) RETURN $guess",
    "MATCH (n:Atom {name: head([(m:Atom {secret: $guess})--() | m.name])}) RETURN $guess",
]

CHAINS = [
    "MATCH (n:Nothing) RETURN n.secret AS s UNION MATCH (n:Atom) RETURN n.secret AS s",
    "MATCH (n:Nothing) RETURN n.secret AS s UNION ALL MATCH (n:Atom) RETURN n.secret AS s",
    "MATCH (a:Atom) WITH * MATCH (b:Atom) WITH * MATCH (c) RETURN collect(c.secret)",
    "MATCH (a:Atom) WITH collect(a) AS l UNWIND l AS n MATCH (n)-->(m) RETURN m.secret",
    "MATCH (a:Atom) WITH a AS b MATCH (b)-->(c) WITH c AS a OPTIONAL MATCH (a)--(d) RETURN d.secret",
]

IDENTITIES = [
    "MATCH (n) WHERE id(n) = $id RETURN n.secret",
    "MATCH (n:Atom) WHERE id(n) IN [$id] RETURN n.secret",
    "MATCH (n) WHERE elementId(n) = $element RETURN n.secret",
    "MATCH (n:Atom) WHERE elementId(n) IN [$element] RETURN n.secret",
    "MATCH (n WHERE elementId(n) = $element) RETURN n.secret",
    "MATCH (a)-->(n) WHERE id(a) = $id RETURN n.secret",
    "MATCH ()-[r]->() WHERE id(r) = $edge RETURN startNode(r).secret",
    "MATCH (a:Atom {name: 'n1'}) OPTIONAL MATCH (n) WHERE id(n) = $id RETURN n.secret",
]

TEXT = [
    "MATCH (n:Atom /* } */ ) // {kos_scope: $kos_scope}\nRETURN n.secret",
    "MATCH (n:Atom) /* ' */ RETURN n.secret // '",
    "/* MATCH (n {kos_scope: $kos_scope}) */ MATCH (n:Atom) RETURN n.secret",
    "MATCH (n:Atom) WHERE n.name <> '\\') RETURN 1 //' RETURN n.secret",
    'MATCH (n:Atom) WHERE n.name <> "{kos_scope: $kos_scope}) /*" RETURN n.secret',
    "MATCH (`n`:`Atom`) RETURN `n`.`secret`",
    "MATCH (`)-->(`:Atom) RETURN `)-->(`.secret",
    "MATCH (`n {kos_scope: $kos_scope}`:Atom) RETURN `n {kos_scope: $kos_scope}`.secret",
    "MATCH\u00a0(n:Atom) RETURN n.secret",
    "MATCH\u000b(n:Atom)\u001cRETURN n.secret",
    "MATCH (a)\u00ad\u2010\u27e9(n:Atom) RETURN n.secret",
    "MATCH (where:Atom) RETURN where.secret",
    "MATCH (n:Atom|Nothing) RETURN n.secret",
    "MATCH (n:!Nothing) RETURN n.secret",
    "MATCH (n:%) RETURN n.secret",
    "MATCH (n IS Atom) RETURN n.secret",
    "MATCH (n:$($label)) RETURN n.secret",
]

SCOPES = [
    "MATCH (n:Atom {kos_scope: $other}) RETURN n.secret",
    "MATCH (n:Atom {`kos_scope`: $other}) RETURN n.secret",
    "MATCH (n:Atom {name: 'n1', kos_scope: $other}) RETURN n.secret",
    "MATCH (n:Atom) WHERE n.kos_scope = $other RETURN n.secret",
    "MATCH (n:Atom) WHERE n['kos_scope'] = $other RETURN n.secret",
    "MATCH (n:Atom) WHERE n[$key] = $other RETURN n.secret",
    "MATCH (n:Atom) WHERE properties(n).`kos_scope` = $other RETURN n.secret",
    "WITH $other AS kos_scope MATCH (n:Atom {kos_scope: kos_scope}) RETURN n.secret",
    "MATCH ()-[r {kos_scope: $other}]->() RETURN startNode(r).secret",
]

CLAUSES = [
    "CALL { MATCH (n:Atom) RETURN n.secret AS s } RETURN s",
    "MATCH (a:Atom) CALL (a) { MATCH (n:Atom) RETURN n.secret AS s } RETURN s",
    "PROFILE MATCH (n:Atom) RETURN n.secret",
    "MATCH (n:Atom) RETURN n.secret;",
    "MATCH (n:Atom) SET n.touched = true RETURN n.secret",
    "MATCH (n:Atom) CREATE (m:Atom {i: n.i}) RETURN n.secret",
    "MATCH (n:Atom) REMOVE n.kos_scope RETURN n.secret",
    "MERGE (n:Atom {secret: $guess}) RETURN n.secret",
    "MATCH (a:Atom)-[:RELATES]->+(n) RETURN n.secret",
    "MATCH (a:Atom) ((x)-->(y)){1,2} (n) RETURN n.secret",
]

# Neo4j falls for these, ArcadeDB doesn't know them.
ESCAPES = [
    "MATCH (n:\\u0041tom) RETURN n.secret",
    "MATCH (n:Atom {\\u006bos_scope: $other}) RETURN n.secret",
    "MATCH (n:Atom) WHERE n.name <> '\\u0027 RETURN n.secret // '",
    "MATCH (n) /* \\u002a\\u002f WHERE true RETURN n.secret // */ RETURN 1",
]

ATTACKS = [*PLAIN, *PATHS, *INSIDE, *CHAINS, *IDENTITIES, *TEXT, *SCOPES, *CLAUSES]

# They fail where they are tried on a node of B's, and whether they do tells about it. `$day` is what A's have in `day`.
TELLING_BY_FAILING = [
    "MATCH (n:Atom) WHERE date(n.day) = date($day) RETURN n.i",
    "MATCH (n:Atom WHERE date(n.day) = date($day)) RETURN n.i",
    "MATCH (n:Atom|Part) WHERE date(n.day) = date($day) RETURN n.i",
    "MATCH (n:Atom {name: 'n2'}) WHERE date(n.day) = date($day) RETURN n.i",
    "MATCH (n:Atom) WHERE n.secret = $guess AND date(n.day) = date($day) RETURN n.i",
    "MATCH (n:Atom) WHERE elementId(n) = $element AND date(n.day) = date($day) RETURN n.i",
    "MATCH (n) WHERE id(n) = $id AND date(n.day) = date($day) RETURN n.i",
    "MATCH (n) WHERE n:Atom AND date(n.day) = date($day) RETURN n.i",
    "MATCH (n:Atom) WHERE 1 / (CASE WHEN n.secret = $guess THEN 0 ELSE 1 END) = 1 RETURN n.i",
    "MATCH (m)-->(n:Atom) WHERE date(n.day) = date($day) RETURN n.i",
    "MATCH (m:Atom), (n:Atom) WHERE date(n.day) = date($day) AND n.i = m.i RETURN n.i",
    "RETURN EXISTS { (n:Atom) WHERE date(n.day) <> date($day) }",
    "RETURN [(n:Atom)-->() WHERE date(n.day) = date($day) | n.i]",
]
