"""Kinds of change for the claim about stalls, and what code of before and of after says to their tables."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, reduce
from types import MappingProxyType

TABLES = """
drop schema if exists loaded cascade;
create schema loaded authorization kos_owner;
set local role kos_owner;
create table loaded.customers (id integer primary key, name text not null, grade integer);
insert into loaded.customers select g, 'customer ' || g, g from generate_series(0, {customers}) g;
create table loaded.orders (
  tenant_id bigint not null, id integer primary key, customer_id integer not null, status text, amount integer not null,
  code text not null, note text
){parts};
insert into loaded.orders
select g % 50, g, g % {customers}, 'new', g % 100, g % 10, 'note ' || g from generate_series(0, {rows}) g;
create index orders_customer on loaded.orders (customer_id);
{setup};
grant usage on schema loaded to loaded_app;
grant select, insert, update, delete on all tables in schema loaded to loaded_app;
"""
PARTS = """ partition by range (id);
create table loaded.orders_0 partition of loaded.orders for values from (minvalue) to ({half});
create table loaded.orders_1 partition of loaded.orders for values from ({half}) to (100000000)"""

CODE: Mapping[str, str] = MappingProxyType(
    {
        "begin": "begin",
        "commit": "commit",
        "read": "select customer_id, status, amount::bigint, code, note from loaded.orders where id = %(id)s",
        "update": "update loaded.orders set status = 'seen', amount = amount + 1 where id = %(id)s",
        "insert": "insert into loaded.orders (tenant_id, id, customer_id, status, amount, code, note)"
        " values (1, %(new)s, %(customer)s, 'new', 5, '7', 'a note')",
        "delete": "delete from loaded.orders where id = %(old)s",
        "read customer": "select name, grade from loaded.customers where id = %(customer)s",
        "update customer": "update loaded.customers set grade = grade + 1 where id = %(customer)s",
        "insert customer": "insert into loaded.customers (id, name) values (%(new)s, 'new')",
        "delete customer": "delete from loaded.customers where id = %(new)s",
        "also": "select count(*) from loaded.orders where customer_id = %(customer)s",
    }
)


@dataclass(frozen=True)
class Kind:
    """A change. Code of after says what code of before does, but for these `words`; `old` and `new` are statements that
    one of them has besides. `naive` is what its author would run without kos, where that is not the change itself."""

    name: str
    change: str
    words: tuple[tuple[str, str], ...] = ()
    setup: str = ""
    old: str = CODE["also"]
    new: str = CODE["also"]
    naive: str = ""
    parts: bool = False
    fills: bool = False  # its table is larger, as those are where that matters: a batch locks little of it
    since: int = 15  # the version of PostgreSQL

    @property
    def in_one_go(self) -> str:
        """Without what is said to kos."""
        return self.naive or self.change

    @cached_property
    def codes(self) -> tuple[dict[str, str], dict[str, str]]:
        """Of before and of after."""
        after = {name: reduce(lambda text, word: text.replace(*word), self.words, text) for name, text in CODE.items()}
        return {**CODE, "also": self.old}, {**after, "also": self.new}

    def tables(self, rows: int, customers: int) -> str:
        """What the change is made in."""
        parts = PARTS.format(half=rows // 2) if self.parts else ""
        return TABLES.format(rows=rows, customers=customers, parts=parts, setup=self.setup)


ORDERS = "alter table loaded.orders "
REFERS = "add constraint known_customer foreign key (customer_id) references loaded.customers"
STATE = (("status", "state"),)
TOTAL = ((", note)", ", note, total)"), ("'a note')", "'a note', 5)"))
SHOWN = "select id, status from loaded.shown where id = %(id)s"

KINDS = (
    Kind("column with a default", ORDERS + "add column priority integer not null default 0"),
    Kind(
        "column with a volatile default",
        ORDERS + "add column token uuid not null default gen_random_uuid()",
        fills=True,
    ),
    Kind(
        "column with a fill, NOT NULL",
        "-- kos: fill orders.total = amount * 2\n" + ORDERS + "add column total bigint not null",
        words=TOTAL,
        fills=True,
        naive=f"{ORDERS} add column total bigint; update loaded.orders set total = amount * 2;"
        f" {ORDERS} alter column total set not null",
    ),
    Kind("identity column", ORDERS + "add column number bigint generated always as identity", fills=True),
    Kind("virtual column", ORDERS + "add column twice bigint generated always as (amount * 2) virtual", since=18),
    Kind("dropped column", ORDERS + "drop column note", words=((", note", ""), (", 'a note'", ""))),
    Kind("renamed column", ORDERS + "rename column status to state", words=STATE, fills=True),
    Kind("type, integer to bigint", ORDERS + "alter column amount type bigint", fills=True),
    Kind(
        "name and type, text to integer",
        f"{ORDERS} rename column code to number;\n{ORDERS} alter column number type integer using number::integer",
        words=(("code", "number"), ("'7'", "7")),
        fills=True,
    ),
    Kind(
        "type of a key that others refer to",
        "alter table loaded.customers alter column id type bigint",
        setup=ORDERS + REFERS,
    ),
    Kind("NOT NULL", ORDERS + "alter column status set not null"),
    Kind("default", ORDERS + "alter column status set default 'new'"),
    Kind("CHECK", ORDERS + "add constraint amount_positive check (amount >= 0)"),
    Kind("foreign key", ORDERS + REFERS),
    Kind("dropped foreign key", ORDERS + "drop constraint known_customer", setup=ORDERS + REFERS),
    Kind("UNIQUE", ORDERS + "add constraint one_each unique (tenant_id, id)"),
    Kind(
        "another primary key",
        f"{ORDERS} drop constraint orders_pkey;\n{ORDERS} add constraint orders_pkey primary key (id, tenant_id)",
    ),
    Kind("index", "create index orders_status on loaded.orders (status, amount)"),
    Kind("unique index of some rows", "create unique index orders_new on loaded.orders (code, id) where amount > 50"),
    Kind("dropped index", "drop index loaded.orders_note", setup="create index orders_note on loaded.orders (note)"),
    Kind(
        "renamed table",
        ORDERS + "rename to purchases",
        words=(("loaded.orders", "loaded.purchases"),),
        new=CODE["also"].replace("orders", "purchases"),
    ),
    Kind(
        "table that refers to others",
        "create table loaded.lines (id bigint generated always as identity primary key,"
        " order_id integer not null references loaded.orders, customer_id integer references loaded.customers);\n"
        "grant select, insert on loaded.lines to loaded_app",
        new="insert into loaded.lines (order_id, customer_id) values (%(id)s, %(customer)s)",
    ),
    Kind(
        "dropped table",
        "drop table loaded.visits",
        setup="create table loaded.visits (order_id integer not null references loaded.orders, at timestamptz)",
        old="insert into loaded.visits values (%(id)s, now())",
    ),
    Kind(
        "replaced view",
        "create or replace view loaded.shown as select id, status, amount from loaded.orders",
        setup="create view loaded.shown as select id, status from loaded.orders",
        old=SHOWN,
        new=SHOWN,
    ),
    Kind(
        "row security",
        "create policy everybody on loaded.orders using (true);\n" + ORDERS + "enable row level security",
    ),
    Kind(
        "trigger",
        "create trigger stay before update on loaded.orders for each row execute function loaded.stay()",
        setup="create function loaded.stay() returns trigger language plpgsql as 'begin return new; end'",
    ),
    Kind("replica identity", ORDERS + "replica identity full"),
    Kind(
        "partitioned: a partition",
        "create table loaded.orders_2 partition of loaded.orders for values from (100000000) to (200000000)",
        parts=True,
    ),
    Kind("partitioned: renamed column", ORDERS + "rename column status to state", words=STATE, parts=True, fills=True),
    Kind("partitioned: index", "create index orders_status on loaded.orders (status, amount)", parts=True),
    Kind("partitioned: foreign key", ORDERS + REFERS, parts=True),
    Kind(
        "a file of several",
        "-- kos: fill orders.total = amount * 2\n"
        f"{ORDERS} add column total bigint not null;\n{ORDERS} rename column status to state;\n"
        "create index orders_total on loaded.orders (total)",
        words=(*STATE, *TOTAL),
        fills=True,
        naive=f"{ORDERS} add column total bigint; update loaded.orders set total = amount * 2;"
        f" {ORDERS} alter column total set not null; {ORDERS} rename column status to state;"
        " create index orders_total on loaded.orders (total)",
    ),
)
