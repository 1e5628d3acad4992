"""A product's database for changes of schema: the tests of a module share it, each has its schema `shop` anew."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from fix_database import as_installer, as_superuser, clone, drop
from fix_product import OTHER_OWNER, OWNER, as_owner, make_roles
from kos.tenancy import Store
from kos.topology.embedded import Stack
from kos.topology.model import Topology

SHOP = "shop"
Connection = psycopg.Connection[Any]


@dataclass
class Shop:
    """What a test needs. `owner` is the application, which owns its tables; `superuser` looks for what is left over.
    `clean` says that no change is open."""

    topology: Topology
    store: Store
    owner: Connection
    superuser: Connection
    clean: bool = True

    def connect(self, role: str = OWNER) -> Connection:
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
        """With all that is in it."""
        self.owner.execute(f"set client_min_messages = warning; drop schema if exists {name} cascade".encode())

    def is_true(self, query: str) -> bool:
        """What a query about the shop's rows says."""
        self.owner.execute(f"set search_path = {SHOP}".encode())
        return self.owner.execute(query.encode()).fetchone() == (True,)


class Shops:
    """One database after another: where a test has left a change open, the next has a new one."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._open = ExitStack()
        self._shop: Shop | None = None

    def shop(self) -> Shop:
        """The one that there is, if it is as it should be."""
        if self._shop is None or not self._shop.clean:
            self.close()
            self._shop = self._new()
        self._shop.clean = False
        return self._shop

    def close(self) -> None:
        """Drop it."""
        self._open.close()

    def _new(self) -> Shop:
        topology = clone(self._stack)
        self._open.callback(drop, self._stack, topology)
        name = topology.control.primary.database
        with as_installer(topology, name) as installer:
            make_roles(installer)
            installer.execute(f"grant create on database {name} to {OWNER}".encode())
        superuser = self._open.enter_context(as_superuser(self._stack, name))
        owner = self._open.enter_context(as_owner(topology))
        store = self._open.enter_context(Store(topology))
        return Shop(topology, store, owner, superuser)


@pytest.fixture(scope="module")
def shops(template: Stack) -> Iterator[Shops]:
    """For `shop`."""
    shops = Shops(template)
    yield shops
    shops.close()


@pytest.fixture
def shop(shops: Shops) -> Iterator[Shop]:
    """A shop in which no change is open. A test that ends well says so: `shop.clean = True`."""
    shop = shops.shop()
    yield shop
    shop.drop(SHOP)
