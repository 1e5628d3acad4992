"""Every operation, disturbed at every step and killed at every point; and three wrong ones that must be found out."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sweep_changes import CHANGES
from sweep_harness import Broken, Forks, Sweep, forks
from sweep_scenarios import MISTAKES, SCENARIOS

from fix_exports import fill
from fix_samples import Site
from kos.journal.registry import OPERATIONS, operation_named
from kos.knowledge.exchange import export_tenant
from kos.tenancy import Store, create_tenant


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def stocked(module_full_store: Store, small_site: Site, folder: Path) -> Path:
    """The folder, with packages to load and an export to import."""
    shutil.copytree(small_site.folder, folder / "site")
    fill(module_full_store, create_tenant(module_full_store, "origin", service_plan="enterprise"), small_site)
    export_tenant(module_full_store, "origin", folder / "export")
    return folder


@pytest.fixture(scope="module")
def forked(module_full_store: Store, folder: Path) -> Iterator[Forks]:
    with forks(module_full_store, folder) as made:
        yield made


def test_every_operation_has_a_scenario() -> None:
    registered = {operation_named(name) for name in OPERATIONS}
    assert registered - {scenario.operation for scenario in SCENARIOS.values()} == set()
    assert all(operation.name == name for name in OPERATIONS for operation in [operation_named(name)])


SHORT = ("toy",)


@pytest.mark.parametrize("name", SHORT)
def test_failures_and_repetitions(name: str, module_full_store: Store, folder: Path) -> None:
    sweep = Sweep(name, module_full_store, folder)
    sweep.fail_everywhere()
    sweep.fail_on_the_way_back()
    sweep.repeat_everything()


@pytest.mark.parametrize("name", SHORT)
def test_some_kills(name: str, module_full_store: Store, folder: Path, forked: Forks) -> None:
    sweep = Sweep(name, module_full_store, folder, forked)
    sweep.kill_forwards(every=10)
    sweep.kill_backwards(every=10)


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", [name for name in SCENARIOS if name not in CHANGES])
def test_everything(name: str, module_full_store: Store, stocked: Path, forked: Forks) -> None:
    Sweep(name, module_full_store, stocked, forked).everything()


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.long] if "checkpoint" in name else []) for name in MISTAKES]
)
def test_a_mistake_is_found(name: str, module_full_store: Store, folder: Path, forked: Forks) -> None:
    """Undisturbed each of them does what it should; so it is the sweep that finds them."""
    sweep = Sweep(name, module_full_store, folder, forked)
    with pytest.raises(Broken, match=name):
        sweep.fail_everywhere()
        sweep.kill_forwards()
