"""The graph follows the log: what each kind of change makes of it, compared with the tables after each."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import neo4j
import pytest
from neo4j.exceptions import TransientError

from fix_projected import A, B, C, R, settle
from kos import errors
from kos.knowledge.removal import remove
from kos.projections import follow as following_module
from kos.projections import rebuild
from kos.projections.graph import GraphProjection
from kos.projections.graph.projection import GRACE_SECONDS
from kos.tenancy import Store, Tenant, create_tenant
from projecting import Following, ask, graph_of, scope


def names(following: Following) -> list[str]:
    found = ask(following.store, "MATCH (n:Atom {kos_scope: $scope}) RETURN n.name", scope=scope(following))
    return sorted(found)


def edges(following: Following) -> list[str]:
    query = "MATCH (a:Atom {kos_scope: $scope})-[r:RELATES_TO]->(b) RETURN a.name + r.relation_type + b.name"
    return sorted(ask(following.store, query, scope=scope(following)))


def test_rows_are_nodes_and_edges_with_their_types(projected: Following) -> None:
    query = "MATCH (n:Atom {kos_scope: $scope, name: 'a'}) RETURN [n.number_value, n.version, n.confidence, n.value]"
    assert ask(projected.store, query, scope=scope(projected)) == [[1.5, 1, 1.0, None]]
    assert edges(projected) == ["aRb"]
    assert projected.verify().rows == 4


CHANGES: dict[str, tuple[str, list[str], list[str]]] = {
    "a value": (f"update atoms set name = 'z' where id = '{A}'", ["b", "c", "z"], ["zRb"]),
    "to null": (f"update atoms set number_value = null where id = '{A}'", ["a", "b", "c"], ["aRb"]),
    "an edge's value": (f"update relations set relation_type = 'S' where id = '{R}'", ["a", "b", "c"], ["aSb"]),
    "an edge's end": (f"update relations set to_atom_id = '{C}' where id = '{R}'", ["a", "b", "c"], ["aRc"]),
    "an edge's beginning": (f"update relations set from_atom_id = '{C}' where id = '{R}'", ["a", "b", "c"], ["cRb"]),
    "an edge turned": (
        f"update relations set from_atom_id = to_atom_id, to_atom_id = from_atom_id where id = '{R}'",
        ["a", "b", "c"],
        ["bRa"],
    ),
    "an edge's key": (f"update relations set id = '{A}' where id = '{R}'", ["a", "b", "c"], ["aRb"]),
    "an edge removed": (f"delete from relations where id = '{R}'", ["a", "b", "c"], []),
    "a node with its edges": (f"delete from atoms where id = '{A}'", ["b", "c"], []),
    "a key": (f"update atoms set id = '{R}' where id = '{C}'", ["a", "b", "c"], ["aRb"]),
    "hidden": (f"update atoms set deleted_at = now() where id = '{B}'", ["a", "c"], []),
    "new again": (
        f"delete from atoms where id = '{C}'; insert into atoms (id, atom_type, name) values ('{C}', 'T', 'again')",
        ["a", "again", "b"],
        ["aRb"],
    ),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_each_change(projected: Following, kind: str) -> None:
    statements, expected_names, expected_edges = CHANGES[kind]
    projected.write(*statements.split("; "))
    settle(projected)
    assert names(projected) == expected_names
    assert edges(projected) == expected_edges


def test_what_was_hidden_comes_back_with_its_edges_as_they_are_by_then(projected: Following) -> None:
    projected.write(f"update atoms set deleted_at = now() where id = '{B}'")
    settle(projected)
    projected.write(f"update relations set relation_type = 'S' where id = '{R}'")
    settle(projected)
    assert edges(projected) == []
    projected.write(f"update atoms set deleted_at = null, name = 'b2' where id = '{B}'")
    settle(projected)
    assert edges(projected) == ["aSb2"]
    assert ask(projected.store, "MATCH (p:KosPending {kos_generation: $s}) RETURN count(p)", s=scope(projected)) == [0]


def test_an_edge_that_is_removed_while_its_node_is_hidden_does_not_come_back(projected: Following) -> None:
    projected.write(f"update atoms set deleted_at = now() where id = '{B}'")
    projected.follow()
    projected.write(f"delete from relations where id = '{R}'")
    projected.follow()
    projected.write(f"update atoms set deleted_at = null where id = '{B}'")
    settle(projected)
    assert edges(projected) == []


def test_many_nodes_that_go_at_once_keep_each_edge_once(projected: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kos.projections.graph.writing.MOST", 3)
    projected.write(
        "insert into atoms (atom_type, name) select 'ring', 'r' || n from generate_series(1, 10) n",
        "insert into relations (relation_type, from_atom_id, to_atom_id) select 'R', id,"
        " coalesce(lead(id) over (order by id), (min(id::text) over ())::uuid) from atoms where atom_type = 'ring'",
    )
    settle(projected)
    projected.write("update atoms set deleted_at = now() where atom_type = 'ring' and name <> 'r1'")
    settle(projected)
    assert edges(projected) == ["aRb"]
    projected.write("update atoms set deleted_at = null")
    settle(projected)
    assert len(edges(projected)) == 11
    query = "MATCH (g:KosGeneration {kos_id: $s}) RETURN g.kos_pending"
    assert ask(projected.store, query, s=scope(projected)) == [0]


def test_many_changes_of_a_row_in_one_batch_are_one(projected: Following) -> None:
    for number in range(5):
        projected.write(f"update atoms set name = 'n{number}', source = 's{number}' where id = '{A}'")
    projected.write(f"delete from relations where id = '{R}'")
    projected.write(
        f"insert into relations (id, relation_type, from_atom_id, to_atom_id) values ('{R}', 'Z', '{C}', '{A}')"
    )
    assert projected.follow() == 1
    assert projected.verify().differing == 0
    assert edges(projected) == ["cZn4"]


# the rest


def test_a_transaction_that_is_too_long_makes_the_tenant_anew(
    projected: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(following_module, "LONGEST", 100)
    monkeypatch.setattr(following_module, "BATCH", 50)
    projected.write("insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, 80) n")
    settle(projected)
    assert len(names(projected)) == 83
    projected.write("insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, 120) n")
    with pytest.raises(errors.TransactionTooLong):
        projected.follow()


@pytest.mark.parametrize("tier", ["schema", "database"])
def test_tenants_of_other_tiers(full_store: Store, tier: str) -> None:
    create_tenant(full_store, "beta", tier=tier)
    beta = Following(full_store, "beta", graph_of(full_store))
    beta.write("insert into atoms (atom_type, name) values ('T', 'x')")
    beta.follow()
    beta.write("update atoms set name = 'y'")
    settle(beta)
    assert names(beta) == ["y"]
    beta.projection.forget(full_store.find("beta").id)
    beta.projection.close()


FAULTS: dict[str, tuple[str, str]] = {
    "a node is gone": ("MATCH (n:Atom {kos_scope: $s, name: 'c'}) DETACH DELETE n", "missing"),
    "a value is another": ("MATCH (n:Atom {kos_scope: $s, name: 'c'}) SET n.number_value = 4.0", "different"),
    "a value is of another type": ("MATCH (n:Atom {kos_scope: $s, name: 'c'}) SET n.number_value = '3'", "different"),
    "a property is there that has no column": ("MATCH (n:Atom {kos_scope: $s, name: 'c'}) SET n.more = 1", "different"),
    "a node is too many": ("CREATE (:Atom {kos_scope: $s, kos_id: $s + '/x', kos_key: 'x'})", "left over"),
    "an edge is gone": ("MATCH (:Atom {kos_scope: $s})-[r:RELATES_TO]->() DELETE r", "missing"),
    "an edge is too many": (
        "MATCH (a:Atom {kos_scope: $s, name: 'a'}), (c:Atom {kos_scope: $s, name: 'c'})"
        " CREATE (a)-[:RELATES_TO {kos_scope: $s, kos_id: $s + '/x'}]->(c)",
        "left over",
    ),
    "an edge leads to another tenant": (
        "MATCH (a:Atom {kos_scope: $s, name: 'a'}) CREATE (b:Atom {kos_scope: 'other', kos_id: $s + 'other'})"
        " CREATE (a)-[:RELATES_TO {kos_scope: $s, kos_id: $s + '/x'}]->(b)",
        "left over",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_verify_finds_what_somebody_else_has_done(projected: Following, fault: str) -> None:
    statement, expected = FAULTS[fault]
    ask(projected.store, statement, s=scope(projected))
    found = projected.verify()
    assert expected in {each.fault for each in found.differences}
    assert found.differing == len(found.differences) == 1
    ask(projected.store, "MATCH (n:Atom {kos_scope: 'other'}) DETACH DELETE n")


def test_a_copy_that_is_not_equal_is_not_shown(projected: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    from kos.projections import generation

    before = scope(projected)
    load = generation.load

    def losing(*arguments: Any) -> Any:
        projection, whose, standing, rows, at = arguments
        return load(projection, whose, standing, rows[1:], at)

    monkeypatch.setattr(generation, "load", losing)
    with pytest.raises(errors.ProjectionDiffers):
        rebuild(projected.site)
    assert scope(projected) == before
    generations = "MATCH (g:KosGeneration {kos_tenant: $tenant}) RETURN count(g)"
    assert ask(projected.store, generations, tenant=str(projected.site.tenant)) == [1]  # it is not left over either
    settle(projected)


def test_what_is_loaded_again_since_its_commits_answer_was_lost_is_there_once(
    projected: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a cluster whose leader goes. Nothing is parked for that."""
    commit, load = neo4j.Transaction.commit, GraphProjection.load
    lost: list[neo4j.Transaction] = []

    def losing(*of: Any) -> None:
        def lose_once(tx: neo4j.Transaction) -> None:
            commit(tx)
            if not lost:
                lost.append(tx)
                raise TransientError

        lost.clear()
        with monkeypatch.context() as patched:
            patched.setattr(neo4j.Transaction, "commit", lose_once)
            load(*of)

    monkeypatch.setattr(GraphProjection, "load", losing)
    rebuild(projected.site)
    assert lost
    found = projected.verify()
    assert (found.differing, found.parked) == (0, ())


