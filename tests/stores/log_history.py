"""Histories of writers, sealers and cuts on two tables and three tenants, and what must be true of the log after each.

Every row carries the stamp of its last change and of the one before, so that the events of a row are a chain that only
one order fits. A statement runs in a thread of its client's own: a client that waits for a lock really waits.
"""

from __future__ import annotations

import time
import uuid
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from hashlib import sha256
from itertools import pairwise
from typing import Any

import psycopg
from hypothesis import strategies as st

from kos.log import Cursor, Event, cut, read
from kos.tenancy import Place, Store

Connection = psycopg.Connection[Any]
TABLES = ("firsts", "seconds")
WRITERS, SEALERS, TENANTS, KEYS = 3, 2, 3, 4
SECONDS = 30.0
SCHEMA = """
create sequence public.stamps;
create table public.firsts (
  tenant uuid not null, id integer not null, stamp bigint not null, previous bigint, primary key (tenant, id));
create table public.seconds (
  id integer not null, tenant uuid not null, stamp bigint not null, previous bigint, primary key (id, tenant));
grant all on public.firsts, public.seconds to kos_owner;
grant select on public.firsts, public.seconds to kos_operator;
select kos.log_table('public.firsts', 'tenant'), kos.log_table('public.seconds', 'tenant');
"""
WRITES = {
    "insert": "insert into public.{0} (tenant, id, stamp) values (%(t)s, %(k)s, nextval('stamps'))"
    " on conflict do nothing",
    "update": "update public.{0} set previous = stamp, stamp = nextval('stamps') where tenant = %(t)s and id = %(k)s",
    "update all": "update public.{0} set previous = stamp, stamp = nextval('stamps') where tenant = %(t)s",
    "delete": "delete from public.{0} where tenant = %(t)s and id = %(k)s",
    "upsert": "insert into public.{0} as r (tenant, id, stamp) values (%(t)s, %(k)s, nextval('stamps'))"
    " on conflict (tenant, id) do update set previous = r.stamp, stamp = excluded.stamp",
}
ENDS = {"commit": True, "abort": False}


class WrongLog(AssertionError):
    """What the log says cannot be."""


@dataclass(frozen=True)
class Step:
    who: int
    action: str
    table: str
    tenant: int
    key: int


def _steps(who: int, *actions: str) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        st.integers(0, who - 1),
        st.sampled_from(actions),
        st.sampled_from(TABLES),
        st.sampled_from((0, 0, 0, *range(TENANTS))),  # mostly the same one, where they meet
        st.integers(1, KEYS),
    )


writes = _steps(WRITERS, *WRITES, "insert", "upsert", "savepoint", "undo", "commit", "commit", "abort")
seals = _steps(SEALERS, "seal", "seal", "seal and stay", "end", "undo the seal", "cut")
histories = st.lists(st.one_of(writes, writes, writes, seals), min_size=40, max_size=120)


class Client:
    """A session whose statements run one after the other; `busy` while one of them waits."""

    def __init__(self, connection: Connection, isolation: str) -> None:
        self.connection = connection
        self.isolation = isolation
        self.pid = connection.info.backend_pid
        self._thread = ThreadPoolExecutor(1)
        self._running: Future[None] | None = None
        self.written: Counter[int] = Counter()
        self.saved: Counter[int] | None = None
        self.failed: list[psycopg.Error] = []

    @property
    def busy(self) -> bool:
        if self._running is not None and self._running.done():
            self._running.result()
            self._running = None
        return self._running is not None

    @property
    def inside(self) -> bool:
        return self.connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE

    def begin(self) -> None:
        if not self.inside:
            self.connection.execute(f"begin isolation level {self.isolation}".encode())

    def run(self, statement: str, values: dict[str, Any], tenant: int | None = None) -> None:
        """Begin a statement; the rows that it writes are the tenant's."""

        def work() -> None:
            try:
                rows = self.connection.execute(statement.encode(), values).rowcount
                if tenant is not None:
                    self.written[tenant] += rows
            except psycopg.Error as error:
                self.failed.append(error)
                self.undone()
                self.connection.execute("rollback")

        self._running = self._thread.submit(work)

    def undone(self) -> None:
        self.written, self.saved = Counter(), None

    def end(self, *, commit: bool) -> tuple[str, Counter[int]] | None:
        """The transaction's id and what it wrote per tenant; None if nothing is left of it."""
        written = +self.written
        self.undone()
        if not self.inside:
            return None
        row = self.connection.execute("select pg_current_xact_id_if_assigned()::text").fetchone()
        self.connection.execute("commit" if commit else "rollback")
        return (row[0], written) if commit and row and row[0] and written else None

    def close(self) -> None:
        self._thread.shutdown()
        self.connection.close()


