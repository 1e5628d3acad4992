"""ALTER COLUMN … TYPE. Where PostgreSQL need not touch a row it is done as it stands, at the end; else by a second
column that is kept equal until it takes the first one's place."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import psycopg
from psycopg.sql import SQL, Identifier

from kos import errors, sql
from kos.schema_change import domains, in_log, shadow
from kos.schema_change.composing import action, alter_sql
from kos.schema_change.draft import Draft, Planner, ddl
from kos.schema_change.facts import QUERIES, Column, Table
from kos.schema_change.model import CONTRACT
from kos.schema_change.parse import (
    Statement,
    choice,
    columns_of,
    definition,
    inner,
    kind,
    names,
    parse_expression,
    parse_statement,
    rename_columns,
    render_expression,
    render_type,
)

# Depend on a column so that PostgreSQL refuses to give it another type, or to drop it.
_IN_THE_WAY = ("view", "materialized view", "rule", "policy", "function", "trigger", "generated column", "publication")
_INSTEAD = {
    **dict.fromkeys(
        ("policy", "trigger", "view", "materialized view"),
        "drop it before, and create it again after that, in the same change",
    ),
    "generated column": "drop it before, in the same change",
}
_NUMBERS = ("smallint", "integer", "bigint")
_LENGTHS = ("character varying", "bit varying")
_PRECISIONS = ("timestamp", "time", "interval")
_TYPE = re.compile(r"([a-z][a-z ]*?)(?:\((\d+)(?:,(-?\d+))?\))?( with(?:out)? time zone)?")


class Resolved(NamedTuple):
    """A type as the catalog tells it, and what its values are stored as: of a domain, the type that it is made of."""

    name: str
    stored: str
    indexed_alike: bool
    """Whether an index over that is one over this."""


def alter_type(draft: Draft, table: str, command: Any) -> None:
    """ALTER TABLE … ALTER COLUMN … TYPE …

    Raises:
        ChangeRefused: something that can't be made for the other column depends on this one.
    """
    facts, called, node = draft.table(table), command.name, inner(definition(command))
    what, renamed = f"{table}.{called}", (table, called) in draft.retyped
    name = draft.physical.pop((table, called)) if renamed else called
    known = _known(draft, facts, name)
    _refuse_dependents(draft, facts, known, what)
    wanted = render_type(node.type_name)
    resolved = _resolved(draft, wanted)
    if renamed:
        rename_columns(node.raw_default, called, name)
    using = render_expression(node.raw_default) if node.HasField("raw_default") else None
    collation = Identifier(*parts).as_string() if (parts := names(node.coll_clause.collname)) else ""
    plain = using is None or _is_plain(node.raw_default, name)
    stays = plain and not renamed and not collation and not _is_read_again(facts, name)
    if stays and resolved and _holds(draft, known, resolved, node.type_name):
        _in_place(draft, table, name, known, command)
        return
    domains.refuse_checked(draft, what, node.type_name)
    new = resolved.name if resolved else wanted
    if known.identity and new not in _NUMBERS:
        raise errors.ChangeRefused(what, f"an identity column can't be {new}", f"make it {', '.join(_NUMBERS)}")
    back = _back(draft, table, name, called)
    _refuse_uncastable(draft, what, known.type, new, forward=using is None, backward=back is None)
    in_log.refuse_retype(draft, facts, known, new, plain=plain)
    column = ddl("{name}", name=name)
    shadow.replace_column(
        draft,
        facts,
        known,
        shadow.Wanted(called, new, collation or known.collation or "", using or column, back or column),
    )


def renamed_before(statements: tuple[Statement, ...]) -> set[tuple[str, str]]:
    """Columns that get another type after another name in one file, by that name: they need only one successor."""
    renamed, found = set(), set()
    for each in statements:
        node = each.node
        if kind(node) == "RenameStmt" and choice(node, "rename_type") == "OBJECT_COLUMN":
            renamed.add((node.relation.relname, node.newname))
        for command in map(inner, node.cmds if kind(node) == "AlterTableStmt" else ()):
            if choice(command, "subtype") == "AT_AlterColumnType":
                found.add((node.relation.relname, command.name))
    return renamed & found


def _back(draft: Draft, table: str, name: str, called: str) -> str | None:
    """What old code is to see, over the column by its old name."""
    said = draft.directives.back.get((table, name)) or draft.directives.back.get((table, called))
    if said is None or name == called:
        return said
    node = parse_expression(said)
    rename_columns(node, called, name)
    return render_expression(node)


def _known(draft: Draft, facts: Table, name: str) -> Column:
    what = f"{facts.name}.{name}"
    if draft.is_fresh(facts.name, name):
        raise errors.ChangeRefused(what, "this change has made the column above", "write it as it is to be")
    if (facts.name, name) in draft.physical:
        raise errors.ChangeRefused(what, "this change gives it a type already", "write the type that it is to have")
    if name not in facts.columns:
        raise errors.ChangeRefused(what, "there is no such column", f"look: \\d {facts.name}")
    known = facts.columns[name]
    if known.generated:
        raise errors.ChangeRefused(
            what, "it is a generated column", "add a generated column of that type, and drop this one"
        )
    late = [each for each, columns in draft.taken.items() if name in columns]
    if late:
        raise errors.ChangeRefused(
            what,
            f"this change has made {late[0]} over it above",
            "write the other type first, and then what is over it",
        )
    return known


def _refuse_dependents(draft: Draft, facts: Table, known: Column, what: str) -> None:
    for of, sort, name in facts.readers:
        if of == known.name and sort in _IN_THE_WAY and not draft.drops(facts.name, sort, name):
            instead = _INSTEAD.get(sort, f"drop the {sort} before the change, and create it when that is finished")
            raise errors.ChangeRefused(what, f"the {sort} {name} reads it", instead)
    if facts.is_partition:
        raise errors.ChangeRefused(what, "a partition has the types of its table", "say it of that table")
    if known.name in facts.partition_key:
        raise errors.ChangeRefused(
            what,
            "the table is partitioned by it, and PostgreSQL lets nothing take the place of that",
            "make a new table, fill it, and let code change over",
        )


def _holds(draft: Draft, known: Column, new: Resolved, type_name: Any) -> bool:
    """Whether values of a column are values of the other type as they are stored, and none need be looked at."""
    if known.type == new.name:
        return True
    fits = new.indexed_alike and widens(known.type, new.stored)
    return fits and not domains.is_checked(draft, type_name)


def widens(old: str, new: str) -> bool:
    """Whether each value of the one type is, as it is stored, a value of the other. Both as format_type tells them."""
    before, after = _TYPE.fullmatch(old), _TYPE.fullmatch(new)
    if old == new:
        return True
    if before is None or after is None:
        return False
    name, other = before[1] + (before[4] or ""), after[1] + (after[4] or "")
    if {name, other} <= {"text", "character varying"}:
        return after[2] is None or (before[2] is not None and int(after[2]) >= int(before[2]))
    if name != other:
        return False
    if name == "numeric":
        same = before[3] == after[3] and before[2] is not None
        return after[2] is None or (same and int(after[2]) >= int(before[2]))
    if name in _LENGTHS or before[1] in _PRECISIONS:
        return after[2] is None or (before[2] is not None and int(after[2]) >= int(before[2]))
    return False


def _is_read_again(facts: Table, column: str) -> bool:
    """PostgreSQL checks all rows again, and builds indexes again that have a condition or an expression."""
    checks = [each for each in facts.constraints.values() if each.kind in "cx" and column in each.columns]
    indexes = [each for each in facts.indexes.values() if column in each.columns]
    return bool(checks) or any(_is_special(each.definition) for each in indexes)


def _is_special(index: str) -> bool:
    """Whether an index has an expression or a condition."""
    node = parse_statement(index)
    return node.HasField("where_clause") or any(not each.index_elem.name for each in node.index_params)


def _in_place(draft: Draft, table: str, name: str, known: Column, command: Any) -> None:
    text = f"{table}.{name} becomes {render_type(inner(definition(command)).type_name)}"
    others = [of for of, *_ in draft.table(table).referred_by]
    others += [each.refers_to for each in draft.table(table).constraints.values() if each.refers_to]
    also = tuple(dict.fromkeys(each for each in others if "." not in each))
    draft.at_contract(action(draft, table, text, (alter_sql(table, command),), also=also))
    draft.analyze(table, CONTRACT)
    draft.warnings.append(
        f"{table}.{name}: takes what {known.type} does until the change is finished; with that, a prepared SELECT of it"
        " has to be prepared again"
    )


def _is_plain(using: Any, name: str) -> bool:
    """The column itself, perhaps with a cast."""
    node = inner(using)
    while type(node).__name__ == "TypeCast":
        node = inner(node.arg)
    return type(node).__name__ == "ColumnRef" and columns_of(node) == {name}


def _resolved(draft: Draft, wanted: str) -> Resolved | None:
    """None for a type that isn't there yet. A value of it is never made: a domain may have none that is null."""
    try:
        with draft.connection.transaction():
            draft.connection.execute(QUERIES.look_from_inside, {"schema": draft.schema})
            cursor = draft.connection.execute(SQL("select cast(null as {}) limit 0").format(sql.literal(wanted)))
            assert cursor.pgresult is not None
            asked = {"type": wanted, "base": cursor.pgresult.ftype(0), "modifier": cursor.pgresult.fmod(0)}
            row = draft.connection.execute(QUERIES.resolved, asked).fetchone()
            return Resolved(*row) if row else None
    except psycopg.errors.UndefinedObject:
        return None


def _refuse_uncastable(draft: Draft, what: str, old: str, new: str, *, forward: bool, backward: bool) -> None:
    """Without an expression, there must be a cast."""
    for asked, source, target, instead in (
        (forward, old, new, "say how: … type … using <expression>"),
        (backward, new, old, f"say what old code is to see: -- kos: back {what} = <expression over the new column>"),
    ):
        if asked and not _casts(draft, source, target):
            raise errors.ChangeRefused(what, f"PostgreSQL has no cast from {source} to {target}", instead)


def _casts(draft: Draft, source: str, target: str) -> bool:
    query = SQL("select cast(cast(null as {}) as {}) limit 0").format(sql.literal(source), sql.literal(target))
    try:
        with draft.connection.transaction():
            draft.connection.execute(QUERIES.look_from_inside, {"schema": draft.schema})
            draft.connection.execute(query)
    except psycopg.errors.UndefinedObject:
        return True  # a type that this change makes
    except psycopg.errors.CannotCoerce:
        return False
    return True


PLANNERS: dict[str, Planner] = {"AT_AlterColumnType": alter_type}
