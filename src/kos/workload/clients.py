"""The clients of a load: each tries one transaction after the other, and backs off while servers are away."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import psycopg

from kos.errors import OutcomeUnknown, PlacementMoved, StoreUnavailable
from kos.tenancy import Store
from kos.workload.ledger import Attempt, Ledger, new_id
from kos.workload.meter import Meter
from kos.workload.transactions import READ_SHARE, READS, WRITES, Change, Kind, Memory, RowMissing, Work, count_up

# What happens while servers are killed, restarted or moved; anything else is a mistake of ours and ends the run.
# A connection that was lost before the commit was sent takes its transaction with it, so nothing has happened.
TRANSIENT = (psycopg.OperationalError, psycopg.InterfaceError, StoreUnavailable, PlacementMoved, RowMissing)

SHORTEST_WAIT = 0.02
LONGEST_WAIT = 0.5

Wait = Callable[[float], bool]
"""Wait for so many seconds; true if the load is to stop."""


@dataclass
class Backoff:
    """How long to wait after failures in a row: twice as long each time, with jitter so that clients spread out."""

    jitter: Callable[[], float]
    failures: int = 0

    def succeeded(self) -> None:
        self.failures = 0

    def failed(self) -> float:
        """Seconds to wait now."""
        self.failures += 1
        longest: float = min(LONGEST_WAIT, SHORTEST_WAIT * 2.0 ** min(self.failures, 10))
        return longest * (0.5 + 0.5 * self.jitter())


class Client:
    """One client. Its choices follow from the run's seed and its number; `memories` has one entry per tenant."""

    def __init__(self, number: int, store: Store, ledger: Ledger, meter: Meter, memories: Mapping[str, Memory]) -> None:
        self._number = number
        self._store = store
        self._ledger = ledger
        self._meter = meter
        self._memories = memories
        self._tenants = ledger.run.tenants
        self._shares = skewed(len(self._tenants))
        self._choose = random.Random(f"{ledger.run.seed}:{number}")  # noqa: S311 - choices, not secrets
        self._backoff = Backoff(self._choose.random)

    def work(self, wait: Wait) -> None:
        """Transactions until `wait` says stop.

        Raises:
            LedgerUnwritable; and what no killed server explains.
        """
        pause = 0.0
        while not wait(pause):
            (tenant,) = self._choose.choices(self._tenants, self._shares)
            reads = self._choose.random() < READ_SHARE
            succeeded = self._read(tenant) if reads else self._write(tenant)
            if succeeded:
                self._backoff.succeeded()
            pause = 0.0 if succeeded else self._backoff.failed()

    def _write(self, tenant: str) -> bool:
        memory = self._memories[tenant]
        kind = self._kind(memory)
        # A transaction that is tried again is another attempt: the first may have happened.
        attempt = Attempt(new_id(), tenant, self._number, kind.name, kind.items)
        change = Change()
        self._meter.attempt()
        began = self._meter.clock()
        self._ledger.intend(attempt)
        try:
            with self._store.tenant(tenant) as session:
                work = Work(session, self._ledger.run, attempt, memory, self._choose)
                change = kind.write(work)
                count_up(work)
        except OutcomeUnknown as error:
            memory.forget(change)
            return self._failed(attempt, error, known=False)
        except TRANSIENT as error:
            return self._failed(attempt, error, known=True)
        self._ledger.acknowledge(attempt)
        self._meter.acknowledge(began)
        memory.learn(change)
        return True

    def _failed(self, attempt: Attempt, error: Exception, *, known: bool) -> bool:
        self._ledger.fail(attempt, known=known, reason=type(error).__name__)
        self._meter.fail()
        return False

    def _read(self, tenant: str) -> bool:
        read = self._choose.choice(READS)
        try:
            with self._store.tenant(tenant, read_only=True) as session:
                read(session, self._memories[tenant], self._choose)
        except (*TRANSIENT, OutcomeUnknown):
            self._meter.read(failed=True)
            return False
        self._meter.read()
        return True

    def _kind(self, memory: Memory) -> Kind:
        possible = [kind for kind in WRITES if len(memory.atoms) >= kind.needs]
        (kind,) = self._choose.choices(possible, [kind.weight for kind in possible])
        return kind


def skewed(count: int) -> Sequence[float]:
    """The tenants' shares of the load: the second has half of the first's, the third a third (Zipf)."""
    return [1 / rank for rank in range(1, count + 1)]
