"""From events to changes: what a batch of the log makes of each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg.types.json import Jsonb

from kos.log import Event
from kos.projections.model import Change, Kind, TableName, Values, Wanted
from kos.projections.queries import QUERIES
from kos.tenancy.store import Connection

_FOUND = "B"  # it was there before its table was logged: so it is in the snapshot that a generation was made from
Key = tuple[str, ...]


def key_within(tenant: UUID, key: Sequence[str]) -> Key:
    """A row's key as its tenant knows it: without the tenant's own id, unless that is all of it, as of an account."""
    own = str(tenant)
    return tuple(part for part in key if part != own) or tuple(key)


def wanted_for(wanted: Sequence[Wanted] | None, table: TableName) -> Wanted | None:
    """How a projection wants a table; None if it doesn't."""
    if wanted is None:
        return Wanted(table)
    return next((each for each in wanted if each.table.means(table.schema or "", table.name)), None)


class _Row:
    """A row while a batch is read."""

    def __init__(self, table: TableName, event: Event) -> None:
        self.table = table
        self.key = event.key
        self.kind: Kind = "changed"
        self.values: dict[str, str | None] = {}
        self.position = 0
        self.was_there = event.operation != "I"
        self.found: Values | None = event.data if event.operation == _FOUND else None

    def take(self, event: Event) -> None:
        """One more event of it."""
        self.position = event.position
        if event.operation == "D":
            self.kind, self.values = "deleted", {}
        elif event.operation == "I":
            self.kind, self.values = "created", dict(event.data)
        else:
            self.values |= event.data

    def change(self, tenant: UUID, before: Values | None = None) -> Change:
        """What it comes to."""
        before = self.found if before is None else before
        return Change(self.table, self.kind, key_within(tenant, self.key), self.values, self.position, before)


def changes_of(
    connection: Connection, tenant: UUID, at: int, events: Iterable[Event], wanted: Sequence[Wanted] | None
) -> list[Change]:
    """What the events after a position make of each row that a projection wants, in the order of their last events.

    Truncations come first: what a table held before one is gone, and what was created after it comes with the others.
    """
    rows: dict[tuple[TableName, Key], _Row] = {}
    emptied: dict[TableName, int] = {}
    tables: dict[tuple[str, str], TableName | None] = {}  # None: nobody wants it
    for event in events:
        name = event.schema, event.table
        if name not in tables:
            found_table = TableName(event.table, event.schema)
            tables[name] = found_table if wanted_for(wanted, found_table) is not None else None
        table = tables[name]
        if table is None:
            continue
        if event.operation == "T":
            emptied[table] = event.position
            for place in [place for place in rows if place[0] == table]:
                del rows[place]
            continue
        rows.setdefault((table, event.key), _Row(table, event)).take(event)
    before = _before(connection, tenant, at, [row for row in rows.values() if row.table not in emptied], wanted)
    found = [Change(table, "truncated", (), {}, position) for table, position in emptied.items()]
    found += [row.change(tenant, before.get((row.table, row.key))) for row in rows.values()]
    return sorted(found, key=lambda change: (change.kind != "truncated", change.position))


def _before(
    connection: Connection, tenant: UUID, at: int, rows: Sequence[_Row], wanted: Sequence[Wanted] | None
) -> dict[tuple[TableName, Key], Values]:
    """The rows as they were at a position, of those that must be known so."""
    asked: dict[TableName, list[Key]] = defaultdict(list)
    for row in rows:
        how = wanted_for(wanted, row.table)
        if row.was_there and how is not None and how.asks_before(row.change(tenant)):
            asked[row.table].append(row.key)
    return {
        (table, tuple(key)): data
        for table, keys in asked.items()
        for key, data in connection.execute(
            QUERIES.rows_at,
            {"tenant": tenant, "at": at, "schema": table.schema, "table": table.name, "keys": Jsonb(keys)},
        )
    }
