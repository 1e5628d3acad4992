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


# A file is one worker's: one that is begun last has a processor for itself, and the other waits.
LONGEST = (
    "test_log_cuts.py", "test_sweep.py", "test_sweep_changes.py", "test_log_history.py", "test_fence_history.py",
    "test_log_versions.py", "test_tour.py", "test_projection_deaths.py", "test_projection_network.py",
    "test_change_versions.py", "test_change_kinds.py",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The files that take longest first."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.name, len(order)))


@pytest.hookimpl(trylast=True)
def pytest_configure(config: pytest.Config) -> None:
    """Failures are told at once, by whoever writes to the terminal."""
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(_FailuresAtOnce(config), "failures at once")


class _FailuresAtOnce:
    """What failed, and why, when it did: of a run that is ended from outside, nothing else is left."""

    def __init__(self, config: pytest.Config) -> None:
        self._config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        terminal = self._config.pluginmanager.get_plugin("terminalreporter")
        if report.failed and terminal is not None:
            lines = str(report.longrepr).splitlines()
            terminal.write_line("")
            terminal.write_line("\n".join([f"{report.when} of {report.nodeid} failed:", *lines[-20:]]))
