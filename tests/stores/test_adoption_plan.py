"""Level observe: what `kos adopt` says of a product's database, and that it changes nothing by saying it."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import psycopg
import pytest

from fix_database import as_superuser
from fix_product import as_owner, catalog
from kos import errors
from kos.adoption import Plan, Table, Wanted, check, display, facts, plan
from kos.topology import postgres as opening
from kos.topology.embedded import Stack
from kos.topology.model import Login, Topology, fixed


def planned(topology: Topology, *patterns: str, **wanted: Any) -> Plan:
    """The plan as the command makes it."""
    with opening.connect(topology.control.primary, topology.control.operator) as connection:
        return plan(connection, Wanted(patterns, **wanted), shard="main")


@pytest.fixture(scope="module")
def observed(module_product: Topology) -> Plan:
    return planned(module_product)


def of(found: Plan, name: str) -> Table:
    (table,) = [each for each in found.tables if each.name == name]
    return table


def reasons(found: Plan, name: str, capability: str) -> list[str]:
    return [each.kind for each in of(found, name).blocked(capability)]


# what there is


def test_every_table_has_its_class(observed: Plan) -> None:
    assert Counter(each.of_class for each in observed.tables) == {
        "tenant": 229,
        "root": 2,
        "child": 47,
        "shared": 16,
        "partition": 14,
        "unusable": 7,  # and one of them is a materialized view
    }


@pytest.mark.parametrize(
    ("name", "of_class", "column", "type"),
    [
        ("public.shop_order", "tenant", "account_id", "bigint"),
        ("billing.invoice", "tenant", "account_id", "uuid"),
        ("public.CRM Lead", "tenant", "account_id", "bigint"),
        ("public.accounts_account", "root", "id", "bigint"),
        ("billing.account", "root", "id", "uuid"),
        ("public.shop_order_line", "child", None, None),
        ("public.countries", "shared", None, None),
        ("public.events_event", "tenant", "account_id", "bigint"),
        ("public.events_event_2026_01", "partition", "account_id", "bigint"),
        ("public.events_sample", "child", None, None),
        ("public.events_sample_0", "partition", None, None),
    ],
)
def test_the_tenant_is_found(observed: Plan, name: str, of_class: str, column: str | None, type: str | None) -> None:
    table = of(observed, name)
    assert (table.of_class, table.column, table.type) == (of_class, column, type)


def test_children_say_how_their_tenant_is_found(observed: Plan) -> None:
    assert of(observed, "public.shop_order_line").path == ("order_id → public.shop_order",)
    assert of(observed, "public.shop_order_line_note").path == (
        "line_id → public.shop_order_line",
        "order_id → public.shop_order",
    )


def test_numbers_are_those_of_the_statistics(observed: Plan) -> None:
    assert (observed.tenant_column, observed.tenant_types) == ("account_id", {"bigint": 206, "uuid": 30})
    assert (observed.tenants, observed.tenants_exact) == (40, False)
    order = of(observed, "public.shop_order")
    assert (order.rows, order.tenants, order.key, order.owner) == (40, 20, ("id",), "product_app")
    assert order.bytes > 0
    assert order.row_triggers == ("touch",)
    event = of(observed, "public.events_event")
    assert (event.rows, event.partitions) == (40, 6)
    assert of(observed, "public.access_key").key == ("token",)


def test_tenants_are_counted_where_that_is_asked_for(product: Topology) -> None:
    with as_owner(product) as owner:  # the statistics know nothing of it
        owner.execute("insert into public.accounts_account (name) values ('late')")
        owner.execute("insert into public.support_note (account_id) values (21)")
    assert of(planned(product, "support_note"), "public.support_note").tenants == 20
    counted = planned(product, "support_note", count=True)
    assert (of(counted, "public.support_note").tenants, counted.tenants, counted.tenants_exact) == (21, 21, True)


def test_the_log_is_estimated_from_what_was_written(product: Topology) -> None:
    assert planned(product, "shop_order").log_bytes == 0
    with as_owner(product) as owner:
        owner.execute("update public.shop_order set name = name || '!'")
        owner.execute("select pg_stat_force_next_flush()")
        owner.execute("select 1")
    table = of(planned(product, "shop_order"), "public.shop_order")
    assert table.writes == 40
    assert table.log_bytes == 40 * (table.baseline_bytes or 0) // 40
    assert planned(product, "shop_order", baseline="none").baseline_bytes == 0


# what is in the way


@pytest.mark.parametrize(
    ("name", "capability", "kinds"),
    [
        ("public.shop_order", "log", []),
        ("public.shop_order", "row_security", []),
        ("public.shop_order", "schema_change", []),
        ("public.shop_order", "move", ["composite"]),
        ("public.access_key", "log", []),
        ("public.countries", "log", []),
        ("public.support_note", "log", []),
        ("public.legacy_import_line", "log", ["key"]),
        ("public.legacy_import_line", "row_security", []),
        ("public.support_ticket", "log", ["nulls"]),
        ("public.meta_object", "log", ["type"]),
        ("public.meta_object", "row_security", []),
        ("public.cache_entry", "log", ["unsuitable"]),
        ("public.archive_base", "log", ["unsuitable"]),
        ("public.archive_2019", "log", ["unsuitable"]),
        ("public.order_months", "log", ["unsuitable"]),
        ("public.shop_order_line", "log", ["column"]),
        ("public.shop_order_line", "schema_change", []),
        ("public.legacy_balance", "log", ["grant"]),
        ("public.partner_deal", "move", ["composite", "meaning"]),
        ("public.shop_comment", "distribution", ["composite", "composite", "meaning"]),
    ],
)
def test_each_capability_says_what_blocks_it(observed: Plan, name: str, capability: str, kinds: list[str]) -> None:
    assert reasons(observed, name, capability) == kinds


def test_a_partition_goes_with_its_table(module_product: Topology) -> None:
    assert planned(module_product, "events_event").tables[1].partition_of == "public.events_event"
    alone = planned(module_product, "events_event_2026_01")
    assert [each.reason for each in alone.tables[0].blocked("log")] == [
        "a partition of public.events_event: name that table"
    ]


@pytest.mark.long
@pytest.mark.parametrize(
    "type", ["oid", "regclass[]", "public.holder", "public.holders", "xid", "public.named", "pg_snapshot"]
)
def test_types_that_mean_nothing_elsewhere_are_found_inside_of_others(product: Topology, type: str) -> None:
    with as_owner(product) as owner:
        owner.execute("create domain public.named as regrole")
        owner.execute("create type public.holder as (which oid, what text)")
        owner.execute("create type public.holders as (one public.holder[])")
        owner.execute(f"alter table public.shop_order add more {type}")
    (blocker,) = of(planned(product, "shop_order"), "public.shop_order").blocked("log")
    assert blocker.reason == f"more is of the type {type}, which the log can't carry"


def test_a_foreign_table_is_seen(product_template: Stack, product: Topology) -> None:
    with as_superuser(product_template, product.control.primary.database) as superuser:
        superuser.execute("create foreign data wrapper elsewhere")
        superuser.execute("create server elsewhere foreign data wrapper elsewhere")
        superuser.execute("create foreign table public.remote (id bigint, account_id bigint not null) server elsewhere")
    found = planned(product, "remote")
    assert of(found, "public.remote").of_class == "unusable"
    assert "unsuitable" in reasons(found, "public.remote", "log")


@pytest.mark.long
def test_a_column_that_may_be_null_and_cant_be_asked_is_said(
    product: Topology, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A table that somebody holds: the plan waits for nobody."""
    with as_owner(product) as owner, owner.transaction():
        owner.execute("lock table public.support_note in access exclusive mode")
        found = planned(product, "support_note")
    (blocker,) = of(found, "public.support_note").blockers[:1]
    assert (blocker.kind, blocker.capabilities) == ("nulls", ())


