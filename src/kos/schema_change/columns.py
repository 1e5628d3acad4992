"""Columns: added, dropped, given and taken a default or NOT NULL."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from kos import errors
from kos.schema_change import domains, in_log, numbered, parse
from kos.schema_change.composing import SHARE_UPDATE_EXCLUSIVE, action, alter_sql, referred
from kos.schema_change.draft import Draft, Planner, bare, ddl
from kos.schema_change.facts import is_volatile
from kos.schema_change.model import Fill
from kos.schema_change.parse import PythonFill
from kos.schema_change.sync import fill_trigger
from kos.sql import literal


@dataclass(frozen=True)
class New:
    """A column to be added, as its definition says. `default` is an expression's node."""

    table: str
    name: str
    node: Any
    default: Any
    not_null: bool
    constraint: str | None
    """The name of its NOT NULL, where it was given one."""

    @property
    def command(self) -> Any:
        """ADD COLUMN of the column alone."""
        return parse.add_column(self.node, bare=True)


def add_column(draft: Draft, table: str, command: Any) -> None:
    """Expand: it is there, nullable. Where each row has a value of its own: filled, then tightened."""
    node = parse.definition(command).column_def
    if node.colname in draft.table(table).columns:
        if command.missing_ok:
            draft.warnings.append(f"{table}.{node.colname} is there already: nothing is done for it")
            return
        if (table, node.colname) in draft.dropped_columns:
            _add_again(draft, _read(table, node))
            return
        raise errors.ChangeRefused(f"{table}.{node.colname}", "there is such a column already", "give it another name")
    draft.fresh.setdefault(table, set()).add(node.colname)
    new = _read(table, node)
    domains.refuse_checked(draft, f"{table}.{node.colname}", node.type_name)
    kinds = {parse.choice(each.constraint, "contype"): each.constraint for each in node.constraints}
    if "CONSTR_GENERATED" in kinds:
        _add_generated(draft, new, kinds["CONSTR_GENERATED"])
    elif "CONSTR_IDENTITY" in kinds:
        numbered.add_identity(draft, table, node, kinds["CONSTR_IDENTITY"])
        require_not_null(draft, table, node.colname)
        numbered.finish_identity(draft, table, node.colname, kinds["CONSTR_IDENTITY"])
    elif (serial := numbered.serial_type(node)) is not None:
        numbered.add_serial(draft, table, node, serial)
        require_not_null(draft, table, node.colname, constraint=new.constraint)
    else:
        _add_plain(draft, new)


def _read(table: str, node: Any) -> New:
    default, not_null, name = None, False, None
    for each in node.constraints:
        kind = parse.choice(each.constraint, "contype")
        if kind == "CONSTR_DEFAULT" and not parse.is_null(each.constraint.raw_expr):
            default = each.constraint.raw_expr
        if kind == "CONSTR_NOTNULL":
            not_null, name = True, each.constraint.conname or None
    return New(table, node.colname, node, default, not_null, name)


def _add_generated(draft: Draft, new: New, constraint: Any) -> None:
    if constraint.generated_kind == "s":
        raise errors.ChangeRefused(
            f"{new.table}.{new.name}",
            "PostgreSQL rewrites the table, locked, for a STORED generated column",
            "make it VIRTUAL (PostgreSQL 18), or an ordinary column with `-- kos: fill` and a trigger of your own",
        )
    _add_at_once(draft, new)


def _add_again(draft: Draft, new: New) -> None:
    """One that was dropped above: only a generated column that isn't stored is there at the end, in a moment.

    Raises:
        ChangeRefused: it is of another sort, or has constraints.
    """
    what, constraints = f"{new.table}.{new.name}", [each.constraint for each in new.node.constraints]
    if [each.generated_kind for each in constraints] != ["v"]:
        raise errors.ChangeRefused(
            what,
            "old code needs the one that is dropped above until the end, when another could get no values",
            "give it another name; a generated column may be VIRTUAL (PostgreSQL 18), without constraints",
        )
    draft.again.add((new.table, new.name))
    do = (alter_sql(new.table, parse.add_column(new.node)),)
    draft.at_contract(action(draft, new.table, f"add {what} again", do))


