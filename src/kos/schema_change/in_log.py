"""What the log of a table needs of its columns, which a change would take from it."""

from __future__ import annotations

from kos import errors
from kos.schema_change.draft import Draft
from kos.schema_change.facts import QUERIES, Column, Table

_SAME_TEXT = ({"smallint", "integer", "bigint"}, {"text", "character varying"})


def refuse_rename(draft: Draft, facts: Table, known: Column) -> None:
    """The second column would be in the log in clear.

    Raises:
        ChangeRefused
    """
    _refuse_hidden(facts, known, _uses(draft, facts, known), "rename it yourself: its log goes on hiding it")


def refuse_retype(draft: Draft, facts: Table, known: Column, new: str, *, plain: bool) -> None:
    """The same, and the log would know rows or tenants no more: by the column's number, or by its values' text.

    Raises:
        ChangeRefused
    """
    uses = _uses(draft, facts, known)
    _refuse_hidden(
        facts, known, uses, "add a column of that type, hide it with kos adopt --sensitive, fill it in another change"
    )
    refuse_drop(draft, facts, known)
    pair = {known.type.partition("(")[0], new.partition("(")[0]}
    if "key" in uses and not (plain and any(pair <= each for each in _SAME_TEXT)):
        raise errors.ChangeRefused(
            f"{facts.name}.{known.name}",
            "the log knows the rows by it, as text, which may be another then",
            "run kos release before the change, and kos adopt when that is finished",
        )


def refuse_drop(draft: Draft, facts: Table, known: Column) -> None:
    """Without the column, nothing would be logged any more.

    Raises:
        ChangeRefused
    """
    if "tenant" in _uses(draft, facts, known):
        raise errors.ChangeRefused(
            f"{facts.name}.{known.name}",
            "the log tells tenants apart by it",
            "run kos release before the change, and kos adopt when that is finished",
        )


def _refuse_hidden(facts: Table, known: Column, uses: set[str], instead: str) -> None:
    if uses - {"key", "tenant"}:
        raise errors.ChangeRefused(
            f"{facts.name}.{known.name}", "the log hides it, and would have the second column in clear", instead
        )


def _uses(draft: Draft, facts: Table, known: Column) -> set[str]:
    """What the log does with a column. Who owns the table may not ask that."""
    if not facts.logged:
        return set()
    with draft.connection.transaction(force_rollback=True):
        draft.connection.execute(QUERIES.look_as_ourselves)
        rows = draft.connection.execute(QUERIES.columns_in_log, {"oid": facts.oid}).fetchall()
    return {use for name, use in rows if name == known.name}