# nothing is changed


def test_it_changes_nothing(product_template: Stack, product: Topology) -> None:
    server = product.control.primary
    with as_superuser(product_template, server.database) as superuser:
        login = Login("postgres", fixed(superuser.info.password))
    before = catalog(server, login)
    planned(product, level="enforce", count=True)
    assert catalog(server, login) == before


def test_a_plan_could_change_nothing(product: Topology) -> None:
    control = product.control
    with opening.connect(control.primary, control.operator) as connection, facts.reading(connection):
        connection.execute("set local role product_app")
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), connection.transaction():
            connection.execute("delete from public.shop_order")


def test_it_waits_for_no_lock_on_a_table(product: Topology) -> None:
    with as_owner(product) as owner, owner.transaction():
        owner.execute("lock table public.shop_order, public.accounts_account in access exclusive mode")
        assert of(planned(product), "public.shop_order").rows == 40


# the SQL that it prints


def run(connection: psycopg.Connection[Any], lines: list[str]) -> None:
    """As psql does in autocommit. A line that begins a transaction is sent as a whole, and ends it."""
    for line in lines:
        connection.execute(line)


def test_the_sql_gives_every_child_its_column(product: Topology) -> None:
    with as_owner(product) as owner:
        run(owner, display.script(planned(product), "columns"))
        wrong = owner.execute("""
            select count(*) from public.shop_order_line_note n
              join public.shop_order_line l on l.id = n.line_id join public.shop_order o on o.id = l.order_id
             where n.account_id is distinct from o.account_id""").fetchone()
        found = planned(product)
        owner.execute("insert into public.shop_order_line (order_id) values (7)")
        filled = owner.execute("""
            select l.account_id = o.account_id from public.shop_order_line l
              join public.shop_order o on o.id = l.order_id where l.order_id = 7""").fetchall()
    assert wrong == (0,)
    assert filled == [(True,), (True,)]
    assert [each.name for each in found.tables if each.of_class == "child"] == []
    assert of(found, "public.events_sample").of_class == "tenant"
    assert reasons(found, "public.shop_order_line", "log") == []


