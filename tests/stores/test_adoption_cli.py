"""`kos adopt` on a terminal and in a script: what it prints fits, what it refuses has its exit code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fix_samples import child_environment
from kos import errors
from kos.cli import run
from kos.topology.model import Topology


@pytest.fixture
def configured(module_product: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in child_environment(module_product, tmp_path).items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        ("", errors.WRONG_USE, "name tables, or say --all"),
        ("shop_order --all", errors.WRONG_USE, "name tables, or say --all"),
        ("shop_order --level somewhere", errors.WRONG_USE, "somewhere"),
        ("shop_order --shard nowhere", errors.WRONG_USE, "there is no shard"),
        ("shop_order --database nowhere", errors.FAILED, "nowhere"),
        ("nothing_such", errors.WRONG_USE, "no table of"),
        ("shop_order --tenant-column nobody", errors.WRONG_USE, "has a column 'nobody'"),
        ("shop_order legacy_import_line --level log", errors.REFUSED, "public.legacy_import_line has no primary key"),
        ("--all --level enforce", errors.REFUSED, "would read 0 rows"),
    ],
)
def test_what_it_refuses_is_told(
    configured: None, capsys: pytest.CaptureFixture[str], arguments: str, code: int, told: str
) -> None:
    assert run(["adopt", *arguments.split()]) == code
    printed = capsys.readouterr()
    assert told in printed.err
    assert "Traceback" not in printed.err
    assert printed.out == ""


def test_the_report_begins_with_its_summary(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adopt", "--all"]) == errors.DONE
    lines = capsys.readouterr().out.splitlines()
    assert re.match(r"301 tables of test_\w+ on main", lines[0])
    assert lines[1] == "about 40 tenants by account_id (uuid in 30, bigint in 206)"
    order = [next(number for number, line in enumerate(lines) if line.startswith(word)) for word in WORDS]
    assert order == sorted(order)


WORDS = ("class ", "for ", "blocked ", "without the column", "to be granted", "to give ", "log: ", "baseline lazy")


def test_a_dry_run_of_a_level_says_what_it_would_mean(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adopt", "shop_*", "--level", "enforce", "--dry-run", "--baseline", "full"]) == errors.DONE
    printed = capsys.readouterr().out
    for told in ("ACCESS EXCLUSIVE", "baseline full", "reads 0 rows, although it owns the tables", "pg_dump"):
        assert told in printed


def test_a_script_is_nothing_but_sql(configured: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["adopt", "shop_order_line*", "--sql", "columns"]) == errors.DONE
    printed = capsys.readouterr().out
    assert [line for line in re.findall(r"^(\w+|--)", printed, re.MULTILINE) if line == "blocked"] == []
    first, second = (printed.index(f'alter table "public"."{name}" add column') for name in CHILDREN)
    assert first < second, "a child of a child comes after its parent"


CHILDREN = ("shop_order_line", "shop_order_line_note")
