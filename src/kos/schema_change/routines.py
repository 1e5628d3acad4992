"""Functions and triggers: a new function is there from the start; what changes what old code does, from the end."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL, Identifier

from kos import errors
from kos.schema_change.composing import SHARE_ROW_EXCLUSIVE, action
from kos.schema_change.draft import Draft, Planner, ddl
from kos.schema_change.facts import QUERIES as LOOKING
from kos.schema_change.naming import QUERIES
from kos.schema_change.parse import Statement, choice, inner, names, render, render_type
from kos.sql import literal

_GIVEN = ("FUNC_PARAM_IN", "FUNC_PARAM_INOUT", "FUNC_PARAM_VARIADIC", "FUNC_PARAM_DEFAULT")


def create_function(draft: Draft, statement: Statement) -> None:
    """CREATE FUNCTION and PROCEDURE: a new one from the start, one in place of another at the end.

    Raises:
        ChangeRefused: there is one already, and it isn't to be replaced.
    """
    node = statement.node
    name = names(node.funcname)[-1]
    given = [inner(each) for each in node.parameters]
    types = [render_type(each.arg_type) for each in given if choice(each, "mode") in _GIVEN]
    signature = ddl("{name}({types})", name=name, types=literal(", ".join(types)))
    found = _owner(draft, name, signature)
    if found is None:
        drop = ddl("drop routine {signature}", signature=literal(signature))
        text = f"create function {name}"
        draft.expand.append(action(draft, name, text, (render(node),), (drop,), lock="", owner=draft.owner))
        return
    if not node.replace:
        raise errors.ChangeRefused(signature, "there is such a function already", "write: create or replace")
    draft.at_contract(action(draft, name, f"replace function {name}", (render(node),), lock="", owner=found))
    draft.warnings.append(f"{signature}: is what it was until the change is finished, since old code may rely on that")


def _owner(draft: Draft, name: str, signature: str) -> str | None:
    """Who owns a function; None if there is none."""
    with draft.connection.transaction():
        draft.connection.execute(LOOKING.look_from_inside, {"schema": draft.schema})
        own = Identifier(draft.schema).as_string() + "."
        row = draft.connection.execute("select to_regprocedure(%s) is null", (own + signature,)).fetchone()
    if row == (True,):
        return None
    row = draft.connection.execute(QUERIES.object_owner, {"schema": draft.schema, "name": name}).fetchone()
    return str(row[0]) if row else None


def drop_functions(draft: Draft, statement: Statement) -> None:
    """DROP FUNCTION: at the end.

    Raises:
        ChangeRefused: CASCADE.
    """
    if choice(statement.node, "behavior") == "DROP_CASCADE":
        raise errors.ChangeRefused(statement.text, "it drops what nobody named", "drop each thing by its name, before")
    name = names(inner(statement.node.objects[0]).objname)[-1]
    row = draft.connection.execute(QUERIES.object_owner, {"schema": draft.schema, "name": name}).fetchone()
    owner = str(row[0]) if row else draft.owner
    draft.at_contract(action(draft, name, f"drop function {name}", (render(statement.node),), lock="", owner=owner))


def create_trigger(draft: Draft, statement: Statement) -> None:
    """CREATE TRIGGER: at the end. Until then it would change what old code does."""
    node: Any = statement.node
    table = node.relation.relname
    text = f"{table}: trigger {node.trigname}"
    draft.at_contract(action(draft, table, text, (render(node),), lock=SHARE_ROW_EXCLUSIVE))
    draft.warnings.append(f"{table}: trigger {node.trigname} is there when the change is finished, not before")


def drop_triggers(draft: Draft, statement: Statement) -> None:
    """DROP TRIGGER: at the end, since old code may rely on it."""
    clause = SQL("if exists " if statement.node.missing_ok else "")
    for each in statement.node.objects:
        table, trigger = names(inner(each).items)[-2:]
        table = {new: old for old, new in draft.renamed.items()}.get(table, table)
        do = SQL("drop trigger {}{} on {}").format(clause, Identifier(trigger), Identifier(table)).as_string()
        draft.dropped.add(trigger)
        draft.at_contract(action(draft, table, f"{table}: trigger {trigger} is dropped", (do,)))


PLANNERS: dict[str, Planner] = {
    "CreateFunctionStmt": create_function,
    "drop OBJECT_FUNCTION": drop_functions,
    "drop OBJECT_PROCEDURE": drop_functions,
    "drop OBJECT_ROUTINE": drop_functions,
    "CreateTrigStmt": create_trigger,
    "drop OBJECT_TRIGGER": drop_triggers,
}
