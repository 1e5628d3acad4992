"""Whoever asks the graph with a bookmark sees all of what it stands for at once, whatever was written, in each server.

Neo4j shows a transaction's values before it has put all of it into the indexes: who asks in just that moment finds a
part, or nothing. So readers ask all the time while a batch is applied.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from threading import Event
from typing import Any

import pytest

from kos.projections import rebuild
from kos.projections.graph import reading
from kos.tenancy import Store, create_tenant
from projecting import Following, graph_of

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

ROWS, READERS = 300, 3
LOOK = """
MATCH (a:Atom) WHERE a.name = $name OPTIONAL MATCH (a)-[r:RELATES_TO]->(:Atom)
RETURN count(DISTINCT a) AS n, count(r) AS r
"""
# Each a transaction, and how many nodes and edges there are after it. Each edge leads from a node to one that stays.
STEPS = {
    "insert into atoms (atom_type, name) select 'T', %(name)s from generate_series(1, %(rows)s)": (ROWS, 0),
    "insert into relations (relation_type, from_atom_id, to_atom_id) select 'R', a.id, h.id from atoms a, atoms h"
    " where a.name = %(name)s and h.name = 'hub'": (ROWS, ROWS),
    "update atoms set deleted_at = now() where name = %(name)s and id in"
    " (select id from atoms where name = %(name)s order by id limit %(rows)s / 3)": (2 * ROWS // 3, 2 * ROWS // 3),
    "update atoms set deleted_at = null where name = %(name)s": (ROWS, ROWS),
    "delete from relations r using atoms a where a.id = r.from_atom_id and a.name = %(name)s": (ROWS, 0),
    "delete from atoms where name = %(name)s": (0, 0),
}


@pytest.fixture(params=["arcadedb", "neo4j"])
def acme(full_store: Store, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Following]:
    """A tenant with one atom in the graph. Who waits looks again at once."""
    monkeypatch.setattr(reading, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(reading, "LONGEST_PAUSE", 0.002)
    create_tenant(full_store, "acme")
    server = full_store.topology.graph if request.param == "arcadedb" else request.getfixturevalue("neo4j")
    topology = replace(full_store.topology, graph=server)
    with Store(topology, pool_size=10) as store, closing(graph_of(store)) as projection:
        made = Following(store, "acme", projection)
        made.write("insert into atoms (atom_type, name) values ('T', 'hub')")
        made.follow()
        yield made
        projection.forget(made.site.tenant)


@contextmanager
def made_anew_all_the_time(acme: Following) -> Iterator[list[str]]:
    """The generations that were shown meanwhile."""
    ends, shown = Event(), []

    def again() -> None:
        while not ends.is_set():
            rebuild(acme.site)
            live = acme.projection.live(acme.site.whose)
            assert live is not None
            shown.append(live.generation)

    with ThreadPoolExecutor(1) as beside:
        making = beside.submit(again)
        try:
            yield shown
        finally:
            ends.set()
        making.result()


def look(acme: Following, name: str, mark: Any) -> tuple[int, int]:
    with acme.store.tenant("acme", after=mark) as session:
        [found] = session.graph.run(LOOK, {"name": name}, seconds=60)
    return found["n"], found["r"]


def wrong(acme: Following, rounds: int) -> list[str]:
    """Write and follow, while others ask for each step with its bookmark; what they found else."""
    found = []
    with ThreadPoolExecutor(READERS) as pool:
        for name in (f"n{number}" for number in range(rounds)):
            for statement, expected in STEPS.items():
                with acme.store.tenant("acme") as session:
                    session.execute(statement.encode(), {"name": name, "rows": ROWS})
                asking = [pool.submit(look, acme, name, session.bookmark) for _ in range(READERS)]
                acme.follow()
                seen = {each.result() for each in asking}
                found += [f"{each} after {statement}" for each in seen if each != expected]
    return found


def test_all_of_a_batch_is_there_at_once_for_who_waits_for_it(acme: Following) -> None:
    assert wrong(acme, rounds=2) == []


def test_it_is_there_while_the_tenant_is_made_anew(acme: Following) -> None:
    with made_anew_all_the_time(acme) as shown:
        assert wrong(acme, rounds=1) == []
    assert len(set(shown)) > 1
