"""What a partitioned table and each of its partitions have of one thing: an index, a key, a foreign key.

At the end, those over a second column take the names of those over the first. Which partitions there are is only known
then, so it is found out then.
"""

from __future__ import annotations

from typing import Any, LiteralString

from psycopg.sql import Literal

from kos import errors
from kos.schema_change import indexes, unique_keys
from kos.schema_change.composing import action, add_constraint_sql
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.facts import Connection, Table
from kos.schema_change.naming import QUERIES
from kos.schema_change.parse import names, render
from kos.schema_change.partitions import PARTITION, SMALL, of_partitions, partitions_of
from kos.sql import literal


def own_of_partitions(connection: Connection, facts: Table, column: str) -> list[str]:
    """What partitions have on a column of their table that it hasn't given them."""
    if facts.kind != "p":
        return []
    table = Literal(ddl("{s}.{t}", s=facts.schema, t=facts.name))
    rows = connection.execute(QUERIES.own_of_partitions.format(table=table, column=Literal(column))).fetchall()
    return [f"{what} of partition {partition}" for partition, what in rows]


def refuse_own(connection: Connection, facts: Table, column: str) -> None:
    """A partition's own things would go with the column.

    Raises:
        ChangeRefused
    """
    if own := own_of_partitions(connection, facts, column):
        raise errors.ChangeRefused(
            f"{facts.name}.{column}",
            f"a partition has something of its own on it: {own[0]}",
            "take that away before the change, and make it again when that is finished",
        )


def swap_index_names(old: str, new: str) -> str:
    """The indexes of the table and its partitions change names, those of their constraints with them."""
    return ddl(_SWAP_INDEXES, old=Literal(ddl("{i}", i=old)), new=Literal(ddl("{i}", i=new)))


def swap_constraint_names(table: str, old: str, new: str) -> str:
    """Those of a foreign key."""
    return ddl(_SWAP_CONSTRAINTS, table=Literal(ddl("{t}", t=table)), old=Literal(old), new=Literal(new))


# A part that one side alone has is of a partition that is being made: the names are for people, so it keeps its own.
_SWAP_INDEXES = """
do $kos$
declare
  pair record;
begin
  for pair in
    select a.relid as was, b.relid as made, c.relname as name
      from pg_partition_tree({old}::regclass) a
      join pg_index i on i.indexrelid = a.relid
      join pg_index j on j.indrelid = i.indrelid
      join pg_partition_tree({new}::regclass) b on b.relid = j.indexrelid
      join pg_class c on c.oid = a.relid
  loop
    execute format('alter index %s rename to %I', pair.was, 'kos_gone_' || pair.was::oid);
    execute format('alter index %s rename to %I', pair.made, pair.name);
  end loop;
end $kos$"""

_SWAP_CONSTRAINTS = """
do $kos$
declare
  pair record;
begin
  for pair in
    with recursive tree as (
      select k.oid, k.conrelid, k.conname, k.conname = {new} as made from pg_constraint k
       where k.conrelid = {table}::regclass and k.conname in ({old}, {new})
      union all
      select k.oid, k.conrelid, k.conname, t.made from pg_constraint k join tree t on k.conparentid = t.oid
       where k.conrelid <> t.conrelid)
    select a.conrelid::regclass as of, a.oid, a.conname as name, b.conname as made
      from tree a join tree b on b.conrelid = a.conrelid and b.made and not a.made
  loop
    execute format('alter table %s rename constraint %I to %I', pair.of, pair.name, 'kos_gone_' || pair.oid);
    execute format('alter table %s rename constraint %I to %I', pair.of, pair.made, pair.name);
  end loop;
end $kos$"""


