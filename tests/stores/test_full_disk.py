"""The server's disk is full while a tenant is made, or its data is loaded: told as such, and gone on with, or back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from fix_samples import child_environment
from fix_shop import Shop
from fix_small_disk import SmallDisk
from kos import cli, errors
from kos.journal import list_operations, roll_back
from kos.knowledge.samples import load_sample
from kos.tenancy import Store, create_tenant, find_tenant, list_tenants, remove_tenant

SMALL, LARGE = 200, 4096  # kilobytes: not enough for a schema's tables; enough for those, and not for the sample
SAMPLE = "cities"


@pytest.fixture
def store(shop: Shop, small_disk: SmallDisk) -> Iterator[Store]:
    """A store whose new tenants' tables are on the small disk."""
    yield shop.store
    for tenant in list_tenants(shop.store):
        remove_tenant(shop.store, tenant.name)


def test_a_tenant(
    store: Store,
    small_disk: SmallDisk,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in child_environment(store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    create = ["tenant", "create", "acme", "--tier", "schema", "--json"]
    small_disk.fill_up(leave_kilobytes=SMALL)
    assert cli.run(create) == errors.FAILED
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["type"], "No space left on device" in told["reason"]) == ("StoreFull", True)
    assert "run the same command again" in told["next"]
    assert find_tenant(store, "acme").state == "creating"
    with pytest.raises(errors.KosError), store.tenant("acme") as session:
        session.execute("select from atoms")
    small_disk.make_room()
    assert cli.run(create) == errors.DONE
    with store.tenant("acme") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'x')")


@pytest.mark.long
def test_a_sample_that_finds_no_room_is_taken_back(store: Store, small_disk: SmallDisk) -> None:
    create_tenant(store, "acme", "schema")
    small_disk.fill_up(leave_kilobytes=LARGE)
    with pytest.raises(errors.StoreFull, match="No space left on device"):
        load_sample(store, SAMPLE, "acme")
    [left] = list_operations(store, unfinished=True)
    small_disk.make_room()
    roll_back(store, str(left.id))
    with store.tenant("acme") as session:
        assert session.execute("select count(*) from atoms").fetchall() == [(0,)]
        assert session.execute("select count(*) from relations").fetchall() == [(0,)]
