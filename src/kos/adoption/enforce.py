"""Row security on a table of a product, and its exact inverse. One table per transaction, with its partitions.

The fence's guard is on these tables as well: a write of somebody who has entered no tenant fails with KS001, where row
security alone would change no row and say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from psycopg.sql import SQL, Composable, Identifier
from psycopg.types.json import Jsonb

from kos import errors, sql
from kos.adoption.facts import Connection
from kos.adoption.tables import QUERIES as TABLES
from kos.tenancy import schema_files

QUERIES = sql.load("kos.adoption", "enforce.sql")
VALUES = {"uuid": "tenant_as_uuid", "number": "tenant_as_number", "text": "tenant_as_text"}


@dataclass(frozen=True)
class Target:
    """A table as it is now; `kind` is None where its column can't say a tenant."""

    oid: int
    schema: str
    name: str
    owner: str
    kind: str | None
    type: str | None

    @property
    def full_name(self) -> str:
        return f"{self.schema}.{self.name}"


@dataclass(frozen=True)
class Part:
    """The table itself or one of its partitions, with the flags that it has, or had; the rights that the roles of kos
    lack on it, or got for it; and the product's policies that it has, or that have come since."""

    oid: int
    schema: str
    name: str
    owner: str
    row_security: bool
    forced: bool
    rights: list[list[str]]
    policies: list[str]

    @property
    def identifier(self) -> Identifier:
        return Identifier(self.schema, self.name)


def enforced(connection: Connection) -> set[str]:
    """The names of the enforced tables, without partitions."""
    return {f"{schema}.{table}" for schema, table in connection.execute(QUERIES.enforced_tables)}


def refusal(connection: Connection, oid: int, column: str) -> errors.TenantTypeUnknown | None:
    """Why a table can't be enforced, whatever its blockers say; None if it can."""
    target = _target(connection, oid, column)
    return _refusal(target, column) if target else None


def lacks(connection: Connection, oid: int) -> bool:
    """Are the table or partitions of it not enforced?"""
    target = _target(connection, oid, "")
    return bool(target and _parts(connection, target))


def enforce(connection: Connection, oid: int, column: str) -> None:
    """Row security on a table and its partitions, or on those of them that are not enforced yet. `connection` is the
    operator's; in the caller's transaction, which is to be tried again where a lock is not granted.

    All that takes long comes before the table is locked: what others wait for is one message, and the commit.

    Raises:
        TenantTypeUnknown: nothing was changed.
        TableChanged: while its lock was waited for; to be tried again.
    """
    target = _target(connection, oid, column)
    if target is None or not (parts := _parts(connection, target)):
        return
    if error := _refusal(target, column):
        raise error
    owners = sorted({part.owner for part in parts})
    lends = [each for each in owners if connection.execute(QUERIES.may_use_kos, {"owner": each}).fetchone() == (False,)]
    _note(connection, target, parts, column)
    _fence_capture(connection, target, parts, fenced=True)
    _lend(connection, owners, lends)
    _lock(connection, target)
    noted = [part.oid for part in parts]
    if (_target(connection, oid, column), _parts(connection, target, noted)) != (target, parts):
        raise errors.TableChanged(target.full_name)
    script = [
        each
        for part in parts
        for each in (_act_as(part), *_policies(target, part, column), *_grants(QUERIES.grant_right, part))
    ]
    _script(connection, [*script, schema_files.QUERIES.become_owner, *_taken_back(owners, lends)])


def relax(connection: Connection, oid: int) -> None:
    """Undo `enforce`: the catalog is as it was, but for row security that the product has policies for by now. Nothing
    where the table is not enforced."""
    target = _target(connection, oid, "")
    if target is None:
        return
    noted = _noted(connection, oid)
    if not noted:
        return
    schemas = [(row["schema"], row.pop("schema_granted")) for row in noted]
    parts = [Part(**row) for row in noted]
    for name in {part.schema for part in parts}:
        kept = {role for (role,) in connection.execute(QUERIES.schema_still_needs, {"oid": target.oid, "schema": name})}
        granted = {role for schema_name, roles in schemas if schema_name == name for role in roles}
        _change_schema(connection, QUERIES.revoke_schema, name, sorted(granted - kept))
    _fence_capture(connection, target, parts, fenced=False)
    _lock(connection, target)
    if [each["policies"] for each in _noted(connection, oid)] != [part.policies for part in parts]:
        raise errors.TableChanged(target.full_name)
    connection.execute(schema_files.QUERIES.become_owner)
    connection.execute(QUERIES.forget_enforced, {"oid": target.oid})
    connection.execute(TABLES.act_as_ourselves)
    _script(
        connection,
        [each for part in parts for each in (_act_as(part), *_undone(part), *_grants(QUERIES.revoke_right, part))],
    )


def _noted(connection: Connection, oid: int) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(QUERIES.noted, {"oid": oid}).fetchall()


def _target(connection: Connection, oid: int, column: str) -> Target | None:
    with connection.cursor(row_factory=dict_row) as cursor:
        row = cursor.execute(QUERIES.find_relation, {"oid": oid, "column": column}).fetchone()
    return Target(**row) if row else None


