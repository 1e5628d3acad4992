"""What PostgreSQL would refuse in the middle of a change is refused by the plan, in PostgreSQL's words."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from change_kind import GOODS, GOODS_ROWS

from change_by_hand import Scratch, scratch_database
from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, start
from kos.topology.embedded import Stack
from kos.topology.model import Topology

TABLES = (
    """create table orders (id integer primary key, price integer, note text, made timestamptz, code text unique,
       of integer, twice integer generated always as (price * 2) stored)""",
    "create table lines (id integer primary key, item text, part integer, label text)",
    "create unique index lines_item on lines (item) where part > 0",
    "create view cheap as select id from orders",
)
INT = "alter table orders add column total int"
FILL = "-- kos: fill orders.total = {}\n" + INT
NULL = "alter table orders alter column note set not null"
TYPE = "alter table orders alter column note type int using "


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (FILL.format("nosuch + 1"), 'column "nosuch" does not exist'),
        (FILL.format("price * 2") + " not null; alter table orders add check (nosuch > 1)", 'column "nosuch"'),
        (FILL.format("'abc'"), 'invalid input syntax for type integer: "abc"'),
        (FILL.format("note"), "the column is of type int but the expression is of type text"),
        (FILL.format("count(*)"), "aggregate functions"),
        (FILL.format("nosuch(price)"), r"function nosuch\(integer\) does not exist"),
        (FILL.format("(select max(nosuch) from lines)"), 'column "nosuch" does not exist'),
        (FILL.format("(select 1 from nosuch)"), 'relation "nosuch" does not exist'),
        ("-- kos: fill orders.note = price\n" + NULL.replace("note", "code").replace("code", "note"), None),
        (
            "-- kos: fill orders.of = made\nalter table orders alter column of set not null",
            "cannot cast type timestamp",
        ),
        ("-- kos: fill orders.total with mod:fun(nosuch)\n" + INT, 'column "nosuch" does not exist'),
        ("-- kos: back orders.price = nosuch\nalter table orders alter column of type text", None),
        ("-- kos: back orders.of = nosuch\nalter table orders alter column of type text", 'column "nosuch"'),
        ("-- kos: back orders.of = length(of)\nalter table orders alter column of type text", None),
        ("-- kos: hide orders.made = nosuch\nalter table orders drop column made", "cannot use column reference"),
        ("-- kos: hide orders.price = 'abc'\nalter table orders drop column price", "generated column twice"),
        ("-- kos: hide orders.of = 'abc'\nalter table orders drop column of", "invalid input syntax"),
        (TYPE + "nosuch::int", 'column "nosuch" does not exist'),
        (TYPE + "note + 1", r"operator does not exist: text \+ integer"),
        (TYPE + "length(note)", None),
        ("alter table orders alter column note type nosuchtype", 'type "nosuchtype" does not exist'),
        ("create index on orders (nosuch)", 'column "nosuch" does not exist'),
        ("create index on orders (lower(price))", r"function lower\(integer\) does not exist"),
        ("create index on orders (price) include (nosuch)", 'column "nosuch" does not exist'),
        ("create index on orders (price) where nosuch", 'column "nosuch" does not exist'),
        ("create index on orders (price) where price", "must be type boolean"),
        ("create index on orders ((price + (select 1)))", "cannot use subquery in index expression"),
        ("alter table orders add check (nosuch > 1)", 'column "nosuch" does not exist'),
        ("alter table orders add check (price in (select 1))", "cannot use subquery in check constraint"),
        ("alter table orders add unique (nosuch)", 'column "nosuch" does not exist'),
        ("alter table orders add foreign key (nosuch) references lines", 'column "nosuch" does not exist'),
        ("alter table orders add foreign key (of) references lines (nosuch)", 'column "nosuch" does not exist'),
        ("alter table orders add foreign key (of) references lines (part)", "no unique constraint matching given keys"),
        ("alter table orders add foreign key (note) references lines (item)", "no unique constraint matching"),
        ("alter table orders add foreign key (note) references lines", "operator does not exist: text = integer"),
        ("alter table orders add foreign key (of, price) references lines (id)", "disagree"),
        ("alter table orders add foreign key (of) references cheap (id)", "is not a table"),
        ("alter table orders add foreign key (of) references nosuch", 'relation "nosuch" does not exist'),
        ("alter table orders add column x nosuchtype", 'type "nosuchtype" does not exist'),
        (INT + " default 'abc'", "invalid input syntax"),
        (INT + " default price", "cannot use column reference in DEFAULT"),
        (INT + " default now()", "cannot cast type timestamp"),
        (INT + " check (nosuch > 1)", 'column "nosuch" does not exist'),
        ("alter table orders alter column of set default 'abc'", "invalid input syntax"),
        ("create policy p on orders using (nosuch)", 'column "nosuch" does not exist'),
        ("alter table orders drop column note; create index on orders (note)", 'column "note" does not exist'),
        ("alter table orders rename note to remark; create index on orders (note)", 'column "note" does not exist'),
    ],
)
def test_what_postgresql_would_refuse_later_is_refused_now(scratch: Scratch, change: str, reason: str | None) -> None:
    schema = scratch.schema(*TABLES)
    if reason is None:
        scratch.plan(schema, change)
        return
    with pytest.raises(errors.ChangeRefused, match=reason):
        scratch.plan(schema, change)


@pytest.mark.parametrize(
    "change",
    [
        FILL.format("price * 1.08"),
        FILL.format("orders.price + (select count(*) from lines where part = orders.id)"),
        FILL.format("(case when note like '100%' then 1 end)"),
        FILL.format("length(remark)") + "; alter table orders rename note to remark",
        FILL.format("twice(price)") + "; create function twice(integer) returns integer language sql return $1 * 2",
        FILL.format("length(orders::text)"),
        FILL.format("row_number(orders)"),
        FILL.format("(select max(weight) from lines)") + "; alter table lines add column weight integer",
        FILL.format("price") + "; -- kos: hide orders.price = 3\nalter table orders drop column twice, drop column of",
        "alter table orders rename note to remark; create index on orders (lower(remark)) where remark <> ''",
        INT
        + "; create unique index on orders (total, id) where total > 3; alter table orders add check (total > price)",
        "alter table orders add column total varchar(5) default 3 check (length(total) < 4)",
        "alter table orders add column at timestamptz default clock_timestamp(), add column n serial",
        "alter table orders add column at date default now(), add column rest json default '{}'",
        "alter table orders alter column of type bigint, add check (of < 3000000000)",
        "alter table orders rename of to parent; alter table orders alter parent type bigint",
        "alter table orders alter column note type int using length(note), add check (note > 3)",
        "create type shade as enum ('a'); alter table orders add column kind shade default 'a' check (kind <> 'a')",
        "create domain small as int; alter table orders add column kind small default 3",
        "create sequence numbers; alter table orders add column n bigint default nextval('numbers')",
        "alter table lines add unique (part); alter table orders add foreign key (of) references lines (part)",
        "create unique index once on lines (part, id); alter table orders add foreign key (price, of)"
        " references lines (id, part)",
        "alter table lines rename id to number; alter table orders add foreign key (of) references lines (number)",
        "create table parts (id integer primary key); alter table orders add foreign key (of) references parts",
        "alter table orders add column line integer references lines unique",
        "alter table orders rename to sales; alter table sales add check (sales.price > 3)",
        "create policy p on orders using (price in (select part from lines))",
    ],
)
def test_what_it_takes_is_planned(scratch: Scratch, change: str) -> None:
    schema = scratch.schema(*TABLES, "create function row_number(orders) returns int language sql return ($1).id")
    if "drop column" in change:
        scratch.run(schema, "alter table orders alter column twice drop expression")
    scratch.plan(schema, change)


def test_the_line_is_told_and_nothing_has_begun(shop: Shop) -> None:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    text = "alter table goods add column one int;\n\nalter table goods add check (nosuch > 1)"
    with pytest.raises(errors.ChangeRefused, match='column "nosuch" does not exist') as refused:
        plan_change(shop.store, text, schemas=(SHOP,))
    assert refused.value.what == "line 3: alter table goods add check (nosuch > 1)"
    with pytest.raises(errors.ChangeRefused) as wrong:
        plan_change(
            shop.store, "-- kos: fill goods.one = nosuch + 1\nalter table goods add column one int", schemas=(SHOP,)
        )
    assert wrong.value.what == "fill goods.one = nosuch + 1"
    shop.clean = True


def test_planning_calls_no_function(shop: Shop) -> None:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    shop.owner.execute(
        b"create function loud(text) returns int language plpgsql as 'begin raise exception ''called''; end'"
    )
    fill = "-- kos: fill goods.one = loud(note)\n-- kos: fill goods.two = loud('x')\n"
    plan_change(shop.store, fill + "alter table goods add column one int, add column two int", schemas=(SHOP,))
    start(shop.store, plan_change(shop.store, "alter table goods add column one int", schemas=(SHOP,)))
    finish(shop.store)
    shop.clean = True
