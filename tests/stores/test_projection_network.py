"""Graph and cache behind a network that cuts, delays, half-closes and stalls: nothing is lost, doubled or old."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from threading import Timer

import pytest
from projection_load import Load, check_acknowledged
from projection_scene import asked, check_equal, eventually, is_followed, left_over

from fix_exports import until
from fix_proxy import ANSWERS, REQUESTS, Proxy, ProxyTo
from kos import errors
from kos.log import seal
from kos.projections import Site, rebuild, verify
from kos.projections.follow import follow
from kos.projections.graph import GraphProjection
from kos.projections.graph.async_reading import AsyncGraphReader
from kos.projections.graph.reading import GraphReader
from kos.projections.whole import parts_of
from kos.tenancy import AsyncStore, Store, create_tenant
from kos.topology.model import Topology
from kos.worker.worker import Worker

SECONDS = 60.0
ANSWER = 1.0  # seconds that the graph is given for an answer, in these tests
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
    with Worker(net.through), Load(net.store, names, seed=7) as load:
        until(lambda: load.counts["graph"] > 20 and load.counts["cached"] > 20, SECONDS)
        for _ in range(4):
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
