"""Changes of schema that are finished: a schema of tenants' tables that is made later gets them when it is made."""

from __future__ import annotations

from uuid import UUID

import psycopg
from psycopg.sql import Identifier

from kos import sql
from kos.tenancy.schema_files import LOCK_TIMEOUT, QUERIES, Connection

Finished = list[tuple[UUID, str, str]]


def finished_changes(control: Connection) -> Finished:
    """Those that every tenant has, in their order: id, name and SQL. None where there is no such table yet."""
    try:
        return [
            (operation, name, text) for operation, name, text in control.execute(QUERIES.finished_changes).fetchall()
        ]
    except psycopg.errors.UndefinedTable:
        return []


def missing_changes(connection: Connection, schema: str, finished: Finished) -> Finished:
    """Those that a schema lacks."""
    if not finished:
        return []
    had = {operation for (operation,) in connection.execute(QUERIES.changes_of, {"schema": schema}).fetchall()}
    return [each for each in finished if each[0] not in had]


def catch_up(connection: Connection, schema: str, finished: Finished) -> None:
    """Make the changes that a schema lacks, each in one transaction with the note that it was made."""
    for operation, name, text in missing_changes(connection, schema, finished):
        with connection.transaction():
            connection.execute(QUERIES.lock_upgrade)
            if not missing_changes(connection, schema, [(operation, name, text)]):
                continue
            connection.execute(QUERIES.become_owner)
            connection.execute(QUERIES.set_lock_timeout, {"timeout": LOCK_TIMEOUT})
            connection.execute(QUERIES.enter_changed_schema.format(schema=Identifier(schema)))
            connection.execute(sql.literal(text))
            connection.execute(QUERIES.note_changed, {"operation": operation, "schema": schema, "name": name})
