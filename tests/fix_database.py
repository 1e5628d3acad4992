"""A database per test, cloned from a template that was installed once, and a store on it."""

from __future__ import annotations

import fcntl
import json
import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from fix_stack import log_in_quickly
from kos.tenancy import Store, Tenant, create_tenant, install, schema_files
from kos.tenancy.tenant import QUERIES as TENANT_QUERIES
from kos.topology import postgres as opening
from kos.topology.embedded import Stack
from kos.topology.model import Login, PostgresServer, Topology, fixed

TEMPLATE = "kos_test_template"


def on_database(topology: Topology, database: str) -> Topology:
    """The same servers, with the first shard in another database."""
    first, *others = topology.shards
    return replace(topology, shards=(replace(first, primary=replace(first.primary, database=database)), *others))


def as_installer(topology: Topology, database: str) -> psycopg.Connection[tuple[object, ...]]:
    """Connected to a database of the first shard as the role that may create databases and roles."""
    control = topology.control
    assert control.installer is not None
    server: PostgresServer = replace(control.primary, database=database)
    return opening.connect(server, control.installer)


def make_template(stack: Stack, template: str = TEMPLATE) -> None:
    """A database with the whole schema, if there is none of that name yet."""
    topology = stack.topology()
    with as_installer(topology, "knowledge_os") as connection:
        if connection.execute("select 1 from pg_database where datname = %s", (template,)).fetchone():
            return
        connection.execute(SQL("create database {}").format(Identifier(template)))
    install(on_database(topology, template))
    stack.set_role_passwords()
    log_in_quickly(stack)


def clone(stack: Stack, template: str = TEMPLATE) -> Topology:
    """A database of a test's own, with what the template has."""
    name = f"test_{uuid.uuid4().hex[:12]}"
    topology = stack.topology()
    with as_installer(topology, "knowledge_os") as connection:
        # The template's pages are on disk, and in no shared buffer that would have to be dropped with its copy.
        copied = SQL("create database {} template {} strategy file_copy")
        connection.execute(copied.format(Identifier(name), Identifier(template)))
    here = on_database(topology, name)
    with as_superuser(stack, name) as connection:
        _give_what_a_clone_lacks(connection, here)
    return here


def as_superuser(stack: Stack, database: str) -> psycopg.Connection[tuple[object, ...]]:
    """For what kos itself never does: planting faults, and marking a clone as the embedded stack's."""
    secrets = json.loads((stack.folder / ".kos" / "secrets.json").read_text())
    server = replace(stack.topology().control.primary, database=database)
    return opening.connect(server, Login("postgres", fixed(secrets["postgres"])))


def _give_what_a_clone_lacks(connection: psycopg.Connection[tuple[object, ...]], here: Topology) -> None:
    """What stands beside a database and is not copied with it: its rights and settings, as `install` makes them, and
    that it belongs to an embedded stack; and where it is, which its directory says of its template. `install` itself
    would ask for everything else that it does, two thousand times."""
    name = Identifier(here.control.primary.database)
    connection.execute(SQL("alter database {} set kos.stack = {}").format(name, here.stack))
    connection.execute(schema_files.QUERIES.grant_database.format(database=name))
    connection.execute(schema_files.QUERIES.grant_connect.format(database=name))
    for shard in here.shards:
        primary = shard.primary
        facts = {"name": shard.name, "region": primary.region, "host": primary.host, "port": primary.port}
        connection.execute(TENANT_QUERIES.register_shard, facts | {"database": primary.database})


def drop(stack: Stack, topology: Topology) -> None:
    """The test's database, and those of its database-tier tenants, which begin with its name.

    As superuser: a superuser's session that is still closing could be ended by no one else.
    """
    name = topology.control.primary.database
    with as_superuser(stack, "knowledge_os") as connection:
        found = connection.execute("select datname from pg_database where starts_with(datname, %s)", (name,)).fetchall()
        for (database,) in found:
            connection.execute(SQL("drop database {} with (force)").format(Identifier(str(database))))


@pytest.fixture(scope="session")
def template(postgres: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The shared PostgreSQL, with a template database that has the whole schema."""
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_template(postgres)
    return postgres


@pytest.fixture
def superuser(template: Stack, database: Topology) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A superuser in this test's database."""
    with as_superuser(template, database.control.primary.database) as connection:
        yield connection


@pytest.fixture
def database(template: Stack) -> Iterator[Topology]:
    """A topology of PostgreSQL alone, on a database of this test's own."""
    topology = clone(template)
    yield topology
    drop(template, topology)


@pytest.fixture(scope="module")
def module_database(template: Stack) -> Iterator[Topology]:
    """A database that the tests of one module share, where making one for each would cost more than they do."""
    topology = clone(template)
    yield topology
    drop(template, topology)


@pytest.fixture
def store(database: Topology) -> Iterator[Store]:
    """A store on a database of this test's own."""
    with Store(database) as store:
        yield store


@pytest.fixture
def tenant(store: Store) -> Tenant:
    """A tenant of the row tier."""
    return create_tenant(store, "acme")


@pytest.fixture(scope="session")
def full_template(stack: Stack, tmp_path_factory: pytest.TempPathFactory) -> Stack:
    """The full shared stack (graph, cache and objects too), with a template database."""
    shared = tmp_path_factory.getbasetemp().parent
    with (shared / "full-template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        make_template(stack)
    return stack


@pytest.fixture
def full_store(full_template: Stack) -> Iterator[Store]:
    """A store on the full shared stack, with a database of this test's own."""
    topology = clone(full_template)
    with Store(topology) as store:
        yield store
    drop(full_template, topology)


@pytest.fixture
def full_superuser(full_template: Stack, full_store: Store) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A superuser in the database of `full_store`."""
    with as_superuser(full_template, full_store.topology.control.primary.database) as connection:
        yield connection


@pytest.fixture(scope="module")
def module_full_store(full_template: Stack) -> Iterator[Store]:
    """A store on the full shared stack that the tests of one module share."""
    topology = clone(full_template)
    with Store(topology) as store:
        yield store
    drop(full_template, topology)
