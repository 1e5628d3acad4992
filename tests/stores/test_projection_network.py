"""Graph and cache behind a network that cuts, delays, half-closes and stalls: nothing is lost, doubled or old."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from threading import Timer

import pytest
from projection_load import Load, check_acknowledged
from projection_scene import check_equal, eventually, is_followed

from fix_exports import until
from fix_proxy import ANSWERS, REQUESTS, Proxy, ProxyTo
from kos import errors
from kos.log import seal
from kos.projections import Comparison, Site, make, rebuild, verify
from kos.projections.follow import follow
from kos.projections.graph.async_reading import AsyncGraphReader
from kos.projections.graph.reading import GraphReader
from kos.projections.whole import parts_of
from kos.tenancy import AsyncStore, Store, create_tenant
from kos.topology.model import Topology
from kos.worker.worker import Worker

SECONDS = 60.0
ANSWER = 3.0  # seconds that the graph is given for an answer, in these tests
# What asking may take beyond what it was given: the machine may be slow, but who waits without a limit takes longer.
SPARE = 20.0

pytestmark = pytest.mark.timeout(300)


@dataclass
class Net:
    """The stack as it is, `topology`, and as applications find it: through proxies."""

    topology: Topology
    through: Topology
    graph: Proxy
    cache: Proxy
    store: Store


@pytest.fixture
def net(full_store: Store, proxy_to: ProxyTo) -> Iterator[Net]:
    topology = full_store.topology
    assert topology.graph is not None
    assert topology.cache is not None
    graph, cache = proxy_to(topology.graph), proxy_to(topology.cache)
    through = replace(topology, graph=graph.of(topology.graph), cache=cache.of(topology.cache))
    with Store(through) as store:
        store.graph = GraphReader(through.graph, seconds=2.0, timeout=ANSWER)
        yield Net(topology, through, graph, cache, store)


Fault = Callable[[Proxy], None]
FAULTS: dict[str, Fault] = {
    "cut": lambda proxy: proxy.cut(),
    "refuse": lambda proxy: proxy.refuse(),
    "half-close answers": lambda proxy: proxy.half_close(ANSWERS),
    "half-close requests": lambda proxy: proxy.half_close(REQUESTS),
    "delay": lambda proxy: proxy.delay(0.15),
    "stall answers": lambda proxy: proxy.stall(ANSWERS),
    "stall": lambda proxy: proxy.stall(),
    "throttle": lambda proxy: proxy.throttle(20_000),
}


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_network_that_fails_under_load(net: Net, fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kos.projections.graph.projection.ANSWER_SECONDS", ANSWER)
    names = ["acme", "beta"]
    for name in names:
        create_tenant(net.store, name)
    with Worker(net.through), Load(net.store, names, seed=7, pause=0.1) as load:
        until(lambda: load.counts["graph"] > 20 and load.counts["cached"] > 20, SECONDS)
        for _ in range(3):
            for proxy in (net.graph, net.cache):
                for _ in range(2):
                    fault(proxy)
                    load.ends.wait(0.7)
                proxy.heal()
            before = load.counts["graph"]
            until(lambda before=before: load.counts["graph"] > before + 5, SECONDS)  # type: ignore[misc]
        load.__exit__()
        print(dict(load.counts), load.longest)
        assert load.wrong == []
        assert [each for each in load.counts if each.startswith("cached: ")] == []
        assert load.longest < 2 + ANSWER + SPARE
        check_acknowledged(net.store, load)
        until(lambda: is_followed(net.store), SECONDS)
    with Store(net.topology) as store:
        assert check_equal(store) > 0


@pytest.mark.parametrize("direction", [ANSWERS, REQUESTS])
def test_a_graph_that_says_nothing_is_no_endless_wait(net: Net, direction: str) -> None:
    """While it is asked, and where it was asked before: the bookmark, then the question."""
    shown(net, "acme")
    query = "MATCH (a:Atom) RETURN count(*) AS atoms"
    with net.store.tenant("acme") as acme:
        assert acme.graph.run(query)[0]["atoms"] == 3
        net.graph.stall(direction)
        began = time.monotonic()
        with pytest.raises((errors.StoreUnavailable, errors.ProjectionBehind)):
            acme.graph.run(query)
        assert time.monotonic() - began < 2 + ANSWER + SPARE
        net.graph.heal()
        assert eventually(lambda: acme.graph.run(query))[0]["atoms"] == 3


def test_the_same_of_an_asynchronous_session(net: Net) -> None:
    shown(net, "acme")

    async def ask() -> None:
        query = "MATCH (a:Atom) RETURN count(*) AS atoms"
        async with AsyncStore(net.through) as store:
            store.graph = AsyncGraphReader(net.through.graph, seconds=2.0, timeout=ANSWER)
            async with store.tenant("acme") as acme:
                assert (await acme.graph.run(query))[0]["atoms"] == 3
                net.graph.stall(ANSWERS)
                with pytest.raises((errors.StoreUnavailable, errors.ProjectionBehind)):
                    await asyncio.wait_for(acme.graph.run(query), 2 + ANSWER + SPARE)
                net.graph.heal()

    asyncio.run(ask())


def shown(net: Net, name: str) -> Site:
    """A tenant with three atoms, in the graph; its site is past the proxies."""
    create_tenant(net.store, name)
    write(net.store, name, 3)
    with Store(net.topology) as store, closing(make(net.topology, "graph")) as projection:
        [part] = parts_of(store, [name])
        projection.prepare()
        rebuild(part.site(store, projection))
        return part.site(store, projection)


def write(store: Store, name: str, rows: int) -> None:
    with store.tenant(name) as acme:
        acme.execute("insert into atoms (atom_type, name) select 'load', 'n' from generate_series(1, %s)", (rows,))
        acme.execute("update atoms set version = version + 1")


STRIKES = {
    "cut": (Proxy.cut, 0.0),
    "stall": (Proxy.stall, 0.0),
    "the answers stall": (lambda proxy: proxy.stall(ANSWERS), 0.0),
    "a delay": (lambda proxy: proxy.delay(0.1), 0.2),
    "the requests end": (lambda proxy: proxy.half_close(REQUESTS), 0.0),
    "the answers end": (lambda proxy: proxy.half_close(ANSWERS), 0.0),
}


@pytest.mark.long
@pytest.mark.parametrize(("strike", "pause"), STRIKES.values(), ids=STRIKES)
def test_a_batch_that_is_struck_at_any_moment_is_whole_or_nothing(
    net: Net, strike: Callable[[Proxy], None], pause: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever applies it knows only that something failed. It goes on from what the graph says."""
    monkeypatch.setattr("kos.projections.graph.projection.ANSWER_SECONDS", ANSWER)
    direct = shown(net, "acme")
    dice, outcomes = random.Random(3), Counter[str]()
    with Store(net.topology) as store, store.operator() as operator, closing(make(net.through, "graph")) as through:
        for _ in range(12):
            write(net.store, "acme", 40)
            seal(operator, direct.tenant)
            standing = through.live(direct.whose)
            assert standing is not None
            timer = Timer(dice.uniform(0, 0.4), strike, (net.graph,))
            timer.start()
            try:
                outcomes["applied"] += follow(operator, through, direct.whose, standing) is not None
            except (errors.StoreUnavailable, errors.ProjectionMoved) as error:
                outcomes[type(error).__name__] += 1
            timer.join()
            time.sleep(pause)
            net.graph.heal()
            eventually(lambda: through.live(direct.whose))
            assert verified(net, "acme").differing == 0
    print(outcomes)


def verified(net: Net, name: str) -> Comparison:
    with Store(net.topology) as store, closing(make(net.topology, "graph")) as projection:
        [part] = parts_of(store, [name])
        return verify(part.site(store, projection))
