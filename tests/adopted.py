"""Taking a product's tables in and out, as the commands do it."""

from __future__ import annotations

from typing import Any

from kos.adoption import Adopted, Wanted, adopt_tables, check, plan, plan_release, planned_adoption, release_tables
from kos.log import seal_all
from kos.tenancy import Place, Store


def here(store: Store) -> Place:
    """The database of the product."""
    control = store.topology.control
    return Place(control.name, control.primary.database)


def adopt(store: Store, *patterns: str, **wanted: Any) -> Adopted:
    """`kos adopt … --level log`."""
    asked = Wanted(patterns, level="log", **wanted)
    with store.operator() as operator:
        found = plan(operator, asked, shard=here(store).shard)
    check(found, asked)
    return adopt_tables(store, planned_adoption(store, found, asked))


def release(store: Store, *patterns: str) -> tuple[str, ...]:
    """`kos release …`."""
    return release_tables(store, plan_release(store, here(store), patterns)).released


def wrong_in_log(store: Store, *tables: str) -> list[Any]:
    """Seal; then what the log of these tables has otherwise than they do, and columns that it does not have."""
    with store.operator() as operator:
        seal_all(operator)
        found = [operator.execute(f"select * from kos.compare_log('{each}')").fetchall() for each in tables]
    return [row for rows in found for row in rows]


def events(store: Store, table: str) -> list[tuple[str, dict[str, Any], Any]]:
    """Operation, data and the image before of a table's sealed events, in order."""
    with store.operator() as operator:
        seal_all(operator)
        return operator.execute(
            "select e.operation::text, kos.event_data(s.columns, e.image), kos.event_data(s.columns, e.before)"
            " from kos.knowledge_events e join kos.shapes s using (shape_id) where s.table_name = %s"
            " order by e.tenant_id, e.position",
            (table,),
        ).fetchall()
