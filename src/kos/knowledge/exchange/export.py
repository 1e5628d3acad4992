"""Write a tenant's whole data out: a file of JSON lines per table, and its objects."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import kos
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import bucket_of
from kos.knowledge.exchange import folder
from kos.knowledge.exchange.lines import QUERIES, describe, pin
from kos.knowledge.exchange.manifest import FILE, Manifest, Objects, Source, TableFile
from kos.knowledge.objects import held
from kos.progress import Advance, silent
from kos.tenancy import Store, Tenant, enterable
from kos.tenancy.entry import Entry
from kos.tenancy.operating import entered, refuse_hidden
from kos.tenancy.placement import place_of
from kos.tenancy.store import Connection

TIMEOUT = 7 * 86400.0  # seconds: a large tenant takes as long as it takes
_DOWNLOADS = 8  # at the same time
_TELL = 1000  # rows between two words of progress


@dataclass(frozen=True)
class ExportPlan:
    """What an export would write: rows per table and objects as they are now. `left_out` are tables that would not be
    written: they are in the tenant's schema, and kos did not make them."""

    tenant: str
    path: Path
    rows: dict[str, int]
    objects: int
    bytes_of_objects: int
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Exported:
    """What an export wrote: rows per table, objects, bytes in all; what it left out; and how long it took."""

    tenant: str
    path: Path
    rows: dict[str, int]
    objects: int
    bytes: int
    left_out: tuple[str, ...]
    seconds: float


def plan_export(store: Store, name: str, target: Path) -> ExportPlan:
    """What exporting a tenant to `target` would write. Reads only; raises what `export_tenant` raises first."""
    tenant = enterable(store, name)
    folder.refuse_existing(target)
    with _one_moment(store, tenant) as data:
        rows = {table: describe(data, table).count(data) for table in TENANT_TABLES}
        objects = data.execute(QUERIES.objects).fetchall()
        left_out = _left_out(data, tenant)
    if objects:
        bucket_of(store, "kos tenant export")
    return ExportPlan(tenant.name, target, rows, len(objects), sum(size for _, size in objects), left_out)


def export_tenant(store: Store, name: str, target: Path, progress: Advance = silent) -> Exported:
    """Write a tenant to `target`, which must not exist: all tables as of one moment, and the objects they refer to.

    Raises:
        UnknownTenant, TenantUnfinished
        TenantRowsHidden: a policy may hide rows, so the export would not be whole.
        ExportTargetExists, ExportTargetRefused, ExportRunning
        ObjectMissing, ObjectDamaged: a document's object is not what it should be.
        DiskFull, StoreNotConfigured, StoreUnavailable: nothing is left at `target`.
    """
    started = time.monotonic()
    tenant = enterable(store, name)
    version = _schema_version(store, tenant)
    with ExitStack() as stack:
        path = stack.enter_context(folder.whole(target))
        if store.topology.objects is not None:
            # Held before the snapshot is taken: what the snapshot refers to stays until it is copied.
            stack.enter_context(held(store, tenant, "kos tenant export"))
        with _one_moment(store, tenant) as data:
            tables = _write_tables(data, path, progress)
            left_out = _left_out(data, tenant)
            wanted = [(sha256, size) for sha256, size in data.execute(QUERIES.objects)]
        objects = _write_objects(store, tenant, path / "objects", wanted, progress)
        manifest = Manifest(
            kos_version=kos.__version__,
            schema_version=version,
            created_at=datetime.now(UTC),
            tenant=Source(name=tenant.name, id=tenant.id, tier=tenant.tier, service_plan=tenant.service_plan),
            tables=tables,
            objects=objects,
        )
        described = folder.write(path / FILE, [manifest.text().encode()])
    return Exported(
        tenant=tenant.name,
        path=target,
        rows={table: facts.rows for table, facts in tables.items()},
        objects=objects.count,
        bytes=described.bytes + objects.bytes + sum(facts.bytes for facts in tables.values()),
        left_out=left_out,
        seconds=time.monotonic() - started,
    )


@contextmanager
def _one_moment(store: Store, tenant: Tenant) -> Iterator[Connection]:
    """A tenant's rows as of one moment: all of them, also those that a policy hides from applications."""
    entry = Entry(agent="kos export", read_only=True, isolation="repeatable read", timeout=TIMEOUT)
    with store.operator(place_of(tenant)) as operator, entered(operator, tenant, entry):
        refuse_hidden(operator, tenant, TENANT_TABLES)
        yield operator
        # Policies count as they are when a table is first read, what the snapshot says of them is older. What was
        # read is locked until the end, so none can come between that and this look.
        with store.operator(place_of(tenant)) as now, entered(now, tenant, Entry(agent="kos export", read_only=True)):
            refuse_hidden(now, tenant, TENANT_TABLES)


def _left_out(data: Connection, tenant: Tenant) -> tuple[str, ...]:
    query = {"schema": tenant.schema, "tables": list(TENANT_TABLES)}
    return tuple(name for (name,) in data.execute(QUERIES.other_tables, query))


def _schema_version(store: Store, tenant: Tenant) -> int:
    with store.operator(place_of(tenant)) as operator:
        row = operator.execute(QUERIES.schema_version, {"schema": tenant.schema}).fetchone()
    assert row is not None
    return int(row[0])


def _write_tables(data: Connection, path: Path, progress: Advance) -> dict[str, TableFile]:
    pin(data)
    tables = [describe(data, name) for name in TENANT_TABLES]
    total = sum(table.count(data) for table in tables)
    done = 0
    written = {}
    for table in tables:
        facts = folder.write(path / f"{table.name}.jsonl", _counted(table.read(data), done, total, progress))
        written[table.name] = TableFile(rows=facts.lines, bytes=facts.bytes, sha256=facts.sha256, columns=table.columns)
        done += facts.lines
    return written


def _counted(lines: Iterator[bytes], done: int, total: int, progress: Advance) -> Iterator[bytes]:
    """The server sends a row at a time; telling somebody of every one would take longer than writing it."""
    for number, line in enumerate(lines, start=done + 1):
        yield line
        if number % _TELL == 0 or number == total:
            progress("rows", number, total)


def _write_objects(
    store: Store, tenant: Tenant, path: Path, wanted: list[tuple[str, int]], progress: Advance
) -> Objects:
    path.mkdir(mode=0o700)
    if not wanted:
        return Objects(count=0, bytes=0)
    bucket = bucket_of(store, "kos tenant export")

    def download(sha256: str) -> int:
        return folder.write(path / sha256, bucket.read(tenant, sha256)).bytes

    size = 0
    with ThreadPoolExecutor(_DOWNLOADS) as pool:
        try:
            for number, length in enumerate(pool.map(download, [sha256 for sha256, _ in wanted]), start=1):
                size += length
                progress("objects", number, len(wanted))
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
    folder.sync_folder(path)
    return Objects(count=len(wanted), bytes=size)
