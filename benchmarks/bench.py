"""What the claims share: a stack of the run's own, its superuser, and where its processes may run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, LiteralString
from uuid import UUID

import psutil
import psycopg

from kos.knowledge import TENANT_TABLES
from kos.tenancy import Store, create_tenant, install
from kos.topology import postgres
from kos.topology.embedded import Stack
from kos.topology.model import Login, Topology, fixed

TENANT = "bench"
OTHERS = ("bench-other", "bench-third")
COLUMNS = "id, atom_type, name, value, number_value, version"


@dataclass(frozen=True)
class Placing:
    """Which of this machine's processors the client and the server run on."""

    name: str
    client: int
    server: int


@dataclass
class Bench:
    """One run: its stack, and how long it may take."""

    stack: Stack
    rounds: int
    quick: bool

    @cached_property
    def topology(self) -> Topology:
        return self.stack.topology()

    @cached_property
    def placings(self) -> list[Placing]:
        """Where to measure: the scheduler's own choice would decide more than what is measured.

        On one processor both take turns, so a round trip costs nothing but the work; on two, each round trip wakes
        the other processor, as a network does.
        """
        mine = sorted(os.sched_getaffinity(0))
        one = Placing("one processor", mine[0], mine[0])
        return [one, Placing("two processors", mine[0], mine[1])] if len(mine) > 1 else [one]

    @contextmanager
    def placed(self, placing: Placing) -> Iterator[None]:
        """Hold client and PostgreSQL to their processors; servers' later children follow their parent."""
        before = os.sched_getaffinity(0)
        _place(self._server(), {placing.server})
        os.sched_setaffinity(0, {placing.client})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)
            _place(self._server(), before)

    def parameters(self, user: str | None = None, password: str | None = None) -> dict[str, Any]:
        """What psycopg needs to connect: as the superuser unless told otherwise."""
        name, secret = self.stack.superuser()
        login = Login(user or name, fixed(password or secret))
        return postgres.conninfo(self.topology.control.primary, login)

    def superuser(self) -> psycopg.Connection[Any]:
        """A session of the superuser, in autocommit."""
        return psycopg.connect(**self.parameters(), autocommit=True)

    def through(self, port: int) -> Topology:
        """The same server, reached by another port of this machine."""
        control = self.topology.control
        return replace(self.topology, shards=(replace(control, primary=replace(control.primary, port=port)),))

    def _server(self) -> psutil.Process:
        return self.stack.processes()["postgres"]


def _place(server: psutil.Process, processors: set[int]) -> None:
    os.sched_setaffinity(server.pid, processors)
    for child in server.children(recursive=True):
        try:
            os.sched_setaffinity(child.pid, processors)
        except ProcessLookupError:
            continue  # it ended meanwhile


@contextmanager
def temporary_folder() -> Iterator[Path]:
    """A folder that the servers' account may pass, and that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="kos-bench-"))
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        Stack(folder).down(purge=True)
        shutil.rmtree(folder)


@contextmanager
def running(rounds: int, *, quick: bool) -> Iterator[Bench]:
    """A PostgreSQL of the run's own, with the schema of kos and a few tenants."""
    with temporary_folder() as folder:
        stack = Stack(folder)
        stack.up(stores=("postgres",))
        install(stack.topology())
        stack.set_role_passwords()
        with Store(stack.topology()) as store:
            for name in (TENANT, *OTHERS):
                create_tenant(store, name)
        yield Bench(stack, rounds, quick)


def fill_atoms(bench: Bench, rows: int) -> list[UUID]:
    """So many atoms for every tenant, half of them of the type 'Range', and nothing else in the row tier.

    Returns the ids of some of the first tenant's.
    """
    empty_tables(bench, "knowledge", TENANT_TABLES)
    with Store(bench.topology) as store:
        for name in (TENANT, *OTHERS):
            with store.tenant(name, timeout=600) as session:
                session.execute(
                    "insert into atoms (atom_type, name, value, number_value)"
                    " select case when g %% 2 = 0 then 'Range' else 'Point' end, 'name ' || g, 'value ' || g, g"
                    " from generate_series(1, %s) g",
                    (rows,),
                )
        with store.tenant(TENANT) as session:
            found = session.execute("select id from atoms where atom_type = 'Point' order by name limit 500")
            ids = [row[0] for row in found]
    with bench.superuser() as connection:
        connection.execute("vacuum (analyze) knowledge.atoms")
    return ids


_LOGGED = """
create schema sealing;
create table sealing.things (
  tenant_id uuid not null, id uuid not null default kos.uuid_v7(), number integer not null default 0, name text,
  primary key (tenant_id, id)
);
grant usage on schema sealing to kos_owner;
grant all on sealing.things to kos_owner;
set local role kos_owner;
select kos.log_table('sealing.things', 'tenant_id');
"""
_FORGOTTEN = """
delete from kos.logged_tables where relation = 'sealing.things'::regclass;
drop schema sealing cascade;
truncate kos.pending_1, kos.pending_2, kos.knowledge_events, kos.seals;
"""


@contextmanager
def logged_table(bench: Bench) -> Iterator[psycopg.Connection[Any]]:
    """`sealing.things`, logged and empty, and a session of the superuser; afterwards the log is empty."""
    with bench.superuser() as connection:
        with connection.transaction():
            connection.execute(_LOGGED)
        try:
            yield connection
        finally:
            with connection.transaction():
                connection.execute(_FORGOTTEN)


def value(connection: psycopg.Connection[Any], query: LiteralString, *values: Any) -> Any:
    """The first column of the first row."""
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row[0]


def empty_tables(bench: Bench, schema: str, tables: tuple[str, ...]) -> None:
    """As the superuser, past the guard: nothing of kos itself can do this to the row tier."""
    with bench.superuser() as connection, connection.transaction():
        connection.execute("set local session_replication_role = replica")
        connection.execute(f"truncate {', '.join(f'{schema}.{table}' for table in tables)}")