def _add_at_once(draft: Draft, new: New) -> None:
    do = (alter_sql(new.table, parse.add_column(new.node)),)
    draft.expand.append(action(draft, new.table, f"add {new.table}.{new.name}", do, (_drop(new.table, new.name),)))


def _drop(table: str, column: str) -> str:
    return ddl("alter table {table} drop column {column}", table=table, column=column)


def _add_plain(draft: Draft, new: New) -> None:
    fill = draft.directives.fill.get((new.table, new.name))
    volatile = new.default is not None and is_volatile(draft.connection, new.default)
    if fill is None and not volatile:
        if new.not_null and new.default is None:
            raise errors.ChangeRefused(
                f"{new.table}.{new.name}",
                "it is NOT NULL, and nothing says what rows have there that exist already, or that old code writes",
                f"give it a DEFAULT, or say: -- kos: fill {new.table}.{new.name} = <expression>",
            )
        _add_at_once(draft, new)
        return
    do, undo = [alter_sql(new.table, new.command)], [_drop(new.table, new.name)]
    if new.default is not None:
        do.append(set_default_sql(new.table, new.name, parse.render_expression(new.default)))
    if not isinstance(fill, PythonFill):
        # Also with a default: a row that old code updates moves to another page, behind the fill's back.
        made, unmade = fill_trigger(draft, new.table, new.name, fill or parse.render_expression(new.default))
        do, undo = [*do, *made], [*unmade, *undo]
        draft.at_contract(action(draft, new.table, f"stop filling {new.table}.{new.name}", unmade), first=True)
    draft.expand.append(action(draft, new.table, f"add {new.table}.{new.name}", tuple(do), tuple(undo)))
    draft.fill.append(_fill(draft, new.table, new.name, fill or parse.render_expression(new.default)))
    if new.not_null:
        again = fill or parse.render_expression(new.default)
        require_not_null(draft, new.table, new.name, fill=again, constraint=new.constraint)
    elif isinstance(fill, str):
        draft.tighten.append(_missing(draft, new.table, new.name, fill))
    elif volatile:
        draft.warnings.append(
            f"{new.table}.{new.name}: a NULL that new code writes there before the change is finished is filled too"
        )


def set_default_sql(table: str, column: str, expression: str) -> str:
    """ALTER TABLE … SET DEFAULT …"""
    return ddl(
        "alter table {table} alter column {column} set default {expression}",
        table=table,
        column=column,
        expression=literal(expression),
    )


def _drop_default(table: str, column: str) -> str:
    return ddl("alter table {table} alter column {column} drop default", table=table, column=column)


def _fill(draft: Draft, table: str, column: str, value: str | PythonFill) -> Fill:
    """Rows that have nothing there."""
    facts = draft.table(table)
    name = f"{draft.number()} fill {table}.{column}"
    needs = ddl("{column} is null", column=column)
    if isinstance(value, PythonFill):
        text = f"{table}.{column}: {value.callable}({', '.join(value.reads)})"
        return Fill(
            name, text, table, facts.owner, needs, {}, column, value.callable, reads=value.reads, rows=facts.rows
        )
    return Fill(name, f"{table}.{column} = {value}", table, facts.owner, needs, {column: value}, rows=facts.rows)


def _missing(draft: Draft, table: str, column: str, expression: str) -> Fill:
    """Rows for which the expression has failed as they were written: it says so now, unless they were mended."""
    made = _fill(draft, table, column, expression)
    needs = ddl("{column} is null and num_nonnulls({value}) > 0", column=column, value=literal(expression))
    return replace(made, needs=needs)


