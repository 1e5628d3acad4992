"""Indexes: made and dropped concurrently, always. Only a unique one over columns that old code writes waits for finish,
since old code could trip over it."""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

from kos import errors
from kos.schema_change import unique_keys
from kos.schema_change.composing import (
    SHARE_UPDATE_EXCLUSIVE,
    action,
    alter_sql,
    create_index_sql,
    use_physical,
)
from kos.schema_change.draft import Draft, Planner, braced, ddl
from kos.schema_change.model import BUILD, CREATE_INDEX, DROP_INDEX, TIGHTEN, Action
from kos.schema_change.naming import QUERIES, choose, index_columns, is_used, joined
from kos.schema_change.parse import Statement, columns_of, names
from kos.schema_change.partitions import Partition, of_partitions, partitions_of, whole

SHARE = "SHARE"


class Index(NamedTuple):
    """An index and its table. `kind` is pg_class.relkind: i, or I of a partitioned table."""

    table: str
    kind: str
    constraint: str | None
    is_identity: bool
    owner: str
    used_by: list[str]
    options: list[str]
    is_part: bool
    users: list[str]


def create_index(draft: Draft, statement: Statement) -> None:
    """CREATE INDEX, of any sort.

    Raises:
        ChangeRefused: the name is taken.
    """
    node = statement.node
    table, unique = node.relation.relname, node.unique
    if not node.relation.inh:
        raise errors.ChangeRefused(
            f"CREATE INDEX ON ONLY {table}",
            "the indexes of the partitions are left to somebody else",
            "leave out ONLY: they are built concurrently, one by one",
        )
    elements = [*node.index_params, *node.index_including_params]
    keys = sorted({each.index_elem.name for each in node.index_params} - {""} | _read(node.index_params))
    shown = joined(index_columns(elements))
    name = node.idxname or choose(draft, table, shown, "idx")
    used = is_used(draft, name, constraint=False) and not _is_left_over(draft, table, name)
    if name in draft.taken or (used and name not in draft.freed):
        if node.if_not_exists:
            return
        raise errors.ChangeRefused(f"CREATE INDEX {name}", "the name is taken", "choose another")
    draft.taken[name] = tuple(each.index_elem.name for each in node.index_params)
    use_physical(draft, table, node)
    # One that is dropped by the same change has the name until the end.
    node.idxname = draft.name("index") if used else name
    fresh = all(draft.is_fresh(table, each) for each in keys)
    steps: list[Any] = draft.tighten if unique and not fresh else draft.build
    if not all(each.index_elem.name for each in node.index_params):
        draft.analyze(table, TIGHTEN if unique and not fresh else BUILD)
    if draft.table(table).kind == "p":
        steps += by_partition(draft, table, node, shown)
    else:
        steps.append(concurrent_action(draft, table, node))
    if node.idxname != name:
        _replace(draft, table, node.idxname, name)


def _is_left_over(draft: Draft, table: str, name: str) -> bool:
    """Whether the name is that of an index which a failed build has left: it is dropped before one is built."""
    facts = draft.table(table)
    return facts.kind != "p" and name in facts.indexes and not facts.indexes[name].valid


def _read(elements: Any) -> set[str]:
    """The columns that the expressions of an index read."""
    return {name for each in elements for name in columns_of(each)}


def concurrent_action(draft: Draft, table: str, node: Any) -> Action:
    """Build one index while everybody may write."""
    return action(
        draft,
        table,
        f"build {'unique ' if node.unique else ''}index {node.idxname} on {table}",
        (create_index_sql(_on(node, table), concurrently=True),),
        (_drop_sql(node.idxname),),
        lock=SHARE_UPDATE_EXCLUSIVE,
        kind=CREATE_INDEX,
        index=node.idxname,
        lasts=True,
    )


def _on(node: Any, table: str) -> Any:
    made = type(node)()
    made.CopyFrom(node)
    made.relation.relname = table
    return made


def _drop_sql(index: str) -> str:
    return "drop index concurrently if exists {schema}." + braced(ddl("{index}", index=index))


def by_partition(draft: Draft, table: str, node: Any, shown: str) -> list[Action]:
    """An index of the partitioned table alone, which isn't valid; one of each partition, concurrently; and each made a
    part of it. With the last it is valid. `shown` are the columns in the names of theirs."""
    partitions = partitions_of(draft, table)
    called = {table: node.idxname}
    made = [_alone(draft, table, node)]
    for each in partitions:
        part = _on(node, each.name)
        part.idxname = called[each.name] = choose(draft, each.name, shown, "idx")
        draft.taken[part.idxname] = ()
        made.append(concurrent_action(draft, each.name, part) if each.is_leaf else _alone(draft, each.name, part))
    made += [
        attachment(draft, each, called, ddl("drop index if exists {of}", of=called[each.parent]))
        for each in reversed(partitions)
    ]
    return [*of_partitions(made, partitions), whole(draft, table, node.idxname, partial(_index_of, node))]


def _index_of(node: Any, partition: str) -> str:
    made = _on(node, partition)
    made.idxname = ""
    return create_index_sql(made, concurrently=False)


def _alone(draft: Draft, table: str, node: Any) -> Action:
    return action(
        draft,
        table,
        f"make index {node.idxname} of {table}, without its partitions",
        (create_index_sql(_on(node, table), concurrently=False, only=True),),
        (ddl("drop index if exists {index}", index=node.idxname),),
        lock=SHARE,
    )


