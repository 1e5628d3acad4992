"""A stack's stores as a topology: the same description that `kos.toml` gives of a team's own servers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kos.topology.embedded import graph, layout, objects, postgres, wheels
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.state import Marker
from kos.topology.model import (
    CacheServer,
    GraphServer,
    Login,
    ObjectStore,
    PostgresServer,
    Shard,
    Tls,
    Topology,
    fixed,
)

PLAIN = Tls(mode="disable")  # it never leaves the machine


def describe(marker: Marker, secrets: Mapping[str, str], folder: Path) -> Topology:
    """The topology of the stack in `folder`, running or not."""
    return Topology(
        shards=_shards(marker, secrets),
        graph=_graph(marker, secrets),
        cache=_cache(marker, secrets),
        objects=_objects(marker, secrets),
        stack=marker.stack,
        folder=folder,
    )


def _shards(marker: Marker, secrets: Mapping[str, str]) -> tuple[Shard, ...]:
    numbers = range(1, marker.shards + 1)
    return tuple(_shard(marker, secrets, number) for number in numbers if layout.shard_store(number) in marker.ports)


def _shard(marker: Marker, secrets: Mapping[str, str], number: int) -> Shard:
    name, port = layout.shard_name(number), marker.ports[layout.shard_store(number)]

    def login(role: str) -> Login:
        return Login(role, fixed(secrets[role]))

    return Shard(
        number=number,
        name=name,
        primary=PostgresServer(name, LOOPBACK, port, postgres.DATABASE, PLAIN),
        replicas=(),
        app=login(postgres.APP),
        operator=login(postgres.OPERATOR),
        installer=login(postgres.INSTALLER),
    )


def _graph(marker: Marker, secrets: Mapping[str, str]) -> GraphServer | None:
    if "graph" not in marker.ports:
        return None
    login = Login(graph.USER, fixed(secrets["graph"]))
    return GraphServer(f"bolt://{LOOPBACK}:{marker.ports['graph']}", login, graph.DATABASE, PLAIN)


def _cache(marker: Marker, secrets: Mapping[str, str]) -> CacheServer | None:
    if "cache" not in marker.ports:
        return None
    return CacheServer(LOOPBACK, marker.ports["cache"], Login("default", fixed(secrets["cache"])), None)


def _objects(marker: Marker, secrets: Mapping[str, str]) -> ObjectStore | None:
    if "objects" not in marker.ports:
        return None
    keys = (fixed(secrets["access_key"]), fixed(secrets["secret_key"]))
    endpoint = f"http://{LOOPBACK}:{marker.ports['objects']}"
    return ObjectStore(endpoint, objects.BUCKET, objects.REGION, *keys, PLAIN, wheels.label("objects"))
