"""Documents and their objects, as the tests of object storage make and look at them."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from uuid import UUID

from kos.knowledge.bucket import Bucket
from kos.knowledge.objects import Collected, collect, put_object
from kos.tenancy import Session, Store, Tenant

NO_GRACE = timedelta(0)
TEXT = "Fünf Wörter über die Zeit".encode()


def refer(session: Session, digest: str, length: int = len(TEXT)) -> UUID:
    """A document that refers to an object."""
    query = """
        insert into documents (title, media_type, content_sha256, byte_length)
        values ('a text', 'text/plain', %s, %s) returning id
    """
    [(document,)] = session.execute(query, (digest, length)).fetchall()
    assert isinstance(document, UUID)
    return document


def put_alone(store: Store, content: bytes, tenant: str = "acme") -> str:
    """An object that nothing refers to."""
    with store.tenant(tenant) as session:
        return put_object(session, content)


def stored(bucket: Bucket, tenant: Tenant) -> set[str]:
    return {each.sha256 for page in bucket.pages(tenant.id) for each in page}


def collect_all(store: Store, tenant: Tenant) -> Collected:
    """Collect with no grace, a moment later than everything that was written."""
    return collect(store, tenant, grace=NO_GRACE, now=lambda: datetime.now(UTC) + timedelta(minutes=1))


def until(condition: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)
