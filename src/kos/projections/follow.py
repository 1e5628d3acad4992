"""Following the log: the next transactions of one tenant into one generation, and what a store refuses is parked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from uuid import UUID

from psycopg.types.json import Jsonb

from kos import errors
from kos.log import Cursor, Event, position_of, read, seek
from kos.log.consumer import OF_PROJECTIONS
from kos.projections.changes import Key, changes_of
from kos.projections.model import Change, Projection, Reached, Row, Standing, TableName, Values, Whose
from kos.projections.queries import QUERIES
from kos.tenancy.store import Connection

BATCH = 2000
LONGEST = 100_000  # events of one transaction; a longer one would have to be in memory at once, here and in the store

RowName = tuple[TableName, Key]


@dataclass(frozen=True)
class Parked:
    """A row whose changes the store won't have, with the first one, and what the store said."""

    table: TableName
    key: Key
    position: int
    reason: str


def feed_of(projection: Projection) -> str:
    """What its cursors in PostgreSQL are called."""
    return f"{OF_PROJECTIONS}{projection.name}"


@contextmanager
def locked(connection: Connection, projection: str, tenant: UUID, purpose: str = "apply") -> Iterator[bool]:
    """Nobody else does the same meanwhile; False where somebody does already."""
    facts = {"projection": projection, "tenant": tenant, "purpose": purpose}
    has = connection.execute(QUERIES.try_lock, facts).fetchone() == (True,)
    try:
        yield has
    finally:
        if has and not connection.broken:
            connection.execute(QUERIES.unlock, facts)


def follow(
    connection: Connection, projection: Projection, whose: Whose, standing: Standing, *, upto: int | None = None
) -> Standing | None:
    """Apply the next whole transactions to what readers see, and tell the cursor; None where nothing is left.

    The connection is in autocommit mode, its session holds the tenant's lock. With `upto`, nothing after that position:
    the end of a transaction.

    Raises:
        FeedDiverged: the log is not the one that the generation was made from.
        TransactionTooLong: it has to be made anew.
        ProjectionMoved, StoreUnavailable
    """
    events = _whole(connection, whose.tenant, standing.reached, upto)
    if not events:
        return None
    changes = changes_of(connection, whose, standing.reached.position, events, projection.wanted)
    parked = parked_rows(connection, projection, whose.tenant)
    for table in [each.table for each in changes if each.kind == "truncated"]:
        parked = {row: each for row, each in parked.items() if row[0] != table}
    # First: what is parked from now on is of after a truncation. Killed here, the same batch does it again.
    _unpark_truncated(connection, projection, whose.tenant, changes)
    reached = _after(events)
    keep = [change for change in changes if (change.table, change.key) not in parked]
    again = _again(connection, projection, whose, standing, reached, parked, changes)
    keep += [change for each in again.values() for change in each]
    try:
        after = projection.apply(whose, standing, keep, reached)
    except errors.ChangeRejected:
        refused = _refused(projection, whose, standing, keep)
        park(connection, projection, whose.tenant, refused)
        gone = {(each.table, each.key) for each in refused}
        rest = [change for change in keep if (change.table, change.key) not in gone]
        after = projection.apply(whose, standing, rest, reached)
        again = {row: each for row, each in again.items() if row not in gone}
    for row in again:
        unpark(connection, projection, whose.tenant, parked[row])
    tell(connection, projection, whose.tenant, after.reached)
    return after


def catch_up(
    connection: Connection,
    projection: Projection,
    whose: Whose,
    standing: Standing,
    parked: dict[RowName, Parked],
) -> Standing:
    """The same for a generation that nobody sees, to the end of the log: transactions may be cut, and what is refused
    is added to `parked`.

    Raises:
        FeedDiverged, ProjectionMoved, StoreUnavailable
    """
    while events := _read(connection, whose.tenant, standing.reached, BATCH, None):
        changes = changes_of(connection, whose, standing.reached.position, events, projection.wanted)
        for table in [each.table for each in changes if each.kind == "truncated"]:
            for row in [row for row in parked if row[0] == table]:
                del parked[row]
        keep = [change for change in changes if (change.table, change.key) not in parked]
        again = _again(connection, projection, whose, standing, _after(events), parked, changes)
        keep += [change for each in again.values() for change in each]
        for row in again:
            del parked[row]
        try:
            standing = projection.apply(whose, standing, keep, _after(events))
        except errors.ChangeRejected:
            parked |= {(each.table, each.key): each for each in _refused(projection, whose, standing, keep)}
            rest = [change for change in keep if (change.table, change.key) not in parked]
            standing = projection.apply(whose, standing, rest, _after(events))
    return standing


