"""A tenant with rows in every table and objects, and an export of it."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from fix_samples import Site
from kos.knowledge.exchange import export_tenant
from kos.knowledge.samples import load_sample
from kos.tenancy import Place, Store, Tenant, create_tenant, list_tenants
from waiting import RELATION, waiters


@pytest.fixture
def filled(full_store: Store, site: Site) -> Tenant:
    """A tenant `acme` with rows in every table that applications write, and two objects."""
    tenant = create_tenant(full_store, "acme", service_plan="enterprise")
    fill(full_store, tenant, site)
    return tenant


@pytest.fixture
def exported(full_store: Store, filled: Tenant, tmp_path: Path) -> Path:
    """The folder of an export of that tenant."""
    export_tenant(full_store, filled.name, tmp_path / "export")
    return tmp_path / "export"


@pytest.fixture(scope="module")
def module_export(module_full_store: Store, small_site: Site, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an export that the tests of one module share; see `export_copy`."""
    folder = tmp_path_factory.mktemp("export") / "export"
    tenant = create_tenant(module_full_store, "origin", service_plan="enterprise")
    fill(module_full_store, tenant, small_site)
    export_tenant(module_full_store, "origin", folder)
    return folder


@pytest.fixture
def export_copy(module_export: Path, tmp_path: Path) -> Path:
    """A copy of an export, to damage."""
    return Path(shutil.copytree(module_export, tmp_path / "export"))


def fill(store: Store, tenant: Tenant, site: Site) -> None:
    """Rows in every table that applications write, and objects."""
    load_sample(store, "cities", tenant.name, site=site.folder)
    load_sample(store, "packages", tenant.name, site=site.folder)
    with store.tenant(tenant.name) as session:
        session.execute("update documents set deleted_at = now() where title like 'clock%%'")
        session.execute(
            "insert into sensitive_atoms (encrypted_value, encryption_key_id, searchable_hash) values (%s, 'k', %s)",
            (bytes(range(256)), "a" * 64),
        )


def files_of(folder: Path) -> dict[str, bytes]:
    """All files of an export but the manifest, which has the tenant's name and the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != "manifest.json"
    }


def names(store: Store) -> set[str]:
    """All tenants, finished or not."""
    return {tenant.name for tenant in list_tenants(store)}


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    """Does one thing beside the test."""
    with ThreadPoolExecutor(1) as pool:
        yield pool


@contextmanager
def blocked(store: Store, tenant: Tenant, table: str, mode: str) -> Iterator[Callable[[], bool]]:
    """Nobody gets past this table; yields a function that says whether somebody waits there."""
    place = Place(tenant.shard, tenant.database)
    with store.operator(place) as watcher, store.operator(place) as blocker, blocker.transaction():
        blocker.execute(f"lock table {tenant.schema}.{table} in {mode} mode")
        yield lambda: waiters(watcher, RELATION, f"{tenant.schema}.{table}") > 0


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for a condition; fail where it does not come true in that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