@pytest.mark.long
def test_the_sql_puts_the_tenant_into_every_key(product: Topology) -> None:
    with as_owner(product) as owner:
        run(owner, display.script(planned(product), "columns"))
        run(owner, [line for line in display.script(planned(product), "keys") if "legacy_balance" not in line])
    found = planned(product)
    left = {each.name: [blocker.reason for blocker in each.blocked("move")] for each in found.tables}
    assert {name: why for name, why in left.items() if why and of(found, name).of_class == "tenant"} == {
        "public.partner_deal": ["partner_id refers to a tenant as well: it may be another one"],
        "public.legacy_balance": ["the key (id) is without account_id"],
    }
    assert [line for line in display.script(found, "keys") if "legacy_balance" not in line] == []
    assert of(found, "public.shop_order").key == ("account_id", "id")
    assert of(found, "public.events_metric").key == ("account_id", "id")


def test_a_new_column_is_filled_before_the_rows_that_are_there_are(product: Topology) -> None:
    """The first statement adds column and trigger; from then on whatever is written has its tenant."""
    first, *_ = of(planned(product, "shop_order_line"), "public.shop_order_line").columns_sql
    with as_owner(product) as owner:
        owner.execute(first)
        owner.execute("insert into public.shop_order_line (order_id) values (3)")
        owner.execute("update public.shop_order_line set quantity = 2 where id = 5")
        rows = owner.execute("""
            select l.id, l.account_id = o.account_id from public.shop_order_line l
              join public.shop_order o on o.id = l.order_id where l.account_id is not null order by 1""").fetchall()
    assert rows == [(5, True), (41, True)]


def test_the_sql_of_one_table_brings_what_it_needs_of_others(product: Topology) -> None:
    with as_owner(product) as owner:
        for which in ("columns", "keys"):
            run(owner, display.script(planned(product, "shop_order_line_note"), which))
    found = planned(product)
    assert of(found, "public.shop_order_line_note").key == ("account_id", "id")
    assert of(found, "public.shop_order_line").of_class == "tenant"
    assert of(found, "public.chat_order_line").of_class == "child"


