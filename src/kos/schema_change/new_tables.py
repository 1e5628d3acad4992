"""What a file says of a table that it has made itself: nobody knows that yet, so it goes as it is written. All that
reaches another table is looked at."""

from __future__ import annotations

from typing import Any

from psycopg.sql import Literal

from kos import errors
from kos.schema_change import parse
from kos.schema_change.composing import SHARE_ROW_EXCLUSIVE, action
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.parse import Statement, shown

_MADE = ("RenameStmt", "DropStmt", "CreateStmt")
_OF_THE_TABLE = ("AlterTableStmt", "IndexStmt", "CreateTrigStmt", "RuleStmt", "CreatePolicyStmt", "AlterPolicyStmt")
_ROWS = ("InsertStmt", "UpdateStmt", "DeleteStmt")
_TREES = ("AT_AttachPartition", "AT_DetachPartition", "AT_DetachPartitionFinalize", "AT_AddInherit", "AT_DropInherit")


def of_new_table(draft: Draft, table: str, statement: Statement) -> None:
    """The table takes all of it along when it is dropped.

    Raises:
        ChangeRefused: it would take along what was there before, or read, or bind it.
    """
    node, kind = statement.node, parse.kind(statement.node)
    if kind in _MADE:
        raise errors.ChangeRefused(table, "this change has made it above", "write it as it is to be")
    if kind not in (*_OF_THE_TABLE, *_ROWS):
        raise errors.ChangeRefused(
            f"line {statement.line}: {shown(statement)}",
            "kos does not know what that would do to the tables that are there",
            "run it yourself, when the change is finished",
        )
    for command in node.cmds if kind == "AlterTableStmt" else ():
        _refuse_command(draft, table, parse.choice(parse.inner(command), "subtype"), node)
    others = _others(draft, node)
    if others and kind in _ROWS:
        raise errors.ChangeRefused(
            f"{table}: {shown(statement)}",
            f"it reads {', '.join(others)}, whose rows go on changing until the change is finished",
            "fill it from your code, which writes to both meanwhile",
        )
    if kind == "IndexStmt":
        node.concurrent = False
    referred = tuple(others) if kind == "AlterTableStmt" else ()
    lock = SHARE_ROW_EXCLUSIVE if referred else ""
    text = shown(statement)
    draft.expand.append(action(draft, table, text, (parse.render(node),), lock=lock, owner=draft.owner, also=referred))


def _refuse_command(draft: Draft, table: str, subtype: str, node: Any) -> None:
    if subtype == "AT_ChangeOwner":
        reason = "who takes the change back may not be allowed to drop it then"
    elif subtype in _TREES and _others(draft, node):
        reason = "a table that is there already would be part of one that is dropped if the change is taken back"
    else:
        return
    raise errors.ChangeRefused(f"{table}: {parse.render(node)}", reason, "run it yourself, when the change is finished")


def _others(draft: Draft, node: Any) -> list[str]:
    """The tables that it names and that the change has not made."""
    inside = list(parse.inside(node))
    within = {each.ctename for each in inside if type(each).__name__ == "CommonTableExpr"}
    named = {each.relname for each in inside if type(each).__name__ == "RangeVar"}
    return sorted(named - within - draft.created)


def drop_again(name: str) -> str:
    """Take a table back that the change has made. What somebody else has made a part of it meanwhile would go along."""
    body = ddl(_DROP, name=name, table=Literal(ddl("{name}", name=name)))
    return ddl("do {body}", body=Literal(body))


_DROP = """
declare
  part text := (select inhrelid::regclass::text from pg_inherits where inhparent = {table}::regclass limit 1);
begin
  if part is not null then
    raise dependent_objects_still_exist
      using message = format('%s is a part of %s, which is to be dropped; this change has not made it', part, {table}),
            hint = 'detach it, or drop it';
  end if;
  drop table {name};
end
"""
