"""What the pages name is there: tests, files, make targets, and the parts of the library."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
TESTS = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
TARGETS = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
BASES = ("", "src/kos", "src/kos/topology", "src/kos/topology/embedded", "src/kos/tenancy", "src/kos/knowledge/samples")
PARTS = {path.name for path in (ROOT / "src/kos").iterdir() if path.is_dir() and (path / "__init__.py").exists()}


def code(page: Path) -> str:
    """What stands between backticks."""
    return "\n".join(re.findall(r"`([^`\n]+)`", page.read_text()))


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_tests(page: Path) -> None:
    named = re.findall(r"\b(test_\w+)\b(?!\.py)", code(page))
    assert [name for name in named if f"def {name}(" not in TESTS] == []


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_files(page: Path) -> None:
    named = re.findall(r"^((?:[\w.-]+/)*\w+\.(?:py|sql|lock|md))$", code(page), re.MULTILINE)
    missing = [name for name in named if not any((ROOT / base / name).exists() for base in BASES)]
    generic = {"__init__.py", "commands.py", "queries.sql", "session.py", "store.py", "schema.sql"}
    assert set(missing) - generic == set()


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_make_targets(page: Path) -> None:
    named = re.findall(r"\bmake ([a-z-]+)", code(page))
    assert set(named) <= TARGETS


def test_the_architecture_names_every_part() -> None:
    table = (ROOT / "ARCHITECTURE.md").read_text().split("## Layout")[1].split("\n## ")[0]
    assert set(re.findall(r"^\| `(\w+)/` \|", table, re.MULTILINE)) == PARTS