def test_the_sql_runs_on_partitions_of_partitions(product: Topology) -> None:
    with as_owner(product) as owner:
        owner.execute("""
            create table public.deep (id bigint not null, at date not null, order_id bigint not null
              references public.shop_order, primary key (id, at)) partition by range (at);
            create table public.deep_2026 partition of public.deep for values from ('2026-01-01') to ('2027-01-01')
              partition by hash (id);
            create table public.deep_2026_0 partition of public.deep_2026 for values with (modulus 1, remainder 0);
            insert into public.deep select g, '2026-05-01', g from generate_series(1, 9) g""")
        for which in ("columns", "keys"):
            run(owner, display.script(planned(product, "deep"), which))
        filled = owner.execute("select count(*) from public.deep where account_id is not null").fetchone()
    assert filled == (9,)
    assert of(planned(product, "deep"), "public.deep").key == ("account_id", "id", "at")


def test_the_sql_keeps_what_references_do(product: Topology) -> None:
    """A composite SET NULL must not take the tenant away; the rest is said again as it was."""
    with as_owner(product) as owner:
        owner.execute("""
            alter table public.extra_01
              add helper_id bigint references public.extra_00 on delete set null deferrable,
              add boss_id bigint references public.extra_00 on delete cascade on update cascade""")
        owner.execute("insert into public.extra_00 (account_id) values (3), (3)")
        owner.execute("insert into public.extra_01 (account_id, helper_id, boss_id) values (3, 1, 2)")
        run(owner, display.script(planned(product, "extra_0*"), "keys"))
        kept = owner.execute("""
            select conname, confdeltype, confupdtype, condeferrable from pg_constraint
             where conrelid = 'public.extra_01'::regclass and contype = 'f' and cardinality(conkey) = 2
             order by 1""").fetchall()
        owner.execute("delete from public.extra_00 where id = 1")
        row = owner.execute("select account_id, helper_id, boss_id from public.extra_01").fetchall()
        with pytest.raises(psycopg.errors.ForeignKeyViolation):
            owner.execute("update public.extra_01 set account_id = 4; set constraints all immediate")
    assert kept == [
        ("extra_01_boss_id_fkey_of_tenant", "c", "c", False),
        ("extra_01_helper_id_fkey_of_tenant", "n", "a", True),
    ]
    assert row == [(3, None, 2)]


# what level enforce would break, said before


def test_who_reads_nothing_is_said_before(product: Topology) -> None:
    found = planned(product, level="enforce").effects
    assert found is not None
    told = {each.role: (each.owns > 0, each.bound, each.effect.split(",")[0].split(":")[0]) for each in found.roles}
    assert told["product_app"] == (True, True, "reads 0 rows")
    assert told["postgres"] == (True, False, "not bound (a superuser)")
    kinds = {(each.kind, each.subject) for each in found.effects}
    assert {
        ("materialized view", "public.order_months"),
        ("view", "public.order_totals"),
        ("definer function", "public.count_orders()"),
        ("policy", "mine on public.crm_contact"),
        ("statement", "pg_dump"),
        ("statement", "COPY table FROM"),
    } <= kinds
    assert ("view", "public.order_totals_of_caller") not in kinds


def test_what_is_said_of_row_security_is_so(product: Topology) -> None:
    """PostgreSQL does what the report says: 0 rows for the owner, its views and functions; references go on."""
    with as_owner(product) as owner:
        owner.execute("alter table public.shop_order enable row level security, force row level security")
        for question in (
            "select count(*) from public.shop_order",
            "select count(*) from public.order_totals",
            "select public.count_orders()",
        ):
            assert owner.execute(question).fetchone() == (0,), question
        owner.execute("alter table public.crm_contact force row level security")  # has a policy of its own
        seen = owner.execute("select count(distinct account_id) from public.crm_contact").fetchone()
        assert seen == (20,)
        owner.execute("insert into public.shop_order_line (order_id) values (1)")  # the check sees what we do not
        owner.execute("refresh materialized view public.order_months")
        assert owner.execute("select count(*) from public.order_months").fetchone() == (0,)
        with pytest.raises(psycopg.errors.FeatureNotSupported, match="COPY FROM"):
            owner.execute("copy public.shop_order (account_id, name) from stdin")
        owner.execute("set row_security = off")
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
            owner.execute("select * from public.shop_order")  # as pg_dump asks


