"""Do no harm: what acts on embedded stacks only refuses a server of somebody's, which stands for production here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from fix_stack import connect
from kos.errors import REFUSED, ExternalStore
from kos.topology.embedded import Stack, ports, require_embedded
from kos.topology.model import Login, Shard, Topology, fixed


@pytest.fixture(scope="module")
def production(own_postgres: MakePostgres) -> Iterator[OwnPostgres]:
    """A PostgreSQL that is not ours. It has our database and our logins, as a restored backup would."""
    server = own_postgres("wheel")
    server.start()
    server.execute("create role kos_installer login", "create database knowledge_os owner kos_installer")
    return server


def refused(topology: Topology) -> tuple[str, ...]:
    with pytest.raises(ExternalStore) as refusal:
        require_embedded(topology, "workload run")
    assert refusal.value.exit_code == REFUSED
    assert "`kos workload run` acts only on" in str(refusal.value)
    return refusal.value.stores


def moved(topology: Topology, port: int, installer: Login | None = None) -> Topology:
    shard = topology.control
    server = replace(shard.primary, port=port)
    return replace(topology, shards=(replace(shard, primary=server, installer=installer or shard.installer),))


def test_the_stack_itself_is_accepted(stack: Stack) -> None:
    require_embedded(stack.topology(), "tour")


def test_a_database_of_the_stack_must_carry_the_marker(postgres: Stack) -> None:
    topology = postgres.topology()
    with connect(topology) as connection:
        connection.execute("create database unmarked")
        server = replace(topology.control.primary, database="unmarked")
        shard = replace(topology.control, primary=server)
        try:
            assert refused(replace(topology, shards=(shard,))) == ("postgres (main)",)
        finally:
            connection.execute("drop database unmarked with (force)")


def test_a_topology_of_somebodys_own_servers_is_refused(stack: Stack) -> None:
    external = replace(stack.topology(), stack=None)
    assert refused(external) == ("postgres (main)", "graph", "cache", "objects")


def test_a_topology_that_claims_another_stack_is_refused(postgres: Stack) -> None:
    claimed = replace(postgres.topology(), stack="00000000-0000-0000-0000-000000000000")
    assert refused(claimed) == ("postgres (main)",)


def test_one_external_store_among_embedded_ones_is_refused(stack: Stack) -> None:
    topology = stack.topology()
    assert topology.graph
    assert topology.cache
    assert topology.objects
    mixed = (
        replace(topology, graph=replace(topology.graph, uri="bolt://graph.example:7687")),
        replace(topology, cache=replace(topology.cache, host="cache.example")),
        replace(topology, objects=replace(topology.objects, endpoint=None)),
        replace(topology, objects=replace(topology.objects, bucket="production")),
    )
    assert [refused(each) for each in mixed] == [("graph",), ("cache",), ("objects",), ("objects",)]


def test_an_external_shard_is_refused(postgres: Stack, production: OwnPostgres) -> None:
    topology = postgres.topology()
    second = Shard(2, "shard-2", production.server, (), *[production.superuser] * 3)
    assert refused(replace(topology, shards=(*topology.shards, second))) == ("postgres (own)",)


def test_an_external_replica_is_refused(postgres: Stack, production: OwnPostgres) -> None:
    topology = postgres.topology()
    shard = replace(topology.control, replicas=(production.server,))
    assert refused(replace(topology, shards=(shard,))) == ("postgres (own)",)


def test_production_that_answers_at_the_stacks_own_port_is_refused(
    place: Path, production: OwnPostgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As through a tunnel that somebody opened there while the stack was down: the address proves nothing."""
    stack = Stack(place)
    stack.up(stores=["postgres"])
    topology = stack.topology()
    stack.down()
    there = moved(topology, production.server.port)
    monkeypatch.setattr(Stack, "topology", lambda _: there)
    assert refused(there) == ("postgres (main)",), "it turns the stack's password away"
    let_in = moved(topology, production.server.port, production.superuser)
    assert refused(let_in) == ("postgres (main)",), "it lets us in, and has no marker"
    name, password = production.superuser.user, "the superuser's password"
    production.execute("alter database knowledge_os set kos.stack = 'of another stack'")
    assert refused(moved(topology, production.server.port, Login(name, fixed(password)))) == ("postgres (main)",)


def test_a_stack_that_is_down_is_not_refused(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres"])
    stack.down()
    require_embedded(stack.topology(), "up")
    assert ports.is_free(stack.topology().control.primary.port)
