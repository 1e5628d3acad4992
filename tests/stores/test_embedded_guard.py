"""Do no harm: what acts on embedded stacks only refuses a server of somebody's, which stands for production here."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from fix_stack import connect
from kos.errors import REFUSED, ExternalStore
from kos.topology.embedded import Stack, guard, ports, require_embedded
from kos.topology.embedded import postgres as postgres_server
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


class Stranger:
    """Has taken a port, and asks whoever comes for the password, in clear, as PostgreSQL can."""

    def __init__(self) -> None:
        self._listener = socket.create_server((ports.LOOPBACK, 0))
        self.port = self._listener.getsockname()[1]
        self.told = b""
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Stranger:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(30)
        self._listener.close()

    def _serve(self) -> None:
        self._listener.settimeout(30)
        client, _ = self._listener.accept()
        with client:
            client.settimeout(30)
            client.recv(4096)  # who it is, and which database
            client.sendall(struct.pack("!cii", b"R", 8, 3))
            self.told = client.recv(4096)


def ask_as_guard(stack: Stack, port: int) -> None:
    assert not guard._is_marked(moved(stack.topology(), port).control, stack.id)


def ask_as_up(stack: Stack, port: int) -> None:
    site: Any = SimpleNamespace(port=port, secrets={postgres_server.SUPERUSER: "a secret"})
    with pytest.raises(psycopg.OperationalError), postgres_server.connect(site, "postgres"):
        pass


@pytest.mark.skipif(psycopg.pq.version() < 160000, reason="libpq can't refuse it before 16")
@pytest.mark.parametrize("ask", [ask_as_guard, ask_as_up])
def test_a_stranger_on_our_port_is_not_told_the_password(postgres: Stack, ask: Callable[[Stack, int], None]) -> None:
    with Stranger() as stranger:
        ask(postgres, stranger.port)
    assert stranger.told == b""
