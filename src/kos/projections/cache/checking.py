"""Whether what the cache keeps is so, as the log has it: exact, and while everything goes on."""

from __future__ import annotations

from collections.abc import Iterator

from kos import log
from kos.projections.cache import names
from kos.projections.cache.kinds import touched
from kos.projections.cache.projection import CacheProjection
from kos.projections.model import Change, Difference, Kind, Standing, TableName, Whose
from kos.tenancy.store import Connection

_KINDS: dict[str, Kind] = {"I": "created", "U": "changed", "D": "deleted", "T": "truncated", "B": "created"}


def check_entries(
    projection: CacheProjection, connection: Connection, whose: Whose, standing: Standing
) -> Iterator[Difference]:
    """Entries that readers are given though an event that the cache has been told of has made them old.

    `standing` is what is live. An entry that goes while this looks is none; nothing is held up. Reads the log from the
    oldest entry on, as the operator.
    """
    floors = projection.floors(whose, standing)
    kept = []
    for entry, reader, value in projection.entries(whose, standing):
        incarnation, position, _, _ = value.split(b" ", 3)
        kept.append((entry, reader, (int(incarnation), int(position))))
    oldest = min((at[1] for *_, at in kept), default=standing.reached.position)
    events = _last_events(projection, connection, whose, oldest, standing.reached.position)
    kinds = {kind.name: kind for kind in projection.kinds}
    for entry, reader, at in kept:
        kind = kinds[entry.partition(":")[0]]
        tables = kind.tables if names.has_persona(reader) else kind.tables_of_all
        if any(floors.get(table, (0, 0)) > at for table in tables):
            continue  # no reader is given it
        last = max(events.get(each, 0) for each in (entry, *(f"table:{table}" for table in tables)))
        if last > at[1]:
            what = f"{kind.name} of {reader.decode(errors='replace')!r}"
            yield Difference(what, entry, "different", f"nothing before position {last}", f"position {at[1]}")


def _last_events(
    projection: CacheProjection, connection: Connection, whose: Whose, after: int, upto: int
) -> dict[str, int]:
    """The last position at which each entry, and each table as a whole, was made old."""
    found: dict[str, int] = {}
    cursor = log.Cursor(after)
    while events := log.read(connection, whose.tenant, cursor):
        for event in events:
            if event.position > upto:
                return found
            change = Change(
                TableName(event.table, event.schema), _KINDS[event.operation], event.key, event.data, event.position
            )
            old = touched(change, projection.kinds, whose.tenant)
            found.update(dict.fromkeys((*old.entries, *(f"table:{table}" for table in old.tables)), event.position))
        cursor = log.Cursor.after(events[-1])
    return found