def attachment(draft: Draft, part: Partition, called: dict[str, str], undo: str) -> Action:
    """To take it back is to drop what its parent has, and with that the parts of it."""
    whole, own = called[part.parent], called[part.name]
    return action(
        draft,
        part.name,
        f"make index {own} a part of {whole}",
        (ddl("alter index {whole} attach partition {own}", whole=whole, own=own),),
        (undo,),
    )


def _replace(draft: Draft, table: str, index: str, name: str) -> None:
    """The old and the new index change places in one transaction: the old is dropped in that, not concurrently."""
    draft.withdraw(table, name)
    do = (
        ddl("drop index if exists {name}", name=name),
        ddl("alter index {index} rename to {name}", index=index, name=name),
    )
    draft.at_contract(action(draft, table, f"index {name} is replaced", do))


def drop_index(draft: Draft, statement: Statement) -> None:
    """DROP INDEX: at the end, since old code may need it to be fast.

    Raises:
        ChangeRefused: there is none, or a constraint or the replica identity needs it.
    """
    for each in statement.node.objects:
        name = names(each.list.items)[-1]
        found = find(draft, name)
        if found is None and statement.node.missing_ok:
            continue
        found = _droppable(draft, name, found)
        draft.freed.add(name)
        if found.kind == "I":
            do, kind = ddl("drop index {index}", index=name), "transaction"
        else:
            do, kind = _drop_sql(name), DROP_INDEX
        lock = SHARE_UPDATE_EXCLUSIVE if kind == DROP_INDEX else "ACCESS EXCLUSIVE"
        draft.at_contract(
            action(draft, found.table, f"drop index {name}", (do,), lock=lock, owner=found.owner, kind=kind, index=name)
        )


def _droppable(draft: Draft, name: str, found: Index | None) -> Index:
    what = f"DROP INDEX {name}"
    if found is None:
        raise errors.ChangeRefused(what, "there is no such index", f"look: \\di {name}")
    if found.constraint:
        instead = f"write: alter table {found.table} drop constraint {found.constraint}"
        raise errors.ChangeRefused(what, f"it is that of constraint {found.constraint}", instead)
    if found.is_part:
        raise errors.ChangeRefused(what, "it is a part of an index of the partitioned table", "drop that one")
    if found.is_identity:
        instead = f"first: alter table {found.table} replica identity default"
        raise errors.ChangeRefused(what, "it is the replica identity of its table", instead)
    unique_keys.refuse_if_used(draft, name, what)
    return found


def find(draft: Draft, name: str) -> Index | None:
    """An index of the schema."""
    row = draft.connection.execute(QUERIES.index, {"schema": draft.schema, "name": name}).fetchone()
    return Index(*row) if row else None


def rename_index(draft: Draft, statement: Statement) -> None:
    """ALTER INDEX … RENAME TO …: at the end, though nobody but people knows an index by its name.

    Raises:
        ChangeRefused: there is none.
    """
    old, new = statement.node.relation.relname, statement.node.newname
    found = find(draft, old)
    if found is None:
        raise errors.ChangeRefused(f"ALTER INDEX {old}", "there is no such index", f"look: \\di {old}")
    draft.freed.add(old)
    draft.renamed_of.add((found.table, old))
    draft.taken[new] = ()
    do = ddl("alter index {old} rename to {new}", old=old, new=new)
    draft.at_contract(
        action(draft, found.table, f"rename index {old}", (do,), lock=SHARE_UPDATE_EXCLUSIVE, owner=found.owner)
    )


def set_options(draft: Draft, index: str, command: Any) -> None:
    """ALTER INDEX … SET (fillfactor = …), ALTER COLUMN … SET STATISTICS and the like: at the end; of an index that this
    change makes, as soon as it is built.

    Raises:
        ChangeRefused: there is none.
    """
    do, text = alter_sql(index, command, what="index"), f"set options of index {index}"
    steps: list[Any]
    for steps in (draft.build, draft.tighten):
        made = [each.table for each in steps if getattr(each, "index", None) == index]
        if made:
            steps.append(action(draft, made[0], text, (do,), lock=SHARE_UPDATE_EXCLUSIVE))
            return
    found = find(draft, index)
    if found is None:
        raise errors.ChangeRefused(f"ALTER INDEX {index}", "there is no such index", f"look: \\di {index}")
    draft.at_contract(action(draft, found.table, text, (do,), lock=SHARE_UPDATE_EXCLUSIVE, owner=found.owner))


def refuse_reindex(_draft: Draft, statement: Statement) -> None:
    """REINDEX changes no schema.

    Raises:
        ChangeRefused: always.
    """
    raise errors.ChangeRefused(
        statement.text, "it changes nothing of the schema", "run it by itself: reindex index concurrently …"
    )


PLANNERS: dict[str, Planner] = {
    "IndexStmt": create_index,
    "drop OBJECT_INDEX": drop_index,
    "rename OBJECT_INDEX": rename_index,
    "OBJECT_INDEX AT_SetRelOptions": set_options,
    "OBJECT_INDEX AT_ResetRelOptions": set_options,
    "OBJECT_INDEX AT_SetStatistics": set_options,
    "ReindexStmt": refuse_reindex,
}
