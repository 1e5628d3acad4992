"""What a store refuses is parked by row, and can be tried again."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from logged_table import log, make

from fix_projected import PART_MAP, insides, put, settle
from kos import errors
from kos.projections import TableName
from kos.projections.follow import Parked, park
from kos.projections.graph import Edge, End, GraphMap, GraphProjection, Node, Property, batch
from kos.projections.retry import retry
from kos.topology.model import GraphServer
from projecting import Following, ask, graph_of, scope

# what the store refuses


@contextmanager
def following_titles_as_numbers(parts: Following) -> Iterator[Following]:
    """What the table has as text."""
    declared = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    made = Following(parts.store, "acme", graph_of(parts.store, declared))
    yield made
    made.projection.close()


def titles(following: Following) -> list[Any]:
    found = ask(following.store, "MATCH (n:Part {kos_scope: $scope}) RETURN n.title", scope=scope(following))
    return sorted(found)


def test_a_row_that_the_store_refuses_is_parked_and_the_others_go_on(parts: Following) -> None:
    with following_titles_as_numbers(parts) as narrow:
        narrow.write(put((1, "1", None)))
        narrow.follow()
        narrow.write(put((2, "2", None), (3, "three", None), (4, "4", None)))
        narrow.follow()
        narrow.write("update public.parts set title = '5' where number = 4")
        narrow.follow()
        found = narrow.verify()
        assert [(each.table.name, each.key, "three" in each.reason) for each in found.parked] == [
            ("parts", ("3",), True)
        ]
        assert found.differing == 0
        assert titles(narrow) == [1, 2, 5]


def test_what_it_takes_by_now_is_put(parts: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as narrow:
        narrow.setattr(batch, "INDEXED", 10)
        assert parts.store.topology.graph is not None
        with _followed(parts, parts.store.topology.graph, INDEXED) as made:
            made.write(put((1, "longer than it may be", None), (2, "2", None)))
            made.follow()
            assert [each.key for each in made.verify().parked] == [("1",)]
            narrow.undo()
            assert retry(made.site) == (1, [])
            settle(made)
            assert made.verify().parked == ()


def test_what_is_refused_again_stays_parked(parts: Following) -> None:
    with following_titles_as_numbers(parts) as narrow:
        narrow.write(put((1, "1", None)))
        narrow.follow()
        narrow.write(put((2, "two", None)))
        narrow.follow()
        done, refused = retry(narrow.site)
        assert (done, [each.key for each in refused]) == (0, [("2",)])
        narrow.write("update public.parts set title = 'zwei' where number = 2")
        narrow.follow()
        assert [each.key for each in narrow.verify().parked] == [("2",)]


@pytest.mark.parametrize("change", ["update public.parts set title = '3'", "delete from public.parts"])
def test_a_parked_row_that_changes_is_tried_again(parts: Following, change: str) -> None:
    """So what is deleted is gone, for whoever reads, and what is mended is there."""
    with following_titles_as_numbers(parts) as narrow:
        narrow.write(put((1, "1", None), (2, "2", None)))
        narrow.follow()
        narrow.write("update public.parts set title = 'x' where number in (1, 2)")
        narrow.follow()
        narrow.write(f"{change} where number = 1")
        narrow.follow()
        found = narrow.verify()
        assert (found.differing, [each.key for each in found.parked]) == (0, [("2",)])
        assert titles(narrow) == ([2, 3] if "update" in change else [2])
        narrow.write("truncate public.parts")
        settle(narrow)
        assert narrow.verify().parked == ()


def test_of_a_parked_row_that_is_no_more_what_is_left_differs(parts: Following) -> None:
    with following_titles_as_numbers(parts) as narrow:
        narrow.write(put((1, "1", None)))
        narrow.follow()
        facts = {"scope": scope(narrow), "id": f"{scope(narrow)}/9"}
        ask(
            narrow.store,
            "CREATE (n:Part {kos_id: $id, kos_scope: $scope, kos_key: '9', kos_position: 1}) RETURN 1",
            **facts,
        )
        with narrow.store.operator(narrow.site.place) as operator:
            row = Parked(TableName("parts", "public"), ("9",), 1, "too long")
            park(operator, narrow.projection, narrow.site.tenant, [row])
        [difference] = narrow.verify().differences
        assert (difference.key, difference.fault) == ("9", "left over")


def test_rows_that_a_snapshot_has_are_parked_as_well(parts: Following) -> None:
    parts.write(put((1, "one", None), (2, "2", None)))
    wrong = GraphMap((Node("Part", TableName("parts", "public"), (Property("title", "integer"),)),))
    narrow = Following(parts.store, "acme", graph_of(parts.store, wrong))
    narrow.follow()
    found = narrow.verify()
    assert ([each.key for each in found.parked], found.differing) == ([("1",)], 0)
    narrow.write("update public.parts set title = '1' where number = 1")
    narrow.follow()
    assert narrow.verify().parked == ()
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
    assert narrow.verify().parked == ()
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
    assert narrow.verify().parked == ()
    settle(narrow)
    assert insides(narrow) == ["39"]
    narrow.projection.close()


# what is too long for an index

# Neo4j refuses 9,000 bytes when they are put; ArcadeDB takes them, and fails when 300,000 are committed.
LONG = [9_000, 300_000]
INDEXED = GraphMap((Node("Titled", TableName("parts", "public"), (Property("title"),), indexes=("title",)),))
NAMES = """
create table public.named (tenant_id uuid not null, name text, inside text, primary key (tenant_id, name))
"""
NAMED = TableName("named", "public")
NAMED_MAP = GraphMap(
    (Node("Named", NAMED, (Property("inside"),)),),
    (Edge("INSIDE", NAMED, End("Named", ("name",)), End("Named", ("inside",))),),
)


@pytest.fixture(params=["arcadedb", pytest.param("neo4j", marks=pytest.mark.long)])
def server(request: pytest.FixtureRequest, parts: Following) -> GraphServer:
    """Each of them."""
    found = parts.store.topology.graph if request.param == "arcadedb" else request.getfixturevalue("neo4j")
    assert isinstance(found, GraphServer)
    return found


@pytest.fixture
def long(parts: Following, server: GraphServer) -> Iterator[Following]:
    """Whose titles are found by an index."""
    with _followed(parts, server, INDEXED) as made:
        yield made


@contextmanager
def _followed(parts: Following, server: GraphServer, declared: GraphMap) -> Iterator[Following]:
    made = Following(parts.store, "acme", GraphProjection(server, declared))
    made.projection.prepare()
    yield made
    made.projection.forget(made.site.tenant)
    made.projection.close()


def _parked(following: Following) -> dict[tuple[str, ...], str]:
    found = following.verify()
    assert found.differing == 0
    return {each.key: each.reason for each in found.parked}


def _refused(what: str, size: int) -> str:
    return f"{what} is too long for an index of the graph: {size:,} bytes, and it takes 7,000"


@pytest.mark.parametrize("size", LONG)
def test_a_text_too_long_for_an_index_parks_its_row_only(long: Following, size: int) -> None:
    long.write(put((1, "é" * (size // 2), None), (2, "2", None)))
    long.follow()  # it is made from the tables
    assert _parked(long) == {("1",): _refused("title", size)}
    long.write(
        put((3, "x" * size, None), (4, "4", None)),
        f"update public.parts set title = '{'y' * size}' where number = 2",
    )
    long.follow()
    long.write(f"update public.parts set title = '{'z' * 7000}' where number = 4")
    long.follow()
    assert _parked(long) == {(number,): _refused("title", size) for number in "123"}
    long.write("update public.parts set title = 'short' where number < 4")
    long.follow()
    settle(long)
    assert _parked(long) == {}


def test_a_key_too_long_for_an_index_parks_its_row_only(
    parts: Following, full_superuser: Any, server: GraphServer
) -> None:
    make(full_superuser, NAMES, "public.named")
    log(full_superuser, "public.named")
    full_superuser.execute("grant all on public.named to kos_app, kos_operator")
    insert = "insert into public.named values (kos.current_tenant_id(), {}, {})"
    long = "repeat('k', 9000)"  # PostgreSQL's own index has it compressed
    with _followed(parts, server, NAMED_MAP) as found:
        found.write(insert.format(long, "null"), insert.format("'a'", "null"), insert.format("'b'", long))
        found.follow()
        of_end = _refused("the key of its Named", 9000)
        assert _parked(found) == {("k" * 9000,): _refused("its key", 9000), ("b",): of_end}
        found.write(insert.format("'c'", "'a'"), insert.format("'d'", long), insert.format(f"{long} || 'e'", "'a'"))
        found.follow()
        assert len(_parked(found)) == 4
        found.write("update public.named set inside = 'a' where name in ('b', 'd')")
        found.write("delete from public.named where length(name) > 9000")
        found.follow()
        assert [len(key) for (key,) in _parked(found)] == [9000]
        assert (retry(found.site)[0], len(_parked(found))) == (0, 1)
        settle(found)


def test_what_fails_at_the_commit_is_no_rows_fault(long: Following, monkeypatch: pytest.MonkeyPatch) -> None:
    long.write(put((1, "1", None)))
    long.follow()
    monkeypatch.setattr(batch, "INDEXED", 10**6)  # the only way to make a server fail there
    long.write(put((2, "x" * 300_000, None)))
    with pytest.raises(errors.StoreUnavailable):
        long.follow()
    monkeypatch.undo()
    long.follow()
    assert list(_parked(long)) == [("2",)]
