"""Domains and enums: what a column of a domain is to be, and values that are there when the change is finished."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from change_kind import GOODS, GOODS_ROWS

from change_by_hand import Scratch, before_contract, scratch_database, there_and_back
from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, start
from kos.schema_change.model import Fill, Recipe
from kos.topology.embedded import Stack
from kos.topology.model import Topology

DOMAINS = (
    "create domain whole as integer",
    "create domain longer as varchar(10)",
    'create domain sorted as text collate "C"',
    "create domain moment as timestamptz",
    "create domain many as integer[]",
    "create domain small as integer check (value < 10)",
    "create domain smaller as small",
    "create domain present as integer not null",
    "create domain there as present",
)
ITEMS = (
    *DOMAINS,
    """create table items (id integer primary key, price integer not null, large bigint, code varchar(5), note text,
       size whole, few small, must present, list integer[])""",
    "insert into items select g, g, g, g, g, g, 1, g, array[g] from generate_series(1, 30) g",
    "create index on items (code)",
    "create index on items (note)",
    "create index on items (list)",
)
IN_PLACE = (("price", "whole"), ("code", "longer"), ("few", "small"), ("must", "present"))
CHECKED = ("small", "smaller", "present", "there")
MADE = (
    "create domain mine as integer check (value > 0);",
    "create domain mine as integer not null;",
    "create domain mine as small;",
    "create domain other as integer check (value > 0); create domain mine as other;",
)


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


def files(scratch: Scratch, schema: str) -> list[tuple[int]]:
    """What a table and its indexes are stored in."""
    return scratch.run(
        schema,
        "select pg_relation_filenode(c.oid) from pg_class c left join pg_index i on i.indexrelid = c.oid"
        " where 'items'::regclass in (c.oid, i.indrelid) order by 1",
    )


@pytest.mark.parametrize(("column", "domain"), IN_PLACE)
def test_a_domain_that_holds_the_values_touches_no_row(scratch: Scratch, column: str, domain: str) -> None:
    change = f"alter table items alter {column} type {domain}"
    there_and_back(scratch, ITEMS, change)
    schema = scratch.schema(*ITEMS)
    was, recipe = files(scratch, schema), scratch.plan(schema, change)
    assert before_contract(recipe) == ()
    scratch.do(schema, recipe.contract)
    assert files(scratch, schema) == was


@pytest.mark.parametrize(
    ("column", "new"),
    [
        ("large", "whole"),
        ("note", "sorted"),
        ("note", "moment using '2020-01-01'::moment"),
        ("list", "many"),
        ("size", "bigint"),
        ("few", "bigint"),
        ("must", "integer"),
        ("note", "small[] using array[1]"),
    ],
)
def test_another_domain_is_that_of_the_second_column(scratch: Scratch, column: str, new: str) -> None:
    back = "-- kos: back items.note = '1'\n" if "using" in new else ""
    change = f"{back}alter table items alter {column} type {new}"
    assert scratch.plan(scratch.schema(*ITEMS), change).fill
    schema = there_and_back(scratch, ITEMS, change)
    assert scratch.run(schema, f"select count({column}) from items") == [(30,)]


def test_a_domain_that_the_change_makes(scratch: Scratch) -> None:
    make = "create domain mine as bigint; alter table items alter price type mine, add column twice mine default 3"
    there_and_back(scratch, ITEMS, make)


@pytest.mark.parametrize("column", ["price", "large", "size"])
@pytest.mark.parametrize("domain", CHECKED)
def test_a_domain_with_constraints_is_refused(scratch: Scratch, column: str, domain: str) -> None:
    schema = scratch.schema(*ITEMS)
    was = files(scratch, schema)
    for change in (f"alter {column} type {domain}", f"add column more {domain}", f"add column more {domain} default 3"):
        with pytest.raises(errors.ChangeRefused, match="a domain with constraints") as refused:
            scratch.plan(schema, f"alter table items {change}")
        assert "the domain's own type" in refused.value.instead
    scratch.run(schema, f"alter table items add column more {domain} default 3")
    assert files(scratch, schema)[0] != was[0]  # so it would be


@pytest.mark.parametrize("make", MADE)
def test_one_with_constraints_that_the_change_makes_is_refused_too(scratch: Scratch, make: str) -> None:
    schema = scratch.schema(*ITEMS)
    for change in ("alter price type mine", "add column more mine"):
        with pytest.raises(errors.ChangeRefused, match="a domain with constraints"):
            scratch.plan(schema, f"{make} alter table items {change}")
    scratch.plan(schema, f"{make} alter table items add column more mine[]; create table fresh (more mine)")


def test_times_of_a_domain_differ_by_session_too(scratch: Scratch) -> None:
    """What new code has written is right, though another session makes another value of the same text."""

    def caught_up(recipe: Recipe) -> Fill:
        return next(each for each in recipe.tighten if isinstance(each, Fill))

    schema = scratch.schema(*ITEMS)
    for type_name in ("timestamptz", "moment"):
        recipe = scratch.plan(schema, f"alter table items alter note type {type_name} using note::{type_name}")
        assert '"note_new" is null and' in caught_up(recipe).needs


# values of enums

MOODS = (
    "create type mood as enum ('low')",
    "create table people (id integer primary key, mood mood, was mood default 'low', note text)",
    "insert into people select g, 'low', 'low', '' from generate_series(1, 5) g",
    "create policy all_of on people using (mood = 'low')",
)
ADD = "alter type mood add value 'so so'; alter type mood add value 'x'; "


@pytest.mark.parametrize(
    "use",
    [
        "alter table people alter mood set default 'x'",
        "alter table people alter mood set default 'so so'",
        "alter table people add column other mood default 'x'",
        "create index on people (id) where mood = 'x'",
        "alter table people add check (mood <> 'x')",
        "alter table people alter note type mood using case when note = '' then 'x'::mood else note::mood end",
        "-- kos: fill people.mood = 'x'\nalter table people alter mood set not null",
        "create policy few on people using (mood <> 'x')",
    ],
)
def test_a_new_value_is_not_used_before_it_is_there(scratch: Scratch, use: str) -> None:
    schema = scratch.schema(*MOODS)
    with pytest.raises(errors.ChangeRefused, match="is a value only when the change is finished") as refused:
        scratch.plan(schema, ADD + use)
    assert "a change of its own" in refused.value.instead
    with pytest.raises(errors.ChangeRefused, match="invalid input value for enum"):
        scratch.plan(schema, ADD + use.replace("'x'", "'y'").replace("'so so'", "'y'"))


@pytest.mark.parametrize(
    "use",
    [
        "alter table people alter was set default 'x'",
        "alter table people alter was set default 'so so'::mood",
        "alter policy all_of on people using (mood <> 'x')",
        "create policy few on people as restrictive using (mood <> 'x')",
        "alter table people alter note set default 'x'",
    ],
)
def test_what_comes_at_the_end_may_use_a_new_value(scratch: Scratch, use: str) -> None:
    """Also where something else of the table stands before."""
    change = f"alter table people alter was set statistics 50; {ADD}{use}"
    expected, schema = scratch.schema(*MOODS), scratch.schema(*MOODS)
    for each in change.split("; "):
        scratch.run(expected, each)
    recipe = scratch.plan(schema, change)
    scratch.do(schema, (*before_contract(recipe), *recipe.contract))
    assert scratch.dump(schema) == scratch.dump(expected)


def test_a_type_that_the_change_makes_has_all_its_values_at_once(scratch: Scratch) -> None:
    schema = scratch.schema(*MOODS)
    make = "create type shade as enum ('a'); alter type shade add value 'b'; "
    recipe = scratch.plan(schema, make + "alter table people add column shade shade default 'b'")
    scratch.do(schema, recipe.expand)
    assert scratch.run(schema, "select count(*) from people where shade = 'b'") == [(5,)]
    scratch.undo(schema, recipe.expand)
    assert scratch.run(schema, "select to_regtype('shade')") == [(None,)]


def test_a_default_of_a_new_value_from_start_to_finish(shop: Shop) -> None:
    shop.fresh(SHOP, "create type sizes as enum ('small')", GOODS, GOODS_ROWS)
    shop.owner.execute("alter table goods add column kind sizes default 'small'")
    change = "alter table goods drop column note; alter type sizes add value 'large' after 'small';"
    change += "alter table goods alter kind set default 'large'"
    start(shop.store, plan_change(shop.store, change, schemas=(SHOP,)))
    finish(shop.store)
    shop.owner.execute("insert into goods (name, code, stamp) values ('a', 'a', 1)")
    assert shop.is_true("select count(*) = 1 from goods where kind = 'large'")
    shop.clean = True


def test_another_expression_of_a_column_that_stores_nothing(scratch: Scratch) -> None:
    before = (
        "create table sums (id integer primary key, a integer, b integer generated always as (a) virtual)",
        "insert into sums values (1, 2)",
    )
    change = "alter table sums alter b set expression as (a * 2)"
    schema = there_and_back(scratch, before, change)
    assert scratch.run(schema, "select b from sums") == [(4,)]
    scratch.run(schema, "alter table sums alter b set not null")
    with pytest.raises(errors.ChangeRefused, match="PostgreSQL reads all rows"):
        scratch.plan(schema, change)
    scratch.run(schema, "alter table sums alter b drop not null, add constraint few check (a < 9)")
    with pytest.raises(errors.ChangeRefused, match="of a table with a CHECK"):
        scratch.plan(schema, change)
    scratch.run(schema, "alter table sums add c integer generated always as (a) stored")
    with pytest.raises(errors.ChangeRefused, match="rewrites the table"):
        scratch.plan(schema, "alter table sums alter c set expression as (a * 2)")
