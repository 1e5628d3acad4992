"""What only touches the catalog for a moment: comments, options, policies, statistics, sequences; and what is no change
of a schema at all."""

from __future__ import annotations

from typing import Any

from psycopg.sql import SQL, Identifier, Literal

from kos import errors
from kos.schema_change import privileges, routines
from kos.schema_change.composing import SHARE_UPDATE_EXCLUSIVE, action, alter_sql, use_physical
from kos.schema_change.draft import Draft, Planner, ddl
from kos.schema_change.indexes import find
from kos.schema_change.model import BUILD
from kos.schema_change.naming import QUERIES, choose, joined
from kos.schema_change.parse import Statement, choice, definition, inner, kind, names, render

# Of a table, or of something that is named with its table.
_OF_TABLES = ("OBJECT_TABLE", "OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_FOREIGN_TABLE", "OBJECT_SEQUENCE")
_WITH_TABLES = ("OBJECT_COLUMN", "OBJECT_TABCONSTRAINT", "OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE")


def comment(draft: Draft, statement: Statement) -> None:
    """COMMENT: at the end, when all has its name; no code reads comments."""
    node = statement.node
    what = choice(node, "objtype")
    parts = names(inner(node.object).items) if type(inner(node.object)).__name__ == "List" else []
    if what in _OF_TABLES + _WITH_TABLES:
        table = parts[0] if what in _WITH_TABLES else parts[-1]
        present = {new: old for old, new in draft.renamed.items()}.get(table, table)
        if present != table:
            inner(node.object).items[0 if what in _WITH_TABLES else len(parts) - 1].string.sval = present
        owner = _owner(draft, present)
    elif what == "OBJECT_INDEX":
        present, owner = _of_index(draft, parts[-1])
    else:
        present, owner = "the schema", _owner_of_other(draft, node)
    lock = SHARE_UPDATE_EXCLUSIVE if present != "the schema" else ""
    step = action(
        draft,
        present,
        f"comment on {what[7:].lower()} {'.'.join(parts)}".rstrip(),
        (render(node),),
        lock=lock,
        owner=owner,
    )
    if present in draft.created:
        draft.expand.append(step)
    else:
        draft.at_contract(step)


def _owner(draft: Draft, relation: str) -> str:
    row = draft.connection.execute(QUERIES.owner, {"schema": draft.schema, "name": relation}).fetchone()
    return str(row[0]) if row else draft.owner


def _of_index(draft: Draft, index: str) -> tuple[str, str]:
    """The table of an index, which may be one that the change makes, and its owner."""
    found = find(draft, index)
    if found is not None:
        return found.table, found.owner
    for each in (*draft.build, *draft.tighten):
        if getattr(each, "index", None) == index:
            return each.table, each.owner
    raise errors.ChangeRefused(f"index {index}", "there is no such index", f"look: \\di {index}")


def _owner_of_other(draft: Draft, node: Any) -> str:
    """Of a type or function; else of whoever has the schema."""
    called = inner(node.object)
    name = next((names(getattr(called, each))[-1] for each in ("names", "objname") if hasattr(called, each)), "")
    row = draft.connection.execute(QUERIES.object_owner, {"schema": draft.schema, "name": name}).fetchone()
    return str(row[0]) if row else draft.owner


# what ALTER TABLE says of options


def at_the_end(lock: str) -> Planner:
    """A planner for a command that changes the catalog only, when everything has its name."""

    def plan(draft: Draft, table: str, command: Any) -> None:
        words = choice(command, "subtype").removeprefix("AT_")
        text = f"{table}: {words} {command.name}".rstrip()
        draft.at_contract(action(draft, table, text, (alter_sql(table, command),), lock=lock))

    return plan


def set_options(draft: Draft, table: str, command: Any) -> None:
    """ALTER TABLE … SET (…): from the start, so that the backfill has them too."""
    options = [inner(each) for each in inner(definition(command)).items]
    do = (alter_sql(table, command),)
    if any(each.defnamespace for each in options):
        draft.at_contract(action(draft, table, f"{table}: options", do, lock=SHARE_UPDATE_EXCLUSIVE))
        return
    row = draft.connection.execute(QUERIES.owner, {"schema": draft.schema, "name": table}).fetchone()
    before = dict(each.split("=", 1) for each in row[2]) if row else {}
    named = [each.defname for each in options]
    undo = [_reset(table, named)]
    if again := {each: before[each] for each in named if each in before}:
        pairs = SQL(", ").join(SQL("{} = {}").format(Identifier(key), Literal(value)) for key, value in again.items())
        undo.append(SQL("alter table {} set ({})").format(Identifier(table), pairs).as_string())
    draft.expand.append(action(draft, table, f"{table}: options", do, tuple(undo), lock=SHARE_UPDATE_EXCLUSIVE))


