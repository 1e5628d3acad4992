"""Bring an export in as a new tenant, identical.

An operation of the journal. The tenant is in state 'importing' until all is there and compared, and nobody can enter it
before. Rows go in one transaction: a killed import leaves none of them, and resuming it starts them again.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import psycopg

from kos import journal
from kos.errors import (
    ContentChanged,
    ExportDamaged,
    ExportUnsupported,
    ImportRunning,
    LeaseHeld,
    TenancyError,
    TenantChanged,
    TenantExists,
    UnknownTenant,
)
from kos.journal import Operation, Run, Step
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import bucket_of
from kos.knowledge.exchange.export import TIMEOUT
from kos.knowledge.exchange.lines import Table, describe, pin
from kos.knowledge.exchange.manifest import pieces
from kos.knowledge.exchange.verify import Verified, verify
from kos.knowledge.objects import Upload, end_hold, hold_as, put_objects, remove_objects
from kos.log import Room
from kos.progress import Advance, silent
from kos.tenancy import Store, Tenant, create_tenant, find_tenant, remove_tenant
from kos.tenancy.create import TenantPlan, change_state, plan_tenant
from kos.tenancy.placement import place_of
from kos.tenancy.store import Connection

# What the database says of rows that it can't hold: values, keys, and what is too long or too deep.
_REFUSED = (
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.errors.ProgramLimitExceeded,
    psycopg.errors.StatementTooComplex,
)
# After these the same import would fail again, so it is taken back at once.
_FINAL = (ExportDamaged, ExportUnsupported, TenancyError)


@dataclass(frozen=True)
class ImportPlan:
    """A verified export, and where its tenant will live."""

    export: Verified
    tenant: TenantPlan
    service_plan: str


@dataclass(frozen=True)
class StoredPlan:
    """An import as the journal keeps it. `digest` is of the export's manifest, which has digests of everything."""

    folder: str
    digest: str
    name: str
    tier: str
    shard: str
    service_plan: str
    tenant_id: UUID
    rows: int
    objects: int
    hold: UUID

    @property
    def subject(self) -> str:
        return f"tenant:{self.name}"


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
    tenant = _plan_tenant(store, name, tier, shard)
    export = verify(folder, progress)
    if export.objects:
        bucket_of(store, "kos tenant import")
    return ImportPlan(export, tenant, export.manifest.tenant.service_plan)


def stored(store: Store, plan: ImportPlan) -> StoredPlan:
    """The same, as the journal keeps it. Reads only. A tenant that an import has begun is gone on with."""
    try:
        tenant_id = find_tenant(store, plan.tenant.name).id
    except UnknownTenant:
        tenant_id = uuid4()
    return StoredPlan(
        folder=str(plan.export.folder.absolute()),
        digest=_digest(plan.export),
        name=plan.tenant.name,
        tier=plan.tenant.tier,
        shard=plan.tenant.shard,
        service_plan=plan.service_plan,
        tenant_id=tenant_id,
        rows=plan.export.manifest.rows,
        objects=len(plan.export.objects),
        hold=uuid4(),
    )


def import_tenant(
    store: Store, folder: Path, name: str, tier: str = "row", shard: str | None = None, progress: Advance = silent
) -> Imported:
    """Import an export as the new tenant `name`. Raises what `plan_import` and `run_import` raise."""
    return run_import(store, plan_import(store, folder, name, tier, shard, progress), progress)


def run_import(store: Store, plan: ImportPlan, progress: Advance = silent) -> Imported:
    """Import what was planned. What a killed import of the same has left is gone on with.

    Raises:
        ImportRunning: another command is importing a tenant of that name.
        OperationUnfinished: another import under that name was begun, or another operation.
        TenantExists: an active tenant has the name by now.
        TenantChanged, UnknownTenant: another command has removed it meanwhile.
        ExportDamaged: the database refuses its rows, or holds other rows than it has; the tenant is gone again.
        StoreUnavailable, ObjectDamaged: the tenant stays 'importing', and the same command starts again.
    """
    started = time.monotonic()
    made = stored(store, plan)

    def is_ours(begun: StoredPlan) -> bool:
        return (begun.folder, begun.digest, begun.tier, begun.shard) == (
            made.folder,
            made.digest,
            made.tier,
            made.shard,
        )

    try:
        outcome = journal.run(store, IMPORT_TENANT, made, progress, kept={"export": plan.export}, same=is_ours)
    except LeaseHeld as error:
        raise ImportRunning(plan.tenant.name) from error
    except _FINAL as error:
        if error.left is not None and not error.retryable:
            journal.roll_back(store, error.left[0])
            error.forget_left()
        raise
    tenant = find_tenant(store, plan.tenant.name)
    if tenant.state != "active":
        raise TenantChanged(tenant.name, tenant.state)
    return Imported(tenant, outcome.results["load_rows"], len(plan.export.objects), time.monotonic() - started)


# the steps


def claim_tenant(run: Run[StoredPlan]) -> None:
    """Make the tenant {name} (tier {tier}), which nobody can enter yet."""
    run.check_lease()
    plan = run.plan
    tenant = create_tenant(
        run.store, plan.name, plan.tier, plan.service_plan, plan.shard, state="importing", tenant_id=plan.tenant_id
    )
    if tenant.id != plan.tenant_id:  # somebody else has begun one meanwhile
        raise TenantExists(plan.name, tenant.tier)


