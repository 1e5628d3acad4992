"""From the statements of a change to its recipe for one schema. Reads only.

Each sort of statement has its planner, in the modules below; each of those lists its own under `PLANNERS`:

- `AT_…`, a command of ALTER TABLE: `planner(draft, table, command)`; of ALTER INDEX and others: `OBJECT_INDEX AT_…`
- `…Stmt`, any other statement: `planner(draft, statement)`
- `drop OBJECT_…` and `rename OBJECT_…`: the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import psycopg
from psycopg.sql import Identifier

from kos import errors
from kos.schema_change import (
    bodies,
    columns,
    constraints,
    indexes,
    materialized,
    new_tables,
    noting,
    other,
    parse,
    rename,
    retype,
    tables,
    verify,
)
from kos.schema_change.draft import Draft, Planner
from kos.schema_change.facts import QUERIES, Connection, usual_owner
from kos.schema_change.model import TRANSACTION, Fill, Recipe
from kos.schema_change.parse import Change, Statement, shown
from kos.schema_change.parts import refuse_unreachable

PLANNERS: dict[str, Planner] = {
    **tables.PLANNERS,
    **columns.PLANNERS,
    **rename.PLANNERS,
    **constraints.PLANNERS,
    **indexes.PLANNERS,
    **materialized.PLANNERS,
    **other.PLANNERS,
    **retype.PLANNERS,
}


def plan_recipe(connection: Connection, schema: str, change: Change, tag: str) -> Recipe:
    """The steps of a change in one schema, the lightest that nobody trips over.

    Raises:
        ChangeRefused: some statement can't be done online; it says what to do instead.
    """
    with connection.transaction():
        _look_as_owner(connection, schema)
        draft, written = Draft(connection, schema, tag, change.directives), verify.copied(change.statements)
        draft.retyped = retype.renamed_before(change.statements)
        draft.narrowed = other.narrowed(change.statements)
        for statement in change.statements:
            plan_statement(draft, statement)
        losses = bodies.look_into_functions(draft, change.statements)
        bodies.refuse_spread_rows(draft)
        recipe = draft.recipe()
        _refuse_inheritance(draft, recipe)
        recipe = replace(recipe, warnings=(*noting.notes(draft), *recipe.warnings), losses=losses)
        noting.refuse_unidentified(draft, recipe)
        refuse_unreachable(draft, recipe)
        _all_used(draft, recipe)
        verify.refuse_what_fails(draft, written)
    return recipe


def _look_as_owner(connection: Connection, schema: str) -> None:
    """A schema that is not open to us is not in our search path either, and definitions are told otherwise."""
    owner = usual_owner(connection, schema)
    try:
        connection.execute(QUERIES.look_as.format(role=Identifier(owner)))
    except psycopg.errors.InsufficientPrivilege as error:
        raise errors.ChangeRefused(
            schema,
            f"its tables, and what is new there, belong to {owner}, whom kos may not act as",
            f"let kos act as the owner of your tables: grant {Identifier(owner).as_string()} to kos_operator; or, if"
            " they are elsewhere, name their schema: --schema NAME",
        ) from error


def _refuse_inheritance(draft: Draft, recipe: Recipe) -> None:
    """What binds or fills rows reaches those of children, of which no trigger of the parent hears."""
    for each in (*recipe.fill, *recipe.tighten):
        binds = isinstance(each, Fill) or each.kind == TRANSACTION
        if binds and each.table not in draft.created and draft.table(each.table).inherits:
            raise errors.ChangeRefused(
                f"{each.table}: {each.text}",
                "the table has children by INHERITS, or is one: no trigger of a parent fires for their rows",
                "run that statement yourself while nobody writes; or make a new table, and move the rows",
            )


def plan_statement(draft: Draft, statement: Statement) -> None:
    """Add what one statement needs."""
    node = statement.node
    _called_as_now(draft, node)
    if (table := _target(node)) in draft.created:
        new_tables.of_new_table(draft, table, statement)
        return
    if table in draft.remade:
        materialized.of_remade(draft, table, statement)
        return
    sort = parse.kind(node)
    if sort == "AlterTableStmt":
        what = parse.choice(node, "objtype")
        prefix = "" if what == "OBJECT_TABLE" else f"{what} "
        for command in _commands(draft, table, node):
            name = prefix + parse.choice(command, "subtype")
            _planner(draft, name, statement)(draft, table, command)
            _warn_of_prepared(draft, table, name, command.name)
        return
    if sort == "RenameStmt":
        sort = f"rename {parse.choice(node, 'rename_type')}"
    elif sort == "DropStmt":
        sort = f"drop {parse.choice(node, 'remove_type')}"
    _planner(draft, sort, statement)(draft, statement)
    if sort == "rename OBJECT_COLUMN":
        draft.warnings.append(
            f"{table}.{node.subname} is {node.newname} alone when the change is finished: code that says "
            f"{node.subname} must be gone by then; `select *` that a session has prepared {_FAILS_ONCE}"
        )


_FAILS_ONCE = "gets SQLSTATE 0A000 once then, and must be prepared again"


def _warn_of_prepared(draft: Draft, table: str, sort: str, column: str) -> None:
    """What a session has prepared fails once where its result gets another shape; columns that are added are told of
    where they are."""
    if sort == "AT_AlterColumnType":
        draft.warnings.append(
            f"{table}.{column} has its new type when the change is finished: `select {column}` or `select *` that a "
            f"session has prepared {_FAILS_ONCE}"
        )
    if sort == "AT_DropColumn" and draft.column(table, column) in draft.table(table).columns:
        draft.warnings.append(
            f"{table}.{column} is gone when the change is finished: `select *` that a session has prepared "
            f"{_FAILS_ONCE}"
        )


def _planner(draft: Draft, name: str, statement: Statement) -> Planner:
    if name not in PLANNERS:
        raise errors.ChangeRefused(
            f"line {statement.line}: {shown(statement)}",
            "kos does not know how to do that online",
            "run it yourself, before the change starts or when it is finished",
        )
    return PLANNERS[name]


def _target(node: Any) -> str:
    """The table that a statement is about; "" if about none, or several."""
    for name in ("relation", "table"):
        field = node.DESCRIPTOR.fields_by_name.get(name)
        if field is not None and field.message_type is not None and field.message_type.name == "RangeVar":
            return str(getattr(node, name).relname)
    return ""


def _called_as_now(draft: Draft, node: Any) -> None:
    """A table that this change renames is called by its present name, whatever comes after."""
    present = {new: old for old, new in draft.renamed.items()}
    for each in parse.inside(node) if present else ():
        if type(each).__name__ == "RangeVar" and not each.schemaname and each.relname in present:
            each.relname = present[each.relname]


def _commands(draft: Draft, table: str, node: Any) -> Iterator[Any]:
    """The commands of an ALTER TABLE; constraints that stand beside a new column as commands of their own."""
    for each in node.cmds:
        command = parse.inner(each)
        if parse.choice(command, "subtype") != "AT_AddColumn":
            yield command
            continue
        alone, beside = parse.without_constraints(command)
        name = parse.definition(command).column_def.colname
        is_there = name in draft.table(table).columns and (table, name) not in draft.dropped_columns
        yield alone
        yield from () if is_there else beside


def _all_used(draft: Draft, recipe: Recipe) -> None:
    """A fill that nothing asked for is a slip of the pen, and would never be noticed."""
    fills = [each for each in (*recipe.fill, *recipe.tighten) if isinstance(each, Fill)]
    filled = {(each.table, column) for each in fills for column in (*each.assign, each.column)}
    for table, column in draft.directives.fill:
        known = draft.column(table, column)
        if not {(table, column), (table, known)} & filled and table not in draft.created:
            raise errors.ChangeRefused(
                f"fill {table}.{column}", "nothing in this file adds or tightens that column", "correct the names"
            )
