"""A live load on tenants of its own, and its whole life: make the tenants, run, stop, verify."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kos.errors import LedgerExists, TenantExists, TierNotAllowed
from kos.tenancy import Store, Tier, create_tenant, list_tenants
from kos.topology.embedded import require_embedded
from kos.topology.model import Topology
from kos.workload.clients import Client
from kos.workload.ledger import SUFFIX, Ledger, Run, folder_of, new_id
from kos.workload.meter import Meter, Reading, Speed
from kos.workload.transactions import QUERIES, Memory
from kos.workload.verify import Verdict, verify

COMMAND = "workload run"  # as refusals name it, from Python too
PREFIX = "workload-"
OTHER_TIERS: dict[int, Tier] = {2: "schema", 3: "database"}
SECONDS = 30.0
WATCH_SECONDS = 0.25

Watch = Callable[[Reading], None]


@dataclass(frozen=True)
class Shape:
    """How large a load is. Its clients' choices follow from `seed`; without one they are new each time."""

    tenants: int = 3
    clients: int = 8
    seed: int | None = None


DEFAULT = Shape()


@dataclass(frozen=True)
class Result:
    """A run: what its ledger and the databases say, and how fast it was. Reads are not in the ledger."""

    verdict: Verdict
    speed: Speed
    reads: int
    failed_reads: int
    clients: int
    tenants: tuple[str, ...]


@dataclass(frozen=True)
class PlannedTenant:
    """A tenant that a load works on: its tier, and whether it is there already or would be made."""

    name: str
    tier: str
    exists: bool


@dataclass(frozen=True)
class Plan:
    """What a run would do. `ledger` is the file, or the folder in which the run's own name becomes one."""

    tenants: tuple[PlannedTenant, ...]
    clients: int
    seconds: float
    ledger: Path


class Load:
    """A load that is running. `meter` says how it goes."""

    def __init__(self, store: Store, ledger: Ledger, memories: Sequence[dict[str, Memory]]) -> None:
        self.ledger = ledger
        self.meter = Meter()
        self._store = store
        self._stop = threading.Event()
        self._failures: list[BaseException] = []
        clients = [Client(number, store, ledger, self.meter, each) for number, each in enumerate(memories)]
        self._threads = [
            threading.Thread(target=self._work, args=(client,), name=f"workload client {number}")
            for number, client in enumerate(clients)
        ]
        for thread in self._threads:
            thread.start()

    def go_on(self, seconds: float, watch: Watch | None = None) -> None:
        """Let the load run for so long, or until a client fails; `watch` is told how it goes."""
        deadline = self.meter.clock() + seconds
        while (left := deadline - self.meter.clock()) > 0 and not self._stop.wait(min(left, WATCH_SECONDS)):
            if watch is not None:
                watch(self.meter.reading())

    @property
    def is_running(self) -> bool:
        """Whether clients still begin transactions."""
        return not self._stop.is_set()

    def stop(self) -> None:
        """Begin nothing new, and wait for what is under way. Harmless to repeat."""
        if not self._stop.is_set():
            self._stop.set()
            self.meter.end()
        for thread in self._threads:
            thread.join()
        self.ledger.close()

    def result(self) -> Result:
        """Stop, and verify.

        Raises:
            LedgerUnwritable: the run ended early for it.
            StoreUnavailable: the databases can't be asked; the ledger is kept.
            whatever else a client died of.
        """
        self.stop()
        if self._failures:
            raise self._failures[0]
        verdict = verify(self._store, self.ledger.path)
        meter, run = self.meter, self.ledger.run
        return Result(verdict, meter.speed(), meter.reads, meter.failed_reads, run.clients, run.tenants)

    def _work(self, client: Client) -> None:
        try:
            client.work(self._stop.wait)
        except BaseException as error:  # noqa: BLE001 - raised again by `result`, in the thread that asks
            self._failures.append(error)
            self._stop.set()
            self.meter.end()


@contextmanager
def running(store: Store, path: Path | None = None, shape: Shape = DEFAULT) -> Iterator[Load]:
    """A load that runs as long as the `with` block. Its ledger is at `path`, else with those of the stack.

    Raises:
        ExternalStore: a store does not belong to the embedded stack.
        LedgerExists, LedgerUnwritable, StoreUnavailable: nothing was begun.
    """
    require_embedded(store.topology, COMMAND)
    names = tuple(_tenant(store, number) for number in range(1, shape.tenants + 1))
    seed = random.SystemRandom().randrange(2**32) if shape.seed is None else shape.seed
    run = Run(new_id(), names, shape.clients, seed)
    with Ledger(path or default_path(store.topology, run), run) as ledger:
        load = Load(store, ledger, _memories(store, run))
        try:
            yield load
        finally:
            load.stop()


def plan(store: Store, path: Path | None = None, shape: Shape = DEFAULT, *, seconds: float = SECONDS) -> Plan:
    """What `run` would do. Reads only.

    Raises:
        ExternalStore, LedgerExists
    """
    require_embedded(store.topology, COMMAND)
    if path is not None and os.path.lexists(path):
        raise LedgerExists(path)
    there = {tenant.name: tenant for tenant in list_tenants(store) if tenant.state == "active"}
    tenants = []
    for number in range(1, shape.tenants + 1):
        name = f"{PREFIX}{number}"
        tier = there[name].tier if name in there else OTHER_TIERS.get(number, "row")
        tenants.append(PlannedTenant(name, tier, name in there))
    folder = folder_of(store.topology.folder or Path.cwd())
    return Plan(tuple(tenants), shape.clients, seconds, path or folder)


def run(
    store: Store,
    path: Path | None = None,
    shape: Shape = DEFAULT,
    *,
    seconds: float = SECONDS,
    watch: Watch | None = None,
) -> Result:
    """Run a load for so long, then verify it. An interrupt (Ctrl-C) ends it early.

    Raises:
        what `running` and `Load.result` raise.
    """
    with running(store, path, shape) as load:
        try:
            load.go_on(seconds, watch)
        except KeyboardInterrupt:
            load.stop()
        return load.result()


def default_path(topology: Topology, run: Run) -> Path:
    """Where the ledger of a run lies unless told otherwise."""
    return folder_of(topology.folder or Path.cwd()) / f"{run.id}{SUFFIX}"


def _tenant(store: Store, number: int) -> str:
    """The name of one of the load's own tenants, made if it is missing: the first three in three tiers."""
    name = f"{PREFIX}{number}"
    if any(tenant.name == name and tenant.state == "active" for tenant in list_tenants(store)):
        return name
    tier: Tier = OTHER_TIERS.get(number, "row")
    for possible in dict.fromkeys((tier, "row")):
        try:
            return create_tenant(store, name, possible).name
        except TierNotAllowed:
            continue
        except TenantExists:  # another run makes the same tenants at this moment
            return name
    return name


def _memories(store: Store, run: Run) -> list[dict[str, Memory]]:
    """What each client knows of each tenant at the beginning: its counter."""
    memories: list[dict[str, Memory]] = [{} for _ in range(run.clients)]
    tags = [run.counter_tag(number) for number in range(run.clients)]
    for tenant in run.tenants:
        with store.tenant(tenant) as session:
            rows = session.execute(QUERIES.open_counters, {"tags": tags}).fetchall()
        counters = {tag: counter for counter, tag in rows}
        for memory, tag in zip(memories, tags, strict=True):
            memory[tenant] = Memory(counters[tag])
    return memories
