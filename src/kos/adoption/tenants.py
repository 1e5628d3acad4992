"""The tenants of a product: registered by the values of its tenant columns, so that they can be entered."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import psycopg
from psycopg.sql import Identifier

from kos import errors
from kos.adoption.enforce import QUERIES
from kos.adoption.facts import Connection
from kos.tenancy import schema_files


@dataclass(frozen=True)
class Column:
    """A tenant column of a table, and the role that may read all of it."""

    schema: str
    table: str
    column: str
    owner: str


def register(connection: Connection, columns: Iterable[Column], shard: str, control: Connection | None = None) -> int:
    """Register every tenant that has rows in these tables; how many the database then knows. Repeatable.

    `control` is the operator's connection to the directory, where that is another database. New tenants are
    registered by the application, with `kos.register_tenant`.

    Raises:
        TenantNotRegistered: a value can't be a tenant's name, or another tenant has it.
    """
    known = list(columns)
    kinds = sorted({kind for each in known for kind in _kind(connection, each)})
    place = Counter(each.schema for each in known).most_common(1)
    if not kinds or not place:
        return 0
    with connection.transaction():
        connection.execute(schema_files.QUERIES.become_owner)
        connection.execute(QUERIES.note_product, {"shard": shard, "schema": place[0][0], "kinds": kinds})
    for each in known:
        _register(connection, _values(connection, each))
    found = connection.execute(QUERIES.registered).fetchall()
    if control is not None:
        for tenant, name, schema, epoch in found:
            database = connection.info.dbname
            _tell(
                control,
                {"id": tenant, "name": name, "schema": schema, "epoch": epoch, "shard": shard, "database": database},
            )
    return len(found)


def unregister(connection: Connection) -> None:
    """The last table was released: the product's tenants are none of kos any more. Their log stays."""
    with connection.transaction():
        connection.execute(QUERIES.forget_product)
        connection.execute(schema_files.QUERIES.become_owner)
        connection.execute(QUERIES.forget_product_row)


def _kind(connection: Connection, column: Column) -> list[str]:
    given = {"schema": column.schema, "table": column.table, "column": column.column}
    row = connection.execute(QUERIES.find_relation, given).fetchone()
    return [row[4]] if row and row[4] else []


def _values(connection: Connection, column: Column) -> list[str]:
    """As the table's owner, who is bound where the table is enforced: then as ourselves."""
    question = QUERIES.tenants_of.format(
        column=Identifier(column.column), table=Identifier(column.schema, column.table)
    )
    with connection.transaction():
        if (column.schema, column.table) not in connection.execute(QUERIES.enforced_tables).fetchall():
            connection.execute(QUERIES.act_as.format(role=Identifier(column.owner)))
        return [value for (value,) in connection.execute(question) if value is not None]


def _register(connection: Connection, values: list[str]) -> None:
    try:
        connection.execute(QUERIES.register, {"values": values})
    except psycopg.Error as error:
        if error.sqlstate not in {"KS023", "KS024"}:
            raise
        said = (error.diag.message_primary, error.diag.message_detail)
        raise errors.TenantNotRegistered("; ".join(filter(None, said))) from error


def _tell(control: Connection, tenant: dict[str, object]) -> None:
    control.execute(QUERIES.tell_directory, tenant)
    if control.execute(QUERIES.is_told, tenant).fetchone() != (True,):
        raise errors.TenantNotRegistered(f"another tenant has the name {tenant['name']!r}")
