"""A writer that was frozen holds its lock in the graph: its tenant waits for that, and no other does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace

import pytest
from projection_scene import SECONDS

from fix_exports import until
from kos import errors
from kos.projections import Follower
from kos.projections.declared import declared
from kos.tenancy import Store, create_tenant
from kos.tenancy.placement import control_place
from kos.topology import graph as graphs
from kos.topology.model import GraphServer
from kos.worker.watch import connect
from projecting import Following, ask, graph_of, scope

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]

HOLD = "MATCH (g:KosGeneration {kos_id: $scope}) SET g.kos_turn = g.kos_turn + 1"


@pytest.fixture
def both(full_store: Store, neo4j: GraphServer) -> Iterator[list[Following]]:
    """Two tenants in Neo4j, each with an atom. ArcadeDB locks nothing before it commits."""
    topology = replace(full_store.topology, graph=neo4j, cache=None)
    with Store(topology) as store, closing(graph_of(store)) as projection:
        made = []
        for name in ("acme", "beta"):
            create_tenant(store, name)
            made.append(Following(store, name, projection))
            made[-1].write("insert into atoms (atom_type, name) values ('T', 'a')")
            made[-1].follow()
        yield made
        for each in made:
            projection.forget(each.site.tenant)


@contextmanager
def held(following: Following) -> Iterator[Callable[[], None]]:
    """A transaction like that of a writer which ends no more, until what is given is called."""
    server = following.store.topology.graph
    assert server is not None
    with ExitStack() as ends:
        session = ends.enter_context(ends.enter_context(graphs.open(server)).session(database=server.database))
        ends.enter_context(session.begin_transaction()).run(HOLD, scope=scope(following)).consume()
        yield ends.close


@contextmanager
def followed(store: Store) -> Iterator[tuple[Follower, list[Exception]]]:
    """And what went wrong."""
    place, told = control_place(store.topology), list[Exception]()
    follower = Follower(
        declared(store.topology)["graph"], "graph", store, place, lambda: connect(store.topology, place),
        told=lambda _, raised: told.append(raised),
    )  # fmt: skip
    follower.start()
    follower.let(follow=True)
    try:
        yield follower, told
    finally:
        follower.stop()
        follower.wait(SECONDS)


def rename(following: Following) -> Callable[[], bool]:
    """One more transaction; whether who has its bookmark sees that within a minute."""
    with following.store.tenant(following.name) as session:
        session.execute("update atoms set name = name || 'x'")
    mark = session.bookmark
    with following.store.operator() as operator:
        operator.execute("select kos.seal(%s)", (following.site.tenant,))

    def seen() -> bool:
        with following.store.tenant(following.name, after=mark) as again:
            [found] = again.graph.run("MATCH (a:Atom) RETURN a.name AS name", seconds=SECONDS / 2)
        return bool(found["name"].endswith("x"))

    return seen


@pytest.mark.parametrize("since", ["before it is followed", "while it is followed"])
def test_only_the_tenant_whose_lock_is_held_waits(both: list[Following], since: str) -> None:
    acme, beta = both
    with ExitStack() as stack:
        if since == "before it is followed":
            release = stack.enter_context(held(acme))
            sees = rename(acme)
            follower, told = stack.enter_context(followed(acme.store))
        else:
            follower, told = stack.enter_context(followed(acme.store))
            assert rename(acme)()
            release = stack.enter_context(held(acme))
            sees = rename(acme)
        assert rename(beta)()
        until(lambda: any(isinstance(each, errors.StoreBusy) for each in told), SECONDS)
        assert rename(beta)()
        assert follower.progress.state == "following"
        assert list(follower.progress.failing) == [acme.site.tenant]
        release()
        assert sees()
        until(lambda: follower.progress.failing == {}, SECONDS)


def test_a_generation_that_is_held_is_removed_later(both: list[Following]) -> None:
    """Who removes it in the follower's thread doesn't wait either, and what is left is found again."""
    acme, _ = both
    later = graph_of(acme.store)
    whose, left = acme.site.whose, later.begin(acme.site.whose, "left")
    server = acme.store.topology.graph
    assert server is not None
    with closing(later), graphs.open(server) as driver, driver.session(database=server.database) as session:
        with session.begin_transaction() as tx:
            tx.run(HOLD, scope=f"{whose.tenant}/{left.generation}").consume()
            later.clear(whose)
            assert generations(acme) == 2
        later.clear(whose)
        assert generations(acme) == 1


def generations(following: Following) -> int:
    query = "MATCH (g:KosGeneration {kos_tenant: $tenant}) RETURN count(g)"
    return int(ask(following.store, query, tenant=str(following.site.tenant))[0])
