"""What else is changed: tables as a whole, views, rights, comments, statistics, sequences, types, partitions."""

from __future__ import annotations

from change_kind import GOODS, GOODS_OLD, Kind
from change_load import ROWS

STAY = GOODS_OLD
PARTS = """
create table goods (id bigint not null, name varchar(255) not null, note text, price numeric not null default 1,
  stamp bigint not null, primary key (id)) partition by hash (id);
create table goods_0 partition of goods for values with (modulus 2, remainder 0);
create table goods_1 partition of goods for values with (modulus 2, remainder 1);
"""
PARTS_ROWS = f"""
insert into goods (id, name, note, stamp) select g, 'name ' || g, 'note ' || g, g from generate_series(1, {ROWS}) g;
"""
PARTS_OLD = (
    "insert into goods (id, name, note, stamp) values (%(n)s, 'name ' || %(n)s, 'note ' || %(n)s, %(n)s)",
    *GOODS_OLD[1:],
)


def parts(what: str, sql: str, **more: object) -> Kind:
    """A change of a partitioned table."""
    given = {"old": PARTS_OLD, "new": PARTS_OLD, "setup": PARTS} | more
    return Kind(f"partitioned: {what}", sql, rows=PARTS_ROWS, **given)  # type: ignore[arg-type]


def stays(what: str, sql: str, setup: str = "", *, since: int = 15, **more: object) -> Kind:
    """A change that the code does not see."""
    given = {"new": STAY} | more
    return Kind(what, sql, setup=GOODS + setup, since=since, **given)  # type: ignore[arg-type]


