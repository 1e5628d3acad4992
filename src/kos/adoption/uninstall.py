"""Take kos out of a database: all adopted tables, then the schemas of kos. Repeatable: one that was killed is finished
by running it again, since the journal goes as well."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import psycopg
from psycopg.sql import Identifier

from kos import errors, sql
from kos.adoption import mends
from kos.adoption.facts import Connection
from kos.adoption.release import take_out
from kos.adoption.tables import TakenIn, tables_taken_in, waiting
from kos.adoption.tenants import untell_directory
from kos.progress import Advance, silent
from kos.tenancy.placement import Place, control_place, server_at, shard_named
from kos.topology import postgres
from kos.topology.model import Login, Topology

QUERIES = sql.load("kos.adoption", "uninstall.sql")


@dataclass(frozen=True)
class Uninstalled:
    """What is taken out, or would be: adopted tables, schemas. `kept`: policies of the product's that came while their
    table was enforced, so row security stays on. `roles` remain, and `sql` drops them: roles are the server's."""

    shard: str
    database: str
    released: tuple[str, ...]
    kept: tuple[str, ...]
    dropped: tuple[str, ...]
    roles: tuple[str, ...]
    sql: tuple[str, ...]


def plan_uninstall(topology: Topology, place: Place) -> Uninstalled:
    """What there is to take out. Reads only.

    Raises:
        TenantsRemain: there are tenants.
        LeaseHeld: an operation is at work.
        StoreUnavailable
    """
    with _connect(topology, place, shard_named(topology, place.shard).operator) as operator:
        return _planned(topology, operator, place)


def uninstall(topology: Topology, place: Place, progress: Advance = silent) -> Uninstalled:
    """Take kos out of one database. Repeatable.

    Raises:
        TenantsRemain, LeaseHeld, StoreUnavailable
        TableBusy: somebody had a table locked all the while.
        TriggersRemain: something else stands on what kos made.
        StoreBusy: somebody is using what kos made.
    """
    shard = shard_named(topology, place.shard)
    with _connect(topology, place, shard.operator) as operator:
        plan = _planned(topology, operator, place)
        if plan.dropped:
            tables = tables_taken_in(operator)
            for number, table in enumerate(tables, start=1):
                take_out(partial(_transaction, operator), table)
                progress("tables taken out", number, len(tables))
            _forget_tenants(topology, place)
    with _connect(topology, place, shard.installer or shard.operator) as installer:
        if plan.dropped:
            _drop(installer, plan)
    return plan


def _connect(topology: Topology, place: Place, login: Login) -> Connection:
    return postgres.connect(server_at(topology, place), login)


def _planned(topology: Topology, operator: Connection, place: Place) -> Uninstalled:
    tables: tuple[TakenIn, ...] = ()
    schemas: list[str] = []
    if operator.execute(QUERIES.is_installed).fetchone() == (True,):
        _refuse_tenants(operator, place)
        _refuse_operations(topology, place)
        tables = tables_taken_in(operator)
        schemas = [name for (name,) in operator.execute(QUERIES.own_schemas).fetchall()]
    roles = [name for (name,) in operator.execute(QUERIES.roles).fetchall()]
    drops = [mends.bare(QUERIES.drop_role.format(role=Identifier(role))) for role in roles]
    if operator.execute(QUERIES.has_parameter).fetchone() == (True,):
        drops.insert(0, mends.bare(QUERIES.revoke_parameter))
    return Uninstalled(
        shard=place.shard,
        database=place.database,
        released=tuple(each.name for each in tables),
        kept=tuple(policy for each in tables for policy in each.policies_since),
        dropped=tuple(schemas),
        roles=tuple(roles),
        sql=tuple(drops),
    )


def _refuse_tenants(operator: Connection, place: Place) -> None:
    tenants = [name for (name,) in operator.execute(QUERIES.tenants).fetchall()]
    if tenants:
        more = f" and {len(tenants) - 10} more" if len(tenants) > 10 else ""
        raise errors.TenantsRemain(place.database, ", ".join(tenants[:10]) + more)


def _refuse_operations(topology: Topology, place: Place) -> None:
    """Of another database those on its tables count; of the one with the journal, all."""
    at = control_place(topology)
    with _connect(topology, at, topology.control.operator) as control:
        for subject, operation, name, holder in control.execute(QUERIES.operations_at_work).fetchall():
            if place == at or subject == f"adoption:{place.shard}/{place.database}":
                raise errors.LeaseHeld(subject, operation, name, holder)


@contextmanager
def _transaction(connection: Connection) -> Iterator[Connection]:
    with connection.transaction():
        yield connection


def _forget_tenants(topology: Topology, place: Place) -> None:
    """Of the product, in a directory that stays."""
    at = control_place(topology)
    if place != at:
        with _connect(topology, at, topology.control.operator) as control:
            untell_directory(control, place.shard, place.database)


def _drop(installer: Connection, plan: Uninstalled) -> None:
    """All schemas in one transaction: what is left of kos after a kill is all of it, or nothing."""
    for attempt in waiting(psycopg.errors.LockNotAvailable):
        with attempt, installer.transaction():
            installer.execute(QUERIES.limit)
            installer.execute(QUERIES.become_owner)
            installer.execute(QUERIES.lock_notes)
            remains = [name for (name,) in installer.execute(QUERIES.remains).fetchall()]
            if remains:
                raise errors.TriggersRemain(plan.database, ", ".join(remains[:10]))
            for schema in plan.dropped:
                installer.execute(QUERIES.drop_schema.format(schema=Identifier(schema)))
            installer.execute(QUERIES.default_rights)
            installer.execute(QUERIES.become_ourselves)
            for query in (QUERIES.revoke_database, QUERIES.revoke_connect):
                installer.execute(query.format(database=Identifier(plan.database)))
