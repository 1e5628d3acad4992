"""Seal what waits now, in every database, and be done: for cron, and for tests."""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

import psycopg

from kos import errors
from kos.pace import longest
from kos.progress import Advance, silent
from kos.tenancy.placement import Place, control_place, places, server_at, shard_named
from kos.topology import postgres
from kos.topology.model import Topology
from kos.worker.find import MOST_TENANTS
from kos.worker.seals import QUERIES, Connection, seal, told, told_of_database

LOCK_TIMEOUT = "10s"
ALL_TENANTS = 2**31 - 1


@dataclass(frozen=True)
class Failed:
    """A tenant whose rows wait still, and why."""

    tenant: UUID
    error: str


@dataclass
class Sealed:
    """What was sealed in one database. `error` is why it could not be asked, or not to the end."""

    shard: str
    database: str
    sealed: int = 0
    failed: list[Failed] = field(default_factory=list)
    error: str | None = None


def seal_once(topology: Topology, progress: Advance = silent) -> list[Sealed]:
    """Seal each tenant that has anything waiting, once. What comes later is for the next time: so there is an end.

    Needs no lead, so it works behind a pooler too. A database or tenant that fails is noted, and the others go on.
    """
    with _connect(topology, control_place(topology)) as control:
        wanted = places(topology, control)
    return [_seal_database(topology, place, progress) for place in wanted]


def _seal_database(topology: Topology, place: Place, progress: Advance) -> Sealed:
    result = Sealed(place.shard, place.database)
    try:
        with _connect(topology, place) as connection:
            _seal_all(connection, result, progress)
    except (errors.KosError, psycopg.Error) as raised:
        result.error = told_of_database(raised)
    return result


def _seal_all(connection: Connection, result: Sealed, progress: Advance) -> None:
    seen: set[UUID] = set()
    while True:
        rows = connection.execute(QUERIES.unsealed, {"most": MOST_TENANTS + len(seen)}).fetchall()
        new = [tenant for tenant, _, _ in rows if tenant not in seen]
        if not new:
            return
        for tenant in new:
            seen.add(tenant)
            try:
                result.sealed += seal(connection, tenant, LOCK_TIMEOUT)
            except psycopg.Error as raised:
                if connection.broken:
                    raise
                result.failed.append(Failed(tenant, told(raised)))
            progress(f"seal {result.database}", len(seen), None)


@dataclass
class Waiting:
    """What waits in one database: tenants, their rows, and how long the oldest has waited."""

    shard: str
    database: str
    tenants: int = 0
    rows: int = 0
    oldest_seconds: float | None = 0.0  # None where a server keeps no commit times
    error: str | None = None


def look(topology: Topology) -> list[Waiting]:
    """What a worker would find to do now, by database. Reads only."""
    with _connect(topology, control_place(topology)) as control:
        wanted = places(topology, control)
    return [_look_at(topology, place) for place in wanted]


def _look_at(topology: Topology, place: Place) -> Waiting:
    result = Waiting(place.shard, place.database)
    try:
        with _connect(topology, place) as connection:
            rows = connection.execute(QUERIES.unsealed, {"most": ALL_TENANTS}).fetchall()
    except (errors.KosError, psycopg.Error) as raised:
        result.error = told_of_database(raised)
        return result
    result.tenants, result.rows = len(rows), sum(count for _, count, _ in rows)
    result.oldest_seconds = longest([seconds for _, _, seconds in rows])
    return result


def _connect(topology: Topology, place: Place) -> Connection:
    return postgres.connect(server_at(topology, place), shard_named(topology, place.shard).operator)


def broken(results: list[Sealed]) -> list[tuple[str, errors.KosError]]:
    """What failed, as the command line tells it."""
    found: list[tuple[str, errors.KosError]] = []
    for each in results:
        where = f"{each.shard}/{each.database}"
        if each.error:
            found.append((where, errors.SealFailed(where, each.error)))
        found += [(where, errors.SealFailed(f"tenant {item.tenant}", item.error)) for item in each.failed]
    return found
