"""Bring the databases of a topology to this library's version: roles, schema `kos`, and every schema of tenants."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg
from psycopg.rows import TupleRow
from psycopg.sql import Identifier

from kos import errors
from kos.progress import Advance, silent
from kos.tenancy import schema_files
from kos.tenancy.changes import catch_up, finished_changes, missing_changes
from kos.tenancy.placement import Place, control_place, server_at
from kos.tenancy.schema_files import QUERIES
from kos.tenancy.tenant import QUERIES as TENANT_QUERIES
from kos.topology import postgres
from kos.topology.model import Login, PostgresServer, Shard, Topology
from kos.translate import translated

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class Change:
    """One thing that an upgrade does, or would do."""

    shard: str
    database: str
    schema: str
    what: str


@dataclass(frozen=True)
class Failure:
    """A database that could not be brought to this version, and why."""

    shard: str
    database: str
    error: errors.KosError


def install(
    topology: Topology,
    *,
    dry_run: bool = False,
    progress: Advance = silent,
    failures: list[Failure] | None = None,
) -> list[Change]:
    """Install or upgrade every database of the topology. Repeatable; what is done already is left alone.

    Where `failures` is given, a database that fails is noted there and the others go on; the one with the control
    tables raises in any case.

    Raises:
        InstallRefused: the role may not do what is needed.
        DirectoryElsewhere: the first shard of the configuration is not the one that has the directory.
        LockNotGranted, SchemaFileChanged, StoreUnavailable
    """
    changes: list[Change] = []
    for shard in topology.shards:
        for number, place in enumerate(places_of(topology, shard), start=1):
            try:
                _install_place(topology, shard, place, changes, dry_run=dry_run)
            except Exception as raised:
                error = translated(raised)
                if error is None or failures is None or place == control_place(topology):
                    raise
                failures.append(Failure(place.shard, place.database, error))
            progress(f"upgrade {shard.name}", number, None)
    if not dry_run:
        _register(topology)
    return changes


def _install_place(topology: Topology, shard: Shard, place: Place, changes: list[Change], *, dry_run: bool) -> None:
    server, login = server_at(topology, place), shard.installer or shard.operator
    with _explained(server, login), postgres.connect(server, login) as connection:
        with connection.transaction():
            connection.execute(QUERIES.lock_upgrade)  # two at once would fail on the same catalog rows
            changes += _roles(connection, shard, dry_run=dry_run)
        changes += _files(connection, shard, dry_run=dry_run)
        changes += _finished(topology, connection, place, dry_run=dry_run)


def install_database(connection: Connection) -> None:
    """Bring one database to this version; the connected role must be the operator (or act for kos_owner)."""
    for name in schema_files.schemas_here(connection):
        for step in list(schema_files.pending(connection, name)):
            schema_files.apply(connection, step)


def _files(connection: Connection, shard: Shard, *, dry_run: bool) -> list[Change]:
    changes = []
    for name in schema_files.schemas_here(connection):
        for step in list(schema_files.pending(connection, name)):
            changes.append(Change(shard.name, connection.info.dbname, name, f"apply {step.file.name}"))
            if not dry_run:
                schema_files.apply(connection, step)
    return changes


def _finished(topology: Topology, connection: Connection, place: Place, *, dry_run: bool) -> list[Change]:
    """Changes of schema that were finished before this database was made."""
    if place == control_place(topology) or connection.execute(QUERIES.is_installed).fetchone() != (True,):
        return []
    control = topology.control
    with postgres.connect(control.primary, control.installer or control.operator) as directory:
        finished = finished_changes(directory)
    changes = []
    for schema in schema_files.schemas_here(connection)[1:] if finished else ():
        count = len(missing_changes(connection, schema, finished))
        changes += [Change(place.shard, place.database, schema, "make a change of schema")] * count
        if not dry_run:
            catch_up(connection, schema, finished)
    return changes


def _roles(connection: Connection, shard: Shard, *, dry_run: bool) -> list[Change]:
    """Roles are the server's, grants the database's; each is made only where it is missing."""
    database = connection.info.dbname
    changes = []
    missing = [name for (name,) in connection.execute(QUERIES.missing_roles).fetchall()]
    for role in missing:
        changes.append(Change(shard.name, database, "", f"create role {role}"))
        if not dry_run:
            connection.execute(QUERIES.create_role.format(role=Identifier(role)))
    if dry_run and missing:
        return changes
    installer = connection.execute(QUERIES.who_am_i).fetchone()
    assert installer is not None
    for role, member in (
        ("kos_owner", installer[0]),
        ("kos_owner", "kos_operator"),
        ("kos_persona", "kos_app"),
        ("kos_mover", "kos_operator"),
    ):
        if connection.execute(QUERIES.is_granted, {"member": member, "role": role}).fetchone() != (True,):
            changes.append(Change(shard.name, database, "", f"grant {role} to {member}"))
            if not dry_run:
                connection.execute(QUERIES.grant_role.format(role=Identifier(role), member=Identifier(member)))
    changes += _signal_grant(connection, shard, dry_run=dry_run)
    changes += _autovacuum_grant(connection, shard, dry_run=dry_run)
    if connection.execute(QUERIES.has_database_grants).fetchone() != (True,):
        changes.append(Change(shard.name, database, "", "grant the roles of kos their rights on the database"))
        if not dry_run:
            connection.execute(QUERIES.grant_database.format(database=Identifier(database)))
            connection.execute(QUERIES.grant_connect.format(database=Identifier(database)))
    return changes


def _signal_grant(connection: Connection, shard: Shard, *, dry_run: bool) -> list[Change]:
    """Ending a session that blocks a cutover is optional: `kos doctor` says so where it can't be granted."""
    wanted = {"member": "kos_operator", "role": "pg_signal_backend"}
    if connection.execute(QUERIES.is_granted, wanted).fetchone() == (True,):
        return []
    if connection.execute(QUERIES.may_end_sessions).fetchone() != (True,):
        return []
    if not dry_run:
        grant = QUERIES.grant_role.format(role=Identifier("pg_signal_backend"), member=Identifier("kos_operator"))
        connection.execute(grant)
    return [Change(shard.name, connection.info.dbname, "", "grant pg_signal_backend to kos_operator")]


