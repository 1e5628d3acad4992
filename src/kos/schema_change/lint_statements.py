"""Rules of the linter: statements other than ALTER TABLE."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kos.schema_change.lint_look import Fields, Look, Rule, quoted
from kos.schema_change.lint_seen import Name, among, last_two, name_of
from kos.schema_change.parse import choice, inner

RELATIONS = {
    "OBJECT_TABLE",
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_SEQUENCE",
    "OBJECT_FOREIGN_TABLE",
    "OBJECT_INDEX",
}
TYPES = {"OBJECT_TYPE", "OBJECT_DOMAIN"}
OTHERS = {
    "OBJECT_SCHEMA",
    "OBJECT_FUNCTION",
    "OBJECT_PROCEDURE",
    "OBJECT_ROUTINE",
    "OBJECT_AGGREGATE",
    "OBJECT_EXTENSION",
    "OBJECT_CAST",
    "OBJECT_OPERATOR",
}
SHARE = 5  # of the locks of LOCK TABLE, the first that writers wait for


def options(nodes: Any) -> set[str]:
    """Of VACUUM and REINDEX: those that are on."""
    found = set()
    for each in nodes:
        said = inner(each.def_elem.arg)
        off = (type(said).__name__ == "Boolean" and not said.boolval) or (
            type(said).__name__ == "String" and said.sval in {"off", "false"}
        )
        if not off:
            found.add(each.def_elem.defname)
    return found


def dropped(statement: Any) -> list[Name]:
    """What a DROP names."""
    found: list[Name] = []
    for each in statement.objects:
        node = inner(each)
        if type(node).__name__ == "List":
            found.append(last_two(node.items))
        elif type(node).__name__ == "TypeName":
            found.append(last_two(node.names))
        elif type(node).__name__ == "ObjectWithArgs":
            found.append(last_two(node.objname))
        else:
            found.append(("", node.sval))
    return found


def of_others(look: Look) -> list[Name]:
    """Of what a DROP names, what was there before the file."""
    mine = look.seen.types if choice(look.statement, "remove_type") in TYPES else look.seen.made
    return [each for each in dropped(look.statement) if not among(each, mine)]


# what is dropped, renamed, emptied


def _drop(kinds: set[str], *behaviors: str) -> Callable[[Look], Fields | None]:
    def finds(look: Look) -> Fields | None:
        behavior = choice(look.statement, "behavior")
        if choice(look.statement, "remove_type") not in kinds or (behaviors and behavior not in behaviors):
            return None
        found = of_others(look)
        return {"name": ", ".join(quoted(*each) for each in found)} if found else None

    return finds


def _always(look: Look) -> Fields | None:
    return {}


def _rename_table(look: Look) -> Fields | None:
    statement = look.statement
    if choice(statement, "rename_type") != "OBJECT_TABLE" or not look.others_table:
        return None
    return {"table": look.table, "new": quoted(statement.newname)}


def _rename_column(look: Look) -> Fields | None:
    statement = look.statement
    if choice(statement, "rename_type") != "OBJECT_COLUMN" or not look.others_table:
        return None
    if (look.relname, statement.subname) in look.seen.columns:
        return None
    return {"table": look.table, "column": quoted(statement.subname), "new": quoted(statement.newname)}


_IN_TABLES = {
    "OBJECT_VIEW",
    "OBJECT_MATVIEW",
    "OBJECT_SEQUENCE",
    "OBJECT_FOREIGN_TABLE",
    "OBJECT_TABCONSTRAINT",
    "OBJECT_ATTRIBUTE",
}


def _rename_object(look: Look) -> Fields | None:
    """An index can have any name: no statement says it."""
    statement = look.statement
    what = choice(statement, "rename_type")
    if what in _IN_TABLES:
        if not look.others_table or (look.relname, statement.subname) in look.seen.constraints:
            return None
        return {"name": quoted(statement.subname) if statement.subname else look.table}
    if what in OTHERS | TYPES | {"OBJECT_DATABASE", "OBJECT_ROLE"}:
        return {"name": quoted(*_object(statement))}
    return None


def _object(statement: Any) -> Name:
    if statement.subname:
        return "", statement.subname
    node = inner(statement.object)
    return last_two(node.objname if type(node).__name__ == "ObjectWithArgs" else node.items)


def _set_schema(look: Look) -> Fields | None:
    statement = look.statement
    if choice(statement, "object_type") == "OBJECT_TABLE":
        if not look.others_table:
            return None
        return {"table": look.table, "new": quoted(statement.newschema, look.relname)}
    return None


def _set_schema_of_object(look: Look) -> Fields | None:
    statement = look.statement
    if choice(statement, "object_type") in {"OBJECT_TABLE", "OBJECT_EXTENSION"}:
        return None
    if statement.HasField("relation"):
        return {"name": look.table} if look.others_table else None
    return {"name": "it"}


def _rename_value(look: Look) -> Fields | None:
    statement = look.statement
    if not statement.old_val or among(last_two(statement.type_name), look.seen.types):
        return None
    name = quoted(*last_two(statement.type_name))
    return {"type": name, "old": statement.old_val, "new": statement.new_val}


def _truncate(look: Look) -> Fields | None:
    tables = [name_of(inner(each)) for each in look.statement.relations]
    found = [quoted(*each) for each in tables if not look.seen.is_made(each)]
    return {"table": ", ".join(found)} if found else None


# what takes long, or stops others


def _vacuum(look: Look) -> Fields | None:
    return {} if look.statement.is_vacuumcmd and "full" in options(look.statement.options) else None


def _lock(look: Look) -> Fields | None:
    tables = [name_of(inner(each)) for each in look.statement.relations]
    found = [quoted(*each) for each in tables if not look.seen.is_made(each)]
    return {"table": ", ".join(found)} if found and look.statement.mode >= SHARE else None


def _refresh(look: Look) -> Fields | None:
    statement = look.statement
    return None if statement.concurrent or not look.others_table else {"view": look.table}


def _whole_table(look: Look) -> Fields | None:
    statement = look.statement
    if not look.others_table or statement.HasField("where_clause"):
        return None
    return {"table": look.table}


def _under_lock(look: Look) -> Fields | None:
    """INSERT of a few rows is quickly done; of a query's rows it may not be."""
    statement = look.statement
    if not look.seen.locked or not look.others_table or look.relname in NOTES:
        return None
    if type(statement).__name__ == "InsertStmt":
        query = statement.select_stmt.select_stmt
        if not statement.HasField("select_stmt") or query.values_lists or not query.from_clause:
            return None
    return {"table": look.table, "locked": look.seen.locked[0]}


