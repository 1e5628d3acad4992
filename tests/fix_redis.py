"""Caches of the test's own: Valkey from its wheel, and the machine's Redis."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from kos.topology.embedded import cache
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.wheels import Programs, programs
from kos.topology.model import CacheServer, Login, fixed
from own_server import PASSWORD, OwnServer


class OwnCache(OwnServer):
    """A Valkey or a Redis. It keeps nothing on disk: started again, it is empty.

    `start("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")` has it take other settings.
    """

    def __init__(self, kind: str) -> None:
        super().__init__("cache", cache, programs("cache") if kind == "valkey" else _of_the_machine())
        self.kind = kind
        self.store = CacheServer(LOOPBACK, self.site.port, Login("default", fixed(PASSWORD)), None)


def _of_the_machine() -> Programs:
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    return Programs(Path(found).parent, ("redis-server",), "redis-server")


@pytest.fixture(params=["valkey", "redis"])
def own_cache(request: pytest.FixtureRequest) -> Iterator[OwnCache]:
    """A cache of the test's own that runs: once Valkey, once the machine's Redis (Debian 12: 7.0)."""
    with OwnCache(request.param) as server:
        yield server
