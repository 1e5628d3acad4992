"""Opening the cache."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from kos.errors import StoreUnavailable
from kos.topology.answer import Answer, one_line
from kos.topology.model import CacheServer, Login
from kos.topology.tls import authorities

if TYPE_CHECKING:
    from redis import Redis
    from redis.asyncio import Redis as AsyncRedis

CONNECT_SECONDS = 5.0


def open(cache: CacheServer, *, connect_seconds: float = CONNECT_SECONDS) -> Redis:
    """A client for `cache`. It connects when it is used; the caller closes it.

    The password is read for every new connection. A cache is asked briefly and retried never: its user goes on
    without it.
    """
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    return Redis(retry=Retry(NoBackoff(), 0), **_options(cache, connect_seconds))


def open_async(cache: CacheServer, *, connect_seconds: float = CONNECT_SECONDS) -> AsyncRedis:
    """The same for asyncio."""
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis(retry=Retry(NoBackoff(), 0), **_options(cache, connect_seconds))


def _options(cache: CacheServer, connect_seconds: float) -> dict[str, Any]:
    options: dict[str, Any] = {
        "host": cache.host,
        "port": cache.port,
        "db": cache.database,
        "socket_connect_timeout": connect_seconds,
        "socket_timeout": connect_seconds,
        "client_name": "kos",
        "health_check_interval": 30,
    }
    if cache.login:
        options["credential_provider"] = _credentials(cache.login)
    if cache.host.startswith("/"):
        options["unix_socket_path"] = cache.host
    elif cache.tls and cache.tls.mode != "disable":
        options |= {
            "ssl": True,
            "ssl_cert_reqs": "required",
            "ssl_check_hostname": True,
            "ssl_ca_certs": authorities(cache.tls),
            "ssl_certfile": cache.tls.certificate and str(cache.tls.certificate),
            "ssl_keyfile": cache.tls.key and str(cache.tls.key),
        }
    return options


def _credentials(login: Login) -> Any:
    from redis.credentials import CredentialProvider

    class Credentials(CredentialProvider):
        def get_credentials(self) -> tuple[str, str]:
            return login.user, login.password.read() if login.password else ""

        async def get_credentials_async(self) -> tuple[str, str]:
            return await asyncio.to_thread(self.get_credentials)  # a command may take its time

    return Credentials()


def probe(cache: CacheServer, seconds: int) -> Answer:
    """Ask the server something through its driver.

    Raises:
        StoreUnavailable: it does not answer, or refuses.
        SecretUnavailable: the password can't be read.
    """
    from redis.exceptions import NoPermissionError, RedisError

    try:
        with open(cache, connect_seconds=seconds) as client:
            client.ping()
            try:
                facts = client.info("server")
            except NoPermissionError:
                facts = {}  # an account that may read and write keys, and no more, is fine
    except (RedisError, OSError) as error:
        raise StoreUnavailable("the cache", cache.address, one_line(error)) from error
    kind = "valkey" if "valkey_version" in facts else "redis"
    return Answer(kind, str(facts.get(f"{kind}_version", "unknown")))
