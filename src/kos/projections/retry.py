"""Trying again what a store has refused."""

from __future__ import annotations

from psycopg.types.json import Jsonb

from kos import errors
from kos.projections.changes import Key
from kos.projections.follow import Parked, park, parked_rows, unpark
from kos.projections.generation import Site, only
from kos.projections.model import Change, TableName, Values
from kos.projections.queries import QUERIES
from kos.tenancy.store import Connection


def retry(site: Site) -> tuple[int, list[Parked]]:
    """Put the parked rows of a tenant where the projection is; how many that were, and those that are refused still.

    A row is taken as it was when it was parked, and put as the log has it where the projection is now: so what came
    since is not lost, and nothing comes back.

    Raises:
        ProjectionNotReady, ProjectionBusy, StoreUnavailable
    """
    refused, done = [], 0
    with site.store.operator(site.place) as connection, only(connection, site, "apply"):
        standing = site.projection.live(site.whose)
        if standing is None:
            raise errors.ProjectionNotReady(site.projection.name, str(site.tenant))
        at = standing.reached.position
        for row in parked_rows(connection, site.projection, site.tenant).values():
            before = _row_at(connection, site, row, row.position - 1)
            after = _row_at(connection, site, row, at)
            changes = [Change(row.table, "deleted", row.key, {}, at, before)]
            if after is not None:
                changes.append(Change(row.table, "created", row.key, after, at))
            try:
                site.projection.apply(site.whose, standing, changes, standing.reached)
            except errors.ChangeRejected as error:
                refused.append(Parked(row.table, row.key, row.position, error.reason))
            else:
                unpark(connection, site.projection, site.tenant, row)
                done += 1
        park(connection, site.projection, site.tenant, refused)  # with what was said this time
    return done, refused


def _row_at(connection: Connection, site: Site, row: Parked, position: int) -> Values | None:
    facts = {
        "tenant": site.tenant,
        "at": position,
        "schema": row.table.schema,
        "table": row.table.name,
        "keys": Jsonb([_key_of(connection, site, row.table, row.key)]),
    }
    found = connection.execute(QUERIES.rows_at, facts).fetchone()
    return found[1] if found else None


def _key_of(connection: Connection, site: Site, table: TableName, key: Key) -> list[str]:
    """A row's key as the log has it: with the tenant's id, where that is a part of it."""
    facts = {"schema": table.schema, "table": table.name}
    found = connection.execute(QUERIES.key_of, facts).fetchone()
    columns, tenant_column = found or ([], None)
    rest = list(key)
    if tenant_column not in columns or len(columns) == len(rest):
        return rest
    rest.insert(columns.index(tenant_column), str(site.tenant))
    return rest