def primary_key(draft: Draft, table: str, constraint: Any, new: str) -> tuple[str, ...]:
    """A primary key over column `new` instead of the one that there is: an index of each partition is built in the
    tightening. Returns what makes them the key.

    A partition that comes later gets its index in that moment. One that has many rows by then needs one before: that
    is asked for in the tightening, and again before anything is dropped.
    """
    leaves = [each for each in partitions_of(draft, table) if each.is_leaf]
    steps = [
        indexes.concurrent_action(draft, each.name, unique_keys.index_of(each.name, draft.name("key"), constraint))
        for each in leaves
    ]
    text = f"see that each partition of {table} has the index of its key"
    late = _of_key(_LATE, table, constraint)
    draft.tighten += [*of_partitions(steps, leaves), action(draft, table, text, (late,), lock="")]
    # Others that this change replaced or renamed before have their names by then.
    at_the_end = type(constraint)()
    at_the_end.CopyFrom(constraint)
    called = {now: name for (of, name), now in draft.physical.items() if of == table and now != new}
    for part in (at_the_end.keys, at_the_end.including):
        for each in part:
            each.string.sval = called.get(each.string.sval, each.string.sval)
    return _of_key(_LATE, table, at_the_end), _of_key(_PRIMARY, table, at_the_end)


def _of_key(template: LiteralString, table: str, constraint: Any) -> str:
    build = unique_keys.index_of(PARTITION, "", constraint)
    build.concurrent = True
    columns = Literal(names(constraint.keys) + names(constraint.including))
    find = ddl(_FIND, columns=columns, keys=Literal(len(constraint.keys)))
    waits = " deferrable" if constraint.deferrable else ""
    waits += " initially deferred" if constraint.initdeferred else ""
    return ddl(
        template,
        index=Literal(ddl("{i}", i=constraint.conname)),
        table=Literal(ddl("{t}", t=table)),
        name=Literal(constraint.conname),
        clause=Literal(add_constraint_sql("t", constraint).partition("PRIMARY KEY ")[2]),
        waits=Literal(waits),
        find=literal(find),
        build=Literal(render(build)),
        partition=Literal(PARTITION),
        small=Literal(SMALL),
    )


# The index of a partition that is to be its key, by what it is over: somebody may have built it by hand.
_FIND = """
    select c.relname into made
      from pg_index i
      join pg_class c on c.oid = i.indexrelid
     where i.indrelid = part and i.indisunique and i.indisvalid and i.indimmediate and i.indpred is null
       and not c.relispartition and i.indnkeyatts = {keys} and 0 = all (i.indoption::int2[])
       and not exists (select from pg_constraint k where k.conindid = i.indexrelid and k.contype in ('p', 'u', 'x'))
       and {columns}::name[] = array(
             select a.attname from unnest(i.indkey) with ordinality k (number, at)
               join pg_attribute a on a.attrelid = i.indrelid and a.attnum = k.number
              order by k.at)
     order by i.indexrelid
     limit 1;"""

_LATE = """
do $kos$
declare
  part regclass;
  called text;
  made name;
begin
  for part, called in
    select c.oid, format('%I.%I', c.relnamespace::regnamespace::name, c.relname)
      from pg_partition_tree({table}::regclass) t
      join pg_class c on c.oid = t.relid
     where t.isleaf and c.relkind = 'r'
       and pg_relation_size(c.oid) > {small} * current_setting('block_size')::bigint
  loop
    {find}
    if not found then
      raise invalid_object_definition
        using message = format('partition %s has rows and no index for the key, and to build one now would lock the'
                               ' table; run this, and go on: %s', called, replace({build}, {partition}, called));
    end if;
  end loop;
end $kos$"""

# PostgreSQL makes no key of a partitioned table of an index; but the key takes over those of its partitions.
_PRIMARY = """
do $kos$
declare
  parts regclass[];
  called name[];
  part regclass;
  made name;
begin
  select array_agg(i.indrelid::regclass order by t.level desc), array_agg(c.relname order by t.level desc)
    into parts, called
    from pg_partition_tree({index}::regclass) t
    join pg_index i on i.indexrelid = t.relid
    join pg_class c on c.oid = t.relid;
  execute format('alter table %s drop constraint %I', {table}, {name});
  for n in 1 .. cardinality(parts) loop
    part := parts[n];
    {find}
    execute format('alter table %s add constraint %I primary key ', part, called[n])
            || case when found then format('using index %I', made) || {waits} else {clause} end;
  end loop;
end $kos$"""