def _reset(table: str, options: list[str]) -> str:
    listed = SQL(", ").join(map(Identifier, options))
    return SQL("alter table {} reset ({})").format(Identifier(table), listed).as_string()


def refuse_rewrite(_draft: Draft, table: str, command: Any) -> None:
    """What copies a whole table while nobody can read it.

    Raises:
        ChangeRefused: always.
    """
    raise errors.ChangeRefused(
        f"{table}: {choice(command, 'subtype').removeprefix('AT_')}",
        "PostgreSQL copies the whole table, and nobody reads it meanwhile",
        "do it by itself when nobody needs the table, or make a new table and let code change over",
    )


# policies


def create_policy(draft: Draft, statement: Statement) -> None:
    """CREATE POLICY: one that lets more rows be seen is there from the start; one that restricts, or takes the place of
    another of its name, from the end. So is one of a table that the file restricts: else all of its rows were seen
    until then."""
    node = statement.node
    table = node.table.relname
    text = f"{table}: policy {node.policy_name}"
    if not node.permissive or (table, node.policy_name) in draft.dropped_of or draft.narrows(table):
        draft.at_contract(action(draft, table, text, (render(node),)))
        return
    use_physical(draft, table, node)
    drop = ddl("drop policy {policy} on {table}", policy=node.policy_name, table=table)
    draft.expand.append(action(draft, table, text, (render(node),), (drop,)))


def narrowed(statements: tuple[Statement, ...]) -> set[str]:
    """The tables of which a file lets fewer rows be seen."""
    found = set()
    for each in statements:
        node: Any = each.node
        if kind(node) == "AlterPolicyStmt" or (kind(node) == "CreatePolicyStmt" and not node.permissive):
            found.add(node.table.relname)
        for command in map(inner, node.cmds if kind(node) == "AlterTableStmt" else ()):
            if choice(command, "subtype") in ("AT_EnableRowSecurity", "AT_ForceRowSecurity"):
                found.add(node.relation.relname)
    return found


def alter_policy(draft: Draft, statement: Statement) -> None:
    """ALTER POLICY: at the end, since old code sees by what it says."""
    table = statement.node.table.relname
    text = f"{table}: policy {statement.node.policy_name} is altered"
    draft.at_contract(action(draft, table, text, (render(statement.node),)))


def rename_policy(draft: Draft, statement: Statement) -> None:
    """ALTER POLICY … RENAME TO …: at the end, though only people know it by its name."""
    node = statement.node
    table = node.relation.relname
    draft.at_contract(action(draft, table, f"{table}: policy {node.subname} becomes {node.newname}", (render(node),)))


def drop_policies(draft: Draft, statement: Statement) -> None:
    """DROP POLICY: at the end."""
    for each in statement.node.objects:
        table, policy = names(each.list.items)[-2:]
        table = {new: old for old, new in draft.renamed.items()}.get(table, table)
        clause = "if exists " if statement.node.missing_ok else ""
        draft.dropped_of.add((table, policy))
        do = (SQL("drop policy {}{} on {}").format(SQL(clause), Identifier(policy), Identifier(table)).as_string(),)
        draft.at_contract(action(draft, table, f"{table}: policy {policy} is dropped", do))


# statistics


def create_statistics(draft: Draft, statement: Statement) -> None:
    """CREATE STATISTICS: from the start; it asks nothing of anybody."""
    node = statement.node
    table = node.relations[0].range_var.relname
    if not node.defnames:
        parts = [each.stats_elem.name or "expr" for each in node.exprs]
        node.defnames.add().string.sval = choose(draft, table, joined(parts), "stat")
    name = names(node.defnames)[-1]
    draft.taken[name] = ()
    use_physical(draft, table, node)
    undo = () if table in draft.created else (ddl("drop statistics {name}", name=name),)
    text = f"{table}: statistics {name}"
    draft.expand.append(action(draft, table, text, (render(node),), undo, lock=SHARE_UPDATE_EXCLUSIVE))
    draft.analyze(table, BUILD)


