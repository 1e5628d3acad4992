"""The graph follows the log: what each kind of change makes of it, compared with the tables after each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from logged_table import log, make

from kos import errors
from kos.knowledge.removal import remove
from kos.projections import TableName
from kos.projections import follow as following_module  # the module, to make a transaction long
from kos.projections.graph import Edge, End, GraphMap, Node, Property
from kos.projections.retry import retry
from kos.tenancy import Store, Tenant, create_tenant
from projecting import Following, ask, graph_of, scope


@pytest.fixture
def acme(full_store: Store) -> Iterator[Following]:
    """A tenant with two atoms and an edge, in the graph."""
    create_tenant(full_store, "acme")
    made = Following(full_store, "acme", graph_of(full_store))
    made.write(
        "insert into atoms (id, atom_type, name, number_value) values"
        f" ('{A}', 'T', 'a', 1.5), ('{B}', 'T', 'b', null), ('{C}', 'T', 'c', 3)",
        f"insert into relations (id, relation_type, from_atom_id, to_atom_id) values ('{R}', 'R', '{A}', '{B}')",
    )
    made.follow()
    yield made
    made.projection.forget(full_store.find("acme").id)
    made.projection.close()


A, B, C, R = (f"01900000-0000-7000-8000-00000000000{n}" for n in "abc1")


def names(following: Following) -> list[str]:
    found = ask(following.store, "MATCH (n:Atom {kos_scope: $scope}) RETURN n.name", scope=scope(following))
    return sorted(found)


def edges(following: Following) -> list[str]:
    query = "MATCH (a:Atom {kos_scope: $scope})-[r:RELATES_TO]->(b) RETURN a.name + r.relation_type + b.name"
    return sorted(ask(following.store, query, scope=scope(following)))


def settle(following: Following) -> None:
    following.follow()
    assert following.verify().differing == 0


def test_rows_are_nodes_and_edges_with_their_types(acme: Following) -> None:
    query = "MATCH (n:Atom {kos_scope: $scope, name: 'a'}) RETURN [n.number_value, n.version, n.confidence, n.value]"
    assert ask(acme.store, query, scope=scope(acme)) == [[1.5, 1, 1.0, None]]
    assert edges(acme) == ["aRb"]
    assert acme.verify().rows == 4


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
def test_each_change(acme: Following, kind: str) -> None:
    statements, expected_names, expected_edges = CHANGES[kind]
    acme.write(*statements.split("; "))
    settle(acme)
    assert names(acme) == expected_names
    assert edges(acme) == expected_edges


def test_what_was_hidden_comes_back_with_its_edges_as_they_are_by_then(acme: Following) -> None:
    acme.write(f"update atoms set deleted_at = now() where id = '{B}'")
    settle(acme)
    acme.write(f"update relations set relation_type = 'S' where id = '{R}'")
    settle(acme)
    assert edges(acme) == []
    acme.write(f"update atoms set deleted_at = null, name = 'b2' where id = '{B}'")
    settle(acme)
    assert edges(acme) == ["aSb2"]
    assert ask(acme.store, "MATCH (p:KosPending {kos_generation: $s}) RETURN count(p)", s=scope(acme)) == [0]


def test_an_edge_that_is_removed_while_its_node_is_hidden_does_not_come_back(acme: Following) -> None:
    acme.write(f"update atoms set deleted_at = now() where id = '{B}'")
    acme.follow()
    acme.write(f"delete from relations where id = '{R}'")
    acme.follow()
    acme.write(f"update atoms set deleted_at = null where id = '{B}'")
    settle(acme)
    assert edges(acme) == []


def test_many_changes_of_a_row_in_one_batch_are_one(acme: Following) -> None:
    for number in range(5):
        acme.write(f"update atoms set name = 'n{number}', source = 's{number}' where id = '{A}'")
    acme.write(f"delete from relations where id = '{R}'")
    acme.write(f"insert into relations (id, relation_type, from_atom_id, to_atom_id) values ('{R}', 'Z', '{C}', '{A}')")
    assert acme.follow() == 1
    assert acme.verify().differing == 0
    assert edges(acme) == ["cZn4"]


PARTS = """
create table public.parts (tenant_id uuid not null, number int, title text, inside int, weight numeric,
                           primary key (tenant_id, number))
"""
PART_MAP = GraphMap(
    (
        Node(
            "Part", TableName("parts", "public"), tuple(map(Property.read, ["number:integer", "title", "weight:float"]))
        ),
    ),
    (
        Edge(
            "INSIDE",
            TableName("parts", "public"),
            End("Part", ("number",)),
            End("Part", ("inside",)),
            (Property("title"),),
        ),
    ),
)


@pytest.fixture
def parts(full_store: Store, full_superuser: Any) -> Iterator[Following]:
    """A tenant with a product's table that refers to itself, without a foreign key."""
    create_tenant(full_store, "acme")
    make(full_superuser, PARTS, "public.parts")
    log(full_superuser, "public.parts")
    full_superuser.execute("grant all on public.parts to kos_app, kos_operator")
    made = Following(full_store, "acme", graph_of(full_store, PART_MAP))
    yield made
    made.projection.forget(full_store.find("acme").id)
    made.projection.close()


