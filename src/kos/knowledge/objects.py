"""Objects that documents refer to: putting, getting, collecting what nothing refers to, and holds.

Promise: while a document refers to an object, or is about to, nobody collects that object.

A writer takes the object's key shared, makes sure that the object is there, and inserts the row that refers to it, all
in one transaction. The collector takes the key alone, in a transaction of its own, and looks for references after
that. So either it sees the row, or the writer finds the object gone and puts it again. Whoever writes more objects than
a transaction should hold keys makes a hold instead. The collector looks as the operator: a row that some policy hides
from applications refers to its object like any other.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from uuid import UUID

from psycopg.sql import SQL, Composed, Identifier

from kos import sql
from kos.errors import UnknownHold
from kos.knowledge.bucket import Bucket, StoredObject, bucket_of
from kos.progress import Advance, silent
from kos.tenancy import Session, Store, Tenant
from kos.tenancy.entry import Entry
from kos.tenancy.operating import entered, lasting, refuse_hidden
from kos.tenancy.placement import place_of
from kos.tenancy.store import Connection

QUERIES = sql.load("kos.knowledge", "objects.sql")

GRACE = timedelta(days=1)
LONGEST_USE = timedelta(days=7)  # then a hold ends by itself whose command was killed
_UPLOADS = 8  # at the same time
# Seconds that a deletion's transaction may last, whatever limit the server has of its own: longer than object storage
# may take, with all attempts of the client. Were the key given up first, a writer could find the object there that is
# deleted a moment later.
_DELETION = 600.0
DELETIONS = 100  # per look at the holds: whoever makes a hold waits for that many


def put_object(session: Session, content: bytes) -> str:
    """Make sure that object storage has `content`; returns its SHA-256 as the documents' rows have it.

    Insert the row that refers to it in the same transaction: until that ends, the object can't be collected.

    Raises:
        StoreNotConfigured: the topology has no object storage.
        StoreUnavailable
    """
    bucket = bucket_of(session.store, "put_object")
    sha256 = hashlib.sha256(content).hexdigest()
    # The lock comes before the look: an object that is seen under it stays.
    session.execute(QUERIES.share_object, {"tenant": session.tenant.id, "sha256": sha256})
    _put_if_absent(bucket, session.tenant.id, sha256, content)
    return sha256


def get_object(session: Session, sha256: str) -> bytes:
    """The content of an object of the entered tenant.

    Raises:
        ObjectMissing: object storage has no such object.
        ObjectDamaged: what it has is something else.
        StoreNotConfigured, StoreUnavailable
    """
    return b"".join(bucket_of(session.store, "get_object").read(session.tenant, sha256))


@dataclass(frozen=True)
class Upload:
    """An object to put: its digest, its size in bytes, and how to open its content."""

    sha256: str
    bytes: int
    open: Callable[[], AbstractContextManager[BinaryIO]]


def put_objects(store: Store, tenant: Tenant, uploads: Sequence[Upload], progress: Advance = silent) -> int:
    """Put many objects at once; how many were not there before. The caller has a hold on the tenant.

    Raises:
        ContentChanged: what an upload opens is not what its digest says.
        StoreNotConfigured, StoreUnavailable
    """
    bucket = bucket_of(store, "put_objects")

    def put(upload: Upload) -> bool:
        if bucket.size(tenant.id, upload.sha256) == upload.bytes:
            return False
        with upload.open() as content:
            bucket.put(tenant.id, upload.sha256, content)
        return True

    new = 0
    with ThreadPoolExecutor(_UPLOADS) as pool:
        for number, was_new in enumerate(pool.map(put, uploads), start=1):
            new += was_new
            progress("objects", number, len(uploads))
    return new


def remove_objects(store: Store, tenant: Tenant) -> int:
    """Delete all objects of a tenant that is going away; how many. Its documents must be gone or go with it."""
    bucket = bucket_of(store, "removing a tenant")
    removed = 0
    for page in bucket.pages(tenant.id):
        for stored in page:
            bucket.delete(tenant.id, stored.sha256)
        removed += len(page)
    return removed


def _put_if_absent(bucket: Bucket, tenant: UUID, sha256: str, content: bytes) -> None:
    # A size that differs is what a server left that lost power while it wrote.
    if bucket.size(tenant, sha256) != len(content):
        bucket.put(tenant, sha256, content)


@dataclass(frozen=True)
class Collected:
    """What a collection found in one tenant and what it did.

    `found` objects of `bytes` bytes are older than the grace period and nothing refers to them. `busy` ones were left:
    somebody was about to refer to them. Where the tenant is held, nothing was deleted. `error` is why
    one of many could not be looked at.
    """

    tenant: str
    held: bool
    found: int = 0
    bytes: int = 0
    deleted: int = 0
    busy: int = 0
    error: str | None = None


def collect(
    store: Store,
    tenant: Tenant,
    *,
    grace: timedelta = GRACE,
    dry_run: bool = False,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    progress: Advance = silent,
) -> Collected:
    """Delete the tenant's objects that were written more than `grace` ago and that no document refers to.

    Deleted documents (`deleted_at`) still refer.

    Raises:
        TenantRowsHidden: a policy may hide documents; nothing was deleted.
        StoreNotConfigured, StoreUnavailable, PlacementMoved
    """
    bucket = bucket_of(store, "kos objects collect")
    with store.operator() as control:
        row = control.execute(QUERIES.is_held, {"tenant": tenant.id}).fetchone()
    result = Collected(tenant.name, held=bool(row and row[0]))
    before = now() - grace
    looked = 0
    for page in bucket.pages(tenant.id):
        if old := [stored for stored in page if stored.modified < before]:
            with store.operator(place_of(tenant)) as data:
                for start in range(0, len(old), DELETIONS):
                    some = old[start : start + DELETIONS]
                    result = _collect_some(store, data, bucket, tenant, some, result, dry_run=dry_run)
        looked += len(page)
        progress(f"objects of {tenant.name}", looked, None)
    return result


def _collect_some(
    store: Store,
    data: Connection,
    bucket: Bucket,
    tenant: Tenant,
    old: Sequence[StoredObject],
    result: Collected,
    *,
    dry_run: bool,
) -> Collected:
    found = _unreferenced(data, tenant, old)
    result = replace(
        result, found=result.found + len(found), bytes=result.bytes + sum(stored.bytes for stored in found)
    )
    if dry_run or result.held or not found:
        return result
    with no_new_holds(store) as control:
        if control.execute(QUERIES.is_held, {"tenant": tenant.id}).fetchone() != (False,):
            return replace(result, held=True)
        outcomes = [_delete(control, data, bucket, tenant, stored.sha256) for stored in found]
    return replace(
        result, deleted=result.deleted + outcomes.count("deleted"), busy=result.busy + outcomes.count("busy")
    )


@contextmanager
def no_new_holds(store: Store) -> Iterator[Connection]:
    """Whoever makes a hold meanwhile waits for the end of the block. Ask for holds inside of it, and ask its connection
    something before each deletion: a transaction that was lost lets holds be made, and does not answer."""
    with store.operator() as control, lasting(control):
        control.execute(QUERIES.share_holds)
        yield control


def _unreferenced(data: Connection, tenant: Tenant, stored: Sequence[StoredObject]) -> list[StoredObject]:
    with entered(data, tenant, Entry(read_only=True)):
        free = _free(data, tenant, [each.sha256 for each in stored])
    return [each for each in stored if each.sha256 in free]


def _free(data: Connection, tenant: Tenant, digests: list[str]) -> set[str]:
    """Those that no document of the entered tenant refers to."""
    free = {sha256 for (sha256,) in data.execute(_of(tenant, QUERIES.unreferenced), {"sha256s": digests})}
    refuse_hidden(data, tenant, ["documents"])
    return free


def _of(tenant: Tenant, query: SQL) -> Composed:
    """The query on the tenant's own documents."""
    return query.format(documents=Identifier(tenant.schema, "documents"))


