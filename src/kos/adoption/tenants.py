"""The tenants of a product: registered by the values of its tenant columns, so that they can be entered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import psycopg
from psycopg.sql import Identifier

from kos import errors, sql
from kos.adoption.facts import Connection
from kos.adoption.tables import QUERIES as TABLES
from kos.adoption.tables import Named
from kos.tenancy import schema_files

QUERIES = sql.load("kos.adoption", "tenants.sql")
FORGOTTEN_AT_ONCE = 500


@dataclass(frozen=True)
class Column(Named):
    """A tenant column of a table."""

    column: str


def note_product(connection: Connection, columns: Sequence[Column], shard: str) -> bool:
    """Say how the product names its tenants: new ones can be registered from then on. False where it names none."""
    kinds = {kind for each in columns if (kind := _kind(connection, each))}
    if not kinds:
        return False
    ((schema, _),) = Counter(each.schema for each in columns).most_common(1)
    connection.execute(schema_files.QUERIES.become_owner)
    connection.execute(QUERIES.note_product, {"shard": shard, "schema": schema, "kinds": sorted(kinds)})
    connection.execute(TABLES.act_as_ourselves)
    return True


def name_tenants(connection: Connection, columns: Sequence[Column]) -> list[Column]:
    """Those that have all values of these columns: not those that refer to another of them."""
    names = [each.name for each in columns]
    found = []
    for each in columns:
        given = {"schema": each.schema, "table": each.table, "column": each.column, "tables": names}
        refers = connection.execute(QUERIES.refers_to_tenants, given).fetchone() == (True,)
        if not refers and _kind(connection, each):
            found.append(each)
    return found


def register(connection: Connection, column: Column, *, strict: bool) -> None:
    """Register every tenant that has rows in a table. Repeatable. In the caller's transaction, which is to
    be tried again where somebody has the table locked.

    Values that can't be registered are left out, or are an error where it is `strict`: nobody could enter them.

    Raises:
        TenantNotRegistered: a value can be no tenant's name, or another tenant has it.
    """
    connection.execute(TABLES.wait_briefly)
    given = {"schema": column.schema, "table": column.table}
    if connection.execute(QUERIES.is_enforced, given).fetchone() != (True,):
        connection.execute(TABLES.act_as.format(role=Identifier(column.owner)))
    question = QUERIES.tenants_of.format(
        column=Identifier(column.column), table=Identifier(column.schema, column.table)
    )
    values = [value for (value,) in connection.execute(question)]
    connection.execute(TABLES.act_as_ourselves)
    try:
        connection.execute(QUERIES.register, {"values": values, "strict": strict})
    except psycopg.Error as error:
        if error.sqlstate not in {"KS023", "KS024"}:
            raise
        said = (error.diag.message_primary, error.diag.message_detail)
        raise errors.TenantNotRegistered("; ".join(filter(None, said))) from error


def registered(connection: Connection) -> list[tuple[UUID, str, str, int]]:
    """The product's tenants of this database: id, name, schema and epoch."""
    return connection.execute(QUERIES.registered).fetchall()


def tell_directory(
    control: Connection, shard: str, database: str, known: Sequence[tuple[UUID, str, str, int]], *, strict: bool
) -> None:
    """The directory knows the tenants, where it is in another database. New tenants are told of by the next adoption.
    A name that the directory has for another tenant is left out, unless it is strict.

    Raises:
        TenantNotRegistered: the directory has a tenant of the name, somewhere else.
    """
    for tenant, name, schema, epoch in known:
        facts = {"id": tenant, "name": name, "schema": schema, "epoch": epoch, "shard": shard, "database": database}
        control.execute(QUERIES.tell_directory, facts)
        if strict and control.execute(QUERIES.is_told, facts).fetchone() != (True,):
            raise errors.TenantNotRegistered(f"another tenant has the name {name!r}")


def forget_product(connection: Connection) -> int | None:
    """Once the last table was released, the product's tenants are none of kos any more, and no new one can be
    registered. Returns how many are to be forgotten; None where another table is taken in still."""
    if connection.execute(QUERIES.is_last).fetchone() != (True,):
        return None
    connection.execute(schema_files.QUERIES.become_owner)
    connection.execute(QUERIES.forget_product)
    connection.execute(TABLES.act_as_ourselves)
    return _left(connection)


def forget_some(connection: Connection) -> int:
    """Forget tenants that nobody is inside of, some hundred at a time: each is a lock until the caller's transaction
    ends. Returns how many are left.

    Raises:
        TenantBusy: somebody is inside of each that is left. Nobody waits for us meanwhile.
    """
    forgotten = connection.execute(QUERIES.forget_tenants, {"most": FORGOTTEN_AT_ONCE}).rowcount
    left = _left(connection)
    if left and not forgotten:
        busy = connection.execute(QUERIES.busy_tenant).fetchone()
        name, holders = busy or ("one of the product's", "somebody who has just left")
        raise errors.TenantBusy(name, 1, 0.0, holders)
    return left


def _left(connection: Connection) -> int:
    row = connection.execute(QUERIES.count_registered).fetchone()
    return int(row[0]) if row else 0


def untell_directory(control: Connection, shard: str, database: str) -> None:
    """The same for a directory in another database."""
    control.execute(QUERIES.untell_directory, {"shard": shard, "database": database})


def _kind(connection: Connection, column: Column) -> str | None:
    given = {"schema": column.schema, "table": column.table, "column": column.column}
    row = connection.execute(QUERIES.kind, given).fetchone()
    return row[0] if row else None
