"""The partitions of a table, each of which has an index or a foreign key of its own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TypeVar

from psycopg.sql import Literal

from kos import errors
from kos.schema_change.composing import action
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.model import Action
from kos.schema_change.naming import QUERIES

Step = TypeVar("Step")


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


def of_partitions(steps: list[Step], partitions: list[Partition]) -> list[Step]:
    """Steps, of which those of partitions are left out where these are gone, or detached, by then."""
    parents = {each.name: each.parent for each in partitions}
    return [
        replace(each, part_of=parents[each.table]) if isinstance(each, Action) and each.table in parents else each
        for each in steps
    ]


def whole(draft: Draft, table: str, index: str) -> Action:
    """See that an index has one of each partition: of those too that came after the plan was made."""
    body = ddl(_WHOLE, index=Literal(ddl("{index}", index=index)), table=Literal(table))
    return action(draft, table, f"see that {index} is whole", (ddl("do {body}", body=Literal(body)),), lock="")


_WHOLE = """
begin
  if not (select indisvalid from pg_index where indexrelid = {index}::regclass) then
    raise invalid_object_definition
      using message = format('%I has a partition that came after the plan was made: take the change back, and start it'
                             ' again', {table});
  end if;
end"""
