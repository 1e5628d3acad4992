"""Which stores a stack has, what kind each is, and which ports it uses."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType

from kos.errors import UnknownStore
from kos.topology.embedded import cache, graph, objects, ports, postgres
from kos.topology.embedded.census import WORKER
from kos.topology.embedded.server import Server

SERVERS: Mapping[str, Server] = MappingProxyType(
    {"postgres": postgres, "graph": graph, "cache": cache, "objects": objects}
)
KINDS = tuple(SERVERS)
MOST_SHARDS = 8


def shard_store(number: int) -> str:
    """The store of a shard; shards count from 1."""
    return "postgres" if number == 1 else f"postgres-{number}"


def shard_name(number: int) -> str:
    """The name of a shard in the topology."""
    return "main" if number == 1 else f"shard-{number}"


def kind_of(store: str) -> str:
    """The kind of server that a store is."""
    return "postgres" if store.startswith("postgres-") else store


def stores_of(kinds: Iterable[str], shards: int) -> tuple[str, ...]:
    """The stores of these kinds: one PostgreSQL per shard, one of every other kind.

    Raises:
        UnknownStore: there is no such kind.
    """
    wanted = list(kinds)
    for kind in wanted:
        if kind not in SERVERS:
            raise UnknownStore(kind, ", ".join(KINDS))
    single = tuple(kind for kind in KINDS if kind in wanted and kind != "postgres")
    if "postgres" not in wanted:
        return single
    return ("postgres", *single, *(shard_store(number) for number in range(2, shards + 1)))


def port_names(store: str) -> tuple[str, ...]:
    """The names of a store's ports; clients use the first."""
    return ("graph", "graph-http") if store == "graph" else (store,)


_ORDER = ("postgres", "graph", "graph-http", "cache", "objects")


def asked_port(name: str, base: int) -> int:
    """The port of this name when the user asked for ports from `base` on."""
    if name in _ORDER:
        return base + _ORDER.index(name)
    if name == WORKER:
        return base + len(_ORDER) + MOST_SHARDS - 1  # behind all shards that there may ever be
    return base + len(_ORDER) + int(name.removeprefix("postgres-")) - 2


def assign_ports(
    known: Mapping[str, int], stores: Iterable[str], *, base: int | None, dice: random.Random | None = None
) -> dict[str, int]:
    """The known ports and those of `stores`: what the user asked for, else the remembered, else free ones."""
    assigned = dict(known)
    for name in (name for store in stores for name in port_names(store)):
        if base is not None:
            assigned[name] = asked_port(name, base)
        elif name not in assigned:
            assigned[name] = ports.choose(assigned.values(), dice)
    return assigned


def other_ports(known: Mapping[str, int], store: str, avoid: Collection[int]) -> dict[str, int]:
    """The known ports with new ones for `store`, none of them in `avoid`."""
    kept = {name: port for name, port in known.items() if name not in port_names(store)}
    taken = {*kept.values(), *avoid}
    return kept | {name: ports.choose(taken) for name in port_names(store)}
