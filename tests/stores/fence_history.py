"""Histories of clients and cutovers, and the proof that no write of an old epoch was ever accepted.

The model: a write counts as of the epoch that its transaction had in `kos.epoch` when it was made. A cutover sees all
committed writes of the epoch that it ends, so what is found of that epoch later must be the same. What was written is
told by triggers of the test's own, which write to a journal in the same transaction, whatever the statement was.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

import psycopg
from fence_client import Client, Statement
from hypothesis import strategies as st

from kos.tenancy import Tenant

ISOLATIONS = ("read committed", "repeatable read", "serializable")
Connection = psycopg.Connection[Any]

ENTER = "select set_config('search_path', kos.enter('{id}', {epoch}), true)"
FORGE = (
    "select set_config('kos.tenant_id', '{id}', true), set_config('kos.epoch', '{epoch}', true), "
    "set_config('search_path', '{schema}', true)"
)
UNDONE = ("savepoint entry", ENTER, "rollback to savepoint entry")
# How a transaction comes to an identity: each statement is a step, and a client may be frozen between any two.
ENTRIES: dict[str, tuple[str, ...]] = {
    "nothing": (),
    "enter": (ENTER,),
    "enter, believing the database": (ENTER.replace("{epoch}", "null"),),
    "forge": (FORGE,),
    "forge the tenant only": ("select set_config('kos.tenant_id', '{id}', true)",),
    "enter, then forge": (ENTER.replace("{epoch}", "null"), FORGE),
    "an entry that is undone": UNDONE,
    "an entry that is undone, then enter": (*UNDONE, ENTER),
    "an entry that is undone, then forge": (*UNDONE, FORGE),
    "a savepoint that is released": ("savepoint entry", ENTER, "release savepoint entry"),
}

AS_SUPERUSER, AS_APPLICATION = "set local role none", "set local role kos_app"
INSERT = "insert into {schema}.atoms (atom_type, name) values ('T', 'new')"
UPDATE = "update {schema}.atoms set version = version + 1 where name = 'kept'"
# Every kind of write. kos_app may neither COPY into tables with row security, nor truncate, nor write events: these
# are tried with more rights.
WRITES: dict[str, tuple[Statement, ...]] = {
    "insert": (INSERT,),
    "insert by search path": ("insert into atoms (atom_type, name) values ('T', 'new')",),
    "update": (UPDATE,),
    "delete": ("delete from {schema}.atoms where name = 'new'",),
    "upsert": (
        "insert into {schema}.molecules (name) values ('kept') "
        "on conflict (tenant_id, name) do update set version = molecules.version + 1",
    ),
    "merge, update": (
        "merge into {schema}.atoms a using (values ('kept')) v (name) on a.name = v.name "
        "when matched then update set version = a.version + 1",
    ),
    "merge, delete": (
        "merge into {schema}.atoms a using (values ('new')) v (name) on a.name = v.name when matched then delete",
    ),
    "writing CTE": ("with gone as (delete from {schema}.relations returning 1) select count(*) from gone",),
    "cascade": ("delete from {schema}.molecules where name = 'composed'",),
    "copy": (AS_SUPERUSER, ("copy {schema}.atoms (atom_type, name) from stdin", "T\tnew\n"), AS_APPLICATION),
    "truncate": (AS_SUPERUSER, "truncate {schema}.sensitive_atoms", AS_APPLICATION),
    "select for update": ("select from {schema}.atoms where name = 'kept' for update", UPDATE),
    "where current of": (
        "declare held cursor for select from {schema}.atoms where name = 'kept' for update",
        "fetch held",
        "update {schema}.atoms set version = version + 1 where current of held",
    ),
    "partitioned table": ("insert into {schema}.readings (at) values (1)",),
    "a partition": ("insert into {schema}.readings_low (at) values (1)",),
    "from partition to partition": ("update {schema}.readings set at = 10 - at",),
    "delete from a partition": ("delete from {schema}.readings_low",),
    "do": ("do $$ begin update {schema}.atoms set version = version + 1 where name = 'kept'; end $$",),
    "function": ("select public.write_{schema}()",),
    "prepared": ("execute write_{schema}",),
    "undone, then again": ("savepoint write", UPDATE, "rollback to savepoint write", UPDATE),
}
FIRST = (
    "set deadlock_timeout = '20ms'",
    "prepare write_{schema} as update {schema}.atoms set version = version + 1 where name = 'kept'",
    "set role kos_app",
)

# Triggers that tell every write, and a partitioned table beside those that kos ships.
WATCH = """
create table public.journal (epoch text, write text);
create function public.note() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
  insert into public.journal values (current_setting('kos.epoch', true), tg_op || ' ' || tg_relid::regclass);
  return null;
