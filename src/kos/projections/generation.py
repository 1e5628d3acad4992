"""Making a new generation beside the one that readers see, and showing it when it is equal to the tables."""

from __future__ import annotations

import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from itertools import islice
from uuid import UUID

import psycopg

from kos import errors
from kos.log import head_of
from kos.progress import Advance, silent
from kos.projections.follow import (
    Parked,
    RowName,
    catch_up,
    follow,
    is_put_back,
    load,
    locked,
    park,
    parked_rows,
    shown,
    tell,
    unpark,
)
from kos.projections.model import Difference, Projection, Reached, Row, Standing, TableName, Whose, key_text
from kos.projections.queries import QUERIES
from kos.projections.snapshot import Snapshot, snapshot
from kos.tenancy import Place, Store
from kos.tenancy.store import Connection

PATIENCE = "60s"  # that somebody else's batch, or verification, is waited for
EXAMPLES = 20
MOST = 1_000_000  # differences that are counted


@dataclass(frozen=True)
class Site:
    """One tenant's part of a projection, and where its log is."""

    store: Store
    place: Place
    projection: Projection
    whose: Whose

    @property
    def tenant(self) -> UUID:
        return self.whose.tenant


@dataclass(frozen=True)
class Comparison:
    """A projection of one tenant and its tables at one position: rows that were compared, those that are parked, and
    where it differs: how often, with the first of them."""

    tenant: UUID
    position: int
    rows: int
    parked: tuple[Parked, ...]
    differing: int
    differences: tuple[Difference, ...]


def rebuild(site: Site, progress: Advance = silent) -> Reached:
    """Make a generation from a snapshot, compare it with that, bring it to the end of the log, and show it. Readers see
    the one before until then, and it is followed meanwhile by who follows it.

    Killed at any moment, it leaves what the next one that ends clears, whichever way it ends.

    Raises:
        ProjectionBusy: it is being rebuilt by somebody else, or somebody kept its lock for a minute.
        ProjectionDiffers: the new one is not what the tables say; it is not shown.
        StoreUnavailable, StoreBusy
    """
    with site.store.operator(site.place) as connection, only(connection, site, "rebuild"):
        live = site.projection.live(site.whose)
        if live is None and head_of(connection, site.tenant) == 0:
            return Reached()  # it is gone, or has nothing yet
        if live is not None:  # what is made anew doesn't tell any more that there was a restore
            is_put_back(connection, site.projection, site.whose, live.reached)
        try:
            return _rebuild(connection, site, progress)
        except Exception:
            with suppress(errors.StoreUnavailable):  # then the next one clears it
                site.projection.clear(site.whose)
            raise


def _rebuild(connection: Connection, site: Site, progress: Advance) -> Reached:
    building = site.projection.begin(site.whose, secrets.token_hex(4))
    parked: dict[RowName, Parked] = {}
    with snapshot(site.store, site.place, site.whose, site.projection) as here:
        rows = _loading(site, building, here, parked, progress)
        found = _compare(site, replace(building, reached=here.reached), here, parked, rows)
    building = replace(building, reached=here.reached)
    if found.differing:
        first = found.differences[0]
        example = f"{first.what} {first.key} {first.fault}"
        raise errors.ProjectionDiffers(site.projection.name, str(site.tenant), found.differing, example)
    building = catch_up(connection, site.projection, site.whose, building, parked)
    reached = _show(connection, site, building, parked, here.made_of)
    # What was left by one that was killed. Afterwards: to remove a large one takes longer than to make it.
    site.projection.clear(site.whose)
    return reached


def _loading(
    site: Site, building: Standing, here: Snapshot, parked: dict[RowName, Parked], progress: Advance
) -> Iterator[Row]:
    """The rows of a snapshot, for who compares them, which are loaded meanwhile: one chunk while the next is read. At
    their end the generation is where the snapshot is."""
    done = 0
    at = replace(building, reached=here.reached)
    with ThreadPoolExecutor(1) as beside:
        loading: Future[list[Parked]] | None = None
        for rows in here.chunks():
            if loading is not None:
                _note(parked, loading.result())
            loading = beside.submit(load, site.projection, site.whose, at, rows, here.reached.position)
            yield from rows
            done += len(rows)
            progress(f"rows of {site.tenant}", done, None)
        if loading is not None:
            _note(parked, loading.result())
    site.projection.apply(site.whose, building, [], here.reached)


