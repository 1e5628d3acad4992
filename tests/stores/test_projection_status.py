"""`kos status` says how far projections are, and what it can't say hides nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fix_samples import child_environment
from kos import errors
from kos.cli import run
from kos.log import seal_all
from kos.projections import rebuild
from kos.projections.generation import only
from kos.tenancy import Store, create_tenant
from kos.topology.model import Topology
from projecting import Following, graph_of

Told = Callable[..., Any]
PARK = "insert into kos.projection_parked values ('graph', %s, 'knowledge', 'atoms', '{x}', 1, 'no')"


@pytest.fixture
def configure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[Topology], None]:
    """Commands find these servers."""

    def on(topology: Topology) -> None:
        for name, value in child_environment(topology, tmp_path).items():
            monkeypatch.setenv(name, value)

    return on


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str]) -> Callable[[], Any]:
    """The JSON of `kos status`."""

    def ask() -> Any:
        capsys.readouterr()
        assert run(["status", "--json"]) == errors.DONE
        return json.loads(capsys.readouterr().out)

    return ask


@pytest.fixture
def acme(full_store: Store) -> Iterator[Following]:
    """A tenant that the graph has not heard of."""
    tenant = create_tenant(full_store, "acme")
    made = Following(full_store, "acme", graph_of(full_store))
    yield made
    made.projection.forget(tenant.id)
    made.projection.close()


def test_lag_and_what_is_parked(
    full_store: Store,
    acme: Following,
    configure: Callable[[Topology], None],
    told: Told,
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure(full_store.topology)
    add = "insert into atoms (atom_type, name) values ('T', 'a'), ('T', 'b')"

    def counts() -> list[int]:
        [graph] = [each for each in told()["projections"] if each["projection"] == "graph"]
        assert (graph["lag_seconds"] > 0) == (graph["behind"] > 0)
        return [graph[each] for each in ("tenants", "tenants_behind", "behind", "parked")]

    assert counts() == [0, 0, 0, 0]
    acme.write(add)
    acme.follow()
    assert counts() == [1, 0, 0, 0]
    acme.write(add)
    with full_store.operator() as operator:
        seal_all(operator)
        operator.execute(PARK, (acme.site.tenant,))
    assert counts() == [1, 1, 2, 1]
    assert run(["status"]) == errors.DONE
    assert "kos projection parked graph" in capsys.readouterr().out


def test_what_was_made_and_what_is_being_made(
    full_store: Store, acme: Following, configure: Callable[[Topology], None], told: Told
) -> None:
    configure(full_store.topology)

    def counts() -> tuple[int, int]:
        [graph] = [each for each in told()["projections"] if each["projection"] == "graph"]
        return graph["rebuilds"], graph["making"]

    assert counts() == (0, 0)
    acme.write("insert into atoms (atom_type, name) values ('T', 'a')")
    acme.follow()
    assert counts() == (1, 0)
    with full_store.operator(acme.site.place) as operator, only(operator, acme.site, "rebuild"):
        assert counts() == (1, 1)
    with full_store.operator(acme.site.place) as operator, only(operator, acme.site, "apply"):
        assert counts() == (1, 0)
    rebuild(acme.site)
    assert counts() == (2, 0)


def test_a_database_without_a_schema_hides_no_store(
    full_store: Store, configure: Callable[[Topology], None], told: Told, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = full_store.topology.control
    empty = replace(shard, primary=replace(shard.primary, database="postgres"))
    configure(replace(full_store.topology, shards=(empty,)))
    found = told()
    assert {each["name"] for each in found["stores"]} >= {"graph"}
    assert (found["projections"], found["healthy"]) == ([], True)
    assert "postgres has no kos schema" in found["projections_unknown"]
    assert run(["status"]) == errors.DONE
    assert f"is not known: {found['projections_unknown']}" in capsys.readouterr().out


def test_without_a_graph_or_a_cache_there_is_nothing_to_say(
    store: Store, configure: Callable[[Topology], None], told: Told
) -> None:
    configure(store.topology)
    found = told()
    assert (found["projections"], found["projections_unknown"]) == ([], None)
