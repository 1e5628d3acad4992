"""The databases that a run writes to, each with a fence that lets the run's token in and no lower one.

A place is noted in the journal before its fence is raised there, and only by the lease's holder. So whoever takes over
knows every place where the loser may still write, raises the fence in all of them first, and waits for what the loser
has begun. A loser that wakes up finds a higher token, or that it may not note a new place.
"""

from __future__ import annotations

import time
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from threading import Lock
from uuid import UUID

import psycopg
from psycopg.pq import TransactionStatus

from kos import errors
from kos.journal.lease import QUERIES, Lease, session_prefix
from kos.tenancy.placement import Place, control_place, server_at, shard_named
from kos.tenancy.store import Connection, Store
from kos.topology import postgres

_LOCK_TIMEOUT = "1s"  # what a taker over waits for at a time; the loser's sessions were ended
_ATTEMPTS = 10
_KEPT = 16  # connections that nobody uses
_FRESH_SECONDS = 5.0


class Fences:
    """Connections of one run, as the operator; one per place, opened when it is first written to."""

    def __init__(self, store: Store, lease: Lease) -> None:
        self._store = store
        self.lease = lease
        self._open: dict[Place, Connection] = {}
        self._idle: deque[tuple[float, Place, Connection]] = deque()
        self._raised: set[Place] = set()
        self._one_at_a_time = Lock()
        self._raising = Lock()

    def connection(self, place: Place) -> Connection:
        """A connection in autocommit mode to a place whose fence lets this run in.

        Raises:
            LeaseLost: another runner has the lease.
            StoreUnavailable
        """
        known = self._open.get(place)
        if known is not None and not known.closed:
            return known
        return self._enter(place, new=True)

    @contextmanager
    def beside(self, place: Place) -> Iterator[Connection]:
        """One more connection to a place, in autocommit mode, for as long as the block lasts. Whoever takes the lease
        over ends it; each of its transactions has to `let_in()` first."""
        with self._one_at_a_time:
            self.connection(place)
        connection = self._as_new(place) or self._connect(place)
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        if connection.info.transaction_status == TransactionStatus.IDLE:
            self._keep(place, connection)
        else:
            connection.close()

    def _keep(self, place: Place, connection: Connection) -> None:
        """For the next: of a thousand placements each would open some otherwise. Few at a time, and not for long, since
        nobody can tell whether an old one is still answered."""
        now = time.monotonic()
        with self._one_at_a_time:
            self._idle.append((now, place, connection))
            while len(self._idle) > _KEPT or self._idle[0][0] < now - _FRESH_SECONDS:
                self._idle.popleft()[-1].close()

    def _as_new(self, place: Place) -> Connection | None:
        """One that was used a moment ago, as it was when it was opened; None where there is none that is alive."""
        with self._one_at_a_time:
            found = next((each for each in reversed(self._idle) if each[1] == place), None)
            if found is None:
                return None
            self._idle.remove(found)
        since, _, connection = found
        with suppress(psycopg.Error):  # it was ended meanwhile: another one is opened
            if since >= time.monotonic() - _FRESH_SECONDS:
                connection.execute(QUERIES.as_new)
                postgres.settle(server_at(self._store.topology, place), connection)
                return connection
        connection.close()
        return None

    def let_in(self, connection: Connection) -> None:
        """Pass the fence: this transaction commits only under the lease. KS011 where another runner has it."""
        connection.execute(QUERIES.pass_lease, self._token)

    def take_over(self, *, scattered: bool = False) -> None:
        """Shut out whoever had the lease before, in every place that was noted. A database that is gone needs no fence.
        One of a `scattered` operation that can't be reached gets its fence when this run first writes there, and at the
        end at the latest.

        Raises:
            StoreUnavailable: a place can't be reached, so nobody can tell who writes there.
        """
        with self.lease.write() as control:
            control.execute(QUERIES.end_sessions, self._sessions)
        found = self.existing()
        for place in found.places:
            try:
                self._enter(place)
            except errors.StoreUnavailable as error:
                found.silent[place] = error
        if not scattered:
            found.refuse_silent()

    def existing(self) -> Existing:
        """Where the operation has written, or was about to, by whichever runner, and what of it there is."""
        near = control_place(self._store.topology).shard
        with self.lease.write() as control:
            noted = control.execute(QUERIES.places, {"operation": self.lease.operation}).fetchall()
            places = [Place(*row) for row in noted]
            found = existing(self._store, [each for each in places if each.shard == near], control)
        # The others when the lease is free again: a silent one takes seconds, in which its heart would not beat.
        far = existing(self._store, [each for each in places if each.shard != near])
        return Existing(found.places + far.places, found.silent | far.silent)

    def forget_checkpoints(self) -> None:
        """Of an operation that is over, or as good as. Whoever had the lease before is shut out everywhere then.

        Raises:
            StoreUnavailable
        """
        found = self.existing()
        for place in found.places:
            connection = self.connection(place)
            with connection.transaction():
                connection.execute(QUERIES.pass_lease, self._token)
                connection.execute(QUERIES.forget_checkpoints, {"operation": self.lease.operation})
        found.refuse_silent()

    def close(self) -> None:
        """Close all connections; what is open in them is rolled back."""
        for connection in [*self._open.values(), *(each for *_, each in self._idle)]:
            connection.close()

    @property
    def _token(self) -> dict[str, object]:
        return {"subject": self.lease.subject, "token": self.lease.token}

    @property
    def _sessions(self) -> dict[str, object]:
        return {"prefix": session_prefix(self.lease.operation), "own": self.lease.session_name}

    def _enter(self, place: Place, *, new: bool = False) -> Connection:
        """A connection behind the fence, which is raised first. A `new` place is noted before, as soon as it is known
        to answer: whoever takes over has to go there."""
        connection = self._connect(place)
        try:
            if new:
                with self.lease.write() as control:
                    note_place(control, self.lease.operation, place)
            connection.execute(QUERIES.end_sessions, self._sessions)
            with self._raising:
                self._raise(connection, place)
        except BaseException:
            connection.close()
            raise
        self._open[place] = connection
        return connection

    def _connect(self, place: Place) -> Connection:
        server, shard = server_at(self._store.topology, place), shard_named(self._store.topology, place.shard)
        return postgres.connect(server, shard.operator, application_name=self.lease.session_name)

    def _raise(self, connection: Connection, place: Place) -> None:
        for attempt in range(_ATTEMPTS):
            with suppress(psycopg.errors.LockNotAvailable), connection.transaction():
                connection.execute(QUERIES.set_lock_timeout, {"timeout": _LOCK_TIMEOUT})
                raised = connection.execute(QUERIES.raise_fence, self._token).fetchone()
                if raised is None and place not in self._raised:
                    self._refuse_token(connection, place)
                self._raised.add(place)
                return
            time.sleep(0.05 * attempt)
        raise errors.StoreBusy("PostgreSQL", f"the fence of {self.lease.subject} could not be raised")

    def _refuse_token(self, connection: Connection, place: Place) -> None:
        """A runner of before has the token, or a higher one, and would be let in beside this one."""
        found = connection.execute(QUERIES.find_fence, self._token).fetchone()
        assert found is not None
        with self.lease.write() as control:
            control.execute(QUERIES.skip_tokens, {"behind": max(found[0] - self.lease.token, 0)})
        raise errors.LeaseBehind(self.lease.subject, self.lease.token, place.database, found[0])


