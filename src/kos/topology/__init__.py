"""Stores, shards, replicas and regions: which there are, how each is opened, and whether they are well.

Promise: the same code runs against the embedded stack and against anybody's servers; nothing here starts
a server, asks for superuser, or shows a secret.

Invariants:
- A topology is a frozen value. The first shard holds the control tables; PostgreSQL alone is a topology.
- A secret is read when a connection is opened, and is in no error, log or `repr`.
- TLS verifies who answers (`verify-full`), except on loopback or where kos.toml says `insecure = true`.

Words: topology, store, shard (a PostgreSQL primary with its replicas), region, login, secret, finding,
capability.
"""

from kos.topology.config import find, find_embedded, load
from kos.topology.model import (
    CacheServer,
    GraphServer,
    Login,
    ObjectStore,
    PostgresServer,
    Secret,
    Shard,
    Tls,
    Topology,
)

__all__ = [
    "CacheServer",
    "GraphServer",
    "Login",
    "ObjectStore",
    "PostgresServer",
    "Secret",
    "Shard",
    "Tls",
    "Topology",
    "find",
    "find_embedded",
    "load",
]
