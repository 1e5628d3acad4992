"""After a change the planner knows what is new, though nothing was written that autoanalyze would count."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from threading import Thread

import pytest
from change_kind import GOODS, GOODS_ROWS

from change_by_hand import Scratch, before_contract, scratch_database
from fix_exports import until
from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import change_status, finish, plan_change, roll_back, start
from kos.schema_change.model import ANALYZE, TRANSACTION, Action
from kos.topology.embedded import Stack
from kos.topology.model import Topology

# Only what the change itself does.
ALONE = "alter table {} set (autovacuum_enabled = off); analyze {}"
KNOWN = """
select tablename || '.' || attname from pg_stats where schemaname = current_schema
union all
select statistics_name from pg_stats_ext where schemaname = current_schema and n_distinct is not null
"""
ITEMS = (
    "create table items (id integer primary key, price integer, code varchar(5), note text)",
    "insert into items select g, g % 7, g, g from generate_series(1, 300) g",
    "create statistics both_of (ndistinct) on price, code from items",
    "alter table items set (autovacuum_enabled = off)",
    "analyze items",
)
OWN = {"items.id", "items.price", "items.code", "items.note", "both_of"}


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


def known(scratch: Scratch, schema: str) -> set[str]:
    """What PostgreSQL has statistics of."""
    return {name for (name,) in scratch.run(schema, KNOWN)}


@pytest.mark.parametrize(
    ("change", "started", "finished"),
    [
        ("alter table items alter code type varchar(9)", OWN, OWN),
        ("alter table items alter code type text, alter note set default 3", OWN, OWN),
        ("alter table items alter price type bigint", {*OWN, "items.price_new"}, OWN),
        ("create index lowered on items (lower(note))", {*OWN, "lowered.lower"}, {*OWN, "lowered.lower"}),
        ("create unique index lowered on items (lower(note))", OWN, {*OWN, "lowered.lower"}),
        ("create statistics more (ndistinct) on note, code from items", {*OWN, "more"}, {*OWN, "more"}),
        (
            "alter table items rename to goods; alter table goods alter code type text",
            OWN,
            {each.replace("items", "goods") for each in OWN},
        ),
    ],
)
def test_what_is_new_is_analyzed(scratch: Scratch, change: str, started: set[str], finished: set[str]) -> None:
    schema = scratch.schema(*ITEMS)
    recipe = scratch.plan(schema, change)
    scratch.do(schema, (*recipe.expand, *recipe.fill, *recipe.build))
    assert known(scratch, schema) == started
    scratch.do(schema, (*recipe.tighten, *recipe.contract))
    assert known(scratch, schema) == finished


def test_partitions_are_analyzed_with_their_table(scratch: Scratch) -> None:
    schema = scratch.schema(
        "create table parts (id integer, note varchar(5)) partition by list (id)",
        "create table part_1 partition of parts for values in (1)",
        "insert into parts select 1, g from generate_series(1, 300) g",
    )
    recipe = scratch.plan(schema, "alter table parts alter note type text")
    scratch.do(schema, recipe.contract)
    assert known(scratch, schema) == {"parts.id", "parts.note", "part_1.id", "part_1.note"}


def test_it_comes_right_after_the_transaction_of_its_table(scratch: Scratch) -> None:
    """What waits for old transactions comes later; and nothing that is new, or goes, is analyzed."""
    schema = scratch.schema(*ITEMS, "create index on items (note)", "create table old (id varchar(3))")
    recipe = scratch.plan(
        schema,
        "drop index items_note_idx; alter table items alter code type text, alter price type bigint;"
        " create table fresh (id integer, note text); create index on fresh (lower(note));"
        " alter table old alter id type text; drop table old",
    )
    analyzed = [each for each in (*before_contract(recipe), *recipe.contract) if _is_analysis(each)]
    assert [each.text for each in analyzed] == ["analyze items", "analyze items"]
    kinds = [each.kind for each in recipe.contract if each.table == "items"]
    assert kinds == [TRANSACTION, ANALYZE, "drop index"]


def _is_analysis(each: object) -> bool:
    return isinstance(each, Action) and each.kind == ANALYZE


def at(shop: Shop) -> tuple[str, str]:
    """The phase that a change is at, and what it does there."""
    with suppress(errors.NoChange):
        (here,) = change_status(shop.store).placements
        return here.phase or "", here.doing or ""
    return "", ""


def test_nobody_waits_for_who_waits_to_analyze(shop: Shop) -> None:
    """As the table's owner; it says whom it waits for."""
    items = "create table items (id integer primary key, number integer); insert into items values (1)"
    shop.fresh(SHOP, GOODS, GOODS_ROWS, items)
    shop.owner.execute(ALONE.replace("{}", "goods").encode())
    change = """create statistics goods_both (ndistinct) on name, note from goods;
        -- kos: fill items.number = id
        alter table items alter number set not null"""
    plan = plan_change(shop.store, change, schemas=(SHOP,))
    starting = Thread(target=start, args=(shop.store, plan), daemon=True)
    with shop.connect() as of_row, shop.connect() as of_table:
        of_row.autocommit = of_table.autocommit = False
        of_row.execute("select from items for update")
        starting.start()
        until(lambda: at(shop)[0] == "fill")
        of_table.execute("lock table goods in share update exclusive mode")
        of_row.rollback()
        until(lambda: at(shop)[1].startswith("analyze goods: "))
        shop.owner.execute("insert into goods (name, code, stamp) values ('name 0', 'a', 0)")
        of_table.rollback()
    starting.join()
    known = "select count(*) = 1 from pg_stats_ext where statistics_name = 'goods_both' and n_distinct is not null"
    assert shop.is_true(known)
    roll_back(shop.store)
    start(shop.store, plan_change(shop.store, change, schemas=(SHOP,)))
    finish(shop.store)
    assert shop.is_true(known)
    shop.clean = True
