"""When other tables are logged every tenant is made anew, and is followed meanwhile."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest
from logged_table import log

from fix_exports import until
from fix_samples import child_environment
from kos import errors
from kos.cli import run
from kos.log import seal_all
from kos.pace import PARK_FIRST_SECONDS
from kos.projections import Site, Whose, remaking, snapshot
from kos.projections.follow import locked
from kos.projections.generation import only, rebuild
from kos.projections.graph import GraphProjection
from kos.projections.whole import status
from kos.tenancy import Store, Tenant, create_tenant
from kos.tenancy.placement import place_of
from kos.topology.model import ProjectionNode, ProjectionSettings
from kos.worker import Worker
from projecting import Following, ask, graph_of
from waiting import ADVISORY, waiters

NAMES = ("one", "two", "three", "four")  # more than are made anew at once
PARTS = """
MATCH (t:KosTenant {kos_id: $tenant}) MATCH (p:Part {kos_scope: t.kos_live}) WHERE p.title = 'before' RETURN count(p)
"""


@pytest.fixture
def tenants(full_store: Store, full_superuser: Any) -> Iterator[list[Tenant]]:
    """With a row each in a table that is not logged yet."""
    full_superuser.execute(
        "create table public.parts (tenant_id uuid, number int, title text, primary key (tenant_id, number))"
    )
    full_superuser.execute("grant all on public.parts to kos_owner, kos_app, kos_operator")
    made = [create_tenant(full_store, name) for name in NAMES]
    for tenant in made:
        full_superuser.execute("insert into public.parts values (%s, 1, 'before')", (tenant.id,))
    yield made
    projection = graph_of(full_store)
    for tenant in made:
        projection.forget(tenant.id)
    projection.close()


@pytest.fixture
def store(full_store: Store) -> Iterator[Store]:
    """Its graph has nodes of that table."""
    settings = ProjectionSettings("graph", nodes=(ProjectionNode("Part", "public.parts", ("title",)),))
    with Store(replace(full_store.topology, projections=(settings,), cache=None)) as made:
        yield made


def write(store: Store, name: str) -> None:
    with store.tenant(name) as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'a')")


def is_level(store: Store) -> bool:
    [found] = status(store, ("graph",))
    return found.behind == 0 and found.tenants == len(NAMES)


def has_part(store: Store, tenant: Tenant) -> bool:
    """In what its readers see."""
    return ask(store, PARTS, tenant=str(tenant.id)) == [1]


@pytest.mark.long
def test_all_of_them_get_the_rows_of_a_table_that_is_logged_later(
    store: Store, full_superuser: Any, tenants: list[Tenant]
) -> None:
    with Worker(store.topology):
        for tenant in tenants:
            write(store, tenant.name)
        until(lambda: is_level(store))
        log(full_superuser, "public.parts")
        until(lambda: all(has_part(store, tenant) for tenant in tenants))


@pytest.mark.long
def test_a_table_that_was_let_go_and_taken_in_again_is_there_again(
    store: Store, full_superuser: Any, tenants: list[Tenant]
) -> None:
    log(full_superuser, "public.parts")
    with Worker(store.topology):
        for tenant in tenants:
            write(store, tenant.name)
            full_superuser.execute("insert into public.parts values (%s, 2, 'more')", (tenant.id,))
        until(lambda: all(has_part(store, tenant) for tenant in tenants))
        until(lambda: is_level(store))
    with full_superuser.transaction():
        full_superuser.execute("select kos.void_log('public.parts')")
        full_superuser.execute("select kos.unlog_table('public.parts')")
    log(full_superuser, "public.parts")
    with store.operator() as operator:
        seal_all(operator)
    assert not is_level(store)
    with Worker(store.topology):
        until(lambda: is_level(store))
        until(lambda: all(has_part(store, tenant) for tenant in tenants))


@pytest.mark.long
def test_who_is_made_anew_is_followed_meanwhile(
    store: Store, full_superuser: Any, tenants: list[Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = Event(), Event()

    def slow(site: Site) -> Any:
        begun.set()
        go_on.wait(60)
        return rebuild(site)

    one = tenants[0].name
    with Worker(store.topology):
        for tenant in tenants:
            write(store, tenant.name)
        until(lambda: is_level(store))
        monkeypatch.setattr(remaking, "rebuild", slow)
        log(full_superuser, "public.parts")
        try:
            assert begun.wait(30)
            for tenant in tenants:
                write(store, tenant.name)
            until(lambda: is_level(store))
            assert not has_part(store, tenants[0])
            with store.tenant(one) as session:
                session.execute("insert into atoms (atom_type, name) values ('T', 'meanwhile')")
            with store.tenant(one, after=session.bookmark) as reader:
                assert reader.graph.run("MATCH (a:Atom {name: 'meanwhile'}) RETURN a.name AS name", seconds=30)
        finally:
            go_on.set()
        until(lambda: all(has_part(store, tenant) for tenant in tenants))
        with store.tenant(one) as reader:
            assert reader.graph.run("MATCH (a:Atom {name: 'meanwhile'}) RETURN a.name AS name")


def test_a_tenant_whose_rows_the_store_never_takes_is_told(
    store: Store, full_superuser: Any, tenants: list[Tenant], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers: so it is this tenant's fault, and not tried as fast as one can. It is followed all the same."""
    tried: list[float] = []
    with Worker(store.topology):
        for tenant in tenants:
            write(store, tenant.name)
        until(lambda: is_level(store))

    def failing(site: Site) -> Any:
        tried.append(time.monotonic())
        raise errors.StoreUnavailable("the graph", "here", "the rows are too much for it")

    monkeypatch.setattr(remaking, "rebuild", failing)
    with Worker(store.topology) as worker:
        log(full_superuser, "public.parts")

        def told() -> list[dict[str, Any]]:
            [database] = worker.health()[1]["databases"]
            found: list[dict[str, Any]] = database["projections"][0]["failing"]
            return found

        until(lambda: len(tried) >= 8)
        until(lambda: {each["tenant"] for each in told()} == {str(tenant.id) for tenant in tenants})
        assert all("too much" in each["error"] for each in told())
        for tenant in tenants:
            write(store, tenant.name)
        until(lambda: is_level(store))
    assert tried[4] - tried[0] >= PARK_FIRST_SECONDS  # each of the four once before


