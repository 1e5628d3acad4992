"""The bodies of functions: PostgreSQL knows of no name in them, and they find out when they are next called.

So a trigger's function that reads a column by its old name lets every write fail, once the name is gone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

from psycopg.rows import class_row

from kos import errors
from kos.schema_change import act
from kos.schema_change.draft import Draft
from kos.schema_change.facts import Connection, read_table
from kos.schema_change.model import Loss, Recipe
from kos.schema_change.naming import QUERIES
from kos.schema_change.nodes import Unreadable, tokens
from kos.schema_change.parse import Statement, choice, folded, inner, inside, is_name, kind, parse_statement
from kos.schema_change.site import Site

_ROWS = ("new", "old")


@dataclass(frozen=True)
class Words:
    """The names that a body has: each alone, each with what stands before its dot, and those in its strings."""

    names: set[str] = field(default_factory=set)
    pairs: set[tuple[str, str]] = field(default_factory=set)
    strings: list[Words] = field(default_factory=list)

    def reads(self, table: str, column: str, *, named_rows: bool) -> bool:
        """Whether a trigger's function on the table must fail without the column."""
        if any((row, column) in self.pairs for row in _ROWS):
            return True
        return column in self.names and (table in self.names or named_rows)

    def mentions(self, table: str, column: str) -> bool:
        """Whether the column may be meant, in a string too."""
        return column in self.names or any(each.is_sql_of(table, column) for each in self.strings)

    def is_sql_of(self, table: str, column: str) -> bool:
        """Of a string: whether it is the column's name, or SQL that may mean the column."""
        after_dots = {name for _, name in self.pairs}
        return self.names == {column} or column in after_dots or {table, column} <= self.names

    @property
    def everywhere(self) -> set[str]:
        """All names."""
        return self.names.union(*(each.names for each in self.strings))


def words_of(body: str) -> Words:
    """What a body says, in PL/pgSQL or SQL.

    Raises:
        Unreadable: in some other language.
    """
    found, raw, before = Words(), body.encode(), ["", ""]
    for token in tokens(body):
        text = raw[token.start : token.end].decode()
        if choice(token, "token") == "SCONST":
            found.strings.append(_inside_string(text))
        elif is_name(token, text):
            found.names.add(folded(text))
            if before[1] == ".":
                found.pairs.add((before[0], folded(text)))
        before = [before[1], folded(text)]
    return found


def names_in(body: str) -> set[str]:
    """All names in a body; none that can't be read."""
    try:
        return words_of(body).everywhere
    except Unreadable:
        return set()


def _inside_string(text: str) -> Words:
    """What a string says, which may be SQL to be executed."""
    if text.startswith("$"):
        mark = text[: text.index("$", 1) + 1]
        text = text[len(mark) : -len(mark)]
    else:
        text = text[text.index("'") + 1 : -1].replace("''", "'")
    try:
        return words_of(text)
    except Unreadable:
        return Words()


@dataclass(frozen=True)
class Routine:
    """A function that is called by triggers of a table, or is in its schema. `trigger` is one of those, `arguments`
    what it gives; `named_rows` says that it has transition tables. `takes` says that the table's row type is among the
    function's arguments."""

    schema: str
    name: str
    signature: str
    language: str
    body: str
    trigger: str | None
    arguments: list[str]
    named_rows: bool
    takes: bool


def look_into_functions(draft: Draft, statements: tuple[Statement, ...]) -> tuple[Loss, ...]:
    """Refuse what functions of triggers would fail at, unless the file gives them another body. Returns what has to be
    looked for again before the end.

    Raises:
        ChangeRefused
    """
    found: list[Loss] = []
    for loss in losses(statements):
        if loss.table in draft.created or loss.table in draft.dropped:
            continue
        facts = draft.table(loss.table)
        functions = tuple(sorted(f"{schema}.{name}" for schema, name in draft.redone))
        triggers = tuple(sorted(name for table, name in draft.dropped_of if table == loss.table))
        found.append(replace(loss, owner=facts.owner, functions=functions, triggers=triggers))
        for routine in _routines(draft.connection, facts.oid, draft.schema):
            if not _is_seen_to(found[-1], routine):
                _look_into(draft, loss, routine)
    return tuple(each for each in found if not each.retyped)


def refuse_readers(site: Site, recipe: Recipe) -> None:
    """Somebody may have made, or put back, a function that needs what goes, since the change was planned.

    Raises:
        ChangeFailed
    """
    if recipe.losses and recipe.contract and act.is_done(site, recipe.contract[0].name):
        return  # a run that was ended has come further
    for loss in recipe.losses:
        with site.transaction(loss.owner) as connection:
            facts = read_table(connection, site.placement.schema, loss.table)
            routines = _routines(connection, facts.oid, site.placement.schema) if facts else []
        for routine in routines:
            fault = None if _is_seen_to(loss, routine) else _fault(loss, routine)
            if fault is not None:
                what = f"{loss.table}.{loss.column}" if loss.column else loss.table
                raise errors.ChangeFailed(what, site.placement.name, fault.reason, fault.at_finish)


def _is_seen_to(loss: Loss, routine: Routine) -> bool:
    """By the file."""
    return routine.trigger in loss.triggers or f"{routine.schema}.{routine.name}" in loss.functions


