"""Rules of the linter: indexes."""

from __future__ import annotations

from kos.schema_change.lint_look import Fields, Look, Rule, copy_of, quoted
from kos.schema_change.lint_statements import of_others, options
from kos.schema_change.parse import choice, render


def _index(look: Look) -> Fields | None:
    statement = look.statement
    if statement.concurrent or not look.others_table or not statement.relation.inh:  # ON ONLY: builds nothing yet
        return None
    concurrent = copy_of(statement)
    concurrent.concurrent = True
    concurrent.if_not_exists = False
    return {"table": look.table, "create": render(concurrent)}


def _index_if_not_exists(look: Look) -> Fields | None:
    statement = look.statement
    if not (statement.concurrent and statement.if_not_exists and look.others_table):
        return None
    alone = copy_of(statement)
    alone.if_not_exists = False
    return {"index": quoted(statement.relation.schemaname, statement.idxname), "create": render(alone)}


def _under_timeout(look: Look) -> Fields | None:
    builds = look.statement.concurrent if hasattr(look.statement, "concurrent") else _reindexes_concurrently(look)
    if not builds or not look.seen.lock_timeout:
        return None
    return {"statement": render(look.statement)}


def _reindexes_concurrently(look: Look) -> bool:
    return "concurrently" in options(look.statement.params)


def _drop_index(look: Look) -> Fields | None:
    if choice(look.statement, "remove_type") != "OBJECT_INDEX" or look.statement.concurrent:
        return None
    indexes = of_others(look)
    if not indexes:
        return None
    drops = "\n".join(f"DROP INDEX CONCURRENTLY {quoted(*each)};" for each in indexes)
    return {"index": ", ".join(quoted(*each) for each in indexes), "drops": drops}


def _reindex(look: Look) -> Fields | None:
    if _reindexes_concurrently(look):
        return None
    concurrent = copy_of(look.statement)
    concurrent.params.add().def_elem.defname = "concurrently"
    return {"reindex": render(concurrent)}


_UNDER_TIMEOUT = (
    "under a lock_timeout it gives up as soon as any old transaction lasts, also one that only reads another table; an "
    "INVALID index is left"
)
_UNTIMED = "SET lock_timeout = 0;\n{statement};\nSET lock_timeout = '200ms';"
INDEXES = (
    Rule(
        "index",
        "IndexStmt",
        _index,
        "locks {table} (SHARE) while the index is built: nobody writes it meanwhile",
        "{create};   -- in no transaction; if it fails, drop the INVALID index that it leaves",
    ),
    Rule(
        "index-if-not-exists",
        "IndexStmt",
        _index_if_not_exists,
        "a build that failed has left an INVALID index, and IF NOT EXISTS takes that for the one: all seems well",
        "DROP INDEX CONCURRENTLY IF EXISTS {index};\n{create};",
    ),
    Rule("index-under-lock-timeout", "IndexStmt", _under_timeout, _UNDER_TIMEOUT, _UNTIMED),
    Rule("index-under-lock-timeout", "ReindexStmt", _under_timeout, _UNDER_TIMEOUT, _UNTIMED, by_kos=False),
    Rule(
        "drop-index",
        "DropStmt",
        _drop_index,
        "locks the table of {index} (ACCESS EXCLUSIVE) behind all that runs on it, and all others behind that",
        "{drops}   -- in no transaction",
    ),
    Rule(
        "reindex",
        "ReindexStmt",
        _reindex,
        "locks the table (SHARE) and the index (ACCESS EXCLUSIVE) while it is built: nobody writes, and reads wait too",
        "{reindex};   -- in no transaction",
        by_kos=False,
    ),
)
