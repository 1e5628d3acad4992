"""A product's table in the graph: edges before their nodes, keys and histories of every kind."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from logged_table import log, make

from fix_projected import PART_MAP, PARTS, insides, put, settle
from kos.projections import TableName
from kos.projections.graph import GraphMap, Node, Property
from kos.tenancy import Store, create_tenant
from projecting import Following, ask, graph_of, scope


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
    projected = Following(full_store, "acme", graph_of(full_store, PART_MAP))
    projected.write(put((9, "z", None)))
    projected.follow()
    if baseline == "lazy":
        projected.write("update public.parts set inside = 3 where number = 1")
        projected.write("delete from public.parts where number = 4")
        projected.write("update public.parts set title = 'cc' where number = 3")
        settle(projected)
        assert insides(projected) == ["acc", "ccb"]
        projected.write("update public.parts set inside = null where number = 3")
        settle(projected)
        assert insides(projected) == ["acc"]
    else:  # nobody knows what they were: a generation made anew is right again
        projected.write(
            "insert into public.parts (tenant_id, number, title, inside) values (kos.current_tenant_id(), 5, 'e', 1)"
        )
        settle(projected)
        assert insides(projected) == ["ab", "cb", "db", "ea"]
    projected.projection.forget(tenant)
    projected.projection.close()


def test_rows_that_are_found_while_the_log_is_completed_are_not_doubled(parts: Following) -> None:
    from kos.log import Cursor, read
    from kos.projections.changes import changes_of

    parts.write(put((1, "a", 2), (2, "b", None)))
    parts.follow()
    site = parts.site
    standing = parts.projection.live(site.whose)
    assert standing is not None
    with parts.store.operator(site.place) as operator:
        events = [
            replace(each, operation="B", position=each.position + 10) for each in read(operator, site.tenant, Cursor())
        ]
        changes = changes_of(operator, site.whose, 0, events, parts.projection.wanted)
    parts.projection.apply(site.whose, standing, changes, standing.reached)
    assert insides(parts) == ["ab"]
    assert parts.verify().differing == 0


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


def test_the_same_of_nodes_that_nobody_asks_the_log_about(parts: Following, full_superuser: Any) -> None:
    full_superuser.execute(NESTED)
    full_superuser.execute("grant execute on function public.touch() to kos_app")
    nodes = Following(parts.store, "acme", graph_of(parts.store, GraphMap(PART_MAP.nodes)))
    nodes.write(put((1, "a", None)))
    nodes.follow()
    nodes.write("update public.parts set number = 7 where number = 1")
    settle(nodes)
    assert ask(parts.store, "MATCH (n:Part {kos_scope: $s}) RETURN n.number", s=scope(nodes)) == [7]
    nodes.projection.close()


def test_a_key_that_one_statement_removes_and_inserts_again(parts: Following) -> None:
    parts.write(put((1, "a", 2), (2, "b", None), (3, "c", None)))
    parts.follow()
    parts.write(
        "with gone as (delete from public.parts where number = 1 returning *)"
        " insert into public.parts (tenant_id, number, title, inside) select tenant_id, number, 'z', 3 from gone"
    )
    settle(parts)
    assert insides(parts) == ["zc"]


@pytest.fixture
def elsewhere(full_superuser: Any) -> None:
    """A table of the same name in another schema."""
    full_superuser.execute("create schema elsewhere")
    make(full_superuser, PARTS.replace("public.parts", "elsewhere.parts"), "elsewhere.parts")
    full_superuser.execute("grant usage on schema elsewhere to kos_owner, kos_app, kos_operator")
    log(full_superuser, "elsewhere.parts")
    full_superuser.execute("grant all on elsewhere.parts to kos_app, kos_operator")


@pytest.mark.usefixtures("elsewhere")
def test_what_is_parked_hides_no_difference_in_another_schemas_table(parts: Following) -> None:
    narrow = (Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),)
    declared = GraphMap((*narrow, Node("Elsewhere", TableName("parts", "elsewhere"), (Property("title"),))))
    made = Following(parts.store, "acme", graph_of(parts.store, declared))
    made.write(put((3, "three", None)), put((3, "c", None)).replace("public.parts", "elsewhere.parts"))
    made.follow()
    found = made.verify()
    assert ([each.table.schema for each in found.parked], found.differing) == (["public"], 0)
    ask(made.store, "MATCH (n:Elsewhere {kos_scope: $s}) DETACH DELETE n", s=scope(made))
    assert [(each.what, each.fault) for each in made.verify().differences] == [("Elsewhere", "missing")]
    made.projection.close()


@pytest.mark.usefixtures("elsewhere")
def test_the_truncation_of_another_schemas_table_hides_nothing(parts: Following) -> None:
    parts.write(put((1, "a", 2), (2, "b", None), (3, "c", None)))
    parts.follow()
    parts.write(put((9, "x", None)).replace("public.parts", "elsewhere.parts"), "truncate elsewhere.parts")
    parts.follow()
    parts.write("update public.parts set inside = 3 where number = 1")
    settle(parts)
    assert insides(parts) == ["ac"]


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