@dataclass
class Arena:
    """Sessions on one database. Every history has tenants of its own, so nothing needs to be emptied."""

    store: Store
    place: Place
    watch: Connection
    writers: list[Client]
    sealers: list[Client]
    tenants: list[uuid.UUID] = field(default_factory=list)
    expected: Counter[tuple[str, int]] = field(default_factory=Counter)
    moments: list[tuple[int, int, dict[str, Any]]] = field(default_factory=list)

    def run(self, history: list[Step]) -> None:
        self.tenants = [uuid.uuid4() for _ in range(TENANTS)]
        self.expected, self.moments = Counter(), []
        try:
            for step in history:
                (self._seal if step.action in SEALER_ACTIONS else self._write)(step)
                self._settle()
        finally:
            self._finish()
        self._cut()
        with self.store.operator(self.place) as operator:
            for number in range(TENANTS):
                self._check(operator, number)

    def _write(self, step: Step) -> None:
        client = self.writers[step.who]
        if client.busy:
            return
        if step.action in ENDS:
            self._end(client, commit=ENDS[step.action])
        elif step.action == "savepoint":
            client.begin()
            client.connection.execute("savepoint here")
            client.saved = client.written.copy()
        elif step.action == "undo":
            if client.saved is not None:
                client.connection.execute("rollback to savepoint here")
                client.written = client.saved.copy()
        else:
            client.begin()
            values = {"t": self.tenants[step.tenant], "k": step.key}
            client.run(WRITES[step.action].format(step.table), values, step.tenant)

    def _end(self, client: Client, *, commit: bool) -> None:
        ended = client.end(commit=commit)
        if ended is not None:
            for tenant, rows in ended[1].items():
                self.expected[ended[0], tenant] += rows

    def _seal(self, step: Step) -> None:
        client = self.sealers[step.who]
        if client.busy:
            return
        if step.action == "cut":
            if not any(each.busy or each.inside for each in self.sealers):
                self._cut()
        elif step.action in ("end", "undo the seal"):
            client.end(commit=step.action == "end")
        else:
            if step.action == "seal and stay":
                client.begin()
            client.run("select kos.seal(%(t)s)", {"t": self.tenants[step.tenant]})

    def _cut(self) -> None:
        with cut(self.store, self.place, self.tenants) as here:
            for number, tenant in enumerate(self.tenants):
                self.moments.append((number, here.positions[tenant], table_rows(here.connection, tenant)))

    def _settle(self) -> None:
        """Until every client has done its statement, or waits for a lock that another holds."""
        deadline = time.monotonic() + SECONDS
        while waiting := [each.pid for each in (*self.writers, *self.sealers) if each.busy]:
            blocked = "select bool_and(cardinality(pg_blocking_pids(p)) > 0) from unnest(%s::int[]) p"
            if self.watch.execute(blocked, (waiting,)).fetchone() == (True,):
                return
            assert time.monotonic() < deadline, "a statement neither ends nor waits"

    def _finish(self) -> None:
        everybody = (*self.writers, *self.sealers)
        while any(each.inside or each.busy for each in everybody):
            self._settle()
            for each in everybody:
                if not each.busy:
                    self._end(each, commit=True)
        failed = [error for each in self.sealers for error in each.failed if error.sqlstate != "40P01"]
        for each in everybody:
            each.failed.clear()
        if failed:
            raise WrongLog(f"a seal failed: {failed[0]}")

    def _check(self, operator: Connection, number: int) -> None:
        tenant = self.tenants[number]
        events = read(operator, tenant, Cursor(), 100_000)
        if [each.position for each in events] != list(range(1, len(events) + 1)):
            raise WrongLog("positions have gaps, or come twice")
        counted = Counter(each.transaction for each in events)
        wanted = {xid: rows for (xid, of), rows in self.expected.items() if of == number}
        if counted != wanted:
            raise WrongLog(f"committed were {wanted}, sealed are {dict(counted)}")
        ends = operator.execute("select position from kos.seals where tenant_id = %s", (tenant,)).fetchall()
        check_transactions(events, {position for (position,) in ends})
        check_chains(events)
        check_times(operator, tenant)
        check_leaves(operator, tenant)
        for of, position, rows in self.moments:
            if of == number and log_rows(operator, tenant, position) != rows:
                raise WrongLog(f"at position {position} the log has other rows than the table had")


