"""Changes of schema that are finished: a schema of tenants' tables that is made later gets them when it is made."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from uuid import UUID

import psycopg
from psycopg.sql import Identifier

from kos import errors, sql
from kos.tenancy.operating import lasting
from kos.tenancy.placement import Place
from kos.tenancy.schema_files import LOCK_TIMEOUT, QUERIES, Connection
from kos.tenancy.store import Store

# As text: the core imports no capability.
_JOIN = ("kos.schema_change.joining", "join")
MAKING_SECONDS = 60  # that is waited for tenants which are being made

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


@contextmanager
def making(store: Store) -> Iterator[Connection]:
    """Around all that gives a new schema the changes that there are, until its tenant can be entered.

    Many make tenants at once. Who ends a change, or takes one back, says so before going through `nobody_making`: what
    was made under what was so before is noted by then, and who comes later knows better.
    """
    with store.operator() as lock, lasting(lock):
        lock.execute(QUERIES.making)
        yield lock


@contextmanager
def nobody_making(store: Store) -> Iterator[None]:
    """While no schema is given the changes that there are; whoever makes one waits.

    Raises:
        StoreBusy: one has been in the making all the while.
    """
    with store.operator() as lock, lasting(lock):
        try:
            lock.execute(QUERIES.set_lock_timeout, {"timeout": f"{MAKING_SECONDS}s"})
            lock.execute(QUERIES.nobody_making)
        except psycopg.errors.LockNotAvailable as error:
            raise errors.StoreBusy("PostgreSQL", "a tenant is being made all the while") from error
        yield


def join_open(store: Store, place: Place, schema: str, finished: Finished, lock: Connection) -> None:
    """A schema that is being made gets what a change has added that is started and not finished; so code that knows it
    and code that doesn't both work there. Can be repeated."""
    with store.operator() as control:
        try:
            is_open = control.execute(QUERIES.has_open_change).fetchone() == (True,)
        except psycopg.errors.UndefinedTable:
            return
    if is_open:
        module, name = _JOIN
        getattr(import_module(module), name)(store, place, schema, {operation for operation, *_ in finished}, lock)
