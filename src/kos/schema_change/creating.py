"""Who makes something in a schema, which takes CREATE on it, and whether he may.

PostgreSQL asks for that privilege when the statement runs: without this look beforehand, half of the change would be
there by then.
"""

from __future__ import annotations

from typing import Any

from psycopg.sql import Identifier

from kos import errors, sql
from kos.schema_change import parse
from kos.schema_change.draft import ddl
from kos.schema_change.facts import QUERIES, Connection
from kos.schema_change.model import PHASES, TRANSACTION, Action, Placement, Recipe

_MAKING = {
    "CreateStmt",
    "ViewStmt",
    "CreateTableAsStmt",
    "CreateSeqStmt",
    "CreateFunctionStmt",
    "CreateEnumStmt",
    "CompositeTypeStmt",
    "CreateRangeStmt",
    "CreateDomainStmt",
    "CreateStatsStmt",
    "IndexStmt",
}
_RENAMING = {"OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE", "OBJECT_INDEX", "OBJECT_FUNCTION"}
_INDEXED = {"CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION"}


def refuse_if_not_allowed(connection: Connection, placements: list[Placement], recipes: list[Recipe]) -> None:
    """Look at all placements of a database, each with its recipe.

    Raises:
        ChangeRefused: somewhere an owner lacks CREATE; it says what to grant him.
    """
    makers = [_makers(each) for each in recipes]
    asked = [(each.schema, owner) for each in placements for owner in sorted(makers[each.recipe])]
    facts = {"schemas": [schema for schema, _ in asked], "owners": [owner for _, owner in asked]}
    missing = connection.execute(QUERIES.may_not_create, facts).fetchall()
    for schema, owner in missing[:1]:
        what = next(makers[each.recipe][owner] for each in placements if each.schema == schema)
        raise errors.ChangeRefused(
            f"{what} in {schema}",
            f"it makes something in that schema, where {owner}, who owns the table, may not create anything",
            "; ".join(ddl("grant create on schema {schema} to {owner}", schema=s, owner=o) for s, o in missing),
        )


def _makers(recipe: Recipe) -> dict[str, str]:
    """The roles that make something, each with the first action in which it does."""
    found: dict[str, str] = {}
    for phase in PHASES:
        for each in getattr(recipe, phase):
            if isinstance(each, Action) and each.owner not in found and any(map(_makes, _nodes(each))):
                found[each.owner] = each.text
    return found


def _nodes(action: Action) -> list[Any]:
    """Its statements, as the parser has them."""
    texts = action.do
    if action.kind != TRANSACTION:
        texts = tuple(sql.literal(each).format(schema=Identifier("s")).as_string() for each in texts)
    return [each.node for text in texts for each in parse.parse_statements(text)]


def _makes(node: Any) -> bool:
    sort = parse.kind(node)
    if sort == "RenameStmt":
        return parse.choice(node, "rename_type") in _RENAMING
    if sort == "AlterTableStmt":
        return any(_makes_in_table(parse.inner(each)) for each in node.cmds)
    return sort in _MAKING


def _makes_in_table(command: Any) -> bool:
    """Some commands of ALTER TABLE make an index or a sequence."""
    sort = parse.choice(command, "subtype")
    if sort == "AT_AddConstraint":
        constraint = parse.definition(command).constraint
        return parse.choice(constraint, "contype") in _INDEXED and not constraint.indexname
    return sort == "AT_AddIdentity" or (
        sort == "AT_AddColumn"
        and any(
            parse.choice(each.constraint, "contype") in {"CONSTR_IDENTITY", *_INDEXED}
            for each in parse.definition(command).column_def.constraints
        )
    )
