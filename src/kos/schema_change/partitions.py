"""The partitions of a table, each of which has an index or a foreign key of its own."""

from __future__ import annotations

from dataclasses import dataclass

from kos import errors
from kos.schema_change.draft import Draft
from kos.schema_change.naming import QUERIES


@dataclass(frozen=True)
class Partition:
    """A partition; one that isn't a leaf is partitioned itself."""

    name: str
    parent: str
    is_leaf: bool
    owner: str


def partitions_of(draft: Draft, table: str) -> list[Partition]:
    """All of them, parents first.

    Raises:
        ChangeRefused: one is in another schema.
    """
    rows = draft.connection.execute(QUERIES.partitions, {"oid": draft.table(table).oid}).fetchall()
    for schema, name, *_ in rows:
        if schema != draft.schema:
            raise errors.ChangeRefused(
                f"{table}: partition {schema}.{name}",
                "it is in another schema than its table",
                f"move it first: alter table {schema}.{name} set schema {draft.schema}",
            )
    return [Partition(name, parent, leaf, owner) for _, name, parent, leaf, owner in rows]
