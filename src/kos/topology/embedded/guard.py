"""Do no harm: what acts on embedded stacks only asks here first."""

from __future__ import annotations

import psycopg

from kos.errors import ExternalStore, StoreUnavailable
from kos.sql import load
from kos.topology.embedded.postgres import NOT_IN_CLEAR
from kos.topology.embedded.stack import Stack
from kos.topology.model import Shard, Topology
from kos.topology.postgres import NOT_FROM_ENVIRONMENT

_SQL = load(__package__, "postgres.sql")


def require_embedded(topology: Topology, command: str) -> None:
    """Refuse unless every store of `topology` belongs to the embedded stack that it claims to be.

    A PostgreSQL that does not run is not refused: nothing can be done to it.

    Raises:
        ExternalStore: a store is somebody's own.
        StoreUnavailable: a PostgreSQL is just starting, so it can't be asked.
    """
    external = _unlisted(topology) or tuple(
        f"postgres ({shard.name})" for shard in topology.shards if not _is_marked(shard, topology.stack)
    )
    if external:
        raise ExternalStore(command, external)


def _unlisted(topology: Topology) -> tuple[str, ...]:
    """The stores whose address is not one of the stack's own; all of them if there is no stack."""
    own: set[object] = set()
    if topology.stack is not None and topology.folder is not None:
        listed = Stack(topology.folder).topology()
        if listed.stack == topology.stack:
            own = {address for _, address in _addresses(listed)}
    return tuple(name for name, address in _addresses(topology) if address not in own)


def _addresses(topology: Topology) -> list[tuple[str, object]]:
    found: list[tuple[str, object]] = []
    for shard in topology.shards:
        found += [
            (f"postgres ({server.name})", (server.host, server.port))  # its marker vouches for the database
            for server in (shard.primary, *shard.replicas)
        ]
    if topology.graph:
        found.append(("graph", topology.graph.uri))
    if topology.cache:
        found.append(("cache", (topology.cache.host, topology.cache.port)))
    if topology.objects:
        found.append(("objects", (topology.objects.endpoint, topology.objects.bucket)))
    return found


def _is_marked(shard: Shard, stack: str | None) -> bool:
    server, login = shard.primary, shard.installer or shard.operator
    try:
        with psycopg.connect(
            host=server.host,
            port=server.port,
            dbname=server.database,
            user=login.user,
            password=login.password.read() if login.password else None,
            sslmode=server.tls.mode,
            connect_timeout=5,
            application_name="kos: is this stack ours?",
            **NOT_IN_CLEAR,
            **NOT_FROM_ENVIRONMENT,
        ) as connection:
            row = connection.execute(_SQL.marker).fetchone()
    except psycopg.OperationalError as error:
        return _is_absent(error, shard)
    return bool(row and row[0] == stack)


def _is_absent(error: psycopg.OperationalError, shard: Shard) -> bool:
    """Whether nothing listens there. A server that turns our own login away is not the stack's."""
    if isinstance(error, psycopg.errors.CannotConnectNow):
        raise StoreUnavailable(f"postgres ({shard.name})", shard.primary.address, "it is just starting") from None
    return error.sqlstate is None and "refused" in str(error)
