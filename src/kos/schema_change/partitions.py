"""The partitions of a table, each of which has an index or a foreign key of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeVar

from psycopg.sql import Literal

from kos import errors
from kos.schema_change.composing import action
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.model import Action
from kos.schema_change.naming import QUERIES

Step = TypeVar("Step")

SMALL = 16  # pages: to read them takes no time that anybody notices

# Stands where the partition comes: a name that PostgreSQL would write without quotes.
PARTITION = "kos_name_of_a_partition"


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


def whole(draft: Draft, table: str, index: str, make: Callable[[str], str]) -> Action:
    """See that an index has one of each partition. One that came after the plan was made gets its own here, by `make`
    of its name, if it has few rows."""
    body = ddl(
        _WHOLE,
        index=Literal(ddl("{index}", index=index)),
        table=Literal(ddl("{table}", table=table)),
        make=Literal(make(PARTITION)),
        partition=Literal(PARTITION),
        small=Literal(SMALL),
    )
    return action(draft, table, f"see that {index} is whole", (ddl("do {body}", body=Literal(body)),), lock="")


_WHOLE = """
declare
  late record;
  before oid[];
  made regclass;
  whole regclass;
begin
  for late in
    select t.relid as part, t.parentrelid as parent, c.relname as name,
           not t.isleaf or pg_relation_size(c.oid) > {small} * current_setting('block_size')::bigint as lasts
      from pg_partition_tree({table}::regclass) t
      join pg_class c on c.oid = t.relid and c.relkind in ('r', 'p')
     where t.level > 0 and not exists (
             select from pg_partition_tree({index}::regclass) w join pg_index i on i.indexrelid = w.relid
              where i.indrelid = t.relid)
     order by t.level
  loop
    if late.lasts then
      raise invalid_object_definition
        using message = format('%I is a partition that came after the plan was made, with rows or partitions:'
                               ' take the change back, and start it again', late.name);
    end if;
    before := array(select i.indexrelid from pg_index i where i.indrelid = late.part);
    execute replace({make}, {partition}, late.part::text);
    select i.indexrelid into made from pg_index i where i.indrelid = late.part and i.indexrelid <> all (before);
    select w.relid into whole from pg_partition_tree({index}::regclass) w join pg_index i on i.indexrelid = w.relid
     where i.indrelid = late.parent;
    execute format('alter index %s attach partition %s', whole, made);
  end loop;
end"""
