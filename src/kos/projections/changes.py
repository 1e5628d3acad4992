"""From events to changes: what a batch of the log makes of each row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from uuid import UUID

from psycopg.types.json import Jsonb

from kos.log import Event
from kos.projections.model import Change, Kind, TableName, Values, Wanted, Whose
from kos.projections.queries import QUERIES
from kos.tenancy.store import Connection

Key = tuple[str, ...]


def key_within(tenant: UUID, key: Sequence[str]) -> Key:
    """A row's key as its tenant knows it: without the tenant's own id, unless that is all of it, as of an account."""
    own = str(tenant)
    return tuple(part for part in key if part != own) or tuple(key)


def wanted_for(wanted: Sequence[Wanted] | None, table: TableName, own: str | None = None) -> Wanted | None:
    """How a projection wants a table; None if it doesn't. `own`: the schema of the tenant's tables, where it has one: a
    table that is named without a schema is in there."""
    if wanted is None:
        return Wanted(table)
    for each in wanted:
        if each.table.means(table.schema or "", table.name) and (each.table.schema or own in (None, table.schema)):
            return each
    return None


class _Row:
    """A row while a batch is read."""

    def __init__(self, table: TableName, wanted: Wanted, event: Event) -> None:
        self.table, self.wanted, self.key = table, wanted, event.key
        self.kind: Kind = "changed"
        self.values: dict[str, str | None] = {}
        self.position = 0
        # It was there before its table was logged; a snapshot may have had it.
        self.again = event.operation == "B"
        self.first = event.operation
        self.gone = False

    def take(self, event: Event) -> None:
        """One more event of it."""
        self.position = event.position
        self.again = self.again and event.operation == "B"
        if event.operation == "I" and not self.gone:
            self.first = "I"  # what a trigger made of it in between is captured before its insertion
        if event.operation == "D":
            self.kind, self.values, self.gone = "deleted", {}, True
        elif event.operation in ("I", "B"):
            self.kind, self.values = "created", dict(event.data)
        else:
            self.values |= event.data
            self._is_whole()

    def _is_whole(self) -> None:
        """Where triggers ran in between, a new key comes as a change that has all of the row."""
        if self.kind == "deleted" or (self.wanted.columns and all(each in self.values for each in self.wanted.columns)):
            self.kind = "created"

    def change(self, tenant: UUID, before: Values | None = None) -> Change:
        """What it comes to."""
        again = self.again and before is None
        fresh = self.first == "I" and before is None
        key = key_within(tenant, self.key)
        return Change(self.table, self.kind, key, self.values, self.position, before, again, fresh)


def changes_of(
    connection: Connection,
    whose: Whose,
    at: int,
    events: Iterable[Event],
    wanted: Sequence[Wanted] | None,
) -> list[Change]:
    """What the events after a position make of each row that a projection wants, in the order of their last events.

    Truncations come first: what a table held before one is gone, and what was created after it comes with the others.
    """
    rows: dict[tuple[TableName, Key], _Row] = {}
    emptied: dict[TableName, int] = {}
    tables: dict[tuple[str, str], Wanted | None] = {}
    for event in events:
        name = event.schema, event.table
        table = TableName(event.table, event.schema)
        if name not in tables:
            tables[name] = wanted_for(wanted, table, whose.schema)
        how = tables[name]
        if how is None:
            continue
        if event.operation == "T":
            emptied[table] = event.position
            for place in [place for place in rows if place[0] == table]:
                del rows[place]
            continue
        place = table, event.key
        if place not in rows:
            rows[place] = _Row(table, how, event)
        rows[place].take(event)
    before = _before(connection, whose.tenant, at, [row for row in rows.values() if row.table not in emptied])
    found = [Change(table, "truncated", (), {}, position) for table, position in emptied.items()]
    found += [row.change(whose.tenant, before.get((row.table, row.key))) for row in rows.values()]
    return sorted(found, key=lambda change: (change.kind != "truncated", change.position))


def _before(connection: Connection, tenant: UUID, at: int, rows: Sequence[_Row]) -> dict[tuple[TableName, Key], Values]:
    """The rows as they were at a position, of those that must be known so. Also of those that seem to be new: one
    statement can remove a key and insert it again, and then its first event is an insertion."""
    asked: dict[TableName, list[Key]] = defaultdict(list)
    for row in rows:
        if row.wanted.before or (row.first not in ("I", "B") and row.wanted.asks_before(row.change(tenant))):
            asked[row.table].append(row.key)
    return {
        (table, tuple(key)): data
        for table, keys in asked.items()
        for key, data in connection.execute(
            QUERIES.rows_at,
            {"tenant": tenant, "at": at, "schema": table.schema, "table": table.name, "keys": Jsonb(keys)},
        )
    }
