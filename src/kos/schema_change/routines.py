"""Functions and triggers: a new function is there from the start; what changes what old code does, from the end."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL, Identifier

from kos import errors
from kos.schema_change import bodies
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
    schema, name = _named(draft, node.funcname)
    given = [inner(each) for each in node.parameters]
    types = [render_type(each.arg_type) for each in given if choice(each, "mode") in _GIVEN]
    called = Identifier(*names(node.funcname))
    signature = ddl("{name}({types})", name=called, types=literal(", ".join(types)))
    found = _owner(draft, schema, name, ddl("{name}({types})", name=name, types=literal(", ".join(types))))
    if found is None:
        drop = ddl("drop routine {signature}", signature=literal(signature))
        text = f"create function {name}"
        draft.expand.append(action(draft, name, text, (render(node),), (drop,), lock="", owner=draft.owner))
        return
    if not node.replace:
        raise errors.ChangeRefused(signature, "there is such a function already", "write: create or replace")
    _at_contract(draft, schema, name, f"replace function {name}", node, found)
    draft.warnings.append(f"{signature}: is what it was until the change is finished, since old code may rely on that")


def _named(draft: Draft, parts: Any) -> tuple[str, str]:
    """The schema and the name of a function."""
    found = names(parts)
    return (found[-2] if len(found) > 1 else draft.schema), found[-1]


def _at_contract(draft: Draft, schema: str, name: str, text: str, node: Any, owner: str) -> None:
    """In one moment with what else the end has for the tables whose triggers call the function, and for those that it
    names: one without the other would let every write fail."""
    asked = {"function_schema": schema, "schema": draft.schema, "name": name}
    concerned: set[str] = set()
    for body, tables in draft.connection.execute(QUERIES.function, asked).fetchall():
        concerned |= {*tables, *bodies.names_in(body)}
    key = f"function {name}"  # no table is called so without being asked for it
    draft.redone.add((schema, name))
    draft.together.append({key, *concerned})
    draft.at_contract(action(draft, key, text, (render(node),), lock="", owner=owner))


def _owner(draft: Draft, schema: str, name: str, signature: str) -> str | None:
    """Who owns a function; None if there is none."""
    with draft.connection.transaction():
        draft.connection.execute(LOOKING.look_from_inside, {"schema": draft.schema})
        own = Identifier(schema).as_string() + "."
        row = draft.connection.execute("select to_regprocedure(%s) is null", (own + signature,)).fetchone()
    if row == (True,):
        return None
    row = draft.connection.execute(QUERIES.object_owner, {"schema": schema, "name": name}).fetchone()
    return str(row[0]) if row else None


def drop_functions(draft: Draft, statement: Statement) -> None:
    """DROP FUNCTION: at the end.

    Raises:
        ChangeRefused: CASCADE.
    """
    if choice(statement.node, "behavior") == "DROP_CASCADE":
        raise errors.ChangeRefused(statement.text, "it drops what nobody named", "drop each thing by its name, before")
    schema, name = _named(draft, inner(statement.node.objects[0]).objname)
    row = draft.connection.execute(QUERIES.object_owner, {"schema": schema, "name": name}).fetchone()
    owner = str(row[0]) if row else draft.owner
    _at_contract(draft, schema, name, f"drop function {name}", statement.node, owner)


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
        draft.dropped_of.add((table, trigger))
        draft.at_contract(action(draft, table, f"{table}: trigger {trigger} is dropped", (do,)))


PLANNERS: dict[str, Planner] = {
    "CreateFunctionStmt": create_function,
    "drop OBJECT_FUNCTION": drop_functions,
    "drop OBJECT_PROCEDURE": drop_functions,
    "drop OBJECT_ROUTINE": drop_functions,
    "CreateTrigStmt": create_trigger,
    "drop OBJECT_TRIGGER": drop_triggers,
}
