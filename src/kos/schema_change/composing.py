"""Actions, and the SQL in them: names are composed in, and nodes rendered, never formatted into text."""

from __future__ import annotations

from typing import Any

from kos import errors
from kos.schema_change.draft import Draft, bare, braced, ddl
from kos.schema_change.facts import Table
from kos.schema_change.model import TRANSACTION, Action
from kos.schema_change.parse import definition, inside, names, parse_statement, render

ACCESS_EXCLUSIVE, SHARE_ROW_EXCLUSIVE = "ACCESS EXCLUSIVE", "SHARE ROW EXCLUSIVE"
SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"

# Stands where the schema of a placement comes: a name that PostgreSQL would write without quotes.
_SCHEMA = "kos_schema_of_a_placement"


def owner_of(draft: Draft, table: str) -> str:
    """Who owns a table; one that the change makes belongs to whoever gets what is new."""
    return draft.owner if table in draft.created else draft.table(table).owner


def referred(facts: Table, column: str | None = None) -> tuple[str, ...]:
    """The tables that foreign keys of a table refer to, or those of one of its columns: who drops these locks those."""
    keys = [each for each in facts.constraints.values() if each.kind == "f" and column in (None, *each.columns)]
    found = {bare(each.refers_to) for each in keys if each.refers_to and "." not in each.refers_to}
    return tuple(sorted(found - {facts.name}))


def action(  # noqa: PLR0913 - what an action has
    draft: Draft,
    table: str,
    text: str,
    do: tuple[str, ...],
    undo: tuple[str, ...] = (),
    *,
    lock: str = ACCESS_EXCLUSIVE,
    owner: str | None = None,
    kind: str = TRANSACTION,
    index: str | None = None,
    lasts: bool = False,
    also: tuple[str, ...] = (),
) -> Action:
    """An action under a name that no other has. One that `lasts` reads all rows."""
    return Action(
        name=f"{draft.number()} {text}",
        text=text,
        table=table,
        owner=owner or owner_of(draft, table),
        lock=lock,
        do=do,
        undo=undo,
        kind=kind,
        index=index,
        scans=lasts,
        waits=lasts or kind != TRANSACTION,
        also=also,
    )


def add_constraint_sql(table: str, constraint: Any, *, only: bool = False) -> str:
    """ALTER TABLE … ADD CONSTRAINT …"""
    statement = parse_statement("alter table t add check (true)")
    statement.relation.relname, statement.relation.inh = table, not only
    definition(statement.cmds[0].alter_table_cmd).constraint.CopyFrom(constraint)
    return render(statement)


def provisional_name(draft: Draft, table: str, name: str) -> str:
    """What a constraint is called until the end: its own name, unless one that is dropped then has it.

    Raises:
        ChangeRefused: one has it that is not.
    """
    if name not in draft.table(table).constraints:
        return name
    if not draft.frees(table, name):
        raise errors.ChangeRefused(f"{table}: {name}", "there is such a constraint", "choose another name, or drop it")
    temporary = draft.provisional[table, name] = draft.name("constraint")
    rename = ddl("alter table {table} rename constraint {old} to {new}", table=table, old=temporary, new=name)
    draft.at_contract(action(draft, table, f"{temporary} of {table} becomes {name}", (rename,)))
    return temporary


def alter_sql(table: str, command: Any, *, what: str = "table") -> str:
    """One command as an ALTER TABLE, or ALTER INDEX and the like, of its own."""
    statement = parse_statement(f"alter {what} t reset (fillfactor)")
    statement.relation.relname = table
    statement.cmds[0].alter_table_cmd.CopyFrom(command)
    return render(statement)


def create_index_sql(node: Any, *, concurrently: bool, only: bool = False) -> str:
    """A CREATE INDEX. Concurrently it names its table as `{schema}.table`, to be formatted, else as the search path
    finds it."""
    made = type(node)()
    made.CopyFrom(node)
    made.concurrent, made.if_not_exists, made.relation.inh = concurrently, False, not only
    if not concurrently:
        return render(made)
    made.relation.schemaname = _SCHEMA
    return braced(render(made)).replace(f"{_SCHEMA}.", "{schema}.", 1)


def plainly(text: str) -> str:
    """A concurrent CREATE INDEX of ours as one that runs in a transaction."""
    return text.replace(" CONCURRENTLY", "", 1)


def use_physical(draft: Draft, table: str, node: Any) -> None:
    """Name columns, within the node, as the catalog has them before the end of the change."""
    for each in inside(node):
        what = type(each).__name__
        if what == "ColumnRef" and (len(each.fields) == 1 or names(each.fields)[-2:-1] == [table]):
            _rename_parts(draft, table, each.fields[-1:])
        elif what in ("IndexElem", "StatsElem") and each.name:
            each.name = draft.column(table, each.name)
        elif what == "Constraint":
            for part in (each.keys, each.including, each.fk_attrs, each.fk_del_set_cols):
                _rename_parts(draft, table, part)


def _rename_parts(draft: Draft, table: str, parts: Any) -> None:
    for each in parts:
        if each.WhichOneof("node") == "string":
            each.string.sval = draft.column(table, each.string.sval)
