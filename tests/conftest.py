"""Fixtures live in `fix_*.py`, one plugin per resource."""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent / "sweep")]

# Whoever runs the tests in the background has them ignore Ctrl-C, and all that they start with them.
signal.signal(signal.SIGINT, signal.default_int_handler)

pytest_plugins = [
    "fix_stack",
    "fix_database",
    "fix_product",
    "fix_shop",
    "fix_small_disk",
    "fix_twins",
    "fix_own_postgres",
    "fix_tls",
    "fix_pgbouncer",
    "fix_node",
    "fix_samples",
    "fix_enforced",
    "fix_exports",
    "fix_worker",
    "fix_projected",
    "fix_redis",
    "fix_cache",
    "fix_arcadedb",
    "fix_neo4j",
    "fix_proxy",
]


def pytest_addoption(parser: pytest.Parser) -> None:
    """Options of this suite."""
    parser.addoption("--write-schema", action="store_true", help="write docs/reference/schema.sql anew")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first: one that is begun last has a processor for itself, and the other waits."""
    items.sort(key=lambda item: item.path.name not in {"test_sweep.py", "test_sweep_changes.py", "test_tour.py"})
