"""GRANT and REVOKE: what is granted is there from the start, since new code needs it; what is revoked stays until the
end, since old code may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from kos import errors
from kos.schema_change.composing import action
from kos.schema_change.draft import Draft, Planner
from kos.schema_change.naming import QUERIES
from kos.schema_change.parse import Statement, choice, inner, names, render

_ALL = {
    "OBJECT_TABLE": ("select", "insert", "update", "delete", "truncate", "references", "trigger"),
    "OBJECT_SEQUENCE": ("usage", "select", "update"),
}
MAINTAIN_SINCE = 170000
_ALL_OF_A_COLUMN = ("select", "insert", "update", "references")

# Column, or None for the whole relation; privilege; role.
Held = dict[tuple[str | None, str, str], bool]


def grant(draft: Draft, statement: Statement) -> None:
    """GRANT … ON … TO …, and REVOKE.

    Raises:
        ChangeRefused: it names a role as CURRENT_USER and the like.
    """
    node = statement.node
    one_by_one = choice(node, "targtype") == "ACL_TARGET_OBJECT" and choice(node, "objtype") in _ALL
    for each in node.grantees:
        if choice(each.role_spec, "roletype") not in ("ROLESPEC_CSTRING", "ROLESPEC_PUBLIC"):
            raise errors.ChangeRefused(statement.text, "who that is depends on who asks", "name the role")
    if not one_by_one:
        _at_the_end(draft, node, "the schema", draft.owner)
        if node.is_grant:
            draft.warnings.append(f"{statement.text}: is done by finish, so new code does without until then")
        return
    for each in node.objects:
        alone = _copy(node)
        alone.objects.add().CopyFrom(each)
        _on_relation(draft, alone, each.range_var.relname)


def _copy(node: Any) -> Any:
    made = type(node)()
    made.CopyFrom(node)
    del made.objects[:]
    return made


def _on_relation(draft: Draft, node: Any, name: str) -> None:
    row = draft.connection.execute(QUERIES.owner, {"schema": draft.schema, "name": name}).fetchone()
    owner = row[0] if row else draft.owner
    if node.is_grant and draft.narrows(name):
        draft.warnings.append(
            f"grant on {name}: is done by finish, with the row security that this change gives the table; new code does"
            " without until then"
        )
    if not node.is_grant or name in draft.replaced or draft.narrows(name):
        _at_the_end(draft, node, name, owner)
        return
    text = f"grant on {name}"
    undo = () if row is None else tuple(_revokes(node, _held(draft, name), owner, draft.connection.info.server_version))
    draft.expand.append(action(draft, name, text, (render(node),), undo, lock="", owner=owner))
    of = {(name, column) for each in node.privileges for column in names(each.access_priv.cols)}
    if of & (draft.physical.keys() | draft.again):
        # Until the end there is another column, or are two, of which the other stays.
        _at_the_end(draft, node, name, owner)


def _at_the_end(draft: Draft, node: Any, name: str, owner: str) -> None:
    text = f"{'grant' if node.is_grant else 'revoke'} on {name}"
    draft.at_contract(action(draft, name, text, (render(node),), lock="", owner=owner))


def _held(draft: Draft, name: str) -> Held:
    rows = draft.connection.execute(QUERIES.privileges, {"schema": draft.schema, "name": name}).fetchall()
    return {(column, privilege, role): grantable for column, privilege, role, grantable in rows}


def _revokes(node: Any, held: Held, owner: str, version: int) -> Iterator[str]:
    """What takes away exactly what the grant gives: not what somebody had before."""
    for grantee in node.grantees:
        role = grantee.role_spec.rolename or "public"
        for column, privilege in _asked(node, version) if role != owner else ():
            had = held.get((column, privilege, role))
            if had is None or (node.grant_option and not had):
                back = _copy(node)
                back.objects.extend(node.objects)
                back.is_grant, back.grant_option = False, had is not None
                del back.privileges[:], back.grantees[:]
                made = back.privileges.add().access_priv
                made.priv_name = privilege
                if column is not None:
                    made.cols.add().string.sval = column
                back.grantees.add().CopyFrom(grantee)
                yield render(back)


def _asked(node: Any, version: int) -> Iterator[tuple[str | None, str]]:
    """Each privilege that a grant names, by column where it is of columns."""
    what = choice(node, "objtype")
    every = (*_ALL[what], "maintain") if what == "OBJECT_TABLE" and version >= MAINTAIN_SINCE else _ALL[what]
    if not node.privileges:
        yield from ((None, privilege) for privilege in every)
    for each in map(inner, node.privileges):
        columns = names(each.cols)
        for privilege in (each.priv_name,) if each.priv_name else _ALL_OF_A_COLUMN if columns else every:
            yield from ((column, privilege) for column in columns or (None,))


PLANNERS: dict[str, Planner] = {"GrantStmt": grant}
