"""Level enforce: the owner of the tables is kept to the tenant that it has entered, by every way to a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest

from fix_enforced import (
    ADMINISTRATOR,
    APPLICATION,
    ENFORCED,
    OPERATOR,
    REPORTS,
    connect,
    enforce_all,
    oid_of,
    register_all,
)
from fix_product import OTHER_OWNER, OWNER, PASSWORD, catalog
from kos import errors
from kos.adoption import enforce as enforcing
from kos.adoption.tenants import forget_product, forget_some
from kos.tenancy.checks import row_security
from kos.topology.model import Login, Topology, fixed

Connection = psycopg.Connection[Any]
MINE, OTHER = "7", "8"
LEGACY = Login(OTHER_OWNER, fixed(PASSWORD))


def enforce(operator: Connection, schema: str, table: str, column: str) -> None:
    with operator.transaction():
        enforcing.enforce(operator, oid_of(operator, schema, table), column)


def relax(operator: Connection, schema: str, table: str) -> None:
    with operator.transaction():
        enforcing.relax(operator, oid_of(operator, schema, table))


@contextmanager
def entered(connection: Connection, tenant: str = MINE) -> Iterator[Connection]:
    """One transaction in a tenant, rolled back."""
    with connection.transaction(force_rollback=True):
        connection.execute("select kos.enter(%s)", (tenant,))
        yield connection


def numbers(connection: Connection, query: str, *values: Any) -> list[Any]:
    return [row[0] for row in connection.execute(query, values or None)]


# what is read


@pytest.mark.parametrize(
    ("query", "mine"),
    [
        ("select account_id from public.shop_order", {7}),
        ("select account_id from public.crm_contact", {7}),
        ("select account_id from public.events_event", {7}),
        ("select account_id from public.events_event_2026_01", {7}),
        ("select account_id from public.order_totals", {7}),
        ("select account_id from public.order_totals_of_caller", {7}),
        ("select id from public.accounts_account", {7}),
        ("with w as materialized (select account_id from public.shop_order) select account_id from w", {7}),
        ("select o.account_id from public.shop_item_group g join public.shop_order o on o.id = g.parent_id", {7}),
    ],
)
def test_it_reads_the_entered_tenants_rows(app: Connection, query: str, mine: set[int]) -> None:
    with entered(app):
        found = set(numbers(app, query))
        # Parts of the product's rows have no row of each tenant; what counts is that there is no other.
        assert found <= mine
        assert found or "events_event_" in query or "join" in query


def test_functions_of_the_owner_count_the_tenants_rows(app: Connection) -> None:
    with entered(app):
        assert numbers(app, "select public.count_orders()") == [2]


def test_prepared_statements_follow_who_has_entered(app: Connection) -> None:
    app.execute("prepare orders as select distinct account_id from public.shop_order")
    for _ in range(7):  # from the sixth on with a generic plan
        for tenant in (MINE, OTHER):
            with entered(app, tenant):
                assert numbers(app, "execute orders") == [int(tenant)]


def test_copy_gives_the_tenants_rows(app: Connection) -> None:
    with entered(app):
        for what in ("public.shop_order (account_id)", "(select account_id from public.shop_order)"):
            with app.cursor().copy(f"copy {what} to stdout") as copy:
                assert [row[0] for row in copy.rows()] == ["7", "7"]


@pytest.mark.parametrize("table", ["public.shop_order", "public.events_event_2026_01", "public.tickets_of_teams"])
def test_who_has_not_entered_is_told(app: Connection, table: str) -> None:
    with pytest.raises(psycopg.Error) as raised:
        app.execute(f"select * from {table}")
    assert raised.value.sqlstate == "KS001"
    with pytest.raises(psycopg.Error) as raised, app.transaction():
        app.execute(f"delete from {table}")
    assert raised.value.sqlstate == "KS001"


def test_tenants_of_each_kind_are_entered_by_the_products_own_names(app: Connection) -> None:
    with entered(app, "Team 2"):
        assert set(numbers(app, "select team from public.tickets_of_teams")) == {"Team 2"}
        assert numbers(app, "select id from public.shop_order") == []
        assert numbers(app, "select id from billing.invoice") == []
    with connect_operator(app) as operator:
        account = numbers(operator, "select id from billing.account limit 1")[0]
    with entered(app, str(account)):
        assert set(numbers(app, "select account_id from billing.invoice")) == {account}
        assert numbers(app, "select kos.current_tenant_id()") == [account]
        assert numbers(app, "select id from public.shop_order") == []


def connect_operator(connection: Connection) -> Connection:
    info = connection.info
    return psycopg.connect(
        host=info.host, port=info.port, dbname=info.dbname, user="kos_operator", password=PASSWORD, autocommit=True
    )


def test_the_path_stays_the_products_own(app: Connection) -> None:
    app.execute("set search_path to billing, public")
    with entered(app):
        assert numbers(app, "show search_path") == ["billing, public"]
        assert numbers(app, "select count(*) from shop_order") == [2]
    app.execute("reset search_path")


# what is written


@pytest.mark.parametrize("statement", ["update public.extra_00 set name = ''", "delete from public.extra_00"])
def test_an_identity_that_was_set_by_hand_writes_nothing(app: Connection, statement: str) -> None:
    with pytest.raises(psycopg.Error) as raised, app.transaction():
        app.execute("select set_config('kos.tenant_id', kos.tenant_of('7')::text, true)")
        app.execute(statement)
    assert raised.value.sqlstate == "KS001"


def test_rows_of_others_are_not_changed(app: Connection, enforced: Topology) -> None:
    with connect(enforced, OPERATOR) as operator:
        others = numbers(operator, "select id from public.shop_order where account_id = 8 order by id")
    with entered(app):
        for statement in (
            "update public.shop_order set name = 'taken' where id = any (%s) returning id",
            "delete from public.shop_order where id = any (%s) returning id",
            "select id from public.shop_order where id = any (%s) for update",
            "with d as (delete from public.shop_order where id = any (%s) returning id) select id from d",
        ):
            assert numbers(app, statement, others) == []
        assert app.execute("update public.shop_order set name = name || '!'").rowcount == 2


@pytest.mark.parametrize(
    "statement",
    [
        "insert into public.extra_00 (account_id, name) values (8, 'x')",
        "insert into public.events_event (account_id, at) values (8, '2026-01-20')",
        "insert into public.events_event_2026_01 (account_id, at) values (8, '2026-01-20')",
        "update public.shop_order set account_id = 8",
        "insert into public.shop_order (id, account_id, name) overriding system value values (7, 7, 'x') "
        "on conflict (id) do update set name = 'taken' returning account_id",
        "insert into public.shop_order (id, account_id, name) overriding system value values (7, 8, 'x') "
        "on conflict (id) do update set name = 'taken'",
        "merge into public.shop_order o using (select 7 as id) n on o.id = n.id "
        "when not matched then insert (account_id, name) values (8, 'x')",
    ],
)
def test_no_row_is_written_for_another(app: Connection, statement: str) -> None:
    """Row 7 of the orders is account 8's."""
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"), entered(app):
        app.execute(statement)


