"""Bring an export in as a new tenant, identical.

The tenant is in state 'importing' until all is there and compared, and nobody can enter it before. Rows go in one
transaction: a killed import leaves none of them, and the same command starts them again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import psycopg

from kos.errors import ExportDamaged, ExportUnsupported, ImportRunning, TenantExists
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import bucket_of
from kos.knowledge.exchange.export import TIMEOUT
from kos.knowledge.exchange.lines import QUERIES, Table, describe, pin
from kos.knowledge.exchange.manifest import pieces
from kos.knowledge.exchange.verify import Verified, verify
from kos.knowledge.objects import Upload, held, put_objects, remove_objects
from kos.progress import Advance, silent
from kos.tenancy import Session, Store, Tenant, create_tenant, finish_tenant, remove_tenant
from kos.tenancy.create import TenantPlan, plan_tenant
from kos.tenancy.store import Connection

LOG = "knowledge_events"  # only sealing writes it
# What the database says of rows that it can't hold: values, keys, and what is too long or too deep.
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)


@dataclass(frozen=True)
class ImportPlan:
    """A verified export, and where its tenant will live."""

    export: Verified
    tenant: TenantPlan
    service_plan: str


@dataclass(frozen=True)
class Imported:
    """What an import brought in: rows per table and objects; and how long it took."""

    tenant: Tenant
    rows: dict[str, int]
    objects: int
    seconds: float


def plan_import(
    store: Store, folder: Path, name: str, tier: str = "row", shard: str | None = None, progress: Advance = silent
) -> ImportPlan:
    """Verify an export, and find a place for its tenant. Writes nothing.

    Raises:
        InvalidTenantName, UnknownTier, UnknownShard
        TenantExists, BegunElsewhere: an active tenant has the name, or an unfinished one on another shard.
        ExportMissing, ExportDamaged
        ExportUnsupported: it has something that this version can't bring in.
        StoreNotConfigured: it has objects, and the topology has no object storage.
    """
    tenant = plan_tenant(store, name, tier, shard)
    export = verify(folder, progress)
    log = export.manifest.tables.get(LOG)
    if log is not None and log.rows:
        raise ExportUnsupported(folder, f"it has a log of {log.rows} events, which only sealing may write")
    if export.objects:
        bucket_of(store, "kos tenant import")
    return ImportPlan(export, tenant, export.manifest.tenant.service_plan)


def import_tenant(
    store: Store, folder: Path, name: str, tier: str = "row", shard: str | None = None, progress: Advance = silent
) -> Imported:
    """Import an export as the new tenant `name`. Raises what `plan_import` and `run_import` raise."""
    return run_import(store, plan_import(store, folder, name, tier, shard, progress), progress)


def run_import(store: Store, plan: ImportPlan, progress: Advance = silent) -> Imported:
    """Import what was planned.

    Raises:
        ImportRunning: another command is importing a tenant of that name.
        TenantExists: an active tenant has the name by now.
        ExportDamaged: the database refuses its rows, or holds other rows than it has; the tenant is gone again.
        StoreUnavailable, ObjectDamaged: the tenant stays 'importing', and the same command starts again.
    """
    started = time.monotonic()
    with _alone(store, plan.tenant.name):
        tenant = create_tenant(
            store, plan.tenant.name, plan.tenant.tier, plan.service_plan, plan.tenant.shard, state="importing"
        )
        try:
            rows = _bring_in(store, tenant, plan.export, progress)
        except (ExportDamaged, ExportUnsupported):
            _take_away(store, tenant)
            raise
        tenant = finish_tenant(store, tenant)
    return Imported(tenant, rows, len(plan.export.objects), time.monotonic() - started)


@contextmanager
def _alone(store: Store, name: str) -> Iterator[None]:
    """A second import of the same name would delete the rows of the first."""
    with store.operator() as control, control.transaction():
        row = control.execute(QUERIES.try_import, {"name": name}).fetchone()
        if row is None or row[0] is not True:
            raise ImportRunning(name)
        yield


def _bring_in(store: Store, tenant: Tenant, export: Verified, progress: Advance) -> dict[str, int]:
    if not export.objects:
        return _load(store, tenant, export, progress)
    uploads = [_upload(export.folder / "objects" / sha256, size) for sha256, size in export.objects.items()]
    with held(store, tenant, "kos tenant import"):
        put_objects(store, tenant, uploads, progress)
        return _load(store, tenant, export, progress)


def _upload(path: Path, size: int) -> Upload:
    return Upload(path.name, size, lambda: path.open("rb"))


def _load(store: Store, tenant: Tenant, export: Verified, progress: Advance) -> dict[str, int]:
    """All rows in one transaction, compared before it commits; what an earlier import has left goes first."""
    with store.session(tenant, timeout=TIMEOUT, agent="kos tenant import") as session:
        pin(session)
        tables = {name: describe(session, name) for name in TENANT_TABLES if name != LOG}
        for table in reversed(tables.values()):
            table.delete_all(session)
        done = 0
        rows = {}
        for name, table in tables.items():
            if name in export.manifest.tables:
                lines = _counted(export, name, done, progress)
                rows[name] = _load_table(session, table, export, lines)
                done += rows[name]
        return rows


def _load_table(session: Session, table: Table, export: Verified, lines: Iterator[bytes]) -> int:
    facts = export.manifest.tables[table.name]
    unknown = sorted(set(facts.columns) - set(table.columns))
    if unknown:
        raise ExportUnsupported(export.folder, f"{table.name} has columns that are not known: {', '.join(unknown)}")
    table = table.select_only(facts.columns)
    try:
        inserted = table.write(session, lines)
    except _REFUSED as error:
        reason = error.diag.message_primary or str(error)
        raise ExportDamaged(export.folder, f"{table.name}.jsonl: {reason}") from error
    digest = sha256()
    for line in table.read(session):
        digest.update(line)
    if inserted != facts.rows or digest.hexdigest() != facts.sha256:
        raise ExportDamaged(export.folder, f"{table.name}.jsonl: its rows are others in the database")
    return inserted


def _counted(export: Verified, name: str, done: int, progress: Advance) -> Iterator[bytes]:
    for piece in pieces(export.folder, f"{name}.jsonl"):
        yield piece
        done += piece.count(b"\n")
        progress("rows", done, export.manifest.rows)


def _take_away(store: Store, tenant: Tenant) -> None:
    """What a refused import has made, and no tenant that another import has meanwhile finished: this one may have lost
    its lock together with the connection that held it."""

    def is_unfinished(_: Connection, found: Tenant) -> None:
        if found.id != tenant.id or found.state != "importing":
            raise TenantExists(found.name, found.tier)

    def clear(gone: Tenant) -> None:
        if store.topology.objects is not None:
            remove_objects(store, gone)

    remove_tenant(store, tenant.name, permit=is_unfinished, clear=clear)