def test_how_long_readers_may_be_at_a_generation_is_counted_by_the_graphs_clock(projected: Following) -> None:
    """The one who removes it may be on another machine than the one who has shown the next."""
    before, server = scope(projected), projected.store.topology.graph
    assert server is not None
    rebuild(projected.site)
    age = "MATCH (g:KosGeneration {kos_id: $s}) RETURN timestamp() - g.kos_superseded"
    [milliseconds] = ask(projected.store, age, s=before)
    assert 0 <= milliseconds < 100_000
    for grace, left in ((GRACE_SECONDS, 1), (-1.0, 0)):
        with closing(GraphProjection(server, grace=grace)) as other:
            other.tidy()
            other.clear(projected.site.whose)
        assert len(ask(projected.store, age, s=before)) == left


def test_a_tenant_that_is_removed_leaves_nothing(full_store: Store, projected: Following) -> None:
    tenant: Tenant = full_store.find("acme")
    before = scope(projected)
    remove(full_store, "acme")
    with full_store.operator() as operator:
        query = "select projection from kos.projection_leavers where tenant_id = %s"
        assert operator.execute(query, (tenant.id,)).fetchall() == [("graph",)]
    projected.projection.forget(tenant.id)
    for label in ("Atom", "KosGeneration", "KosTenant"):
        query = f"MATCH (n:{label}) WHERE n.kos_scope = $s OR n.kos_id = $s OR n.kos_id = $t RETURN count(n)"
        assert ask(full_store, query, s=before, t=str(tenant.id)) == [0]
    create_tenant(full_store, "acme")  # for the fixture's end
