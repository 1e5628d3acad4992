"""A start that is at work in one process is taken back from another."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
from change_catalog import difference, dumps
from change_kind import GOODS, GOODS_ROWS
from test_change_traps import SOON, begin, doing, holding, more_rows, soon

from fix_samples import child_environment
from fix_shop import SHOP, Shop
from kos import errors
from kos.journal import unfinished_on
from kos.schema_change import finish, plan_change, roll_back, start
from waiting import RELATION, waiters

FILL = "-- kos: fill goods.height = id\nalter table goods add column height integer"
INDEX = "create index goods_note on goods (note)"
COLUMN = "alter table goods add column height integer"
# Two minutes while it is proved; while rows in its way are looked for, none.
SCAN = (
    "alter table goods add constraint slow check"
    " (pg_sleep(case when current_query() ~* 'validate constraint' then 0.2 else 0 end)::text = '')"
)


@pytest.fixture
def goods(shop: Shop) -> Shop:
    """A shop that sells something."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    return shop


@contextmanager
def process(shop: Shop, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`kos change …` in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-m", "kos", "change", *arguments, "--yes"],
        cwd=folder,
        env=child_environment(shop.topology, folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as run:
        try:
            yield run
        finally:
            run.kill()


def taken_back(shop: Shop, run: subprocess.Popen[str]) -> str:
    """What the process says in the end; the change is taken back meanwhile."""
    with ThreadPoolExecutor(1) as pool:
        back = pool.submit(roll_back, shop.store)
        _, said = run.communicate(timeout=SOON)
        assert back.result(SOON).state == "rolled_back"
    assert run.returncode == errors.INTERRUPTED
    assert unfinished_on(shop.store, "schema") is None
    return " ".join(said.split())


@pytest.mark.long
def test_a_fill_that_another_process_is_at(goods: Shop, tmp_path: Path) -> None:
    more_rows(goods, 20_000)
    (before,) = dumps(goods.topology, SHOP)
    (tmp_path / "slow.sql").write_text(FILL)
    with process(goods, tmp_path, "start", "slow.sql", "--schema", SHOP, "--max-rate", "20") as run:
        soon(lambda: doing(goods), lambda text: "rate limited" in text)
        said = taken_back(goods, run)
    assert "the change slow was stopped by kos change rollback" in said
    assert "operation resume" not in said
    (after,) = dumps(goods.topology, SHOP)
    assert difference(before, after) == ""
    goods.clean = True


@pytest.mark.long
def test_an_index_that_waits_for_somebody(goods: Shop, tmp_path: Path) -> None:
    (before,) = dumps(goods.topology, SHOP)
    (tmp_path / "index.sql").write_text(INDEX)
    goods.owner.execute(b"create table unrelated (id bigint primary key)")
    with (
        holding(goods, "select count(*) from unrelated"),
        process(goods, tmp_path, "start", "index.sql", "--schema", SHOP) as run,
    ):
        soon(lambda: doing(goods), lambda text: "unrelated" in text)
        taken_back(goods, run)
    goods.owner.execute(b"drop table unrelated")
    (after,) = dumps(goods.topology, SHOP)
    assert difference(before, after) == ""
    goods.clean = True


def test_a_lock_that_is_waited_for(goods: Shop, tmp_path: Path) -> None:
    (tmp_path / "column.sql").write_text(COLUMN)
    with (
        holding(goods, "select count(*) from goods"),
        process(goods, tmp_path, "start", "column.sql", "--schema", SHOP) as run,
    ):
        soon(lambda: doing(goods), lambda text: "waits for pid" in text)
        taken_back(goods, run)
    goods.clean = True


@pytest.mark.long
def test_a_scan_of_finish(goods: Shop, tmp_path: Path) -> None:
    begin(goods, SCAN)
    with process(goods, tmp_path, "finish") as run:
        soon(lambda: is_scanning(goods), bool)
        taken_back(goods, run)
    goods.clean = True


def is_scanning(shop: Shop) -> bool:
    """Whether somebody validates a constraint of this database."""
    row = shop.superuser.execute(
        "select exists (select from pg_stat_activity where state = 'active' and query ~* 'validate constraint'"
        " and datname = current_database() and pid <> pg_backend_pid())"
    ).fetchone()
    return row == (True,)


def test_a_run_that_is_begun_after_that_is_not_stopped(goods: Shop, tmp_path: Path) -> None:
    """The one that was asked was killed meanwhile, and whoever asked as well."""
    (tmp_path / "column.sql").write_text(COLUMN)
    with (
        holding(goods, "select count(*) from goods"),
        process(goods, tmp_path, "start", "column.sql", "--schema", SHOP) as run,
    ):
        soon(lambda: doing(goods), lambda text: "waits for pid" in text)
        run.kill()
        run.wait()
        soon(lambda: waiters(goods.superuser, RELATION), lambda count: count == 0)  # its last statement is given up
        goods.superuser.execute("update kos.changes c set stopping = l.token from kos.leases l")
    start(goods.store, plan_change(goods.store, COLUMN, name="column", schemas=(SHOP,)))
    finish(goods.store)
    goods.clean = True
