"""Domains. For a new column of one that has constraints PostgreSQL writes the table again, locked; also where another
type becomes one."""

from __future__ import annotations

from typing import Any

from kos import errors
from kos.schema_change.draft import Draft
from kos.schema_change.facts import QUERIES
from kos.schema_change.parse import choice, inner, names, render_type

_CONSTRAINTS = ("CONSTR_CHECK", "CONSTR_NOTNULL")


def note_made(draft: Draft, node: Any) -> None:
    """CREATE DOMAIN: the catalog doesn't know it yet."""
    binds = any(choice(inner(each), "contype") in _CONSTRAINTS for each in node.constraints)
    if binds or is_checked(draft, node.type_name):
        draft.checked_domains.add(names(node.domainname)[-1])


def is_checked(draft: Draft, type_name: Any) -> bool:
    """Whether a type, as a statement names it, is a domain with constraints. An array of such is none."""
    made = names(type_name.names)[-1] in draft.checked_domains and not type_name.array_bounds
    return made or is_checked_type(draft, render_type(type_name))


def is_checked_type(draft: Draft, type_name: str) -> bool:
    """The same of a type that is there."""
    with draft.connection.transaction():
        draft.connection.execute(QUERIES.look_from_inside, {"schema": draft.schema})
        row = draft.connection.execute(QUERIES.checked_domain, {"type": type_name}).fetchone()
    return bool(row and row[0])


def refuse_checked(draft: Draft, what: str, type_name: Any) -> None:
    """A column can't be of such a type online.

    Raises:
        ChangeRefused: it is one.
    """
    if is_checked(draft, type_name):
        raise errors.ChangeRefused(
            what,
            f"PostgreSQL rewrites the table for a column of {render_type(type_name)}, a domain with constraints",
            "give the column the domain's own type, and the same CHECK",
        )
