"""Who writes much lets the log give positions to it meanwhile, also where no worker runs; and hurries nobody else."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from adopted import adopt, here
from fix_product import as_owner
from fix_samples import Site
from kos.knowledge.exchange import export_tenant, import_tenant
from kos.knowledge.samples import load_sample, plan_load, run_load
from kos.log import Room, seal_all, status
from kos.schema_change import plan_change, start
from kos.schema_change.fill import Filling
from kos.tenancy import Place, Store, create_tenant
from kos.tenancy.placement import control_place
from kos.topology.model import Topology

SEALING = importlib.import_module("kos.log.seal")
BASELINE = importlib.import_module("kos.adoption.baseline")
BATCH = 60
Connection = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def without_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is empty has pages too: of so little room there is never enough, and each batch asks for it."""
    monkeypatch.setattr(SEALING, "REST_SECONDS", 0.0)
    monkeypatch.setattr(SEALING, "REST_SHARE", 0.0)


@pytest.fixture
def product_store(product: Topology) -> Iterator[Store]:
    with Store(product) as opened:
        yield opened


@pytest.fixture
def place(store: Store) -> Place:
    return control_place(store.topology)


@pytest.mark.parametrize("crowded", [False, True])
def test_a_sample(store: Store, place: Place, small_site: Site, crowded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if crowded:
        monkeypatch.setattr(SEALING, "PENDING_BYTES", 0)
    create_tenant(store, "acme")
    told: list[str] = []
    plan = plan_load(store, "cities", "acme", site=small_site.folder)
    run_load(store, plan, lambda what, done, total: told.append(what), batch=BATCH)
    found = status(store, place)
    assert found.sealed_events + found.pending_rows == sum(rows.count for rows in plan.content.tables) > 4 * BATCH
    assert (found.pending_rows <= BATCH) == crowded
    assert ("sealing what waits before more is written" in told) == crowded


def test_an_import_begins_with_room(
    store: Store, place: Place, small_site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_tenant(store, "acme")
    load_sample(store, "cities", "acme", site=small_site.folder)
    before = status(store, place)
    assert (before.sealed_events, before.pending_rows > 0) == (0, True)
    export_tenant(store, "acme", tmp_path / "export")
    monkeypatch.setattr(SEALING, "PENDING_BYTES", 0)
    import_tenant(store, tmp_path / "export", "copy")
    assert status(store, place).sealed_events == before.pending_rows


@pytest.mark.parametrize("crowded", [False, True])
def test_a_baseline_and_a_fill(product_store: Store, crowded: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with as_owner(product_store.topology) as owner:
        owner.execute(
            "insert into public.shop_comment (account_id, name, amount, slug)"
            " select 1 + g % 20, 'name', g, '00' || g from generate_series(1, 500) g"
        )
        row = owner.execute("select count(*) from public.shop_comment").fetchone()
    assert row is not None
    if crowded:
        monkeypatch.setattr(SEALING, "PENDING_BYTES", 0)
        monkeypatch.setattr(BASELINE, "PENDING_BYTES", 0)
    adopt(product_store, "shop_comment", baseline="full")
    found = status(product_store, here(product_store))
    assert found.sealed_events + found.pending_rows == row[0]
    assert found.sealed_events == (row[0] if crowded else 0)
    with product_store.operator() as operator:
        seal_all(operator)
    monkeypatch.setattr(Filling, "first_pages", 1)
    change = "-- kos: fill shop_comment.size = 1\nalter table public.shop_comment add column size integer not null"
    start(product_store, plan_change(product_store, change, schemas=("public",)))
    found = status(product_store, here(product_store))
    assert found.sealed_events + found.pending_rows == 2 * row[0]
    assert (found.sealed_events > row[0]) == crowded


STUCK = """
create function public.refuse() returns trigger language plpgsql as $$ begin raise 'it can''t be sealed'; end $$;
create trigger refuse before insert on kos.knowledge_events for each row when (new.tenant_id = '{}')
  execute function public.refuse()
"""


@pytest.mark.parametrize("stuck", ["refused", "locked"])
def test_who_writes_much_does_not_fail_for_a_tenant_that_cannot_be_sealed(
    store: Store, place: Place, small_site: Site, stuck: str, superuser: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SEALING, "PENDING_BYTES", 0)
    monkeypatch.setattr(SEALING, "LOCK_TIMEOUT", "50ms")
    other = create_tenant(store, "beta")
    with store.tenant("beta") as beta:
        beta.execute("insert into atoms (atom_type, name) values ('T', 'n')")
    if stuck == "refused":
        superuser.execute(STUCK.format(other.id).encode())
    else:
        superuser.execute("select pg_advisory_lock(kos.log_key(%s))", (other.id,))
    create_tenant(store, "acme")
    run_load(store, plan_load(store, "cities", "acme", site=small_site.folder), batch=BATCH)
    found = status(store, place)
    assert found.sealed_events > 4 * BATCH
    assert found.pending_rows <= BATCH + 1
    with pytest.raises(psycopg.Error), store.operator() as operator:
        operator.execute("set lock_timeout = '50ms'")
        operator.execute("select kos.seal(%s)", (other.id,))


def test_where_no_room_can_be_made_it_is_tried_now_and_then(
    store: Store, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SEALING, "REST_SECONDS", 3600.0)
    room = Room(store, place, at_most=0)
    with store.operator(place) as operator:
        assert [room.make(operator) for _ in range(3)] == [True, False, False]
        assert [Room(store, place).make(operator) for _ in range(2)] == [False, False]
