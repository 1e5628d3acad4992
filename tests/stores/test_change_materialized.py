"""Another materialized view in place of one, which may read a column that changes."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from change_by_hand import Scratch, before_contract, scratch_database, there_and_back
from kos import errors
from kos.schema_change.model import ANALYZE, TRANSACTION
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import spread

ITEMS = (
    "create table kinds (kind integer primary key, price text)",
    "create table items (id integer primary key, kind integer, price integer, spare integer)",
    "insert into items select n, n % 3, n, n from generate_series(1, 30) n",
    "create materialized view totals as select kind, sum(price) as price from items group by kind",
    "create unique index totals_kind on totals (kind)",
    "comment on materialized view totals is 'all'",
    "grant select on totals to public",
    "create function once(integer) returns integer language sql as 'select $1'",
)
DROP, RETYPE = "drop materialized view totals;", "alter table items alter price type numeric;"
RENAME = "alter table items rename price to cost;"
VIEW = "create materialized view totals"
BELOW = (
    "create unique index totals_kind on totals (kind); create index on totals (price); "
    "comment on materialized view totals is 'anew'; comment on column totals.kind is 'k'; "
    "comment on index totals_kind is 'i'; grant select on totals to public"
)
OF_TOTALS = (
    f"{DROP} {VIEW} as select kind, max(price) as price from items group by kind; {BELOW}",
    f"{DROP} {VIEW} as select kind, max(price) as price from items group by kind with no data",
    f"{DROP} {RETYPE} {VIEW} with (fillfactor = 50) as select kind, max(price) as price from items group by kind;"
    f" {BELOW}",
    f"{DROP} {RETYPE} {VIEW} (kind, price) as select kind, sum(price) from items group by kind; {BELOW}",
    f"{DROP} {RETYPE} {VIEW} as select price::text, price + 1 as more, abs(price), kind from items"
    " where price > 3 order by price; create index on totals (price) where price <> '5'",
    f"{DROP} {RETYPE} {VIEW} as select i.price, k.price as said from items i left join kinds k"
    " on k.kind = i.kind and i.price > 0 and k.price > '' where exists (select from kinds where kinds.price > '0')",
    f"{DROP} {RETYPE} {VIEW} as with few as (select items.price from items) select few.price from few"
    " union all select s.price from (select items.price from items) s",
    f"{DROP} {RETYPE} {VIEW} as select items.price, count(*) over (partition by items.price) from items",
    f"{DROP} {RETYPE} {VIEW} as select distinct on (price, kind) price, -price as kind from items order by price",
    f"{DROP} {RENAME} {VIEW} as select kind, cost from items where cost > 1",
    f"{DROP} {RENAME} alter table items alter cost type bigint; {VIEW} as select i.cost from items i;",
    f"{DROP} {RETYPE} {RENAME.replace('price', 'spare')} {VIEW} as select price, cost from items;",
    f"{DROP} alter table items drop column price",
    f"{DROP} {RETYPE}",
    f"{DROP} {RETYPE} {VIEW} as select id from items",
)


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.mark.parametrize("change", spread(OF_TOTALS, 3))
def test_in_place_of_another(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, ITEMS, change)


def test_there_is_always_one_that_can_be_refreshed(scratch: Scratch) -> None:
    change = f"{DROP} {RETYPE} {VIEW} as select kind, sum(price) as price from items group by kind; {BELOW}"
    schema = scratch.schema(*ITEMS)
    recipe, refresh = scratch.plan(schema, change), "refresh materialized view concurrently totals"
    shown = "select kind, price::integer from totals order by kind"
    for each in before_contract(recipe):
        scratch.do(schema, (each,))
        scratch.run(schema, refresh)
    assert [each.kind for each in recipe.contract] == [TRANSACTION, ANALYZE]
    built = scratch.run(schema, f"select pg_relation_filenode('{made_of(scratch, schema)}')")
    scratch.do(schema, recipe.contract)
    assert scratch.run(schema, "select pg_relation_filenode('totals')") == built
    assert scratch.run(schema, shown) == [(0, 165), (1, 145), (2, 155)]
    scratch.run(schema, "update items set price = 1.5 where id = 1", refresh)
    assert scratch.run(schema, "select price from totals where kind = 1") == [(145.5,)]


def made_of(scratch: Scratch, schema: str) -> str:
    """The materialized view that is made beside the other."""
    asked = "select relname from pg_class where relkind = 'm' and relname <> 'totals'"
    ((name,),) = scratch.run(schema, f"{asked} and relnamespace = '{schema}'::regnamespace")
    return str(name)


def test_what_reads_a_column_that_goes_is_seen_before_the_end(scratch: Scratch) -> None:
    """Where the reading of a query were wrong, the end would fail, and could not be taken back."""
    schema = scratch.schema(*ITEMS)
    recipe = scratch.plan(schema, f"{DROP} {RETYPE} {VIEW} as select kind, price from items")
    *tighten, last = before_contract(recipe)
    scratch.do(schema, tighten)
    view, *checks = last.do  # type: ignore[union-attr]
    with pytest.raises(psycopg.errors.InvalidObjectDefinition, match=r"it reads items.price"):
        scratch.run(schema, view.replace("price_new", "price"), *checks)


@pytest.mark.long
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (RETYPE, "materialized view totals reads it"),
        (f"{DROP} {VIEW} as select price from items; {RETYPE}", "materialized view totals reads it"),
        (f"{DROP} {RETYPE} {VIEW} as select * from items", "write them out"),
        (f"{DROP} {RETYPE} {VIEW} as select i.* from items i", "write them out"),
        (f"{DROP} {RETYPE} {VIEW} as select items from items", "whole rows of items"),
        (f"{DROP} {RETYPE} {VIEW} as select items.id from items, kinds where price is null", "whose price is"),
        (f"{DROP} {RETYPE} {VIEW} as select price from (select items.price from items) s", "whose price is"),
        (f"{DROP} {RETYPE} {VIEW} as select i.id from items i join kinds using (price)", "USING"),
        (f"{DROP} {RETYPE} {VIEW} as select i.id from items i natural join kinds", "NATURAL"),
        (f"{DROP} {RETYPE} {VIEW} as select price from items i (a, b, c, d)", "other names"),
        (f"{DROP} {RETYPE} {VIEW} as select price from items union select 1 order by price", "sorts a UNION"),
        (f"{DROP} {RETYPE} {VIEW} as with items as (select 1) select items.price from items", "a WITH in it"),
        (f"{DROP} {VIEW} as select 1 as a; {DROP}", "made it above"),
        (f"{DROP} {VIEW} as select 1 as a; {VIEW} as select 2 as a", "taken"),
        (f"{VIEW} as select 1 as a", "taken"),
        (f"{DROP} {VIEW} as select 1 as a; alter materialized view totals set (fillfactor = 50)", "made it above"),
        (f"{DROP} {VIEW} as select 1 as a; create view one as select a from totals", "makes anew"),
        (f"{DROP} {VIEW} as select 1 as a; create materialized view one as select a from totals", "replaces"),
        ("drop materialized view nothing", "no such materialized view"),
    ],
)
def test_what_is_refused(scratch: Scratch, change: str, reason: str) -> None:
    with pytest.raises(errors.ChangeRefused, match=reason) as refused:
        scratch.plan(scratch.schema(*ITEMS), change)
    assert refused.value.instead


def test_one_that_a_view_reads_is_not_dropped(scratch: Scratch) -> None:
    schema = scratch.schema(*ITEMS, "create view shown as select kind from totals")
    with pytest.raises(errors.ChangeRefused, match="shown reads it"):
        scratch.plan(schema, DROP)
    there_and_back(
        scratch,
        (*ITEMS, "create view shown as select kind from totals"),
        f"drop view shown; {DROP} {VIEW} as select 1 as kind; create view shown as select kind from totals",
    )
