"""What must hold of every table of tenants. One numbered file per check; each returns a row per fault.

Used by `kos doctor` and by tests. A row is: what it is about, what is wrong, and how to mend it.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib.resources import files
from typing import Any

import psycopg
from psycopg.rows import tuple_row

from kos import sql
from kos.tenancy.install import places_of
from kos.tenancy.placement import Place, server_at
from kos.tenancy.schema_files import QUERIES
from kos.topology import postgres
from kos.topology.doctor import Finding, unanswered
from kos.topology.model import Shard, Topology
from kos.translate import translated

_FOLDER = files("kos.tenancy").joinpath("checks")
FILES = tuple(sorted(item.name for item in _FOLDER.iterdir() if item.name.endswith(".sql")))


def row_security(connection: psycopg.Connection[Any]) -> Iterator[Finding]:
    """All checks on one database; a finding `ok` for each that finds nothing. Reads only. One that can't run is an
    error, and hides no other."""
    with connection.transaction(), connection.cursor(row_factory=tuple_row) as cursor:
        # Expressions are compared as text: under this path it names every function and operator with its schema.
        cursor.execute(QUERIES.look_from_outside)
        if cursor.execute(QUERIES.is_installed).fetchone() != (True,):
            database = connection.info.dbname
            yield Finding("schema", database, "warning", "this database has no kos schema", "kos upgrade")
            return
        for filename in FILES:
            yield from _findings_or_why_not(cursor, filename)


def _findings_or_why_not(cursor: psycopg.Cursor[tuple[Any, ...]], filename: str) -> list[Finding]:
    connection = cursor.connection
    try:
        with connection.transaction():  # a savepoint: what fails here spoils nothing of what comes after it
            return list(findings(cursor, filename))
    except psycopg.Error as error:
        if connection.broken:
            raise
        return [unanswered(_name(filename), connection.info.dbname, error)]


def findings(cursor: psycopg.Cursor[tuple[Any, ...]], filename: str) -> Iterator[Finding]:
    """The faults that one check finds."""
    name = _name(filename)
    database = cursor.connection.info.dbname
    faults = cursor.execute(sql.literal(_FOLDER.joinpath(filename).read_text(encoding="utf-8"))).fetchall()
    for subject, found, mend in faults:
        yield Finding(name, f"{database}: {subject}", "error", found, mend)
    if not faults:
        yield Finding(name, database, "ok", "nothing found", "")


def _name(filename: str) -> str:
    return filename[5:].removesuffix(".sql")


CHECKS = (row_security,)


def tenant_databases(topology: Topology) -> Iterator[Finding]:
    """The same checks on the databases of database-tier tenants. Nothing where kos is not installed yet."""
    for shard in topology.shards:
        try:
            places = places_of(topology, shard)
        except Exception as raised:  # noqa: BLE001 - said as a finding, or raised again
            yield _broken(shard.name, raised)
            continue
        for place in places:
            if place.database != shard.primary.database:
                yield from _of_database(topology, shard, place)


def _of_database(topology: Topology, shard: Shard, place: Place) -> list[Finding]:
    """One that can't be asked must not hide the others."""
    try:
        with postgres.connect(server_at(topology, place), shard.operator) as connection:
            return list(row_security(connection))
    except Exception as raised:  # noqa: BLE001 - said as a finding, or raised again
        return [_broken(f"{shard.name}: {place.database}", raised)]


def _broken(subject: str, raised: Exception) -> Finding:
    """A finding for what could not be looked at. A mistake of ours goes on as it is."""
    error = translated(raised)
    if error is None:
        raise raised
    return Finding("tenant_databases", subject, "error", str(error), error.next_command)