def insides(following: Following) -> list[str]:
    query = "MATCH (a:Part {kos_scope: $scope})-[:INSIDE]->(b:Part) RETURN a.title + b.title"
    return sorted(ask(following.store, query, scope=scope(following)))


def put(*rows: tuple[int, str, int | None]) -> str:
    values = ", ".join(f"(kos.current_tenant_id(), {n}, '{t}', {'null' if i is None else i})" for n, t, i in rows)
    return f"insert into public.parts (tenant_id, number, title, inside) values {values}"


def test_an_edge_waits_for_its_node(parts: Following) -> None:
    parts.write(put((1, "a", 2), (3, "c", 2)))
    parts.follow()
    parts.write(put((4, "d", 1)))
    settle(parts)
    assert insides(parts) == ["da"]
    parts.write(put((2, "b", None)))
    settle(parts)
    assert insides(parts) == ["ab", "cb", "da"]
    parts.write("delete from public.parts where number = 2")
    settle(parts)
    assert insides(parts) == ["da"]
    parts.write("update public.parts set number = 2 where number = 4")
    settle(parts)
    assert insides(parts) == ["ad", "cd", "da"]


def test_a_generation_is_loaded_in_any_order(parts: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kos.projections.snapshot.CHUNK", 2)
    parts.write(put(*((n, f"t{n}", 9 - n) for n in range(10))))
    settle(parts)
    assert len(insides(parts)) == 10


def test_a_table_without_foreign_keys_is_truncated_under_its_edges(parts: Following) -> None:
    parts.write(put((1, "a", 2), (2, "b", 1)))
    settle(parts)
    parts.write("truncate public.parts", put((2, "b", 1)))
    settle(parts)
    assert insides(parts) == []


# what the store refuses


def test_a_row_that_the_store_refuses_is_parked_and_the_others_go_on(parts: Following) -> None:
    wrong = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.write(put((1, "1", None)))
    narrow.follow()
    narrow.write(put((2, "2", None), (3, "three", None), (4, "4", None)))
    narrow.follow()
    narrow.write("update public.parts set title = '5' where number in (3, 4)")
    narrow.follow()
    found = narrow.verify()
    assert [(each.table.name, each.key, "three" in each.reason) for each in found.parked] == [("parts", ("3",), True)]
    assert found.differing == 0
    titles = ask(parts.store, "MATCH (n:Part {kos_scope: $s}) RETURN n.title", s=scope(narrow))
    assert sorted(titles) == [1, 2, 5]
    assert retry(narrow.site) == (1, [])
    settle(narrow)
    assert narrow.verify().parked == ()
    narrow.projection.close()


def test_what_was_made_of_another_declaration_is_made_anew(parts: Following) -> None:
    parts.write(put((1, "a", None)))
    parts.follow()
    before = scope(parts)
    other = GraphMap((Node("Part", TableName("parts", "public"), (Property("number", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, other))
    assert narrow.projection.live(narrow.site.whose) is None
    assert scope(parts) == before  # and is shown until then
    settle(narrow)
    assert ask(parts.store, "MATCH (n:Part {kos_scope: $s}) RETURN [n.number, n.title]", s=scope(narrow)) == [[1, None]]
    narrow.projection.close()


def test_what_is_refused_again_stays_parked(parts: Following) -> None:
    wrong = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.write(put((1, "1", None)))
    narrow.follow()
    narrow.write(put((2, "two", None)))
    narrow.follow()
    done, refused = retry(narrow.site)
    assert (done, [each.key for each in refused]) == (0, [("2",)])
    narrow.write("update public.parts set title = '2' where number = 2")
    narrow.follow()
    assert retry(narrow.site) == (1, [])
    settle(narrow)
    narrow.projection.close()


def test_a_parked_row_that_is_deleted_meanwhile_is_gone(parts: Following) -> None:
    wrong = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.write(put((1, "1", None), (2, "2", None)))
    narrow.follow()
    narrow.write("update public.parts set title = 'x' where number in (1, 2)")
    narrow.follow()
    narrow.write("delete from public.parts where number = 1")
    narrow.follow()
    assert len(narrow.verify().parked) == 2
    assert retry(narrow.site)[0] == 1
    narrow.write("truncate public.parts")
    settle(narrow)
    assert narrow.verify().parked == ()
    narrow.projection.close()


def test_rows_that_a_snapshot_has_are_parked_as_well(parts: Following) -> None:
    parts.write(put((1, "one", None), (2, "2", None)))
    wrong = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.follow()
    found = narrow.verify()
    assert ([each.key for each in found.parked], found.differing) == ([("1",)], 0)
    narrow.write("update public.parts set title = '1' where number = 1")
    narrow.follow()
    assert retry(narrow.site) == (1, [])
    settle(narrow)
    narrow.projection.close()


# the rest


def test_a_transaction_that_is_too_long_makes_the_tenant_anew(acme: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following_module, "LONGEST", 100)
    monkeypatch.setattr(following_module, "BATCH", 50)
    acme.write("insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, 80) n")
    settle(acme)
    assert len(names(acme)) == 83
    acme.write("insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, 120) n")
    with pytest.raises(errors.TransactionTooLong):
        acme.follow()


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
def test_verify_finds_what_somebody_else_has_done(acme: Following, fault: str) -> None:
    statement, expected = FAULTS[fault]
    ask(acme.store, statement, s=scope(acme))
    found = acme.verify()
    assert expected in {each.fault for each in found.differences}
    assert found.differing == len(found.differences) == 1
    ask(acme.store, "MATCH (n:Atom {kos_scope: 'other'}) DETACH DELETE n")


def test_a_copy_that_is_not_equal_is_not_shown(acme: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    from kos.projections import generation, rebuild

    before = scope(acme)
    load = generation.load

    def losing(*arguments: Any) -> Any:
        projection, whose, standing, rows, at = arguments
        return load(projection, whose, standing, rows[1:], at)

    monkeypatch.setattr(generation, "load", losing)
    with pytest.raises(errors.ProjectionDiffers):
        rebuild(acme.site)
    assert scope(acme) == before
    settle(acme)


def test_a_tenant_that_is_removed_leaves_nothing(full_store: Store, acme: Following) -> None:
    tenant: Tenant = full_store.find("acme")
    before = scope(acme)
    remove(full_store, "acme")
    with full_store.operator() as operator:
        query = "select projection from kos.projection_leavers where tenant_id = %s"
        assert operator.execute(query, (tenant.id,)).fetchall() == [("graph",)]
    acme.projection.forget(tenant.id)
    for label in ("Atom", "KosGeneration", "KosTenant"):
        query = f"MATCH (n:{label}) WHERE n.kos_scope = $s OR n.kos_id = $s OR n.kos_id = $t RETURN count(n)"
        assert ask(full_store, query, s=before, t=str(tenant.id)) == [0]
    create_tenant(full_store, "acme")  # for the fixture's end


@pytest.mark.parametrize("baseline", ["none", "lazy"])
def test_rows_of_before_the_log(full_store: Store, full_superuser: Any, baseline: str) -> None:
    """Their first event is a change: what they were before stands in it, or is not known."""
    create_tenant(full_store, "acme")
    make(full_superuser, PARTS, "public.parts")
    full_superuser.execute("grant all on public.parts to kos_app, kos_operator")
    tenant = full_store.find("acme").id
    for number, title, inside in ((1, "a", 2), (2, "b", None), (3, "c", 2), (4, "d", 2)):
        full_superuser.execute("insert into public.parts values (%s, %s, %s, %s)", (tenant, number, title, inside))
    log(full_superuser, "public.parts", baseline=baseline)
    acme = Following(full_store, "acme", graph_of(full_store, PART_MAP))
    acme.write(put((9, "z", None)))
    acme.follow()
    if baseline == "lazy":
        acme.write("update public.parts set inside = 3 where number = 1")
        acme.write("delete from public.parts where number = 4", "update public.parts set title = 'cc' where number = 3")
        settle(acme)
        assert insides(acme) == ["acc", "ccb"]
        acme.write("update public.parts set inside = null where number = 3")
        settle(acme)
        assert insides(acme) == ["acc"]
    else:  # nobody knows what they were: a generation made anew is right again
        acme.write(
            "insert into public.parts (tenant_id, number, title, inside) values (kos.current_tenant_id(), 5, 'e', 1)"
        )
        settle(acme)
        assert insides(acme) == ["ab", "cb", "db", "ea"]
    acme.projection.forget(tenant)
    acme.projection.close()


def test_rows_that_are_found_while_the_log_is_completed_are_not_doubled(parts: Following) -> None:
    from kos.log import Cursor, read
    from kos.projections.changes import changes_of

    parts.write(put((1, "a", 2), (2, "b", None)))
    parts.follow()
    site = parts.site
    standing = parts.projection.live(site.whose)
    assert standing is not None
    with parts.store.operator(site.place) as operator:
        events = [replace(each, operation="B") for each in read(operator, site.tenant, Cursor())]
        changes = changes_of(operator, site.whose, standing.reached.position, events, parts.projection.wanted)
    parts.projection.apply(site.whose, standing, changes, standing.reached)
    assert insides(parts) == ["ab"]
    assert parts.verify().differing == 0


def test_a_row_that_is_refused_after_a_truncation_stays_parked(parts: Following) -> None:
    wrong = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.write(put((1, "1", None)))
    narrow.follow()
    narrow.write("update public.parts set title = 'x' where number = 1")
    narrow.follow()
    narrow.write("truncate public.parts", put((1, "y", None), (2, "2", None)))
    narrow.follow()
    found = narrow.verify()
    assert ([each.key for each in found.parked], found.differing) == ([("1",)], 0)
    narrow.projection.close()


NESTED = """
create function public.touch() returns trigger language plpgsql as $$
begin
  update public.parts set weight = 1 where tenant_id = new.tenant_id and number = new.number and weight is null;
  return null;
end $$;
create trigger touch after insert or update on public.parts for each row execute function public.touch();
"""


def test_keys_that_change_where_triggers_of_the_product_run(parts: Following, full_superuser: Any) -> None:
    """Their capture reads rows again: a new key comes as a change, not as an insertion."""
    full_superuser.execute(NESTED)
    full_superuser.execute("grant execute on function public.touch() to kos_app")
    parts.write(put((1, "a", 2), (2, "b", None)))
    parts.follow()
    parts.write("update public.parts set number = 7 where number = 1")
    settle(parts)
    assert insides(parts) == ["ab"]
    parts.write("update public.parts set number = case number when 7 then 2 else 7 end")
    settle(parts)


def test_a_key_that_one_statement_removes_and_inserts_again(parts: Following) -> None:
    parts.write(put((1, "a", 2), (2, "b", None), (3, "c", None)))
    parts.follow()
    parts.write(
        "with gone as (delete from public.parts where number = 1 returning *)"
        " insert into public.parts (tenant_id, number, title, inside) select tenant_id, number, 'z', 3 from gone"
    )
    settle(parts)
    assert insides(parts) == ["zc"]


def test_many_nodes_that_go_at_once_keep_their_edges_once(parts: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kos.projections.graph.writing.MOST", 3)
    parts.write(put(*((n, f"t{n}", (n + 1) % 10) for n in range(10))))
    settle(parts)
    assert len(insides(parts)) == 10
    parts.write("delete from public.parts where number < 8")
    settle(parts)
    parts.write(put(*((n, f"u{n}", (n + 1) % 10) for n in range(8))))
    settle(parts)
    assert len(insides(parts)) == 10
    query = "MATCH (g:KosGeneration {kos_id: $s}) RETURN g.kos_pending"
    assert ask(parts.store, query, s=scope(parts)) == [0]


def test_an_edge_to_a_node_that_is_refused_waits_for_it(parts: Following) -> None:
    title = (Property("title", "integer"),)
    wrong = GraphMap((Node("Part", TableName("parts", "public"), title),), PART_MAP.edges)
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.write(put((1, "x", None), (2, "2", 1)))
    narrow.follow()
    found = narrow.verify()
    assert ([each.key for each in found.parked], found.differing) == ([("1",)], 0)
    narrow.write("update public.parts set title = '1' where number = 1")
    narrow.follow()
    assert retry(narrow.site) == (1, [])
    settle(narrow)
    narrow.projection.close()


def test_a_parked_edge_is_taken_from_where_the_graph_has_it(parts: Following) -> None:
    wrong = GraphMap(PART_MAP.nodes, (replace(PART_MAP.edges[0], properties=(Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.write(put((1, "1", 2), (2, "2", None), (3, "3", None)))
    narrow.follow()
    narrow.write(
        "update public.parts set inside = 3 where number = 1", "update public.parts set title = 'x' where number = 1"
    )
    narrow.follow()
    assert len(narrow.verify().parked) == 1
    narrow.write("update public.parts set title = '9' where number = 1")
    narrow.follow()
    assert retry(narrow.site) == (1, [])
    settle(narrow)
    assert insides(narrow) == ["93"]
    narrow.projection.close()


def test_the_truncation_of_another_schemas_table_hides_nothing(parts: Following, full_superuser: Any) -> None:
    full_superuser.execute("create schema elsewhere")
    make(full_superuser, PARTS.replace("public.parts", "elsewhere.parts"), "elsewhere.parts")
    full_superuser.execute("grant usage on schema elsewhere to kos_owner, kos_app, kos_operator")
    log(full_superuser, "elsewhere.parts")
    full_superuser.execute("grant all on elsewhere.parts to kos_app, kos_operator")
    parts.write(put((1, "a", 2), (2, "b", None), (3, "c", None)))
    parts.follow()
    parts.write(put((9, "x", None)).replace("public.parts", "elsewhere.parts"), "truncate elsewhere.parts")
    parts.write("update public.parts set inside = 3 where number = 1")
    settle(parts)
    assert insides(parts) == ["ac"]
