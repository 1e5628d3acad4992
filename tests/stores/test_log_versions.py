"""The log on the other versions that are supported: the same tests, on a server of their own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from logged_table import ACME, Connection
from test_log_capture import test_the_log_follows_every_statement, things
from test_log_cipher import (
    test_each_opens_what_the_other_has_encrypted,
    test_hmac_is_that_of_rfc_4231,
    test_what_stands_elsewhere_does_not_open,
    test_what_was_changed_does_not_open,
)
from test_log_keys import (
    hiding,
    test_a_sensitive_column_that_is_renamed,
    test_every_content_comes_back,
    test_tenants_of_every_kind,
    test_the_servers_log_shows_neither_values_nor_keys,
    test_what_did_not_change_is_left_out,
    test_who_erases_a_tenants_keys,
)
from test_log_relations import test_a_change_of_the_table, test_foreign_keys_that_act, test_partitions
from test_log_types import test_keys_that_are_equal_and_differ, test_values_of_every_type, test_values_of_extensions

from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from kos.topology import postgres as opening

__all__ = [
    "hiding", "test_a_change_of_the_table", "test_a_sensitive_column_that_is_renamed",
    "test_each_opens_what_the_other_has_encrypted", "test_every_content_comes_back", "test_foreign_keys_that_act",
    "test_hmac_is_that_of_rfc_4231", "test_keys_that_are_equal_and_differ", "test_partitions",
    "test_tenants_of_every_kind", "test_the_log_follows_every_statement",
    "test_the_servers_log_shows_neither_values_nor_keys", "test_values_of_every_type", "test_values_of_extensions",
    "test_what_did_not_change_is_left_out", "test_what_stands_elsewhere_does_not_open",
    "test_what_was_changed_does_not_open", "test_who_erases_a_tenants_keys", "things",
]  # fmt: skip

pytestmark = pytest.mark.long


@pytest.fixture(scope="module", params=["debian", "16", "17"])
def installed(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> OwnPostgres:
    """A server with a database `product` that kos is installed in, for others to be cloned from."""
    server = own_postgres(request.param)
    server.start()
    install_on(server)
    return server


@contextmanager
def copied(installed: OwnPostgres, name: str) -> Iterator[Connection]:
    """A superuser in a copy of that database."""
    installed.execute(f"create database {name} template product")
    server = replace(installed.server, database=name)
    with opening.connect(server, installed.superuser) as connection:
        yield connection
    installed.execute(f"drop database {name} with (force)")


@pytest.fixture
def superuser(installed: OwnPostgres) -> Iterator[Connection]:
    """As the fixture of this name elsewhere: a superuser in a database of this test's own."""
    with copied(installed, "here") as connection:
        yield connection


@pytest.fixture(scope="module")
def server(installed: OwnPostgres) -> Iterator[Connection]:
    """As the fixture of this name in test_log_cipher.py."""
    with copied(installed, "ciphers") as connection:
        connection.execute("select kos.rotate_tenant_key(%s)", (ACME,))
        yield connection
