"""What `kos change status` and its like say."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from change_kind import GOODS, GOODS_ROWS

from fix_shop import SHOP, Shop
from kos import errors
from kos.schema_change import ChangePlan, Limits, change_status, display, find_open, finish, go_on, plan_change, start

FILL = "-- kos: fill goods.height = id\nalter table goods add column height integer not null"


@pytest.fixture
def goods(shop: Shop) -> Shop:
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    return shop


def planned(shop: Shop, sql: str) -> ChangePlan:
    return plan_change(shop.store, sql, schemas=(SHOP,))


def test_the_time_between_start_and_finish_is_not_one_of_filling(goods: Shop) -> None:
    start(goods.store, planned(goods, FILL))
    goods.superuser.execute(
        "update kos.change_fills set started_at = clock_timestamp() - interval '3 days',"
        " updated_at = clock_timestamp() - interval '3 days' + interval '2 seconds'"
    )
    # What finish is at: two parts of a table at once, for two seconds.
    goods.superuser.execute(
        "insert into kos.change_fills (operation, schema_name, fill, part, next_page, pages, rows, filenode,"
        " started_at, updated_at) select operation, schema_name, 'again', 'part ' || n, 5, 10, 0, 1,"
        " clock_timestamp() - interval '3 seconds', clock_timestamp() - interval '1 second'"
        " from kos.change_fills, generate_series(1, 2) n"
    )
    (here,) = change_status(goods.store).placements
    assert here.rate == pytest.approx(600 / 4, rel=0.01)
    goods.superuser.execute("delete from kos.change_fills where fill = 'again'")
    finish(goods.store)
    goods.clean = True


def test_a_placement_that_the_last_step_has_forgotten_is_done(goods: Shop) -> None:
    start(goods.store, planned(goods, FILL))
    goods.superuser.execute(
        "create function public.stop() returns trigger language plpgsql as $$ begin raise 'stopped'; end $$;"
        "create trigger stop before update on kos.changes for each row execute function public.stop()"
    )
    with pytest.raises(errors.StoreRefused, match="stopped"):
        finish(goods.store)
    goods.superuser.execute("delete from kos.change_placements")
    (here,) = change_status(goods.store).placements
    assert (here.phase, here.state) == ("contract", "done")
    goods.superuser.execute("drop function public.stop() cascade")
    finish(goods.store)
    with pytest.raises(errors.NoChange):
        change_status(goods.store)
    goods.clean = True


def test_what_a_killed_run_has_left_is_told_with_the_next_command(
    goods: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    start(goods.store, planned(goods, FILL))
    status = change_status(goods.store)
    display.show_status(status)
    assert "nobody" not in capsys.readouterr().out
    display.show_status(replace(status, state="running"))  # and no lease: a run that waits has none either
    told = capsys.readouterr().out
    assert "nobody is at it" in told
    assert "the same command again" in told
    finish(goods.store)
    goods.clean = True


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(), "running: no limits"),
        (Limits(paused=True), "paused: no limits"),
        (Limits(paused=True, max_rate=5), "paused: at most 5 rows/s"),
        (Limits(max_latency_ms=5, latency_query="select 1"), "running: a latency of at most 5 ms by: select 1"),
        (Limits(latency_query="select 1"), "running: no limit of the latency by: select 1"),
    ],
)
def test_limits_are_said_once(limits: Limits, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    display.show_limits(limits)
    assert capsys.readouterr().out.strip() == said


def test_a_plan_shows_what_else_is_locked(goods: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    goods.owner.execute(b"create table lines (goods_id bigint)")
    display.show_plan(planned(goods, "alter table lines add foreign key (goods_id) references goods"))
    said = " ".join(capsys.readouterr().out.split())
    assert "share row exclusive, also of goods" in said
    assert "1 placement, 4 at a time" in said
    goods.clean = True


@pytest.mark.parametrize(
    ("sql", "asked", "said"),
    [
        ("alter table goods alter column price type numeric(12, 3)", "select price from goods", "select price"),
        ("alter table goods alter column name type text", "select name from goods", "select name"),
        ("alter table goods drop column note", "select * from goods", "select *"),
        ("alter table goods rename column note to remark", "select * from goods", "code that says note"),
    ],
)
def test_a_plan_says_which_prepared_statements_fail_at_finish(goods: Shop, sql: str, asked: str, said: str) -> None:
    plan = planned(goods, sql)
    (recipe,) = plan.recipes
    assert any(said in each and "0A000" in each for each in recipe.warnings), recipe.warnings
    start(goods.store, plan)
    with goods.connect() as prepared:
        for _ in range(2):
            prepared.execute(asked.encode(), prepare=True)
        finish(goods.store)
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            prepared.execute(asked.encode(), prepare=True)
    goods.clean = True


def test_a_start_that_failed_is_gone_on_with_from_its_record(goods: Shop) -> None:
    goods.superuser.execute("update shop.goods set price = 0 where id = 7")
    sql = "-- kos: fill goods.height = 1 / price\nalter table goods add column height numeric"
    with pytest.raises(errors.FillFailed):
        start(goods.store, planned(goods, sql))
    goods.superuser.execute("update shop.goods set price = 1 where id = 7")
    record = find_open(goods.store)
    assert record is not None
    assert go_on(goods.store, record).state == "waiting"
    finish(goods.store)
    goods.clean = True
