"""One table at a time: its capture put on and taken away, each in one transaction that waits for no lock for long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any

import psycopg
import stamina
from psycopg.sql import Identifier
from psycopg.types.json import Jsonb

from kos import errors, sql
from kos.adoption import mends
from kos.adoption.facts import QUERIES as FACTS
from kos.adoption.facts import Connection, rows_as

QUERIES = sql.load("kos.adoption", "adopt.sql")
GRANTS = sql.load("kos.adoption", "grants.sql")
LOCK_ATTEMPTS = 40
LOCK_WAIT_MAX = 1.0  # seconds between two attempts

Transaction = Callable[[], AbstractContextManager[Connection]]

# A serialization failure: a row that waited to be locked has been moved to another partition.
_NOT_GRANTED = (
    psycopg.errors.LockNotAvailable,
    psycopg.errors.QueryCanceled,
    psycopg.errors.SerializationFailure,
    errors.TableChanged,
)


@dataclass(frozen=True)
class Named:
    """A table of the product, and the role that it belongs to."""

    schema: str
    table: str
    owner: str

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.schema}.{self.table}"


@dataclass(frozen=True)
class Found(Named):
    """The same, as it was when a plan was made: another table can have its name since, and it another name."""

    oid: int


@dataclass(frozen=True)
class TakenIn(Found):
    """A table of the product that is logged, or enforced, or both; `baseline` is None where it is not logged.
    `unlogged_parts` are partitions that were attached since, and `policies_since` the product's policies that row
    security stays for when the table is taken out."""

    logged: bool
    enforced: bool
    tenant_column: str | None
    baseline: str | None
    sensitive: dict[str, str]
    since: Any
    complete_at: Any
    unlogged_parts: tuple[str, ...]
    faults: tuple[str, ...]
    loses: bool
    policies_since: tuple[str, ...]


def tables_taken_in(connection: Connection) -> tuple[TakenIn, ...]:
    """The tables of the product that are logged or enforced in this database, by name."""
    return tuple(rows_as(connection, TakenIn, QUERIES.adopted))


def find_table(connection: Connection, schema: str, table: str) -> int | None:
    """A table's oid; None if there is no such table."""
    row = connection.execute(QUERIES.find_table, {"schema": schema, "table": table}).fetchone()
    return None if row is None else int(row[0])


def expect(connection: Connection, table: Found, database: str) -> None:
    """That a planned table is there, under its name. Raises: TableGone, TableReplaced"""
    there, named = _planned(connection, table)
    if named not in {None, table.oid}:
        raise errors.TableReplaced(table.name)
    if there is None or named is None:
        raise errors.TableGone(table.name, database)


def is_there(connection: Connection, table: Found) -> bool:
    """Is a planned table there, under whatever name?"""
    return _planned(connection, table)[0] is not None


def _planned(connection: Connection, table: Found) -> tuple[int | None, int | None]:
    given = {"oid": table.oid, "schema": table.schema, "table": table.table}
    row = connection.execute(QUERIES.find_planned, given).fetchone()
    assert row is not None
    return row[0], row[1]


def put_capture(
    connection: Connection, table: int, column: str | None, baseline: str, sensitive: Mapping[str, str | None]
) -> None:
    """Log a table from this transaction on. What is hidden stays so, unless `sensitive` says None of it."""
    given = {
        "table": table,
        "column": column,
        "baseline": baseline,
        "sensitive": Jsonb(sensitive),
    }
    _run(connection, connection.execute(QUERIES.adopt_table, given).fetchall())


def take_capture(connection: Connection, table: int) -> None:
    """Log a table no more. Nothing happens to one that is not logged."""
    _run(connection, connection.execute(QUERIES.release_script, {"table": table}).fetchall())


def _run(connection: Connection, script: list[tuple[str, str]]) -> None:
    """Statements, each as its role: those of one role in one message, since locks are held by then."""
    connection.execute(QUERIES.limit)
    for role, statements in groupby(script, key=itemgetter(0)):
        connection.execute(QUERIES.act_as.format(role=Identifier(role)))
        connection.execute(sql.literal("; ".join(statement for _, statement in statements)))
    connection.execute(QUERIES.act_as_ourselves)
    connection.execute(QUERIES.lift_limit)


def finds_null(connection: Connection, owner: str, table: Identifier, column: str) -> bool:
    """Whether a row is without a tenant, however long that takes to see."""
    connection.execute(QUERIES.act_as.format(role=Identifier(owner)))
    row = connection.execute(FACTS.has_nulls.format(table=table, column=Identifier(column))).fetchone()
    connection.execute(QUERIES.act_as_ourselves)
    return row == (True,)


def patiently(transaction: Transaction, table: Named, work: Callable[[], None]) -> None:
    """Do `work` until it gets its locks, letting go of everything in between so that nobody queues behind it.

    Raises:
        TableBusy: somebody had the table locked all the while.
        GrantMissing: kos may not act as the owner, not any more.
    """
    try:
        for attempt in waiting(_NOT_GRANTED):
            with attempt:
                work()
    except _NOT_GRANTED as error:
        raise errors.TableBusy(table.name, LOCK_ATTEMPTS, _blockers(transaction, table)) from error
    except psycopg.errors.InsufficientPrivilege as error:
        grant = mends.bare(GRANTS.grant_owner.format(owner=Identifier(table.owner)))
        raise errors.GrantMissing(table.name, table.owner, error.diag.message_primary or str(error), grant) from error


def waiting(on: Any) -> Iterator[stamina.Attempt]:
    """Attempts, with pauses in between, at what somebody's work is in the way of."""
    yield from stamina.retry_context(
        on=on, attempts=LOCK_ATTEMPTS, timeout=None, wait_initial=0.05, wait_max=LOCK_WAIT_MAX, wait_jitter=0.2
    )


def _blockers(transaction: Transaction, table: Named) -> str:
    with transaction() as connection:
        oid = find_table(connection, table.schema, table.table)
        connection.execute(QUERIES.act_as.format(role=Identifier(table.owner)))
        found = connection.execute(QUERIES.blockers, {"table": oid}).fetchall()
    return "; ".join(f"pid {pid} ({role}): {query}" for pid, role, query in found) or "nobody now"
