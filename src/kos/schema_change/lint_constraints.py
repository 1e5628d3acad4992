"""Rules of the linter: constraints."""

from __future__ import annotations

from typing import Any

from kos.schema_change.lint_look import Fields, Look, Rule, add_constraint, copy_of, listed, plain_column, quoted
from kos.schema_change.lint_seen import commands_of, default_name, has, last_two, name_of
from kos.schema_change.parse import choice, kind, names, render, render_command

# Of ALTER TABLE's commands, those whose lock stops neither readers nor writers.
LIGHT = {
    "AT_ValidateConstraint",
    "AT_SetStatistics",
    "AT_SetOptions",
    "AT_ResetOptions",
    "AT_SetRelOptions",
    "AT_ResetRelOptions",
    "AT_ClusterOn",
    "AT_DropCluster",
}


def _later(look: Look, constraint: Any) -> Fields:
    """The same, NOT VALID, by a name that VALIDATE can call it by."""
    later = copy_of(constraint)
    later.conname = constraint.conname or default_name(look.relname, constraint)
    later.skip_validation = True
    later.initially_valid = False
    return {
        "table": look.table,
        "add": add_constraint(look, later),
        "validate": f"ALTER TABLE {look.table} VALIDATE CONSTRAINT {quoted(later.conname)}",
    }


def _added(look: Look, contype: str) -> Any:
    given = look.given
    if type(given).__name__ != "Constraint" or choice(given, "contype") != contype or not look.others_table:
        return None
    return given


def _check(look: Look) -> Fields | None:
    given = _added(look, "CONSTR_CHECK")
    if given is None or given.skip_validation or not given.is_enforced:
        return None
    return _later(look, given)


def _foreign_key(look: Look) -> Fields | None:
    given = _added(look, "CONSTR_FOREIGN")
    if given is None or given.skip_validation or not given.is_enforced:
        return None
    return {**_later(look, given), "other": quoted(*name_of(given.pktable))}


def _enforced(look: Look) -> Fields | None:
    given = look.given
    if not look.others_table or not given.alter_enforceability or not given.is_enforced:
        return None
    return {"table": look.table, "name": quoted(given.conname)}


def _not_null_constraint(look: Look) -> Fields | None:
    given = _added(look, "CONSTR_NOTNULL")
    if given is None or given.skip_validation:
        return None
    return _later(look, given)


def _set_not_null(look: Look) -> Fields | None:
    column = look.command.name
    if not look.others_table or look.seen.holds_no_null(look.relname, column):
        return None
    check = quoted(f"{look.relname}_{column}_not_null"[:63])
    table, name = look.table, quoted(column)
    if look.version >= 18:
        steps = [f"ADD CONSTRAINT {check} NOT NULL {name} NOT VALID", f"VALIDATE CONSTRAINT {check}"]
    else:
        steps = [
            f"ADD CONSTRAINT {check} CHECK ({name} IS NOT NULL) NOT VALID",
            f"VALIDATE CONSTRAINT {check}",
            f"ALTER COLUMN {name} SET NOT NULL",
            f"DROP CONSTRAINT {check}",
        ]
    return {"table": table, "column": name, "steps": "\n".join(f"ALTER TABLE {table} {each};" for each in steps)}


def _unique(look: Look) -> Fields | None:
    given = _added(look, "CONSTR_UNIQUE")
    return None if given is None or given.indexname else _through_index(look, given, names(given.keys), "UNIQUE")


def _primary_key(look: Look) -> Fields | None:
    given = _added(look, "CONSTR_PRIMARY")
    return None if given is None or given.indexname else _through_index(look, given, names(given.keys), "PRIMARY KEY")


