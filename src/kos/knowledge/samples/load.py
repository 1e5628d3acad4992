"""Load a dataset into a tenant, at the speed of COPY.

Rows go in batches, each its own transaction. Their ids are fixed and those that are there already are left alone, so a
load that was killed is finished by loading again, and loading twice changes nothing.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path

import psycopg
from psycopg.sql import SQL, Identifier

from kos import sql
from kos.errors import DatasetConflict, UnknownDataset
from kos.knowledge.bucket import bucket_of
from kos.knowledge.objects import Upload, held, put_objects
from kos.knowledge.samples.cities import CITIES
from kos.knowledge.samples.dataset import Content, Dataset, Row, Rows
from kos.knowledge.samples.packages import PACKAGES
from kos.progress import Advance, silent
from kos.tenancy import Session, Store, Tenant

QUERIES = sql.load("kos.knowledge.samples")
DATASETS = (CITIES, PACKAGES)
BATCH = 20_000  # rows per transaction: a killed load loses at most that much work
_TIMEOUT = 600.0  # seconds per batch, on a machine that is very busy


def list_datasets() -> list[Dataset]:
    """The datasets that can be loaded."""
    return list(DATASETS)


@dataclass(frozen=True)
class LoadPlan:
    """What a load brings: a verified dataset for a tenant that is there."""

    dataset: Dataset
    tenant: Tenant
    content: Content


@dataclass(frozen=True)
class Loaded:
    """What a load did: rows per table and objects, new ones and those that were there before; and how long it took."""

    dataset: str
    tenant: str
    rows: dict[str, int]
    rows_already_there: dict[str, int]
    objects: int
    objects_already_there: int
    seconds: float


def plan_load(store: Store, dataset: str, tenant: str, *, site: Path | None = None) -> LoadPlan:
    """Read and verify a dataset, from the packages in `site` (None: those of this Python), and find its tenant.

    Raises:
        UnknownDataset, UnknownTenant, TenantUnfinished
        DatasetMissing: its package is not installed.
        DatasetDamaged: a file of it is gone, cut short or changed.
        StoreNotConfigured: it has objects, and the topology has no object storage.
    """
    chosen = next((each for each in DATASETS if each.name == dataset), None)
    if chosen is None:
        raise UnknownDataset(dataset, ", ".join(each.name for each in DATASETS))
    found = store.find(tenant, again=True)
    if chosen.has_objects:
        bucket_of(store, f"the dataset {dataset}")
    return LoadPlan(chosen, found, chosen.read(site))


def load_sample(
    store: Store, dataset: str, tenant: str, progress: Advance = silent, *, site: Path | None = None
) -> Loaded:
    """Load a dataset into a tenant. Raises what `plan_load` raises; then nothing was written."""
    return run_load(store, plan_load(store, dataset, tenant, site=site), progress)


def run_load(store: Store, plan: LoadPlan, progress: Advance = silent, *, batch: int = BATCH) -> Loaded:
    """Load what was planned, `batch` rows per transaction.

    Raises:
        DatasetConflict: the tenant has other rows with names that must be unique.
        StoreUnavailable, PlacementMoved: what was loaded until then stays, and loading again goes on from there.
    """
    started = time.monotonic()
    uploads = [_upload(content) for content in plan.content.objects]
    with ExitStack() as stack:
        new_objects = 0
        if uploads:
            stack.enter_context(held(store, plan.tenant, f"loading the sample {plan.dataset.name}"))
            new_objects = put_objects(store, plan.tenant, uploads, progress)
        new_rows = _load_tables(store, plan, batch, progress)
    return Loaded(
        dataset=plan.dataset.name,
        tenant=plan.tenant.name,
        rows=new_rows,
        rows_already_there={rows.table: rows.count - new_rows[rows.table] for rows in plan.content.tables},
        objects=new_objects,
        objects_already_there=len(uploads) - new_objects,
        seconds=time.monotonic() - started,
    )


def _upload(content: bytes) -> Upload:
    return Upload(sha256(content).hexdigest(), len(content), lambda: io.BytesIO(content))


def _load_tables(store: Store, plan: LoadPlan, batch: int, progress: Advance) -> dict[str, int]:
    what = f"rows of {plan.dataset.name}"
    done = 0
    new: dict[str, int] = {}
    progress(what, done, plan.content.rows)
    for rows in plan.content.tables:
        new[rows.table] = 0
        for some in _batches(rows.read(), batch):
            new[rows.table] += _load_batch(store, plan, rows, some)
            done += len(some)
            progress(what, done, plan.content.rows)
    return new


def _batches(rows: Iterator[Row], size: int) -> Iterator[list[Row]]:
    while some := list(islice(rows, size)):
        yield some


def _load_batch(store: Store, plan: LoadPlan, rows: Rows, batch: Sequence[Row]) -> int:
    """Insert one batch; how many of its rows are new."""
    try:
        with store.session(plan.tenant, timeout=_TIMEOUT, agent="kos sample load") as session:
            return _insert(session, rows, batch)
    except psycopg.errors.ForeignKeyViolation as error:
        # A row was left out because another one has its name, and now this batch refers to it.
        detail = error.diag.message_primary or str(error)
        raise DatasetConflict(plan.dataset.name, plan.tenant.name, detail) from error


def _insert(session: Session, rows: Rows, batch: Sequence[Row]) -> int:
    names = {
        "table": Identifier(rows.table),
        "columns": SQL(", ").join(map(Identifier, rows.columns)),
    }
    session.execute(QUERIES.make_incoming.format(**names))
    with session.connection.cursor().copy(QUERIES.copy_incoming) as copy:
        for row in batch:
            copy.write_row(row)
    try:
        with session.connection.transaction():
            return session.connection.execute(QUERIES.insert_all.format(**names)).rowcount
    except psycopg.errors.UniqueViolation:
        return session.execute(QUERIES.insert_new.format(**names)).rowcount
