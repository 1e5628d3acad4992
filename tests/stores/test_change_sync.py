"""Two columns that are kept equal: whoever writes, and however, nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from change_by_hand import Scratch, scratch_database
from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import finish, plan_change, start
from kos.schema_change.model import Recipe
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import spread

BIG = (
    "create table big (id integer primary key, n integer not null)",
    "insert into big select g, g from generate_series(1, 100) g",
)
RETYPE = "alter table big alter n type bigint"
RENAME = "alter table big rename n to m"
UNSEEN = "set local session_replication_role = replica"


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


def started(scratch: Scratch, change: str, *before: str) -> tuple[str, Recipe]:
    """A schema in which a change was started."""
    schema = scratch.schema(*(before or BIG))
    recipe = scratch.plan(schema, change)
    scratch.do(schema, (*recipe.expand, *recipe.fill, *recipe.build))
    return schema, recipe


def finished(scratch: Scratch, schema: str, recipe: Recipe) -> None:
    """To the end."""
    scratch.do(schema, (*recipe.tighten, *recipe.contract))


def test_a_session_that_skips_triggers_loses_nothing(scratch: Scratch) -> None:
    schema, recipe = started(scratch, RETYPE)
    scratch.run(schema, UNSEEN, "update big set n = 777 where id <= 2", "insert into big values (101, 101)")
    assert scratch.run(schema, "select n_new from big where id in (1, 101) order by id") == [(777,), (101,)]
    finished(scratch, schema, recipe)
    assert scratch.run(schema, "select n from big where id in (1, 2, 101) order by id") == [(777,), (777,), (101,)]


def test_new_code_that_skips_triggers_loses_nothing(scratch: Scratch) -> None:
    schema, recipe = started(scratch, RENAME)
    scratch.run(schema, UNSEEN, "update big set m = 777 where id = 1", "insert into big (id, m) values (101, 101)")
    finished(scratch, schema, recipe)
    assert scratch.run(schema, "select m from big where id in (1, 101) order by id") == [(777,), (101,)]


@pytest.mark.parametrize("change", [RETYPE, RENAME])
@pytest.mark.parametrize("again", ["select", "alter table big enable trigger user"])
def test_triggers_that_were_off_are_told_before_anything_is_lost(scratch: Scratch, change: str, again: str) -> None:
    schema, recipe = started(scratch, change)
    scratch.run(schema, "alter table big disable trigger user", "update big set n = 777 where id = 1", again)
    with pytest.raises(psycopg.errors.RaiseException, match="were off") as told:
        scratch.do(schema, recipe.tighten)
    _, _, mend = str(told.value.diag.message_detail).partition("then: ")
    scratch.run(schema, mend, "update big set n = n + 1 where id = 1")
    finished(scratch, schema, recipe)
    assert scratch.run(schema, f"select {'n' if change == RETYPE else 'm'} from big where id = 1") == [(778,)]


@pytest.mark.parametrize("change", [RETYPE, RENAME])
def test_triggers_that_are_off_at_the_last_moment(scratch: Scratch, change: str) -> None:
    schema, recipe = started(scratch, change)
    scratch.do(schema, recipe.tighten)
    scratch.run(schema, "alter table big disable trigger user", "update big set n = 777 where id = 1")
    with pytest.raises(psycopg.errors.RaiseException, match="were off"):
        scratch.do(schema, recipe.contract)
    assert scratch.run(schema, "select n from big where id = 1") == [(777,)]


@pytest.mark.parametrize(
    ("change", "column", "into"),
    [(RETYPE, "n", "big"), (RENAME, "m", "big"), (RETYPE, "n", "big_1"), (RENAME, "m", "big_1")],
)
def test_what_comes_to_hang_on_a_column_at_the_last_moment_does_not_go_with_it(
    scratch: Scratch, change: str, column: str, into: str
) -> None:
    parts = (
        "create table big (id integer, n integer not null) partition by range (id)",
        "create table big_1 partition of big for values from (0) to (1000)",
    )
    schema, recipe = started(scratch, change, *(BIG if into == "big" else parts))
    scratch.do(schema, recipe.tighten)
    scratch.run(schema, f"create index late on {into} ({column})")
    with pytest.raises(psycopg.errors.RaiseException, match=rf"big.{column} would take along .*late"):
        scratch.do(schema, recipe.contract)
    scratch.run(schema, "drop index late")
    scratch.do(schema, recipe.contract)
    assert scratch.run(schema, f"select {column} from big limit 0") == []


def test_rows_that_no_trigger_has_seen_are_caught_up_with(scratch: Scratch) -> None:
    change = "-- kos: back big.n = n * 100\nalter table big alter n type integer using n / 100"
    schema, recipe = started(scratch, change)
    scratch.run(schema, "update big set n = 5000 where id = 2", "update big set n_new = 7 where id = 3")
    off, on = (f"alter table big {each} trigger {{}}" for each in ("disable", "enable always"))
    names = [f'"{name}"' for (name,) in _triggers(scratch, schema)]
    scratch.run(schema, *map(off.format, names), "update big set n = 700 where id = 1", *map(on.format, names))
    finished(scratch, schema, recipe)
    assert scratch.run(schema, "select n from big where id <= 4 order by id") == [(7,), (50,), (7,), (0,)]


@pytest.mark.parametrize(
    ("of", "change", "writer", "value", "other"),
    [
        ("timestamp", "timestamptz", "timezone = 'Asia/Tokyo'", "2026-01-01 09:00", "timezone = 'Europe/Berlin'"),
        ("timestamptz", "timestamp", "timezone = 'Asia/Tokyo'", "2026-01-01 00:00+00", "timezone = 'Europe/Berlin'"),
        ("date", "text", "datestyle = 'German'", "31.12.2026", "datestyle = 'ISO, MDY'"),
        ("moment", "text", "datestyle = 'German'", "31.12.2026", "datestyle = 'ISO, MDY'"),
        ("text", "date using seen::date", "datestyle = 'German'", "31.12.2026", "datestyle = 'ISO, MDY'"),
    ],
)
def test_what_may_be_right_in_another_session_is_left(
    scratch: Scratch, of: str, change: str, writer: str, value: str, other: str
) -> None:
    """Also by an update of something else, and by the fill."""
    table = f"create table t (id integer primary key, seen {of}, other integer)"
    schema = scratch.schema("create domain moment as date", table)
    recipe = scratch.plan(schema, f"alter table t alter seen type {change}")
    scratch.do(schema, recipe.expand)
    scratch.run(
        schema,
        f"set local {writer}",
        f"insert into t (id, seen) values (1, '{value}'), (2, null)",
        "update t set seen_new = (select seen_new from t where id = 1) where id = 2",
    )
    pairs = "select seen, seen_new from t order by id"
    written = scratch.run(schema, pairs)
    assert written[0] == written[1]
    scratch.do(schema, recipe.fill)
    scratch.run(schema, f"set local {other}", "update t set other = 1")
    assert scratch.run(schema, pairs) == written
    finished(scratch, schema, recipe)
    assert scratch.run(schema, "select seen from t") == [(written[0][1],)] * 2


def test_a_trigger_that_writes_the_column_does_so_in_any_session(scratch: Scratch) -> None:
    """What another session has made of it need not be readable here."""
    later = (
        "create function later() returns trigger language plpgsql as 'begin new.day := new.day + 1; return new; end'"
    )
    trigger = "create trigger later before update on t for each row execute function later()"
    table = "create table t (id integer primary key, day date)"
    schema, _ = started(scratch, "alter table t alter day type text", table, later, trigger)
    scratch.run(schema, "set local datestyle = 'German'", "insert into t values (1, '30.12.2026')")
    scratch.run(schema, "set local datestyle = 'ISO, MDY'", "update t set id = 2")
    assert scratch.run(schema, "select day_new from t") == [("2026-12-31",)]


@pytest.mark.parametrize(
    ("change", "new"),
    [
        (RENAME, "m"),
        (RETYPE, "n_new"),
        ("alter table big alter n type text", "n_new"),
        ("-- kos: back big.n = coalesce(n, -1)\nalter table big alter n type integer using n % 100", "n_new"),
    ],
)
@pytest.mark.parametrize("default", ["", "alter table big alter n set default 7"])
def test_an_update_of_something_else_fills_what_no_fill_has_reached(
    scratch: Scratch, change: str, new: str, default: str
) -> None:
    schema = scratch.schema(*BIG, *filter(None, [default]))
    recipe = scratch.plan(schema, change)
    scratch.do(schema, recipe.expand)
    scratch.run(schema, "update big set id = -id where id = 4")
    assert scratch.run(schema, f"select {new}::integer from big where id = -4") == [(4,)]


def test_partitions_too(scratch: Scratch) -> None:
    before = (
        "create table big (id integer, n integer) partition by range (id)",
        "create table big_1 partition of big for values from (0) to (1000)",
    )
    schema, recipe = started(scratch, RENAME, *before)
    scratch.run(schema, "create table big_2 partition of big for values from (1000) to (2000)")
    scratch.run(schema, UNSEEN, "insert into big (id, m) values (1, 1), (1001, 2)")
    assert scratch.run(schema, "select n from big order by id") == [(1,), (2,)]
    scratch.run(schema, "alter table big_2 disable trigger all")
    with pytest.raises(psycopg.errors.RaiseException, match="triggers of big_2 were off"):
        scratch.do(schema, recipe.tighten)


def _triggers(scratch: Scratch, schema: str) -> list[tuple[str]]:
    return scratch.run(schema, "select tgname from pg_trigger where tgrelid = 'big'::regclass and tgname ~ '^[!~]'")


FAMILY = (*BIG, "create table small (extra text) inherits (big)", "insert into small values (1001, 1)")


@pytest.mark.parametrize("table", ["big", "small"])
@pytest.mark.parametrize(
    "change",
    [
        "alter table {t} alter n type bigint",
        "alter table {t} rename n to m",
        "-- kos: fill {t}.o = n\nalter table {t} add o integer not null",
        "alter table {t} add check (n > 0)",
        "alter table {t} alter id set not null, alter n drop not null, add o integer, alter o set not null",
        "alter table {t} add o serial",
    ],
)
def test_children_by_inheritance_are_refused(scratch: Scratch, table: str, change: str) -> None:
    with pytest.raises(errors.ChangeRefused, match="INHERITS"):
        scratch.plan(scratch.schema(*FAMILY), change.format(t=table))


@pytest.mark.parametrize(
    "change",
    [
        "alter table big add o integer default 7",
        "alter table big alter n set default 3; create index on big (n); comment on table big is 'big'",
        "alter table small drop extra; create unique index on small (id)",
    ],
)
def test_what_only_the_catalog_has_of_such_tables(scratch: Scratch, change: str) -> None:
    schema, recipe = started(scratch, change, *FAMILY)
    finished(scratch, schema, recipe)
    assert scratch.run(schema, "select count(*) from big") == [(101,)]


LOOKED_UP = (
    "create table customers (id integer primary key, name text)",
    "insert into customers values (1, 'ada'), (2, 'bob')",
    "create table orders (id integer primary key, customer_id integer, n integer not null default 1)",
    "insert into orders values (1, 1)",
    "create function half(n integer) returns integer language sql as 'select n / 2'",
    "revoke all on function half from public",
)
LOOKING_UP = (
    "-- kos: fill orders.name = (select name from customers c where c.id = customer_id)\n"
    "alter table orders add name text",
    "-- kos: fill orders.name = half(customer_id * 2)::text\nalter table orders add name text",
    "-- kos: back orders.n = n::integer\nalter table orders rename n to name;"
    " alter table orders alter name type text using half(name)::text",
)


@pytest.mark.parametrize("change", LOOKING_UP)
def test_who_may_write_the_row_need_not_have_the_rights_of_its_expression(scratch: Scratch, change: str) -> None:
    schema = scratch.schema(*LOOKED_UP)
    writer = f"writer_of_{schema}"
    scratch.run(
        schema,
        f"create role {writer}; grant usage on schema {schema} to {writer};"
        f" grant select, insert, update on orders to {writer}",
    )
    recipe = scratch.plan(schema, change)
    scratch.do(schema, (*recipe.expand, *recipe.fill, *recipe.build))
    scratch.run(
        schema,
        f"set local role {writer}",
        "insert into orders values (2, 2, 4)",
        "update orders set customer_id = 2, n = 3 where id = 1",
    )
    finished(scratch, schema, recipe)
    scratch.run(schema, f"drop owned by {writer}; drop role {writer}")
    column, wanted = {0: ("name", "bob"), 1: ("name", "2"), 2: ("name", "2")}[LOOKING_UP.index(change)]
    assert scratch.run(schema, f"select {column} from orders where id = 2") == [(wanted,)]


@pytest.mark.parametrize("change", LOOKING_UP)
def test_nobody_else_makes_triggers_of_a_function_that_has_its_owners_rights(scratch: Scratch, change: str) -> None:
    """He would have it read for him what he may not read."""
    schema = scratch.schema(*LOOKED_UP)
    thief = f"thief_of_{schema}"
    scratch.run(
        schema,
        f"create role {thief}; grant usage on schema {schema} to {thief}",
        f"alter default privileges in schema {schema} grant execute on functions to {thief}",
        f"do $$ begin execute format('grant temporary on database %I to {thief}', current_database()); end $$",
    )
    scratch.do(schema, scratch.plan(schema, change).expand)
    asked = "select p.oid::regproc from pg_proc p where pronamespace = %s::regnamespace and prosecdef"
    ((function,),) = scratch.connection.execute(asked, (schema,)).fetchall()
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for function"):
        scratch.run(
            schema,
            f"set local role {thief}",
            "create temp table bait (customer_id integer, n integer, name text)",
            f"create trigger bite before insert on bait for each row execute function {function}('last')",
        )
    scratch.run(schema, f"drop owned by {thief}; drop role {thief}")


def test_no_function_has_its_owners_rights_where_everybody_may_put_what_it_calls(scratch: Scratch) -> None:
    schema = scratch.schema(*LOOKED_UP)
    scratch.run(schema, f"grant create on schema {schema} to public")
    with pytest.raises(errors.ChangeRefused, match="everybody may create in schema") as refused:
        scratch.plan(schema, LOOKING_UP[0])
    scratch.run(schema, refused.value.instead)
    scratch.plan(schema, LOOKING_UP[0])


def test_forced_row_security_is_that_of_who_writes(scratch: Scratch) -> None:
    force = "alter table customers enable row level security, force row level security"
    schema = scratch.schema(*LOOKED_UP, force)
    recipe = scratch.plan(schema, LOOKING_UP[0])
    assert not any("security definer" in statement for each in recipe.expand for statement in each.do)


PRICES = (
    "create table orders (id integer primary key, price text not null, rate integer not null default 1)",
    "insert into orders select g, g, 1 from generate_series(1, 3) g",
)
FAILING = (
    "-- kos: fill orders.total = 100 / rate\nalter table orders add total integer",
    "-- kos: fill orders.total = 100 / rate\nalter table orders add total integer not null",
    "-- kos: fill orders.total = (select n from generate_series(1, 2 - sign(rate)::integer) n)\n"
    "alter table orders add total integer",
    "alter table orders rename price to total; alter table orders alter total type integer using 100 / total::integer",
    "alter table orders alter price type numeric(3, 1) using price::numeric",
)


@pytest.mark.parametrize("change", spread(FAILING, 2))
def test_a_row_that_an_expression_fails_for_is_written_all_the_same_and_named_at_finish(
    shop: Shop, change: str
) -> None:
    shop.fresh(SHOP, *PRICES)
    start(shop.store, plan_change(shop.store, change, schemas=(SHOP,)))
    shop.owner.execute("insert into orders values (7, '0', 0), (8, 'nothing', 1)")
    shop.owner.execute("update orders set price = '1000', rate = 0 where id = 2")
    shop.owner.execute("update orders set rate = rate where id = 7")
    with pytest.raises(errors.FillFailed, match=r"orders: \d row.* the first is id=\d"):
        finish(shop.store)
    shop.owner.execute("update orders set price = '4', rate = 1 where id in (2, 7, 8)")
    finish(shop.store)
    column = "price" if "numeric" in change else "total"
    assert shop.is_true(f"select count({column}) = 5 from orders")
    shop.clean = True


def test_the_fill_does_not_change_what_old_code_has_written(scratch: Scratch) -> None:
    before = ("create table t (a text)", "insert into t values ('007')")
    schema, recipe = started(scratch, "alter table t alter a type integer using a::integer", *before)
    assert scratch.run(schema, "select a, a_new from t") == [("007", 7)]
    scratch.run(schema, "update t set a = '08'")
    assert scratch.run(schema, "select a, a_new from t") == [("08", 8)]
    scratch.run(schema, "update t set a_new = 9")
    assert scratch.run(schema, "select a, a_new from t") == [("9", 9)]
    scratch.run(schema, "update t set a = 'x'")
    assert scratch.run(schema, "select a, a_new from t") == [("x", None)]
    scratch.run(schema, "update t set a_new = 10")
    finished(scratch, schema, recipe)
    assert scratch.run(schema, "select a from t") == [(10,)]