# NOT NULL


def require_not_null(
    draft: Draft,
    table: str,
    column: str,
    *,
    fill: str | PythonFill | None = None,
    constraint: str | None = None,
) -> None:
    """See that a column has no NULL, without a scan that anybody waits for: a check that is valid proves it.

    What is filled is filled on both sides of the check: rows that are written meanwhile must satisfy it too.
    """
    if (table, column) in draft.not_null:
        return
    draft.not_null.add((table, column))
    now, check = draft.column(table, column), draft.name("not_null")
    add = ddl(
        "alter table {table} add constraint {check} check ({column} is not null) not valid",
        table=table,
        check=check,
        column=now,
    )
    drop = ddl("alter table {table} drop constraint {check}", table=table, check=check)
    validate = ddl("alter table {table} validate constraint {check}", table=table, check=check)
    text = f"{table}.{column} is not null"
    if isinstance(fill, str) and not draft.is_fresh(table, column):
        # A row that is updated moves to another page, behind the fill's back; and the check would refuse that update.
        made, unmade = fill_trigger(draft, table, now, fill)
        draft.tighten.append(action(draft, table, f"{text}: fill what is written", made, unmade))
        draft.at_contract(action(draft, table, f"stop filling {table}.{column}", unmade), first=True)
    if fill is not None:
        draft.tighten.append(_fill(draft, table, now, fill))
    against = ddl("{column} is null", column=now)
    bind = action(draft, table, f"{text}: from now on", (add,), (drop,))
    draft.tighten.append(bind if fill is not None else replace(bind, against=against))
    if fill is not None:
        draft.tighten.append(_fill(draft, table, now, fill))
    proof = action(draft, table, f"{text}: all rows", (validate,), lock=SHARE_UPDATE_EXCLUSIVE, lasts=True)
    draft.tighten.append(replace(proof, against=against, proves=bind.name))
    if constraint is None:
        tighten = ddl("alter table {table} alter column {column} set not null", table=table, column=column)
    else:
        tighten = ddl(
            "alter table {table} add constraint {constraint} not null {column}",
            table=table,
            constraint=constraint,
            column=column,
        )
    draft.at_contract(action(draft, table, text, (tighten, drop)))


def set_not_null(draft: Draft, table: str, command: Any) -> None:
    """Tighten and contract. A fill, if there is one, first."""
    known = _known(draft, table, command.name)
    if known is not None and known.not_null:
        draft.warnings.append(f"{table}.{command.name} is NOT NULL already")
        return
    fill = draft.directives.fill.get((table, command.name))
    now = draft.column(table, command.name)
    if fill is None:
        draft.warnings.append(
            f"{table}.{command.name}: `kos change finish` stops if a row has NULL there, until there is none; "
            f"to fill them: -- kos: fill {table}.{command.name} = <expression>"
        )
    elif known is not None:
        draft.fill.append(_fill(draft, table, now, fill))
    require_not_null(draft, table, command.name, fill=fill)


def drop_not_null(draft: Draft, table: str, command: Any) -> None:
    """Contract: old code must not read a NULL, and rolling back must not fail on one."""
    known = _known(draft, table, command.name)
    if known is not None and known.name in draft.table(table).key:
        raise errors.ChangeRefused(
            f"{table}.{command.name}", "it is in the primary key, which has no NULL", "drop the primary key before"
        )
    draft.warnings.append(f"{table}.{command.name}: NULL can be written there when the change is finished, not before")
    do = ddl("alter table {table} alter column {column} drop not null", table=table, column=command.name)
    draft.at_contract(action(draft, table, f"{table}.{command.name} may be null", (do,)))


def _known(draft: Draft, table: str, column: str) -> Any:
    """The column as it was before the change; None for one that the change makes.

    Raises:
        ChangeRefused: there is none.
    """
    found = draft.table(table).columns.get(draft.column(table, column))
    if found is None and not draft.is_fresh(table, column):
        raise errors.ChangeRefused(f"{table}.{column}", "there is no such column", "correct the name")
    return found


