"""Rows of before the log in the graph, of which the log doesn't say what they were before a change."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from logged_table import log, make

from fix_projected import PART_MAP, PARTS, insides, put, settle
from kos import errors
from kos.projections import TableName, rebuild
from kos.projections.graph import GraphMap, Node, Property, projection
from kos.tenancy import Store, create_tenant
from projecting import Following, ask, graph_of, scope

ROWS = ((1, "a", 2), (2, "b", None), (3, "c", 2), (4, "d", 2), (5, "e", 2), (6, "f", 99), (7, "g", 99), (8, "h", 99))
# As of products that keep when a row was changed; the log has no row as it was, where such a trigger is.
TOUCHED = """
create function public.touch() returns trigger language plpgsql as $$
begin
  new.weight := coalesce(new.weight, 0) + 1;
  return new;
end $$;
create trigger touch before update on public.parts for each row execute function public.touch();
"""
UPDATES = (
    "update public.parts set title = 'cc' where number = 3",
    "update public.parts set inside = 3 where number = 1",
    "update public.parts set inside = 3, number = 9 where number = 4",
    "update public.parts set title = 'ff' where number = 6",
    "update public.parts set inside = 2 where number = 7",
)
AFTER = ["acc", "dcc", "eb", "gb", "ccb"]
HIDDEN = GraphMap(
    (Node("Part", TableName("parts", "public"), (Property("title"), Property("weight", "float")), hidden="inside"),)
)

Old = Callable[..., Following]


@pytest.fixture
def old(full_store: Store, full_superuser: Any) -> Iterator[Old]:
    """A tenant whose table had rows before it was logged, and what the graph has of them."""
    made: list[Following] = []

    def take_in(baseline: str, *ddl: str, declared: GraphMap = PART_MAP) -> Following:
        create_tenant(full_store, "acme")
        make(full_superuser, PARTS, "public.parts")
        full_superuser.execute("grant all on public.parts to kos_app, kos_operator")
        tenant = full_store.find("acme").id
        for row in ROWS:
            full_superuser.execute("insert into public.parts values (%s, %s, %s, %s)", (tenant, *row))
        for each in ddl:
            full_superuser.execute(each)
        log(full_superuser, "public.parts", baseline=baseline)
        made.append(Following(full_store, "acme", graph_of(full_store, declared)))
        made[0].write(put((20, "z", None)))  # of a log without an event nothing is made
        made[0].follow()
        return made[0]

    yield take_in
    for each in made:
        each.projection.forget(full_store.find("acme").id)
        each.projection.close()


@pytest.mark.parametrize(
    ("baseline", "ddl"),
    [("lazy", TOUCHED), ("none", TOUCHED), ("none", ""), ("lazy", "")],
    ids=["lazy, touched", "none, touched", "none", "lazy"],
)
def test_edges_of_before_the_log_are_not_doubled_and_go_with_their_rows(old: Old, baseline: str, ddl: str) -> None:
    parts = old(baseline, *filter(None, [ddl]))
    assert insides(parts) == ["ab", "cb", "db", "eb"]
    for each in UPDATES:
        parts.write(each)
        parts.follow()
    assert insides(parts) == sorted(AFTER)
    parts.write("update public.parts set inside = null where number = 5", "delete from public.parts where number = 8")
    parts.write("delete from public.parts where number = 1")
    settle(parts)
    assert insides(parts) == ["ccb", "dcc", "gb"]


def test_the_same_in_one_batch(old: Old) -> None:
    parts = old("lazy", TOUCHED)
    parts.write(*UPDATES, "delete from public.parts where number = 8")
    settle(parts)
    assert insides(parts) == sorted(AFTER)
    parts.write("delete from public.parts where number = 2")
    settle(parts)


@pytest.mark.parametrize("column", ["inside = 3", "weight = 2", "title = 'z'"])
def test_a_change_that_says_a_part_of_a_row_leaves_the_rest(old: Old, column: str) -> None:
    parts = old("none")
    for number in (1, 6):
        parts.write(f"update public.parts set {column} where number = {number}")
        settle(parts)
        parts.write(f"update public.parts set inside = 5 where number = {number}")
        settle(parts)


def test_the_same_of_nodes_that_can_be_hidden(old: Old) -> None:
    nodes = old("none", declared=HIDDEN)
    nodes.write("update public.parts set weight = 2 where number = 2")
    settle(nodes)
    assert sorted(ask(nodes.store, "MATCH (n:Part {kos_scope: $s}) RETURN n.title", s=scope(nodes))) == ["b", "z"]
    nodes.write("update public.parts set inside = 1 where number = 2")
    settle(nodes)


def test_a_change_that_comes_before_its_row_is_found(old: Old, full_superuser: Any) -> None:
    parts = old("full")
    parts.write("update public.parts set title = 'cc' where number = 3", "delete from public.parts where number = 4")
    parts.write("update public.parts set inside = 3 where number = 1")
    settle(parts)
    assert insides(parts) == ["acc", "ccb", "eb"]
    full_superuser.execute("select kos.log_baseline('public.parts', array(select ctid from public.parts))")
    parts.write("update public.parts set inside = 3 where number = 5")
    settle(parts)
    assert insides(parts) == ["acc", "ccb", "ecc"]


def test_of_too_many_that_are_sought_the_tenant_is_made_anew(old: Old, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = old("none", TOUCHED)
    monkeypatch.setattr(projection, "MOST_SOUGHT", 2)
    parts.write("update public.parts set title = title || '!' where number = 1")
    parts.follow()
    parts.write("update public.parts set title = title || '!' where number in (3, 4, 5)")
    with pytest.raises(errors.TransactionTooLong):
        parts.follow()
    rebuild(parts.site)
    assert insides(parts) == ["a!b", "c!b", "d!b", "e!b"]
    assert parts.verify().differing == 0