def test_its_own_rows_are_written(app: Connection) -> None:
    with entered(app):
        (row,) = app.execute(
            "insert into public.extra_00 (account_id, name) values (7, 'x') returning id, account_id"
        ).fetchall()
        assert row[1] == 7
        assert app.execute("delete from public.extra_00").rowcount == 1
        app.execute("insert into public.events_event (account_id, at) values (7, '2026-01-20')")


def test_a_new_tenant_signs_up_in_one_transaction(app: Connection) -> None:
    with pytest.raises(psycopg.Error) as raised, entered(app, "4711"):
        pass
    assert raised.value.sqlstate == "KS002"
    with app.transaction(force_rollback=True):
        app.execute("select kos.register_tenant('4711')")
        app.execute("select kos.enter('4711')")
        app.execute("insert into public.accounts_account (id, name) values (4711, 'new')")
        app.execute("insert into public.shop_order (account_id, name) values (4711, 'first')")
        assert numbers(app, "select id from public.accounts_account") == [4711]
        # A deletion cascades within the tenant, and the guard lets it.
        app.execute("delete from public.accounts_account where id = 4711")
        app.execute("set constraints all immediate")
        assert numbers(app, "select count(*) from public.shop_order") == [0]
    with pytest.raises(psycopg.Error), entered(app, "4711"):
        pass  # undone with the rest


@pytest.mark.parametrize("value", ["", None, "x" * 201, "550E8400-E29B-41D4-A716-446655440000"])
def test_what_no_tenant_column_can_hold_is_not_registered(app: Connection, value: str | None) -> None:
    with pytest.raises(psycopg.Error) as raised:
        app.execute("select kos.register_tenant(%s)", (value,))
    assert raised.value.sqlstate == "KS023"


