"""Load a dataset into a tenant, at the speed of COPY.

An operation of the journal. Rows go in batches, each a transaction of its own that has the load's checkpoint. Their ids
are fixed and those that are there already are left alone, so loading twice changes nothing; a load that was killed goes
on where it was, by resuming it or by loading again.
"""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from kos import journal
from kos.errors import DatasetConflict, UnknownTenant
from kos.journal import Operation, Run, Step
from kos.knowledge.objects import Upload, end_hold, hold_as, put_objects
from kos.knowledge.samples.dataset import Row, Rows
from kos.knowledge.samples.plan import BATCH, QUERIES, LoadPlan, StoredPlan, batches, content_of, plan_load, stored
from kos.knowledge.samples.unload import delete_rows, end_load_hold, remove_objects
from kos.log import Room
from kos.progress import Advance, silent
from kos.tenancy import Store, Tenant
from kos.tenancy.placement import place_of
from kos.tenancy.store import Connection


@dataclass(frozen=True)
class Loaded:
    """What a load did: rows per table and objects, new ones and those that were there before; and how long it took.

    A load that went on where another one was killed counts what it brought itself.
    """

    dataset: str
    tenant: str
    rows: dict[str, int]
    rows_already_there: dict[str, int]
    objects: int
    objects_already_there: int
    seconds: float


def load_sample(
    store: Store, dataset: str, tenant: str, progress: Advance = silent, *, site: Path | None = None
) -> Loaded:
    """Load a dataset into a tenant. Raises what `plan_load` raises; then nothing was written."""
    return run_load(store, plan_load(store, dataset, tenant, site=site), progress)


def run_load(store: Store, plan: LoadPlan, progress: Advance = silent, *, batch: int = BATCH) -> Loaded:
    """Load what was planned, `batch` rows per transaction. What a killed load of the same has left is gone on with.

    Raises:
        DatasetConflict: the tenant has other rows with names that must be unique.
        DatasetChanged: a load of the dataset was begun with another version of it.
        LeaseHeld, OperationUnfinished: another operation is at work on the tenant, or has left it half done.
        StoreUnavailable, PlacementMoved: what was loaded until then stays, and loading again goes on from there.
    """
    started = time.monotonic()
    kept: dict[str, Any] = {"content": plan.content, "batch": batch, "new": {}, "objects": 0}
    made = stored(store, plan)
    site = made.site

    def is_ours(begun: StoredPlan) -> bool:
        return (begun.dataset, begun.tenant_id, begun.site) == (made.dataset, made.tenant_id, site)

    journal.run(store, LOAD_SAMPLE, made, progress, kept=kept, same=is_ours)
    new_rows = {rows.table: kept["new"].get(rows.table, 0) for rows in plan.content.tables}
    return Loaded(
        dataset=plan.dataset.name,
        tenant=plan.tenant.name,
        rows=new_rows,
        rows_already_there={rows.table: rows.count - new_rows[rows.table] for rows in plan.content.tables},
        objects=kept["objects"],
        objects_already_there=len(plan.content.objects) - kept["objects"],
        seconds=time.monotonic() - started,
    )


# the steps


def hold_objects(run: Run[StoredPlan]) -> None:
    """Hold the objects of {tenant}, so that none of the {objects} is collected before a row refers to it."""
    tenant = _tenant(run)
    if run.plan.objects:
        with run.control() as control:
            reason = f"loading the sample {run.plan.dataset} (operation {run.operation})"
            hold_as(control, run.plan.hold, tenant.id, reason)


def put_content(run: Run[StoredPlan]) -> int:
    """Put {objects} objects of {dataset}."""
    content = content_of(run)
    if not content.objects:
        return 0
    run.check_lease()
    uploads = [_upload(each) for each in content.objects]
    new = put_objects(run.store, _tenant(run), uploads, run.progress)
    run.kept["objects"] = new
    return new


def load_rows(run: Run[StoredPlan]) -> dict[str, int]:
    """Load {rows} rows of {dataset} into {tenant}."""
    content, what = content_of(run), f"rows of {run.plan.dataset}"
    place = place_of(_tenant(run))
    cursor = run.cursor_at(place) or {"rows": 0, "new": {}}
    done, new = cursor["rows"], cursor["new"]
    run.advance(done, run.plan.rows, what)
    before = 0  # rows of the tables that came earlier
    room = Room(run.store, place, run.progress)
    here = run.kept.setdefault("new", {})
    for rows in content.tables:
        there = min(max(done - before, 0), rows.count)
        for batch in batches(islice(rows.read(), there, None), run.kept.get("batch", BATCH)):
            room.make(run.fences.connection(place))
            done += len(batch)
            with run.entered(run.plan.tenant_id) as connection:
                inserted = _insert(run, connection, rows, batch)
                new = {**new, rows.table: new.get(rows.table, 0) + inserted}
                run.checkpoint({"rows": done, "new": new}, done=done)
            here[rows.table] = here.get(rows.table, 0) + inserted
            run.advance(done, run.plan.rows, what)
        before += rows.count
    return dict(new)


def end_hold_of_load(run: Run[StoredPlan]) -> None:
    """End the hold: every object is referred to by now."""
    with run.control() as control:
        end_hold(control, run.plan.hold)


LOAD_SAMPLE = Operation(
    "sample.load",
    StoredPlan,
    stored,
    steps=(
        Step(hold_objects, undo=end_load_hold),
        Step(put_content, undo=remove_objects),
        Step(load_rows, undo=delete_rows, total="rows"),
        Step(end_hold_of_load),
    ),
)


def _tenant(run: Run[StoredPlan]) -> Tenant:
    found = run.tenant(run.plan.tenant_id)
    if found is None:
        raise UnknownTenant(run.plan.tenant)
    return found


def _upload(content: bytes) -> Upload:
    return Upload(sha256(content).hexdigest(), len(content), lambda: io.BytesIO(content))


def _insert(run: Run[StoredPlan], connection: Connection, rows: Rows, batch: Sequence[Row]) -> int:
    """Insert one batch; how many of its rows are new."""
    names = {
        "table": Identifier(rows.table),
        "columns": SQL(", ").join(map(Identifier, rows.columns)),
    }
    connection.execute(QUERIES.make_incoming.format(**names))
    with connection.cursor().copy(QUERIES.copy_incoming) as copy:
        for row in batch:
            copy.write_row(row)
    try:
        try:
            with connection.transaction():
                return connection.execute(QUERIES.insert_all.format(**names)).rowcount
        except psycopg.errors.UniqueViolation:
            return connection.execute(QUERIES.insert_new.format(**names)).rowcount
    except psycopg.errors.ForeignKeyViolation as error:
        # A row was left out because another one has its name, and now this batch refers to it.
        detail = error.diag.message_primary or str(error)
        raise DatasetConflict(run.plan.dataset, run.plan.tenant, detail) from error
