"""What PostgreSQL would refuse in the middle of a change is refused before it begins.

A trigger with an expression that is wrong would make all writes of the application fail, and what only finish does
would be known too late. So each expression, type and column is shown to PostgreSQL while the change is planned.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kos.schema_change import numbered
from kos.schema_change.asking import Asking
from kos.schema_change.columns import set_default_sql
from kos.schema_change.draft import Draft
from kos.schema_change.facts import QUERIES
from kos.schema_change.parse import (
    PythonFill,
    Statement,
    choice,
    columns_of,
    definition,
    inner,
    inside,
    kind,
    names,
    parse_expression,
    render_expression,
    render_type,
    shown,
    without_constraints,
)
from kos.schema_change.rows import Rows, read_rows

_NAMED = ("funcname", "type_name", "domainname", "typevar", "sequence", "view", "relation", "into")
_MAKING = frozenset(
    (
        "CompositeTypeStmt",
        "CreateDomainStmt",
        "CreateEnumStmt",
        "CreateFunctionStmt",
        "CreateRangeStmt",
        "CreateSeqStmt",
        "CreateStmt",
        "CreateTableAsStmt",
        "DefineStmt",
        "ViewStmt",
    )
)


def copied(statements: tuple[Statement, ...]) -> tuple[Statement, ...]:
    """As they were written: planners write into the statements."""
    return tuple(Statement(_copy(each.node), each.line, each.text) for each in statements)


def refuse_what_fails(draft: Draft, statements: tuple[Statement, ...]) -> None:
    """Look at all expressions, types and columns of a change that is planned.

    Raises:
        ChangeRefused: PostgreSQL would refuse it, and why.
    """
    with draft.connection.transaction(force_rollback=True):
        draft.connection.execute(QUERIES.read_only)
        draft.connection.execute(QUERIES.look_from_inside, {"schema": draft.schema})
        verifying = _Verifying(draft)
        for each in statements:
            verifying.ask.about(f"line {each.line}: {shown(each)}")
            verifying.statement(each.node)
        verifying.directives()


class _Verifying:
    """The statements of a file, one after another, with what each leaves."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.ask = Asking(draft)
        self.tables: dict[str, Rows | None] = {}

    def rows(self, name: str) -> Rows | None:
        """Of a table by its name at this statement; None of one that the file makes, and where there is none."""
        if name in self.ask.made:
            return None
        if name not in self.tables:
            self.tables[name] = read_rows(self.draft.connection, self.draft.schema, name)
        return self.tables[name]

    def statement(self, node: Any) -> None:
        """What one statement says."""
        sort = kind(node)
        if sort in _MAKING:
            self.ask.made |= _made(node)
        elif sort == "AlterEnumStmt":
            self.ask.values.add(node.new_val)
        elif sort == "AlterTableStmt" and choice(node, "objtype") == "OBJECT_TABLE":
            self._alter(node)
        elif sort == "RenameStmt":
            self._rename(node)
        elif sort == "IndexStmt" and (rows := self.rows(node.relation.relname)):
            self._index(rows, node.relation.relname, node)
        elif sort in ("CreatePolicyStmt", "AlterPolicyStmt") and (rows := self.rows(node.table.relname)):
            self.ask.at_the_end = sort == "AlterPolicyStmt" or not node.permissive
            for part in ("qual", "with_check"):
                if node.HasField(part):
                    self.ask.condition(rows, node.table.relname, getattr(node, part))

    def _alter(self, node: Any) -> None:
        table = node.relation.relname
        rows = self.rows(table)
        if rows is None:
            return
        self.ask.changed.add(table)
        for command in map(inner, node.cmds):
            sort = choice(command, "subtype")
            if sort == "AT_AddColumn":
                alone, beside = without_constraints(command)
                if definition(command).column_def.colname not in rows.columns:
                    self._add_column(rows, table, definition(alone).column_def)
                    for each in beside:
                        self._constraint(rows, table, definition(each).constraint)
            elif work := _COMMANDS.get(sort):
                work(self, rows, table, command)

    def _add_column(self, rows: Rows, table: str, column: Any) -> None:
        type_name = numbered.serial_type(column) or render_type(column.type_name)
        self.ask.type(rows.owner, type_name)
        for each in column.constraints:
            sort = choice(each.constraint, "contype")
            if sort == "CONSTR_DEFAULT":
                self._default(rows, table, each.constraint.raw_expr, type_name)
            elif sort == "CONSTR_GENERATED":
                among = rows.columns
                self.ask.value(
                    rows, table, each.constraint.raw_expr, type_name, among, alone="column generation expression"
                )
        rows.add(column.colname, type_name)

    def _default(self, rows: Rows, table: str, node: Any, type_name: str) -> None:
        if columns_of(node):
            self.ask.refuse("cannot use column reference in DEFAULT expression")
        self.ask.value(rows, table, node, type_name, {}, alone="DEFAULT expression")

    def _drop_column(self, rows: Rows, _table: str, command: Any) -> None:
        rows.columns.pop(command.name, None)

    def _set_default(self, rows: Rows, table: str, command: Any) -> None:
        if command.HasField("def") and command.name in rows.columns:
            do = set_default_sql(rows.first, command.name, render_expression(definition(command)))
            replaced = (rows.first, command.name) in self.draft.successors  # whose default is tried before
            self.ask.at_the_end = do in self.draft.queued(rows.first) and not replaced
            self._default(rows, table, definition(command), rows.columns[command.name])
            self.ask.at_the_end = False

    def _set_type(self, rows: Rows, table: str, command: Any) -> None:
        column, name = inner(definition(command)), command.name
        type_name = render_type(column.type_name)
        self.ask.type(rows.owner, type_name)
        if column.HasField("raw_default"):
            node = column.raw_default
            self.ask.value(rows, table, node, type_name, rows.columns, assigned=False, alone="transform expression")
        back = self.draft.directives.back
        if said := back.get((rows.first, name)) or next((back[each] for each in back if each == (table, name)), None):
            self._back(rows, table, name, type_name, said)
        if (rows.first, name) in self.draft.retyped:
            rows.ever[name] = type_name
        rows.columns[name] = type_name

    def _back(self, rows: Rows, table: str, name: str, type_name: str, said: str) -> None:
        """Over the new value, by the column's name."""
        before = self.ask.what
        self.ask.about(f"back {table}.{name} = {said}", "correct the expression")
        among = rows.ever | {name: type_name}
        self.ask.value(rows, table, parse_expression(said), rows.columns[name], among, assigned=False)
        self.ask.about(before)

    def _add_constraint(self, rows: Rows, table: str, command: Any) -> None:
        self._constraint(rows, table, inner(definition(command)))

    def _constraint(self, rows: Rows, table: str, constraint: Any) -> None:
        sort = choice(constraint, "contype")
        if sort == "CONSTR_CHECK":
            self.ask.condition(rows, table, constraint.raw_expr, alone="check constraint")
        elif sort in ("CONSTR_UNIQUE", "CONSTR_PRIMARY"):
            key = tuple(names(constraint.keys)) or rows.keys.get(constraint.indexname, ())
            self.ask.columns(rows, [*key, *names(constraint.including)])
            if not constraint.deferrable:
                rows.keys[constraint.indexname or f" {len(rows.keys)}"] = key
                rows.primary = key if sort == "CONSTR_PRIMARY" else rows.primary
        elif sort == "CONSTR_FOREIGN" and not constraint.fk_with_period:
            self._foreign_key(rows, constraint)

    def _foreign_key(self, rows: Rows, constraint: Any) -> None:
        own, theirs, name = names(constraint.fk_attrs), names(constraint.pk_attrs), constraint.pktable.relname
        self.ask.columns(rows, own)
        other = self._referred(constraint.pktable)
        if other is None:
            return
        if other.kind not in "rp":
            self.ask.refuse(f'referenced relation "{name}" is not a table')
        if not theirs and not other.primary:
            self.ask.refuse(f'there is no primary key for referenced table "{name}"')
        theirs = theirs or list(other.primary)
        self.ask.columns(other, theirs)
        if len(own) != len(theirs):
            self.ask.refuse("number of referencing and referenced columns for foreign key disagree")
        if set(theirs) not in [set(each) for each in other.keys.values()]:
            self.ask.refuse(f'there is no unique constraint matching given keys for referenced table "{name}"')
        self.ask.equal(rows, own, other, theirs)

    def _referred(self, relation: Any) -> Rows | None:
        """The table that is referred to; None if the file makes it."""
        name = relation.relname
        if relation.schemaname:
            found = read_rows(self.draft.connection, relation.schemaname, name)
        elif name in self.ask.made:
            return None
        else:
            found = self.rows(name) or read_rows(self.draft.connection, "public", name)
        if found is None:
            self.ask.refuse(f'relation "{name}" does not exist')
        return found

    def _index(self, rows: Rows, table: str, node: Any) -> None:
        elements = [inner(each) for each in node.index_params]
        key = [each.name for each in elements if each.name]
        included = [inner(each).name for each in node.index_including_params]
        self.ask.columns(rows, [*key, *filter(None, included)])
        for each in elements:
            if not each.name:
                self.ask.expression(rows, table, each.expr, alone="index expression")
        if node.HasField("where_clause"):
            self.ask.condition(rows, table, node.where_clause, alone="index predicate")
        elif node.unique and len(key) == len(elements):
            rows.keys[node.idxname or f" {len(rows.keys)}"] = tuple(key)

    def _rename(self, node: Any) -> None:
        what, table = choice(node, "rename_type"), node.relation.relname
        rows = self.rows(table)
        if rows is None:
            return
        if what == "OBJECT_COLUMN" and node.subname in rows.columns:
            self.ask.changed.add(table)
            rows.rename(node.subname, node.newname)
        elif what == "OBJECT_TABLE":
            self.ask.changed |= {table, node.newname}
            self.tables[node.newname] = self.tables.pop(table)

    def directives(self) -> None:
        """What is filled and hidden: over all columns that there are while the change runs."""
        by_first = {rows.first: rows for rows in self.tables.values() if rows}
        for (table, column), said in self.draft.directives.fill.items():
            if rows := by_first.get(table):
                self._fill(rows, table, column, said)
        for (table, column), text in self.draft.directives.hide.items():
            rows = by_first.get(table)
            if rows and column in rows.ever:
                self.ask.about(f"hide {table}.{column} = {text}", "correct the expression")
                self._default(rows, table, parse_expression(text), rows.ever[column])

    def _fill(self, rows: Rows, table: str, column: str, said: str | PythonFill) -> None:
        known = self.draft.table(table).columns  # with those that the change keeps for a while
        among = {name: each.type for name, each in known.items()} | rows.ever
        type_name = rows.columns.get(column) or rows.ever.get(column)
        if isinstance(said, PythonFill):
            self.ask.about(f"fill {table}.{column} with {said.callable}", "correct the names")
            self.ask.columns(rows, list(said.reads), among)
        elif type_name is not None:
            self.ask.about(f"fill {table}.{column} = {said}", "correct the expression")
            self.ask.value(rows, table, parse_expression(said), type_name, among)


_Work = Callable[[_Verifying, Rows, str, Any], None]
_COMMANDS: dict[str, _Work] = {
    "AT_DropColumn": _Verifying._drop_column,
    "AT_ColumnDefault": _Verifying._set_default,
    "AT_AlterColumnType": _Verifying._set_type,
    "AT_AddConstraint": _Verifying._add_constraint,
}


def _made(node: Any) -> set[str]:
    """The names that a statement makes something under; all that could be one."""
    found: set[str] = set()
    for name in _NAMED:
        field = node.DESCRIPTOR.fields_by_name.get(name)
        if field is None or field.message_type is None or field.message_type.name == "TypeName":
            continue
        for each in getattr(node, name) if field.is_repeated else (getattr(node, name),):
            for part in inside(each):
                if type(part).__name__ in ("RangeVar", "String"):
                    found.add(part.relname if type(part).__name__ == "RangeVar" else part.sval)
    return found - {""}


def _copy(node: Any) -> Any:
    made = type(node)()
    made.CopyFrom(node)
    return made