def _autovacuum_grant(connection: Connection, shard: Shard, *, dry_run: bool) -> list[Change]:
    """Having an autovacuum make way for a change of schema is as optional."""
    if connection.execute(QUERIES.may_pass_autovacuum).fetchone() != (True,):
        return []
    if not dry_run:
        connection.execute(QUERIES.pass_autovacuum)
    grant = "grant set on parameter deadlock_timeout to kos_operator"
    return [Change(shard.name, connection.info.dbname, "", grant)]


def places_of(topology: Topology, shard: Shard) -> list[Place]:
    """The databases of a shard: its own first, then those of its database-tier tenants."""
    control = topology.control
    login = control.installer or control.operator
    with _explained(control.primary, login), postgres.connect(control.primary, login) as connection:
        if connection.execute(QUERIES.is_installed).fetchone() != (True,):
            return [Place(shard.name, shard.primary.database)]
        found = connection.execute(TENANT_QUERIES.databases_of_shard, {"shard": shard.name}).fetchall()
    others = [name for (name,) in found if name != shard.primary.database]
    return [Place(shard.name, name) for name in (shard.primary.database, *others)]


def _register(topology: Topology) -> None:
    control = topology.control
    login = control.installer or control.operator
    with postgres.connect(control.primary, login) as connection, connection.transaction():
        connection.execute(QUERIES.lock_upgrade)
        connection.execute(QUERIES.become_owner)
        if connection.execute(TENANT_QUERIES.has_directory_elsewhere).fetchone() == (True,):
            raise errors.DirectoryElsewhere(control.primary.address)
        for shard in topology.shards:
            facts = {
                "name": shard.name,
                "region": shard.primary.region,
                "host": shard.primary.host,
                "port": shard.primary.port,
                "database": shard.primary.database,
            }
            connection.execute(TENANT_QUERIES.register_shard, facts)


@contextmanager
def _explained(server: PostgresServer, login: Login) -> Iterator[None]:
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as error:
        reason = error.diag.message_primary or str(error)
        raise errors.InstallRefused(server.address, login.user, reason) from error
