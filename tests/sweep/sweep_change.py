"""A change of two schemas, for the sweep: a renamed column, a retyped one, one that is required, and an index."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from psycopg.sql import SQL, Identifier

from fix_product import OWNER, PASSWORD, make_roles
from kos.schema_change import plan_change
from kos.tenancy import Store
from kos.topology import postgres
from kos.topology.model import Login, fixed

SCHEMAS = ("till_1", "till_2")

TABLE = """
create table {schema}.sales (
  id bigint primary key, tenant_id bigint not null, code integer not null, total integer, note text default 'none'
);
create index sales_total on {schema}.sales (total);
insert into {schema}.sales select g, 1 + g % 3, g, case when g % 2 = 0 then g end, 'note ' || g
  from generate_series(1, 200) g;
create table {schema}.old_sales (id bigint primary key);
"""

CHANGE = """
alter table sales rename column note to remark;
-- kos: fill sales.total = 0
alter table sales alter column total set not null;
alter table sales alter column code type text;
create index sales_remark on sales (remark);
alter table sales add constraint total_positive check (total >= 0);
drop table old_sales;
"""

FACTS = {
    "columns": "select c.oid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,"
    " pg_get_expr(adbin, adrelid) from pg_attribute a join pg_class c on c.oid = attrelid"
    " left join pg_attrdef d on d.adrelid = c.oid and d.adnum = attnum"
    " where relnamespace::regnamespace::text = any(%s) and relkind in ('r', 'v') and attnum > 0 and not attisdropped"
    " order by 1, 2",
    "indexes": "select i.indexrelid::regclass::text, pg_get_indexdef(indexrelid), indisvalid from pg_index i"
    " join pg_class c on c.oid = indexrelid where relnamespace::regnamespace::text = any(%s) order by 1",
    "constraints": "select conrelid::regclass::text, conname, pg_get_constraintdef(oid), convalidated"
    " from pg_constraint where connamespace::regnamespace::text = any(%s) and contype <> 'n' order by 1, 2",
    "triggers": "select tgrelid::regclass::text, tgname from pg_trigger t join pg_class c on c.oid = tgrelid"
    " where relnamespace::regnamespace::text = any(%s) and not tgisinternal order by 1, 2",
    "functions": "select oid::regprocedure::text from pg_proc where pronamespace::regnamespace::text = any(%s)"
    " order by 1",
}
LEFT = ("changes", "change_placements", "change_actions", "change_fills")


def set_up(store: Store, folder: Path) -> None:
    control = store.topology.control
    assert control.installer is not None
    with postgres.connect(control.primary, control.installer) as administrator:
        make_roles(administrator)
        grant = SQL("grant create on database {} to {}")
        administrator.execute(grant.format(Identifier(control.primary.database), Identifier(OWNER)))
    with postgres.connect(control.primary, Login(OWNER, fixed(PASSWORD))) as owner:
        owner.execute("set client_min_messages = warning")
        for schema in SCHEMAS:
            named = Identifier(schema)
            owner.execute(SQL("drop schema if exists {schema} cascade; create schema {schema}").format(schema=named))
            owner.execute(SQL(TABLE).format(schema=named))
    with store.operator() as operator:
        for table in LEFT:
            operator.execute(SQL("delete from kos.{}").format(Identifier(table)))


def plan(store: Store, folder: Path) -> Any:
    return plan_change(store, CHANGE, schemas=SCHEMAS, tag="abc123", parallel=1)


def facts(store: Store, plan: Any) -> Any:
    control = store.topology.control
    found: dict[str, Any] = {}
    with postgres.connect(control.primary, Login(OWNER, fixed(PASSWORD))) as owner:
        for name, query in FACTS.items():
            found[name] = owner.execute(query, (list(SCHEMAS),)).fetchall()
        for schema in SCHEMAS:
            # What a fill has put where there was nothing stays, also of a change that is taken back.
            whole = SQL(
                "select to_jsonb(s) || jsonb_build_object('total', coalesce(total, 0)) from {}.sales s order by id"
            )
            rows = whole.format(Identifier(schema))
            found[schema] = [row for (row,) in owner.execute(rows).fetchall()]
    with store.operator() as operator:
        left = [operator.execute(SQL("select * from kos.{}").format(Identifier(t))).fetchall() for t in LEFT[1:]]
        found["left"] = left
        row = operator.execute("select count(*) from kos.changes where finished_at is null").fetchone()
        found["open"] = row
    return found
