"""The nodes of a parsed statement: protobuf messages of libpg_query's.

The only module that knows the parser. `choice` reads an enum of theirs as PostgreSQL's source names it, and the
`render…` functions make SQL of them again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import postgast
from psycopg.sql import SQL, Identifier

from kos.sql import literal


class Unreadable(ValueError):
    """It isn't SQL. `position` is where that shows, in characters."""

    def __init__(self, reason: str, position: int) -> None:
        super().__init__(reason)
        self.position = position


def parsed(text: str) -> Any:
    """The statements of a text, as the parser gives them.

    Raises:
        Unreadable: it isn't SQL.
    """
    try:
        return postgast.parse(text)
    except postgast.PgQueryError as problem:
        raise Unreadable(problem.message, problem.cursorpos - 1) from None


def tokens(text: str) -> list[Any]:
    """The words of a text, comments among them; their places are counted in bytes.

    Raises:
        Unreadable: it has a string or comment that doesn't end.
    """
    try:
        return list(postgast.scan(text).tokens)
    except postgast.PgQueryError as problem:
        raise Unreadable(problem.message, problem.cursorpos - 1) from None


def inner(node: Any) -> Any:
    """What a generic node holds."""
    return postgast.unwrap_node(node)


def kind(node: Any) -> str:
    """Which statement or expression it is: AlterTableStmt, ColumnDef, …"""
    return type(postgast.unwrap_node(node)).__name__


def choice(message: Any, name: str) -> str:
    """An enum's value as PostgreSQL names it: `AT_AddColumn`, `CONSTR_CHECK`, `OBJECT_TABLE`."""
    values = message.DESCRIPTOR.fields_by_name[name].enum_type.values_by_number
    return str(values[getattr(message, name)].name)


def names(nodes: Iterable[Any]) -> list[str]:
    """The strings of a list of names."""
    return [each.string.sval for each in nodes if each.WhichOneof("node") == "string"]


def inside(message: Any) -> Iterator[Any]:
    """The message and all messages in it, outermost first."""
    yield message
    for descriptor, value in message.ListFields():
        if descriptor.message_type is not None:
            for each in value if descriptor.is_repeated else (value,):
                yield from inside(each)


def columns_of(node: Any) -> set[str]:
    """The columns that an expression names."""
    found = set()
    for each in inside(node):
        if type(each).__name__ == "ColumnRef" and (parts := names(each.fields)):
            found.add(parts[-1])
    return found


def tables_of(*expressions: str) -> set[str]:
    """The tables that expressions ask, as SQL."""
    nodes = [each for text in expressions for each in inside(parse_expression(text))]
    tables = [each for each in nodes if type(each).__name__ == "RangeVar"]
    return {Identifier(*filter(None, (each.schemaname, each.relname))).as_string() for each in tables}


def functions_of(node: Any) -> set[str]:
    """The functions that an expression calls, without their schemas."""
    return {names(each.funcname)[-1] for each in inside(node) if type(each).__name__ == "FuncCall"}


def parse_expression(text: str) -> Any:
    """An expression's node.

    Raises:
        ValueError: it isn't one expression.
    """
    found = parsed(f"select ({text}\n)")
    if len(found.stmts) != 1 or len(found.stmts[0].stmt.select_stmt.target_list) != 1:
        raise ValueError("this is more than one expression")
    return found.stmts[0].stmt.select_stmt.target_list[0].res_target.val


def over_row(expression: str, table: str, columns: dict[str, str]) -> str:
    """An expression over a row as it stands in a trigger. `columns` has, for each name, that of NEW's column.

    Where it asks other tables, a name may be theirs: there the row comes as a table of its own name.
    """
    node = parse_expression(expression)
    if asks_tables(node):
        used = sorted(columns_of(node) & columns.keys())
        given = [SQL("new.{} as {}").format(Identifier(columns[each]), Identifier(each)) for each in used]
        row = SQL("(select {} from (select {}) as {})")
        return row.format(literal(expression), SQL(", ").join(given), Identifier(table)).as_string()
    for each in [found for found in inside(node) if type(found).__name__ == "ColumnRef"]:
        *of, name = names(each.fields) or [""]
        if name in columns and of in ([], [table]):
            del each.fields[:]
            for part in ("new", columns[name]):
                each.fields.add().string.sval = part
    return render_expression(node)


def asks_tables(node: Any) -> bool:
    """Whether an expression has a SELECT in it."""
    return any(type(each).__name__ == "SubLink" for each in inside(node))


def render(statement: Any) -> str:
    """A statement as SQL."""
    result = postgast.parse("select 1")
    node = result.stmts[0].stmt
    for descriptor in node.DESCRIPTOR.fields:
        if descriptor.message_type is statement.DESCRIPTOR:
            getattr(node, descriptor.name).CopyFrom(statement)
    return str(postgast.deparse(result))


