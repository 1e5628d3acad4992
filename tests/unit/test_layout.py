"""The rules of the layout: small functions and files, no vague names, no way round a capability's front door."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages
from types import ModuleType

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "kos"
FILES = sorted(SOURCE.rglob("*.py"))
CAPABILITIES = ("adoption", "feed_server", "projections", "schema_change", "worker", "workload", "tour")
VAGUE = {"utils", "util", "helpers", "helper", "manager", "service", "services", "common", "misc", "handler", "engine"}


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_no_function_is_over_70_lines(path: Path) -> None:
    assert [(node.name, length(node)) for node in functions(path) if length(node) > 70] == []


def test_functions_are_usually_under_40_lines() -> None:
    lengths = sorted(length(node) for path in FILES for node in functions(path))
    assert lengths[int(len(lengths) * 0.95)] <= 40


# The tree of errors is one page on purpose: one type per fact, drawn in its docstring.
LONG_BY_DECISION = {"errors.py"}


def test_no_file_is_over_400_lines() -> None:
    counts = {str(path.relative_to(SOURCE)): len(path.read_text(encoding="utf-8").splitlines()) for path in FILES}
    assert {name: count for name, count in counts.items() if count > 400}.keys() <= LONG_BY_DECISION


def test_no_vague_names() -> None:
    assert [path for path in FILES if path.stem in VAGUE or path.parent.name in VAGUE] == []


def test_every_module_says_what_it_is() -> None:
    assert [path for path in FILES if not ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))] == []


def test_capabilities_import_each_other_through_the_front_door() -> None:
    deep = []
    for path in FILES:
        own = path.relative_to(SOURCE).parts[0]
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            module = node.module if isinstance(node, ast.ImportFrom) else None
            for capability in CAPABILITIES:
                inside = module and module.startswith(f"kos.{capability}.")
                if inside and capability != own and not module.endswith(".commands"):
                    deep.append((str(path.relative_to(SOURCE)), module))
    assert deep == []


def test_what_a_part_offers_is_not_replaced_by_a_module_of_that_name() -> None:
    """A module that is imported later takes the place of whatever its package calls the same."""
    modules = [import_module(each.name) for each in walk_packages([str(SOURCE)], "kos.") if "__main__" not in each.name]
    offered = [(module, name) for module in modules for name in getattr(module, "__all__", ())]
    assert len(offered) > 100
    assert [(module.__name__, name) for module, name in offered if isinstance(getattr(module, name), ModuleType)] == []


SQL = re.compile(
    r"\b(select\s.+\sfrom|insert\s+into|update\s.+\sset|delete\s+from|create\s+(table|role|schema|database)|alter\s+\w+)\s",
    re.IGNORECASE,
)


def test_sql_lives_in_sql_files() -> None:
    """Strings that are executed, that is; messages and docstrings may speak of SQL."""
    found = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Attribute)
                and node.func.attr in {"execute", "SQL"}
            ):
                texts = [arg.value for arg in node.args if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
                found += [(str(path.relative_to(SOURCE)), text) for text in texts if SQL.search(text + " ")]
                found += [
                    (str(path.relative_to(SOURCE)), "f-string") for arg in node.args if isinstance(arg, ast.JoinedStr)
                ]
    assert found == []


def test_nothing_is_swallowed() -> None:
    nodes = [(path, node) for path in FILES for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
    assert [
        (str(path.relative_to(SOURCE)), node.lineno)
        for path, node in nodes
        if isinstance(node, ast.ExceptHandler) and len(node.body) == 1 and isinstance(node.body[0], ast.Pass)
    ] == []
