"""Unique and primary keys: an index is built concurrently under the name of the key, and becomes it at the end."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from psycopg.sql import Literal

from kos import errors
from kos.schema_change import columns, indexes
from kos.schema_change.composing import action, add_constraint_sql, provisional_name, use_physical
from kos.schema_change.draft import Draft, bare, ddl
from kos.schema_change.model import Action
from kos.schema_change.naming import QUERIES, choose, index_columns, is_used, joined
from kos.schema_change.parse import inner, names, parse_statement
from kos.schema_change.partitions import SMALL, of_partitions, partitions_of, whole


def add(draft: Draft, table: str, constraint: Any, *, primary: bool) -> None:
    """ALTER TABLE … ADD UNIQUE … or PRIMARY KEY …, also USING INDEX.

    Raises:
        ChangeRefused: there is no such index, or the name is taken.
    """
    if constraint.indexname:
        _use_index(draft, table, constraint, primary=primary)
        return
    keys, included = names(constraint.keys), names(constraint.including)
    shown = "" if primary else joined(keys + included)
    name = constraint.conname or choose(draft, table, shown, "pkey" if primary else "key")
    _refuse_taken(draft, table, name)
    draft.taken[name] = tuple(keys)
    if draft.table(table).kind == "p":
        place: list[Any] = draft.build if set(keys) <= draft.fresh.get(table, set()) else draft.tighten
        place += by_partition(draft, table, constraint, name, primary=primary)
        return
    if primary:
        _need_values(draft, table, keys)
    # One that is dropped at the end has the name until then; to become a constraint is to be renamed as well.
    index = draft.name("key") if is_used(draft, name) else name
    use_physical(draft, table, constraint)
    fresh = set(keys) <= draft.fresh.get(table, set())
    # A table has one primary key: another is there until the end.
    waits = constraint.deferrable and not (primary and draft.table(table).key)
    steps: list[Any] = draft.build if fresh and not (primary and waits) else draft.tighten
    steps.append(indexes.concurrent_action(draft, table, index_of(table, index, constraint)))
    if not waits:
        _attach(draft, table, constraint, name, index)
        return
    loose = [each for each in keys if primary and (table, each) in draft.not_null]
    steps.append(waiting(draft, table, _of_index(constraint, index, index), loose=loose))
    if index != name:
        rename = ddl("alter table {table} rename constraint {old} to {new}", table=table, old=index, new=name)
        draft.at_contract(action(draft, table, f"{index} of {table} becomes {name}", (rename,)))


def waiting(draft: Draft, table: str, key: Any, *, loose: Sequence[str] = ()) -> Action:
    """A key that waits for the end of a transaction, of an index that was just built: as that alone it would not.

    Undone, the index is gone too. `loose` are columns that were not NOT NULL before the key made them so.
    """
    undo = [_drop(table, key.conname)]
    for each in loose:
        column = draft.column(table, each)
        undo.append(ddl("alter table {table} alter column {column} drop not null", table=table, column=column))
    text = f"make index {key.indexname} a key of {table} that can wait"
    return action(draft, table, text, (add_constraint_sql(table, key),), tuple(undo))


def by_partition(draft: Draft, table: str, constraint: Any, name: str, *, primary: bool) -> list[Action]:
    """The key of the partitioned table alone, which isn't valid; one of each partition, of an index that was built
    concurrently; and each made a part of it. A partition that comes meanwhile gets its own.

    Raises:
        ChangeRefused: a column of a primary key may be null, or the name is that of something dropped in this change.
    """
    keys, shown = names(constraint.keys), joined(names(constraint.keys) + names(constraint.including))
    loose = [each for each in keys if not draft.is_fresh(table, each) and not draft.table(table).columns[each].not_null]
    if primary and loose:
        raise errors.ChangeRefused(
            f"{table}: ADD PRIMARY KEY", f"{loose[0]} may be null", "make it NOT NULL in a change before this one"
        )
    if is_used(draft, name):
        raise errors.ChangeRefused(f"{table}: {name}", "it is dropped at the end only", "give the key another name")
    partitions, called = partitions_of(draft, table), {table: name}
    use_physical(draft, table, constraint)
    steps = [_key_alone(draft, table, constraint, name)]
    for each in partitions:
        own = called[each.name] = choose(draft, each.name, "" if primary else shown, "pkey" if primary else "key")
        draft.taken[own] = tuple(keys)
        if each.is_leaf:
            steps.append(indexes.concurrent_action(draft, each.name, index_of(each.name, own, constraint)))
            made = _of_index(constraint, own, own)
            text = f"make index {own} a key of {each.name}"
            steps.append(
                action(draft, each.name, text, (add_constraint_sql(each.name, made),), (_drop(each.name, own),))
            )
        else:
            steps.append(_key_alone(draft, each.name, constraint, own))
    steps += [
        indexes.attachment(draft, each, called, _drop(each.parent, called[each.parent]))
        for each in reversed(partitions)
    ]
    return [*of_partitions(steps, partitions), whole(draft, table, name, partial(_key_of, constraint))]


def _key_of(constraint: Any, partition: str) -> str:
    made = type(constraint)()
    made.CopyFrom(constraint)
    made.conname = ""
    return add_constraint_sql(partition, made)


def _key_alone(draft: Draft, table: str, constraint: Any, name: str) -> Action:
    made = type(constraint)()
    made.CopyFrom(constraint)
    made.conname = name
    do = add_constraint_sql(table, made, only=True)
    return action(draft, table, f"make key {name} of {table}, without its partitions", (do,), (_drop(table, name),))


def _drop(table: str, name: str) -> str:
    return ddl("alter table if exists {table} drop constraint if exists {name}", table=table, name=name)


def index_of(table: str, name: str, constraint: Any) -> Any:
    """The index of a key, as CREATE INDEX."""
    node = parse_statement("create unique index i on t (c)")
    element = node.index_params[0]
    node.idxname, node.relation.relname = name, table
    for each in names(constraint.keys)[1:]:
        node.index_params.add().CopyFrom(element)
        node.index_params[-1].index_elem.name = each
    for each in names(constraint.including):
        node.index_including_params.add().CopyFrom(element)
        node.index_including_params[-1].index_elem.name = each
    element.index_elem.name = names(constraint.keys)[0]
    node.options.extend(constraint.options)
    node.nulls_not_distinct, node.table_space = constraint.nulls_not_distinct, constraint.indexspace
    return node


def _attach(draft: Draft, table: str, constraint: Any, name: str, index: str) -> None:
    statement = add_constraint_sql(table, _of_index(constraint, name, index))
    draft.at_contract(action(draft, table, f"make index {index} constraint {name} of {table}", (statement,)))


def _of_index(constraint: Any, name: str, index: str) -> Any:
    """A key that an index becomes."""
    made = type(constraint)()
    made.contype, made.conname, made.indexname = constraint.contype, name, index
    made.deferrable, made.initdeferred = constraint.deferrable, constraint.initdeferred
    return made


def _use_index(draft: Draft, table: str, constraint: Any, *, primary: bool) -> None:
    index = constraint.indexname
    found = draft.table(table).indexes.get(index)
    if found is None and index not in draft.taken:
        raise errors.ChangeRefused(f"{table}: USING INDEX {index}", "there is no such index", f"look: \\d {table}")
    # Those of the catalog are also the ones that are only included.
    keys = _keys(found.definition) if found else draft.taken[index]
    if primary:
        _need_values(draft, table, list(keys))
    draft.taken[constraint.conname or index] = tuple(keys)
    _attach(draft, table, constraint, constraint.conname or index, index)


def _keys(definition: str) -> tuple[str, ...]:
    return tuple(each.index_elem.name for each in parse_statement(definition).index_params)


def _need_values(draft: Draft, table: str, keys: list[str]) -> None:
    """A primary key's columns are NOT NULL: proved before, so that nothing is scanned when the key is attached."""
    for each in keys:
        known = draft.table(table).columns.get(draft.column(table, each))
        if known is None or not known.not_null:
            columns.require_not_null(draft, table, each)


