"""Writers, collectors and holds at once: each side is stopped where it would do harm to the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from uuid import UUID

import pytest
from psycopg.sql import SQL

from documents import TEXT, collect_all, put_alone, refer, stored, until
from kos.knowledge import objects
from kos.knowledge.bucket import Bucket, bucket_of
from kos.knowledge.objects import (
    hold,
    missing_objects,
    put_object,
)
from kos.tenancy import Place, Store, Tenant
from waiting import ADVISORY, waiters


@pytest.fixture
def store(full_store: Store) -> Store:
    """Objects need object storage."""
    return full_store


@pytest.fixture
def bucket(store: Store) -> Bucket:
    return bucket_of(store, "a test")


@dataclass
class Pause:
    """Stops a thread at a point: `reached` says that it is there, `go` lets it go on."""

    reached: threading.Event = field(default_factory=threading.Event)
    go: threading.Event = field(default_factory=threading.Event)

    def __call__(self) -> None:
        self.reached.set()
        assert self.go.wait(30), "nobody let this thread go on"


@pytest.fixture
def deleting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pause]:
    """The collector stops after it has found nothing that refers to an object, before it deletes that."""
    pause = Pause()
    delete = Bucket.delete

    def paused(self: Bucket, tenant: UUID, digest: str) -> None:
        pause()
        delete(self, tenant, digest)

    monkeypatch.setattr(Bucket, "delete", paused)
    yield pause
    pause.go.set()


@pytest.fixture
def thread() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(2) as pool:
        yield pool


@pytest.fixture(params=["with the lock", "without the lock"])
def locked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether writers take their lock. Without it both races must be lost: else these tests could not fail."""
    if request.param == "with the lock":
        return True
    monkeypatch.setattr(objects.QUERIES, "share_object", SQL("select"))
    return False


def waits_for_a_key(store: Store, tenant: Tenant) -> bool:
    """Whether a session of this database waits for an advisory lock."""
    with store.operator(Place(tenant.shard, tenant.database)) as operator:
        return waiters(operator, ADVISORY) > 0


def test_a_collector_leaves_what_a_writer_is_about_to_refer_to(
    store: Store, tenant: Tenant, bucket: Bucket, locked: bool
) -> None:
    put_alone(store, TEXT)
    with store.tenant("acme") as acme:
        digest = put_object(acme, TEXT)
        refer(acme, digest)
        collected = collect_all(store, tenant)
    assert (collected.found, collected.busy, collected.deleted) == (1, int(locked), int(not locked))
    assert len(missing_objects(store, tenant)) == int(not locked)


def test_a_writer_waits_for_a_collector_that_is_about_to_delete(
    store: Store, tenant: Tenant, thread: ThreadPoolExecutor, deleting: Pause, locked: bool
) -> None:
    put_alone(store, TEXT)

    def write() -> None:
        with store.tenant("acme") as acme:
            refer(acme, put_object(acme, TEXT))

    collecting = thread.submit(collect_all, store, tenant)
    assert deleting.reached.wait(20)
    writing = thread.submit(write)
    until(lambda: writing.done() or waits_for_a_key(store, tenant))
    assert writing.done() is not locked
    deleting.go.set()
    writing.result()
    assert collecting.result().deleted == 1
    assert len(missing_objects(store, tenant)) == int(not locked)


def test_a_collector_sees_a_row_that_came_after_its_first_look(
    store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_alone(store, TEXT)
    look = objects._unreferenced

    def and_then_a_writer_comes(*arguments: object) -> object:
        found = look(*arguments)  # type: ignore[arg-type]
        with store.tenant("acme") as acme:
            refer(acme, put_object(acme, TEXT))
        return found

    monkeypatch.setattr(objects, "_unreferenced", and_then_a_writer_comes)
    collected = collect_all(store, tenant)
    assert (collected.found, collected.deleted, collected.busy) == (1, 0, 0)
    assert missing_objects(store, tenant) == []


def test_a_hold_is_made_after_the_deletions_that_do_not_know_of_it(
    store: Store, tenant: Tenant, bucket: Bucket, thread: ThreadPoolExecutor, deleting: Pause
) -> None:
    for text in (b"one", b"two"):
        put_alone(store, text)
    collecting = thread.submit(collect_all, store, tenant)
    assert deleting.reached.wait(20)
    holding = thread.submit(hold, store, tenant, reason="a test", created_by="me")
    until(lambda: waits_for_a_key(store, tenant))
    assert not holding.done()
    deleting.go.set()
    holding.result()
    there = stored(bucket, tenant)
    collecting.result()
    assert stored(bucket, tenant) == there


def test_a_collector_asks_for_holds_again_before_it_deletes(
    store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_alone(store, TEXT)
    look = objects._unreferenced

    def and_then_a_hold_is_made(*arguments: object) -> object:
        hold(store, tenant, reason="a test", created_by="me")
        return look(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(objects, "_unreferenced", and_then_a_hold_is_made)
    collected = collect_all(store, tenant)
    assert (collected.held, collected.deleted) == (True, 0)


def test_a_writer_that_fails_leaves_an_object_to_collect(store: Store, tenant: Tenant) -> None:
    with pytest.raises(RuntimeError), store.tenant("acme") as acme:
        refer(acme, put_object(acme, TEXT))
        raise RuntimeError
    assert collect_all(store, tenant).deleted == 1