SEALER_ACTIONS = ("seal", "seal and stay", "end", "undo the seal", "cut")


def check_transactions(events: list[Event], seal_ends: set[int]) -> None:
    """Each transaction stands in one piece, in one seal."""
    runs = Counter(each.transaction for each, ends in zip(events, _ends(events), strict=True) if ends)
    if any(pieces > 1 for pieces in runs.values()):
        raise WrongLog("a transaction stands in more than one piece")
    if any(each.ends_transaction != ends for each, ends in zip(events, _ends(events), strict=True)):
        raise WrongLog("the end of a transaction is not told")
    whole = {each.position for each, ends in zip(events, _ends(events), strict=True) if ends}
    if not seal_ends <= whole or (events and events[-1].position not in seal_ends):
        raise WrongLog("a seal ends within a transaction")


def _ends(events: list[Event]) -> list[bool]:
    transactions: list[str | None] = [each.transaction for each in events]
    return [here != after for here, after in pairwise([*transactions, None])]


def check_chains(events: list[Event]) -> None:
    """Each row is inserted where none is, and changed from what it was."""
    stamps: dict[tuple[str, tuple[str, ...]], str | None] = {}
    for each in events:
        row = (each.table, each.key)
        if (each.operation == "I") == (row in stamps):
            raise WrongLog(f"position {each.position}: {each.operation} of a row that the log knows otherwise")
        if each.operation == "U" and each.data["previous"] != stamps[row]:
            raise WrongLog(f"position {each.position}: changed from {each.data['previous']}, was {stamps[row]}")
        if each.operation == "D":
            del stamps[row]
        else:
            stamps[row] = each.data["stamp"]


TIMES = """
select position, occurred_at, max(pg_xact_commit_timestamp(transaction::xid)) over (order by position) as committed_by
  from kos.knowledge_events where tenant_id = %s order by position
"""


def check_times(connection: Connection, tenant: uuid.UUID) -> None:
    """An event's time is that of the latest commit up to its position: no sealer's, and never earlier than before."""
    for position, occurred, committed in connection.execute(TIMES, (tenant,)).fetchall():
        if occurred != committed:
            raise WrongLog(f"position {position} has the time {occurred}, committed was by {committed}")


LEAVES = """
select position, leaf, salt,
       concat_ws(' ', tenant_id, position, incarnation, transaction,
                 (extract(epoch from occurred_at) * 1000000)::bigint, encode(digest, 'hex'), operation),
       concat_ws(' ', key::text, coalesce(image::text, '-'), coalesce(before::text, '-'), coalesce(context::text, '-'))
  from kos.knowledge_events join kos.shapes using (shape_id) where tenant_id = %s
"""


def check_leaves(connection: Connection, tenant: uuid.UUID) -> None:
    """Each leaf is that of its event: SHA-256 of the header and of the SHA-256 of salt and content."""
    for position, leaf, salt, header, content in connection.execute(LEAVES, (tenant,)).fetchall():
        if leaf != sha256(header.encode() + sha256(salt.bytes + content.encode()).digest()).digest():
            raise WrongLog(f"position {position} has the leaf of another event")


def table_rows(connection: Connection, tenant: uuid.UUID) -> dict[str, Any]:
    return {
        table: sorted(
            connection.execute(
                f"select id::text, stamp::text from public.{table} where tenant = %s".encode(), (tenant,)
            ).fetchall()
        )
        for table in TABLES
    }


def log_rows(connection: Connection, tenant: uuid.UUID, at: int) -> dict[str, Any]:
    query = "select data ->> 'id', data ->> 'stamp' from kos.log_state(%s, 'public', %s, %s)"
    return {table: sorted(connection.execute(query, (tenant, table, at)).fetchall()) for table in TABLES}
