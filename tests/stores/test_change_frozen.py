"""A runner that is frozen, as by a debugger, a suspended machine or a cut network, while it has locks: nobody waits for
it, and it goes on when it can."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from change_kind import GOODS, GOODS_ROWS
from test_change_traps import COLUMN, SOON, begin, holding, soon

from fix_samples import child_environment
from fix_shop import SHOP, Shop
from kos.schema_change import finish
from waiting import RELATION, waiters

# As `kos` is, but that it waits for a lock so long that it can be frozen meanwhile.
PATIENT = "from kos.schema_change import act; act.SHORT_LOCK_TIMEOUT = '10s'; from kos.cli import main; main()"
DROP = "alter table goods drop column note"
SLOW = "-- kos: fill goods.height = id + length(pg_sleep(0.5)::text)\nalter table goods add column height integer"
WRITER_SECONDS = 5


@pytest.fixture
def goods(shop: Shop) -> Shop:
    """A shop that sells something."""
    shop.fresh(SHOP, GOODS, GOODS_ROWS)
    return shop


@contextmanager
def runner(shop: Shop, folder: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """`kos change …` in a process of its own."""
    with subprocess.Popen(
        [sys.executable, "-c", PATIENT, "change", *arguments, "--yes"],
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


def write(shop: Shop) -> None:
    """As the application does, which does not wait for ever."""
    with shop.connect() as writer:
        writer.execute(f"set lock_timeout = '{WRITER_SECONDS}s'".encode())
        writer.execute("update goods set size = size where id = 1")


def goes_on(run: subprocess.Popen[str]) -> None:
    """It has done what it was to do."""
    run.send_signal(signal.SIGCONT)
    _, said = run.communicate(timeout=SOON)
    assert run.returncode == 0, said


@pytest.mark.parametrize(("command", "sql"), [("start", COLUMN), ("finish", DROP)])
def test_a_table_is_not_kept_by_who_is_frozen(goods: Shop, tmp_path: Path, command: str, sql: str) -> None:
    (tmp_path / "change.sql").write_text(sql)
    if command == "finish":
        begin(goods, sql)
    arguments = ("start", "change.sql", "--schema", SHOP) if command == "start" else ("finish",)
    with holding(goods, "select count(*) from goods") as other, runner(goods, tmp_path, *arguments) as run:
        soon(lambda: waits(goods), bool)
        run.send_signal(signal.SIGSTOP)
        other.execute("rollback")
        write(goods)
        goes_on(run)
    if command == "start":
        finish(goods.store)
    gone = "select not exists (select from pg_attribute where attrelid = 'shop.goods'::regclass and attname = 'note')"
    assert goods.is_true(gone) == (command == "finish")
    goods.clean = True


@pytest.mark.long
def test_rows_are_not_kept_by_who_is_frozen(goods: Shop, tmp_path: Path) -> None:
    """In the middle of a batch, which is taken back, and done again."""
    goods.owner.execute(b"truncate goods restart identity")
    goods.owner.execute(GOODS_ROWS.replace("600", "6").encode())
    (tmp_path / "change.sql").write_text(SLOW)
    with runner(goods, tmp_path, "start", "change.sql", "--schema", SHOP) as run:
        soon(lambda: fills(goods), bool)
        run.send_signal(signal.SIGSTOP)
        write(goods)
        goes_on(run)
    finish(goods.store)
    assert goods.is_true("select count(*) = 6 and bool_and(height = id) from goods")
    goods.clean = True


def waits(shop: Shop) -> bool:
    """Whether somebody waits for the whole table."""
    return waiters(shop.superuser, RELATION, "shop.goods") > 0


def fills(shop: Shop) -> bool:
    """Whether a batch is under way that nothing ends, since it is of a single page; and has locked its first row."""
    row = shop.superuser.execute(
        "select exists (select from pg_stat_activity where state = 'active' and wait_event = 'PgSleep'"
        " and datname = current_database() and query ~ 'kos fill'"
        " and query_start < clock_timestamp() - interval '0.8 s' and pid <> pg_backend_pid())"
    ).fetchone()
    return bool(row and row[0])