def _through_index(look: Look, constraint: Any, columns: list[str], what: str) -> Fields:
    named = copy_of(constraint)
    if not constraint.fk_attrs and not constraint.keys:
        named = None
    name = constraint.conname or (default_name(look.relname, named) if named else f"{look.relname}_{columns[0]}_key")
    including = f" INCLUDE ({listed(names(constraint.including))})" if constraint.including else ""
    distinct = " NULLS NOT DISTINCT" if constraint.nulls_not_distinct else ""
    over = f"{look.table} ({listed(columns)}){including}{distinct}"
    return {
        "table": look.table,
        "index": f"CREATE UNIQUE INDEX CONCURRENTLY {quoted(name)} ON {over}",
        "attach": f"ALTER TABLE {look.table} ADD CONSTRAINT {quoted(name)} {what} USING INDEX {quoted(name)}",
    }


def _exclude(look: Look) -> Fields | None:
    return {"table": look.table} if _added(look, "CONSTR_EXCLUSION") is not None else None


def _drop_constraint(look: Look) -> Fields | None:
    known = (look.relname, look.command.name) in look.seen.constraints
    return None if known or not look.others_table else {"table": look.table, "name": quoted(look.command.name)}


def _validate(look: Look) -> Fields | None:
    """Where a lock that stops others is held meanwhile."""
    beside = [each for each in commands_of(look.statement) if choice(each, "subtype") not in LIGHT]
    if not look.others_table or not (look.seen.locked or beside):
        return None
    return {
        "table": look.table,
        "locked": look.seen.locked[0] if look.seen.locked else look.table,
        "validate": render_command(look.statement, look.command),
    }


# beside the definition of a new column


def _new_column(look: Look, contype: str) -> Any:
    return has(look.given, contype) if kind(getattr(look.command, "def")) == "ColumnDef" and look.others_table else None


def _column_unique(look: Look) -> Fields | None:
    return _column_index(look, "CONSTR_UNIQUE", "UNIQUE")


def _column_primary_key(look: Look) -> Fields | None:
    return _column_index(look, "CONSTR_PRIMARY", "PRIMARY KEY")


def _column_index(look: Look, contype: str, what: str) -> Fields | None:
    found = _new_column(look, contype)
    if found is None:
        return None
    named = copy_of(found)
    named.conname = found.conname or (
        f"{look.relname}_pkey" if what == "PRIMARY KEY" else f"{look.relname}_{look.given.colname}_key"
    )
    through = _through_index(look, named, [look.given.colname], what)
    return {**through, "column": plain_column(look, contype)}


def _column_check(look: Look) -> Fields | None:
    found = _new_column(look, "CONSTR_CHECK")
    if found is None or not found.is_enforced:
        return None
    return {**_later(look, found), "column": plain_column(look, "CONSTR_CHECK")}


def _column_reference(look: Look) -> Fields | None:
    """A column with no default is all null, and PostgreSQL knows that it needs no look at it."""
    found = _new_column(look, "CONSTR_FOREIGN")
    if found is None or not found.is_enforced or not has(look.given, "CONSTR_DEFAULT"):
        return None
    named = copy_of(found)
    named.fk_attrs.add().string.sval = look.given.colname
    later = _later(look, named)
    return {**later, "column": plain_column(look, "CONSTR_FOREIGN"), "other": quoted(*name_of(found.pktable))}


# domains


def _domain(look: Look) -> Fields | None:
    statement = look.statement
    if statement.subtype not in {"C", "O", "V"}:  # ADD CONSTRAINT, SET NOT NULL, VALIDATE
        return None
    constraint = getattr(statement, "def").constraint
    if statement.subtype == "C" and constraint.skip_validation:
        return None
    return {"domain": quoted(*last_two(statement.type_name)), "statement": render(statement)}


