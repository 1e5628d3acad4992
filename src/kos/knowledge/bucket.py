"""Objects as S3 knows them: named by tenant and digest, written whole, never changed.

Nothing here knows about rows; see `objects.py` for what may be written and deleted when.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from typing import Any, BinaryIO
from uuid import UUID
from weakref import WeakKeyDictionary, finalize

from kos.errors import ContentChanged, ObjectDamaged, ObjectMissing, StoreNotConfigured, StoreUnavailable
from kos.tenancy import Store, Tenant
from kos.topology import ObjectStore
from kos.topology import objects as opening

STORE = "object storage"  # as errors name it
_PIECE = 1 << 20


@dataclass(frozen=True)
class StoredObject:
    """One object as the bucket lists it."""

    sha256: str
    bytes: int
    modified: datetime


class Bucket:
    """The bucket of a topology. Its methods may be called from several threads.

    Raises from every method:
        StoreUnavailable: object storage does not answer, or refuses.
    """

    def __init__(self, objects: ObjectStore) -> None:
        self._name = objects.bucket
        self._address = objects.address
        self.client = opening.open(objects)
        self.process = os.getpid()

    def close(self) -> None:
        """Close the client's connections."""
        self.client.close()

    def size(self, tenant: UUID, sha256: str) -> int | None:
        """The size of an object in bytes; None where there is no such object."""
        with self._explained():
            try:
                return int(self.client.head_object(Bucket=self._name, Key=_key(tenant, sha256))["ContentLength"])
            except self.client.exceptions.ClientError as error:
                if _is_missing(error):
                    return None
                raise

    def put(self, tenant: UUID, sha256: str, content: bytes | BinaryIO) -> None:
        """Write an object. The caller has computed the digest of the same bytes; what is read from a file is compared
        with it on the way.

        Raises:
            ContentChanged: the file has other content by now, and nothing was written.
        """
        body = content if isinstance(content, bytes | bytearray) else _Compared(content, sha256)
        try:
            with self._explained():
                self.client.put_object(Bucket=self._name, Key=_key(tenant, sha256), Body=body)
        except StoreUnavailable as error:
            # What the client has made of the comparison's error, while it was sending.
            if isinstance(body, _Compared) and body.changed is not None:
                raise body.changed from error
            raise

    def read(self, tenant: Tenant, sha256: str) -> Iterator[bytes]:
        """The content in pieces. The last piece comes only if all of it has the digest.

        Raises:
            ObjectMissing: there is no such object.
            ObjectDamaged: its content has another digest.
        """
        digest = hashlib.sha256()
        held = b""
        with self._explained():
            try:
                answer = self.client.get_object(Bucket=self._name, Key=_key(tenant.id, sha256))
            except self.client.exceptions.ClientError as error:
                if _is_missing(error):
                    raise ObjectMissing(tenant.name, sha256) from error
                raise
            with closing(answer["Body"]) as body:
                for piece in body.iter_chunks(_PIECE):
                    digest.update(piece)
                    yield held
                    held = piece
        if digest.hexdigest() != sha256:
            raise ObjectDamaged(tenant.name, sha256, digest.hexdigest())
        yield held

    def delete(self, tenant: UUID, sha256: str) -> None:
        """Delete an object; harmless where there is none."""
        with self._explained():
            self.client.delete_object(Bucket=self._name, Key=_key(tenant, sha256))

    def pages(self, tenant: UUID) -> Iterator[list[StoredObject]]:
        """All objects of a tenant, a page (at most 1000) at a time, in the order of their digests."""
        with self._explained():
            pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=f"{tenant}/sha256/")
            for page in pages:
                yield [_stored(entry) for entry in page.get("Contents", ())]

    @contextmanager
    def _explained(self) -> Iterator[None]:
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except ClientError as error:
            raise StoreUnavailable(STORE, self._address, error.response["Error"]["Code"]) from error
        except BotoCoreError as error:
            raise StoreUnavailable(STORE, self._address, " ".join(str(error).split())) from error


class _Compared:
    """A file whose end is read only if all of it has the digest: a transfer of other content never becomes complete,
    and so leaves no object. It may be read several times from the beginning: to sign the request, to send it again."""

    def __init__(self, content: BinaryIO, sha256: str) -> None:
        self.changed: ContentChanged | None = None
        self._content = content
        self._sha256 = sha256
        self._size = content.seek(0, os.SEEK_END)
        self.seek(0)

    def read(self, size: int = -1) -> bytes:
        piece = self._content.read(size)
        self._digest.update(piece)
        at_end = not piece or self._content.tell() >= self._size
        if at_end and size != 0 and self._digest.hexdigest() != self._sha256:
            self.changed = ContentChanged(self._sha256, self._digest.hexdigest())
            raise self.changed
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        self._digest = hashlib.sha256()
        return self._content.seek(offset, whence)

    def tell(self) -> int:
        return self._content.tell()


_buckets: WeakKeyDictionary[Store, Bucket] = WeakKeyDictionary()
_opening = Lock()


def _begin_anew() -> None:
    """In a child that was forked: another thread of its parent may have held the lock."""
    global _opening  # noqa: PLW0603
    _opening = Lock()


os.register_at_fork(after_in_child=_begin_anew)


def bucket_of(store: Store, wanted_by: str) -> Bucket:
    """The bucket of a store's topology, opened once per store and process, and closed when the store is forgotten.

    Raises:
        StoreNotConfigured: the topology has no object storage; `wanted_by` says who asked for it.
    """
    if store.topology.objects is None:
        raise StoreNotConfigured("objects", wanted_by)
    with _opening:
        bucket = _buckets.get(store)
        if (
            bucket is None or bucket.process != os.getpid()
        ):  # a fork: on its parent's connections come the parent's answers
            bucket = _buckets[store] = Bucket(store.topology.objects)
            finalize(store, bucket.close)
        return bucket


def _key(tenant: UUID, sha256: str) -> str:
    return f"{tenant}/sha256/{sha256[:2]}/{sha256}"


def _stored(entry: dict[str, Any]) -> StoredObject:
    return StoredObject(entry["Key"].rsplit("/", 1)[1], int(entry["Size"]), entry["LastModified"])


def _is_missing(error: Any) -> bool:
    return error.response["Error"]["Code"] in {"404", "NoSuchKey", "NotFound"}
