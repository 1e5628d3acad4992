"""The tables of one tenant at one position."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

import psycopg
import stamina
from psycopg.sql import SQL, Identifier, Literal

from kos import errors
from kos.log import cut
from kos.log.seal import QUERIES as LOG
from kos.projections.changes import key_within, wanted_for
from kos.projections.model import Projection, Reached, Row, TableName, Whose
from kos.projections.queries import QUERIES
from kos.tenancy import Place, Store
from kos.tenancy.store import Connection

CHUNK = 2000
ATTEMPTS = 10
LOCK_TIMEOUT = "2s"


@dataclass(frozen=True)
class Snapshot:
    """What the tables of a tenant held at a position; until all rows are taken, once."""

    connection: Connection
    tenant: UUID
    reached: Reached
    tables: tuple[tuple[TableName, tuple[str, ...] | None], ...]  # with the columns that are looked at
    made_of: str

    def chunks(self) -> Iterator[list[Row]]:
        """All rows, table after table."""
        for table, columns in self.tables:
            name = SQL("{}").format(Identifier(table.schema or "", table.name)).as_string(self.connection)
            facts = {"table": name, "tenant": self.tenant, "columns": list(columns) if columns else None}
            with self.connection.cursor(name="rows") as cursor:
                cursor.execute(QUERIES.rows_of, facts)
                while rows := cursor.fetchmany(CHUNK):
                    yield [Row(table, key_within(self.tenant, key), data) for key, data in rows]
        self.connection.rollback()  # nobody waits for us while they are compared

    def rows(self) -> Iterator[Row]:
        """The same one by one."""
        for chunk in self.chunks():
            yield from chunk


@contextmanager
def snapshot(store: Store, place: Place, whose: Whose, projection: Projection) -> Iterator[Snapshot]:
    """A tenant's tables as a projection wants them, at one position. No writer waits; who truncates a table or changes
    it waits until all rows are taken.

    Raises:
        StoreBusy: somebody kept one of the tables all the while.
        StoreUnavailable
    """
    with store.operator(place) as reader:
        wanted = tables_of(reader, whose.schema, projection)
        made = made_of(reader, whose.schema, projection)
        for attempt in stamina.retry_context(on=errors.StoreBusy, attempts=ATTEMPTS):
            with attempt:
                reached = _open(store, place, whose.tenant, reader, [table for table, *_ in wanted])
        yield Snapshot(reader, whose.tenant, reached, tuple((table, columns) for table, columns, _ in wanted), made)
        reader.rollback()


def _open(store: Store, place: Place, tenant: UUID, reader: Connection, tables: list[TableName]) -> Reached:
    try:
        with cut(store, place, [tenant], lock_timeout=LOCK_TIMEOUT) as here:
            reader.execute(QUERIES.import_snapshot)
            reader.execute(QUERIES.set_snapshot.format(snapshot=Literal(here.snapshot)))
            reader.execute(QUERIES.set_lock_timeout, {"timeout": LOCK_TIMEOUT})
            if tables:
                names = SQL(", ").join(Identifier(table.schema or "", table.name) for table in tables)
                reader.execute(LOG.lock_tables.format(tables=names))
            position = here.positions[tenant]
            facts = {"tenant": tenant, "position": position}
            row = here.connection.execute(QUERIES.event_at, facts).fetchone()
    except psycopg.errors.LockNotAvailable as error:
        reader.rollback()
        raise errors.StoreBusy("PostgreSQL", "a table is kept locked by somebody else") from error
    except BaseException:
        if not reader.broken:
            reader.rollback()
        raise
    return Reached(row[0], position, row[1]) if row else Reached()


def tables_of(
    connection: Connection, schema: str | None, projection: Projection
) -> tuple[tuple[TableName, tuple[str, ...] | None, str], ...]:
    """The logged tables that a projection wants and that can have rows of a tenant, in its order, with the columns that
    it looks at and what marks the time that they are logged. `schema`: where the tables of a tenant of ours are."""
    found = []
    order = [each.table for each in projection.wanted or ()]
    for in_schema, name, mark, of_tenants in connection.execute(QUERIES.tables).fetchall():
        wanted = wanted_for(projection.wanted, TableName(name, in_schema), schema)
        if wanted is None or wanted.columns == ():  # it looks at none of its rows
            continue
        # A schema of tenants of ours has no rows of others; and those of one tenant none of another's.
        if wanted.table.schema is None and of_tenants and schema != in_schema:
            continue
        found.append((TableName(name, in_schema), wanted.columns, mark, order.index(wanted.table) if order else 0))
    return tuple((table, columns, mark) for table, columns, mark, _ in sorted(found, key=lambda each: each[3]))


def made_of(connection: Connection, schema: str | None, projection: Projection) -> str:
    """The same as a text: another one where other tables are logged."""
    return " ".join(sorted(f"{table}#{mark}" for table, _, mark in tables_of(connection, schema, projection)))
