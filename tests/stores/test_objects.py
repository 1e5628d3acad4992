"""Objects: what a document refers to stays, what nothing refers to goes."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from uuid import UUID

import pytest

from documents import NO_GRACE, TEXT, collect_all, put_alone, refer, stored, until
from fix_samples import child_environment
from kos.errors import ContentChanged, ObjectDamaged, ObjectMissing, StoreNotConfigured, StoreUnavailable, UnknownHold
from kos.knowledge import objects
from kos.knowledge.bucket import Bucket, bucket_of
from kos.knowledge.objects import (
    Collected,
    Upload,
    collect,
    get_object,
    held,
    hold,
    list_holds,
    missing_objects,
    put_object,
    put_objects,
    release,
    remove_objects,
)
from kos.tenancy import Store, Tenant, create_tenant
from kos.topology.model import Topology

CLI = [sys.executable, "-c", "from kos.cli import main; main()"]


@pytest.fixture
def store(full_store: Store) -> Store:
    """Objects need object storage."""
    return full_store


@pytest.fixture
def bucket(store: Store) -> Bucket:
    return bucket_of(store, "a test")


# putting and getting


def test_what_was_put_is_got_back(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    with store.tenant("acme") as acme:
        digest = put_object(acme, TEXT)
        refer(acme, digest)
    assert digest == sha256(TEXT).hexdigest()
    with store.tenant("acme", read_only=True) as acme:
        assert get_object(acme, digest) == TEXT
    keys = [
        entry["Key"] for entry in bucket.client.list_objects_v2(Bucket=bucket._name, Prefix=f"{tenant.id}/")["Contents"]
    ]
    assert keys == [f"{tenant.id}/sha256/{digest[:2]}/{digest}"]


@pytest.mark.parametrize("content", [b"", b"\x00" * 3, bytes(range(256)) * 12_000], ids=["empty", "zeros", "3 MB"])
def test_any_bytes_can_be_an_object(store: Store, tenant: Tenant, content: bytes) -> None:
    digest = put_alone(store, content)
    with store.tenant("acme") as acme:
        assert get_object(acme, digest) == content


def test_the_same_content_is_written_once(
    store: Store, tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = put_alone(store, TEXT)
    monkeypatch.setattr(Bucket, "put", lambda *_: pytest.fail("it is there already"))
    assert put_alone(store, TEXT) == digest


def test_an_object_of_another_length_is_written_again(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    digest = put_alone(store, TEXT)
    bucket.put(tenant.id, digest, TEXT[:-3])
    assert put_alone(store, TEXT) == digest
    with store.tenant("acme") as acme:
        assert get_object(acme, digest) == TEXT


def test_tenants_have_no_objects_in_common(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    other = create_tenant(store, "other")
    digest = put_alone(store, TEXT)
    with store.tenant("other") as session, pytest.raises(ObjectMissing) as caught:
        get_object(session, digest)
    assert (caught.value.tenant, caught.value.sha256) == ("other", digest)
    assert stored(bucket, other) == set()


@pytest.mark.parametrize("content", [TEXT[:-1], TEXT.upper(), b""])
def test_other_content_under_the_name_is_damage(store: Store, tenant: Tenant, bucket: Bucket, content: bytes) -> None:
    digest = put_alone(store, TEXT)
    bucket.put(tenant.id, digest, content)
    with store.tenant("acme") as acme, pytest.raises(ObjectDamaged) as caught:
        get_object(acme, digest)
    assert caught.value.found == sha256(content).hexdigest()


def test_many_objects_are_put_at_once(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    contents = [str(number).encode() for number in range(40)]
    uploads = [Upload(sha256(each).hexdigest(), len(each), lambda each=each: BytesIO(each)) for each in contents]
    put_alone(store, contents[7])
    with held(store, tenant, "a test"):
        assert put_objects(store, tenant, uploads) == 39
    assert stored(bucket, tenant) == {upload.sha256 for upload in uploads}
    assert remove_objects(store, tenant) == 40
    assert stored(bucket, tenant) == set()


class Turning(BytesIO):
    """Another content from the second time on that it is read from the beginning."""

    passes = 0

    def __init__(self, first: bytes, then: bytes) -> None:
        super().__init__(first)
        self.then = then

    def read(self, size: int | None = -1, /) -> bytes:
        if self.tell() == 0:
            self.passes += 1
            if self.passes == 2:
                self.seek(0)
                self.truncate()
                self.write(self.then)
                self.seek(0)
        return super().read(size)


LARGE = bytes(range(256)) * 2_000  # more than is sent at once


@pytest.mark.parametrize(
    "then", [LARGE[::-1], LARGE[:-1], LARGE + b"more", b""], ids=["other", "shorter", "longer", "empty"]
)
def test_content_that_changes_while_it_is_put_is_not_stored(
    store: Store, tenant: Tenant, bucket: Bucket, then: bytes
) -> None:
    """The client reads it once to sign the request, and once more to send it."""
    digest = sha256(LARGE).hexdigest()
    for content in (BytesIO(then), Turning(LARGE, then)):
        upload = Upload(digest, len(LARGE), lambda content=content: content)
        with pytest.raises(ContentChanged) as caught:
            put_objects(store, tenant, [upload])
        assert caught.value.sha256 == digest
        until(lambda: stored(bucket, tenant) == set())  # the server may not have seen yet that nothing more comes


def test_a_topology_without_object_storage_says_so(database: Topology) -> None:

    with Store(database) as alone:
        tenant = create_tenant(alone, "acme")
        with alone.tenant("acme") as acme, pytest.raises(StoreNotConfigured):
            put_object(acme, TEXT)
        with pytest.raises(StoreNotConfigured):
            collect(alone, tenant)


def test_a_server_that_does_not_answer_is_named(
    store: Store, tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    from botocore.exceptions import EndpointConnectionError

    def refuse(**_: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    monkeypatch.setattr(bucket.client, "head_object", refuse)
    with store.tenant("acme") as acme, pytest.raises(StoreUnavailable) as caught:
        put_object(acme, TEXT)
    assert caught.value.store == "object storage"
    assert caught.value.retryable


# collecting


def test_only_what_nothing_refers_to_is_collected(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    with store.tenant("acme") as acme:
        kept, deleted, gone = (put_object(acme, text) for text in (b"kept", b"deleted", b"gone"))
        refer(acme, kept, 4)
        refer(acme, kept, 4)
        marked = refer(acme, deleted, 7)
        removed = refer(acme, gone, 4)
        alone = put_object(acme, b"alone")
    with store.tenant("acme") as acme:
        acme.execute("update documents set deleted_at = now() where id = %s", (marked,))
        acme.execute("delete from documents where id = %s", (removed,))
    assert collect_all(store, tenant) == Collected("acme", held=False, found=2, bytes=9, deleted=2, busy=0)
    assert stored(bucket, tenant) == {kept, deleted}
    assert alone not in stored(bucket, tenant)
    assert collect_all(store, tenant) == Collected("acme", held=False)


def test_a_young_object_is_left_alone(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    digest = put_alone(store, TEXT)
    written = next(each.modified for page in bucket.pages(tenant.id) for each in page)
    hour = timedelta(hours=1)
    assert collect(store, tenant, grace=hour, now=lambda: written + hour).found == 0
    later = written + hour + timedelta(seconds=1)
    assert collect(store, tenant, grace=hour, now=lambda: later, dry_run=True).found == 1
    assert stored(bucket, tenant) == {digest}
    assert collect(store, tenant, grace=hour, now=lambda: later).deleted == 1
    assert stored(bucket, tenant) == set()


def test_a_day_of_grace_is_given_if_nothing_is_said(store: Store, tenant: Tenant) -> None:
    put_alone(store, TEXT)
    assert collect(store, tenant).found == 0
    assert collect(store, tenant, now=lambda: datetime.now(UTC) + timedelta(days=1, minutes=1)).found == 1


@pytest.mark.parametrize("tier", ["schema", "database"])
def test_every_tier_is_collected_by_its_own_documents(store: Store, tier: str) -> None:
    tenant, other = create_tenant(store, "acme", tier), create_tenant(store, "other")
    with store.tenant("acme") as acme:
        refer(acme, put_object(acme, b"kept"), 4)
    digest = put_alone(store, b"alone")
    with store.tenant("other") as session:
        # Another tenant's document about the same content is no reference to this tenant's object.
        refer(session, put_object(session, b"alone"), 5)
    assert collect_all(store, tenant).deleted == 1
    assert missing_objects(store, other) == missing_objects(store, tenant) == []
    assert digest not in stored(bucket_of(store, "a test"), tenant)


def test_more_objects_than_a_page_are_collected(
    store: Store, tenant: Tenant, bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects, "DELETIONS", 3)
    for number in range(8):
        put_alone(store, str(number).encode())
    heard: list[int] = []
    moment = datetime.now(UTC) + timedelta(minutes=1)
    collected = collect(
        store, tenant, grace=NO_GRACE, now=lambda: moment, progress=lambda _, done, __: heard.append(done)
    )
    assert (collected.found, collected.deleted) == (8, 8)
    assert heard == [8]


# holds


@dataclass(frozen=True)
class HeldBy:
    """Whose objects a hold is about, and until when from now."""

    tenant: str | None
    hours: float | None


@pytest.mark.parametrize(
    ("by", "deleted"),
    [
        (HeldBy("acme", None), 0),
        (HeldBy("acme", 1), 0),
        (HeldBy(None, None), 0),
        (HeldBy("other", None), 1),
        (HeldBy("acme", -1), 1),
    ],
    ids=["this tenant", "for an hour", "all tenants", "another tenant", "over"],
)
def test_nothing_is_collected_while_it_is_held(store: Store, tenant: Tenant, by: HeldBy, deleted: int) -> None:
    tenants = {"acme": tenant, "other": create_tenant(store, "other"), None: None}
    put_alone(store, TEXT)
    until = None if by.hours is None else datetime.now(UTC) + timedelta(hours=by.hours)
    made = hold(store, tenants[by.tenant], reason="a test", created_by="me", until=until)
    collected = collect_all(store, tenant)
    assert (collected.found, collected.deleted, collected.held) == (1, deleted, not deleted)
    release(store, made)
    assert collect_all(store, tenant).deleted == 1 - deleted


def test_holds_in_force_are_listed(store: Store, tenant: Tenant) -> None:
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1)
    first = hold(store, tenant, reason="a lawsuit", created_by="ada", until=soon)
    second = hold(store, None, reason="a backup", created_by="bob")
    hold(store, None, reason="over", created_by="bob", until=soon - timedelta(hours=2))
    found = list_holds(store)
    assert [(each.id, each.tenant, each.reason, each.created_by, each.until) for each in found] == [
        (first, "acme", "a lawsuit", "ada", soon),
        (second, None, "a backup", "bob", None),
    ]
    release(store, first)
    assert [each.id for each in list_holds(store)] == [second]
    with pytest.raises(UnknownHold):
        release(store, first)


def test_a_block_is_held_until_it_ends_whatever_happens(store: Store, tenant: Tenant) -> None:
    with pytest.raises(RuntimeError), held(store, tenant, "a test"):
        [found] = list_holds(store)
        assert found.until is not None
        assert found.until - datetime.now(UTC) > timedelta(days=6)
        raise RuntimeError
    assert list_holds(store) == []


# references to nothing


def test_documents_without_their_object_are_found(store: Store, tenant: Tenant, bucket: Bucket) -> None:
    with store.tenant("acme") as acme:
        whole, gone, cut = (put_object(acme, text) for text in (b"whole", b"gone", b"cut short"))
        refer(acme, whole, 5)
        documents = [refer(acme, gone, 4), refer(acme, cut, 9)]
    assert missing_objects(store, tenant) == []
    bucket.delete(tenant.id, gone)
    bucket.put(tenant.id, cut, b"cut")
    found = {(each.document, each.sha256, each.bytes, each.found) for each in missing_objects(store, tenant)}
    assert found == {(documents[0], gone, 4, None), (documents[1], cut, 9, 3)}


def test_a_document_that_was_removed_meanwhile_refers_to_nothing(
    store: Store, tenant: Tenant, monkeypatch: pytest.MonkeyPatch
) -> None:
    with store.tenant("acme") as acme:
        refer(acme, put_object(acme, TEXT))
    pages = Bucket.pages

    def remove_and_list(self: Bucket, tenant_id: UUID) -> object:
        with store.tenant("acme") as acme:
            acme.execute("delete from documents")
        monkeypatch.setattr(Bucket, "pages", pages)
        collect_all(store, tenant)
        return pages(self, tenant_id)

    monkeypatch.setattr(Bucket, "pages", remove_and_list)
    assert missing_objects(store, tenant) == []


# the command line


def run(store: Store, folder: Path, *words: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    environment = child_environment(store.topology, folder)
    return subprocess.run([*CLI, *words], env=environment, input=answer, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_the_commands_collect_and_hold(store: Store, tenant: Tenant, bucket: Bucket, tmp_path: Path) -> None:
    put_alone(store, TEXT)

    def json_of(*words: str) -> dict[str, object]:
        done = run(store, tmp_path, *words, "--json")
        assert done.returncode == 0, done.stderr
        return dict(json.loads(done.stdout))

    made = json_of("objects", "hold", "--tenant", "acme", "--reason", "a lawsuit", "--until", "2999-12-31")
    [listed] = json.loads(run(store, tmp_path, "objects", "holds", "--json").stdout)["holds"]
    assert (listed["id"], listed["tenant"], listed["reason"]) == (made["id"], "acme", "a lawsuit")
    assert listed["until"].startswith("2999-12-31T00:00:00")
    assert json_of("objects", "collect", "--grace", "0", "--yes")["deleted"] == 0
    assert json_of("objects", "release", str(made["id"]), "--dry-run")["released"] is False
    assert json_of("objects", "release", str(made["id"]))["released"] is True
    until(lambda: json_of("objects", "collect", "--grace", "0", "--dry-run")["tenants"][0]["found"] == 1)  # type: ignore[index]
    assert len(stored(bucket, tenant)) == 1
    assert json_of("objects", "collect", "--tenant", "acme", "--grace", "0", "--yes")["deleted"] == 1
    assert stored(bucket, tenant) == set()


@pytest.mark.long
@pytest.mark.parametrize(("answer", "deleted"), [("y\n", 1), ("n\n", 0), ("", 0)])
def test_collecting_asks_first(
    store: Store, tenant: Tenant, bucket: Bucket, tmp_path: Path, answer: str, deleted: int
) -> None:
    put_alone(store, TEXT)
    done = run(store, tmp_path, "objects", "collect", "--grace", "0", answer=answer)
    assert f"delete 1 objects ({len(TEXT)} bytes) of 1 tenants?" in done.stderr
    assert done.returncode == (0 if deleted else 1)
    assert len(stored(bucket, tenant)) == 1 - deleted


@pytest.mark.parametrize("name", ["01900000-0000-7000-8000-00000000000f", "no-uuid"])
def test_a_hold_that_is_not_there_is_wrong_use(store: Store, tmp_path: Path, name: str) -> None:
    done = run(store, tmp_path, "objects", "release", name)
    assert done.returncode == 2
    assert f"there is no hold '{name}'" in done.stderr