def _delete(control: Connection, data: Connection, bucket: Bucket, tenant: Tenant, sha256: str) -> str:
    """Delete one object if nobody refers to it: "deleted", "busy" or "referenced". `control` keeps new holds out."""
    with entered(data, tenant, Entry(timeout=_DELETION)):
        key = {"tenant": tenant.id, "sha256": sha256}
        if data.execute(QUERIES.try_object, key).fetchone() != (True,):
            return "busy"
        # A second statement, so that its snapshot is younger than the lock: it sees every row whose writer had it.
        if not _free(data, tenant, [sha256]):
            return "referenced"
        control.execute(QUERIES.still_there)
        bucket.delete(tenant.id, sha256)
        return "deleted"


@dataclass(frozen=True)
class Hold:
    """While it is in force, no object of `tenant` (None: of any tenant) is collected."""

    id: UUID
    tenant: str | None
    reason: str
    created_by: str
    until: datetime | None
    created_at: datetime


def hold(store: Store, tenant: Tenant | None, *, reason: str, created_by: str, until: datetime | None = None) -> UUID:
    """Keep all objects of a tenant (None: of every tenant) until then, or until it is released; the hold's id.

    Returns when every deletion that did not know of the hold is over.
    """
    facts = {
        "tenant": tenant.id if tenant else None,
        "reason": reason,
        "created_by": created_by,
        "until": until,
    }
    with store.operator() as control, control.transaction():
        control.execute(QUERIES.take_holds)
        row = control.execute(QUERIES.hold, facts).fetchone()
    assert row is not None
    return UUID(str(row[0]))


