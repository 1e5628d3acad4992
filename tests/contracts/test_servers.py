"""The servers that the contracts are held to: each starts, answers, dies and comes back."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import redis

from fix_arcadedb import OwnArcadeDB
from fix_exports import until
from fix_neo4j import OwnNeo4j
from fix_proxy import ProxyTo
from fix_redis import OwnCache
from kos.errors import StoreUnavailable
from kos.topology import cache, graph
from own_server import OwnServer

KILLED = """
import sys, time
sys.path.insert(0, sys.argv[1])
from fix_redis import OwnCache
with OwnCache("valkey") as server:
    print(server.process.pid, server.site.folder, flush=True)
    time.sleep(600)
"""


def test_a_cache_forgets_when_it_is_killed(own_cache: OwnCache) -> None:
    assert cache.probe(own_cache.store, 5).kind == own_cache.kind
    with cache.open(own_cache.store) as client:
        client.set("a", "1")
        own_cache.kill()
        with pytest.raises(redis.ConnectionError):
            client.get("a")
        own_cache.start()
        assert client.get("a") is None


def test_a_cache_can_be_full(own_cache: OwnCache) -> None:
    own_cache.stop()
    own_cache.start("--maxmemory", "2mb", "--maxmemory-policy", "noeviction")
    with cache.open(own_cache.store) as client, pytest.raises(redis.exceptions.OutOfMemoryError):
        for number in range(100):
            client.set(f"key {number}", bytes(100_000))


def test_a_frozen_cache_answers_when_it_is_thawed(own_cache: OwnCache) -> None:
    own_cache.freeze()
    with cache.open(own_cache.store, connect_seconds=0.2) as client, pytest.raises(redis.TimeoutError):
        client.ping()
    own_cache.thaw()
    assert cache.probe(own_cache.store, 30)


def test_a_cache_behind_a_proxy(own_cache: OwnCache, proxy_to: ProxyTo) -> None:
    proxy = proxy_to(own_cache.store)
    with cache.open(proxy.of(own_cache.store)) as client:
        assert client.ping()
        proxy.cut()
        assert client.ping()  # its pool saw that the connection was gone
        assert proxy.connections == 2
        proxy.refuse()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        proxy.heal()
        assert client.ping()


def test_a_server_ends_with_the_process_that_started_it() -> None:
    command = [sys.executable, "-c", KILLED, str(Path(__file__).parents[1])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout
        pid, folder = tests.stdout.readline().split()
        server = psutil.Process(int(pid))
        tests.kill()
    until(lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)
    until(lambda: not Path(folder).exists())


@pytest.mark.long
def test_arcadedb_keeps_what_it_was_told_when_it_is_killed(own_arcadedb: OwnArcadeDB, proxy_to: ProxyTo) -> None:
    assert graph.probe(own_arcadedb.store, 30).kind == "arcadedb"
    _keeps(own_arcadedb, proxy_to)


@pytest.mark.long
def test_neo4j_keeps_what_it_was_told_when_it_is_killed(own_neo4j: OwnNeo4j, proxy_to: ProxyTo) -> None:
    answer = graph.probe(own_neo4j.store, 30)
    assert (answer.kind, answer.version) == ("neo4j", "5.26.30")
    _keeps(own_neo4j, proxy_to)


def _keeps(server: OwnServer, proxy_to: ProxyTo) -> None:
    through = proxy_to(server.store).of(server.store)
    with graph.open(through) as driver, driver.session(database=through.database) as session:
        session.run("CREATE (:Kept {number: 7})").consume()
    server.kill()
    with pytest.raises(StoreUnavailable):
        graph.probe(through, 5)
    server.start()
    with graph.open(through) as driver, driver.session(database=through.database) as session:
        assert session.run("MATCH (n:Kept) RETURN n.number").single(strict=True).value() == 7
        session.run("MATCH (n:Kept) DELETE n").consume()
