"""The changes that are swept: together, each kind of step and of fill."""

from __future__ import annotations

import hashlib
from typing import Any

from sweep_change import SCHEMAS, Change

# Each row has a page of its own, so that a fill has several batches.
PAD = "pad text not null default repeat('x', 5000)"


def there(value: Any) -> bool:
    """Whether there is a value: no two runs draw the same."""
    return value is not None


def at_most_100(value: Any) -> Any:
    """Not what refers to nothing: that may be gone."""
    return value if value is None or value <= 100 else None


def shout(name: str, number: int) -> str:
    """For a fill from Python."""
    return f"{name} {number}!"


def digests(rows: list[tuple[str]]) -> list[str]:
    """For one that gets many rows at once."""
    return [hashlib.sha256(name.encode()).hexdigest() for (name,) in rows]


digests.kos_batch = True  # type: ignore[attr-defined]


COLUMNS = Change(
    """
create table sales (
  id bigint primary key, tenant_id bigint not null, code integer not null, total integer, note text default 'none');
create index sales_total on sales (total);
insert into sales select g, 1 + g % 3, g, case when g % 2 = 0 then g end, 'note ' || g from generate_series(1, 200) g;
create table old_sales (id bigint primary key);
""",
    """
alter table sales rename column note to remark;
-- kos: fill sales.total = 0
alter table sales alter column total set not null;
alter table sales alter column code type text;
create index sales_remark on sales (remark);
alter table sales add constraint total_positive check (total >= 0);
drop table old_sales;
""",
    schemas=SCHEMAS,
    values={"total": lambda value: value or 0},
    every=6,
    first=1,
)

FILLS = Change(
    f"""
create table goods (id bigint primary key, name text not null, price integer not null, note text, {PAD});
alter table goods alter column pad set storage plain;
insert into goods select g, 'name ' || g, g, case when g % 3 = 0 then 'note ' || g end from generate_series(1, 150) g;
""",
    """
-- kos: fill goods.shouted with sweep_changes:shout(name, id)
alter table goods add column shouted text;
-- kos: fill goods.digest with sweep_changes:digests(name)
alter table goods add column digest text not null;
-- kos: fill goods.gross = price * 2
alter table goods add column gross integer;
alter table goods add column token uuid not null default gen_random_uuid();
-- kos: hide goods.price = 1
alter table goods drop column price;
""",
    values={"token": there},
    every=8,
    first=2,
)

KEYS = Change(
    """
create table people (id bigint not null, email text not null, age integer, badge integer,
  constraint named check (email <> ''));
create table pets (id bigint primary key, owner_id bigint, sitter_id bigint, name text, chip integer,
  constraint chipped check (chip > 0) not valid, constraint one_chip unique (chip));
insert into people select g, 'email ' || g, g, g from generate_series(1, 40) g;
insert into pets select g, case when g % 5 = 0 then 1000 + g else 1 + g % 40 end,
  case when g % 7 = 0 then 1000 + g end, 'name ' || g, g from generate_series(1, 60) g;
""",
    """
-- kos: orphans pets.owner_id delete
-- kos: orphans pets.sitter_id null
alter table people add primary key (id);
alter table people add constraint people_email unique (email);
alter table people add constraint people_badge exclude (badge with =);
alter table people add constraint grown check (age > 0);
alter table people rename constraint named to has_email;
alter table pets add constraint pets_owner foreign key (owner_id) references people (id);
alter table pets add constraint pets_sitter foreign key (sitter_id) references people (id) on delete set null;
alter table pets validate constraint chipped;
alter table pets drop constraint one_chip;
create unique index pets_name on pets (lower(name));
""",
    values={"owner_id": at_most_100, "sitter_id": at_most_100},
    lost=lambda row: row.get("owner_id", 0) > 100,
)

PARTS = Change(
    """
create table goods (id integer primary key);
create table seen (day date not null, goods_id integer not null, note text) partition by range (day);
create table seen_1 partition of seen for values from ('2026-01-01') to ('2026-02-01');
create table seen_2 partition of seen for values from ('2026-02-01') to ('2026-03-01') partition by list (goods_id);
create table seen_2_rest partition of seen_2 default;
create index seen_day on seen (day);
insert into goods select generate_series(1, 50);
insert into seen select date '2026-01-01' + n, n, case when n % 2 = 0 then 'note' end from generate_series(1, 50) n;
""",
    """
-- kos: fill seen.note = 'none'
alter table seen alter column note set not null;
alter table seen add column token uuid default gen_random_uuid();
alter table seen add primary key (day, goods_id);
alter table seen add foreign key (goods_id) references goods;
create index seen_note on seen (note);
drop index seen_day;
""",
    values={"note": lambda value: value or "none", "token": there},
    every=5,
    first=1,
)

RETYPED = Change(
    """
create table goods (id integer primary key, stock integer not null default 1 check (stock >= 0), price numeric);
create index goods_stock on goods (stock) where stock > 5;
create unique index goods_one on goods (stock, id);
create view shown as select id, stock from goods;
comment on view shown is 'for all';
grant select on shown to product_legacy;
create statistics goods_both on stock, price from goods;
comment on column goods.stock is 'so many';
create table lines (id integer primary key, goods_id integer references goods);
insert into goods select g, g, g from generate_series(1, 30) g;
insert into lines select g, 1 + g % 30 from generate_series(1, 60) g;
""",
    """
drop view shown;
alter table goods rename column id to good;
alter table goods alter column good type bigint;
alter table lines rename column goods_id to good;
alter table lines alter column good type bigint;
alter table goods rename column stock to amount;
alter table goods alter column amount type bigint, alter column amount set default 2;
create view shown as select good, amount from goods;
comment on view shown is 'for all';
grant select on shown to product_legacy;
""",
    every=5,
    first=2,
)

