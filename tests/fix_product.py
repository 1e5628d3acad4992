"""The database of a product that was not built with kos, with kos installed beside it. See `product_schema.py`.

No superuser takes part: an administrator with CREATEROLE and CREATEDB made the roles and the database, and the role of
the application made its tables, which it owns.
"""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

import product_schema
from fix_database import as_installer, clone, drop, make_template
from kos.topology import postgres as opening
from kos.topology.embedded import Stack, postgres_tool
from kos.topology.model import Login, PostgresServer, Topology, fixed

TEMPLATE = "kos_test_product"
OWNER = "product_app"
OTHER_OWNER = "product_legacy"  # nobody lets kos act for it
PASSWORD = "only for this test"

# What `kos adopt` prints as the grants that it misses, for the application's role.
GRANTS = (
    "create role kos_adopter noinherit",
    "grant kos_adopter to kos_operator",
    f"grant {OWNER} to kos_adopter",
)


def make_roles(administrator: psycopg.Connection[tuple[object, ...]], *, grant: bool = True) -> None:
    """The product's roles, and the right of kos to act for the one that owns its tables. Roles are the server's."""
    for role in (OWNER, OTHER_OWNER):
        if not administrator.execute("select 1 from pg_roles where rolname = %s", (role,)).fetchone():
            administrator.execute(SQL("create role {} login password {}").format(Identifier(role), PASSWORD))
    if grant and not administrator.execute("select 1 from pg_roles where rolname = 'kos_adopter'").fetchone():
        for statement in GRANTS:
            administrator.execute(statement)


def make_product(server: PostgresServer, administrator: Login) -> None:
    """The product's tables, in a database of the administrator's."""
    with opening.connect(server, administrator) as connection:
        for role in (OWNER, OTHER_OWNER):
            connection.execute(SQL("grant create on schema public to {}").format(Identifier(role)))
        grant = SQL("grant create on database {} to {}")
        connection.execute(grant.format(Identifier(server.database), Identifier(OWNER)))
    with opening.connect(server, Login(OWNER, fixed(PASSWORD))) as connection, connection.transaction():
        for statement in product_schema.statements():
            connection.execute(statement)
        connection.execute(f"grant references on public.accounts_account to {OTHER_OWNER}")
    with opening.connect(server, Login(OTHER_OWNER, fixed(PASSWORD))) as connection:
        connection.execute("""
            create table public.legacy_balance (
              id bigint primary key, account_id bigint not null references public.accounts_account, balance numeric)""")


def _make_product_template(stack: Stack) -> None:
    topology = stack.topology()
    control = topology.control
    assert control.installer
    with as_installer(topology, control.primary.database) as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (TEMPLATE,)).fetchone():
            return
        make_roles(connection)
    make_template(stack, TEMPLATE)
    make_product(replace(control.primary, database=TEMPLATE), control.installer)


@pytest.fixture(scope="session")
def product_template(template: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The shared PostgreSQL, with a template database of the product."""
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "product-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _make_product_template(template)
    return template


@pytest.fixture
def product(product_template: Stack) -> Iterator[Topology]:
    """A topology on a product's database of this test's own."""
    topology = clone(product_template, TEMPLATE)
    yield topology
    drop(product_template, topology)


@pytest.fixture(scope="module")
def module_product(product_template: Stack) -> Iterator[Topology]:
    """A product's database that the tests of one module share: for those that read only."""
    topology = clone(product_template, TEMPLATE)
    yield topology
    drop(product_template, topology)


def as_owner(topology: Topology, role: str = OWNER) -> psycopg.Connection[tuple[object, ...]]:
    """Connected as the application, which owns its tables."""
    return opening.connect(topology.control.primary, Login(role, fixed(PASSWORD)))


def catalog(server: PostgresServer, login: Login, *options: str) -> str:
    """The whole database's catalog as pg_dump tells it, without what differs between runs.

    `login` may read every table: to dump is to lock.
    """
    parameters = opening.conninfo(server, login)
    environment = {"PATH": os.environ["PATH"], "PGPASSWORD": parameters["password"]}
    address = ("--host", parameters["host"], "--port", str(parameters["port"]), "--username", parameters["user"])
    command = [postgres_tool("pg_dump"), "--schema-only", *options, *address, parameters["dbname"]]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    noise = ("-- Dumped", "\\restrict", "\\unrestrict")
    # Debian's PostgreSQL 15.20 keeps a note of its own among the options of each column.
    text = re.sub(r"^ALTER TABLE .* SET \(pg_attver=\d+\);\n", "", run.stdout, flags=re.MULTILINE)
    text = re.sub(r"pg_attver=\d+, |, pg_attver=\d+", "", text)
    return "\n".join(line for line in text.splitlines() if not line.startswith(noise))
