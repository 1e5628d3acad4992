"""Rules of the linter: locks that are waited for, and what goes wrong inside of a transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from kos.schema_change.lint_constraints import LIGHT
from kos.schema_change.lint_look import Fields, Look, Rule, quoted
from kos.schema_change.lint_seen import BEGINS, ENDS, Name, Seen, commands_of, name_of
from kos.schema_change.lint_statements import RELATIONS, SHARE, dropped, options
from kos.schema_change.parse import choice, inner, inside

ANY = "*"  # of Rule.on: every statement

# By kind of statement, the relations that it locks so that readers or writers wait.
_Locks = Callable[[Any], Iterator[Name]]


def waited_for(statement: Any, seen: Seen) -> list[Name]:
    """The relations of others that a statement locks so that reads or writes wait, behind its own wait too."""
    locks = _LOCKS.get(type(statement).__name__)
    return [each for each in locks(statement) if not seen.is_made(each)] if locks else []


def _of_alter(statement: Any) -> Iterator[Name]:
    if choice(statement, "objtype") not in RELATIONS:
        return
    for command in commands_of(statement):
        what, given = choice(command, "subtype"), inner(getattr(command, "def"))
        if what == "AT_AttachPartition":
            yield name_of(given.name)
        elif what not in LIGHT and not (what == "AT_DetachPartition" and given.concurrent):
            yield name_of(statement.relation)
        for each in inside(command):
            if type(each).__name__ == "Constraint" and each.HasField("pktable"):
                yield name_of(each.pktable)


def _of_create(statement: Any) -> Iterator[Name]:
    yield from (name_of(inner(each)) for each in statement.inh_relations if statement.HasField("partbound"))
    for each in inside(statement):
        if type(each).__name__ == "Constraint" and each.HasField("pktable"):
            yield name_of(each.pktable)


def _of_index(statement: Any) -> Iterator[Name]:
    if not statement.concurrent:
        yield name_of(statement.relation)


def _of_drop(statement: Any) -> Iterator[Name]:
    what = choice(statement, "remove_type")
    if what in RELATIONS and not statement.concurrent:
        yield from dropped(statement)
    elif what in {"OBJECT_TRIGGER", "OBJECT_POLICY", "OBJECT_RULE"}:
        for each in statement.objects:
            parts = [part.string.sval for part in inner(each).items][:-1]
            yield (parts[-2] if len(parts) > 1 else ""), parts[-1]


def _of_rename(statement: Any) -> Iterator[Name]:
    if statement.HasField("relation") and choice(statement, "rename_type") != "OBJECT_INDEX":
        yield name_of(statement.relation)


def _of_reindex(statement: Any) -> Iterator[Name]:
    if statement.HasField("relation") and "concurrently" not in options(statement.params):
        yield name_of(statement.relation)


def _of_relation(statement: Any) -> Iterator[Name]:
    if statement.HasField("relation") and not getattr(statement, "concurrent", False):
        yield name_of(statement.relation)


def _of_policy(statement: Any) -> Iterator[Name]:
    yield name_of(statement.table)


def _of_relations(statement: Any) -> Iterator[Name]:
    if getattr(statement, "mode", SHARE) >= SHARE:
        yield from (name_of(inner(each)) for each in statement.relations)


def _of_view(statement: Any) -> Iterator[Name]:
    if statement.replace:
        yield name_of(statement.view)


def _of_vacuum(statement: Any) -> Iterator[Name]:
    if "full" in options(statement.options):
        yield from (name_of(each.vacuum_relation.relation) for each in statement.rels)


_LOCKS: dict[str, _Locks] = {
    "AlterTableStmt": _of_alter,
    "CreateStmt": _of_create,
    "IndexStmt": _of_index,
    "DropStmt": _of_drop,
    "RenameStmt": _of_rename,
    "ReindexStmt": _of_reindex,
    "ClusterStmt": _of_relation,
    "RefreshMatViewStmt": _of_relation,
    "AlterObjectSchemaStmt": _of_relation,
    "CreateTrigStmt": _of_relation,
    "RuleStmt": _of_relation,
    "CreatePolicyStmt": _of_policy,
    "AlterPolicyStmt": _of_policy,
    "TruncateStmt": _of_relations,
    "LockStmt": _of_relations,
    "ViewStmt": _of_view,
    "VacuumStmt": _of_vacuum,
}


def _no_timeout(look: Look) -> Fields | None:
    if look.seen.lock_timeout:
        return None
    found = waited_for(look.statement, look.seen)
    return {"table": quoted(*found[0])} if found else None


def _not_inside(look: Look) -> Fields | None:
    """What PostgreSQL refuses inside of a transaction."""
    statement = look.statement
    what = type(statement).__name__
    concurrently = bool(getattr(statement, "concurrent", False)) and what in {"IndexStmt", "DropStmt"}
    if what == "ReindexStmt":
        concurrently = "concurrently" in options(statement.params)
    elif what == "AlterTableStmt":
        concurrently = any(
            choice(each, "subtype") == "AT_DetachPartition" and inner(getattr(each, "def")).concurrent
            for each in commands_of(statement)
        )
    refused = concurrently or what in _ALONE or (what == "VacuumStmt" and statement.is_vacuumcmd)
    return {} if refused and look.seen.in_transaction else None


_ALONE = {"CreatedbStmt", "DropdbStmt", "AlterSystemStmt", "CreateTableSpaceStmt", "DropTableSpaceStmt"}


def _new_value(look: Look) -> Fields | None:
    """Whether a statement has, as a constant, a value that this transaction has added to an enum."""
    for each in inside(look.statement) if look.seen.new_values else ():
        if type(each).__name__ == "A_Const" and each.HasField("sval") and each.sval.sval in look.seen.new_values:
            return {"value": each.sval.sval}
    return None


def _nested(look: Look) -> Fields | None:
    begins = choice(look.statement, "kind") in BEGINS
    return {} if begins and look.seen.in_transaction else None


def _nothing_to_end(look: Look) -> Fields | None:
    ends = choice(look.statement, "kind") in ENDS
    return {} if ends and not look.seen.in_transaction else None


LOCK_TIMEOUT = Rule(
    "lock-timeout",
    ANY,
    _no_timeout,
    "waits for its lock on {table} without an end, behind any transaction that lasts, and all others wait behind it",
    "SET lock_timeout = '200ms';   -- first; where it fails (55P03), try again a moment later",
)
OPEN = Rule(
    "transaction",
    "end",
    lambda look: {},
    "no COMMIT follows: its locks are held until the session ends, and then all of it is taken back",
    "COMMIT;",
    by_kos=False,
)
TRANSACTIONS = (
    LOCK_TIMEOUT,
    Rule(
        "not-in-transaction",
        ANY,
        _not_inside,
        "PostgreSQL refuses it inside of a transaction (25001)",
        "COMMIT before it, or a file of its own that the migration tool runs in no transaction",
        by_kos=False,
    ),
    Rule(
        "enum-value-in-transaction",
        ANY,
        _new_value,
        "'{value}' is of this transaction, and PostgreSQL refuses to use it before that is committed (55P04)",
        "COMMIT after ALTER TYPE … ADD VALUE",
        by_kos=False,
    ),
    Rule(
        "transaction",
        "TransactionStmt",
        _nested,
        "a transaction is open already: the next COMMIT ends that one, and what follows is in none",
        "leave it out, or end the other first",
        by_kos=False,
    ),
    Rule(
        "transaction",
        "TransactionStmt",
        _nothing_to_end,
        "no transaction is open, so each statement before it was committed for itself",
        "BEGIN, before the first of them",
        by_kos=False,
    ),
    OPEN,
)