def render_expression(node: Any) -> str:
    """An expression as SQL."""
    result = postgast.parse("select 1")
    target = result.stmts[0].stmt.select_stmt.target_list[0].res_target.val
    if type(node).__name__ == "Node":
        target.CopyFrom(node)
    else:
        for descriptor in target.DESCRIPTOR.fields:
            if descriptor.message_type is node.DESCRIPTOR:
                getattr(target, descriptor.name).CopyFrom(node)
    return str(postgast.deparse(result)).removeprefix("SELECT ")


def render_type(type_name: Any) -> str:
    """A type as SQL, with its modifiers and dimensions."""
    result = postgast.parse("alter table x add column y integer")
    command = result.stmts[0].stmt.alter_table_stmt.cmds[0].alter_table_cmd
    definition(command).column_def.type_name.CopyFrom(type_name)
    return str(postgast.deparse(result)).removeprefix("ALTER TABLE x ADD COLUMN y ")


def render_command(statement: Any, command: Any) -> str:
    """One command of an ALTER TABLE as a statement of its own."""
    alone = type(statement)()
    alone.CopyFrom(statement)
    del alone.cmds[:]
    alone.cmds.add().alter_table_cmd.CopyFrom(command)
    return render(alone)


_BESIDE = ("CONSTR_CHECK", "CONSTR_FOREIGN", "CONSTR_UNIQUE", "CONSTR_PRIMARY")


def without_constraints(command: Any) -> tuple[Any, list[Any]]:
    """An ADD COLUMN without its CHECK, UNIQUE, PRIMARY KEY and REFERENCES, and these as commands ADD CONSTRAINT."""
    alone, beside = type(command)(), []
    alone.CopyFrom(command)
    column = definition(alone).column_def
    kept = []
    for node in column.constraints:
        what = choice(node.constraint, "contype")
        if what not in _BESIDE and not what.startswith("CONSTR_ATTR"):
            kept.append(node)
        elif what in _BESIDE:
            other = type(command)()
            other.CopyFrom(command)
            other.subtype = (
                other.DESCRIPTOR.fields_by_name["subtype"].enum_type.values_by_name["AT_AddConstraint"].number
            )
            definition(other).CopyFrom(node)
            constraint = definition(other).constraint
            keys = {"CONSTR_FOREIGN": "fk_attrs", "CONSTR_UNIQUE": "keys", "CONSTR_PRIMARY": "keys"}.get(what)
            if keys:
                getattr(constraint, keys).add().string.sval = column.colname
            beside.append(other)
        elif beside:
            _set_attribute(definition(beside[-1]).constraint, what)
    kept = [type(each).FromString(each.SerializeToString()) for each in kept]
    del column.constraints[:]
    column.constraints.extend(kept)
    return alone, beside


def _set_attribute(constraint: Any, what: str) -> None:
    """DEFERRABLE and so on, which the grammar has after a column's constraint as things of their own."""
    if what == "CONSTR_ATTR_DEFERRABLE":
        constraint.deferrable = True
    elif what == "CONSTR_ATTR_DEFERRED":
        constraint.deferrable = constraint.initdeferred = True
    elif what == "CONSTR_ATTR_NOT_ENFORCED":
        constraint.is_enforced = False


def definition(command: Any) -> Any:
    """The node that a command is given: the field's name is a word of Python's."""
    return getattr(command, "def")


# made here


def parse_statement(text: str) -> Any:
    """The node of one statement that is to be completed: names and parts that come from elsewhere are set in it."""
    return inner(postgast.parse(text).stmts[0].stmt)


def add_column(column: Any, *, bare: bool = False) -> Any:
    """ADD COLUMN of a definition: all of it, or without constraints and default."""
    command = parse_statement("alter table x add column y integer").cmds[0].alter_table_cmd
    made = definition(command).column_def
    made.CopyFrom(column)
    if bare:
        del made.constraints[:]
    return command


def create_sequence(name: str, type_name: str, options: Any) -> str:
    """CREATE SEQUENCE with the options of an identity column."""
    statement = parse_statement(f"create sequence x as {type_name}")
    statement.sequence.relname = name
    statement.options.extend([each for each in options if each.def_elem.defname not in ("as", "sequence_name")])
    return render(statement)


def add_identity(column: str, constraint: Any) -> Any:
    """ALTER COLUMN … ADD GENERATED … AS IDENTITY."""
    command = parse_statement("alter table x alter column y add generated always as identity").cmds[0].alter_table_cmd
    command.name = column
    definition(command).constraint.CopyFrom(constraint)
    return command


def is_null(node: Any) -> bool:
    """Whether an expression is the word NULL."""
    return kind(node) == "A_Const" and inner(node).isnull


def rename_columns(node: Any, old: str, new: str) -> None:
    """One column instead of another in expressions, and in the elements of an index or of statistics."""
    for each in inside(node):
        if type(each).__name__ in ("IndexElem", "StatsElem") and each.name == old:
            each.name = new
        elif type(each).__name__ == "ColumnRef" and names(each.fields)[-1:] == [old]:
            each.fields[-1].string.sval = new


def renamed_in_index(text: str, old: str, new: str) -> Any:
    """The node of a CREATE INDEX, with one column instead of another."""
    node = parse_statement(text)
    rename_columns(node, old, new)
    return node
