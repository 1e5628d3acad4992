"""Who and what would notice level *enforce*: said before, not after. Reads only."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.sql import Identifier

from kos import sql
from kos.adoption.facts import Connection, as_owner
from kos.adoption.mends import Owned
from kos.adoption.model import Effect, Effects, Role, Statement

QUERIES = sql.load("kos.adoption", "effects.sql")


def read(connection: Connection, owned: Owned, oids: list[int]) -> Effects:
    """What row security on these tables would mean. Inside of `facts.reading`."""
    roles = tuple(_role(row, len(oids)) for row in _rows(connection, QUERIES.roles, oids=oids))
    found = [*_of_catalog(connection, owned, oids), *_of_references(owned, oids), *_of_tools()]
    return Effects(roles, tuple(found), _statements(connection, owned, oids))


def _rows(connection: Connection, query: Any, **given: Any) -> list[dict[str, Any]]:
    with connection.cursor(row_factory=dict_row) as cursor:
        return cursor.execute(query, given).fetchall()


def _role(row: dict[str, Any], tables: int) -> Role:
    bound = not (row["superuser"] or row["bypasses"])
    if not bound:
        why = "a superuser" if row["superuser"] else "it has BYPASSRLS"
        effect = f"not bound ({why}): goes on seeing every tenant"
    elif row["is_application"]:
        effect = "sees the tenant that it has entered; in none, its statements fail with KS001"
    elif row["owns"]:
        effect = "reads 0 rows, although it owns the tables, until it is granted kos_app and enters a tenant"
    else:
        effect = "reads 0 rows and can't write, until it is granted kos_app and enters a tenant"
    return Role(
        row["role"], row["owns"], row["uses"], row["sessions"], bound, bound and not row["is_application"], effect
    )


def _of_catalog(connection: Connection, owned: Owned, oids: list[int]) -> Iterator[Effect]:
    for row in _rows(connection, QUERIES.views, oids=oids):
        if row["materialized"]:
            told = (
                f"refreshed with the rights of {row['owner']}: with the rows that this role sees then; has none itself"
            )
            yield Effect("materialized view", row["name"], told)
        elif not row["of_caller"]:
            told = f"reads as its owner, {row['owner']}: shows what that role sees, whoever asks"
            yield Effect("view", row["name"], told)
    for row in _rows(connection, QUERIES.definer_functions, oids=oids, own=list(owned.facts.own_schemas)):
        yield Effect("definer function", row["name"], f"reads as its owner, {row['owner']}, whoever calls it")
    for row in _rows(connection, QUERIES.policies, oids=oids):
        told = (
            "stays: a role that is not of kos_app sees what it allows, of every tenant"
            if row["permissive"]
            else "stays, and narrows what is seen"
        )
        yield Effect("policy", f"{row['name']} on {row['table']}", told)


def _of_references(owned: Owned, oids: list[int]) -> Iterator[Effect]:
    inside = {oid for oid in oids if owned.places[oid].of_class == "tenant"}
    across = [
        each.name
        for each in owned.facts.references
        if each.source in inside and each.target in inside and owned.column_of(each.source) not in each.columns
    ]
    if across:
        told = (
            "row security does not bind their checks: a row can refer to another tenant's row, and learn that it exists"
        )
        yield Effect("foreign keys", f"{len(across)} without {owned.column}", told)


def _of_tools() -> Iterator[Effect]:
    refused = "fails with an error for a role that is bound"
    yield Effect("statement", "pg_dump", f"{refused}; with --enable-row-security it takes what that role sees")
    yield Effect("statement", "COPY table FROM", f"{refused}; INSERT instead, or COPY to a table without row security")
    yield Effect("statement", "TRUNCATE", "empties the table of every tenant: row security does not bind it")


def _statements(connection: Connection, owned: Owned, oids: list[int]) -> tuple[Statement, ...] | None:
    """None where pg_stat_statements is not installed, or not loaded. A role is shown its own statements only, so this
    asks as each owner as well."""
    place = connection.execute(QUERIES.find_statements).fetchone()
    if place is None or not oids:
        return None
    relations = [owned.facts.relations[oid] for oid in oids]
    names = "|".join(re.escape(each.name) for each in relations)
    given = {"tables": rf"\y({names})\y", "column": rf"\y{re.escape(owned.column)}\y"}
    query = QUERIES.statements.format(schema=Identifier(place[0]))
    try:
        with connection.transaction():
            found = {Statement(**row) for row in _rows(connection, query, **given)}
            for relation in {each.owner: each for each in relations if each.may_act}.values():
                with as_owner(connection, relation):
                    found |= {Statement(**row) for row in _rows(connection, query, **given)}
    except (psycopg.errors.ObjectNotInPrerequisiteState, psycopg.errors.InsufficientPrivilege):
        return None
    return tuple(sorted(found, key=lambda each: (-each.calls, each.role, each.statement)))
