"""Sessions ask the graph: what they see, when, and what they are refused."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from kos import errors
from kos.log import Cursor, position_of, seek
from kos.projections import follow as following_module
from kos.projections.graph.asking import access_mode
from kos.projections.graph.reading import GraphReader
from kos.projections.model import Reached
from kos.tenancy import AsyncStore, Store, create_tenant
from kos.tenancy.entry import Isolation
from kos.topology.model import GraphServer, Login
from kos.worker import Worker
from projecting import Following, graph_of

OF_GRAPH = "projection.graph"
COUNT = "MATCH (a:Atom {name: $name}) RETURN count(a) AS n"


@pytest.fixture
def acme(full_store: Store) -> Iterator[Following]:
    """A tenant with one atom, in the graph; nobody follows."""
    create_tenant(full_store, "acme")
    made = Following(full_store, "acme", graph_of(full_store))
    made.write("insert into atoms (atom_type, name) values ('T', 'a')")
    made.follow()
    yield made
    made.projection.forget(full_store.find("acme").id)
    made.projection.close()


@pytest.fixture
def worker(full_store: Store) -> Iterator[Worker]:
    """One that seals and follows."""
    with Worker(full_store.topology) as worker:
        yield worker


def count(store: Store, name: str, seconds: float | None = None, **entry: Any) -> int:
    with store.tenant("acme", **entry) as session:
        return int(session.graph.run(COUNT, {"name": name}, seconds=seconds)[0]["n"])


def write(store: Store, name: str) -> Any:
    with store.tenant("acme") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', %s)", (name,))
    return session.bookmark


def test_what_was_written_is_seen_with_its_bookmark(acme: Following, worker: Worker) -> None:
    for number in range(10):
        mark = write(acme.store, f"n{number}")
        assert count(acme.store, f"n{number}", after=str(mark)) == 1


def test_what_was_deleted_is_not_seen_with_its_bookmark(acme: Following, worker: Worker) -> None:
    mark = write(acme.store, "short")
    assert count(acme.store, "short", after=mark) == 1
    with acme.store.tenant("acme") as session:
        session.execute("delete from atoms where name = 'short'")
    assert count(acme.store, "short", after=session.bookmark) == 0


def test_a_path_comes_as_the_driver_has_it(acme: Following) -> None:
    acme.write(
        "with two as (insert into atoms (atom_type, name) values ('T', 'x'), ('T', 'y') returning id)"
        " insert into relations (relation_type, from_atom_id, to_atom_id) select 'R', min(id::text)::uuid,"
        " max(id::text)::uuid from two"
    )
    acme.follow()
    with acme.store.tenant("acme") as session:
        [found] = session.graph.run(
            "MATCH way = (:Atom)-[:RELATES_TO]->(:Atom) RETURN way, [n IN nodes(way) | n.name] AS n"
        )
    assert sorted(found["n"]) == ["x", "y"]
    assert {node["name"] for node in found["way"].nodes} == {"x", "y"}


def test_several_tasks_of_one_loop(acme: Following, worker: Worker) -> None:
    async def ask() -> list[int]:
        async with AsyncStore(acme.store.topology) as store:

            async def one(number: int) -> int:
                async with store.tenant("acme") as session:
                    await session.execute("insert into atoms (atom_type, name) values ('T', %s)", (f"n{number}",))
                async with store.tenant("acme", after=session.bookmark) as session:
                    found = await session.graph.run(COUNT, {"name": f"n{number}"})
                return int(found[0]["n"])

            return await asyncio.gather(*(one(number) for number in range(8)))

    assert asyncio.run(ask()) == [1] * 8


def test_a_bookmark_that_nobody_seals_is_waited_for_no_longer_than_said(acme: Following) -> None:
    mark = write(acme.store, "late")
    began = time.monotonic()
    with pytest.raises(errors.BookmarkUnsealed), acme.store.tenant("acme", after=mark) as session:
        session.graph.run(COUNT, {"name": "late"}, seconds=0.2)
    assert time.monotonic() - began < 30


def test_a_graph_that_stays_behind_says_so(acme: Following) -> None:
    mark = write(acme.store, "late")
    with acme.store.operator() as operator:
        operator.execute("select kos.seal(%s)", (acme.site.tenant,))
    with pytest.raises(errors.ProjectionBehind) as caught, acme.store.tenant("acme", after=mark) as session:
        session.graph.run(COUNT, {"name": "late"}, seconds=0.2)
    assert caught.value.retryable
    acme.follow()
    assert count(acme.store, "late", after=mark) == 1


def test_a_batch_is_not_read_before_its_writer_knows_that_it_is_written(
    acme: Following, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The graph has it already, and shows so; who wrote it is killed before it could say so."""
    mark = write(acme.store, "new")
    with monkeypatch.context() as killed:
        killed.setattr(following_module, "tell", lambda *_: None)
        acme.follow()
    assert count(acme.store, "new") == 1
    with pytest.raises(errors.ProjectionBehind), acme.store.tenant("acme", after=mark) as session:
        session.graph.run(COUNT, {"name": "new"}, seconds=0.2)
    with Worker(acme.store.topology):  # the next one puts the cursor right
        assert count(acme.store, "new", after=mark) == 1


