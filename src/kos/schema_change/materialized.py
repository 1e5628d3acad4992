"""Materialized views. A new one from the start. One in place of another is made beside it, and they change places in
the transaction in which what it reads is changed."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from kos import errors
from kos.schema_change import reading
from kos.schema_change.composing import action, create_index_sql
from kos.schema_change.draft import Draft, Planner, ddl
from kos.schema_change.facts import relation_kind
from kos.schema_change.naming import choose, index_columns, joined
from kos.schema_change.parse import Statement, choice, columns_of, inside, kind, names, render


def create(draft: Draft, statement: Statement) -> None:
    """CREATE MATERIALIZED VIEW. It reads while everybody writes.

    Raises:
        ChangeRefused: it is a table; the name is taken; it reads a column that this change gives another name or type.
    """
    node = statement.node
    name = node.into.rel.relname
    if choice(node, "objtype") != "OBJECT_MATVIEW":
        raise errors.ChangeRefused(name, "CREATE TABLE AS moves rows", "create the table, and fill it by itself")
    present = relation_kind(draft.connection, draft.schema, name)
    if present == "m" and name in draft.dropped and name not in draft.remade:
        _beside(draft, statement, name)
        return
    if present is not None:
        raise errors.ChangeRefused(name, "the name is taken", "give it another, or drop that one above")
    for table in sorted(_tables_in(node.query)):
        if table in draft.dropped or any(of == table for of, _ in draft.physical.keys() | draft.again):
            raise errors.ChangeRefused(
                name, f"it reads {table}, which this change replaces or a column of it", "create it in the next change"
            )
        if draft.fresh.get(table, set()) & columns_of(node.query):
            draft.warnings.append(f"{name} is made before the new columns of {table} are filled: refresh it then")
    text = f"create materialized view {name}"
    undo = (ddl("drop materialized view {name}", name=name),)
    draft.created.add(name)
    draft.expand.append(action(draft, name, text, (render(node),), undo, lock="ACCESS SHARE", lasts=True))


def _beside(draft: Draft, statement: Statement, name: str) -> None:
    """Last of all that `finish` does before the end, so that it is not old when it takes the name."""
    node, owner, made = statement.node, draft.table(name).owner, draft.name("view")
    read = _tables_in(node.query)
    if anew := sorted(read & (draft.dropped | draft.replaced)):
        raise errors.ChangeRefused(name, f"it reads {anew[0]}, which this change makes anew", "leave that as it is")
    reading.use_present(draft, name, node.query)
    node.into.rel.relname, node.if_not_exists = made, False
    going = {key for key, now in draft.physical.items() if now != key[1]} | draft.successors.keys() | draft.again
    checks = tuple(_check(made, table, column) for table, column in sorted(going) if table in read)
    undo = (ddl("drop materialized view {made}", made=made),)
    text = f"create materialized view {name} beside the one that there is"
    do = (render(node), *checks)
    draft.last.append(action(draft, name, text, do, undo, lock="ACCESS SHARE", owner=owner, lasts=True))
    draft.remade[name] = made
    draft.replaced.add(name)
    draft.together.append({name, *read})
    rename = ddl("alter materialized view {made} rename to {name}", made=made, name=name)
    draft.at_contract(action(draft, name, f"materialized view {name} is made anew", (rename,), owner=owner))
    draft.warnings.append(
        f"{name} stays as it is until the change is finished, and then shows what there was when finish had it made:"
        " refresh it then; a statement that was prepared on it has to be prepared again"
    )


def _tables_in(query: Any) -> set[str]:
    relations = [each for each in inside(query) if type(each).__name__ == "RangeVar"]
    return {each.relname for each in relations if not each.schemaname}


def _check(view: str, table: str, column: str) -> str:
    body = ddl(_CHECK, view=Literal(ddl("{v}", v=view)), table=Literal(ddl("{t}", t=table)), column=Literal(column))
    return ddl("do {body}", body=Literal(body))


# A column that goes at the end would keep the end from coming.
_CHECK = """
begin
  if exists (
    select from pg_rewrite w
      join pg_depend d on d.classid = 'pg_rewrite'::regclass and d.objid = w.oid
      join pg_attribute a on a.attrelid = d.refobjid and a.attnum = d.refobjsubid
     where w.ev_class = {view}::regclass and d.refobjid = {table}::regclass and a.attname = {column})
  then
    raise invalid_object_definition
      using message = format('it reads %s.%I in a way that kos does not see', {table}::regclass, {column});
  end if;
end"""


def of_remade(draft: Draft, name: str, statement: Statement) -> None:
    """What follows on one that is made beside another.

    Raises:
        ChangeRefused: it is not an index.
    """
    node = statement.node
    if kind(node) != "IndexStmt":
        raise errors.ChangeRefused(name, "this change has made it above", "write it as it is to be")
    elements = [*node.index_params, *node.index_including_params]
    index = node.idxname or choose(draft, name, joined(index_columns(elements)), "idx")
    if index in draft.taken:
        raise errors.ChangeRefused(f"CREATE INDEX {index}", "the name is taken", "choose another")
    draft.taken[index] = ()
    node.relation.relname, node.idxname, owner = draft.remade[name], draft.name("index"), draft.table(name).owner
    do, text = (create_index_sql(node, concurrently=False),), f"build index {index} of the new {name}"
    draft.last.append(action(draft, name, text, do, lock="", owner=owner, lasts=True))
    rename = ddl("alter index {made} rename to {index}", made=node.idxname, index=index)
    draft.at_contract(action(draft, name, f"its index {index}", (rename,), owner=owner))


def drop(draft: Draft, statement: Statement) -> None:
    """DROP MATERIALIZED VIEW: at the end, before what it reads goes.

    Raises:
        ChangeRefused: CASCADE; something reads it.
    """
    if choice(statement.node, "behavior") == "DROP_CASCADE":
        raise errors.ChangeRefused(statement.text, "it drops what nobody named", "drop each thing by its name, before")
    for each in statement.node.objects:
        name = names(each.list.items)[-1]
        if relation_kind(draft.connection, draft.schema, name) != "m":
            if not statement.node.missing_ok:
                raise errors.ChangeRefused(name, "there is no such materialized view", "correct the name")
            draft.warnings.append(f"{name} is not there: nothing is done for it")
            continue
        if name in draft.remade:
            raise errors.ChangeRefused(name, "this change has made it above", "write it as it is to be")
        facts = draft.table(name)
        if left := sorted({reader for _, _, reader in facts.readers} - draft.dropped):
            raise errors.ChangeRefused(name, f"{', '.join(left)} reads it", "drop that before, in the same file")
        draft.dropped.add(name)
        draft.freed |= facts.indexes.keys()
        draft.views[name] = name
        do = (SQL("drop materialized view {}").format(Identifier(name)).as_string(),)
        draft.at_contract(action(draft, name, f"drop materialized view {name}", do, owner=facts.owner))


PLANNERS: dict[str, Planner] = {
    "CreateTableAsStmt": create,
    "drop OBJECT_MATVIEW": drop,
}
