"""Other names: until the change is finished, a column and a table go by both."""

from __future__ import annotations

from psycopg.sql import Identifier

from kos import errors
from kos.schema_change import domains, in_log, indexes, parse
from kos.schema_change.composing import action
from kos.schema_change.draft import Draft, Planner, ddl, granting
from kos.schema_change.facts import Column, Table, read_grants, relation_kind
from kos.schema_change.hanging import keep_watch
from kos.schema_change.model import Fill, Hanging
from kos.schema_change.parse import Statement
from kos.schema_change.sync import Pair, pair_triggers
from kos.sql import literal


def rename_column(draft: Draft, statement: Statement) -> None:
    """A second column under the new name, kept equal both ways; at the end it goes, and the first gets its name.

    So the column keeps whatever hangs on it: constraints, policies, sequences, comments, statistics.
    """
    table, old, new = statement.node.relation.relname, statement.node.subname, statement.node.newname
    facts = draft.table(table)
    _refuse(draft, facts, old, new)
    known = facts.columns[old]
    in_log.refuse_rename(draft, facts, known)
    draft.physical[table, new] = old
    if (table, new) in draft.retyped:
        return  # the other type's column has the new name: `retype` makes it, further down in the file
    draft.fresh.setdefault(table, set())
    keep_watch(draft, Hanging(table, new, facts.owner, twin=old))
    if known.generated == "v":
        _generated(draft, facts, known, new)
        return
    default = known.default if known.default and not known.volatile_default else None
    quoted = Identifier(old).as_string()
    pair = Pair(table, old, new, known.type, known.type, quoted, quoted, default)
    add = [_add(table, known, new, default), *_grants(draft, facts, old, new)]
    kept = pair_triggers(draft, pair)
    drop = ddl("alter table {table} drop column {column}", table=table, column=new)
    text = f"{table}.{old} is {new} too"
    draft.expand.append(action(draft, table, text, (*add, *kept.do), (*kept.undo, drop)))
    names = {"old": old, "new": new}
    needs = ddl("record_image_ne(row({new}), row({old}))", **names)
    name = f"{draft.number()} fill {table}.{new}"
    draft.fill.append(Fill(name, f"{table}.{new} = {old}", table, facts.owner, needs, {new: quoted}, rows=facts.rows))
    _copy_indexes(draft, facts, old, new)
    draft.tighten.append(action(draft, table, f"{text}, all the while", (kept.check,), lock=""))
    rename = ddl("alter table {table} rename column {old} to {new}", table=table, **names)
    draft.at_contract(action(draft, table, f"{table}.{old} becomes {new}", (*kept.end, drop, rename)))
    _warn(draft, facts, old, new)


def _refuse(draft: Draft, facts: Table, old: str, new: str) -> None:
    what = f"{facts.name}.{old}"
    if draft.is_fresh(facts.name, old) or (facts.name, old) in draft.physical:
        instead = "write it as it is to be, and a RENAME before what is said of the new name"
        raise errors.ChangeRefused(what, "this change has made it, or its type, above", instead)
    if old not in facts.columns:
        raise errors.ChangeRefused(what, "there is no such column", "correct the name")
    if new in facts.columns or draft.is_fresh(facts.name, new):
        raise errors.ChangeRefused(f"{facts.name}.{new}", "there is such a column already", "give it another name")
    if facts.columns[old].generated == "s":
        raise errors.ChangeRefused(
            what,
            "it is a STORED generated column: a second one would rewrite the table, locked",
            "rename it yourself while nobody uses it, or add another and drop this one",
        )
    if old in facts.partition_key:
        raise errors.ChangeRefused(
            what,
            "the table is partitioned by it: a row must have it before a trigger could give it",
            "rename it yourself while nobody uses it",
        )
    if domains.is_checked_type(draft, facts.columns[old].type):
        raise errors.ChangeRefused(
            what,
            "its type is a domain with constraints: a second column would rewrite the table, locked",
            "rename it yourself while nobody uses it",
        )


def _add(table: str, known: Column, new: str, default: str | None) -> str:
    collation = f" collate {known.collation}" if known.collation else ""
    return ddl(
        "alter table {table} add column {new} {type}{default}",
        table=table,
        new=new,
        type=literal(known.type + collation),
        default=literal(f" default {default}" if default else ""),
    )


def _grants(draft: Draft, facts: Table, old: str, new: str) -> list[str]:
    """Who may use the column by a grant on it alone may use it under its other name."""
    return [granting(facts.name, new, each) for each in read_grants(draft.connection, facts) if each.column == old]


def _generated(draft: Draft, facts: Table, known: Column, new: str) -> None:
    """Nothing is stored, and nobody writes it: the second is generated likewise."""
    table, old = facts.name, known.name
    add = ddl(
        "alter table {table} add column {new} {type} generated always as ({expression}) virtual",
        table=table,
        new=new,
        type=literal(known.type),
        expression=literal(known.default or "null"),
    )
    drop = ddl("alter table {table} drop column {column}", table=table, column=new)
    rename = ddl("alter table {table} rename column {old} to {new}", table=table, old=old, new=new)
    draft.expand.append(action(draft, table, f"{table}.{old} is {new} too", (add,), (drop,)))
    draft.at_contract(action(draft, table, f"{table}.{old} becomes {new}", (drop, rename)))


def _copy_indexes(draft: Draft, facts: Table, old: str, new: str) -> None:
    """For the new name's queries: the second column's indexes go with it.

    None is unique. Two INSERT … ON CONFLICT of one key that meet wait for each other in the index that they name, and
    fail in any other that is unique.
    """
    for each in facts.indexes.values():
        if old not in each.columns or not each.valid:
            continue
        if facts.kind != "r":
            draft.warnings.append(
                f"{facts.name}.{new}: no index until the change is finished, like {each.name} of {old}"
            )
            continue
        node = parse.renamed_in_index(each.definition, old, new)
        node.idxname = draft.name("copy")
        if node.unique:
            node.unique = node.nulls_not_distinct = False
            draft.warnings.append(
                f"{facts.name}: ON CONFLICT over {new} works when the change is finished, until then over {old}"
            )
        if facts.kind == "p":
            draft.build += indexes.by_partition(draft, facts.name, node, node.idxname)
        else:
            draft.build.append(indexes.concurrent_action(draft, facts.name, node))


def _warn(draft: Draft, facts: Table, old: str, new: str) -> None:
    for of, kind, name in facts.readers:
        if of == old and kind == "trigger":
            draft.warnings.append(
                f"{facts.name}: the trigger {name} fires on {old}; for {new} alone only when the change is finished"
            )
    draft.warnings.append(f"{facts.name} has {old} twice while the change runs: `select *` shows {new} as well")


def rename_table(draft: Draft, statement: Statement) -> None:
    """The new name is a view until the end: one that rights, policies and defaults of the table go for."""
    table, new = statement.node.relation.relname, statement.node.newname
    if draft.table(table).kind not in ("r", "p") or table in draft.renamed:
        raise errors.ChangeRefused(table, "only a table is renamed online, and once in a change", "rename it yourself")
    if (relation_kind(draft.connection, draft.schema, new) and new not in draft.dropped) or new in draft.created:
        raise errors.ChangeRefused(new, "the name is taken", "give it another name")
    draft.renamed[table] = new
    draft.warnings.append(
        f"{new} is a view of {table} until the change is finished: TRUNCATE, COPY FROM, and foreign keys "
        f"that refer to it need {table}"
    )


PLANNERS: dict[str, Planner] = {
    "rename OBJECT_COLUMN": rename_column,
    "rename OBJECT_TABLE": rename_table,
}