def release(store: Store, hold_id: UUID) -> None:
    """End a hold; `UnknownHold` if there is none of that id."""
    with store.operator() as control:
        if control.execute(QUERIES.release, {"hold": hold_id}).rowcount == 0:
            raise UnknownHold(str(hold_id))


def list_holds(store: Store) -> list[Hold]:
    """The holds in force, oldest first."""
    with store.operator() as control:
        return [Hold(*row) for row in control.execute(QUERIES.list_holds).fetchall()]


@contextmanager
def held(store: Store, tenant: Tenant, reason: str) -> Iterator[None]:
    """Nothing of the tenant is collected inside the block. A killed command's hold ends by itself after a week."""
    hold_id = hold(store, tenant, reason=reason, created_by="kos", until=datetime.now(UTC) + LONGEST_USE)
    try:
        yield
    finally:
        release(store, hold_id)


def hold_as(control: Connection, hold_id: UUID, tenant: UUID, reason: str) -> None:
    """The hold of an operation, in its transaction in the control database. It ends with the operation, which some day
    is resumed or rolled back; until then what it has put must stay, however long that takes."""
    control.execute(QUERIES.take_holds)
    control.execute(QUERIES.hold_as, {"hold": hold_id, "tenant": tenant, "reason": reason})


def end_hold(control: Connection, hold_id: UUID) -> None:
    """End the hold of an operation, if it is still there."""
    control.execute(QUERIES.release, {"hold": hold_id})


def take_back(store: Store, tenant: Tenant, digests: Sequence[str], hold_id: UUID, progress: Advance = silent) -> None:
    """Delete objects that an operation has put, as far as nothing refers to them. Where somebody else holds the
    tenant's objects they stay: the collector comes for them later.

    Raises:
        TenantRowsHidden: a policy may hide documents; nothing was deleted.
        StoreNotConfigured, StoreUnavailable, PlacementMoved
    """
    bucket = bucket_of(store, "rolling back")
    others = {"tenant": tenant.id, "hold": hold_id}
    with store.operator(place_of(tenant)) as data:
        for start in range(0, len(digests), DELETIONS):
            with no_new_holds(store) as control:
                if control.execute(QUERIES.is_held_by_others, others).fetchone() == (True,):
                    return
                for sha256 in digests[start : start + DELETIONS]:
                    _delete(control, data, bucket, tenant, sha256)
            progress("objects", min(start + DELETIONS, len(digests)), len(digests))


@dataclass(frozen=True)
class DanglingReference:
    """A document whose object is not there, or is not as long as the document says (`found` bytes)."""

    document: UUID
    sha256: str
    bytes: int
    found: int | None


def missing_objects(store: Store, tenant: Tenant) -> list[DanglingReference]:
    """The tenant's documents whose object is missing or has another length.

    Raises:
        TenantRowsHidden: a policy may hide documents.
        StoreNotConfigured, StoreUnavailable
    """
    bucket = bucket_of(store, "kos doctor")
    # Rows first: an object is there before its row is, so none can be missing from the later listing by timing alone.
    with store.operator(place_of(tenant)) as data, entered(data, tenant, Entry(read_only=True)):
        references = data.execute(_of(tenant, QUERIES.references)).fetchall()
        refuse_hidden(data, tenant, ["documents"])
    sizes = {stored.sha256: stored.bytes for page in bucket.pages(tenant.id) for stored in page}
    suspects = [
        DanglingReference(document, sha256, length, sizes.get(sha256))
        for sha256, length, document in references
        if sizes.get(sha256) != length
    ]
    if not suspects:
        return []
    # Documents that were deleted meanwhile, and their objects collected, refer to nothing any more.
    with store.operator(place_of(tenant)) as data, entered(data, tenant, Entry(read_only=True)):
        return [suspect for suspect in suspects if _still_refers(data, tenant, suspect)]


def _still_refers(data: Connection, tenant: Tenant, suspect: DanglingReference) -> bool:
    facts = {"id": suspect.document, "sha256": suspect.sha256}
    return data.execute(_of(tenant, QUERIES.still_refers), facts).fetchone() == (True,)
