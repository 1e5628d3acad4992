"""A small product that was not built with kos, for the operations that take its tables in and out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sweep_connections import let_own, operator_of, owner_of

from kos.adoption import Wanted, adopt_tables, plan, plan_release, planned_adoption
from kos.log import seal_all
from kos.tenancy import Place, Store

TABLES = """
create schema shop;
create table shop.orders (id bigint primary key, account_id bigint not null, amount numeric, note text);
insert into shop.orders select g, 1 + g % 3, g / 4.0, repeat('note ', 500) from generate_series(1, 11) g;
create function shop.touch() returns trigger language plpgsql as 'begin new.note := null; return new; end';
create trigger touch before update on shop.orders for each row execute function shop.touch();
create table shop.events (account_id bigint, id integer, at date, primary key (account_id, id, at))
  partition by range (at);
create table shop.events_1 partition of shop.events for values from ('2026-01-01') to ('2026-02-01');
create table shop.events_2 partition of shop.events for values from ('2026-02-01') to ('2026-03-01');
insert into shop.events select 1 + g % 3, g, '2026-01-28'::date + g from generate_series(1, 7) g;
create table shop.notes (id uuid primary key default gen_random_uuid(), account_id bigint not null, body text);
alter table shop.notes enable row level security;
insert into shop.notes (account_id, body) select 1 + g % 3, 'body' from generate_series(1, 4) g;
"""

# What a product's catalog has of kos, and what kos has of the product.
FACTS = {
    "triggers": "select tgrelid::regclass::text, tgname, tgenabled from pg_trigger t join pg_class c on c.oid = tgrelid"
    " where relnamespace = to_regnamespace('shop') and not tgisinternal order by 1, 2",
    "policies": "select polrelid::regclass::text, polname from pg_policy where polname ~ '^kos_' order by 1, 2",
    "flags": "select relname, relrowsecurity, relforcerowsecurity from pg_class"
    " where relnamespace = to_regnamespace('shop') and relkind in ('r', 'p') order by 1",
    "enforced": "select relation::text, root::text, row_security, forced from kos.enforced_tables order by 1",
    "tenants": "select name, adopted from kos.tenants join kos.fence using (tenant_id, name, adopted)"
    " where adopted order by 1",
    "named": "select shard_name, schema_name, kinds from kos.adopted_product",
    "rights": "select oid::regclass::text, coalesce(relacl, acldefault('r', relowner))::text from pg_class"
    " where relnamespace = to_regnamespace('shop') and relkind in ('r', 'p') order by 1",
    "schemas": "select nspname, coalesce(nspacl, acldefault('n', nspowner))::text from pg_namespace"
    " where nspname in ('shop', 'kos') order by 1",
    "functions": "select oid::regprocedure::text, proacl::text from pg_proc"
    " where pronamespace = 'kos'::regnamespace order by 1",
    "logged": "select relation::text, tenant_column, baseline, complete_at is not null"
    " from kos.logged_tables order by 1",
}

WHOLE = """
select relation::oid::bigint from kos.logged_tables l join pg_class c on c.oid = relation
 where relnamespace = to_regnamespace('shop') and complete_at is not null
"""


def set_up(store: Store, folder: Path) -> None:
    let_own(store)
    owner, operator = owner_of(store), operator_of(store)
    owner.execute("set client_min_messages = warning; drop schema if exists shop cascade")
    owner.execute(TABLES)
    with operator.transaction():
        operator.execute("set local role kos_owner")
        operator.execute("""
            delete from kos.logged_tables l where not exists (select from pg_class c where c.oid = l.relation);
            delete from kos.enforced_tables e where not exists (select from pg_class c where c.oid = e.relation);
            delete from kos.adopted_product;
            delete from kos.tenants where adopted;
            delete from kos.fence where adopted;
            do $$ declare name text; begin
              for name in select p.proname from pg_proc p where p.proname ~ '^capture_[0-9a-f]{32}$'
                 and not exists (select from pg_trigger t where t.tgfoid = p.oid) loop
                execute format('drop function kos.%I()', name);
              end loop;
            end $$""")


def set_up_logged(store: Store, folder: Path) -> None:
    """Two of its tables are logged, and one of them has row security."""
    set_up(store, folder)
    for level, *names in (("log", "shop.orders", "shop.notes"), ("enforce", "shop.notes")):
        wanted = Wanted(tuple(names), level=level)
        with store.operator() as operator:
            found = plan(operator, wanted, shard=store.topology.control.name)
        adopt_tables(store, planned_adoption(store, found, wanted))


def plan_leaving(store: Store, folder: Path) -> Any:
    control = store.topology.control
    return plan_release(store, Place(control.name, control.primary.database), ("shop.*",))


def plan_taking(level: str, baseline: str) -> Callable[[Store, Path], Any]:
    def planned(store: Store, folder: Path) -> Any:
        wanted = Wanted(("shop.*",), level=level, baseline=baseline)
        with store.operator() as operator:
            found = plan(operator, wanted, shard=store.topology.control.name)
        return planned_adoption(store, found, wanted).plan

    return planned


def facts(store: Store, plan: Any) -> Any:
    """And how many rows the log of a table that is logged has otherwise."""
    operator = operator_of(store)
    found = {name: operator.execute(query).fetchall() for name, query in FACTS.items()}
    seal_all(operator)
    logged = operator.execute(WHOLE).fetchall()
    found["wrong in the log"] = [
        operator.execute("select * from kos.compare_log(%s::oid::regclass)", table).fetchall() for table in logged
    ]
    return found
