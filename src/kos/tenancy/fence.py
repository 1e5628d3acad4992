"""Close the fence of a tenant, and raise its epoch: what a cutover does at its heart.

A lock that is asked for stalls everyone who comes behind, also while one long session inside keeps it from being
granted. So it is asked for only when nobody has been inside for long, each attempt waits briefly, and what the
attempts cost is counted as pause. Who stays inside for too long is ended only if the caller has said so.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import psycopg

from kos import errors
from kos.tenancy import placement
from kos.tenancy.create import find_tenant
from kos.tenancy.store import Connection, Store
from kos.tenancy.tenant import QUERIES, Tenant


@dataclass(frozen=True)
class Holder:
    """A session inside a tenant. What the server hides from the operator is None."""

    pid: int
    transaction: str
    role: str | None
    application: str | None
    state: str | None

    def __str__(self) -> str:
        return f"pid {self.pid} ({self.role or 'role hidden'}, {self.state or 'state hidden'})"


@dataclass(frozen=True)
class Patience:
    """How a fence is closed; all in seconds.

    `attempt`: the longest that sessions are stalled by one attempt. `old`: who has been inside for longer is waited
    for without stalling anybody. `limit`: when to give up. `end_after`: when to end sessions that are still inside;
    None never ends any.
    """

    attempt: float = 0.2
    old: float = 0.1
    limit: float = 30.0
    end_after: float | None = None


@dataclass(frozen=True)
class Closed:
    """What closing cost: the new epoch, attempts, seconds of pause for other sessions, and sessions that were ended."""

    epoch: int
    attempts: int
    pause: float
    ended: int


def holders(connection: Connection, tenant: Tenant) -> list[Holder]:
    """The sessions inside a tenant."""
    return [Holder(*row) for row in connection.execute(QUERIES.fence_holders, {"id": tenant.id}).fetchall()]


class _Watch:
    """Who has been inside for how long, by looking again and again."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[tuple[int, str], float] = {}
        self.first = self.looked = 0.0

    def look(self, inside: list[Holder]) -> None:
        self.looked = now = self._clock()
        self.first = self.first or now
        self._seen = {
            (each.pid, each.transaction): self._seen.get((each.pid, each.transaction), now) for each in inside
        }

    def seconds(self, holder: Holder) -> float:
        return self.looked - self._seen[holder.pid, holder.transaction]


def raise_epoch(
    store: Store,
    name: str,
    patience: Patience | None = None,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    jitter: Callable[[], float] = random.random,
) -> Closed:
    """Raise a tenant's epoch with its fence closed: nobody is inside at that moment, and who comes later comes anew.

    The directory follows, in the same transaction where it is in the same database. Elsewhere a kill can leave it
    behind: sessions then take the epoch from the fence, and the next call mends the directory.

    Raises:
        UnknownTenant
        TenantBusy: sessions were inside all the time that `patience` allows; nothing was changed.
    """
    patience = patience or Patience()
    tenant = find_tenant(store, name)
    attempts, pause, ended = 0, 0.0, 0
    watch = _Watch(clock)
    with store.operator(placement.place_of(tenant)) as operator:
        begun = clock()
        while True:
            inside = holders(operator, tenant)
            watch.look(inside)
            waited = watch.looked - begun
            old = [holder for holder in inside if watch.seconds(holder) > patience.old]
            # Who was there at the first look may have been there for hours: wait until that is known.
            if not inside or (not old and watch.looked - watch.first > patience.old):
                attempts += 1
                started = clock()
                epoch = _try_once(operator, tenant, patience.attempt)
                pause += clock() - started
                if epoch is not None:
                    break
            if patience.end_after is not None:
                ended += sum(_end(operator, holder) for holder in old if watch.seconds(holder) > patience.end_after)
            if waited > patience.limit:
                named = ", ".join(map(str, inside)) or "sessions that come and go"
                raise errors.TenantBusy(tenant.name, attempts, waited, named)
            sleep(0.02 + 0.03 * jitter())
    if placement.place_of(tenant) != placement.control_place(store.topology):
        with store.operator() as control:
            control.execute(QUERIES.placement_epoch, {"id": tenant.id, "epoch": epoch})
    return Closed(epoch, attempts, pause, ended)


def _try_once(operator: Connection, tenant: Tenant, seconds: float) -> int | None:
    try:
        with operator.transaction():
            operator.execute(QUERIES.set_lock_timeout, {"timeout": f"{round(seconds * 1000)}ms"})
            row = operator.execute(QUERIES.advance_epoch, {"id": tenant.id}).fetchone()
    except psycopg.errors.LockNotAvailable:
        return None
    assert row is not None
    return int(row[0])


def _end(operator: Connection, holder: Holder) -> bool:
    row = operator.execute(QUERIES.end_session, {"pid": holder.pid}).fetchone()
    return bool(row and row[0])