def shown(connection: Connection, projection: Projection, whose: Whose) -> Standing | None:
    """Where the generation is that readers see, with the cursor put there. The connection's session holds the tenant's
    lock.

    Raises:
        FeedDiverged: its log is not the one that it was made from.
        ProjectionMoved: a writer that has lost its lock was committing still.
        StoreUnavailable
    """
    standing = projection.live(whose)
    if standing is None:
        return None
    if position_of(connection, feed_of(projection), whose.tenant).position < standing.reached.position:
        # Who has moved it there may not have come to the end of its commit: this one waits for the same lock.
        projection.apply(whose, standing, [], standing.reached)
    try:
        tell(connection, projection, whose.tenant, standing.reached)
    except errors.WithinTransaction as error:
        raise errors.FeedDiverged(str(whose.tenant), standing.reached.position) from error
    return standing


def is_put_back(connection: Connection, projection: Projection, whose: Whose, reached: Reached) -> bool:
    """Whether the log was restored to before what a projection has of it. Where the server can't tell that from its
    timeline, as with the copy of a disk, a new incarnation begins: positions and transactions' ids are given again, and
    without it bookmarks of before would stand for what others have written."""
    facts = {"projection": projection.name, "tenant": whose.tenant, "position": reached.position, "leaf": reached.leaf}
    if connection.execute(QUERIES.is_put_back, facts).fetchone() != (True,):
        return False
    live = projection.live(whose)
    if live is None or live.reached != reached:
        return False  # whoever stood still meanwhile, while the tenant went, has no restore to tell of
    with connection.transaction():
        connection.execute(QUERIES.lock_incarnation)
        connection.execute(QUERIES.begin_incarnation, {"incarnation": reached.incarnation})
    return True


def _again(
    connection: Connection,
    projection: Projection,
    whose: Whose,
    standing: Standing,
    reached: Reached,
    parked: Mapping[RowName, Parked],
    changes: Sequence[Change],
) -> dict[RowName, list[Change]]:
    """Parked rows that have changed, as the log has them at `reached`, where the store takes that: so one that is
    deleted goes, and one that is mended comes."""
    found = {}
    for row in {(change.table, change.key): None for change in changes if change.kind != "truncated"}:
        if row in parked:
            tried = as_of(connection, whose.tenant, parked[row], reached.position)
            try:
                projection.apply(whose, standing, tried, standing.reached, rehearse=True)
            except errors.ChangeRejected:
                continue
            found[row] = tried
    return found


def as_of(connection: Connection, tenant: UUID, row: Parked, at: int) -> list[Change]:
    """What makes of a parked row what the log has at a position: the store has it as it was before it was parked."""
    before = _row_at(connection, tenant, row, row.position - 1)
    after = _row_at(connection, tenant, row, at)
    gone = Change(row.table, "deleted", row.key, {}, at, before)
    return [gone] if after is None else [gone, Change(row.table, "created", row.key, after, at)]


def _row_at(connection: Connection, tenant: UUID, row: Parked, position: int) -> Values | None:
    facts = {
        "tenant": tenant,
        "at": position,
        "schema": row.table.schema,
        "table": row.table.name,
        "keys": Jsonb([_key_of(connection, tenant, row.table, row.key)]),
    }
    found = connection.execute(QUERIES.rows_at, facts).fetchone()
    return found[1] if found else None


def _key_of(connection: Connection, tenant: UUID, table: TableName, key: Key) -> list[str]:
    """A row's key as the log has it: with the tenant's id, where that is a part of it."""
    facts = {"schema": table.schema, "table": table.name}
    found = connection.execute(QUERIES.key_of, facts).fetchone()
    columns, tenant_column = found or ([], None)
    rest = list(key)
    if tenant_column not in columns or len(columns) == len(rest):
        return rest
    rest.insert(columns.index(tenant_column), str(tenant))
    return rest


def tell(connection: Connection, projection: Projection, tenant: UUID, reached: Reached) -> None:
    """Put the cursor where the generation is that readers see. Not before the store has said that it is there: readers
    with a bookmark go by the cursor, since a store may show the position before all that belongs to it."""
    leaf = reached.leaf if reached.position else None
    seek(connection, feed_of(projection), tenant, Cursor(reached.position, leaf))