OBJECTS = Change(
    """
create type sizes as enum ('small');
create table goods (id bigint primary key, name text not null, note text, size sizes not null default 'small',
  stamp bigint not null, twice bigint generated always as (stamp * 2) stored, one bigint default 1);
create index goods_name on goods (name);
create view shown as select id, name from goods;
create function stay() returns trigger language plpgsql as 'begin return new; end';
create trigger old_trigger before update on goods for each row execute function stay();
create table items (id bigint primary key, name text);
create table old_goods (id bigint primary key, good bigint references goods);
create view old_shown as select 1 as one;
create materialized view old_totals as select count(*) from items;
create sequence old_numbers;
insert into goods (id, name, stamp) select g, 'name ' || g, g from generate_series(1, 30) g;
insert into items select g, 'name ' || g from generate_series(1, 30) g;
""",
    """
create type colours as enum ('red');
create domain percentage as numeric check (value between 0 and 100);
create sequence numbers start 100;
alter table goods add column number bigint generated always as identity;
alter table goods alter column twice drop expression;
alter table goods alter column one drop default;
alter table goods add column colour colours not null default 'red';
alter type sizes add value 'large';
create table archive (id bigint generated always as identity primary key, good bigint references goods,
  part percentage);
create index archive_good on archive (good);
create view listed with (security_invoker) as select id, name from goods;
create or replace view shown as select id, name, stamp from goods;
create materialized view totals as select count(*) as n from goods;
create function double(n integer) returns integer language sql immutable return n * 2;
create or replace function stay() returns trigger language plpgsql as 'begin new.note := null; return new; end';
create trigger new_trigger before insert on goods for each row execute function stay();
drop trigger old_trigger on goods;
alter table items rename to articles;
drop table old_goods;
drop view old_shown;
drop materialized view old_totals;
drop sequence old_numbers;
""",
    values={"number": there},
    every=5,
)

RIGHTS = Change(
    """
create table goods (id bigint primary key, name text not null, note text, stamp bigint not null, owner_id integer);
create index goods_name on goods (name);
create index goods_stamp on goods (stamp);
create unique index goods_once on goods (stamp, id);
create statistics old_both on name, note from goods;
create sequence numbers;
create table secret (id bigint primary key, note text);
alter table secret enable row level security;
create policy old_rows on secret using (true);
create policy some_rows on secret using (true);
grant select on secret to product_legacy;
insert into goods (id, name, stamp) select g, 'name ' || g, g from generate_series(1, 30) g;
""",
    """
alter table goods enable row level security;
create policy all_rows on goods using (true);
create policy few_rows on goods as restrictive using (stamp > 0);
drop policy old_rows on secret;
alter policy some_rows on secret using (id > 0);
grant select, insert on goods to product_legacy;
grant update (name) on goods to product_legacy;
revoke select on secret from product_legacy;
comment on table goods is 'what is sold';
comment on column goods.name is 'its name';
comment on index goods_name is 'to find it';
create statistics goods_both (ndistinct) on name, stamp from goods;
drop statistics old_both;
alter table goods set (fillfactor = 70);
alter table goods alter column name set statistics 200;
alter table goods alter column note set storage external;
alter table goods replica identity using index goods_once;
alter table goods cluster on goods_name;
alter index goods_stamp rename to goods_stamped;
alter sequence numbers owned by goods.stamp;
alter table goods alter column stamp set default nextval('numbers');
""",
)

LATE = Change(
    COLUMNS.tables,
    """
alter table sales rename column note to remark;
-- kos: fill sales.total = 0
alter table sales alter column total set not null;
alter table sales add column token uuid default gen_random_uuid();
create index sales_remark on sales (remark);
drop table old_sales;
""",
    values={"total": lambda value: value or 0, "token": there},
    late=True,
    every=6,
    first=2,
)

# In the second schema a row has no reciprocal, an index is built halfway, and a check does not hold.
BAD = Change(
    """
create table sales (id bigint primary key, rate integer not null, total integer not null, code integer not null);
insert into sales select g, g, g, g from generate_series(1, 40) g;
""",
    """
-- kos: fill sales.share = 100 / rate
alter table sales add column share integer not null;
create index sales_part on sales ((100 / total));
alter table sales add constraint code_positive check (code > 0);
create unique index sales_code on sales (code);
""",
    schemas=SCHEMAS,
    bad="update sales set rate = 0, total = 0 where id = 20; update sales set code = -code where id in (20, 21)",
    mend={
        "fill": "update sales set rate = id where rate = 0",
        "build": "update sales set total = id where total = 0",
        "tighten": "update sales set code = -code where code < 0",
    },
    values={
        "rate": lambda value: value or 20,
        "total": lambda value: value or 20,
        "share": lambda value: value or 5,
        "code": abs,
    },
    every=8,
    first=1,
)

CHANGES = {
    "change-columns": COLUMNS,
    "change-fills": FILLS,
    "change-keys": KEYS,
    "change-parts": PARTS,
    "change-retyped": RETYPED,
    "change-objects": OBJECTS,
    "change-rights": RIGHTS,
    "change-late": LATE,
    "change-bad": BAD,
}
