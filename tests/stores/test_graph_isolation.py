"""Two tenants with the same data in one graph: nothing that one asks shows, counts or depends on what the other has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest
from neo4j import Driver
from neo4j.exceptions import Neo4jError

from cypher_attacks import ATTACKS, ESCAPES, TELLING_BY_FAILING
from cypher_queries import PARAMETERS, Maker, expected, plain
from fix_arcadedb import OwnArcadeDB
from kos import errors
from kos.projections.graph.scoping import check_parameters, check_scope, scoped
from kos.topology import graph as opening
from kos.topology.model import GraphServer

# Of the tests' own: a query that is not scoped finds what is in the whole server.
SERVERS = ["own_arcadedb", pytest.param("neo4j", marks=pytest.mark.long)]

_NODES = """
UNWIND range(1, 4) AS i
CREATE (:Atom {name: 'n' + i, i: i, secret: 'atom ' + i + ' of ' + $who, kos_scope: $scope})
CREATE (:Part {name: 'n' + i, i: i, secret: 'part ' + i + ' of ' + $who, kos_scope: $scope})
"""
# As kos makes them: ArcadeDB tries a tenant's WHERE on every node of a label that has no such index.
_INDEXES = tuple(f"CREATE INDEX IF NOT EXISTS FOR (n:{label}) ON (n.kos_scope)" for label in ("Atom", "Part"))
_STEPS = """
MATCH (a:Atom {kos_scope: $scope}), (b:Atom {kos_scope: $scope}) WHERE b.i = a.i + 1 OR a.i = 2 AND b.i = 2
CREATE (a)-[:RELATES {w: a.i % 2, kos_scope: $scope}]->(b)
"""
_PARTS = """
MATCH (a:Atom {kos_scope: $scope}), (b:Part {kos_scope: $scope}) WHERE b.i = a.i AND a.i > 1 OR b.i = 1 AND a.i < 3
CREATE (a)-[:HAS {w: 1, kos_scope: $scope}]->(b)
"""
_THEIRS = """
MATCH (n:Atom {kos_scope: $other})-[r]->() WHERE n.name = 'n2'
RETURN id(n) AS id, elementId(n) AS element, id(r) AS edge, n.secret AS guess LIMIT 1
"""


@dataclass
class Graph:
    """A graph, asked in one transaction that is rolled back; A's scope, and B's."""

    driver: Driver
    database: str
    ours: str
    theirs: str

    def write(self, query: str, **parameters: Any) -> None:
        with self.driver.session(database=self.database) as session:
            session.run(query, parameters).consume()

    def load(self, who: str, scope: str) -> None:
        for query in (*_INDEXES, _NODES, _STEPS, _PARTS):
            self.write(query, who=who, scope=scope)

    def clear(self) -> None:
        for scope in (self.ours, self.theirs):
            self.write("MATCH (n {kos_scope: $scope}) DETACH DELETE n", scope=scope)

    def ask(self, query: str, parameters: Mapping[str, Any]) -> list[list[Any]]:
        """The rows, as a tenant's session sends what has been scoped."""
        with (
            self.driver.session(database=self.database) as session,
            session.begin_transaction(timeout=60) as transaction,
        ):
            rows = [record.values() for record in transaction.run(query, {**parameters, "kos_scope": self.ours})]
            transaction.rollback()
        return rows

    def ask_as_tenant(self, query: str, parameters: Mapping[str, Any]) -> list[list[Any]]:
        check_parameters(parameters)
        rows = self.ask(scoped(query), parameters)
        check_scope(rows, self.ours)
        return rows


@pytest.fixture(params=SERVERS)
def graph(request: pytest.FixtureRequest) -> Iterator[Graph]:
    made: OwnArcadeDB | GraphServer = request.getfixturevalue(request.param)
    server = made if isinstance(made, GraphServer) else made.store
    with opening.open(server) as driver:
        graph = Graph(driver, server.database, f"A-{uuid4()}", f"B-{uuid4()}")
        graph.load("A", graph.ours)
        try:
            yield graph
        finally:
            graph.clear()


@pytest.fixture
def attacked(graph: Graph) -> tuple[Graph, dict[str, Any]]:
    """Both tenants, and all that one of A may know of B."""
    graph.load("B", graph.theirs)
    (record,) = graph.driver.execute_query(_THEIRS, other=graph.theirs, database_=graph.database).records
    known = {"other": graph.theirs, "key": "kos_scope", "label": "Atom", "names": ["n1", "n2"]}
    return graph, {**known, **record.data()}


