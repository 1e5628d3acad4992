"""Every node pattern of a tenant's graph query gets its scope; what does more than read, or is unclear, is refused."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cypher_queries import ENTRY, Maker, expected, plain
from cypher_refused import REFUSED
from kos.errors import GraphQueryRefused
from kos.projections.graph.scoping import check_parameters, scoped

# What is put in stands between « and ».
ACCEPTED = [
    "MATCH (n« {@}») RETURN n",
    "MATCH («{@}») RETURN count(*)",
    "MATCH ({«@»}) RETURN 1",
    "MATCH ( {«@» } ) RETURN 1",
    "match (n:Atom {name: $name«, @»}) return n.name as name",
    "MATCH (n :Atom« {@}» WHERE n.i > 1) RETURN n",
    "MATCH (:A|B« {@}»), (b:!A&(B|C)« {@}»), (c:A:B« {@}»), (d:%« {@}») RETURN *",
    "MATCH (`n`:`My Table` {`first name`: 'x'«, @»}) RETURN n",
    "MATCH (a« {@}»)-->(b« {@}»)<--(c« {@}»)--(d« {@}») RETURN a",
    "MATCH (a« {@}») - - > (b« {@}») < - [ r : R ] - (c« {@}») RETURN a",
    "MATCH (a« {@}»)-[r:R|S|:T*1..3 {w: 1}]->(b« {@}»), («{@}»)-[*]-(«{@}»)-[*2]-(«{@}»)-[*..3]-(«{@}») RETURN r",
    "MATCH (a« {@}»)-[r:R WHERE r.w > 1 AND (a« {@}»)--(«{@}»)]->(b« {@}») RETURN r",
    "MATCH p = (a« {@}»)-->(b« {@}») RETURN nodes(p), relationships(p), length(p)",
    "MATCH p = shortestPath((a:Atom {name: $from«, @»})-[:RELATES*..6]-(b:Atom {name: $to«, @»})) RETURN p",
    "MATCH p = allShortestPaths((a« {@}»)-[*]-(b« {@}»)) RETURN p",
    "MATCH (a« {@}»), (b« {@}») RETURN length(shortestPath((a« {@}»)-[*..6]-(b« {@}»))) AS hops",
    "OPTIONAL MATCH (a« {@}») WHERE a.x <> 1 OR NOT a.y =~ 'a\\\\.b' XOR a.z IN [1, -2.5e3, 0x1F] RETURN a",
    "MATCH (a« {@}») WHERE (a« {@}»)-->(b:B« {@}») AND NOT (a« {@}»)<-[:R]-(«{@}») RETURN a",
    "MATCH (a« {@}») WHERE exists((a« {@}»)-->(«{@}»)) RETURN a",
    "MATCH (a« {@}») WHERE EXISTS { (a« {@}»)-->(b« {@}») WHERE b.x = a.x } RETURN a",
    "MATCH (a« {@}») WHERE exists { MATCH (a« {@}»)--(b« {@}») RETURN b UNION MATCH (c« {@}») RETURN c AS b } RETURN a",
    "MATCH (a« {@}») RETURN COUNT { (b« {@}») } AS n, COLLECT { MATCH (b« {@}») RETURN b.x ORDER BY b.x LIMIT 3 } AS l",
    "MATCH (a« {@}») RETURN count { p = (a« {@}»)-->(b« {@}») WHERE count { (b« {@}»)--(«{@}») } > 1 } AS n",
    "MATCH (a« {@}») RETURN [(a« {@}»)-->(b« {@}») WHERE b:A | b.x] AS l, [p = (a« {@}»)-->(«{@}») | p] AS m",
    "MATCH (a« {@}») RETURN [x IN a.list WHERE x:A | x.y] AS l, [x IN a.list | x], [x IN a.list], [x IN a.list, 1]",
    "MATCH (a« {@}») RETURN [x IN [1] WHERE (a« {@}»)-->(:B« {@}») | size([(a« {@}»)--(y« {@}») | y])] AS l",
    "MATCH (a {x: size([(b« {@}»)-->(c« {@}») | 1])«, @»}) RETURN a",
    "MATCH (a« {@}») RETURN a {.*, .x, y: 1, z: [(a« {@}»)--(b« {@}») | b.x]} AS m, a {} AS n",
    "MATCH (a« {@}») RETURN CASE WHEN (a« {@}»)-->(«{@}») THEN 1 ELSE 2 END AS c, CASE a.x WHEN 1 THEN 'b' END AS d",
    "RETURN all(x IN $l WHERE x > 1) AND any(x IN $l WHERE x) OR none(x IN $l WHERE x) OR single(x IN $l WHERE x) AS b",
    "RETURN reduce(sum = 0, x IN [1, 2] | sum + x) AS total, $map.key, $list[0], $list[1..2], $list[..-1], $map['k']",
    "UNWIND $rows AS row MATCH (n {id: row.id«, @»}) WITH DISTINCT n, row.x AS x ORDER BY x DESC, n.y SKIP 1 LIMIT $k "
    "WHERE x IS NOT NULL RETURN n, count(DISTINCT x) AS c, count(*) AS d",
    "MATCH (a« {@}») RETURN a.x AS x UNION ALL MATCH (b« {@}») RETURN b.y AS x UNION RETURN 1 AS x",
    "MATCH (n« {@}») WHERE n.where = 1 AND n.match STARTS WITH 'a' AND n:Return AND n.x ENDS WITH $end RETURN n.order",
    "MATCH (n« {@}») RETURN point.distance(n.at, point({x: 1, y: 2})) AS d, date.truncate('day', n.day), 5 % 2 ^ -(-1)",
    "MATCH («{@}»WHERE true), («{@}»where {x: 1}) RETURN [x IN y WHERE x:A|(B« {@}»)-[r]-(C« {@}»)] AS l",
    "MATCH (größe:Straße« {@}») WHERE größe.länge < -5 RETURN größe",
    'MATCH (n« {@}») WHERE n.name = \'(:x)--() // /* ` MATCH (m) {\' AND n.x = "\\" \\\\" RETURN n.name AS `name`',
    "MATCH (n« {@}»)\r\n\tRETURN n\n",
    "WITH 1 AS one MATCH (n« {@}») RETURN n, one OFFSET 2",
]


def both(marked: str) -> tuple[str, str]:
    """What a tenant writes, and what has to be sent."""
    pieces = marked.replace("@", ENTRY).split("«")
    parted = [piece.split("»") for piece in pieces[1:]]
    return (
        pieces[0] + "".join(after for _, after in parted),
        pieces[0] + "".join(put_in + after for put_in, after in parted),
    )


@pytest.mark.parametrize("marked", ACCEPTED)
def test_the_scope_is_put_into_every_node_pattern(marked: str) -> None:
    written, sent = both(marked)
    assert scoped(written) == sent


def test_comments_become_blanks() -> None:
    query = "MATCH (n // one (m)\n /* ' */ :A) // end\nRETURN n /* (\n x */"
    assert scoped(query) == f"MATCH (n           \n         :A {{{ENTRY}}})       \nRETURN n     \n     "


@settings(max_examples=200, deadline=None)
@given(st.integers(min_value=0))
def test_of_a_made_up_query_every_node_pattern_is_scoped_and_nothing_else_changed(seed: int) -> None:
    query = Maker(seed).query()
    assert scoped(plain(query)) == expected(query)


PIECES = [
    "(",
    ")",
    "[",
    "]",
    "{",
    "}",
    "-",
    "<",
    ">",
    ":",
    ",",
    ".",
    "..",
    "|",
    "*",
    "=",
    "'",
    "`",
    "\\",
    "$",
    "//",
    "/*",
    "*/",
]
PIECES += [
    "MATCH",
    "WHERE",
    "RETURN",
    "WITH",
    "AS",
    "EXISTS",
    "IN",
    "IS",
    "NULL",
    "CALL",
    "n",
    "A",
    "1",
    " ",
    "\n",
    "'x'",
]


def is_subsequence(short: str, long: str) -> bool:
    letters = iter(long)
    return all(letter in letters for letter in short)


@settings(max_examples=500, deadline=None)
@example(["MATCH", " ", "(", "n", ")", " ", "RETURN", " ", "n"])
@given(st.lists(st.sampled_from(PIECES), max_size=20))
def test_any_text_is_refused_or_only_added_to(pieces: list[str]) -> None:
    query = "".join(pieces)
    try:
        sent = scoped(query)
    except GraphQueryRefused:
        return
    without = sent.replace(f", {ENTRY}", "").replace(f" {{{ENTRY}}}", "").replace(f"{{{ENTRY}}}", "").replace(ENTRY, "")
    assert without.split() == query.split() or "/" in query


@pytest.mark.parametrize("query", [query for queries in REFUSED.values() for query in queries])
def test_what_is_not_understood_is_refused(query: str) -> None:
    with pytest.raises(GraphQueryRefused) as refused:
        scoped(query)
    assert query[refused.value.position :].startswith(refused.value.excerpt)


def test_a_refusal_says_where_and_what_is_allowed() -> None:
    with pytest.raises(GraphQueryRefused) as refused:
        scoped("MATCH (n) SET n.x = 1")
    assert (refused.value.position, refused.value.excerpt) == (10, "SET n.x = 1")
    assert "OPTIONAL MATCH" in refused.value.next_command


def test_deep_queries_are_refused_before_python_gives_up() -> None:
    for opening, closing in ("()", "[]"):
        assert scoped(f"RETURN {opening * 40}1{closing * 40}")
    for piece in (
        "CASE ",
        "CASE WHEN 1 THEN ",
        "[",
        "a:(",
        "/*\n",
        "`\n",
        "'\\\\",
        "-",
        "a.",
        "(a {x: ",
        "EXISTS { (a WHERE ",
    ):
        with pytest.raises(GraphQueryRefused):
            scoped("RETURN " + piece * 4_000)
    long = "RETURN " + "NOT " * 20_000 + "true"
    assert scoped(long) == long


@pytest.mark.parametrize("name", ["kos_scope", "KOS_x", "kos_", "ｋｏｓ_scope", "", "a b", "$x", "1", "x`y", "a.b"])
def test_parameters_may_not_take_our_names(name: str) -> None:
    with pytest.raises(GraphQueryRefused):
        check_parameters({"fine": 1, name: 2})


def test_other_parameters_may_have_any_value() -> None:
    check_parameters({"name": "kos_scope", "größe": {"kos_scope": 1}, "_x1": None})