def _revoke(look: Look) -> Fields | None:
    statement = look.statement
    found = [inner(each) for each in statement.objects]
    public = all(choice(inner(each), "roletype") == "ROLESPEC_PUBLIC" for each in statement.grantees)
    tables = [name_of(each) for each in found if type(each).__name__ == "RangeVar"]
    made = bool(tables) and all(look.seen.is_made(each) for each in tables)
    return None if statement.is_grant or made or (public and not tables) else {}


# Where migration tools note what they have done: one row.
NOTES = {"alembic_version", "django_migrations", "schema_migrations", "flyway_schema_history"}
_WRITES = "UPDATE", "DELETE"
STATEMENTS = (
    Rule(
        "drop-table",
        "DropStmt",
        _drop({"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}, "DROP_RESTRICT"),
        "old code that reads or writes {name} fails at once, and its rows are gone; tables that its foreign keys refer "
        "to are locked with it",
        "when no code names it any more: the same, with a lock_timeout; -- kos: allow drop-table",
    ),
    Rule(
        "drop-table",
        "DropStmt",
        _drop({"OBJECT_TABLE", "OBJECT_FOREIGN_TABLE"}, "DROP_CASCADE"),
        "old code that reads or writes {name} fails at once, and its rows are gone; with it goes what hangs on it, "
        "which nobody named",
        "each by its name, without CASCADE, when no code names it any more; -- kos: allow drop-table",
        by_kos=False,
    ),
    Rule(
        "drop-object",
        "DropStmt",
        _drop(OTHERS | TYPES | {"OBJECT_VIEW", "OBJECT_MATVIEW", "OBJECT_SEQUENCE"}),
        "old code that uses {name} fails at once; CASCADE takes along what hangs on it, columns too",
        "when no code names it any more, and without CASCADE; -- kos: allow drop-object",
        by_kos=False,
    ),
    Rule(
        "drop-object",
        "DropOwnedStmt",
        _always,
        "drops whatever the role owns, and takes its rights away: which that is, the statement does not say",
        "REASSIGN OWNED, then DROP by name what is to go",
        by_kos=False,
    ),
    Rule(
        "drop-database",
        "DropdbStmt",
        _always,
        "all of the database is gone, and no transaction takes it back",
        "not in a migration; -- kos: allow drop-database",
        by_kos=False,
    ),
    Rule(
        "rename-table",
        "RenameStmt",
        _rename_table,
        "old code, which says {table}, fails at once; new code failed until then",
        "ALTER TABLE {table} RENAME TO {new};\nCREATE VIEW {table} WITH (security_invoker) AS SELECT * FROM {new};\n"
        "in one transaction; drop the view when only new code runs",
    ),
    Rule(
        "rename-table",
        "AlterObjectSchemaStmt",
        _set_schema,
        "old code, which finds {table} where it is now, fails at once",
        "ALTER TABLE {table} SET SCHEMA …;\nCREATE VIEW {table} WITH (security_invoker) AS SELECT * FROM {new};\n"
        "in one transaction; drop the view when only new code runs",
        by_kos=False,
    ),
    Rule(
        "rename-column",
        "RenameStmt",
        _rename_column,
        "old code, which says {column}, fails at once; new code failed until then",
        "add {new}, a trigger that keeps both equal, both ways, and fill it in batches; when only new code runs, drop "
        "{column}",
    ),
    Rule(
        "rename-object",
        "RenameStmt",
        _rename_object,
        "code that says {name} fails at once; new code failed until then",
        "make the new one beside it, and drop the old one when only new code runs",
        by_kos=False,
    ),
    Rule(
        "rename-object",
        "AlterObjectSchemaStmt",
        _set_schema_of_object,
        "old code, which finds {name} where it is now, fails at once",
        "make the new one beside it, and drop the old one when only new code runs",
        by_kos=False,
    ),
    Rule(
        "rename-value",
        "AlterEnumStmt",
        _rename_value,
        "old code, which writes and compares {type} with '{old}', fails at once",
        "ALTER TYPE {type} ADD VALUE '{new}';\nnew code that knows both; then UPDATE the rows in batches",
        by_kos=False,
    ),
    Rule(
        "truncate",
        "TruncateStmt",
        _truncate,
        "all rows of {table} are gone, with CASCADE those of tables that refer to it too; locks all (ACCESS EXCLUSIVE)",
        "DELETE … WHERE …;   -- in batches",
        by_kos=False,
    ),
    *(
        Rule(
            "rewrite",
            kind_of,
            finds,
            "rewrites the table with all its indexes while it is locked (ACCESS EXCLUSIVE): nobody reads or writes it "
            "meanwhile",
            "VACUUM, without FULL; or an extension that rewrites it online, as pg_repack does",
            by_kos=False,
        )
        for kind_of, finds in (("VacuumStmt", _vacuum), ("ClusterStmt", _always))
    ),
    Rule(
        "lock-table",
        "LockStmt",
        _lock,
        "nobody writes {table} until this transaction ends, or even reads it",
        "lock rows (SELECT … FOR UPDATE), or SHARE UPDATE EXCLUSIVE where migrations must only keep each other out",
        by_kos=False,
    ),
    Rule(
        "refresh",
        "RefreshMatViewStmt",
        _refresh,
        "locks {view} (ACCESS EXCLUSIVE) while its query runs: nobody reads it meanwhile",
        "REFRESH MATERIALIZED VIEW CONCURRENTLY {view};   -- with a UNIQUE index over columns of it",
        by_kos=False,
    ),
    *(
        Rule(
            "whole-table-write",
            f"{each.capitalize()}Stmt",
            _whole_table,
            f"{each}s all rows of {{table}} in one transaction: who writes one of them waits for its end, and replicas "
            "fall behind",
            f"{each} … WHERE …;   -- some thousand rows at a time, each batch its own transaction",
            by_kos=False,
        )
        for each in _WRITES
    ),
    *(
        Rule(
            "write-under-lock",
            each,
            _under_lock,
            "runs while this transaction holds its lock on {locked}: who waits for that waits for all these rows",
            "commit first, then the rows, in batches",
            by_kos=False,
        )
        for each in ("UpdateStmt", "DeleteStmt", "InsertStmt")
    ),
    Rule(
        "revoke",
        "GrantStmt",
        _revoke,
        "code that still needs the right fails at once",
        "look at what is used (pg_stat_activity, the log); then -- kos: allow revoke",
        by_kos=False,
    ),
    Rule(
        "do-block",
        "DoStmt",
        _always,
        "what it runs can't be seen from here",
        "plain statements; or, if it is known to be harmless, -- kos: allow do-block",
        by_kos=False,
    ),
)
