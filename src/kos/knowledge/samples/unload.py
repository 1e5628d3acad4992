"""Take a load back: the rows and objects that it brought, and nothing that was there before or came from others."""

from __future__ import annotations

from collections.abc import Sequence

from psycopg.sql import SQL, Identifier

from kos.errors import DatasetInUse
from kos.journal import Run
from kos.knowledge.objects import end_hold, take_back
from kos.knowledge.samples.dataset import Row, Rows
from kos.knowledge.samples.plan import BATCH, QUERIES, StoredPlan, batches, brought, content_of
from kos.tenancy.store import Connection


def delete_rows(run: Run[StoredPlan]) -> None:
    """Delete the rows that were not there before; those that refer to others first.

    Raises:
        DatasetInUse: somebody's own rows refer to them. Deleting would take those along.
    """
    if run.tenant(run.plan.tenant_id) is None:
        return
    done = 0
    for rows in reversed(content_of(run).tables):
        for batch in batches(brought(run.plan, rows), run.kept.get("batch", BATCH)):
            with run.entered(run.plan.tenant_id) as connection:
                _delete(run, connection, rows, batch)
            done += len(batch)
            run.advance(done, run.plan.rows, f"rows of {run.plan.dataset} taken back")


def remove_objects(run: Run[StoredPlan]) -> None:
    """Delete the objects that object storage did not have before and that nothing refers to."""
    tenant = run.tenant(run.plan.tenant_id)
    if tenant is not None and run.plan.new_objects:
        run.check_lease()
        take_back(run.store, tenant, run.plan.new_objects, run.plan.hold, run.progress)


def end_load_hold(run: Run[StoredPlan]) -> None:
    """Let the collector have what is left."""
    with run.control() as control:
        end_hold(control, run.plan.hold)


def _delete(run: Run[StoredPlan], connection: Connection, rows: Rows, keys: Sequence[Row]) -> None:
    table = Identifier(rows.table)
    matches = SQL(" and ").join(SQL("t.{0} = i.{0}").format(Identifier(name)) for name in rows.key)
    names = SQL(", ").join(map(Identifier, rows.key))
    connection.execute(QUERIES.make_incoming.format(table=table, columns=names))
    with connection.cursor().copy(QUERIES.copy_incoming) as copy:
        for key in keys:
            copy.write_row(key)
    connection.execute(QUERIES.lock_incoming.format(table=table, matches=matches))
    if rows.key == ("id",):
        for referring, column in connection.execute(QUERIES.referring_columns, {"table": rows.table}).fetchall():
            asked = QUERIES.is_referred_to.format(referring=Identifier(referring), column=Identifier(column))
            if connection.execute(asked).fetchone() == (True,):
                raise DatasetInUse(run.plan.dataset, run.plan.tenant, rows.table, referring)
    connection.execute(QUERIES.delete_incoming.format(table=table, matches=matches))