def _parts(connection: Connection, target: Target, noted: Sequence[int] = ()) -> list[Part]:
    """Those that are not enforced yet, and those of `noted`."""
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(QUERIES.parts, {"oid": target.oid, "noted": list(noted)}).fetchall()
    return [Part(**row) for row in rows]


def _note(connection: Connection, target: Target, parts: list[Part], column: str) -> None:
    """What is there, and the rights on schemas, which are nobody's wait."""
    schemas = {name: _schema_rights(connection, name) for name in {part.schema for part in parts}}
    connection.execute(schema_files.QUERIES.become_owner)
    for part in parts:
        note = {
            "oid": part.oid, "root": target.oid, "column": column, "row_security": part.row_security,
            "forced": part.forced, "granted": Jsonb(part.rights), "schema_granted": Jsonb(schemas[part.schema]),
            "policies": part.policies,
        }  # fmt: skip
        connection.execute(QUERIES.note_enforced, note)
    for name, roles in schemas.items():
        _change_schema(connection, QUERIES.grant_schema, name, roles)
    connection.execute(TABLES.act_as_ourselves)


def _lend(connection: Connection, owners: list[str], lends: list[str]) -> None:
    connection.execute(schema_files.QUERIES.become_owner)
    for each in lends:
        connection.execute(QUERIES.lend_schema.format(owner=Identifier(each)))
    for each in owners:
        connection.execute(QUERIES.lend_guard.format(owner=Identifier(each)))
    connection.execute(TABLES.act_as_ourselves)


def _taken_back(owners: list[str], lends: list[str]) -> list[Composable]:
    back: list[Composable] = [QUERIES.take_schema_back.format(owner=Identifier(each)) for each in lends]
    return back + [QUERIES.take_guard_back.format(owner=Identifier(each)) for each in owners]


def _lock(connection: Connection, target: Target) -> None:
    """All of its locks within the time that others may have to wait; nothing is asked for after that."""
    connection.execute(TABLES.limit)
    connection.execute(TABLES.act_as.format(role=Identifier(target.owner)))
    connection.execute(QUERIES.lock_table.format(table=Identifier(target.schema, target.name)))
    connection.execute(SQL("; ").join([TABLES.act_as_ourselves, TABLES.lift_limit]))


def _refusal(target: Target, column: str) -> errors.TenantTypeUnknown | None:
    return None if target.kind else errors.TenantTypeUnknown(target.full_name, column, target.type or "none")


def _policies(target: Target, part: Part, column: str) -> list[Composable]:
    """A role that a policy of the product's bound before stays bound; what none bound sees all of its tenant."""
    assert target.kind
    names = {"table": part.identifier, "column": Identifier(column), "value": Identifier(VALUES[target.kind])}
    script: list[Composable] = [QUERIES.enforce.format(**names)]
    if not part.row_security:
        script.append(QUERIES.allow.format(table=part.identifier, role=SQL("public")))
    elif not part.forced:
        script.append(QUERIES.allow.format(table=part.identifier, role=Identifier(part.owner)))
    return script


def _undone(part: Part) -> list[Composable]:
    """Policies that have come since would bind nobody without row security, or not the owner: then it stays."""
    script: list[Composable] = [QUERIES.relax.format(table=part.identifier)]
    if part.policies:
        return script
    if not part.forced:
        script.append(QUERIES.stop_forcing.format(table=part.identifier))
    if not part.row_security:
        script.append(QUERIES.disable.format(table=part.identifier))
    return script


def _grants(query: SQL, part: Part) -> list[Composable]:
    return [
        query.format(privilege=SQL(privilege), table=part.identifier, role=Identifier(role))
        for privilege, role in part.rights
    ]


def _act_as(part: Part) -> Composable:
    """A partition can be another owner's."""
    acting: Composable = TABLES.act_as.format(role=Identifier(part.owner))
    return acting


def _script(connection: Connection, statements: list[Composable]) -> None:
    """In one message: others wait for this table meanwhile."""
    connection.execute(SQL(";\n").join([*statements, TABLES.act_as_ourselves]))


def _schema_rights(connection: Connection, schema: str) -> list[str]:
    return [role for (role,) in connection.execute(QUERIES.schema_rights_missing, {"schema": schema})]


def _change_schema(connection: Connection, query: SQL, schema: str, roles: list[str]) -> None:
    if not roles:
        return
    row = connection.execute(QUERIES.schema_owner, {"schema": schema}).fetchone()
    assert row is not None
    connection.execute(TABLES.act_as.format(role=Identifier(row[0])))
    for role in roles:
        connection.execute(query.format(schema=Identifier(schema), role=Identifier(role)))
    connection.execute(TABLES.act_as_ourselves)


def _fence_capture(connection: Connection, target: Target, parts: list[Part], *, fenced: bool) -> None:
    """As kos_owner: the functions are its own."""
    connection.execute(schema_files.QUERIES.become_owner)
    connection.execute(QUERIES.note_fenced, {"oid": target.oid, "fenced": fenced})
    connection.execute(QUERIES.capture_anew, {"oid": target.oid, "oids": [part.oid for part in parts]})
    connection.execute(TABLES.act_as_ourselves)
