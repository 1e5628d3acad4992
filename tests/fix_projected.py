"""Tenants whose tables a graph follows by hand: the shipped ones, and a product's that refers to itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from kos.projections import TableName
from kos.projections.graph import Edge, End, GraphMap, Node, Property
from kos.tenancy import Store, create_tenant
from projecting import Following, ask, graph_of, scope

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
def projected(full_store: Store) -> Iterator[Following]:
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


@pytest.fixture
def parts(full_store: Store, full_superuser: Any) -> Iterator[Following]:
    """A tenant with a product's table that refers to itself, without a foreign key."""
    from logged_table import log, make  # beside the tests, which are on the path by now

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


def settle(following: Following) -> None:
    following.follow()
    assert following.verify().differing == 0
