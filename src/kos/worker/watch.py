"""One database: lead there or stand by, ask what waits, and have it sealed. A thread of its own for each."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event, Thread
from typing import Any
from uuid import UUID

import psycopg

from kos import errors
from kos.pace import BUSY_SECONDS, IDLE_SECONDS, Growing, Rest, Resting, longest, ready_of
from kos.tenancy.placement import Place, server_at, shard_named
from kos.topology import postgres
from kos.topology.model import Topology
from kos.translate import translated
from kos.worker.find import Counted, Finder
from kos.worker.log_lines import tell, trace
from kos.worker.metrics import Metrics
from kos.worker.projecting import Projecting
from kos.worker.seals import QUERIES, Connection, Outcome, Seals, told, told_of_database

STANDBY_SECONDS = 1.0
SILENT_SECONDS = 5.0  # after which a standby ends a leader's session
ANSWERING_SECONDS = 30.0  # the same for one whose question is being answered
ANSWER_SECONDS = 10.0  # without an answer a database counts as unreachable
BLIND_SECONDS = 30.0  # and without a look for tenants, as blind
AGAIN_FIRST_SECONDS = 0.25  # after a database could not be reached
AGAIN_MOST_SECONDS = 5.0
ROTATE_SECONDS = 5.0
ROTATE_TIMEOUT = "50ms"
ACTIVE_SECONDS = 10.0  # a tenant that had nothing waiting for so long is left to the finder again
SHOWN = 10  # parked tenants in /healthz

STARTING, LEADING, STANDBY, UNREACHABLE, BLIND = "starting", "leading", "standby", "unreachable", "blind"

# A server that vanished is noticed within about 15 s, not when the system's own patience ends, after hours.
KEEPALIVE: dict[str, Any] = {
    "keepalives": 1,
    "keepalives_idle": 5,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 15_000,
}

Clock = Callable[[], float]


@dataclass(frozen=True)
class State:
    """What a watch knows of its database; replaced as a whole, so that other threads may read it."""

    name: str = STARTING
    answered: float = 0.0  # when it last answered, by the watch's clock
    lag: float | None = None
    error: str | None = None
    parked: tuple[tuple[UUID, Rest], ...] = ()


class Watch:
    """What one worker does about one database. `start` it, and `stop` it once."""

    def __init__(
        self, topology: Topology, place: Place, metrics: Metrics, *, seals: int, clock: Clock = time.monotonic
    ) -> None:
        self.place = place
        self.label = f"{place.shard}/{place.database}"
        self.sealed = 0
        self.state = State()
        self._topology = topology
        self._metrics = metrics
        self._clock = clock
        self._ends = Event()
        self._news = Event()  # the finder has found something, or it is the end
        self._wake = Event()  # the same, or a seal has ended
        self._crowded = False
        self._grace = 0.0
        self._resting = Resting()
        self._again = Growing(AGAIN_FIRST_SECONDS, AGAIN_MOST_SECONDS)
        self._pause = Growing(BUSY_SECONDS, IDLE_SECONDS)
        self._rotate_due = 0.0
        self._led = 0.0  # since when
        self._active: dict[UUID, float] = {}  # tenants that wait, or did a moment ago: when they were last seen waiting
        self._seals = Seals(lambda: connect(topology, place), seals, self._wake.set)
        self._finder = Finder(
            self.label, lambda: connect(topology, place), self._notice, self._not_found, self._count_rows, clock
        )
        self._projecting = Projecting(topology, place, self.label, lambda: connect(topology, place), metrics)
        self._thread = Thread(target=self._run, name=f"watch {self.label}", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._metrics.watch(self.label)
        self._finder.start()
        self._projecting.start()
        self._thread.start()

    def stop(self, grace: float) -> None:
        """Begin nothing new; seals that are under way get so many seconds. Returns at once; see `wait`."""
        self._grace = grace
        self._ends.set()
        self._finder.stop()
        self._projecting.stop()
        self._notice()

    def wait(self, seconds: float) -> None:
        """Wait for the end of it."""
        self._thread.join(seconds)
        self._finder.wait(seconds)
        self._projecting.wait(seconds)

    def is_alive(self) -> bool:
        """Whether it is at work."""
        return self._thread.is_alive()

    def health(self) -> dict[str, Any]:
        """What /healthz says of this database."""
        state, now = self.state, self._clock()
        silent = now - state.answered
        name, error = state.name, state.error
        if name in {LEADING, STANDBY} and silent > ANSWER_SECONDS:
            name, error = UNREACHABLE, f"it has not answered for {silent:.0f} s"
        elif name == LEADING and (blind := now - max(self._finder.looked or 0.0, self._led)) > BLIND_SECONDS:
            failure = self._finder.failure
            reason = told_of_database(failure) if failure else "the look goes on"
            name, error = BLIND, f"no tenant that is new was looked for in {blind:.0f} s: {reason}"
        parked = [
            {"tenant": str(tenant), "error": rest.error, "again_seconds": round(max(rest.until - now, 0.0), 1)}
            for tenant, rest in state.parked
        ]
        return {
            "shard": self.place.shard,
            "database": self.place.database,
            "state": name,
            "lag_seconds": state.lag if name == LEADING else None,
            "sealed": self.sealed,
            "parked": parked,
            "error": error,
            "projections": self._projecting.health(),
        }

    # the thread

    def _run(self) -> None:
        while not self._ends.is_set():
            try:
                with connect(self._topology, self.place) as connection:
                    self._seals.drop_idle()  # they were of the session before: its server may be gone
                    self._serve(connection)
            except Exception as raised:  # noqa: BLE001 - told, and tried again
                self._let(lead=False)
                self._failed(raised)
                self._ends.wait(self._again.take())
        self._collect(self._seals.finish(self._grace))

    def _serve(self, connection: Connection) -> None:
        """Until the end, or until the connection is lost."""
        leads = False
        while not self._ends.is_set():
            if not leads:
                leads = self._try_to_lead(connection)
                self._let(lead=leads)
                self._led = self._clock()
            pause = self._lead(connection) if leads else STANDBY_SECONDS
            if not leads:
                self._answered(STANDBY)
            self._again.reset()
            # The end of a seal is waited for only where somebody waits for its place: else one busy tenant would have
            # us ask without any pause.
            (self._wake if self._crowded else self._news).wait(pause)
        if leads and self._seals.running:  # nobody is to take the lead for what is being finished here
            self._collect(self._seals.finish(self._grace))

    def _let(self, *, lead: bool) -> None:
        """Only a leader looks for tenants, and has projections follow."""
        self._finder.let(look=lead)
        self._projecting.let(follow=lead)

    def _try_to_lead(self, connection: Connection) -> bool:
        if _value(connection.execute(QUERIES.try_to_lead)):
            return True
        patience = {"silent": SILENT_SECONDS, "answering": ANSWERING_SECONDS}
        try:
            ended = connection.execute(QUERIES.end_silent_leader, patience).fetchone()
        except psycopg.errors.InsufficientPrivilege as error:
            self._count("database")
            tell(logging.WARNING, "a silent leader can't be ended", database=self.label, error=told(error))
            return False
        if ended is None:
            return False
        tell(logging.WARNING, "ended the session of a silent leader", database=self.label, session=ended[1])
        return bool(_value(connection.execute(QUERIES.try_to_lead)))

    def _lead(self, connection: Connection) -> float:
        """Look once, and have sealed what there is room for; returns how long to wait until the next look."""
        self._wake.clear()  # before looking at what ended: what ends from now on wakes us
        self._news.clear()
        ended = self._collect(self._seals.collect())
        # Before any seal of a new leader: a partition can't be made where events of its month are in the default one.
        self._keep_log(connection, self._clock())
        self._active |= dict.fromkeys(self._finder.take(), self._clock())
        rows = connection.execute(QUERIES.unsealed_among, {"tenants": list(self._active)}).fetchall()
        waiting = [tenant for tenant, _, _ in rows]
        self._resting.keep(waiting)
        now = self._clock()
        self._active |= dict.fromkeys(waiting, now)
        self._active = {tenant: seen for tenant, seen in self._active.items() if now - seen < ACTIVE_SECONDS}
        ready = ready_of(waiting, self._seals.running, self._resting, now)
        chosen = ready[: self._seals.free]
        self._crowded = len(chosen) < len(ready)
        for tenant in chosen:
            self._seals.begin(tenant)
        self._answered(LEADING, longest([seconds for _, _, seconds in rows]))
        if chosen or ended:
            self._pause.reset()
        return min(self._pause.take(), self._resting.next_end(now) or IDLE_SECONDS)

    def _keep_log(self, connection: Connection, now: float) -> None:
        if now < self._rotate_due:
            return
        self._rotate_due = now + ROTATE_SECONDS
        try:
            connection.execute(QUERIES.rotate, {"lock_timeout": ROTATE_TIMEOUT})
        except psycopg.errors.LockNotAvailable:
            tell(logging.DEBUG, "no room given back: a table is in use", database=self.label)
        except psycopg.Error as error:
            if connection.broken:
                raise
            self._count("rotate")  # sealing goes on without it
            tell(logging.ERROR, "rotate failed", database=self.label, error=told(error))

    # called by the finder, in its thread

    def _notice(self) -> None:
        self._news.set()
        self._wake.set()

    def _not_found(self, raised: Exception) -> None:
        self._count("find")
        tell(
            logging.ERROR,
            "a look for tenants failed; trying again",
            database=self.label,
            error=told_of_database(raised),
        )

    def _count_rows(self, counted: Counted) -> None:
        self._metrics.pending.labels(self.label).set(counted.pending)
        self._metrics.broken.labels(self.label).set(counted.broken)

    # what became of it

    def _collect(self, outcomes: list[Outcome]) -> bool:
        for outcome in outcomes:
            self._note(outcome)
        return bool(outcomes)

    def _note(self, outcome: Outcome) -> None:
        now = self._clock()
        if outcome.raised is None:
            self._metrics.seconds.labels(self.label).observe(outcome.seconds)
            if outcome.events:
                self._projecting.notice(outcome.tenant)
                self._resting.done(outcome.tenant)
                self.sealed += outcome.events
                self._metrics.sealed.labels(self.label).inc(outcome.events)
            else:  # what waits can't be sealed yet: without a rest we would ask again at once, for ever
                self._resting.rest(outcome.tenant, now)
        elif isinstance(outcome.raised, psycopg.errors.LockNotAvailable):
            self._resting.rest(outcome.tenant, now)
        elif not self._ends.is_set():
            reason = told(outcome.raised)
            rest = self._resting.park(outcome.tenant, now, reason)
            self._count("seal")
            tell(
                logging.ERROR,
                "parked a tenant: its seal failed",
                database=self.label,
                tenant=outcome.tenant,
                error=reason,
                attempt=rest.times,
                again_seconds=round(rest.until - now, 1),
            )

    def _answered(self, name: str, lag: float | None = None) -> None:
        before = self.state.name
        parked = tuple(self._resting.parked().items())
        if name == LEADING:
            self._metrics.lag.labels(self.label).set(math.nan if lag is None else lag)
            # Not where an outcome is noted: a tenant that another session sealed is parked no longer either.
            self._metrics.parked.labels(self.label).set(len(parked))
        # After the metrics: /healthz says nothing that /metrics does not.
        self.state = State(name, self._clock(), lag, None, parked[:SHOWN])
        if name != before:
            self._metrics.reachable.labels(self.label).set(1)
            self._metrics.leads(self.label, leads=name == LEADING)
            tell(logging.INFO, "leads" if name == LEADING else "stands by", database=self.label)

    def _failed(self, raised: Exception) -> None:
        reason = told_of_database(raised)
        self._count("database")
        self._metrics.reachable.labels(self.label).set(0)
        self._metrics.leads(self.label, leads=False)
        if translated(raised) is None and not isinstance(raised, psycopg.Error):
            trace("a mistake of kos itself", raised, database=self.label)
        elif (self.state.name, self.state.error) != (UNREACHABLE, reason):
            tell(logging.ERROR, "database can't be served; trying again", database=self.label, error=reason)
        self.state = State(UNREACHABLE, self.state.answered, None, reason)

    def _count(self, kind: str) -> None:
        self._metrics.errors.labels(self.label, kind).inc()


def connect(topology: Topology, place: Place) -> Connection:
    """A connection of the operator to a database, in autocommit mode.

    Raises:
        StoreUnavailable, SecretUnavailable
        PoolerBetween: it is a pooler's: what belongs to a session is not ours there.
    """
    server, login = server_at(topology, place), shard_named(topology, place.shard).operator
    connection = postgres.connect(server, login, application_name="kos worker", **KEEPALIVE)
    try:
        if connection.info.backend_pid != _value(connection.execute(QUERIES.backend)):
            raise errors.PoolerBetween(server.address)
    except BaseException:
        connection.close()
        raise
    return connection


def _value(cursor: psycopg.Cursor[Any]) -> Any:
    row = cursor.fetchone()
    return row[0] if row else None