def _note(parked: dict[RowName, Parked], rows: Sequence[Parked]) -> None:
    parked |= {(row.table, row.key): row for row in rows}


def _show(connection: Connection, site: Site, building: Standing, parked: dict[RowName, Parked], made: str) -> Reached:
    """Under the lock of those who follow: nothing that readers have seen is missing in what they see next. What is
    refused is parked before: killed in between, it is noted once too often, and never forgotten."""
    facts = {"projection": site.projection.name, "tenant": site.tenant}
    with only(connection, site, "apply"):
        building = catch_up(connection, site.projection, site.whose, building, parked)
        park(connection, site.projection, site.tenant, list(parked.values()))
        site.projection.switch(site.whose, building)
        for row in parked_rows(connection, site.projection, site.tenant).values():
            if (row.table, row.key) not in parked:  # the new one has taken it
                unpark(connection, site.projection, site.tenant, row)
        connection.execute(QUERIES.note_made, facts | {"tables": made})
        tell(connection, site.projection, site.tenant, building.reached)
    return building.reached


def _compare(
    site: Site, standing: Standing, here: Snapshot, parked: Mapping[RowName, Parked], rows: Iterable[Row]
) -> Comparison:
    """`parked` may grow while rows are taken."""
    counted = 0

    def counting() -> Iterator[Row]:
        nonlocal counted
        for row in rows:
            counted += 1
            yield row

    differences = list(islice(site.projection.compare(site.whose, standing, counting(), here.connection), MOST))
    held = defaultdict(list)
    for row in parked.values():
        held[key_text(row.key)].append(row.table)
    own = site.whose.schema
    found = [
        each
        for each in differences
        if each.fault == "left over" or not any(_is_of(each, table, own) for table in held.get(each.key, ()))
    ]
    return Comparison(
        site.tenant, here.reached.position, counted, tuple(parked.values()), len(found), tuple(found[:EXAMPLES])
    )


def _is_of(difference: Difference, table: TableName, own: str | None) -> bool:
    """Whether it is of a row of that table. `own`: the schema of the tenant's tables, where it has one."""
    named = TableName.read(difference.table)
    return named.means(table.schema or "", table.name) and (named.schema is not None or own in (None, table.schema))


def verify(site: Site) -> Comparison:
    """Compare what readers see with the tables, at one position. Nobody who writes or reads waits; what is followed of
    this tenant waits until it is compared.

    Raises:
        ProjectionNotReady: nothing of the tenant is there.
        ProjectionBusy: somebody kept its lock for a minute.
        FeedDiverged: the log was restored to before what the projection has.
        StoreUnavailable, StoreBusy
    """
    with site.store.operator(site.place) as connection, only(connection, site, "apply"):
        standing = shown(connection, site.projection, site.whose)
        if standing is None:
            raise errors.ProjectionNotReady(site.projection.name, str(site.tenant))
        with snapshot(site.store, site.place, site.whose, site.projection) as here:
            upto = here.reached.position
            while after := follow(connection, site.projection, site.whose, standing, upto=upto):
                standing = after
            parked = parked_rows(connection, site.projection, site.tenant)
            return _compare(site, standing, here, parked, here.rows())


@contextmanager
def only(connection: Connection, site: Site, purpose: str) -> Iterator[None]:
    """Hold a lock of the tenant: to rebuild if nobody else does just now; to apply, wait for it. Who follows only
    tries, and so gives way to who waits.

    Raises:
        ProjectionBusy
    """
    name, tenant = site.projection.name, site.tenant
    if purpose == "rebuild":
        with locked(connection, name, tenant, purpose) as has:
            if not has:
                raise errors.ProjectionBusy(name, str(tenant), purpose)
            yield
        return
    facts = {"projection": name, "tenant": tenant, "purpose": purpose}
    try:
        with connection.transaction():
            connection.execute(QUERIES.set_lock_timeout, {"timeout": PATIENCE})
            connection.execute(QUERIES.lock, facts)
    except psycopg.errors.LockNotAvailable as error:
        raise errors.ProjectionBusy(name, str(tenant), purpose) from error
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute(QUERIES.unlock, facts)