def note_place(control: Connection, operation: UUID, place: Place) -> None:
    """That an operation writes to a place, before it does; in the control database."""
    facts = {"operation": operation, "shard": place.shard, "database": place.database}
    control.execute(QUERIES.note_place, facts)


@dataclass(frozen=True)
class Existing:
    """Places whose databases there are, and those of which nobody can tell now, each with the reason."""

    places: list[Place] = field(default_factory=list)
    silent: dict[Place, Exception] = field(default_factory=dict)

    def refuse_silent(self) -> None:
        """Raise what the first of these said."""
        for error in self.silent.values():
            raise error


def existing(store: Store, places: Iterable[Place], control: Connection | None = None) -> Existing:
    """Which of these databases exist? Each shard is asked, once: that a database is silent says nothing."""
    found, asked = Existing(), defaultdict(list)
    for place in places:
        asked[place.shard].append(place)
    for name, here in asked.items():
        shard = shard_named(store.topology, name)
        try:
            with asking(store, Place(name, shard.primary.database), control) as operator:
                rows = operator.execute(QUERIES.databases, {"databases": [each.database for each in here]}).fetchall()
        except errors.StoreUnavailable as error:
            found.silent.update(dict.fromkeys(here, error))
        else:
            found.places.extend(each for each in here if (each.database,) in rows)
    return found


@contextmanager
def asking(store: Store, place: Place, control: Connection | None) -> Iterator[Connection]:
    """A connection to a place: the one to the control tables, if there is one and it is theirs."""
    if control is not None and place == control_place(store.topology):
        yield control
    else:
        with store.operator(place) as operator:
            yield operator