def test_who_follows_gives_way_to_who_waits(full_store: Store) -> None:
    """A follower takes the lock again and again: a generation that is ready has to be shown all the same."""
    acme = create_tenant(full_store, "acme")
    graph = graph_of(full_store)
    site = Site(full_store, place_of(acme), graph, Whose.of(acme))
    has, done = Event(), Event()

    def wait_for_it() -> None:
        with full_store.operator(site.place) as operator, only(operator, site, "apply"):
            has.set()
            done.wait(30)

    waiter = Thread(target=wait_for_it)
    try:
        with full_store.operator(site.place) as follower:
            with locked(follower, graph.name, acme.id) as first:
                assert first
                waiter.start()
                until(lambda: waiters(follower, ADVISORY) > 0)
            with locked(follower, graph.name, acme.id) as again:
                assert not again
            done.set()
            waiter.join()
            assert has.is_set()
            with locked(follower, graph.name, acme.id) as at_last:
                assert at_last
    finally:
        done.set()
        if waiter.ident:
            waiter.join()
        graph.close()


def test_a_tenant_that_the_store_does_not_answer_of_hides_no_other(
    full_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in child_environment(replace(full_store.topology, cache=None), tmp_path).items():
        monkeypatch.setenv(name, value)
    made = [create_tenant(full_store, name) for name in ("one", "two")]
    graph = graph_of(full_store)
    for tenant in made:
        following = Following(full_store, tenant.name, graph)
        following.write("insert into atoms (atom_type, name) values ('T', 'a')")
        following.follow()
    compare = GraphProjection.compare

    def failing(self: Any, whose: Whose, *arguments: Any, **more: Any) -> Any:
        if whose.tenant == made[0].id:
            raise errors.StoreUnavailable("the graph", "here", "too much")
        return compare(self, whose, *arguments, **more)

    monkeypatch.setattr(GraphProjection, "compare", failing)
    assert run(["projection", "verify", "graph", "--json"]) == errors.FAILED
    found = {each["tenant"]: each for each in json.loads(capsys.readouterr().out)["compared"]}
    assert "too much" in found["one"]["error"]
    assert (found["two"]["error"], found["two"]["rows"]) == (None, 1)
    for tenant in made:
        graph.forget(tenant.id)
    graph.close()


def test_a_tenant_that_cannot_be_verified_hides_no_other(
    full_store: Store,
    full_superuser: psycopg.Connection[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(snapshot, "LOCK_TIMEOUT", "10ms")
    monkeypatch.setattr(snapshot, "ATTEMPTS", 1)
    for name, value in child_environment(replace(full_store.topology, cache=None), tmp_path).items():
        monkeypatch.setenv(name, value)
    acme = create_tenant(full_store, "acme")
    with Worker(replace(full_store.topology, cache=None)):
        write(full_store, "acme")
        until(lambda: status(full_store, ("graph",))[0].tenants == 1)
    with full_superuser.transaction():
        full_superuser.execute("lock table knowledge.atoms")
        capsys.readouterr()
        assert run(["projection", "verify", "graph", "--json"]) == errors.FAILED
    said = capsys.readouterr()
    assert said.out, said.err
    found = json.loads(said.out)
    assert "locked" in found["compared"][0]["error"]
    graph = graph_of(full_store)
    graph.forget(acme.id)
    graph.close()
