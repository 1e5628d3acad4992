"""A worker follows with every projection, says how far it is, and goes on when a store fails."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from logged_table import log

from fix_exports import until
from kos import errors
from kos.knowledge.removal import remove
from kos.projections import Whose, rebuild
from kos.projections.whole import status
from kos.tenancy import Store, Tenant, create_tenant
from kos.topology.model import ProjectionNode, ProjectionSettings, Topology
from kos.worker import Worker
from projecting import Following, ask, graph_of

EXAMPLES = Path(__file__).parents[2] / "examples"


@pytest.fixture
def acme(full_store: Store) -> Iterator[Tenant]:
    """A tenant, which leaves the stores as they were."""
    tenant = create_tenant(full_store, "acme")
    yield tenant
    projection = graph_of(full_store)
    projection.forget(tenant.id)
    projection.close()


def write(store: Store, name: str, tenant: str = "acme") -> None:
    with store.tenant(tenant) as session:
        session.execute("insert into atoms (atom_type, name) values ('T', %s)", (name,))


def progress(worker: Worker, name: str) -> dict[str, Any]:
    [database] = worker.health()[1]["databases"]
    found: dict[str, Any] = next(each for each in database["projections"] if each["projection"] == name)
    return found


def metric(worker: Worker, name: str, projection: str) -> float | None:
    pattern = rf'^{name}{{database="[^"]*",projection="{projection}"}} (\S+)$'
    found = re.search(pattern, worker.metrics.text().decode(), re.MULTILINE)
    return float(found[1]) if found else None


def is_level(store: Store, names: tuple[str, ...] = ("graph", "cache")) -> bool:
    found = status(store, names)
    return all(each.behind == 0 and each.tenants > 0 for each in found)


def test_all_projections_follow_and_say_so(full_store: Store, acme: Tenant) -> None:
    with Worker(full_store.topology) as worker:
        write(full_store, "a")
        until(lambda: is_level(full_store))
        write(full_store, "b")
        until(
            lambda: is_level(full_store) and (metric(worker, "kos_projection_applied_events_total", "graph") or 0) > 0
        )
        until(lambda: progress(worker, "graph")["behind"] == 0)
        for name in ("graph", "cache"):
            assert progress(worker, name)["state"] == "following"
            assert metric(worker, "kos_projection_up", name) == 1
            until(lambda name=name: metric(worker, "kos_projection_lag_events", name) == 0)  # type: ignore[misc]
            assert metric(worker, "kos_projection_parked_rows", name) == 0
            assert metric(worker, "kos_projection_rebuilds_total", name) == 1
    following = Following(full_store, "acme", graph_of(full_store))
    assert following.verify().differing == 0
    following.projection.close()


def test_a_store_that_is_down_stops_no_other_and_no_sealing(full_store: Store, acme: Tenant) -> None:
    server = full_store.topology.graph
    assert server is not None
    with Worker(replace(full_store.topology, graph=replace(server, uri="bolt://127.0.0.1:1"))) as worker:
        write(full_store, "a")
        until(lambda: is_level(full_store, ("cache",)))
        until(lambda: progress(worker, "graph")["state"] == "failing")
        until(lambda: progress(worker, "graph")["behind"] == 1)  # PostgreSQL knows
        assert metric(worker, "kos_projection_lag_events", "graph") == 1
        assert worker.health()[0]  # it is not the worker's fault, and another one would fare no better
        assert "the graph" in progress(worker, "graph")["error"]
        assert metric(worker, "kos_projection_up", "graph") == 0
    [found] = status(full_store, ("graph",))
    assert (found.tenants_behind, found.behind) == (1, 1)
    with Worker(full_store.topology):
        until(lambda: is_level(full_store))


def own(topology: Topology, folder: Path) -> Topology:
    options = (("folder", str(folder)), ("tables", ["atoms"]))
    return replace(
        topology, projections=(ProjectionSettings("files", use="file_projection:FileProjection", options=options),)
    )


def test_a_product_s_own_projection(
    full_store: Store, acme: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    topology = own(full_store.topology, tmp_path)
    with Store(topology) as store, Worker(topology):
        write(store, "a")
        until(lambda: is_level(store, ("graph", "cache", "files")))
        assert len(list((tmp_path / str(acme.id)).glob("*.json"))) == 1


def test_one_that_is_declared_wrongly_stops_no_other(full_store: Store, acme: Tenant) -> None:
    topology = replace(full_store.topology, projections=(ProjectionSettings("files", use="nowhere:Nothing"),))
    with Worker(topology) as worker:
        write(full_store, "a")
        until(lambda: is_level(full_store))
        until(lambda: progress(worker, "files")["state"] == "failing")


def test_one_that_is_switched_off_is_not_followed(full_store: Store, acme: Tenant) -> None:
    topology = replace(full_store.topology, projections=(ProjectionSettings("graph", enabled=False),))
    with Worker(topology) as worker:
        write(full_store, "a")
        until(lambda: is_level(full_store, ("cache",)))
        assert [each["projection"] for each in worker.health()[1]["databases"][0]["projections"]] == ["cache"]


def test_a_tenant_that_is_removed_is_forgotten(full_store: Store, acme: Tenant) -> None:
    with Worker(full_store.topology):
        write(full_store, "a")
        until(lambda: is_level(full_store))
        remove(full_store, "acme")
        query = "MATCH (g:KosGeneration {kos_tenant: $tenant}) RETURN count(g)"
        until(lambda: ask(full_store, query, tenant=str(acme.id)) == [0])
        with full_store.operator() as operator:
            until(lambda: operator.execute("select from kos.projection_leavers").fetchone() is None)


def test_a_tenant_that_is_made_anew_keeps_its_readers(full_store: Store, acme: Tenant) -> None:
    with Worker(full_store.topology):
        write(full_store, "a")
        until(lambda: is_level(full_store))
        following = Following(full_store, "acme", graph_of(full_store))
        before = following.projection.live(Whose.of(acme))
        for number in range(5):
            rebuild(following.site)
            write(full_store, f"n{number}")
            with full_store.tenant("acme") as session:
                assert session.graph.run("MATCH (a:Atom) RETURN count(a) AS n")[0]["n"] >= 1
        until(lambda: is_level(full_store))
        after = following.projection.live(Whose.of(acme))
        assert before is not None
        assert after is not None
        assert before.generation != after.generation
        assert following.verify().differing == 0
        following.projection.close()


def test_a_projection_that_is_verified_is_followed_afterwards(full_store: Store, acme: Tenant) -> None:
    with Worker(full_store.topology):
        write(full_store, "a")
        until(lambda: is_level(full_store))
        following = Following(full_store, "acme", graph_of(full_store))
        for number in range(5):
            write(full_store, f"n{number}")
            try:
                assert following.verify().differing == 0
            except errors.ProjectionMoved:  # the worker was quicker: whoever asks asks again
                continue
        until(lambda: is_level(full_store))
        following.projection.close()


def test_a_table_that_is_logged_later_comes_with_its_rows_of_before(
    full_store: Store, full_superuser: Any, acme: Tenant
) -> None:
    full_superuser.execute(
        "create table public.parts (tenant_id uuid, number int, title text, primary key (tenant_id, number))"
    )
    full_superuser.execute("grant all on public.parts to kos_owner, kos_app, kos_operator")
    full_superuser.execute("insert into public.parts values (%s, 1, 'before')", (acme.id,))
    settings = ProjectionSettings("graph", nodes=(ProjectionNode("Part", "public.parts", ("title",)),))
    topology = replace(full_store.topology, projections=(settings,))
    with Store(topology) as store, Worker(topology):
        write(store, "a")
        until(lambda: is_level(store))
        log(full_superuser, "public.parts")
        query = """MATCH (t:KosTenant {kos_id: $tenant}) MATCH (p:Part {kos_scope: t.kos_live}) WHERE p.title = 'before'
                   RETURN count(p)"""
        until(lambda: ask(store, query, tenant=str(acme.id)) == [1])


def test_a_tenant_that_fails_stops_no_other(full_store: Store, acme: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    other = create_tenant(full_store, "other")
    from kos.projections.graph import GraphProjection

    with Worker(full_store.topology):
        write(full_store, "first")
        until(lambda: is_level(full_store))
    apply = GraphProjection.apply

    def refusing(self: Any, whose: Whose, *arguments: Any, **more: Any) -> Any:
        if whose.tenant == acme.id:
            raise errors.StoreUnavailable("the graph", "here", "out of memory")
        return apply(self, whose, *arguments, **more)

    monkeypatch.setattr(GraphProjection, "apply", refusing)
    with Worker(full_store.topology) as worker:
        write(full_store, "a")
        write(full_store, "b", "other")
        following = Following(full_store, "other", graph_of(full_store))
        until(lambda: following.projection.live(following.site.whose) is not None)
        until(lambda: [each["tenant"] for each in progress(worker, "graph")["failing"]] == [str(acme.id)])
        assert progress(worker, "graph")["state"] == "following"
        following.projection.forget(other.id)
        following.projection.close()