OTHERS = (
    stays(
        "comments",
        """comment on table goods is 'what is sold'; comment on column goods.name is 'its name';
        comment on index goods_name is 'to find it'; comment on constraint goods_pkey on goods is 'its key'""",
    ),
    stays("row security", "alter table goods enable row level security; create policy all_rows on goods using (true)"),
    stays(
        "policy changed",
        "alter policy rows_of on goods using (stamp > -1); alter policy rows_of on goods rename to rows_now",
        "alter table goods enable row level security; create policy rows_of on goods using (true);",
    ),
    stays(
        "policy dropped",
        "drop policy rows_of on goods; alter table goods disable row level security",
        "alter table goods enable row level security; create policy rows_of on goods using (true);",
    ),
    stays("grant", "grant select, insert on goods to product_legacy; grant update (name) on goods to product_legacy"),
    stays(
        "revoke",
        "revoke insert on goods from product_legacy",
        "grant select, insert on goods to product_legacy;",
    ),
    stays("statistics", "create statistics goods_both (ndistinct) on name, price from goods"),
    stays(
        "statistics changed",
        "alter table goods alter column name set statistics 200; alter statistics goods_both set statistics 50",
        "create statistics goods_both on name, price from goods;",
    ),
    stays(
        "statistics dropped", "drop statistics goods_both", "create statistics goods_both on name, price from goods;"
    ),
    stays(
        "storage", "alter table goods alter column note set storage external, alter column note set compression pglz"
    ),
    stays("table's parameters", "alter table goods set (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.01)"),
    stays(
        "table's parameters reset", "alter table goods reset (fillfactor)", "alter table goods set (fillfactor = 70);"
    ),
    stays("replica identity is all", "alter table goods replica identity full"),
    stays("clustered on", "alter table goods cluster on goods_name"),
    stays("sequence", "create sequence numbers start 100 increment 5", new=("select nextval('numbers')",)),
    stays(
        "sequence is owned",
        "alter sequence numbers owned by goods.stamp;"
        "alter table goods alter column stamp set default nextval('numbers')",
        "create sequence numbers;",
    ),
    stays("sequence dropped", "drop sequence numbers", "create sequence numbers;"),
    stays(
        "enum's new value",
        "alter type sizes add value 'large' after 'small'",
        "create type sizes as enum ('small');",
        after=("select 'large'::sizes",),
    ),
    stays(
        "view",
        "create view shown as select id, name from goods where stamp > 0",
        new=("select name from shown where id = %(row)s",),
    ),
    stays(
        "view that is secure",
        "create view shown with (security_invoker) as select id, name from goods",
        new=("select name from shown where id = %(row)s",),
    ),
    stays(
        "view dropped",
        "drop view shown",
        "create view shown as select id, name from goods;",
        old=("select name from shown where id = %(row)s", *STAY),
    ),
    stays(
        "view replaced",
        "create or replace view shown as select id, name, note from goods where stamp > 0",
        "create view shown as select id, name from goods;",
        old=("select name from shown where id = %(row)s", *STAY),
        new=("select name from shown where id = %(row)s", *STAY),
        after=("select note from shown where id = %(row)s",),
    ),
    stays(
        "views over a column that gets another type",
        "-- kos: back goods.size = size::text\n"
        "drop view counted, shown;"
        "alter table goods alter column size drop default, alter column size type integer using size::integer,"
        " alter column size set default 1;"
        "create view shown as select id, name, size from goods; comment on view shown is 'for all';"
        "create view counted with (security_invoker) as select size, count(*) from shown group by size;"
        "grant select on shown to product_legacy;",
        "create view shown as select id, name, size from goods;"
        "create view counted as select size, count(*) from shown group by size;"
        "grant select on shown to product_legacy;",
        old=("select size from shown where id = %(row)s", "select size from counted limit 1", *STAY),
        new=("select id, name from shown where id = %(row)s", *STAY),
        right="select pg_typeof(max(size)) = 'integer'::regtype from shown",
        kept="select pg_typeof(max(size)) = 'text'::regtype from shown",
    ),
    stays(
        "materialized view",
        "create materialized view totals as select count(*) as all_of from goods;"
        "create unique index on totals (all_of)",
        new=("select all_of from totals",),
    ),
    stays(
        "materialized view dropped",
        "drop materialized view totals",
        "create materialized view totals as select count(*) as all_of from goods;",
        old=("select all_of from totals", *STAY),
    ),
    stays(
        "index of a materialized view",
        "create index totals_of on totals (all_of)",
        "create materialized view totals as select count(*) as all_of from goods;",
        old=("select all_of from totals", *STAY),
    ),
    stays(
        "column that a view shows is renamed",
        "alter table goods rename column name to title",
        "create view shown as select id, name from goods;create materialized view kept as select id, name from goods;",
        old=("select name from shown where id = %(row)s", "select name from kept where id = %(row)s", *STAY),
        new=("select name from shown where id = %(row)s", "select title from goods where id = %(row)s"),
        right="select not exists (select from goods where title <> 'name ' || stamp)",
    ),
    stays(
        "function",
        "create function twice(n integer) returns integer language sql immutable return n * 2",
        after=("select twice(2)",),
    ),
    stays(
        "trigger",
        "create trigger stay before update on goods for each row when (old.* is distinct from new.*)"
        " execute function stay()",
        "create function stay() returns trigger language plpgsql as 'begin return new; end';",
    ),
    stays(
        "trigger dropped",
        "drop trigger stay on goods",
        "create function stay() returns trigger language plpgsql as 'begin return new; end';"
        "create trigger stay before update on goods for each row execute function stay();",
    ),
    stays(
        "domain", "create domain percentage as numeric check (value between 0 and 100)", new=("select 5::percentage",)
    ),
    Kind(
        "table dropped that refers",
        "drop table lines",
        setup=GOODS + "create table lines (id bigint primary key, goods_id bigint references goods);",
        old=(*STAY, "insert into lines values (%(n)s, %(row)s)"),
        new=STAY,
        right="select to_regclass('lines') is null",
    ),
    Kind(
        "table and column renamed",
        "alter table goods rename to articles; alter table articles rename column name to title",
        new=(
            "insert into articles (title, note, code, stamp) values"
            " ('name ' || %(n)s, 'note ' || %(n)s, 'code ' || %(n)s, %(n)s)",
            "update articles set title = 'name ' || %(n)s, note = 'note ' || %(n)s, stamp = %(n)s where id = %(row)s",
            "select title, note from articles where id = %(row)s",
        ),
        right="select not exists (select from articles where title <> 'name ' || stamp)",
    ),
    Kind(
        "table like another",
        "create table archive (like goods including all); create index archive_note on archive (note);"
        "alter table archive add column archived_at timestamptz not null default clock_timestamp()",
        new=("insert into archive (name, code, stamp) values ('name', 'code ' || %(n)s, 1)",),
    ),
    parts(
        "column",
        "alter table goods add column height integer not null default 1",
        new=("update goods set height = 2 where id = %(row)s",),
    ),
    parts(
        "column with a volatile default",
        "alter table goods add column token uuid not null default gen_random_uuid()",
        new=("update goods set token = default where id = %(row)s",),
        right="select count(distinct token) = count(*) from goods",
    ),
    parts(
        "rename column",
        "alter table goods rename column name to title",
        new=("update goods set title = 'name ' || %(n)s, note = 'note ' || %(n)s, stamp = %(n)s where id = %(row)s",),
        right="select not exists (select from goods where title <> 'name ' || stamp)",
    ),
    parts("index", "create index goods_note on goods (note)"),
    parts("set not null", "alter table goods alter column note set not null"),
    parts("check", "alter table goods add constraint priced check (price > 0)"),
    parts("unique", "alter table goods add constraint goods_once unique (id, name)"),
    parts(
        "keys of parts of parts",
        "alter table goods add primary key (id); alter table goods add unique (name, id) deferrable;",
        setup=PARTS.replace(", primary key (id)", "").replace(
            "remainder 1);",
            "remainder 1) partition by list (id); create table goods_1_rest partition of goods_1 default;",
        ),
    ),
    parts("comment", "comment on table goods is 'in parts'"),
    parts("drop column", "-- kos: hide goods.price = 1\nalter table goods drop column price", new=PARTS_OLD[:2]),
    parts(
        "part",
        "create table other (id bigint primary key) partition by range (id);"
        "create table other_0 partition of other for values from (0) to (100)",
    ),
)
