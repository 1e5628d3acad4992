"""A thread that keeps one projection where the logs of one database are, as long as it is let."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import Event, Lock, Thread
from typing import Any
from uuid import UUID

import psycopg

from kos import errors
from kos.log import head_of, position_of
from kos.log.consumer import OF_PROJECTIONS
from kos.pace import Growing, Resting
from kos.projections.follow import follow, is_put_back, locked, shown
from kos.projections.model import Projection, Standing, Whose
from kos.projections.queries import QUERIES
from kos.projections.remaking import Remaking
from kos.projections.snapshot import made_of
from kos.projections.whole import whose_of
from kos.tenancy import Place, Store
from kos.tenancy.store import Connection

TIDY_SECONDS = 30.0
LOOK_SECONDS = 1.0  # between two looks at what was sealed by others, at the store, and at who has left
MOST_TENANTS = 1000
COMPARED = 10  # tenants that are looked at each time
CHECKS = 20  # of tenants that nobody has said anything about, between two batches
AGAIN_FIRST_SECONDS, AGAIN_MOST_SECONDS = 0.1, 5.0


@dataclass(frozen=True)
class Progress:
    """What a follower knows; replaced as a whole, so that other threads may read it. `behind` in events, `lag` in
    seconds; `parked`: rows that the store refuses; `making`: tenants that are made anew just now; `failing`: those that
    can't be followed, and why."""

    state: str = "starting"
    error: str | None = None
    behind: int = 0
    lag: float = 0.0
    parked: int = 0
    applied: int = 0
    rebuilds: int = 0
    making: int = 0
    failing: dict[UUID, str] = field(default_factory=dict)