_READ = "while all rows are read"
_STEPS = "{add};\n{validate};   -- in a transaction of its own"
_IN_STEPS = "{column};\n{index};   -- in no transaction\n{attach};"
CONSTRAINTS = (
    Rule(
        "check",
        "AT_AddConstraint",
        _check,
        f"locks {{table}} (ACCESS EXCLUSIVE) {_READ}: nobody reads or writes it meanwhile",
        _STEPS,
    ),
    Rule(
        "check",
        "AT_AddColumn",
        _column_check,
        f"a CHECK beside a new column locks {{table}} (ACCESS EXCLUSIVE) {_READ}: nobody reads or writes it meanwhile",
        "{column};\n" + _STEPS,
    ),
    Rule(
        "foreign-key",
        "AT_AddConstraint",
        _foreign_key,
        f"locks {{table}} and {{other}} (SHARE ROW EXCLUSIVE) {_READ}: nobody writes either meanwhile",
        _STEPS,
    ),
    Rule(
        "foreign-key",
        "AT_AddColumn",
        _column_reference,
        f"the new column has a default, so {{table}} stays locked (ACCESS EXCLUSIVE) and {{other}} (SHARE ROW "
        f"EXCLUSIVE) {_READ}",
        "{column};\n" + _STEPS,
    ),
    Rule(
        "foreign-key",
        "AT_AlterConstraint",
        _enforced,
        f"locks {{table}} and the table that it refers to {_READ}: nobody writes either meanwhile",
        "add the key anew under another name, NOT VALID, validate it, then drop {name}",
        by_kos=False,
    ),
    Rule(
        "not-null",
        "AT_SetNotNull",
        _set_not_null,
        f"locks {{table}} (ACCESS EXCLUSIVE) {_READ}, and fails if {{column}} is null in one; old code that leaves it "
        "out fails from then on",
        "{steps}   -- each in a transaction of its own",
    ),
    Rule(
        "not-null",
        "AT_AddConstraint",
        _not_null_constraint,
        f"locks {{table}} (ACCESS EXCLUSIVE) {_READ}: nobody reads or writes it meanwhile",
        _STEPS,
        by_kos=False,
    ),
    Rule(
        "unique",
        "AT_AddConstraint",
        _unique,
        "locks {table} (ACCESS EXCLUSIVE) while the index is built: nobody reads or writes it meanwhile",
        "{index};   -- in no transaction\n{attach};",
    ),
    Rule(
        "unique",
        "AT_AddColumn",
        _column_unique,
        "builds an index while {table} is locked (ACCESS EXCLUSIVE): nobody reads or writes it meanwhile",
        _IN_STEPS,
    ),
    Rule(
        "primary-key",
        "AT_AddConstraint",
        _primary_key,
        "locks {table} (ACCESS EXCLUSIVE) while all rows are read and the index is built: nobody reads or writes it "
        "meanwhile",
        "{index};   -- in no transaction; make its columns NOT NULL before the next (see the rule not-null)\n{attach};",
    ),
    Rule(
        "primary-key",
        "AT_AddColumn",
        _column_primary_key,
        "fills the column and builds an index while {table} is locked (ACCESS EXCLUSIVE): nobody reads or writes it",
        _IN_STEPS,
    ),
    Rule(
        "exclude",
        "AT_AddConstraint",
        _exclude,
        "locks {table} (ACCESS EXCLUSIVE) while its index is built, and PostgreSQL can't build that one concurrently",
        "make a new table with the constraint, copy the rows and swap the two; or do it while nobody works",
        by_kos=False,
    ),
    Rule(
        "drop-constraint",
        "AT_DropConstraint",
        _drop_constraint,
        "what {name} kept out of {table} comes in from now on, and makes it hard to add again; INSERT … ON CONFLICT "
        "fails where it was meant",
        "wait until no code relies on it; -- kos: allow drop-constraint",
    ),
    Rule(
        "validate-under-lock",
        "AT_ValidateConstraint",
        _validate,
        "reads all rows of {table} while this transaction holds its lock on {locked}: who waits for that waits for all "
        "of them",
        "commit first; then alone: {validate};",
    ),
    Rule(
        "domain",
        "AlterDomainStmt",
        _domain,
        "locks all tables with a column of {domain} (SHARE) while their rows are read: nobody writes them meanwhile",
        "a CHECK on each table, NOT VALID, then VALIDATE; a domain's constraint can only be validated under that lock",
        by_kos=False,
    ),
)
