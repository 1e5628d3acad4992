"""A cache that is gone, slow, full, emptied, restarted or wrong: PostgreSQL answers in time, and nothing is old."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
import redis

from fix_cache import SERVERS, AsyncSite, Site
from fix_proxy import ANSWERS, Proxy, ProxyTo
from fix_redis import OwnCache
from kos import errors
from kos.projections.cache.decisions import Breaker
from kos.topology import cache as opening
from kos.topology.model import Login, fixed
from suites import spread

# What a read may take where the cache takes all its time: the machine may be slow, but a cache that is waited for
# without a limit takes longer than this.
LIMIT = 10.0

LONG = pytest.mark.long
OTHER_POLICIES = ("volatile-lru", "allkeys-random")

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[OwnCache]:
    """A cache of the test's own, which may be stopped."""
    with OwnCache(request.param) as own:
        yield own


@pytest.fixture(params=[Site, AsyncSite], ids=["sync", "async"])
def kind(request: pytest.FixtureRequest) -> type[Site]:
    found: type[Site] = request.param
    return found


def ready(site: Site) -> UUID:
    """An atom that is in the cache."""
    atom = site.insert("Bern")
    site.follower.begin()
    site.reader.budget = 20.0
    assert [site.cached(atom), site.cached(atom)] == ["Bern", "Bern"]
    assert site.reader.counters.hits == 1
    site.reader.budget = 0.05
    return atom


def in_time(read: Callable[[], Any]) -> Any:
    began = time.monotonic()
    found = read()
    assert time.monotonic() - began < LIMIT
    return found


