"""Everything is killed in turn while sessions write and read: afterwards graph and cache are what the tables say."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest
from projection_load import Load, check_acknowledged
from projection_scene import SECONDS, Scene, check_equal, is_followed, scene

from fix_arcadedb import OwnArcadeDB
from fix_exports import until
from fix_neo4j import OwnNeo4j
from fix_own_postgres import MakePostgres
from fix_redis import OwnCache
from fix_worker import StartWorker

SEED = int(os.environ.get("KOS_DEATHS_SEED", "6"))
LOAD_SECONDS = float(os.environ.get("KOS_DEATHS_SECONDS", "40"))
BETWEEN = 2.0

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


@pytest.fixture(params=["arcadedb", "neo4j"])
def graph(request: pytest.FixtureRequest) -> Iterator[OwnArcadeDB | OwnNeo4j]:
    """A graph of the test's own: what it had from others would be left over."""
    with OwnArcadeDB() if request.param == "arcadedb" else OwnNeo4j() as server:
        yield server


@pytest.fixture
def site(own_postgres: MakePostgres, graph: OwnArcadeDB | OwnNeo4j, start_worker: StartWorker) -> Iterator[Scene]:
    """Two workers: one leads, the other stands by."""
    postgres = own_postgres("wheel", "--no-sync")
    postgres.configure(track_commit_timestamp="on", shared_buffers="64MB")
    postgres.start()
    with OwnCache("valkey") as cache, scene(postgres, graph, cache, "product") as made:
        made.start_worker = start_worker
        made.add_worker()
        made.add_worker()
        yield made
        for worker in made.workers:
            worker.end(signal.SIGKILL)
    postgres.stop()


class Deaths:
    """Kills one after another. What was killed is started again at once, and is killed again when it is its turn and
    it is up."""

    def __init__(self, site: Scene, dice: random.Random) -> None:
        self.site, self.dice = site, dice
        self.starting: dict[str, threading.Thread] = {}
        self.failed: list[BaseException] = []
        self.killed: list[str] = []

    def kill(self, name: str) -> None:
        before = self.starting.get(name)
        if before is not None and before.is_alive():
            return
        start = getattr(self, f"_{name}")()
        self.killed.append(name)
        self.starting[name] = threading.Thread(target=self._guarded, args=(start,))
        self.starting[name].start()

    def all_up(self) -> None:
        for each in self.starting.values():
            each.join(120)
            assert not each.is_alive()
        assert not self.failed, self.failed

    def _guarded(self, start: Callable[[], None]) -> None:
        try:
            start()
        except BaseException as error:
            self.failed.append(error)

    def _worker(self) -> Callable[[], None]:
        worker = self.site.workers.pop(self.dice.randrange(len(self.site.workers)))
        worker.end(signal.SIGKILL)
        return self.site.add_worker

    def _graph(self) -> Callable[[], None]:
        self.site.graph.kill()
        return self.site.graph.start

    def _cache(self) -> Callable[[], None]:
        self.site.cache.kill()
        return self.site.cache.start

    def _postgres(self) -> Callable[[], None]:
        self.site.postgres.kill()
        return self.site.postgres.start


def has_read(load: Load, times: int) -> bool:
    assert load.wrong == []
    return load.counts["graph"] >= times and load.counts["cached"] > 0 and load.counts["looks for the gone"] > 0


VICTIMS = ("worker", "graph", "cache", "postgres")


def test_everything_dies_in_turn_under_load(site: Scene) -> None:
    dice = random.Random(SEED)
    names = site.tenants("acme", "beta", "gamma")
    deaths = Deaths(site, dice)
    with Load(site.store, names, SEED) as load:
        until(lambda: has_read(load, 20), SECONDS)
        ends = time.monotonic() + LOAD_SECONDS
        turn = 0
        while time.monotonic() < ends:
            load.ends.wait(BETWEEN)
            deaths.kill(VICTIMS[turn % len(VICTIMS)])
            turn += 1
            if turn % 3 == 0:
                load.truncate(site.superuser, "atoms" if turn % 12 == 0 else "relations")
        deaths.all_up()
        among_deaths = dict(load.counts)
        until(lambda: has_read(load, among_deaths.get("graph", 0) + 20), SECONDS)
    print(deaths.killed, among_deaths, dict(load.counts), sep="\n")
    assert load.wrong == []
    assert set(deaths.killed) == set(VICTIMS)
    assert check_acknowledged(site.store, load) > 0
    until(lambda: is_followed(site.store), SECONDS)
    print("rows compared:", check_equal(site.store))
    site.check_tidy()
