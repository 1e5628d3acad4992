"""Migration 1 of the mission: atoms get an embedding, filled in batches, required without a scan that anybody waits
for, and indexed concurrently; under load, in the row, the schema and the database tier.

As written, the batches of phase 2 find their rows anew each time, `value` may be null, and phase 3 scans the table
under an exclusive lock. Here the statements are the mission's, and how they are carried out is the change's.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any
from uuid import UUID

import pytest
from embedding_load import Embedding
from psycopg.sql import SQL, Identifier

from fix_database import as_superuser
from fix_product import catalog
from kos.schema_change import finish, plan_change, roll_back, start
from kos.tenancy import Store, Tenant, create_tenant
from kos.tenancy.placement import place_of, server_at
from kos.topology.embedded import Stack
from kos.topology.model import Login, fixed

MIGRATION = """
-- Example: Adding vector embeddings to atoms
-- Phase 1: Add nullable column
ALTER TABLE atoms ADD COLUMN embedding VECTOR(1536);

-- Phase 2: Backfill in batches
-- kos: fill atoms.embedding with test_migration_1:{function}(value)

-- Phase 3: Make column NOT NULL after backfill complete
ALTER TABLE atoms ALTER COLUMN embedding SET NOT NULL;

-- Phase 4: Create index concurrently
CREATE INDEX CONCURRENTLY atoms_embedding_idx
ON atoms USING ivfflat (embedding vector_cosine_ops);
"""
TENANTS = {"acme": "row", "globex": "row", "initech": "schema", "umbrella": "database"}
ROWS = 120
PROVED = "existing constraints on column {} are sufficient to prove that it does not contain nulls"


def compute_embedding(value: str | None) -> list[float]:
    """Numbers that follow from the text, as a model's would."""
    return [(byte - 128) / 128 for byte in hashlib.shake_256((value or "").encode()).digest(1536)]


def compute_embeddings(values: list[tuple[str | None]]) -> list[list[float]]:
    """The same for many rows at once, as a model likes it."""
    return [compute_embedding(value) for (value,) in values]


compute_embeddings.kos_batch = True  # type: ignore[attr-defined]


def as_vector(value: str | None) -> str:
    return str(compute_embedding(value))


@pytest.fixture
def atoms(store: Store) -> dict[str, list[UUID]]:
    """Tenants of every tier, each with some hundred atoms; one in ten has no value."""
    found = {}
    for name, tier in TENANTS.items():
        create_tenant(store, name, tier)
        with store.tenant(name) as session:
            rows = session.execute(
                "insert into atoms (atom_type, name, value, number_value)"
                " select 'T', 'atom ' || g, case when mod(g, 10) > 0 then 'value ' || g end, g"
                " from generate_series(1, %s) g returning id",
                (ROWS,),
            ).fetchall()
        found[name] = [row[0] for row in rows]
    return found


def homes(store: Store) -> list[Tenant]:
    """A tenant of each schema."""
    return [store.find(name) for name in ("acme", "initech", "umbrella")]


def catalogs(store: Store, stack: Stack) -> list[str]:
    """What pg_dump says of every database."""
    secrets = json.loads((stack.folder / ".kos" / "secrets.json").read_text())
    login = Login("postgres", fixed(secrets["postgres"]))
    databases = {tenant.database: server_at(store.topology, place_of(tenant)) for tenant in homes(store)}
    return [catalog(server, login) for server in databases.values()]


def ask(store: Store, stack: Stack, query: str) -> list[Any]:
    """The rows of a query in the schema of each home."""
    found = []
    for tenant in homes(store):
        with as_superuser(stack, tenant.database) as connection:
            connection.execute(SQL("set search_path = {}, public").format(Identifier(tenant.schema)))
            found.append(connection.execute(query.encode()).fetchall())
    return found


def not_null(store: Store, stack: Stack) -> list[Any]:
    return ask(
        store,
        stack,
        "select attnotnull, format_type(atttypid, atttypmod) from pg_attribute"
        " where attrelid = 'atoms'::regclass and attname = 'embedding'",
    )


def index(store: Store, stack: Stack) -> list[Any]:
    return ask(
        store,
        stack,
        "select indisvalid and indisready, amname, opcname from pg_index i"
        " join pg_class c on c.oid = indexrelid join pg_am a on a.oid = relam join pg_opclass o on o.oid = indclass[0]"
        " where indexrelid = to_regclass('atoms_embedding_idx')",
    )


def wrong(store: Store) -> list[str]:
    """Atoms whose embedding isn't that of their value."""
    found = []
    for name in TENANTS:
        with store.tenant(name) as session:
            rows = session.execute("select name, value, embedding::text from atoms").fetchall()
        assert len(rows) >= ROWS
        found += [
            str(atom) for atom, value, text in rows if text is None or json.loads(text) != compute_embedding(value)
        ]
    return found


@pytest.mark.long
@pytest.mark.parametrize("function", ["compute_embedding", "compute_embeddings"])
def test_migration_1_adding_vector_embeddings_to_atoms(
    store: Store, template: Stack, atoms: dict[str, list[UUID]], function: str
) -> None:
    plan = plan_change(store, MIGRATION.format(function=function), name="embeddings")
    assert plan.scope.shipped
    assert sorted(each.schema for each in plan.placements) == sorted(tenant.schema for tenant in homes(store))
    with Embedding(store, atoms, as_vector) as load:
        assert start(store, plan).state == "waiting"
        load.deploy()
        assert not_null(store, template) == [[(False, "vector(1536)")]] * 3
        assert finish(store).state == "finished"
        load.go_on()
    assert load.failed == []
    assert not_null(store, template) == [[(True, "vector(1536)")]] * 3
    assert index(store, template) == [[(True, "ivfflat", "vector_cosine_ops")]] * 3
    assert wrong(store) == []
    assert ask(store, template, "select from pg_index where not indisvalid") == [[]] * 3


@pytest.mark.long
def test_migration_1_rolled_back_leaves_the_catalog_as_it_was(
    store: Store, template: Stack, atoms: dict[str, list[UUID]]
) -> None:
    before = catalogs(store, template)
    with Embedding(store, atoms, as_vector) as load:
        start(store, plan_change(store, MIGRATION.format(function="compute_embeddings")))
        assert index(store, template) == [[(True, "ivfflat", "vector_cosine_ops")]] * 3
        roll_back(store)
        load.go_on()
    assert load.failed == []
    assert catalogs(store, template) == before
    assert ask(store, template, "select from pg_index where not indisvalid") == [[]] * 3


def test_migration_1_nobody_waits_while_rows_are_searched_for_null(
    store: Store, template: Stack, atoms: dict[str, list[UUID]]
) -> None:
    """PostgreSQL itself says why it reads no row: the log of the operator's statements has it."""
    for tenant in homes(store):
        with as_superuser(template, tenant.database) as superuser:
            database = Identifier(tenant.database)
            chatty = SQL("alter role kos_operator in database {} set log_min_messages = debug1")
            superuser.execute(chatty.format(database))
    start(store, plan_change(store, MIGRATION.format(function="compute_embeddings")))
    finish(store)
    said = template.log("postgres").read_text(errors="replace").splitlines()
    for tenant in homes(store):
        here = [line for line in said if f"@{tenant.database} " in line]
        assert [line for line in here if PROVED.format('"atoms.embedding"') in line], tenant.database