def test_statements_that_do_not_name_the_tenant_are_listed(product: Topology) -> None:
    with as_owner(product) as owner:
        owner.execute("select name from public.shop_order where id = 1")
        owner.execute("select name from public.shop_rule where account_id = 1")
    found = planned(product, level="enforce").effects
    assert found is not None
    assert found.statements is not None
    told = [each.statement for each in found.statements if each.role == "product_app"]
    assert "select name from public.shop_order where id = $1" in told
    assert not any("shop_rule where account_id" in each for each in told)


# wrong use, and refusals


def test_a_pattern_of_nothing_is_told(module_product: Topology) -> None:
    with pytest.raises(errors.NothingMatches, match="'shop_x"):
        planned(module_product, "shop_order", "shop_x*")
    with pytest.raises(errors.NothingMatches):
        planned(module_product, schema="nowhere")


def test_patterns_are_of_tables_or_of_schemas_and_tables(module_product: Topology) -> None:
    assert {each.schema for each in planned(module_product, "billing.*").tables} == {"billing"}
    assert [each.name for each in planned(module_product, "shop_order").tables] == ["public.shop_order"]
    assert len(planned(module_product, "*_order").tables) == 12
    assert {each.schema for each in planned(module_product, "*", schema="billing").tables} == {"billing"}


def test_an_unknown_column_is_told(module_product: Topology) -> None:
    with pytest.raises(errors.UnknownTenantColumn, match="'org'"):
        planned(module_product, tenant_column="org")


def test_a_column_can_be_named(module_product: Topology) -> None:
    found = planned(module_product, tenant_column="document_id")
    assert of(found, "billing.invoice_line").column == "document_id"
    assert of(found, "billing.invoice").of_class == "root"


def test_a_database_without_tenants_is_told(product: Topology, product_template: Stack) -> None:
    name = product.control.primary.database
    with as_superuser(product_template, name) as superuser:
        superuser.execute("drop schema public cascade; drop schema billing cascade; create schema public")
        superuser.execute("create table public.plain (id bigint primary key)")
    with pytest.raises(errors.NoTenantColumn, match="tenant_id, account_id"):
        planned(product)


@pytest.mark.parametrize(
    ("pattern", "error"),
    [
        ("legacy_import_line", errors.TableWithoutKey),
        ("support_ticket", errors.TenantColumnHasNulls),
        ("meta_object", errors.TypeNotCarried),
        ("cache_entry", errors.TableUnsuitable),
        ("events_event_2026_01", errors.TableUnsuitable),
        ("shop_order_line", errors.ChildWithoutColumn),
        ("legacy_balance", errors.GrantMissing),
    ],
)
def test_a_table_that_was_named_and_cant_be_taken_in_is_refused(
    module_product: Topology, pattern: str, error: type[errors.KosError]
) -> None:
    wanted = Wanted((pattern,), "log")
    found = planned(module_product, pattern, level="log")
    with pytest.raises(error) as caught:
        check(found, wanted)
    assert pattern in str(caught.value)
    check(found, replace(wanted, level="observe"))
    check(found, replace(wanted, patterns=()))


def test_the_missing_grant_is_the_next_command(module_product: Topology) -> None:
    with pytest.raises(errors.GrantMissing) as caught:
        check(planned(module_product, "legacy_balance"), Wanted(("legacy_balance",), "log"))
    assert 'grant "product_legacy" to kos_adopter;' in caught.value.next_command
