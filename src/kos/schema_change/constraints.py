"""Constraints: added without a scan under an exclusive lock, and what becomes of those that there are.

A check or foreign key is added NOT VALID, which binds new rows only, and validated under a lock that lets everybody
write. A unique or primary key is built as an index, concurrently, and attached at the end.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from kos import errors
from kos.schema_change import foreign_keys, unique_keys
from kos.schema_change.composing import (
    SHARE_UPDATE_EXCLUSIVE,
    action,
    add_constraint_sql,
    alter_sql,
    provisional_name,
    referred,
    use_physical,
)
from kos.schema_change.draft import Draft, Planner, bare, ddl
from kos.schema_change.facts import Constraint
from kos.schema_change.model import Action
from kos.schema_change.naming import choose
from kos.schema_change.parse import Statement, choice, columns_of, definition, inner, render_expression
from kos.sql import literal

CHECK, FOREIGN, UNIQUE, PRIMARY, EXCLUDE = KINDS = (
    "CONSTR_CHECK",
    "CONSTR_FOREIGN",
    "CONSTR_UNIQUE",
    "CONSTR_PRIMARY",
    "CONSTR_EXCLUSION",
)


def add_constraint(draft: Draft, table: str, command: Any) -> None:
    """ALTER TABLE … ADD CONSTRAINT …, and what stands beside a column in ADD COLUMN.

    Raises:
        ChangeRefused: it can't be done while others write.
    """
    constraint = inner(definition(command))
    kind = choice(constraint, "contype")
    if kind not in KINDS:
        raise errors.ChangeRefused(
            f"{table}: ADD CONSTRAINT … NOT NULL",
            "PostgreSQL before 18 knows no such constraint",
            "write: alter table … alter column … set not null",
        )
    if kind == CHECK:
        _add_check(draft, table, constraint)
    elif kind == FOREIGN:
        foreign_keys.add(draft, table, constraint)
    elif kind == EXCLUDE:
        unique_keys.add_exclusion(draft, table, constraint)
    else:
        unique_keys.add(draft, table, constraint, primary=kind == PRIMARY)


def _add_check(draft: Draft, table: str, constraint: Any) -> None:
    columns = sorted(columns_of(constraint.raw_expr))
    name = constraint.conname or choose(draft, table, columns[0] if len(columns) == 1 else "", "check")
    draft.taken[name] = tuple(columns)
    name = constraint.conname = provisional_name(draft, table, name)
    use_physical(draft, table, constraint)
    asked = constraint.is_enforced and not constraint.skip_validation
    constraint.skip_validation, constraint.initially_valid = constraint.is_enforced, False
    bind = action(
        draft,
        table,
        f"add check {name} to {table}" + (", for new rows" if asked else ""),
        (add_constraint_sql(table, constraint),),
        (ddl("alter table {table} drop constraint {name}", table=table, name=name),),
    )
    draft.bound[table, name] = bind
    if not asked:
        draft.tighten.append(bind)
        return
    against = violated(constraint)
    draft.tighten += [replace(bind, against=against), validation(draft, table, name, against=against)]


def violated(check: Any) -> str:
    """The condition for rows that a check refuses: of which it is false."""
    return ddl("not ({expression})", expression=literal(render_expression(check.raw_expr)))


def validation(
    draft: Draft, table: str, name: str, *, undo: tuple[str, ...] = (), also: tuple[str, ...] = (), against: str = ""
) -> Action:
    """All rows are read, while everybody may write. What it proves needn't be taken back."""
    made = action(
        draft,
        table,
        f"validate {name} of {table}",
        (ddl("alter table {table} validate constraint {name}", table=table, name=name),),
        undo,
        lock=SHARE_UPDATE_EXCLUSIVE,
        lasts=True,
        also=also,
    )
    bind = draft.bound.get((table, name))
    return replace(made, against=against, proves=bind.name if bind else None)


def validate_constraint(draft: Draft, table: str, command: Any) -> None:
    """ALTER TABLE … VALIDATE CONSTRAINT …, of one that was added earlier, or by this change.

    Raises:
        ChangeRefused: there is none.
    """
    name = command.name
    if name in draft.taken:
        draft.tighten.append(validation(draft, table, draft.provisional.get((table, name), name)))
        return
    found = _find(draft, table, name)
    if found.validated:
        return
    # To be as before, it has to be made again: nothing makes a constraint less valid.
    again = ddl("alter table {table} drop constraint {name}, add constraint {name} ", table=table, name=name)
    draft.tighten.append(validation(draft, table, name, undo=(again + found.definition,)))


def drop_constraint(draft: Draft, table: str, command: Any) -> None:
    """ALTER TABLE … DROP CONSTRAINT …: at the end, since old code may rely on it.

    Raises:
        ChangeRefused: there is none, or a foreign key of another table needs it.
    """
    name = command.name
    if command.missing_ok and name not in draft.table(table).constraints:
        return
    found = _find(draft, table, name)
    if choice(command, "behavior") != "DROP_CASCADE" and found.index:
        unique_keys.refuse_if_used(draft, found.index, f"{table}: DROP CONSTRAINT {name}")
    draft.freed_of.add((table, name))
    if found.index:
        draft.freed.add(found.index)
    others = tuple(each for each in referred(draft.table(table)) if found.refers_to and each == bare(found.refers_to))
    draft.at_contract(
        action(draft, table, f"drop constraint {name} of {table}", (alter_sql(table, command),), also=others)
    )
    draft.warnings.append(
        f"{table}: {name} is dropped by finish, since old code may rely on it: until then new code can't write what it"
        " forbids"
    )


def alter_constraint(draft: Draft, table: str, command: Any) -> None:
    """ALTER TABLE … ALTER CONSTRAINT …: whether a foreign key is deferrable.

    Raises:
        ChangeRefused: it is about more than that.
    """
    asked = inner(definition(command))
    if not asked.alter_deferrability:
        raise errors.ChangeRefused(
            f"{table}: ALTER CONSTRAINT {asked.conname}",
            "only whether it is deferrable can be altered online",
            "drop the constraint and add it anew, under another name",
        )
    statement = alter_sql(table, command)
    draft.at_contract(action(draft, table, f"alter constraint {asked.conname} of {table}", (statement,)))


def rename_constraint(draft: Draft, statement: Statement) -> None:
    """ALTER TABLE … RENAME CONSTRAINT …: at the end, since old code may name it in ON CONFLICT ON CONSTRAINT.

    Raises:
        ChangeRefused: there is none.
    """
    node = statement.node
    table, old, new = node.relation.relname, node.subname, node.newname
    if index := _find(draft, table, old).index:
        draft.freed.add(index)
    draft.freed_of.add((table, old))
    draft.renamed_of.add((table, old))
    draft.taken[new] = ()
    do = ddl("alter table {table} rename constraint {old} to {new}", table=table, old=old, new=new)
    draft.at_contract(action(draft, table, f"rename constraint {old} of {table}", (do,)))


def _find(draft: Draft, table: str, name: str) -> Constraint:
    if name not in draft.table(table).constraints:
        raise errors.ChangeRefused(
            f"{table}: {name}",
            f"before this change, {table} has no such constraint",
            f"look: \\d {table}; what the same change adds, add as it is to be",
        )
    return draft.table(table).constraints[name]


PLANNERS: dict[str, Planner] = {
    "AT_AddConstraint": add_constraint,
    "AT_ValidateConstraint": validate_constraint,
    "AT_DropConstraint": drop_constraint,
    "AT_AlterConstraint": alter_constraint,
    "rename OBJECT_TABCONSTRAINT": rename_constraint,
}