def losses(statements: tuple[Statement, ...]) -> Iterator[Loss]:
    """What is renamed, dropped or gets another type."""
    for each in statements:
        node: Any = each.node
        if kind(node) == "RenameStmt" and choice(node, "rename_type") == "OBJECT_COLUMN":
            yield Loss(node.relation.relname, node.subname, node.newname)
        elif kind(node) == "RenameStmt" and choice(node, "rename_type") == "OBJECT_TABLE":
            yield Loss(node.relation.relname, None, node.newname)
        for command in map(inner, node.cmds if kind(node) == "AlterTableStmt" else ()):
            if choice(command, "subtype") == "AT_DropColumn":
                yield Loss(node.relation.relname, command.name, None)
            elif choice(command, "subtype") == "AT_AlterColumnType":
                yield Loss(node.relation.relname, command.name, command.name, retyped=True)


def _routines(connection: Connection, table: int, schema: str) -> list[Routine]:
    with connection.cursor(row_factory=class_row(Routine)) as cursor:
        return cursor.execute(QUERIES.routines, {"oid": table, "schema": schema}).fetchall()


def _look_into(draft: Draft, loss: Loss, routine: Routine) -> None:
    what = f"{loss.table}.{loss.column}" if loss.column else loss.table
    fault = _fault(loss, routine)
    if fault is not None:
        raise errors.ChangeRefused(what, fault.reason, fault.instead)
    if routine.language in ("c", "internal"):
        return
    words = _words(routine)
    if words is not None and not _is_about(words, loss, routine):
        return
    says = (
        f"has the name {loss.column or loss.table}" if words else f"is in {routine.language}, which kos does not read"
    )
    draft.warnings.append(f"{what}: function {_called(routine)}, {says}: see that it works before and after finish")


class Fault(NamedTuple):
    """Why every write would fail when the change is finished, and what to do instead: in the file, or at finish."""

    reason: str
    instead: str
    at_finish: str


def _fault(loss: Loss, routine: Routine) -> Fault | None:
    name = loss.column or loss.table
    if loss.retyped or not routine.trigger:
        return None
    if loss.column and name in routine.arguments:
        return Fault(
            f"the trigger {routine.trigger} gives the name to {routine.signature}",
            "drop the trigger before, and create it again below, in the same file",
            "drop the trigger, to create it again when the change is finished,",
        )
    words = None if routine.language in ("c", "internal") else _words(routine)
    if not words or not _is_about(words, loss, routine) or not _needs(words, loss, routine):
        return None
    form = f"in a form for {loss.becomes}" if loss.becomes else "in a form without it"
    reads = f"NEW.{name}" if loss.column else name
    return Fault(
        f"function {_called(routine)}, reads {reads}: every write would fail when the change is finished",
        f"replace it below in the same file, {form}",
        f"replace it, {form},",
    )


def _called(routine: Routine) -> str:
    return f"{routine.signature}, of trigger {routine.trigger}" if routine.trigger else routine.signature


def _words(routine: Routine) -> Words | None:
    try:
        return words_of(routine.body)
    except Unreadable:
        return None


def _is_about(words: Words, loss: Loss, routine: Routine) -> bool:
    if loss.column is None:
        return loss.table in words.everywhere
    if routine.trigger:
        return words.mentions(loss.table, loss.column)
    return loss.column in words.everywhere and (routine.takes or loss.table in words.everywhere)


def _needs(words: Words, loss: Loss, routine: Routine) -> bool:
    if loss.column is None:
        return loss.table in words.names
    return words.reads(loss.table, loss.column, named_rows=routine.named_rows)


_INSERT = re.compile(r"\binsert\s+into\b.*?(?=;|\breturning\b|\Z)", re.IGNORECASE | re.DOTALL)


def refuse_spread_rows(draft: Draft) -> None:
    """INSERT … SELECT NEW.* into a table of its own, as the example of an audit trigger in PostgreSQL's manual: with a
    second or a new column it has a value too many, and every write fails, from the start on.

    Raises:
        ChangeRefused
    """
    growing = {*draft.fresh, *(table for table, _ in draft.physical)} - draft.created
    for table in sorted(growing):
        for routine in _routines(draft.connection, draft.table(table).oid, draft.schema):
            if routine.trigger and spreads_row(routine.body):
                raise errors.ChangeRefused(
                    table,
                    f"function {routine.signature}, of trigger {routine.trigger}, inserts NEW.* or OLD.*: with one more"
                    " column every write would fail",
                    "replace it before, in a change of its own, by one that names the columns",
                )


def spreads_row(body: str) -> bool:
    """Whether a trigger's function inserts all columns of the row one by one."""
    for found in _INSERT.finditer(body):
        try:
            node = parse_statement(found[0])
        except errors.ChangeUnreadable:
            continue
        selects = [each for each in inside(node) if type(each).__name__ == "SelectStmt"]
        values = [inner(target).val for each in selects for target in each.target_list]
        values += [value for each in selects for row in each.values_lists for value in inner(row).items]
        if any(_is_spread(each) for each in values):
            return True
    return False


def _is_spread(value: Any) -> bool:
    """NEW.* or (NEW).*"""
    node: Any = inner(value)
    if kind(node) == "A_Indirection":
        row = inner(node.arg)
        return kind(row) == "ColumnRef" and _is_row(row.fields) and _is_star(node.indirection[0])
    return kind(node) == "ColumnRef" and len(node.fields) == 2 and _is_row(node.fields[:1]) and _is_star(node.fields[1])


def _is_row(fields: Any) -> bool:
    return len(fields) == 1 and fields[0].string.sval in _ROWS


def _is_star(part: Any) -> bool:
    return bool(part.WhichOneof("node") == "a_star")