def change_statistics(draft: Draft, statement: Statement) -> None:
    """ALTER and DROP STATISTICS: at the end.

    Raises:
        ChangeRefused: there are none of that name.
    """
    node = statement.node
    named = [names(each.list.items) for each in node.objects] if hasattr(node, "objects") else [names(node.defnames)]
    for parts in named:
        row = draft.connection.execute(QUERIES.statistics, {"schema": draft.schema, "name": parts[-1]}).fetchone()
        if row is None and node.missing_ok:
            continue
        if row is None or len(named) > 1:
            reason = "there are no such statistics" if row is None else "one statement is about several"
            raise errors.ChangeRefused(f"statistics {parts[-1]}", reason, "write a statement for each, by its name")
        text = f"{row[0]}: statistics {parts[-1]}"
        draft.at_contract(action(draft, row[0], text, (render(node),), lock=SHARE_UPDATE_EXCLUSIVE, owner=row[1]))


# sequences


def alter_sequence(draft: Draft, statement: Statement) -> None:
    """ALTER SEQUENCE: at the end, its owning column too."""
    name = statement.node.sequence.relname
    owned = [inner(each.def_elem.arg).items for each in statement.node.options if each.def_elem.defname == "owned_by"]
    table = names(owned[0])[0] if owned and len(owned[0]) > 1 else name
    owner = _owner(draft, name)
    text = f"alter sequence {name}"
    draft.at_contract(action(draft, table, text, (render(statement.node),), lock="SHARE ROW EXCLUSIVE", owner=owner))


# what is no change of a schema

_REASONS = {
    "rows": ("it changes rows, not the schema", "say what fills a column in a comment: -- kos: fill TABLE.COLUMN = …"),
    "code": ("what it does can't be known beforehand", "write the statements that it would run"),
    "transaction": ("each step of a change is a transaction of its own", "leave it out"),
    "setting": ("the steps of a change have settings of their own", "leave it out"),
    "upkeep": ("it changes nothing of the schema", "run it by itself"),
}
_KINDS = {
    **dict.fromkeys(("InsertStmt", "UpdateStmt", "DeleteStmt", "MergeStmt", "CopyStmt", "TruncateStmt"), "rows"),
    **dict.fromkeys(("DoStmt", "CallStmt", "SelectStmt", "ExecuteStmt"), "code"),
    **dict.fromkeys(("TransactionStmt", "LockStmt"), "transaction"),
    "VariableSetStmt": "setting",
    **dict.fromkeys(("VacuumStmt", "ClusterStmt", "RefreshMatViewStmt", "CheckPointStmt"), "upkeep"),
}


def _refusal(why: str) -> Planner:
    def plan(_draft: Draft, statement: Statement) -> None:
        reason, instead = _REASONS[why]
        raise errors.ChangeRefused(f"line {statement.line}: {' '.join(statement.text.split())[:80]}", reason, instead)

    return plan


_CATALOG_ONLY = {
    "SHARE UPDATE EXCLUSIVE": ("SetStatistics", "SetOptions", "ResetOptions", "ClusterOn", "DropCluster"),
    "SHARE ROW EXCLUSIVE": tuple(
        on + what
        for on in ("Enable", "Disable")
        for what in ("Trig", "TrigAll", "TrigUser", "AlwaysTrig", "ReplicaTrig")
    ),
    "ACCESS EXCLUSIVE": (
        *("SetStorage", "SetCompression", "ReplicaIdentity"),
        *("EnableRowSecurity", "DisableRowSecurity", "ForceRowSecurity", "NoForceRowSecurity"),
    ),
}

PLANNERS: dict[str, Planner] = {
    **privileges.PLANNERS,
    **routines.PLANNERS,
    **{f"AT_{each}": at_the_end(lock) for lock, commands in _CATALOG_ONLY.items() for each in commands},
    **{f"AT_{each}": refuse_rewrite for each in ("SetLogged", "SetUnLogged", "SetTableSpace", "SetAccessMethod")},
    **{kind: _refusal(why) for kind, why in _KINDS.items()},
    "AT_SetRelOptions": set_options,
    "AT_ResetRelOptions": set_options,
    "CommentStmt": comment,
    "CreatePolicyStmt": create_policy,
    "AlterPolicyStmt": alter_policy,
    "rename OBJECT_POLICY": rename_policy,
    "drop OBJECT_POLICY": drop_policies,
    "CreateStatsStmt": create_statistics,
    "AlterStatsStmt": change_statistics,
    "drop OBJECT_STATISTIC_EXT": change_statistics,
    "AlterSeqStmt": alter_sequence,
}
