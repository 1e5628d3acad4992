"""docs/reference/doctor.md has every check and every capability, with its number and what it is for."""

from __future__ import annotations

import ast
import inspect
import re
from importlib.resources import files
from pathlib import Path

import pytest

from kos.tenancy.checks import FILES
from kos.topology import doctor

PAGE = (Path(__file__).parents[2] / "docs" / "reference" / "doctor.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("folder", ["checks", "capabilities"])
def test_every_question_has_its_row(folder: str) -> None:
    asked = [(number, each.name, each.purpose) for number, each in enumerate(doctor.questions(folder), 1)]
    heading = "## Checks of PostgreSQL" if folder == "checks" else "## Capabilities"
    section = PAGE.split(heading)[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert [(int(number), name, purpose) for number, name, purpose in rows] == asked


@pytest.mark.parametrize("folder", ["checks", "capabilities"])
def test_a_question_is_one_numbered_file(folder: str) -> None:
    names = sorted(each.name for each in files("kos.topology").joinpath(folder).iterdir())
    assert [int(name[:4]) for name in names] == list(range(1, len(names) + 1))
    assert len(doctor.questions(folder)) == len(names)


def test_every_check_of_tenants_tables_has_its_row() -> None:
    folder = files("kos.tenancy").joinpath("checks")
    purposes = [folder.joinpath(name).read_text(encoding="utf-8").splitlines()[0] for name in FILES]
    section = PAGE.split("## Checks of tenants' tables")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| ([^|]+) \|", section, re.MULTILINE)
    assert [(f"{int(number):04}_{name}.sql", f"-- {purpose}") for number, name, purpose in rows] == list(
        zip(FILES, purposes, strict=True)
    )


def test_every_other_check_has_its_row() -> None:
    calls = [node for node in ast.walk(ast.parse(inspect.getsource(doctor))) if isinstance(node, ast.Call)]
    made = [call.args[0] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Finding"]
    names = {str(name.value) for name in made if isinstance(name, ast.Constant)}
    assert names == {"reachable", "secret_readable", "secret_permissions", "tls", "login"}
    section = PAGE.split("## Checks of every store")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)`", section, re.MULTILINE)) == names