end $$;
"""
WATCH_SCHEMA = """
create table {schema}.readings (
  tenant_id uuid not null default kos.current_tenant_id(), at integer not null, id uuid default kos.uuid_v7(),
  primary key (tenant_id, at, id)
) partition by range (at);
create table {schema}.readings_low partition of {schema}.readings for values from (0) to (5);
create table {schema}.readings_high partition of {schema}.readings for values from (5) to (20);
do $$
declare
  target regclass;
begin
  foreach target in array array['{schema}.readings', '{schema}.readings_low', '{schema}.readings_high']::regclass[] loop
    perform kos.protect(target);
    execute format('create policy application_access on %s as permissive for all to kos_app using (true)', target);
  end loop;
  for target in select g.tgrelid from pg_trigger g join pg_class c on c.oid = g.tgrelid
                 where g.tgname = 'kos_guard' and c.relnamespace = '{schema}'::regnamespace loop
    execute format('create trigger note after insert or update or delete on %s
                      for each statement execute function public.note()', target);
    execute format('create trigger note_truncate after truncate on %s
                      for each statement execute function public.note()', target);
  end loop;
end $$;
create function public.write_{schema}() returns void language sql
begin atomic
  insert into {schema}.implementations (atom_id, system, location) select id, 's', 'l' from {schema}.atoms limit 0;
end;
"""
ROWS = """
set session_replication_role = replica;
delete from {schema}.atoms; delete from {schema}.molecules; delete from {schema}.molecule_atoms;
delete from {schema}.readings;
insert into {schema}.atoms (tenant_id, atom_type, name) values ('{id}', 'T', 'kept'), ('{id}', 'T', 'new');
insert into {schema}.molecules (tenant_id, name) values ('{id}', 'composed');
insert into {schema}.molecule_atoms (tenant_id, molecule_id, atom_id, role)
select '{id}', m.id, a.id, 'r' from {schema}.molecules m, {schema}.atoms a where a.name = 'kept';
insert into {schema}.readings (tenant_id, at) values ('{id}', 2), ('{id}', 8);
reset session_replication_role;
truncate public.journal;
"""


class OldEpochWritten(AssertionError):
    """A write was accepted that came with an epoch which was over, or with none."""


@dataclass(frozen=True)
class Transaction:
    """What one client does. `late`: it believes in the epoch that the first cutover makes."""

    isolation: str
    entry: str
    writes: tuple[str, ...]
    snapshot: bool = True
    late: bool = False
    end: str = "commit"

    def steps(self, tenant: Tenant, epoch: int) -> tuple[list[Statement], list[Statement]]:
        """Its statements in order: those before the first write, and the others."""
        snapshot = ["select from kos.tenants"] if self.snapshot else []
        before = [f"begin isolation level {self.isolation}", *snapshot, *ENTRIES[self.entry]]
        writes = [statement for write in self.writes for statement in WRITES[write]]
        known = {"id": tenant.id, "schema": tenant.schema, "epoch": epoch + self.late}
        return [_fill(each, known) for each in before], [_fill(each, known) for each in (*writes, self.end)]


def _fill(statement: Statement, known: dict[str, Any]) -> Statement:
    if isinstance(statement, str):
        return statement.format(**known)
    return statement[0].format(**known), statement[1]


# A step is one statement; "write" takes a client to its first write, and "end" to the end of its transaction, neither
# done yet.
Name = Literal["step", "write", "end", "freeze", "wake", "close", "open"]
Move = tuple[Name, int]


@dataclass(frozen=True)
class History:
    """Two clients in a tenant of some tier, and who moves when. After the last move both come to their end."""

    tier: str
    transactions: tuple[Transaction, Transaction]
    moves: tuple[Move, ...]


class Arena:
    """A tenant of each tier, two clients in each database, and somebody who makes cutovers and keeps the journal."""

    def __init__(self, tenants: dict[str, Tenant], operators: dict[str, Connection], clients: dict[str, list[Client]]):
        self.tenants = tenants
        self.operators = operators  # by database
        self.clients = clients

    def everywhere(self, statement: str) -> None:
        """Run something in each database as superuser."""
        for connection in self.operators.values():
            connection.execute(statement.encode())

    def definition(self, function: str) -> str:
        """The statement that makes a function of schema kos again."""
        operator = self.operators[self.tenants["row"].database]
        row = operator.execute("select pg_get_functiondef(%s::regproc)", (f"kos.{function}",)).fetchone()
        assert row is not None
        return str(row[0])

    def run(self, history: History) -> None:
        """Play a history.

        Raises:
            OldEpochWritten
        """
        tenant = self.tenants[history.tier]
        Play(tenant, self.operators[tenant.database], self.clients[tenant.database], history).run()


class Play:
    """One history while it is played. A move has ended when its client has answered, or waits for a lock."""

    def __init__(self, tenant: Tenant, operator: Connection, clients: list[Client], history: History) -> None:
        self.tenant, self.operator, self.clients, self.history = tenant, operator, clients, history
        self.closed = False
        self.seen: dict[str, int] = {}
        known = {"id": tenant.id, "schema": tenant.schema}
        operator.execute(ROWS.format(**known).encode())
        self.epoch = self._epoch()
        parts = [each.steps(tenant, self.epoch) for each in history.transactions]
        self.steps = [[*before, *after] for before, after in parts]
        self.left = [{"write": len(after), "end": 1} for _, after in parts]

    def run(self) -> None:
        for name, number in self.history.moves:
            self._move(name, number)
        for client in self.clients:
            client.wake()
        if self.closed:
            self._open()
        while any(self.steps):
            for number in range(len(self.clients)):
                self._move("step", number)
        for client in self.clients:
            client.send("rollback")
        for client in self.clients:
            client.answers(30.0)
            assert not client.waiting
        self._judge()

    def _move(self, name: Name, number: int) -> None:
        client, steps = self.clients[number], self.steps[number]
        if name == "step" and steps:
            client.send(steps.pop(0))
        elif name in ("write", "end"):
            while len(steps) > self.left[number][name]:
                self._move("step", number)
        elif name == "freeze" and not client.frozen:
            client.freeze()
        elif name == "wake" and client.frozen:
            client.wake()
        elif name == "close" and not self.closed:
            self._close()
        elif name == "open" and self.closed:
            self._open()
        for each in self.clients:
            self._settle(each)

    def _settle(self, client: Client) -> None:
        deadline = time.monotonic() + 30
        while client.waiting and not client.frozen:
            client.answers(0.001)
            if client.waiting and self._waits(client):
                return
            assert time.monotonic() < deadline, "a client neither answers nor waits for a lock"

    def _waits(self, client: Client) -> bool:
        query = "select from pg_locks where pid = %s and not granted"  # pg_stat_activity stands still in a transaction
        return self.operator.execute(query, (client.pid,)).fetchone() is not None

    def _close(self) -> None:
        """The first half of a cutover. Nothing, where somebody is inside."""
        self.operator.execute("begin")
        try:
            self.operator.execute("set local lock_timeout = '2ms'")
            self.operator.execute("select kos.advance_epoch(%s)", (self.tenant.id,))
            self.closed = True
        except psycopg.errors.LockNotAvailable:
            self.operator.execute("rollback")

    def _open(self) -> None:
        """The second half: what is there now of the epoch that ends is all that there will ever be."""
        ended = str(self._epoch() - 1)
        self.seen[ended] = self._journal().get(ended, 0)
        self.operator.execute("commit")
        self.closed = False

    def _judge(self) -> None:
        found = self._journal()
        allowed = self.seen | {str(self._epoch()): found.get(str(self._epoch()), 0)}
        if found != {epoch: count for epoch, count in allowed.items() if count}:
            raise OldEpochWritten(f"written at epochs {found}, allowed was {allowed}: {self.history}")

    def _journal(self) -> dict[str, int]:
        return dict(
            self.operator.execute("select coalesce(epoch, ''), count(*) from public.journal group by 1").fetchall()
        )

    def _epoch(self) -> int:
        row = self.operator.execute("select epoch from kos.fence where tenant_id = %s", (self.tenant.id,)).fetchone()
        assert row is not None
        return int(row[0])


def some(*names: Name) -> st.SearchStrategy[list[Move]]:
    """One of these moves of one of the clients, or none."""
    moves: list[list[Move]] = [[(name, number)] for name in names for number in (0, 1)]
    return st.sampled_from([[], *moves])


# A cutover: how far clients come before it, whom it finds frozen, and what they try while the fence is closed.
approach = some("step", "write", "end")
cutover = st.tuples(
    *(approach, approach, some("freeze"), some("close"), some("step"), some("step"), some("open"), some("wake"))
)
transactions = st.builds(
    Transaction,
    isolation=st.sampled_from(["read committed", *ISOLATIONS]),
    entry=st.sampled_from(["enter", "forge", *ENTRIES]),
    writes=st.lists(st.sampled_from(list(WRITES)), min_size=1, max_size=2).map(tuple),
    snapshot=st.booleans(),
    late=st.sampled_from([False, False, True]),
    end=st.sampled_from(["commit", "commit", "rollback"]),
)
histories = st.builds(
    History,
    tier=st.sampled_from(["row", "schema", "database"]),
    transactions=st.tuples(transactions, transactions),
    moves=st.lists(cutover, min_size=1, max_size=3).map(lambda parts: tuple(chain(*chain(*parts)))),
)
