"""TLS with every store's own driver: who answers is verified, by certificate and by name."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from fix_tls import Authority, Pair, Terminator
from kos.topology import health, model
from kos.topology.embedded import Stack

HERE = ("localhost", "127.0.0.1")
Protected = Callable[[Pair, str, Path], "Iterator[model.Topology]"]


def verify(ca: Path) -> model.Tls:
    return model.Tls("verify-full", ca=ca)


def postgres(topology: model.Topology, host: str, port: int, ca: Path) -> model.Topology:
    server = replace(topology.control.primary, host=host, port=port, tls=verify(ca))
    return model.Topology((replace(topology.control, primary=server),))


def graph(topology: model.Topology, host: str, port: int, ca: Path) -> model.Topology:
    assert topology.graph
    return model.Topology((), graph=replace(topology.graph, uri=f"bolt+s://{host}:{port}", tls=verify(ca)))


def cache(topology: model.Topology, host: str, port: int, ca: Path) -> model.Topology:
    assert topology.cache
    return model.Topology((), cache=replace(topology.cache, host=host, port=port, tls=verify(ca)))


def objects(topology: model.Topology, host: str, port: int, ca: Path) -> model.Topology:
    assert topology.objects
    store = replace(topology.objects, endpoint=f"https://{host}:{port}", tls=verify(ca))
    return model.Topology((), objects=store)


STORES = {"postgres": postgres, "graph": graph, "cache": cache, "objects": objects}


def port_of(topology: model.Topology, store: str) -> int:
    assert topology.graph
    assert topology.cache
    assert topology.objects
    ports = {
        "postgres": topology.control.primary.port,
        "graph": int(topology.graph.uri.rpartition(":")[2]),
        "cache": topology.cache.port,
        "objects": int((topology.objects.endpoint or "").rpartition(":")[2]),
    }
    return ports[store]


@contextmanager
def protected(stack: Stack, store: str, pair: Pair) -> Iterator[int]:
    """The port of the stack's `store` behind TLS."""
    with Terminator(port_of(stack.topology(), store), pair, postgres=store == "postgres") as terminator:
        yield terminator.port


def ask(topology: model.Topology) -> health.StoreHealth:
    (found,) = health.check(topology)
    return found


@pytest.fixture(params=sorted(STORES))
def store(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.mark.parametrize("host", HERE)
def test_the_right_server_is_trusted(stack: Stack, store: str, host: str, authority: Authority) -> None:
    with protected(stack, store, authority.issue(*HERE)) as port:
        found = ask(STORES[store](stack.topology(), host, port, authority.certificate))
    assert found.healthy, found.detail
    assert found.version


def test_another_authority_is_refused(stack: Stack, store: str, authority: Authority, stranger: Authority) -> None:
    with protected(stack, store, authority.issue(*HERE)) as port:
        found = ask(STORES[store](stack.topology(), "localhost", port, stranger.certificate))
    assert not found.healthy
    assert "certificate verify failed" in found.detail


def test_another_name_is_refused(stack: Stack, store: str, authority: Authority) -> None:
    with protected(stack, store, authority.issue("db1.example.com")) as port:
        found = ask(STORES[store](stack.topology(), "localhost", port, authority.certificate))
    assert not found.healthy
    assert "localhost" in found.detail
    assert any(word in found.detail.lower() for word in ("match", "not valid for")), found.detail


def test_a_server_without_tls_is_refused(stack: Stack, store: str, authority: Authority) -> None:
    topology = stack.topology()
    found = ask(STORES[store](topology, "localhost", port_of(topology, store), authority.certificate))
    assert not found.healthy


@pytest.mark.parametrize("mode", ["require", "verify-ca"])
def test_weaker_modes_are_what_they_say(stack: Stack, authority: Authority, stranger: Authority, mode: str) -> None:
    """`insecure = true` lets a file ask for these: they let through what verify-full does not."""
    ca = stranger.certificate if mode == "require" else authority.certificate
    with protected(stack, "postgres", authority.issue("db1.example.com")) as port:
        topology = postgres(stack.topology(), "localhost", port, ca)
        primary = replace(topology.control.primary, tls=model.Tls(mode))
        if mode == "verify-ca":
            primary = replace(primary, tls=model.Tls(mode, ca=ca))
        found = ask(model.Topology((replace(topology.control, primary=primary),)))
    assert found.healthy, found.detail
