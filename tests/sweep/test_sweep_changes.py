"""Changes of schema of every kind, disturbed at every step and killed all along the way."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sweep_changes import CHANGES
from sweep_harness import Forks, Sweep, forks

from kos.tenancy import Store


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sweep")


@pytest.fixture(scope="module")
def forked(module_full_store: Store, folder: Path) -> Iterator[Forks]:
    with forks(module_full_store, folder) as made:
        yield made


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("name", CHANGES)
def test_everything(name: str, module_full_store: Store, folder: Path, forked: Forks) -> None:
    Sweep(name, module_full_store, folder, forked).everything()