# DEFAULT


def change_default(draft: Draft, table: str, command: Any) -> None:
    """A first default in expand: nobody relies on there being none. Another, or none, in contract: old code does."""
    known = _known(draft, table, command.name)
    takes = not command.HasField("def")
    if takes:
        do = _drop_default(table, command.name)
    else:
        do = set_default_sql(table, command.name, parse.render_expression(parse.definition(command)))
    text = f"{table}.{command.name}: {'no default' if takes else 'default'}"
    if known is None:
        draft.expand.append(action(draft, table, text, (do,)))
    elif takes or known.default is not None or (table, command.name) in draft.physical:
        draft.warnings.append(f"{table}.{command.name}: rows get the default of before until the change is finished")
        draft.at_contract(action(draft, table, text, (do,)))
    else:
        draft.expand.append(action(draft, table, text, (do,), (_drop_default(table, command.name),)))


# DROP


def drop_column(draft: Draft, table: str, command: Any) -> None:
    """Contract. New code may leave it out from the beginning: its NOT NULL needs a hidden default."""
    facts, column = draft.table(table), command.name
    if column not in facts.columns:
        if command.missing_ok:
            draft.warnings.append(f"{table}.{column} is not there: nothing is done for it")
            return
        raise errors.ChangeRefused(f"{table}.{column}", "there is no such column", "correct the name")
    _refuse_what_depends(draft, table, command)
    in_log.refuse_drop(draft, facts, facts.columns[column])
    known, hidden = facts.columns[column], draft.directives.hide.get((table, column))
    if hidden is not None:
        do = set_default_sql(table, column, f"({hidden})")
        back = _drop_default(table, column) if known.default is None else set_default_sql(table, column, known.default)
        draft.expand.append(action(draft, table, f"hide {table}.{column}", (do,), (back,)))
    elif known.not_null and known.default is None and not known.identity and not known.generated:
        raise errors.ChangeRefused(
            f"{table}.{column}",
            "it is NOT NULL without a default: new code, which leaves it out, could not write until it is gone",
            f"say what it gets meanwhile: -- kos: hide {table}.{column} = <expression>",
        )
    draft.dropped_columns.add((table, column))
    also = referred(facts, column)
    draft.at_contract(action(draft, table, f"drop {table}.{column}", (_drop(table, column),), also=also))


_DROPPED_ALONG = ("statistics",)


def _refuse_what_depends(draft: Draft, table: str, command: Any) -> None:
    facts, column = draft.table(table), command.name
    what = f"{table}.{column}"
    if parse.choice(command, "behavior") == "DROP_CASCADE":
        raise errors.ChangeRefused(what, "CASCADE drops what nobody named", "drop each thing by its name, before")
    if column in facts.partition_key:
        raise errors.ChangeRefused(what, "the table is partitioned by it", "make a new table and move the rows")
    for of, kind, name in facts.readers:
        if of == column and kind not in _DROPPED_ALONG and not draft.drops(table, kind, name):
            raise errors.ChangeRefused(what, f"the {kind} {name} reads it", f"drop the {kind} before, in the same file")
    keys = [each for each in facts.constraints.values() if each.kind in "pu" and column in each.columns]
    for of, name, definition in facts.referred_by if keys else ():
        if bare(of) not in draft.dropped and not draft.frees(bare(of), name):
            raise errors.ChangeRefused(what, f"{of} may refer to it: {definition}", f"drop {name} of {of} before")


PLANNERS: dict[str, Planner] = {
    "AT_AddColumn": add_column,
    "AT_DropColumn": drop_column,
    "AT_ColumnDefault": change_default,
    "AT_SetNotNull": set_not_null,
    "AT_DropNotNull": drop_not_null,
    **numbered.PLANNERS,
}