def parked_rows(connection: Connection, projection: Projection, tenant: UUID) -> dict[RowName, Parked]:
    """The rows of a tenant whose changes are not applied."""
    facts = {"projection": projection.name, "tenant": tenant}
    found = [
        Parked(TableName(table, schema), tuple(key), position, reason)
        for schema, table, key, position, reason, *_ in connection.execute(QUERIES.parked, facts)
    ]
    return {(each.table, each.key): each for each in found}


def park(connection: Connection, projection: Projection, tenant: UUID, rows: Sequence[Parked]) -> None:
    """Before anything behind them is applied: a row that is parked twice is none that is lost."""
    with connection.transaction():
        for row in rows:
            connection.execute(QUERIES.park, _facts(projection, tenant, row.table, row.key) | {
                "position": row.position, "reason": row.reason[:1000],
            })  # fmt: skip


def _facts(projection: Projection, tenant: UUID, table: TableName, key: Key) -> dict[str, object]:
    return {
        "projection": projection.name,
        "tenant": tenant,
        "schema": table.schema,
        "table": table.name,
        "key": list(key),
    }


def unpark(connection: Connection, projection: Projection, tenant: UUID, row: Parked) -> None:
    """It is applied."""
    connection.execute(QUERIES.unpark, _facts(projection, tenant, row.table, row.key))


def _unpark_truncated(connection: Connection, projection: Projection, tenant: UUID, changes: Sequence[Change]) -> None:
    for change in changes:
        if change.kind == "truncated":
            facts = _facts(projection, tenant, change.table, ()) | {"position": change.position}
            connection.execute(QUERIES.unpark_table, facts)


def _after(events: Sequence[Event]) -> Reached:
    last = events[-1]
    return Reached(last.incarnation, last.position, last.leaf)


def _read(connection: Connection, tenant: UUID, reached: Reached, limit: int, upto: int | None) -> list[Event]:
    if upto is not None:
        limit = min(limit, upto - reached.position)
    if limit <= 0:
        return []
    return read(connection, tenant, Cursor(reached.position, reached.leaf if reached.position else None), limit)


def _whole(connection: Connection, tenant: UUID, reached: Reached, upto: int | None) -> list[Event]:
    """The next transactions, none of them in part."""
    events = _read(connection, tenant, reached, BATCH, upto)
    ends = [number for number, event in enumerate(events, 1) if event.ends_transaction]
    if not events or ends:
        return events[: ends[-1]] if ends else []
    facts = {"tenant": tenant, "position": reached.position}
    row = connection.execute(QUERIES.length_of_next, facts).fetchone()
    assert row is not None
    if row[0] > LONGEST:
        raise errors.TransactionTooLong(str(tenant), row[0])
    return _read(connection, tenant, reached, row[0], upto)


def _refused(projection: Projection, whose: Whose, standing: Standing, changes: Sequence[Change]) -> list[Parked]:
    """Those of the changes that the store refuses by themselves; nothing of it is left there.

    Raises:
        ChangeRejected: it refuses everything: that is no change's fault.
    """
    projection.apply(whose, standing, [], standing.reached, rehearse=True)
    emptied = [change for change in changes if change.kind == "truncated"]
    try:
        projection.apply(whose, standing, emptied, standing.reached, rehearse=True)
    except errors.ChangeRejected as error:
        raise errors.TransactionTooLong(str(whose.tenant), len(changes)) from error  # a copy made anew has none of it
    return _refused_of(projection, whose, standing, changes)


def _refused_of(projection: Projection, whose: Whose, standing: Standing, changes: Sequence[Change]) -> list[Parked]:
    """By halving."""
    try:
        projection.apply(whose, standing, changes, standing.reached, rehearse=True)
    except errors.ChangeRejected as error:
        if len(changes) == 1:
            [change] = changes
            # The store has the row as of the beginning of the batch: nothing from there on is applied to it.
            return [Parked(change.table, change.key, standing.reached.position + 1, error.reason)]
        half = len(changes) // 2
        return _refused_of(projection, whose, standing, changes[:half]) + _refused_of(
            projection, whose, standing, changes[half:]
        )
    return []


def load(projection: Projection, whose: Whose, standing: Standing, rows: Sequence[Row], at: int) -> list[Parked]:
    """Rows of a snapshot into a generation that nobody sees; those that the store refuses by themselves."""
    try:
        projection.load(whose, standing, rows)
    except errors.ChangeRejected as error:
        if len(rows) == 1:
            return [Parked(rows[0].table, rows[0].key, at, error.reason)]
        half = len(rows) // 2
        return load(projection, whose, standing, rows[:half], at) + load(projection, whose, standing, rows[half:], at)
    return []
