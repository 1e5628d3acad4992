"""One change in many schemas: those that fail, that come, that go; what is open, and who is let in."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from fix_exports import until
from fix_product import OWNER, PASSWORD, make_roles
from kos import errors
from kos.schema_change import Limits, act, change_status, finish, leave_out, plan_change, roll_back, start, throttle
from kos.schema_change.model import Action
from kos.schema_change.site import Site
from kos.tenancy import Store
from kos.topology import postgres
from kos.topology.model import Login, fixed

SCHEMAS = ("till_1", "till_2", "till_3")
TABLE = "create table {schema}.sales (id bigint primary key, tenant_id bigint not null, code text)"
ROWS = "insert into {schema}.sales select g, 1, 'code ' || g from generate_series(1, 50) g"
ADD = "alter table sales add column total integer not null default 0; create index sales_code on sales (code);"
UNIQUE = "alter table sales add constraint one_code unique (code);"


@contextmanager
def owner(store: Store) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    with postgres.connect(store.topology.control.primary, Login(OWNER, fixed(PASSWORD))) as connection:
        yield connection


def make_till(store: Store, schema: str, *statements: str) -> None:
    with owner(store) as connection:
        for text in ("create schema {schema}", *(statements or (TABLE, ROWS))):
            connection.execute(SQL(text).format(schema=Identifier(schema)))


@pytest.fixture
def tills(store: Store) -> Store:
    """Three schemas of one product, each with its table of sales."""
    control = store.topology.control
    assert control.installer is not None
    with postgres.connect(control.primary, control.installer) as administrator:
        make_roles(administrator)
        grant = SQL("grant create on database {} to {}")
        administrator.execute(grant.format(Identifier(control.primary.database), Identifier(OWNER)))
    for schema in SCHEMAS:
        make_till(store, schema)
    return store


def columns(store: Store, schema: str) -> list[str]:
    with owner(store) as connection:
        rows = connection.execute(
            "select attname from pg_attribute where attrelid = to_regclass(%s) and attnum > 0 and not attisdropped"
            " order by attnum",
            (f"{schema}.sales",),
        )
        return [str(name) for (name,) in rows]


def constraints(store: Store, schema: str) -> list[str]:
    with owner(store) as connection:
        rows = connection.execute(
            "select conname from pg_constraint where conrelid = to_regclass(%s) and contype = 'u'",
            (f"{schema}.sales",),
        )
        return [str(name) for (name,) in rows]


def test_every_schema_that_a_pattern_finds_is_changed_and_no_other(tills: Store) -> None:
    make_till(tills, "other")
    plan = plan_change(tills, ADD, schemas=("till_*",))
    assert [each.schema for each in plan.placements] == list(SCHEMAS)
    assert len(plan.recipes) == 1
    start(tills, plan)
    finish(tills)
    assert all(columns(tills, schema)[-1] == "total" for schema in SCHEMAS)
    assert columns(tills, "other") == ["id", "tenant_id", "code"]


def test_nothing_of_that_name_is_an_error(tills: Store) -> None:
    with pytest.raises(errors.NoSchema):
        plan_change(tills, ADD, schemas=("shop_*",))


def test_a_schema_that_fails_stops_no_other_and_none_has_to_be_done_twice(tills: Store) -> None:
    with owner(tills) as connection:
        connection.execute("update till_2.sales set code = 'the same' where id < 3")
    start(tills, plan_change(tills, UNIQUE, name="one-code", schemas=("till_*",)))
    with pytest.raises(errors.ChangeIncomplete) as caught:
        finish(tills)
    assert (caught.value.failed, caught.value.total) == (1, 3)
    assert "the same" in caught.value.reason
    status = {each.placement.rpartition("/")[2]: each for each in change_status(tills).placements}
    assert [status[schema].state for schema in SCHEMAS] == ["done", "failed", "done"]
    assert "the same" in (status["till_2"].error or "")
    with owner(tills) as connection:
        connection.execute("update till_2.sales set code = 'another' where id = 1")
    finish(tills)
    assert [constraints(tills, schema) for schema in SCHEMAS] == [["one_code"]] * 3


def test_what_failed_can_also_be_taken_back(tills: Store) -> None:
    with owner(tills) as connection:
        connection.execute("update till_2.sales set code = 'the same' where id < 3")
    start(tills, plan_change(tills, UNIQUE, schemas=("till_*",)))
    with pytest.raises(errors.ChangeIncomplete):
        finish(tills)
    roll_back(tills)
    assert [constraints(tills, schema) for schema in SCHEMAS] == [[]] * 3
    with owner(tills) as connection:
        assert connection.execute("select count(*) from pg_indexes where indexname = 'one_code'").fetchone() == (0,)


def test_one_that_cannot_be_changed_is_left_out_and_changed_later(tills: Store) -> None:
    with owner(tills) as connection:
        connection.execute("update till_2.sales set code = 'the same' where id < 3")
    start(tills, plan_change(tills, UNIQUE, name="one-code", schemas=("till_*",)))
    with pytest.raises(errors.ChangeIncomplete):
        finish(tills)
    assert leave_out(tills, "till_2").schema == "till_2"
    assert [each.state for each in change_status(tills).placements] == ["done", "left out", "done"]
    finish(tills)
    assert [constraints(tills, schema) for schema in SCHEMAS] == [["one_code"], [], ["one_code"]]
    with owner(tills) as connection:
        assert connection.execute("select count(*) from pg_indexes where indexname = 'one_code'").fetchone() == (2,)
        connection.execute("update till_2.sales set code = 'another' where id = 1")
    start(tills, plan_change(tills, UNIQUE, name="one-code", schemas=("till_2",)))
    finish(tills)
    assert constraints(tills, "till_2") == ["one_code"]


@pytest.mark.long
def test_one_that_cannot_be_filled_is_left_out_as_it_was(tills: Store) -> None:
    change = "-- kos: fill sales.number = code::integer\nalter table sales add column number integer not null;"
    with owner(tills) as connection:
        for schema in ("till_1", "till_3"):
            connection.execute(SQL("update {}.sales set code = id").format(Identifier(schema)))
    plan = plan_change(tills, change, name="numbers", schemas=("till_*",))
    with pytest.raises(errors.ChangeIncomplete):
        start(tills, plan)
    leave_out(tills, "till_2")
    start(tills, plan)
    status = {each.placement.rpartition("/")[2]: each.state for each in change_status(tills).placements}
    assert status == {"till_1": "done", "till_2": "left out", "till_3": "done"}
    with tills.operator() as connection:
        connection.execute("select kos.require_change('numbers', 'till_1')")
        with pytest.raises(psycopg.DatabaseError) as caught:
            connection.execute("select kos.require_change('numbers', 'till_2')")
        assert caught.value.sqlstate == "KS012"
    finish(tills)
    assert [columns(tills, schema)[3:] for schema in SCHEMAS] == [["number"], [], ["number"]]
    with owner(tills) as connection:
        assert connection.execute(
            "select count(*) from pg_proc p join pg_namespace n on n.oid = p.pronamespace where nspname = 'till_2'"
        ).fetchone() == (0,)


def test_what_is_left_out_is_taken_back_with_the_others_as_well(tills: Store) -> None:
    start(tills, plan_change(tills, ADD, name="totals", schemas=("till_*",)))
    leave_out(tills, "till_1")
    roll_back(tills)
    assert [columns(tills, schema) for schema in SCHEMAS] == [["id", "tenant_id", "code"]] * 3


def test_a_kill_while_what_is_left_out_is_taken_back_is_gone_on_from(
    tills: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(tills, plan_change(tills, ADD, name="totals", schemas=("till_*",), parallel=1))
    leave_out(tills, "till_2")
    undo = act.undo
    calls = []

    def stop_at_the_second(site: Site, action: Action) -> None:
        calls.append(action)
        if len(calls) == 2:
            raise Stop
        undo(site, action)

    monkeypatch.setattr(act, "undo", stop_at_the_second)
    with pytest.raises(Stop):
        finish(tills)
    monkeypatch.undo()
    finish(tills)
    assert [len(columns(tills, schema)) for schema in SCHEMAS] == [4, 3, 4]


@contextmanager
def dropping_in_the_second(tills: Store) -> Iterator[None]:
    """`finish` is at work, has dropped a column in the first, waits in the second, and has yet to come to the third."""
    change = "alter table sales drop column code; alter table sales add column total integer;"
    start(tills, plan_change(tills, change, name="totals", schemas=("till_*",), parallel=1))
    with owner(tills) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("begin; lock table till_2.sales in access share mode")
        finishing = pool.submit(finish, tills)
        until(lambda: [each.phase for each in change_status(tills).placements][:2] == ["contract", "contract"])
        yield
        connection.execute("rollback")
        finishing.result()


def test_one_that_finish_has_yet_to_come_to_is_left_out_with_all_that_it_has(tills: Store) -> None:
    with dropping_in_the_second(tills):
        leave_out(tills, "till_3")
    assert [columns(tills, schema) for schema in SCHEMAS] == [
        ["id", "tenant_id", "total"],
        ["id", "tenant_id", "total"],
        ["id", "tenant_id", "code"],
    ]


def test_one_where_something_is_being_dropped_is_not_left_out(tills: Store) -> None:
    with dropping_in_the_second(tills), pytest.raises(errors.PlacementDropping):
        leave_out(tills, "till_2")
    assert [columns(tills, schema)[2:] for schema in SCHEMAS] == [["total"]] * 3


def test_what_is_no_placement_cannot_be_left_out(tills: Store) -> None:
    with pytest.raises(errors.NoChange):
        leave_out(tills, "till_1")
    start(tills, plan_change(tills, ADD, schemas=("till_*",)))
    with pytest.raises(errors.NoPlacement, match="no placement"):
        leave_out(tills, "till_9")
    with pytest.raises(errors.NoPlacement):
        leave_out(tills, "till_1", database="another")


def test_what_is_left_out_is_refused_at_once_and_keeps_nobody_waiting(tills: Store) -> None:
    start(tills, plan_change(tills, ADD, name="totals", schemas=("till_*",)))
    leave_out(tills, "till_2")
    with tills.operator() as connection, pytest.raises(psycopg.DatabaseError, match="not there"):
        connection.execute("select kos.require_change('totals', 'till_2')")
    with owner(tills) as connection, ThreadPoolExecutor(1) as pool:
        connection.execute("begin; lock table till_2.sales in access share mode")
        finishing = pool.submit(finish, tills)
        # All others are done by now.
        until(lambda: any(each.state == "left out" and each.doing for each in change_status(tills).placements))
        connection.execute("rollback")
        finishing.result()
    assert [len(columns(tills, schema)) for schema in SCHEMAS] == [4, 3, 4]


def test_one_change_is_open_at_a_time(tills: Store) -> None:
    start(tills, plan_change(tills, ADD, name="totals", schemas=("till_*",)))
    with pytest.raises(errors.ChangeOpen, match="totals"):
        start(tills, plan_change(tills, UNIQUE, schemas=("till_*",)))
    finish(tills)
    with pytest.raises(errors.NoChange):
        finish(tills)
    with pytest.raises(errors.NoChange):
        roll_back(tills)


class Stop(Exception):
    """Stands for a kill."""


def test_a_start_that_was_stopped_is_gone_on_with(tills: Store) -> None:
    plan = plan_change(tills, ADD, schemas=("till_*",), parallel=1)

    def stop(what: str, done: int, total: int | None) -> None:
        if done == 2:
            raise Stop

    with pytest.raises(Stop):
        start(tills, plan, stop)
    assert "total" in columns(tills, "till_1")
    assert "total" not in columns(tills, "till_3")
    with pytest.raises(errors.ChangeNotStarted):
        finish(tills)
    assert start(tills, plan).state == "waiting"
    assert all("total" in columns(tills, schema) for schema in SCHEMAS)


def test_a_schema_that_comes_meanwhile_is_changed_at_the_end(tills: Store) -> None:
    start(tills, plan_change(tills, ADD, schemas=("till_*",)))
    make_till(tills, "till_4")
    finish(tills)
    assert "total" in columns(tills, "till_4")


def test_a_schema_that_comes_meanwhile_can_be_taken_back_with_the_others(tills: Store) -> None:
    start(tills, plan_change(tills, UNIQUE + ADD, schemas=("till_*",)))
    make_till(tills, "till_4")
    with owner(tills) as connection:
        connection.execute("update till_4.sales set code = 'the same' where id < 3")
    with pytest.raises(errors.ChangeIncomplete):
        finish(tills)
    assert "total" in columns(tills, "till_4")
    roll_back(tills)
    assert "total" not in columns(tills, "till_4")


def test_one_that_comes_with_other_tables_is_not_guessed_at(tills: Store) -> None:
    start(tills, plan_change(tills, ADD, schemas=("till_*",)))
    make_till(tills, "till_4", "create table {schema}.sales (id text)")
    with pytest.raises(errors.PlacementDiffers, match="till_4"):
        finish(tills)
    with owner(tills) as connection:
        connection.execute("drop schema till_4 cascade")
    finish(tills)


@pytest.mark.parametrize("end", [finish, roll_back])
def test_a_schema_that_goes_meanwhile_is_in_nobodys_way(tills: Store, end: object) -> None:
    start(tills, plan_change(tills, ADD, schemas=("till_*",)))
    with owner(tills) as connection:
        connection.execute("drop schema till_2 cascade")
    assert callable(end)
    assert end(tills).state in {"finished", "rolled_back"}


def test_schemas_that_differ_have_recipes_of_their_own(tills: Store) -> None:
    with owner(tills) as connection:
        connection.execute("alter table till_3.sales add constraint has_code check (code is not null)")
    plan = plan_change(tills, "alter table sales rename column code to name", schemas=("till_*",))
    assert [each.recipe for each in plan.placements] == [0, 0, 1]
    start(tills, plan)
    finish(tills)
    assert all("name" in columns(tills, schema) for schema in SCHEMAS)


def test_each_recipe_is_made_of_the_statements_as_they_were_written(tills: Store) -> None:
    with owner(tills) as connection:
        connection.execute("alter table till_2.sales add column extra text")
    plan = plan_change(tills, "alter table sales add constraint positive check (id > 0)", schemas=("till_*",))
    assert len(plan.recipes) == 2
    assert [[each.text for each in recipe.tighten] for recipe in plan.recipes] == 2 * [
        ["add check positive to sales, for new rows", "validate positive of sales"]
    ]
    assert "NOT VALID" not in plan.plain


def test_a_fill_waits_while_it_is_paused_and_goes_on_when_it_may(tills: Store) -> None:
    change = "-- kos: fill sales.total = id * 2\nalter table sales add column total bigint"
    plan = plan_change(tills, change, schemas=("till_1",))
    runner = threading.Thread(target=start, args=(tills, plan), kwargs={"limits": Limits(paused=True)})
    runner.start()
    try:
        deadline = time.monotonic() + 30
        while (told := _doing(tills)) != "paused":
            assert time.monotonic() < deadline, told
            time.sleep(0.02)
        with owner(tills) as connection:
            assert connection.execute("select count(total) from till_1.sales").fetchone() == (0,)
        assert throttle(tills, paused=False, max_rate=1e6).max_rate == 1e6
    finally:
        throttle(tills, paused=False)
        runner.join()
    with owner(tills) as connection:
        assert connection.execute("select count(*) from till_1.sales where total = id * 2").fetchone() == (50,)


def _doing(store: Store) -> str | None:
    try:
        return next((each.doing for each in change_status(store).placements), None)
    except errors.NoChange:
        return None


def test_a_limit_that_is_not_named_stays_and_nought_lifts_it(tills: Store) -> None:
    start(tills, plan_change(tills, ADD, schemas=("till_1",)), limits=Limits(max_rate=100.0, max_lag_ms=50.0))
    assert throttle(tills) == Limits(False, 100.0, 50.0, None)
    assert throttle(tills, max_rate=0, max_latency_ms=7) == Limits(False, None, 50.0, 7.0)


def test_code_can_demand_a_change(tills: Store) -> None:
    def demand(schema: str) -> None:
        with tills.operator() as operator:
            operator.execute("select kos.require_change('totals', %s)", (schema,))

    start(tills, plan_change(tills, ADD, name="totals", schemas=("till_1", "till_2")))
    demand("till_1")
    with pytest.raises(psycopg.DatabaseError) as caught:
        demand("till_3")
    assert caught.value.sqlstate == "KS012"
    roll_back(tills)
    with pytest.raises(psycopg.DatabaseError) as caught:
        demand("till_1")
    assert caught.value.sqlstate == "KS012"
