"""Errors of drivers and of the system, as errors of kos: each fact once, nothing with a secret."""

from __future__ import annotations

import errno

import psycopg
import pytest
from botocore.exceptions import EndpointConnectionError
from neo4j.exceptions import ServiceUnavailable
from redis.exceptions import ConnectionError as CacheGone

from kos import errors
from kos.translate import translated

GONE = OSError(errno.EACCES, "Permission denied", "/etc/kos")


@pytest.mark.parametrize(
    ("raised", "kind", "said"),
    [
        (
            psycopg.OperationalError("server closed the connection\n  unexpectedly"),
            "ConnectionLost",
            "connection unexp",
        ),
        (psycopg.errors.AdminShutdown("going down"), "ConnectionLost", "going down"),
        (psycopg.errors.DiskFull("no space"), "StoreFull", "no space"),
        (psycopg.errors.DeadlockDetected("deadlock"), "StoreBusy", "deadlock"),
        (psycopg.errors.UndefinedTable("no table"), "StoreRefused", "no table (42P01)"),
        (EndpointConnectionError(endpoint_url="http://x"), "StoreRefused", "object storage refused"),
        (CacheGone("gone"), "StoreRefused", "the cache refused"),
        (ServiceUnavailable("gone"), "StoreRefused", "the graph refused"),
        (GONE, "FileRefused", "/etc/kos can't be used: Permission denied"),
        (OSError(errno.ENOSPC, "No space left on device"), "FileRefused", "a file can't be used: No space left"),
    ],
    ids=lambda value: value if isinstance(value, str) and value[0].isupper() else "",
)
def test_what_is_raised_and_what_is_told(raised: Exception, kind: str, said: str) -> None:
    told = translated(raised)
    assert type(told).__name__ == kind
    assert said in str(told)


def test_an_error_of_ours_stays() -> None:
    error = errors.UnknownTenant("acme")
    assert translated(error) is error


@pytest.mark.parametrize(
    "error", [TypeError(), psycopg.ProgrammingError("no placeholder"), BrokenPipeError(errno.EPIPE, "x")]
)
def test_a_mistake_is_no_fact(error: Exception) -> None:
    assert translated(error) is None