@pytest.mark.parametrize(
    "fault", [psycopg.errors.QueryCanceled, errors.StoreUnavailable("the graph", "bolt://", "cut")]
)
def test_who_was_not_told_of_a_batch_finds_out(
    acme: Following, worker: Worker, monkeypatch: pytest.MonkeyPatch, fault: Exception
) -> None:
    """The commit's answer is lost, or the cursor can't be moved just then; and nothing is written afterwards."""
    assert count(acme.store, "before", after=write(acme.store, "before")) == 1
    failed: list[str] = []
    tell = following_module.tell

    def fail_once(*of: Any) -> None:
        if not failed:
            failed.append("tell")
            raise fault
        tell(*of)

    monkeypatch.setattr(following_module, "tell", fail_once)
    mark = write(acme.store, "last")
    with acme.store.tenant("acme", after=mark) as session:
        assert session.graph.run(COUNT, {"name": "last"}, seconds=60)[0]["n"] == 1
    assert failed


def test_a_cursor_that_was_put_back_is_put_right_by_who_follows(acme: Following, worker: Worker) -> None:
    """The operator can do that in SQL. Nothing is written afterwards: who follows finds nothing to apply."""
    mark = write(acme.store, "last")
    assert count(acme.store, "last", after=mark) == 1
    with acme.store.operator() as operator:
        seek(operator, OF_GRAPH, acme.site.tenant, Cursor())
    assert count(acme.store, "last", seconds=60, after=mark) == 1


def test_verify_puts_the_cursor_right(acme: Following) -> None:
    with acme.store.operator() as operator:
        there = position_of(operator, OF_GRAPH, acme.site.tenant)
        seek(operator, OF_GRAPH, acme.site.tenant, Cursor())
        assert acme.verify().differing == 0
        assert position_of(operator, OF_GRAPH, acme.site.tenant) == there


@pytest.mark.parametrize(
    "statement", ["select kos.feed_seek(%s, kos.current_tenant_id(), 0)", "select kos.feed_drop(%s)"]
)
def test_an_application_does_not_move_the_cursor(acme: Following, statement: str) -> None:
    with suppress(psycopg.errors.InsufficientPrivilege), acme.store.tenant("acme") as session:
        session.execute(statement.encode(), (OF_GRAPH,))
    with acme.store.operator() as operator:
        assert position_of(operator, OF_GRAPH, acme.site.tenant).position > 0


def test_a_tenant_that_is_not_there_yet(full_store: Store) -> None:
    graph_of(full_store).close()
    create_tenant(full_store, "acme")
    with pytest.raises(errors.ProjectionNotReady), full_store.tenant("acme") as session:
        session.graph.run("RETURN 1")


def test_personas_are_refused(acme: Following) -> None:
    with pytest.raises(errors.GraphWithoutPersonas), acme.store.tenant("acme", persona="developer") as session:
        session.graph.run("RETURN 1")


