"""Writers, collectors and holds at once: each side is stopped where it would do harm to the other."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.pq import TransactionStatus
from psycopg.sql import SQL, Identifier

from documents import TEXT, collect_all, put_alone, refer, stored, until
from kos.errors import ConnectionLost
from kos.knowledge import objects
from kos.knowledge.bucket import Bucket, bucket_of
from kos.knowledge.objects import (
    hold,
    missing_objects,
    put_object,
    take_back,
)
from kos.knowledge.removal import remove
from kos.tenancy import Place, Store, Tenant
from kos.tenancy.store import Connection
from kos.translate import translated
from waiting import ADVISORY, waiters

INTRANS = TransactionStatus.INTRANS


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


@pytest.fixture
def limited(store: Store, full_superuser: psycopg.Connection[Any]) -> None:
    """What administrators set for all roles: nothing may be idle in a transaction for longer than a minute."""
    names = {
        "role": Identifier(store.topology.control.operator.user),
        "database": Identifier(store.topology.control.primary.database),
    }
    for setting in ("idle_in_transaction_session_timeout", "transaction_timeout"):
        alter = SQL("alter role {role} in database {database} set {setting} = '60s'")
        full_superuser.execute(alter.format(setting=Identifier(setting), **names))


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[Connection]:
    """The operator's connections, as they are opened."""
    noted: list[Connection] = []
    operator = Store.operator

    @contextmanager
    def noting(self: Store, place: Place | None = None) -> Iterator[Connection]:
        with operator(self, place) as connection:
            noted.append(connection)
            yield connection

    monkeypatch.setattr(Store, "operator", noting)
    return noted


def limits_of(connections: list[Connection]) -> list[tuple[int, int]]:
    """Seconds that those in a transaction may last, and may be idle."""
    query = """select extract(epoch from current_setting('transaction_timeout')::interval)::integer,
                      extract(epoch from current_setting('idle_in_transaction_session_timeout')::interval)::integer"""
    inside = [each for each in connections if not each.closed and each.info.transaction_status == INTRANS]
    return [each.execute(query).fetchall()[0] for each in inside]


@pytest.mark.usefixtures("limited")
def test_keys_are_held_for_as_long_as_a_deletion_may_take(
    store: Store, tenant: Tenant, bucket: Bucket, opened: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Object storage may stall. A server that ended a transaction first would let a writer or a hold in, and then the
    deletion would come and take what that wants to keep."""
    limits: list[tuple[int, int]] = []
    delete = Bucket.delete

    def asked(self: Bucket, owner: UUID, digest: str) -> None:
        limits.extend(limits_of(opened))
        delete(self, owner, digest)

    put_alone(store, TEXT)
    monkeypatch.setattr(Bucket, "delete", asked)
    assert collect_all(store, tenant).deleted == 1
    of_object, of_holds = limits
    config = bucket.client.meta.config
    assert of_object[0] > config.retries["total_max_attempts"] * (config.connect_timeout + config.read_timeout)
    assert (of_object[1], of_holds) == (0, (0, 0))


@pytest.mark.usefixtures("limited")
def test_a_removal_keeps_its_locks_as_well(
    store: Store, tenant: Tenant, opened: list[Connection], monkeypatch: pytest.MonkeyPatch
) -> None:
    limits: list[tuple[int, int]] = []
    put_alone(store, TEXT)
    monkeypatch.setattr(Bucket, "delete", lambda *_: limits.extend(limits_of(opened)))
    remove(store, tenant.name)
    assert limits == [(0, 0), (0, 0)]  # of the name, and of the holds


@pytest.mark.parametrize("how", ["collect", "take back", "remove"])
def test_nothing_is_deleted_after_the_lock_was_lost(
    store: Store,
    tenant: Tenant,
    bucket: Bucket,
    full_superuser: psycopg.Connection[Any],
    monkeypatch: pytest.MonkeyPatch,
    how: str,
) -> None:
    """A connection can be lost for many reasons, and whoever makes a hold goes on at once."""
    digests = [put_alone(store, text) for text in (b"one", b"two", b"three")]
    delete = Bucket.delete
    end = """select pg_terminate_backend(pid, 20000) from pg_locks
              where locktype = 'advisory' and (classid::bigint << 32 | objid::bigint) = kos.holds_key()"""

    def and_then_it_is_lost(self: Bucket, owner: UUID, digest: str) -> None:
        delete(self, owner, digest)
        full_superuser.execute(end)

    monkeypatch.setattr(Bucket, "delete", and_then_it_is_lost)
    does = {
        "collect": lambda: collect_all(store, tenant),
        "take back": lambda: take_back(store, tenant, digests, uuid4()),
        "remove": lambda: remove(store, tenant.name),
    }
    with pytest.raises(psycopg.OperationalError) as caught:
        does[how]()
    assert isinstance(translated(caught.value), ConnectionLost)
    assert len(stored(bucket, tenant)) == 2


def test_a_writer_that_fails_leaves_an_object_to_collect(store: Store, tenant: Tenant) -> None:
    with pytest.raises(RuntimeError), store.tenant("acme") as acme:
        refer(acme, put_object(acme, TEXT))
        raise RuntimeError
    assert collect_all(store, tenant).deleted == 1
