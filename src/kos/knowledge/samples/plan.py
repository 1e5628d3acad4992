"""What a load brings, and which of it is there before: decided once, so that a rollback knows what to leave."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from uuid import UUID, uuid4

from psycopg.sql import SQL, Identifier

from kos import sql
from kos.errors import DatasetChanged, UnknownDataset
from kos.journal import Run
from kos.knowledge.bucket import bucket_of
from kos.knowledge.samples.cities import CITIES
from kos.knowledge.samples.dataset import FIRST_ID, LAST_ID, Content, Dataset, Row, Rows
from kos.knowledge.samples.packages import PACKAGES
from kos.tenancy import Session, Store, Tenant, enterable

QUERIES = sql.load("kos.knowledge.samples")
DATASETS = (CITIES, PACKAGES)
BATCH = 20_000  # rows per transaction


@dataclass(frozen=True)
class LoadPlan:
    """What a load brings: a verified dataset, read from `site`, for a tenant that is there."""

    dataset: Dataset
    tenant: Tenant
    content: Content
    site: Path | None = None


@dataclass(frozen=True)
class StoredPlan:
    """A load as the journal keeps it.

    `there` has a bit for each row of the dataset, by table and in the dataset's order: whether the tenant had it
    before. A table that it does not name had none. `new_objects` are those that object storage did not have.
    """

    dataset: str
    edition: str
    site: str | None
    tenant: str
    tenant_id: UUID
    rows: int
    objects: int
    new_objects: tuple[str, ...]
    there: dict[str, str]
    hold: UUID

    @property
    def subject(self) -> str:
        return f"tenant:{self.tenant}"


def list_datasets() -> list[Dataset]:
    """The datasets that can be loaded."""
    return list(DATASETS)


def dataset_named(name: str) -> Dataset:
    """The dataset of that name; `UnknownDataset` if there is none."""
    for each in DATASETS:
        if each.name == name:
            return each
    raise UnknownDataset(name, ", ".join(each.name for each in DATASETS))


def plan_load(store: Store, dataset: str, tenant: str, *, site: Path | None = None) -> LoadPlan:
    """Read and verify a dataset, from the packages in `site` (None: those of this Python), and find its tenant.

    Raises:
        UnknownDataset, UnknownTenant, TenantUnfinished
        DatasetMissing: its package is not installed.
        DatasetDamaged: a file of it is gone, cut short or changed.
        StoreNotConfigured: it has objects, and the topology has no object storage.
    """
    chosen = dataset_named(dataset)
    found = enterable(store, tenant)
    if chosen.has_objects:
        bucket_of(store, f"the dataset {dataset}")
    return LoadPlan(chosen, found, chosen.read(site), site)


def stored(store: Store, plan: LoadPlan) -> StoredPlan:
    """The same, as the journal keeps it, with what is there already. Reads only."""
    digests = [sha256(content).hexdigest() for content in plan.content.objects]
    known: set[str] = set()
    if digests:
        bucket = bucket_of(store, f"the dataset {plan.dataset.name}")
        known = {each.sha256 for page in bucket.pages(plan.tenant.id) for each in page}
    with store.session(plan.tenant, read_only=True, isolation="repeatable read") as session:
        there = {rows.table: bits for rows in plan.content.tables if (bits := _there(session, rows)) is not None}
    return StoredPlan(
        dataset=plan.dataset.name,
        edition=plan.content.edition,
        site=None if plan.site is None else str(plan.site.absolute()),
        tenant=plan.tenant.name,
        tenant_id=plan.tenant.id,
        rows=plan.content.rows,
        objects=len(digests),
        new_objects=tuple(digest for digest in digests if digest not in known),
        there=there,
        hold=uuid4(),
    )


def brought(plan: StoredPlan, rows: Rows) -> Iterator[Row]:
    """The keys of those rows of a table that were not there before the load."""
    if rows.table not in plan.there:
        return rows.keys()
    bits = zlib.decompress(base64.b64decode(plan.there[rows.table]))
    return (key for number, key in enumerate(rows.keys()) if not bits[number // 8] >> number % 8 & 1)


def content_of(run: Run[StoredPlan]) -> Content:
    """The dataset; read again where this process has not read it."""
    content: Content | None = run.kept.get("content")
    if content is None:
        site = None if run.plan.site is None else Path(run.plan.site)
        content = run.kept["content"] = dataset_named(run.plan.dataset).read(site)
    if content.edition != run.plan.edition:
        raise DatasetChanged(run.plan.dataset, str(run.operation))
    return content


def batches(rows: Iterable[Row], size: int) -> Iterator[list[Row]]:
    """The rows, so many at a time."""
    iterator = iter(rows)
    while some := list(islice(iterator, size)):
        yield some


def _there(session: Session, rows: Rows) -> str | None:
    """The bits of a table; None where the tenant has no row of any sample in it, as is usual."""
    names = {
        "table": Identifier(rows.table),
        "key": Identifier(rows.key[0]),
        "keys": SQL(", ").join(SQL("{}::text").format(Identifier(name)) for name in rows.key),
    }
    limits = {"first": FIRST_ID, "last": LAST_ID}
    if session.execute(QUERIES.has_samples.format(table=names["table"], key=names["key"]), limits).fetchone() == (
        False,
    ):
        return None
    found = set(session.execute(QUERIES.sample_keys.format(**names), limits).fetchall())
    bits = bytearray((rows.count + 7) // 8)
    for number, key in enumerate(rows.keys()):
        if tuple(key) in found:
            bits[number // 8] |= 1 << number % 8
    return base64.b64encode(zlib.compress(bytes(bits))).decode()
