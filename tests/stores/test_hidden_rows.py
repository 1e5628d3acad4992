"""A product's own policies may hide rows: what is collected and exported goes by all rows of a tenant, or by none."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from documents import TEXT, collect_all, put_alone, refer, stored
from kos.errors import TenantRowsHidden
from kos.knowledge.bucket import Bucket, bucket_of
from kos.knowledge.exchange import export_tenant
from kos.knowledge.exchange.export import plan_export
from kos.knowledge.objects import missing_objects, put_object
from kos.tenancy import Store, Tenant, create_tenant

POLICIES = {
    "every reader": "create policy secret on {} as restrictive for select to public using (title <> 'a text')",
    "the operator": "create policy secret on {} as restrictive to kos_operator using (false)",
    "its owner": "create policy secret on {} as restrictive for all to kos_owner using (title <> 'a text')",
    "nobody is let in": "drop policy operator_access on {0}; drop policy capture_access on {0}",
}


@pytest.fixture
def store(full_store: Store) -> Store:
    """Objects need object storage."""
    return full_store


@pytest.fixture
def bucket(store: Store) -> Bucket:
    return bucket_of(store, "a test")


def referred(store: Store, name: str = "acme") -> str:
    """An object that a document refers to."""
    with store.tenant(name) as session:
        digest = put_object(session, TEXT)
        refer(session, digest)
    return digest


@pytest.mark.parametrize("tier", ["row", "schema"])
def test_what_is_hidden_from_applications_is_neither_collected_nor_left_out(
    store: Store, bucket: Bucket, full_superuser: psycopg.Connection[Any], tmp_path: Path, tier: str
) -> None:
    tenant, other = create_tenant(store, "acme", tier), create_tenant(store, "other", tier)
    kept, alone = referred(store), put_alone(store, b"alone")
    with store.tenant("other") as session:
        # The operator sees every tenant: another's document about the same content is no reference to this object.
        refer(session, put_object(session, b"alone"), 5)
    for schema in {tenant.schema, other.schema}:
        full_superuser.execute(
            f"create policy secret on {schema}.documents as restrictive for all to kos_app using (title <> 'a text')"
        )
    with store.tenant("acme") as acme:
        assert acme.execute("select count(*) from documents").fetchone() == (0,)
    planned = plan_export(store, "acme", tmp_path / "planned")
    assert (planned.rows["documents"], planned.objects) == (1, 1)
    done = export_tenant(store, "acme", tmp_path / "export")
    assert (done.rows["documents"], done.objects) == (1, 1)
    assert (tmp_path / "export" / "objects" / kept).read_bytes() == TEXT
    collected = collect_all(store, tenant)
    assert (collected.found, collected.deleted) == (1, 1)
    assert stored(bucket, tenant) == {kept}
    assert alone in stored(bucket, other)
    bucket.delete(tenant.id, kept)
    assert [each.sha256 for each in missing_objects(store, tenant)] == [kept]


@pytest.mark.parametrize("hidden_from", POLICIES)
def test_where_rows_may_be_hidden_from_the_operator_nothing_is_done(
    store: Store,
    tenant: Tenant,
    bucket: Bucket,
    full_superuser: psycopg.Connection[Any],
    tmp_path: Path,
    hidden_from: str,
) -> None:
    kept, alone = referred(store), put_alone(store, b"alone")
    full_superuser.execute(POLICIES[hidden_from].format("knowledge.documents"))
    asked: list[Callable[[], object]] = [
        lambda: collect_all(store, tenant),
        lambda: missing_objects(store, tenant),
        lambda: plan_export(store, "acme", tmp_path / "export"),
        lambda: export_tenant(store, "acme", tmp_path / "export"),
    ]
    for ask in asked:
        with pytest.raises(TenantRowsHidden) as caught:
            ask()
        assert (caught.value.tenant, caught.value.table) == ("acme", "knowledge.documents")
    assert stored(bucket, tenant) == {kept, alone}
    assert not (tmp_path / "export").exists()
    # The next command is one that mends it.
    full_superuser.execute(caught.value.next_command)
    assert collect_all(store, tenant).deleted == 1
    assert json.loads((export_tenant(store, "acme", tmp_path / "export").path / "manifest.json").read_text())


def test_a_policy_that_comes_while_an_export_begins_leaves_nothing_out(
    store: Store,
    tenant: Tenant,
    bucket: Bucket,
    full_superuser: psycopg.Connection[Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It counts for rows at once, and its own row is newer than the export's snapshot."""
    referred(store)

    def pin(data: Any) -> None:
        full_superuser.execute(POLICIES["every reader"].format("knowledge.documents"))
        exporting_pin(data)

    exporting = importlib.import_module("kos.knowledge.exchange.export")
    exporting_pin = exporting.pin
    monkeypatch.setattr(exporting, "pin", pin)
    with pytest.raises(TenantRowsHidden):
        export_tenant(store, "acme", tmp_path / "export")
    assert not (tmp_path / "export").exists()