def take_away(run: Run[StoredPlan]) -> None:
    """The tenant with all that it has; none that is another's, and none that was finished."""
    tenant = run.tenant(run.plan.tenant_id)
    if tenant is None or tenant.state == "active":
        return

    def is_unfinished(_: Connection, found: Tenant) -> None:
        if found.id != run.plan.tenant_id or found.state == "active":
            raise TenantExists(found.name, found.tier)

    def clear(gone: Tenant) -> None:
        if run.store.topology.objects is not None:
            remove_objects(run.store, gone)

    run.check_lease()
    remove_tenant(run.store, tenant.name, permit=is_unfinished, clear=clear)


def hold_objects(run: Run[StoredPlan]) -> None:
    """Hold the objects of {name}, so that none of the {objects} is collected before a row refers to it."""
    if run.plan.objects:
        with run.control() as control:
            reason = f"importing the tenant {run.plan.name} (operation {run.operation})"
            hold_as(control, run.plan.hold, run.plan.tenant_id, reason)


def put_content(run: Run[StoredPlan]) -> None:
    """Put {objects} objects."""
    export, tenant = _export(run), run.tenant(run.plan.tenant_id)
    if export.objects and tenant is not None:
        run.check_lease()
        uploads = [_upload(export.folder / "objects" / name, size) for name, size in export.objects.items()]
        try:
            put_objects(run.store, tenant, uploads, run.progress)
        except ContentChanged as error:
            raise ExportDamaged(export.folder, f"objects/{error.sha256} has other content now") from error


def load_rows(run: Run[StoredPlan]) -> dict[str, int]:
    """Load {rows} rows in one transaction, and compare them with the export."""
    export = _export(run)
    tenant = run.tenant(run.plan.tenant_id)
    if tenant is not None:
        Room(run.store, place_of(tenant), run.progress).make(run.fences.connection(place_of(tenant)))
    with run.entered(run.plan.tenant_id, timeout=TIMEOUT) as connection:
        pin(connection)
        tables = {name: describe(connection, name) for name in TENANT_TABLES}
        for table in reversed(tables.values()):  # what an import before this one has left
            table.delete_all(connection)
        done = 0
        rows = {}
        for name, table in tables.items():
            if name in export.manifest.tables:
                lines = _counted(export, name, done, run.progress)
                rows[name] = _load_table(connection, table, export, lines)
                done += rows[name]
    return rows


def end_import_hold(run: Run[StoredPlan]) -> None:
    """End the hold: every object is referred to by now."""
    with run.control() as control:
        end_hold(control, run.plan.hold)


def let_in(run: Run[StoredPlan]) -> None:
    """Let sessions enter {name}."""
    tenant = run.tenant(run.plan.tenant_id)
    if tenant is None:
        return
    # A tenant that somebody removes is not brought back, and there is nothing more to do for it: were this an error,
    # the import could neither be finished nor taken back. `run_import` says so.
    with run.control() as control, suppress(TenantChanged, UnknownTenant):
        change_state(control, tenant, "active", known=("importing", "active"))


IMPORT_TENANT = Operation(
    "tenant.import",
    StoredPlan,
    stored,
    steps=(
        Step(claim_tenant, undo=take_away),
        Step(hold_objects, undo=end_import_hold),
        Step(put_content),  # goes with the tenant, as its rows do
        Step(load_rows),
        Step(end_import_hold),
        Step(let_in, final=True),
    ),
)


def _plan_tenant(store: Store, name: str, tier: str, shard: str | None) -> TenantPlan:
    """As `plan_tenant`; a tenant that an unfinished import has made already is that import's."""
    try:
        return plan_tenant(store, name, tier, shard)
    except TenantExists:
        begun = journal.unfinished_on(store, f"tenant:{name}")
        if begun is None or begun.name != IMPORT_TENANT.name:
            raise
        found = find_tenant(store, name)
        return TenantPlan(name, found.tier, found.shard, found.database, found.schema)


def _digest(export: Verified) -> str:
    return sha256(export.manifest.text().encode()).hexdigest()


def _export(run: Run[StoredPlan]) -> Verified:
    """The export; verified anew where this process has not done that."""
    found: Any = run.kept.get("export")
    if found is None:
        found = run.kept["export"] = verify(Path(run.plan.folder), run.progress)
    export: Verified = found
    if _digest(export) != run.plan.digest:
        raise ExportDamaged(export.folder, "it is another one than the import was begun with")
    return export


def _upload(path: Path, size: int) -> Upload:
    return Upload(path.name, size, lambda: path.open("rb"))


def _load_table(connection: Connection, table: Table, export: Verified, lines: Iterator[bytes]) -> int:
    facts = export.manifest.tables[table.name]
    unknown = sorted(set(facts.columns) - set(table.columns))
    if unknown:
        raise ExportUnsupported(export.folder, f"{table.name} has columns that are not known: {', '.join(unknown)}")
    table = table.select_only(facts.columns)
    try:
        inserted = table.write(connection, lines)
    except _REFUSED as error:
        reason = error.diag.message_primary or str(error)
        raise ExportDamaged(export.folder, f"{table.name}.jsonl: {reason}") from error
    digest = sha256()
    for line in table.read(connection):
        digest.update(line)
    if inserted != facts.rows or digest.hexdigest() != facts.sha256:
        raise ExportDamaged(export.folder, f"{table.name}.jsonl: its rows are others in the database")
    return inserted


def _counted(export: Verified, name: str, done: int, progress: Advance) -> Iterator[bytes]:
    for piece in pieces(export.folder, f"{name}.jsonl"):
        yield piece
        done += piece.count(b"\n")
        progress("rows", done, export.manifest.rows)