@pytest.mark.parametrize("query", ["MATCH (n) DETACH DELETE n", "CALL db.labels()", "CREATE (n:Atom)", ""])
def test_what_does_more_than_read_is_refused(acme: Following, query: str) -> None:
    with pytest.raises(errors.GraphQueryRefused), acme.store.tenant("acme") as session:
        session.graph.run(query)
    assert count(acme.store, "a") == 1


def test_a_query_that_the_server_does_not_understand(acme: Following) -> None:
    with pytest.raises(errors.GraphQueryFailed), acme.store.tenant("acme") as session:
        session.graph.run("MATCH (n:Atom) RETURN size(1, 2, 3)")


def test_another_tenants_nodes_are_not_there(acme: Following) -> None:
    create_tenant(acme.store, "other")
    other = Following(acme.store, "other", acme.projection)
    other.write("insert into atoms (atom_type, name) values ('T', 'secret')")
    other.follow()
    assert count(acme.store, "secret") == 0
    with acme.store.tenant("acme") as session:
        assert session.graph.run("MATCH (n) RETURN count(n) AS n")[0]["n"] == 1
    acme.projection.forget(other.site.tenant)


def test_where_no_graph_is_configured(store: Store, tenant: object) -> None:
    with pytest.raises(errors.StoreNotConfigured), store.tenant("acme") as session:
        session.graph.run("RETURN 1")


def test_a_graph_that_is_gone(full_store: Store) -> None:
    create_tenant(full_store, "acme")
    server = full_store.topology.graph
    assert server is not None
    full_store.graph = GraphReader(replace(server, uri="bolt://127.0.0.1:1"))
    with pytest.raises(errors.StoreUnavailable), full_store.tenant("acme") as session:
        session.graph.run("RETURN 1")


def test_a_graph_that_is_gone_is_not_waited_for(full_store: Store, acme: Following) -> None:
    """Not even by who has just written: it keeps a connection to PostgreSQL meanwhile."""
    assert full_store.topology.graph is not None
    mark = write(full_store, "new")
    with full_store.operator() as operator:
        operator.execute("select kos.seal(%s)", (acme.site.tenant,))
    full_store.graph = GraphReader(replace(full_store.topology.graph, uri="bolt://127.0.0.1:1"), seconds=600.0)
    with pytest.raises(errors.StoreUnavailable), full_store.tenant("acme", after=mark) as session:
        session.graph.run("RETURN 1")


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_an_old_snapshot_can_not_tell_of_a_bookmark(acme: Following, isolation: Isolation) -> None:
    mark = write(acme.store, "new")
    with acme.store.tenant("acme", after=mark, isolation=isolation) as session:
        session.execute("update atoms set name = 'b'")
        with pytest.raises(errors.BookmarkNeedsReadCommitted):
            session.graph.run("RETURN 1")
    assert session.bookmark is not None  # and what it has written is there


def test_a_query_may_not_outlive_what_it_reads(full_store: Store) -> None:
    with pytest.raises(ValueError, match="60 seconds at most"):
        GraphReader(full_store.topology.graph, timeout=61)


def test_of_a_cluster_its_leader_is_asked_with_a_bookmark() -> None:
    one = GraphServer("bolt://127.0.0.1:1", Login("neo4j"))
    many = replace(one, uri="neo4j://127.0.0.1:1")
    asked = {each.uri: [access_mode(each, need) for need in (Reached(), Reached(1, 5))] for each in (one, many)}
    assert asked == {one.uri: ["READ", "READ"], many.uri: ["READ", "WRITE"]}


def test_a_session_that_is_over(acme: Following) -> None:
    with acme.store.tenant("acme") as session:
        pass
    with pytest.raises(errors.SessionClosed):
        session.graph.run("RETURN 1")


def test_a_stale_session_is_refused_by_postgresql(acme: Following) -> None:
    """The graph knows no epochs: who asks it has entered the tenant."""
    with acme.store.operator() as operator:
        operator.execute("update kos.fence set serving = false where tenant_id = %s", (acme.site.tenant,))
    with pytest.raises(errors.KosError), acme.store.tenant("acme") as session:
        session.graph.run("RETURN 1")
