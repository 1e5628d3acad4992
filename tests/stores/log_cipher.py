"""The cipher of the log, written a second time: what SQL has encrypted must open here, and the reverse."""

from __future__ import annotations

import base64
import hmac
import os
from itertools import count
from uuid import UUID


def _hmac(key: bytes, message: bytes) -> bytes:
    return hmac.digest(key, message, "sha256")


def _mask(key: bytes, nonce: bytes, data: bytes) -> bytes:
    stream_key = _hmac(key, b"kos log stream")
    stream = bytearray()
    for number in count(1):
        if len(stream) >= len(data):
            break
        stream += _hmac(stream_key, nonce + number.to_bytes(4, "big"))
    return bytes(a ^ b for a, b in zip(data, stream, strict=False))


def _tag(key: bytes, key_id: UUID, tenant: UUID, column: str, masked: bytes) -> bytes:
    name = column.encode()
    whose = tenant.bytes + key_id.bytes + len(name).to_bytes(4, "big") + name
    return _hmac(_hmac(key, b"kos log tag"), whose + masked)


def encrypt(key: bytes, key_id: UUID, tenant: UUID, column: str, value: str) -> str:
    nonce = os.urandom(16)
    masked = nonce + _mask(key, nonce, value.encode())
    return f"\\E{key_id}:{base64.b64encode(masked + _tag(key, key_id, tenant, column, masked)).decode()}"


def decrypt(key: bytes, key_id: UUID, tenant: UUID, column: str, stored: str) -> str:
    head, text = stored.split(":")
    assert head == f"\\E{key_id}"
    content = base64.b64decode(text, validate=True)
    masked, tag = content[:-32], content[-32:]
    assert hmac.compare_digest(tag, _tag(key, key_id, tenant, column, masked))
    return _mask(key, masked[:16], masked[16:]).decode()