def eventually(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_hit(site: Site, atom: UUID) -> bool:
    before = site.reader.counters.hits
    site.cached(atom)
    return bool(site.reader.counters.hits > before)


Fault = Callable[[Proxy], None]
FAULTS: dict[str, Fault] = {
    "stalls": lambda proxy: proxy.stall(),
    "answers nothing": lambda proxy: proxy.stall(ANSWERS),
    "is slow": lambda proxy: proxy.delay(3.0, ANSWERS),
    "answers drop by drop": lambda proxy: proxy.throttle(20, ANSWERS),
    "resets": lambda proxy: proxy.refuse(),
    "says no more": lambda proxy: proxy.half_close(ANSWERS),
}


@pytest.mark.parametrize("fault", spread(FAULTS.values(), 2), ids=FAULTS)
def test_a_network_that_fails_costs_the_budget_and_no_more(
    fault: Fault, server: OwnCache, proxy_to: ProxyTo, site_of: Any, kind: type[Site]
) -> None:
    proxy = proxy_to(server.store)
    # A turn to load it whose answer was lost is over soon.
    site = site_of(proxy.of(server.store), kind, patience=1.0, lease=1.0)
    atom = ready(site)
    fault(proxy)
    mark = site.rename(atom, "Berne")
    site.follower.end()
    for _ in range(3):
        assert in_time(lambda: site.cached(atom, after=mark)) == "Berne"
    proxy.heal()
    site.reader.budget = 20.0
    eventually(lambda: is_hit(site, atom))
    assert site.cached(atom, after=mark) == "Berne"
    site.follower.follow()
    assert site.cached(atom) == "Berne"


def test_a_failure_leaves_the_cache_alone_for_a_while(server: OwnCache, proxy_to: ProxyTo, site_of: Any) -> None:
    proxy = proxy_to(server.store)
    site = site_of(proxy.of(server.store))
    atom = ready(site)
    proxy.stall()
    site.reader._breaker.pause = 1000.0
    for _ in range(10):
        site.cached(atom)
    counters = site.reader.counters
    assert (counters.failures, counters.resting) == (1, 9)


def test_the_pause_grows_with_each_try_and_ends_with_an_answer() -> None:
    breaker = Breaker()
    now = 0.0
    for _ in range(3):  # three readers had asked at once
        breaker.failed(now)
    pauses = []
    for _ in range(8):
        pauses.append(breaker.pause)
        assert not breaker.allows(now + breaker.pause * 0.9)
        now += breaker.pause
        assert [breaker.allows(now), breaker.allows(now)] == [True, False]
        breaker.failed(now)
    assert pauses == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    breaker.answered()
    assert [breaker.allows(now), breaker.allows(now)] == [True, True]


def test_connections_that_have_ended_are_found_out_at_once(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    """Many wait in the pool: one failure is enough."""
    site = site_of(server.store, kind)
    atom = ready(site)
    site.reader.budget = 20.0
    if isinstance(site, AsyncSite):

        async def many() -> None:
            await asyncio.gather(*(site.cached_there(atom) for _ in range(20)))

        site.runner.run(many())
    else:
        threads = [threading.Thread(target=site.cached, args=(atom,)) for _ in range(20)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
    with opening.open(server.store) as client:
        client.client_kill_filter(_type="normal", skipme=True)
    eventually(lambda: is_hit(site, atom))
    assert site.reader.counters.failures == 1


def test_a_process_that_was_forked_has_connections_of_its_own(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    """Two that read from one connection would have each other's answers."""
    site = site_of(server.store, kind)
    atom, other = ready(site), site.insert("Thun")
    site.reader.budget = 20.0
    site.cached(other)
    site.cached(other)
    hits = site.reader.counters.hits
    child = os.fork()
    if child == 0:
        wrong = 1
        with suppress(BaseException):
            if isinstance(site, AsyncSite):
                site.runner = asyncio.Runner()  # a loop is its process's own
            wrong = int([site.cached(other) for _ in range(300)] != ["Thun"] * 300)
        os._exit(wrong or int(site.reader.counters.hits != hits + 300))
    assert [site.cached(atom) for _ in range(300)] == ["Bern"] * 300
    assert os.waitpid(child, 0)[1] == 0
    assert site.reader.counters.hits == hits + 300


def test_a_server_that_is_killed_and_comes_back(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    site = site_of(server.store, kind)
    atom = ready(site)
    identity = site.follower.projection.identity()
    server.kill()
    mark = site.rename(atom, "Berne")
    assert in_time(lambda: site.cached(atom, after=mark)) == "Berne"
    with pytest.raises(errors.StoreUnavailable):
        site.follower.follow()
    server.start()
    site.reader.budget = 20.0
    assert site.follower.projection.identity() != identity
    eventually(lambda: site.cached(atom) == "Berne" and site.follower.projection.asking() != [])
    with pytest.raises(errors.ProjectionMoved):
        site.follower.follow()
    assert site.follower.projection.live(site.follower.whose) is None
    site.follower.begin()
    assert [site.cached(atom, after=mark) for _ in range(2)] == ["Berne"] * 2
    assert is_hit(site, atom)


def test_a_server_that_comes_back_as_it_was_earlier(server: OwnCache, site_of: Any) -> None:
    """What it wrote to disk is older than what it said since: a reader with a bookmark is not given it."""
    site = site_of(server.store)
    atom = ready(site)
    with opening.open(server.store) as client:
        client.save()
    identity = site.follower.projection.identity()
    mark = site.rename(atom, "Berne")
    site.follower.follow()
    assert site.cached(atom, after=mark) == "Berne"
    server.kill()
    server.start()
    site.reader.budget = 20.0
    assert site.follower.projection.live(site.follower.whose) is not None, "it has come back"
    eventually(lambda: site.cached(atom) == "Bern")
    assert site.cached(atom, after=mark) == "Berne"
    assert site.follower.projection.identity() != identity
    with pytest.raises(errors.ProjectionMoved):
        site.rename(atom, "BERN")
        site.follower.follow()


def test_all_is_flushed(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    site = site_of(server.store, kind)
    atom = ready(site)
    identity = site.follower.projection.identity()
    assert site.follower.projection.identity() == identity
    with opening.open(server.store) as client:
        client.flushall()
    assert site.cached(atom) == "Bern"
    assert site.reader.counters.fills == 1, "a reader does not make a state"
    assert site.follower.projection.identity() != identity
    assert site.follower.projection.asking() == [site.follower.whose]


@pytest.mark.long
@pytest.mark.parametrize("policy", ["allkeys-lru", *(pytest.param(each, marks=LONG) for each in OTHER_POLICIES)])
def test_what_is_evicted_is_read_again(server: OwnCache, site_of: Any, policy: str) -> None:
    server.stop()
    server.start("--maxmemory", "3mb", "--maxmemory-policy", policy)
    site = site_of(server.store)
    site.insert("Bern")
    site.follower.begin()
    long = "x" * 20_000
    atoms = {site.insert(f"{number} {long}"): number for number in range(20)}
    site.follower.follow()
    for _ in range(5):
        for atom, number in atoms.items():
            for user in range(10):
                assert site.cached(atom, user=user).startswith(f"{number} ")
        atoms = {atom: number + 100 for atom, number in atoms.items()}
        marks = [site.rename(atom, f"{number} {long}") for atom, number in atoms.items()]
        site.follower.end()
        for (atom, number), mark in zip(atoms.items(), marks, strict=True):
            assert site.cached(atom, after=mark).startswith(f"{number} ")
        try:
            site.follower.follow()
        except errors.ProjectionMoved:
            site.follower.begin()
    with opening.open(server.store) as client:
        assert client.info("stats")["evicted_keys"] > 0


def test_a_full_one_still_forgets(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    site = site_of(server.store, kind)
    atom = ready(site)
    site.reader.budget = 20.0
    with opening.open(server.store) as client:
        client.config_set("maxmemory-policy", "noeviction")
        client.config_set("maxmemory", "1")
        with pytest.raises(redis.exceptions.OutOfMemoryError):
            client.set("a", "b")
        assert site.follower.projection.identity() == site.follower.projection.identity()
        assert is_hit(site, atom)
        other = site.insert("Thun")
        assert site.cached(other) == "Thun"
        assert site.reader.counters.refused == 1
        assert site.reader.counters.failures == 0
        site.rename(atom, "Berne")
        site.follower.follow()
        assert site.cached(atom) == "Berne"
        site.follower.begin()
        assert site.follower.projection.live(site.follower.whose) == site.follower.standing
        client.config_set("maxmemory", "0")
        assert site.cached(atom) == "Berne"
        assert is_hit(site, atom)


def test_a_replica_is_read_and_not_written(server: OwnCache, site_of: Any) -> None:
    site = site_of(server.store)
    atom = ready(site)
    site.reader.budget = 20.0
    with opening.open(server.store) as client:
        client.replicaof("127.0.0.1", "1")
        assert is_hit(site, atom)
        site.rename(atom, "Berne")
        with pytest.raises(errors.StoreUnavailable):
            site.follower.follow()
        other = site.insert("Thun")
        assert site.cached(other) == "Thun"
        assert site.reader.counters.refused == 1


def test_a_wrong_password(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    site = site_of(server.store, kind)
    atom = ready(site)
    wrong = replace(server.store, login=Login("default", fixed("wrong")))
    stranger = site_of(wrong, kind, budget=20.0)
    assert in_time(lambda: stranger.cached(atom)) == "Bern"
    assert stranger.reader.counters.failures == 1
    with pytest.raises(errors.StoreUnavailable):
        stranger.follower.projection.identity()


def test_it_has_forgotten_the_scripts(server: OwnCache, site_of: Any, kind: type[Site]) -> None:
    site = site_of(server.store, kind)
    atom = ready(site)
    site.reader.budget = 20.0
    with opening.open(server.store) as client:
        client.script_flush()
    assert is_hit(site, atom)
    assert site.reader.counters.failures == 0


@pytest.mark.parametrize(
    "nonsense", [b"", b"\n", b"1 2 3 ", b"1 99999 x", b"1 99999 9999999999999 q", b"1 99999 9999999999999 j{"]
)
def test_what_makes_no_sense(server: OwnCache, site_of: Any, nonsense: bytes) -> None:
    site = site_of(server.store)
    atom = ready(site)
    site.reader.budget = 20.0
    with opening.open(server.store) as client:
        (key,) = client.keys("kos:*atom*")
        (field,) = [each for each in client.hkeys(key) if each.startswith(b"v")]
        client.hset(key, field, nonsense)
        assert site.cached(atom) == "Bern"


def test_without_a_cache_postgresql_answers(site_of: Any, server: OwnCache) -> None:
    site = site_of(server.store)
    atom = site.insert("Bern")
    site.store._readers.clear()
    site.store.topology = replace(site.store.topology, cache=None)
    assert site.cached(atom) == "Bern"
