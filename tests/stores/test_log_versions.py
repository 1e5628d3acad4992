"""The log on the other versions that are supported: the same tests, on a server of their own."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from logged_table import Connection
from test_log_capture import test_the_log_follows_every_statement, things
from test_log_relations import test_a_change_of_the_table, test_foreign_keys_that_act, test_partitions
from test_log_types import test_keys_that_are_equal_and_differ, test_values_of_every_type, test_values_of_extensions

from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from kos.topology import postgres as opening

__all__ = [
    "test_a_change_of_the_table",
    "test_foreign_keys_that_act",
    "test_keys_that_are_equal_and_differ",
    "test_partitions",
    "test_the_log_follows_every_statement",
    "test_values_of_every_type",
    "test_values_of_extensions",
    "things",
]

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=["debian", "16", "17"])
def installed(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> OwnPostgres:
    """A server with a database `product` that kos is installed in, for others to be cloned from."""
    server = own_postgres(request.param)
    server.start()
    install_on(server)
    return server


@pytest.fixture
def superuser(installed: OwnPostgres) -> Iterator[Connection]:
    """As the fixture of this name elsewhere: a superuser in a database of this test's own."""
    installed.execute("create database here template product")
    server = replace(installed.server, database="here")
    with opening.connect(server, installed.superuser) as connection:
        yield connection
    installed.execute("drop database here with (force)")
