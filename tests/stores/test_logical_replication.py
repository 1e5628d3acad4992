"""Logical replication beside kos: publications stop nothing, and what a subscription writes is not taken in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from logged_table import ACME, Connection, assert_exact, log, make, seal
from psycopg.sql import SQL, Literal
from test_install import empty

from adopted import adopt, here
from fix_database import as_superuser
from kos import errors
from kos.adoption import Wanted, plan, status
from kos.tenancy import Store, install, schema_files
from kos.tenancy.schema_files import Source
from kos.topology.embedded import Stack
from kos.topology.model import Topology

__all__ = ["empty"]

PENDING = ("pending_1", "pending_2", "pending_turn")
IDENTITIES = """
select relname::text, relreplident::text from pg_class
 where relnamespace = 'kos'::regnamespace and relname in ('pending_1', 'pending_2', 'pending_turn') order by 1
"""


@pytest.fixture
def other(template: Stack, database: Topology) -> Iterator[Connection]:
    """A second session."""
    with as_superuser(template, database.control.primary.database) as connection:
        yield connection


def test_a_publication_of_all_tables_stops_no_upkeep_of_the_log(superuser: Connection) -> None:
    """What is published is updated and deleted by its replica identity, and refused where it has none."""
    assert superuser.execute("show wal_level").fetchone() == ("logical",)
    superuser.execute("create publication everything for all tables")
    make(superuser, "create table things (tenant_id uuid not null, id integer primary key, v text)")
    log(superuser)
    superuser.execute(f"insert into things select '{ACME}', n, 'v' from generate_series(1, 5) n")
    seal(superuser)
    superuser.execute("select kos.rotate_pending(1)")
    assert superuser.execute("select number from kos.pending_turn").fetchone() == (2,)
    superuser.execute("update things set v = 'waits'")
    assert superuser.execute("select kos.rotate_pending(1)").fetchone() == (True,)  # and empties the other one
    assert_exact(superuser)
    superuser.execute("delete from things")
    superuser.execute("select kos.forget_log(%s)", (ACME,))
    assert superuser.execute("select count(*) from kos.pending").fetchone() == (0,)


def test_a_database_that_is_published_already_is_upgraded(
    empty: Topology, template: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With data, and with tables that were enforced before it was noted which policies they had."""
    before = Source(schema_files.CONTROL.packages)
    before.__dict__["files"] = tuple(each for each in schema_files.CONTROL.files if each.name < "0027")
    monkeypatch.setattr(schema_files, "CONTROL", before)
    install(empty)
    with as_superuser(template, empty.control.primary.database) as superuser:
        make(superuser, "create table things (tenant_id uuid not null, id integer primary key, v text)")
        log(superuser)
        superuser.execute("create policy mine on things using (true)")
        superuser.execute("create policy kos_tenant_isolation on things as restrictive using (true)")
        superuser.execute("create policy later on things using (true)")
        superuser.execute("""insert into kos.enforced_tables (relation, root, tenant_column, row_security, forced)
                             values ('things', 'things', 'tenant_id', false, false)""")
        superuser.execute(f"insert into things select '{ACME}', n, 'v' from generate_series(1, 5) n")
        superuser.execute("create publication everything for all tables")
        monkeypatch.undo()
        install(empty)
        assert superuser.execute("select policies from kos.enforced_tables").fetchall() == [(["mine"],)]
        superuser.execute("delete from things where id = 1")
        superuser.execute("select kos.rotate_pending(1)")
        assert superuser.execute("select number from kos.pending_turn").fetchone() == (2,)
        assert_exact(superuser)


def test_an_upgrade_waits_for_nobody_who_writes_and_upkeep_does_it_later(
    superuser: Connection, other: Connection
) -> None:
    make(superuser, "create table things (tenant_id uuid not null, id integer primary key, v text)")
    log(superuser)
    for part in PENDING:
        superuser.execute(f"alter table kos.{part} replica identity default".encode())
    other.execute("begin")
    other.execute(f"insert into things values ('{ACME}', 1, 'v')")
    superuser.execute("select kos.identify_rows()")
    assert superuser.execute(IDENTITIES).fetchall() == [("pending_1", "d"), ("pending_2", "f"), ("pending_turn", "d")]
    other.execute("commit")
    superuser.execute("select kos.keep_log()")
    assert superuser.execute(IDENTITIES).fetchall() == [(part, "f") for part in PENDING]


def test_every_table_of_kos_can_be_published(superuser: Connection) -> None:
    lacking = """
        select c.oid::regclass::text from pg_class c
         where c.relkind = 'r' and c.relnamespace in ('kos'::regnamespace, 'knowledge'::regnamespace)
           and not (c.relreplident = 'f' or c.relreplident = 'd'
                    and exists (select from pg_index i where i.indrelid = c.oid and i.indisprimary))"""
    assert superuser.execute(lacking).fetchall() == []


@contextmanager
def subscribed(superuser: psycopg.Connection[Any], table: str) -> Iterator[None]:
    """A subscription to a table of the same database. It is never enabled: that the table is in it is all."""
    info = superuser.info
    where = f"host={info.host} port={info.port} dbname={info.dbname} user={info.user} password={info.password}"
    superuser.execute(f"create publication source for table {table}")
    superuser.execute(
        SQL(
            "create subscription of_source connection {} publication source"
            " with (enabled = false, create_slot = false, slot_name = none, copy_data = false)"
        ).format(Literal(where))
    )
    try:
        yield
    finally:
        superuser.execute("drop subscription of_source")


@pytest.mark.parametrize(
    ("table", "named"),
    [("public.shop_order", "shop_order"), ("public.events_event_2026_01", "events_event")],
    ids=["table", "partition"],
)
def test_what_a_subscription_writes_is_not_taken_in(
    product_template: Stack, product: Topology, table: str, named: str
) -> None:
    """It is written as by a replica, which fires no trigger of ours: nothing would be logged, and nothing refused."""
    with (
        as_superuser(product_template, product.control.primary.database) as superuser,
        Store(product) as store,
        subscribed(superuser, table),
    ):
        with pytest.raises(errors.TableUnsuitable, match="the subscription of_source writes it"):
            adopt(store, named)
        with store.operator() as operator:
            found = plan(operator, Wanted((named,), level="enforce"), shard=here(store).shard)
        (table_found,) = [each for each in found.tables if each.of_class != "partition"]
        for capability in ("log", "row_security"):
            assert any("of_source" in each.reason for each in table_found.blocked(capability))
        assert status(store, here(store)) == ()