class Follower:
    """Follows while it is let. `notice` says that a tenant has new events; others are found within a second."""

    def __init__(
        self,
        make: Callable[[], Projection],
        name: str,
        store: Store,
        place: Place,
        connect: Callable[[], Connection],
        changed: Callable[[Follower], None] = lambda _: None,
        told: Callable[[str, Exception], None] = lambda *_: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`changed` is called when there is something new in `progress`; `told` of what went wrong, in its thread."""
        self.name = name
        self.progress = Progress()
        self._make, self._store, self._place, self._connect = make, store, place, connect
        self._changed, self._told, self._clock = changed, told, clock
        self._may, self._ends, self._news = Event(), Event(), Event()
        self._lock = Lock()
        self._noticed: set[UUID] = set()
        self._due: dict[UUID, None] = {}  # in the order in which they came
        self._unchecked: dict[UUID, None] = {}
        self._standings: dict[Whose, Standing] = {}
        self._tables: tuple[Any, ...] | None = None
        self._resting = Resting()
        self._remaking = Remaking(make, store, place, self._news.set, self._fails_to_make, clock)
        self._look_due = self._tidy_due = 0.0
        self._again = Growing(AGAIN_FIRST_SECONDS, AGAIN_MOST_SECONDS)
        self._thread = Thread(target=self._run, name=f"follow {name} {place.database}", daemon=True)

    def start(self) -> None:
        """Begin, as soon as it is let."""
        self._thread.start()

    def let(self, *, follow: bool) -> None:
        """Only who leads follows: two would move each other's generations on, harmlessly, and for nothing."""
        (self._may.set if follow else self._may.clear)()

    def notice(self, tenant: UUID) -> None:
        """It was sealed."""
        with self._lock:
            self._noticed.add(tenant)
        self._news.set()

    def stop(self) -> None:
        """End after the batch that is under way; returns at once."""
        self._ends.set()
        self._may.set()
        self._news.set()

    def wait(self, seconds: float) -> None:
        """Wait for the end of it. A rebuild that is under way is left behind: the next one clears it."""
        self._thread.join(seconds)

    # the thread

    def _run(self) -> None:
        while not self._ends.is_set():
            if not self._may.wait(LOOK_SECONDS) or self._ends.is_set():
                continue
            try:
                with self._connect() as connection:
                    self._serve_until_failure(connection)
            except Exception as raised:  # noqa: BLE001 - told, and tried again
                self._fails(raised)

    def _serve_until_failure(self, connection: Connection) -> None:
        try:
            with closing(self._make()) as projection:
                self._serve(connection, projection)
        except Exception as raised:
            if isinstance(raised, psycopg.OperationalError):
                raise
            # The store is what fails: how far behind it is, PostgreSQL can say.
            self._fails(raised, **self._measured(connection))

    def _fails(self, raised: Exception, **news: Any) -> None:
        if not self._ends.is_set():
            self._say("failing", str(raised), **news)
            self._told("the projection can't be followed; trying again", raised)
        self._ends.wait(self._again.take())

    def _measured(self, connection: Connection) -> dict[str, Any]:
        """How many events the store hasn't had, for how long, and what is parked. Who waits is due."""
        asked = {"feed": OF_PROJECTIONS + self.name, "limit": MOST_TENANTS}
        waiting = connection.execute(QUERIES.waiting, asked).fetchall()
        self._due |= dict.fromkeys(tenant for tenant, *_ in waiting)
        parked = connection.execute(QUERIES.count_parked, {"projection": self.name}).fetchone() or (0,)
        return {
            "behind": sum(count for _, count, _ in waiting),
            "lag": max((0.0, *(seconds for *_, seconds in waiting))),
            "parked": parked[0],
        }

    def _serve(self, connection: Connection, projection: Projection) -> None:
        """Until the end, or until somebody else leads."""
        projection.prepare()
        self._standings.clear()
        self._look_due = 0.0
        self._unchecked = dict.fromkeys(tenant for (tenant,) in connection.execute(QUERIES.tenants_known))
        while self._may.is_set() and not self._ends.is_set():
            self._news.clear()
            if self._clock() >= self._look_due:
                self._look(connection, projection)
                self._look_due = self._clock() + LOOK_SECONDS
            with self._lock:
                noticed, self._noticed = self._noticed, set()
            self._due |= dict.fromkeys(noticed)
            busy = self._round(connection, projection)
            busy = self._check_some(connection, projection) or busy
            self._take_made()
            self._remaking.start(lambda tenant: whose_of(connection, tenant))
            if not busy:
                self._news.wait(self._pause())

    def _pause(self) -> float:
        ends = [each.next_end(self._clock()) for each in (self._resting, self._remaking.resting)]
        return min([LOOK_SECONDS, *(each for each in ends if each)])

    def _take_made(self) -> None:
        """Of those that are made, what has come since is due; and whether they are as they have to be is looked at."""
        for tenant, made in self._remaking.done().items():
            self._standings = {whose: each for whose, each in self._standings.items() if whose.tenant != tenant}
            self._due[tenant] = self._unchecked[tenant] = None
            if made:
                self._say(self.progress.state, self.progress.error, rebuilds=1)

    def _round(self, connection: Connection, projection: Projection) -> bool:
        """A batch of each tenant that is due; whether there is more."""
        now = self._clock()
        ready = [each for each in self._due if not self._resting.rests(each, now)]
        for tenant in ready:
            more = self._guarded(projection, tenant, lambda tenant: self._batch(connection, projection, tenant))
            if not more:
                self._due.pop(tenant, None)
            if self._ends.is_set():
                break
        return bool(ready)

    def _check_some(self, connection: Connection, projection: Projection) -> bool:
        """Of the tenants that are to be checked; whether there were any."""
        now = self._clock()
        free = (each for each in self._unchecked if each not in self._remaking and not self._resting.rests(each, now))
        ready = list(islice(free, CHECKS))
        for tenant in ready:
            del self._unchecked[tenant]
            if self._guarded(projection, tenant, lambda tenant: self._check(connection, projection, tenant)):
                self._unchecked[tenant] = None  # it could not be looked at
        return bool(ready)

    def _guarded(self, projection: Projection, tenant: UUID, act: Callable[[UUID], bool]) -> bool:
        """What fails for one tenant stops no other; a store or a database that is gone stops all of them."""
        try:
            more = act(tenant)
        except Exception as raised:
            if isinstance(raised, psycopg.OperationalError) and not self._is_of_one(raised):
                raise
            if isinstance(raised, errors.StoreUnavailable):
                projection.identity()  # raises, where it is the store's fault and not this tenant's
            self._resting.park(tenant, self._clock(), str(raised))
            self._told(f"tenant {tenant} can't be followed; trying again", raised)
            self._due[tenant] = None
            return True
        self._again.reset()
        if not more:
            self._resting.done(tenant)
        return more

    @staticmethod
    def _is_of_one(raised: psycopg.OperationalError) -> bool:
        """The server goes on: a lock, a limit or a cancellation is what it said."""
        return raised.sqlstate is not None and raised.sqlstate[:2] in {"54", "55", "57"} and raised.sqlstate < "57P"

    def _batch(self, connection: Connection, projection: Projection, tenant: UUID) -> bool:
        """The next transactions of one tenant; whether there may be more."""
        whose = whose_of(connection, tenant)
        with locked(connection, self.name, tenant) as has:
            if not has:  # it is being verified, or a new generation is being shown
                self._resting.rest(tenant, self._clock())
                return True
            try:
                standing = self._standings.get(whose) or shown(connection, projection, whose)
                if standing is not None:
                    after = follow(connection, projection, whose, standing)
                    self._standings[whose] = after or standing
                    if after is not None:
                        count = after.reached.position - standing.reached.position
                        self._say("following", None, applied=count)
                        return True
                    if self._is_told(connection, whose, standing):
                        return False
                    self._standings.pop(whose)  # its last batch is there, and nobody was told: looked at anew
                    return True
            except errors.ProjectionMoved:
                self._standings.pop(whose, None)
                return True
            except (errors.FeedDiverged, errors.TransactionTooLong):
                self._standings.pop(whose, None)  # it is made anew
                self._see_restore(connection, projection, whose, projection.live(whose))
        self._want(connection, whose)
        return False

    def _is_told(self, connection: Connection, whose: Whose, standing: Standing) -> bool:
        """Whether the cursor is where the generation is, or further, as one that somebody has moved."""
        return position_of(connection, OF_PROJECTIONS + self.name, whose.tenant).position >= standing.reached.position

    def _check(self, connection: Connection, projection: Projection, tenant: UUID) -> bool:
        """See that the cursor says what the store has, of the log that there is, and whether it has to be made anew;
        True where it has to be looked at again."""
        whose = whose_of(connection, tenant)
        with locked(connection, self.name, tenant) as has:
            if not has:
                self._resting.rest(tenant, self._clock())
                return True
            if head_of(connection, tenant) == 0 and (live := projection.live(whose)) is not None:
                self._see_restore(connection, projection, whose, live)
                projection.forget(tenant)  # its log was put back to before its first event
                return False
            try:
                standing = shown(connection, projection, whose)
            except errors.ProjectionMoved:
                return True
            except errors.FeedDiverged:
                standing = None
                self._standings.pop(whose, None)
                self._see_restore(connection, projection, whose, projection.live(whose))
            if standing is not None:
                self._standings[whose] = standing
                if self._is_made_of_all(connection, projection, whose):
                    return False
        self._want(connection, whose)
        return False

    def _see_restore(self, connection: Connection, projection: Projection, whose: Whose, live: Standing | None) -> None:
        if live is not None and is_put_back(connection, projection, whose, live.reached):
            where = errors.FeedDiverged(str(whose.tenant), live.reached.position)
            self._told("the projection is ahead of the log, which was put back: made anew", where)

    def _is_made_of_all(self, connection: Connection, projection: Projection, whose: Whose) -> bool:
        """Whether the tables that are logged now are those that it was made from."""
        facts = {"projection": self.name, "tenant": whose.tenant}
        row = connection.execute(QUERIES.made_of, facts).fetchone()
        return row == (made_of(connection, whose.schema, projection),)

    def _look(self, connection: Connection, projection: Projection) -> None:
        """At what nobody has said."""
        self._let_leave(connection, projection)
        identity = projection.identity()
        row = connection.execute(QUERIES.store_of, {"projection": self.name}).fetchone()
        mark = connection.execute(QUERIES.tables_mark).fetchone()
        if row != (identity,) or mark != self._tables or not self._are_as_known(projection):
            self._standings.clear()
            self._tables = mark
            self._unchecked = dict.fromkeys(tenant for (tenant,) in connection.execute(QUERIES.tenants_known))
            connection.execute(QUERIES.note_store, {"projection": self.name, "identity": identity})
        for whose in projection.asking():
            self._unchecked[whose.tenant] = None
        if self._clock() >= self._tidy_due:
            projection.tidy()
            self._tidy_due = self._clock() + TIDY_SECONDS
        self._say("following", None, **self._measured(connection))

    def _are_as_known(self, projection: Projection) -> bool:
        """Whether some tenants, others each time, are where they were left, or further: a store can be put back to an
        earlier state and be there again before anybody has missed it. Who is further was made anew by somebody else."""
        for whose in list(islice(self._standings, COMPARED)):
            standing = self._standings.pop(whose, None)
            if standing is not None:  # else it is being made anew
                live = projection.live(whose)
                if live is None or live.reached < standing.reached:
                    return False
                if live == standing:
                    self._standings[whose] = live  # behind the others
                else:
                    self._due[whose.tenant] = None  # and its cursor is looked at
        return True

    def _let_leave(self, connection: Connection, projection: Projection) -> None:
        """Tenants that are no more; one of the same id that has come since is made anew."""
        for (tenant,) in connection.execute(QUERIES.leavers, {"projection": self.name}).fetchall():
            if tenant in self._remaking:
                continue
            try:
                projection.forget(tenant)
            except errors.StoreBusy:
                continue  # the next look finds it again
            self._due.pop(tenant, None)
            self._remaking.drop(tenant)
            self._standings = {whose: each for whose, each in self._standings.items() if whose.tenant != tenant}
            self._unchecked[tenant] = None
            connection.execute(QUERIES.has_left, {"projection": self.name, "tenant": tenant})

    def _want(self, connection: Connection, whose: Whose) -> None:
        """Have it made anew, unless it is gone, or has nothing yet."""
        if head_of(connection, whose.tenant) == 0:
            self._remaking.drop(whose.tenant)
        else:
            self._remaking.want(whose.tenant)

    def _fails_to_make(self, tenant: UUID, raised: Exception) -> None:
        if not self._ends.is_set():
            self._told(f"tenant {tenant} can't be made anew; trying again", raised)

    def _say(self, state: str, error: str | None, **news: Any) -> None:
        """`behind` and `lag` as they are now; `applied` and `rebuilds` beside those before."""
        parked = self._remaking.resting.parked() | self._resting.parked()
        failing = {tenant: rest.error or "" for tenant, rest in parked.items()}
        with self._lock:
            added = {name: getattr(self.progress, name) + news.pop(name, 0) for name in ("applied", "rebuilds")}
            now: dict[str, Any] = {
                "state": state,
                "error": error,
                "failing": failing,
                "making": len(self._remaking),
            }
            self.progress = replace(self.progress, **now, **added, **news)
        self._changed(self)