def _refuse_taken(draft: Draft, table: str, name: str) -> None:
    if name in draft.taken or (not draft.frees(table, name) and is_used(draft, name)):
        raise errors.ChangeRefused(f"{table}: {name}", "the name is taken", "choose another, or drop what has it")


def add_exclusion(draft: Draft, table: str, constraint: Any) -> None:
    """ALTER TABLE … ADD EXCLUDE …: on a table that is read in no time.

    Raises:
        ChangeRefused: it has too many rows.
    """
    facts = draft.table(table)
    found = index_columns(inner(each).items[0] for each in constraint.exclusions)
    name = constraint.conname or choose(draft, table, joined(found), "excl")
    if facts.pages > SMALL:
        raise errors.ChangeRefused(
            f"{table}: {name} EXCLUDE",
            "its index can't be built concurrently, nor may it start without the rows that there are",
            "make a new table with the constraint, fill it and let code change over; or accept the outage, and run it"
            " by itself while nobody writes",
        )
    draft.taken[name] = tuple(found)
    name = constraint.conname = provisional_name(draft, table, name)
    use_physical(draft, table, constraint)
    undo = ddl("alter table {table} drop constraint {name}", table=table, name=name)
    do = (_still_small(table), add_constraint_sql(table, constraint))
    draft.tighten.append(action(draft, table, f"add {name} to {table}", do, (undo,)))


def _still_small(table: str) -> str:
    body = ddl(_GROWN, table=Literal(ddl("{table}", table=table)), small=Literal(SMALL))
    return ddl("do {body}", body=Literal(body))


_GROWN = """
begin
  if pg_relation_size({table}::regclass) > {small} * current_setting('block_size')::bigint then
    raise object_not_in_prerequisite_state
      using message = format('%s has grown since the plan was made: nobody could read it while the index is built.'
                             ' Take the change back, and run it while nobody needs the table', {table});
  end if;
end"""


def refuse_if_used(draft: Draft, index: str, what: str) -> None:
    """Nothing is dropped that a foreign key needs, unless the same change has dropped that before: then both go in one
    moment, in the order of the file, whichever table came first.

    Raises:
        ChangeRefused
    """
    row = draft.connection.execute(QUERIES.index, {"schema": draft.schema, "name": index}).fetchone()
    used = [f"{of}.{key}" for of, key in row[5] if not draft.frees(bare(of), key)] if row else []
    if used:
        raise errors.ChangeRefused(
            what, f"foreign keys need it: {', '.join(used)}", "drop those first, in the same change or before"
        )
    if row and row[5]:
        draft.together.append({row[0], *row[8]})
