"""What a store refuses is parked by row, and can be tried again."""

from __future__ import annotations

from dataclasses import replace

from fix_projected import PART_MAP, insides, put, settle
from kos.projections import TableName
from kos.projections.graph import GraphMap, Node, Property
from kos.projections.retry import retry
from projecting import Following, ask, graph_of, scope

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
    [edge] = PART_MAP.edges
    turned = replace(edge, begin=edge.end, end=edge.begin, properties=(Property("title", "integer"),))
    wrong = GraphMap(PART_MAP.nodes, (turned,))
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
    assert insides(narrow) == ["39"]
    narrow.projection.close()