def shows(rows: list[list[Any]], who: str) -> bool:
    return any(f"of {who}" in str(value) for row in rows for value in row)


def test_no_attack_shows_anything_of_the_neighbour(attacked: tuple[Graph, dict[str, Any]]) -> None:
    graph, known = attacked
    answered = []
    for query in [*ATTACKS, *ESCAPES]:
        try:
            rows = graph.ask_as_tenant(query, known)
        except (errors.GraphQueryRefused, Neo4jError):
            continue
        assert not shows(rows, "B"), query
        answered.append((query, rows))
    assert sum(shows(rows, "A") for _, rows in answered) > 30, "they must fail for a better reason than finding nothing"


def test_without_scoping_the_attacks_succeed(attacked: tuple[Graph, dict[str, Any]]) -> None:
    graph, known = attacked
    failed = []
    for query in ATTACKS:
        try:
            if not shows(graph.ask(query, known), "B"):
                failed.append(query)
        except Neo4jError as error:
            failed.append(f"{query}: {error}")
    assert failed == []


def test_no_failure_tells_of_the_neighbour(attacked: tuple[Graph, dict[str, Any]]) -> None:
    graph, known = attacked
    for scope, day in ((graph.ours, "2020-01-01"), (graph.theirs, "no day")):
        graph.write("MATCH (n {kos_scope: $scope}) SET n.day = $day", scope=scope, day=day)
    for query in TELLING_BY_FAILING:
        graph.ask_as_tenant(query, {**known, "day": "2020-01-01"})
        with pytest.raises(Neo4jError):
            graph.ask(query, {**known, "day": "2020-01-01"})


@pytest.mark.long
def test_queries_give_the_same_with_and_without_a_neighbour(graph: Graph) -> None:
    queries = [Maker(seed).query() for seed in range(80)]
    alone = [answer(graph, expected(query)) for query in queries]
    graph.load("B", graph.theirs)
    for query, before in zip(queries, alone, strict=True):
        assert answer(graph, expected(query)) == before, query
    unscoped = [answer(graph, plain(query)) for query in queries]
    assert sum(now != before for now, before in zip(unscoped, alone, strict=True)) > 20, "without scopes they differ"


def answer(graph: Graph, query: str) -> list[str] | str:
    """The rows in one order; of what a server can't do, that it can't."""
    try:
        rows = graph.ask(query, PARAMETERS)
    except Neo4jError as error:
        return error.code or "failed"
    return sorted(str(sorted(map(str, value)) if isinstance(value, list) else value) for (value,) in rows)


def test_whatever_comes_back_of_another_scope_is_noticed(attacked: tuple[Graph, dict[str, Any]]) -> None:
    graph, known = attacked
    for result in ("n", "r", "p", "[1, n]", "{a: {b: [r]}}", "[[p]]", "collect(p)"):
        query = "MATCH p = (n:Atom {name: 'n2'})-[r:RELATES]->(m:Atom {name: 'n3'}) RETURN " + result
        assert len(graph.ask_as_tenant(query, known)) == 1
        with pytest.raises(errors.ForeignNode) as noticed:
            check_scope(graph.ask(query, known), graph.ours)
        assert noticed.value.scope == graph.ours


def test_an_edge_that_leads_astray_is_noticed(attacked: tuple[Graph, dict[str, Any]]) -> None:
    graph, known = attacked
    graph.write(
        """MATCH (a:Atom {kos_scope: $ours, name: 'n1'}), (c:Atom {kos_scope: $ours, name: 'n4'}), (b {secret: $guess})
        CREATE (a)-[:ASTRAY {kos_scope: $ours}]->(b)-[:ASTRAY {kos_scope: $ours}]->(c)""",
        ours=graph.ours,
        guess=known["guess"],
    )
    with pytest.raises(errors.ForeignNode):
        graph.ask_as_tenant("MATCH p = (:Atom {name: 'n1'})-[:ASTRAY*]->() RETURN p", known)
    assert graph.ask_as_tenant("MATCH p = (:Atom {name: 'n1'})-[:ASTRAY]->() RETURN p", known) == []
