"""Opening the object store."""

from __future__ import annotations

import functools
import os
from contextlib import closing
from threading import Lock
from typing import Any
from urllib.parse import urlsplit

from kos.errors import StoreUnavailable
from kos.topology.answer import Answer, one_line
from kos.topology.model import ObjectStore, is_loopback
from kos.topology.tls import authorities

CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
ATTEMPTS = 3


def open(
    objects: ObjectStore,
    *,
    connect_seconds: float = CONNECT_SECONDS,
    read_seconds: float = READ_SECONDS,
    attempts: int = ATTEMPTS,
) -> Any:
    """An S3 client (boto3) for `objects`. It connects when it is used; the caller closes it.

    Raises:
        SecretUnavailable: a key can't be read. Both are read once, here: boto3 takes no others later.
    """
    from botocore.config import Config

    options: dict[str, Any] = {
        "endpoint_url": objects.endpoint,
        "verify": authorities(objects.tls) or True,
        "config": Config(
            signature_version="s3v4",
            s3={"addressing_style": "path" if objects.endpoint else "auto"},
            connect_timeout=connect_seconds,
            read_timeout=read_seconds,
            retries={"total_max_attempts": attempts, "mode": "standard"},
            user_agent_extra="kos",
            # Where the store is stands in kos.toml: no AWS_ENDPOINT_URL of the user leads elsewhere.
            ignore_configured_endpoint_urls=True,
            # A proxy of the user's environment is not asked for a server of this machine.
            proxies={} if is_loopback(urlsplit(objects.endpoint or "").hostname or "") else None,
            # Servers that speak S3 but are not AWS often know no newer checksums.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        ),
    }
    if objects.access_key is None or objects.secret_key is None:
        import boto3

        return boto3.session.Session(region_name=objects.region).client("s3", **options)
    keys = objects.access_key.read(), objects.secret_key.read()
    with _one_client_at_a_time:
        return _session(objects.region, *keys).client("s3", **options)


_one_client_at_a_time = Lock()  # that a session makes


def _begin_anew() -> None:
    """In a child that was forked: another thread of its parent may have held the lock."""
    global _one_client_at_a_time  # noqa: PLW0603
    _one_client_at_a_time = Lock()


os.register_at_fork(after_in_child=_begin_anew)


@functools.lru_cache(maxsize=8)
def _session(region: str, access_key: str, secret_key: str) -> Any:
    """Kept, for it has read what S3's operations are: a quarter of a second of JSON, which each client would read."""
    import boto3
    from botocore.session import Session

    # With keys of its own, nothing of the user's AWS profile and files counts: not even that they can't be read.
    nothing = (None, None, os.devnull, None)
    own = {"profile": (None, None, None, None), "config_file": nothing, "credentials_file": nothing}
    return boto3.session.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        region_name=region,
        botocore_session=Session(session_vars=own),
    )


def probe(objects: ObjectStore, seconds: float) -> Answer:
    """Ask for the bucket through the driver.

    Raises:
        StoreUnavailable: the server does not answer, refuses, or has no such bucket.
        SecretUnavailable: a key can't be read.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        with closing(open(objects, connect_seconds=seconds, read_seconds=seconds, attempts=1)) as client:
            answer = client.head_bucket(Bucket=objects.bucket)
    except ClientError as error:
        code = error.response["Error"]["Code"]
        reason = {"404": f"there is no bucket {objects.bucket}", "403": "it refuses these keys"}.get(code, code)
        raise StoreUnavailable("object storage", objects.address, reason) from error
    except BotoCoreError as error:
        raise StoreUnavailable("object storage", objects.address, one_line(error)) from error
    server = objects.server or answer["ResponseMetadata"]["HTTPHeaders"].get("server", "")
    return Answer("s3", server or "unknown")
