"""Every kind of change, under load: started, taken back, started again and finished.

No statement of code of before or after fails; taken back, the catalog is as it was; finished, it is as the plain SQL
would have made it; and every row is right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import psycopg
import pytest
from change_catalog import FUNCTIONS, difference, dumps, left_over
from change_kind import Kind
from change_kinds import KINDS
from change_load import Code

from fix_database import as_installer, as_superuser
from fix_product import OTHER_OWNER, OWNER, as_owner, make_roles
from kos.schema_change import finish, plan_change, roll_back, start
from kos.tenancy import Store
from kos.topology.embedded import Stack
from kos.topology.model import Topology

SHOP, EXPECTED = "shop", "wanted"
VALUES = {"n": 7, "row": 1}


@dataclass
class Shop:
    """A product's database. `superuser` looks for what is left over, and checks rows."""

    topology: Topology
    store: Store
    owner: psycopg.Connection[Any]
    superuser: psycopg.Connection[Any]
    functions: list[str]

    def connect(self, role: str = OWNER) -> psycopg.Connection[Any]:
        """As the application."""
        connection = as_owner(self.topology, role)
        connection.execute(f"set search_path = {SHOP}".encode())
        return connection

    def fresh(self, name: str, *parts: str) -> None:
        """The schema anew, with what these statements make."""
        self.drop(name)
        self.owner.execute(f"create schema {name}; grant usage on schema {name} to {OTHER_OWNER}".encode())
        self.owner.execute(f"set search_path = {name}".encode())
        for part in parts:
            self.owner.execute(part.encode())

    def drop(self, name: str) -> None:
        """With all that is in it, quietly."""
        self.owner.execute(f"set client_min_messages = warning; drop schema if exists {name} cascade".encode())

    def right(self, kind: Kind, what: str) -> bool:
        """Whether every row is as it must be."""
        self.owner.execute(f"set search_path = {SHOP}".encode())
        return self.owner.execute(what.encode()).fetchone() == (True,)


@pytest.fixture(scope="module")
def shop(module_database: Topology, template: Stack) -> Iterator[Shop]:
    """One database for all kinds: each has its own schema, one after the other."""
    name = module_database.control.primary.database
    with as_installer(module_database, name) as installer:
        make_roles(installer)
        installer.execute(f"grant create on database {name} to {OWNER}".encode())
    with (
        as_superuser(template, name) as superuser,
        as_owner(module_database) as owner,
        Store(module_database) as store,
    ):
        superuser.autocommit = owner.autocommit = True
        row = superuser.execute(FUNCTIONS).fetchone()
        assert row
        yield Shop(module_database, store, owner, superuser, row[0])


def make_expected(shop: Shop, kind: Kind) -> None:
    """What the plain SQL makes, in a schema without rows. Code of before and of after is tried there as well."""
    shop.fresh(EXPECTED, kind.setup)
    try_out(shop, kind.old)
    for table in tables(shop):
        shop.owner.execute(f"truncate {table} cascade".encode())
    for statement in (kind.expected or kind.change).split(";\n"):
        shop.owner.execute(statement.encode())
    try_out(shop, kind.new + kind.after)


def try_out(shop: Shop, code: tuple[str, ...]) -> None:
    """Each statement once; what it refers to may be missing."""
    for statement in code:
        with suppress(psycopg.errors.IntegrityError):
            shop.owner.execute(statement.encode(), VALUES)


def tables(shop: Shop) -> list[str]:
    """Of the schema that is looked at."""
    rows = shop.owner.execute(
        "select oid::regclass::text from pg_class where relnamespace = current_schema::regnamespace and relkind in ('r', 'p')"
    ).fetchall()
    return [name for (name,) in rows]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name.replace(" ", "-"))
def test_a_change_is_taken_back_and_finished(kind: Kind, shop: Shop) -> None:
    if shop.owner.info.server_version < kind.since * 10_000:
        pytest.skip(f"PostgreSQL {kind.since}")
    make_expected(shop, kind)
    shop.fresh(SHOP, kind.setup, kind.rows)
    before, expected = dumps(shop.topology, SHOP, EXPECTED)
    shop.drop(EXPECTED)
    sessions: list[Callable[[], psycopg.Connection[Any]]] = [shop.connect, shop.connect]
    if kind.guest:
        sessions[0] = partial(shop.connect, OTHER_OWNER)

    def plan() -> Any:
        return plan_change(shop.store, kind.change, name=kind.name, schemas=(SHOP,))

    with Code(kind.old, *sessions) as old:
        start(shop.store, plan())
        with Code(kind.new, *sessions) as first, Code(kind.between, *sessions[:1]) as between:
            old.go_on()
        roll_back(shop.store)
        old.go_on()
        failed = old.failed + first.failed + between.failed
        assert failed == []
        (after_rollback,) = dumps(shop.topology, SHOP)
        assert difference(before, after_rollback) == ""
        assert left_over(shop.superuser, shop.functions) == []
        assert shop.right(kind, kind.kept)

        start(shop.store, plan())
        with Code(kind.new, *sessions) as new:
            with Code(kind.between, *sessions[:1]) as between:
                old.go_on()
            old.stop()
            finish(shop.store)
            with Code(kind.after, *sessions[:1]) as after:
                new.go_on()
    assert old.failed + new.failed + between.failed + after.failed == []
    (found,) = dumps(shop.topology, SHOP)
    assert difference(expected, found) == ""
    assert left_over(shop.superuser, shop.functions) == []
    assert shop.right(kind, kind.right)
    slowest = max((old, first, new, after), key=lambda code: code.longest)
    print(f"longest stall: {slowest.longest * 1000:.0f} ms ({slowest.slowest})")
