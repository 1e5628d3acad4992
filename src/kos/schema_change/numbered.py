"""Columns that a sequence numbers, serial and identity, and those that an expression generates."""

from __future__ import annotations

from typing import Any

from psycopg.sql import Literal

from kos import errors
from kos.schema_change import parse
from kos.schema_change.composing import action, alter_sql
from kos.schema_change.draft import Draft, Planner, ddl
from kos.schema_change.facts import Column
from kos.schema_change.model import Fill
from kos.schema_change.naming import choose
from kos.schema_change.sync import fill_trigger
from kos.sql import literal

_SERIALS = {
    "serial": "integer",
    "serial4": "integer",
    "bigserial": "bigint",
    "serial8": "bigint",
    "smallserial": "smallint",
    "serial2": "smallint",
}


def serial_type(node: Any) -> str | None:
    """The type that a serial column has really; None if it is none."""
    return _SERIALS.get(parse.names(node.type_name.names)[-1])


def add_serial(draft: Draft, table: str, node: Any, type_name: str) -> None:
    """With its sequence. Its numbers are given to all rows by and by; to new ones at once."""
    sequence = choose(draft, table, node.colname, "seq")
    draft.taken[sequence] = ()
    made = ddl("create sequence {name} as {type}", name=sequence, type=literal(type_name))
    owned = ddl("alter sequence {name} owned by {table}.{column}", name=sequence, table=table, column=node.colname)
    _add_numbered(draft, table, node, sequence, made, type_name, (owned,))
    draft.at_contract(
        action(
            draft,
            table,
            f"{sequence} is for whoever may use it",
            (ddl("revoke usage on sequence {name} from public", name=sequence),),
        )
    )
    draft.warnings.append(
        f"{table}.{node.colname}: from the end of the change on, who inserts needs USAGE on sequence {sequence}"
    )


def add_identity(draft: Draft, table: str, node: Any, constraint: Any) -> None:
    """A sequence of ours numbers it until it can be an identity column, when all rows have a number."""
    sequence = _helper(draft, table, node.colname)
    type_name = parse.render_type(node.type_name)
    made = parse.create_sequence(sequence, type_name, constraint.options)
    _add_numbered(draft, table, node, sequence, made, type_name, ())


def finish_identity(draft: Draft, table: str, column: str, constraint: Any) -> None:
    """Contract, after NOT NULL: it goes on counting where the other sequence has come to."""
    sequence = _helper(draft, table, column)
    do = (
        ddl("alter table {table} alter column {column} drop default", table=table, column=column),
        alter_sql(table, parse.add_identity(column, constraint)),
        ddl(
            "select setval(pg_get_serial_sequence({table}, {column}), last_value, is_called) from {sequence}",
            table=Literal(ddl("{table}", table=table)),
            column=Literal(column),
            sequence=sequence,
        ),
        ddl("drop sequence {sequence}", sequence=sequence),
    )
    draft.at_contract(action(draft, table, f"{table}.{column} becomes an identity column", do))


def _helper(draft: Draft, table: str, column: str) -> str:
    return draft.sequences.setdefault((table, column), draft.name("numbers"))


def _add_numbered(
    draft: Draft, table: str, node: Any, sequence: str, made: str, type_name: str, after: tuple[str, ...]
) -> None:
    column = node.colname
    number = ddl("nextval({name}::regclass)", name=Literal(ddl("{name}", name=sequence)))
    do = (
        made,
        # Whoever may insert now must still be able to: a default is evaluated with the rights of who writes the row.
        ddl("grant usage on sequence {name} to public", name=sequence),
        ddl("alter table {table} add column {column} {type}", table=table, column=column, type=literal(type_name)),
        ddl(
            "alter table {table} alter column {column} set default {number}",
            table=table,
            column=column,
            number=literal(number),
        ),
        *after,
    )
    drop = ddl("alter table {table} drop column {column}", table=table, column=column)
    undo = (drop,) if after else (drop, ddl("drop sequence {name}", name=sequence))
    # A row that old code updates moves to another page, behind the fill's back.
    trigger, unmade = fill_trigger(draft, table, column, number)
    do, undo = (*do, *trigger), (*unmade, *undo)
    draft.at_contract(action(draft, table, f"stop numbering {table}.{column}", unmade), first=True)
    facts = draft.table(table)
    draft.expand.append(action(draft, table, f"add {table}.{column}", do, undo))
    needs = ddl("{column} is null", column=column)
    name = f"{draft.number()} fill {table}.{column}"
    text = f"{table}.{column}: numbers"
    draft.fill.append(Fill(name, text, table, facts.owner, needs, {column: number}, rows=facts.rows))


# of existing columns


def change_identity(draft: Draft, table: str, command: Any) -> None:
    """Contract: both codes write the column as the old one may. But a first numbering that anybody may override, or
    one of a column without default, is there from the beginning."""
    known = _column(draft, table, command.name)
    kind = parse.choice(command, "subtype")
    do = alter_sql(table, command)
    text = f"{table}.{command.name}: {_TEXTS[kind]}"
    if kind != "AT_AddIdentity" or known.default is not None or known.name != command.name:
        draft.at_contract(action(draft, table, text, (do,)))
        return
    drop = ddl("alter table {table} alter column {column} drop identity", table=table, column=command.name)
    constraint = parse.definition(command).constraint
    always = constraint.generated_when == "a"
    if always:
        constraint.generated_when = "d"
        do = alter_sql(table, command)
        end = ddl("alter table {table} alter column {column} set generated always", table=table, column=command.name)
        draft.at_contract(action(draft, table, f"{text}, always", (end,)))
    draft.expand.append(action(draft, table, text, (do,), (drop,)))


_TEXTS = {
    "AT_AddIdentity": "an identity column",
    "AT_SetIdentity": "another numbering",
    "AT_DropIdentity": "no identity column any more",
}


def change_expression(draft: Draft, table: str, command: Any) -> None:
    """Contract, of a virtual column: nothing is stored."""
    known = _column(draft, table, command.name)
    if known.generated == "s" and parse.choice(command, "subtype") == "AT_SetExpression":
        raise errors.ChangeRefused(
            f"{table}.{command.name}",
            "PostgreSQL rewrites the table, locked, for another expression of a STORED generated column",
            "add a column of another name, and drop this one",
        )
    if known.generated == "v" and any(each.kind == "c" for each in draft.table(table).constraints.values()):
        raise errors.ChangeRefused(
            f"{table}.{command.name}",
            "PostgreSQL sets no other expression for a VIRTUAL column of a table with a CHECK",
            "add a column of another name, and drop this one",
        )
    if known.generated == "v" and known.not_null:
        raise errors.ChangeRefused(
            f"{table}.{command.name}",
            "it is NOT NULL, so PostgreSQL reads all rows for another expression, and nobody else does meanwhile",
            "drop NOT NULL in a change before, and set it again in one after",
        )
    draft.at_contract(action(draft, table, f"{table}.{command.name}: what generates it", (alter_sql(table, command),)))


def _column(draft: Draft, table: str, name: str) -> Column:
    found = draft.table(table).columns.get(draft.column(table, name))
    if found is None:
        raise errors.ChangeRefused(f"{table}.{name}", "there was no such column before the change", "correct the name")
    return found


PLANNERS: dict[str, Planner] = {
    "AT_AddIdentity": change_identity,
    "AT_SetIdentity": change_identity,
    "AT_DropIdentity": change_identity,
    "AT_SetExpression": change_expression,
    "AT_DropExpression": change_expression,
}
