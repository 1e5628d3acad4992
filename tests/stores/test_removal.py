"""`kos tenant remove`: everything of one tenant, nothing of others, not while it is held, and again after a kill."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from documents import TEXT, put_alone, refer, stored
from fix_samples import child_environment
from kos import cli, errors
from kos.knowledge import removal
from kos.knowledge.bucket import Bucket, bucket_of
from kos.knowledge.objects import hold, put_object, release
from kos.tenancy import Store, Tenant, create_tenant, find_tenant
from kos.tenancy import create as creation
from kos.topology.model import Topology
from suites import short

TIERS = ("row", "schema", "database")


class Killed(BaseException):
    """Not an Exception: as after SIGKILL, no clean-up runs."""


@pytest.fixture
def store(full_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Objects need object storage; the command line works on the same database."""
    for name, value in child_environment(full_store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    return full_store


@pytest.fixture
def bucket(store: Store) -> Bucket:
    return bucket_of(store, "a test")


def filled(store: Store, name: str, tier: str = "row") -> Tenant:
    """A tenant with a document, its object, and an object that nothing refers to."""
    tenant = create_tenant(store, name, tier)
    with store.tenant(name) as session:
        refer(session, put_object(session, TEXT))
    put_alone(store, b"nothing refers to it", name)
    return tenant


def kos(capsys: pytest.CaptureFixture[str], *arguments: str, code: int = errors.DONE) -> Any:
    capsys.readouterr()
    assert cli.run([*arguments, "--json"]) == code
    printed = capsys.readouterr()
    return json.loads(printed.err if code else printed.out)


@pytest.mark.parametrize("tier", short(TIERS, "database"))
def test_everything_of_one_tenant_goes(
    store: Store, bucket: Bucket, capsys: pytest.CaptureFixture[str], tier: str
) -> None:
    gone, other = filled(store, "gone", tier), filled(store, "other", tier)
    planned = kos(capsys, "tenant", "remove", "gone", "--dry-run")
    assert (planned["removed"], planned["rows"]["documents"], planned["objects"]) == (False, 1, 2)
    assert planned["bytes_of_objects"] == len(TEXT) + len(b"nothing refers to it")
    assert len(stored(bucket, gone)) == 2
    done = kos(capsys, "tenant", "remove", "gone", "--yes")
    assert done == planned | {"removed": True}
    with pytest.raises(errors.UnknownTenant):
        find_tenant(store, "gone")
    assert stored(bucket, gone) == set()
    assert len(stored(bucket, other)) == 2
    assert kos(capsys, "tenant", "show", "other")["rows"]["documents"] == 1
    assert kos(capsys, "tenant", "remove", "gone", "--yes", code=errors.WRONG_USE)["error"]["type"] == "UnknownTenant"


def test_it_says_what_is_lost_and_asks(
    store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(store, "gone")
    for answer in ("n\n", ""):
        monkeypatch.setattr("sys.stdin", io.StringIO(answer))
        assert cli.run(["tenant", "remove", "gone"]) == errors.FAILED
        told = capsys.readouterr().err
        assert "documents" in told
        assert "delete the tenant gone (tier row) with 1 rows and 2 objects (48 bytes), for ever?" in told
        assert "--yes" in told
        assert find_tenant(store, "gone").state == "active"
    monkeypatch.setattr("sys.stdin", io.StringIO("y\n"))
    assert cli.run(["tenant", "remove", "gone"]) == errors.DONE
    assert "deleted the tenant gone" in capsys.readouterr().out


@pytest.mark.parametrize("whose", ["its own", "of all tenants"])
def test_a_held_tenant_stays_until_the_hold_is_released(
    store: Store, bucket: Bucket, capsys: pytest.CaptureFixture[str], whose: str
) -> None:
    tenant = filled(store, "gone")
    made = hold(store, tenant if whose == "its own" else None, reason="litigation 4711", created_by="ada")
    for option in ("--yes", "--dry-run"):
        error = kos(capsys, "tenant", "remove", "gone", option, code=errors.REFUSED)["error"]
        assert (error["type"], error["reason"]) == ("TenantHeld", "litigation 4711")
        assert "kos objects release" in error["next"]
    with pytest.raises(errors.TenantHeld):
        removal.remove(store, "gone")  # as if the hold came after the command has looked
    assert find_tenant(store, "gone").state == "active"
    assert len(stored(bucket, tenant)) == 2
    release(store, made)
    kos(capsys, "tenant", "remove", "gone", "--yes")
    assert stored(bucket, tenant) == set()


def test_a_hold_that_comes_meanwhile_keeps_the_objects(
    store: Store, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    tenant = filled(store, "gone")
    take_down = creation._take_down

    def held_then(store: Store, tenant: Tenant) -> None:
        hold(store, None, reason="a backup", created_by="ada")
        take_down(store, tenant)

    monkeypatch.setattr(creation, "_take_down", held_then)
    with pytest.raises(errors.TenantHeld):
        removal.remove(store, "gone")
    assert len(stored(bucket, tenant)) == 2
    assert find_tenant(store, "gone").state == "removing"


@pytest.mark.long
@pytest.mark.parametrize("tier", short(TIERS, "row"))
@pytest.mark.parametrize("killed_at", ["rows", "objects", "an object", "name"])
def test_a_killed_removal_goes_on(
    store: Store,
    bucket: Bucket,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tier: str,
    killed_at: str,
) -> None:
    def dying(*_: object, **__: object) -> None:
        raise Killed

    tenant = filled(store, "gone", tier)
    deleting = Bucket.delete

    def once(self: Bucket, *which: Any) -> None:
        deleting(self, *which)
        raise Killed

    point: dict[str, tuple[Any, str, Any]] = {
        "rows": (creation, "_take_down", dying),
        "objects": (removal, "_remove_objects", dying),
        "an object": (Bucket, "delete", once),
        "name": (creation, "_forget", dying),
    }
    with monkeypatch.context() as patched:
        patched.setattr(*point[killed_at])
        with pytest.raises(Killed):
            removal.remove(store, "gone")
    assert find_tenant(store, "gone").state == "removing"
    with pytest.raises(errors.TenantUnfinished, match="removing"), Store(store.topology) as fresh:
        create_tenant(fresh, "gone", tier)
    done = kos(capsys, "tenant", "remove", "gone", "--yes")
    assert done["rows"] is None
    assert stored(bucket, tenant) == set()
    assert create_tenant(store, "gone", tier).id != tenant.id


def test_a_broken_tenant_can_be_removed(store: Store, bucket: Bucket, capsys: pytest.CaptureFixture[str]) -> None:
    tenant = filled(store, "gone", "schema")
    with store.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute("drop schema tenant_gone cascade")
    assert kos(capsys, "tenant", "remove", "gone", "--yes")["rows"] is None
    assert stored(bucket, tenant) == set()


def test_without_object_storage(database: Topology) -> None:
    with Store(replace(database, objects=None)) as alone:
        create_tenant(alone, "gone")
        told: list[str] = []
        removal.remove(alone, "gone", lambda what, *_: told.append(what))
        assert told == ["rows of gone"], "long work says what it is at"
        with pytest.raises(errors.UnknownTenant):
            find_tenant(alone, "gone")