def test_numbers_are_registered_as_they_are_written(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    with connect(topology, OPERATOR) as operator, connect(topology, APPLICATION) as app:
        with pytest.raises(psycopg.Error) as raised:
            app.execute("select kos.register_tenant('42')")  # nothing is adopted yet
        assert raised.value.sqlstate == "KS023"
        register_all(operator, (("public", "accounts_account", "id"),))
        assert numbers(app, "select kos.enter('20') is not null") == [True]
        for value in ("042", "4.2", "nobody", "9223372036854775808", "-0"):
            with pytest.raises(psycopg.Error) as raised:
                app.execute("select kos.register_tenant(%s)", (value,))
            assert raised.value.sqlstate == "KS023", value
        assert numbers(app, "select kos.register_tenant('42') = kos.tenant_of('42')") == [True]
        assert numbers(app, "select kos.register_tenant('42') = kos.tenant_of('42')") == [True]
        app.execute("select kos.enter('42')")


def test_copy_from_and_truncate_are_refused(app: Connection) -> None:
    with pytest.raises(psycopg.errors.FeatureNotSupported), entered(app):
        app.execute("copy public.extra_00 from stdin")
    for table in ("public.extra_00", "public.events_event_2026_01"):
        with pytest.raises(psycopg.Error) as raised, entered(app):
            app.execute(f"truncate {table}")
        assert raised.value.sqlstate == "KS005"


def test_a_foreign_key_tells_that_a_row_exists_and_nothing_else(app: Connection) -> None:
    """PostgreSQL checks references without row security. `kos adopt --sql keys` prints what ends that."""
    with entered(app):
        insert = "insert into public.shop_item_group (account_id, parent_id, name) values (7, %s, 'probe') returning id"
        assert numbers(app, insert, 7)
        assert numbers(app, "select name from public.shop_order where id = 7") == []
    with pytest.raises(psycopg.errors.ForeignKeyViolation), entered(app):
        app.execute(insert, (100_000,))
        app.execute("set constraints all immediate")


def test_a_shipped_tenant_has_no_rows_in_a_products_tables(enforced: Topology, app: Connection) -> None:
    from kos.tenancy import Store, create_tenant

    with Store(enforced) as store:
        create_tenant(store, "acme")
    with entered(app, "acme"):
        assert numbers(app, "select count(*) from public.tickets_of_teams") == [0]
    with pytest.raises(psycopg.Error) as raised, entered(app, "acme"):
        app.execute("insert into public.tickets_of_teams (team) values ('acme')")
    assert raised.value.sqlstate == "KS003"


# other roles


def test_a_role_that_enters_nothing_reads_nothing(enforced: Topology) -> None:
    """Neither by itself nor by its own view, also where a policy of the product's says: everybody, all rows."""
    with connect(enforced, LEGACY) as legacy, connect(enforced, REPORTS) as reports:
        legacy.execute("create or replace view public.all_contacts as select * from public.crm_contact")
        legacy.execute("grant select on public.all_contacts to product_app, product_reports")
        for role in (legacy, reports):
            for table in ("shop_order", "crm_contact", "tickets_of_teams", "order_totals_of_caller"):
                assert numbers(role, f"select count(*) from public.{table}") == [0], table
        assert numbers(reports, "select count(*) from public.all_contacts") == [0]
    with connect(enforced, APPLICATION) as app, entered(app):
        assert set(numbers(app, "select account_id from public.all_contacts")) == {7}


def test_the_operator_and_the_auditor_see_all(enforced: Topology) -> None:
    from fix_enforced import AUDITOR

    for login in (OPERATOR, AUDITOR):
        with connect(enforced, login) as connection:
            for table, rows in (("public.shop_order", 40), ("billing.invoice", 40), ("public.crm_contact", 40)):
                assert numbers(connection, f"select count(*) from {table}") == [rows]


def test_a_policy_of_the_product_goes_on_for_whom_it_bound(app: Connection) -> None:
    """It was not forced, so it did not bind the owner, and does not now."""
    with entered(app):
        app.execute("update public.crm_contact set name = 'hidden' where account_id = 7")
        assert numbers(app, "select count(*) from public.crm_contact") == [2]


# how


def test_the_products_own_index_is_used_and_the_tenant_asked_once(app: Connection, enforced: Topology) -> None:
    with connect(enforced, OPERATOR) as operator, operator.transaction():
        operator.execute("set local role product_app")
        operator.execute("select kos.enter('7')")
        operator.execute(
            "insert into public.extra_00 (account_id, name) select 7, g::text from generate_series(1, 20) g"
        )
    for table in ("public.extra_00", "public.tickets_of_teams", "billing.invoice"):
        with entered(app):
            app.execute("set local enable_seqscan = off")
            plan = "\n".join(
                numbers(app, f"explain (analyze, costs off, timing off, summary off) select * from {table}")
            )
            assert "Index Scan" in plan or "Index Cond" in plan, plan
            asked = [line for line in plan.splitlines() if line.strip().startswith("InitPlan")]
            assert len(asked) == 3, plan
            assert "loops=2" not in plan, plan


def test_the_catalog_is_as_it_was_when_it_is_released(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    before = catalog_of(topology)
    enforce_all(topology)
    during = catalog_of(topology)
    assert during.count("FORCE ROW LEVEL SECURITY") == before.count("FORCE ROW LEVEL SECURITY") + len(ENFORCED) + 6
    with connect(topology, OPERATOR) as operator:
        assert len(enforcing.enforced(operator)) == len(ENFORCED)
        for schema, table, column in ENFORCED:
            enforce(operator, schema, table, column)  # again: nothing
            relax(operator, schema, table)
            relax(operator, schema, table)
        with operator.transaction():
            assert forget_product(operator)
            assert forget_some(operator) == 0
        assert numbers(operator, "select count(*) from kos.fence") == [0]
        assert numbers(operator, "select count(*) from kos.tenants") == [0]
    assert catalog_of(topology) == before


def catalog_of(topology: Topology) -> str:
    """As the administrator's pg_dump has it, which may lock all tables; without the schema of kos."""
    return catalog(
        topology.control.primary,
        APPLICATION,
        "--exclude-schema=kos",
        "--exclude-schema=knowledge",
        "--exclude-table=public.legacy_balance",
    )


def test_a_table_that_is_dropped_keeps_no_tenants_known(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    with connect(topology, OPERATOR) as operator:
        with operator.transaction():
            enforce(operator, "public", "crm_log", "account_id")
            assert forget_product(operator) is None
        with connect(topology, APPLICATION) as app:
            app.execute("drop table public.crm_log cascade")
        with operator.transaction():
            assert forget_product(operator) == 0


def test_a_right_that_the_owner_had_before_stays(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    granted = (
        "select count(*) from pg_namespace n cross join aclexplode(n.nspacl) x"
        " where n.nspname = 'kos' and x.grantee = 'product_app'::regrole and x.privilege_type = 'USAGE'"
    )
    with connect(topology, OPERATOR) as operator:
        with operator.transaction():
            operator.execute("set local role kos_owner")
            operator.execute("grant usage on schema kos to product_app")
        for change in (
            lambda: enforce(operator, "public", "crm_log", "account_id"),
            lambda: relax(operator, "public", "crm_log"),
        ):
            with operator.transaction():
                change()
            assert operator.execute(granted).fetchone() == (1,)


def test_a_partition_that_comes_later_is_found_and_taken_in(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    with connect(topology, OPERATOR) as operator, connect(topology, APPLICATION) as app:
        register_all(operator)
        enforce(operator, "public", "events_event", "account_id")
        assert findings(operator) == []
        app.execute("""create table public.events_late partition of public.events_event
                       for values from ('2027-01-01') to ('2027-02-01')""")
        assert findings(operator) == [f"{topology.control.primary.database}: public.events_late"]
        enforce(operator, "public", "events_event", "account_id")
        assert findings(operator) == []
        with pytest.raises(psycopg.Error) as raised:
            app.execute("insert into public.events_late (account_id, at) values (8, '2027-01-20')")
        assert raised.value.sqlstate == "KS001"
        relax(operator, "public", "events_event")
        assert findings(operator) == []


def test_a_partition_that_comes_while_the_lock_is_waited_for_is_not_left_out(
    cloned: Callable[[], Topology], monkeypatch: pytest.MonkeyPatch
) -> None:
    topology = cloned()
    before = catalog_of(topology)
    lock = enforcing._lock
    with connect(topology, OPERATOR) as operator, connect(topology, APPLICATION) as app:
        register_all(operator)

        def late(*given: Any) -> None:
            app.execute("""create table if not exists public.events_late partition of public.events_event
                           for values from ('2027-01-01') to ('2027-02-01')""")
            lock(*given)

        monkeypatch.setattr(enforcing, "_lock", late)
        with pytest.raises(errors.TableChanged, match="events_event"):
            enforce(operator, "public", "events_event", "account_id")
        app.execute("drop table public.events_late")
        assert catalog_of(topology) == before
        app.execute("""create table public.events_late partition of public.events_event
                       for values from ('2027-01-01') to ('2027-02-01')""")
        enforce(operator, "public", "events_event", "account_id")
        assert findings(operator) == []


def test_partitions_in_other_schemas_are_released_with_their_table(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    with connect(topology, ADMINISTRATOR) as administrator:
        administrator.execute(f"grant create on database {topology.control.primary.database} to {OWNER}")
    with connect(topology, OPERATOR) as operator, connect(topology, APPLICATION) as app:
        for number in (1, 2, 3):
            app.execute(f"create schema archive_{number}")
            app.execute(f"alter table public.events_event_2026_0{number} set schema archive_{number}")
        register_all(operator)
        before = catalog_of(topology)
        enforce(operator, "public", "events_event", "account_id")
        assert findings(operator) == []
        relax(operator, "public", "events_event")
        assert catalog_of(topology) == before


def test_a_partition_of_another_owner_is_kept_apart_too(cloned: Callable[[], Topology]) -> None:
    topology = cloned()
    flags = """
        select c.relname, c.relrowsecurity, c.relforcerowsecurity, (select array_agg(x order by x::text) from unnest(coalesce(c.relacl, acldefault('r', c.relowner))) x),
               (select count(*) from pg_policy p where p.polrelid = c.oid), (select count(*) from pg_trigger t where t.tgrelid = c.oid)
          from pg_partition_tree('public.events_event') p join pg_class c on c.oid = p.relid order by 1"""  # noqa: E501
    archive = Login("product_archive", fixed(PASSWORD))
    with connect(topology, ADMINISTRATOR) as administrator:
        administrator.execute(f"create role product_archive login password '{PASSWORD}'")
        administrator.execute(f"grant product_archive to {OWNER}, kos_operator, administrator")
        administrator.execute("grant usage, create on schema public to product_archive")
        with connect(topology, APPLICATION) as app:
            app.execute("alter table public.events_event_2026_01 owner to product_archive")
        administrator.execute(f"revoke product_archive from {OWNER}")  # whoever owns the table is nobody there
        administrator.execute("grant kos_app to product_archive")
    try:
        with connect(topology, OPERATOR) as operator, connect(topology, archive) as app:
            register_all(operator)
            before = operator.execute(flags).fetchall()
            enforce(operator, "public", "events_event", "account_id")
            with entered(app):
                app.execute(
                    "insert into public.events_event_2026_01 (id, account_id, at) values (999, 7, '2026-01-20')"
                )
                assert set(numbers(app, "select account_id from public.events_event_2026_01")) == {7}
            relax(operator, "public", "events_event")
            assert operator.execute(flags).fetchall() == before
    finally:
        with connect(topology, ADMINISTRATOR) as administrator:
            administrator.execute("drop owned by product_archive cascade")
            administrator.execute("drop role product_archive")


def findings(operator: Connection) -> list[str]:
    """What kos doctor finds, apart from a fault that the product has by itself."""
    return [
        each.subject for each in row_security(operator) if each.severity != "ok" and "count_orders" not in each.subject
    ]


def test_the_checks_find_nothing_where_all_is_enforced(enforced: Topology) -> None:
    with connect(enforced, OPERATOR) as operator:
        assert findings(operator) == []


@pytest.mark.parametrize("kind", ["numeric", "timestamptz", "char(8)"])
def test_a_column_that_can_name_no_tenant_is_refused(cloned: Callable[[], Topology], kind: str) -> None:
    topology = cloned()
    with connect(topology, APPLICATION) as app:
        app.execute("alter table public.extra_00 drop constraint extra_00_account_id_fkey")
        app.execute(f"alter table public.extra_00 drop column account_id, add column account_id {kind}")
    before = catalog_of(topology)
    with connect(topology, OPERATOR) as operator, pytest.raises(errors.TenantTypeUnknown, match="account_id"):
        enforce(operator, "public", "extra_00", "account_id")
    assert catalog_of(topology) == before
