"""Connections that a sweep looks through: kept open, since it looks hundreds of times."""

from __future__ import annotations

import functools
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from fix_product import OWNER, PASSWORD, make_roles
from kos.tenancy import Store
from kos.topology import postgres
from kos.topology.model import Login, fixed

Connection = psycopg.Connection[Any]

_kept: dict[tuple[int, str, str], Connection] = {}


def operator_of(store: Store) -> Connection:
    """In the control tables' database."""
    return _in(store, store.topology.control.operator)


def owner_of(store: Store) -> Connection:
    """The same as the role that owns a product's tables."""
    return _in(store, Login(OWNER, fixed(PASSWORD)))


@functools.cache
def let_own(store: Store) -> None:
    """Once: there is a product's owner, who may make schemas here."""
    control = store.topology.control
    assert control.installer is not None
    with postgres.connect(control.primary, control.installer) as administrator:
        make_roles(administrator)
        grant = SQL("grant create on database {} to {}")
        administrator.execute(grant.format(Identifier(control.primary.database), Identifier(OWNER)))


def close_all() -> None:
    """The databases are about to be dropped."""
    while _kept:
        _kept.popitem()[1].close()


def _in(store: Store, login: Login) -> Connection:
    server = store.topology.control.primary
    name = (server.port, server.database, login.user)
    found = _kept.get(name)
    if found is None or found.closed:
        # Not prepared: a table that is looked at is not the one that was there before.
        found = _kept[name] = postgres.connect(server, login, prepare_threshold=None)
    return found
