"""Sealers that die or stand still inside of a seal: the worker, its session's process, and PostgreSQL itself.

A trigger makes a seal wait at a point of its work until the test lets it go, so each point is met for certain. The long
test has no such trigger: real seals under load, struck at moments that a seed chooses (KOS_LOG_SEED plays others).
"""

from __future__ import annotations

import os
import random
import re
import signal
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import psutil
import psycopg
import pytest
from log_history import WrongLog
from log_load import Writers, check, is_sealed, put, set_up

from fix_database import on_database
from fix_exports import until
from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from fix_worker import Process, StartWorker
from kos.log import Cursor, read
from kos.topology import postgres as opening
from kos.topology.model import Topology

Connection = psycopg.Connection[Any]
SEED = int(os.environ.get("KOS_LOG_SEED", "6"))
SECONDS = 60.0
ROWS = 1000
# Where a seal can be held: at an event, by its position, and at the row that says it is done, before and at the commit.
POINTS = {"its first event": 1, "half of it": ROWS // 2, "its last event": ROWS, "its own row": -1, "its commit": -2}
HOLDS = f"""
create function public.hold() returns trigger language plpgsql set lock_timeout = 0 as $$
begin
  perform pg_advisory_xact_lock_shared(
    4711, case when tg_nargs = 0 then new.position::integer else tg_argv[0]::integer end);
  return new;
end $$;
create trigger hold before insert on kos.knowledge_events
  for each row when (new.position in (1, {ROWS // 2}, {ROWS})) execute function public.hold();
create trigger hold before insert on kos.seals for each row execute function public.hold('-1');
create constraint trigger hold_end after insert on kos.seals deferrable initially deferred
  for each row execute function public.hold('-2');
"""
HELD = """
select pid from pg_locks where locktype = 'advisory' and not granted and classid = 4711
   and objid = (%s::bigint & 4294967295)::oid
"""
SEALING = """
select pid from pg_locks
 where locktype = 'advisory' and granted and objsubid = 1
   and database = (select oid from pg_database where datname = current_database())
   and (classid::bigint << 32 | objid::bigint) = kos.log_key(%s)
"""


@pytest.fixture(scope="module")
def server(own_postgres: MakePostgres) -> OwnPostgres:
    made = own_postgres("wheel", "--no-sync")
    made.configure(track_commit_timestamp="on", shared_buffers="64MB")
    made.start()
    return made


@pytest.fixture(scope="module")
def installed(server: OwnPostgres) -> Topology:
    """A database for others to be cloned from."""
    topology = install_on(server)
    assert topology.control.installer is not None
    with opening.connect(topology.control.primary, topology.control.installer) as connection:
        set_up(connection)
        connection.execute("create table public.under_way (tenant uuid)")
    return topology


@dataclass
class Scene:
    """A database of the server, and workers on it."""

    server: OwnPostgres
    topology: Topology
    start: Callable[[], Process]
    workers: list[Process] = field(default_factory=list)

    def connect(self) -> Connection:
        assert self.topology.control.installer is not None
        return opening.connect(self.topology.control.primary, self.topology.control.installer)

    def leader(self) -> Process:
        """The worker that leads."""
        name = self.topology.control.primary.database
        found: list[Process] = []

        def leads() -> bool:
            found[:] = [each for each in self.workers if each.states().get(name) == "leading"]
            return bool(found)

        until(leads, SECONDS)
        return found[0]

    def replace(self, worker: Process) -> None:
        self.workers.remove(worker)
        self.workers.append(self.start())

    def wait_sealed(self, tenant: uuid.UUID) -> None:
        def done() -> bool:
            for worker in self.workers:
                for line in worker.events("parked a tenant: its seal failed"):
                    if re.search(r"\((?!57P0)[0-9A-Z]{5}\)$", line["error"]):
                        raise WrongLog(f"a seal failed: {line['error']}")
            with self.connect() as connection:
                return is_sealed(connection, tenant)

        until(done, SECONDS)


def announce(connection: Connection, tenant: uuid.UUID) -> None:
    """Say whose seal is going to be struck."""
    with connection.transaction():
        connection.execute("delete from public.under_way")
        connection.execute("insert into public.under_way values (%s)", (tenant,))


def send(pid: int, number: signal.Signals) -> None:
    """A signal to the process of a session, and to nobody else, should it have ended."""
    process = psutil.Process(pid)
    assert process.name().startswith("postgres")
    process.send_signal(number)


def session_ended(scene: Scene, pid: int, release: Callable[[], None]) -> None:
    with scene.connect() as connection:
        connection.execute("select pg_terminate_backend(%s)", (pid,))
        until(lambda: connection.execute("select from pg_stat_activity where pid = %s", (pid,)).rowcount == 0)


def worker_killed(scene: Scene, pid: int, release: Callable[[], None]) -> None:
    worker = scene.leader()
    worker.end(signal.SIGKILL)
    scene.replace(worker)


def session_killed(scene: Scene, pid: int, release: Callable[[], None]) -> None:
    """PostgreSQL then ends all its sessions and recovers by itself."""
    with scene.connect() as witness:
        send(pid, signal.SIGKILL)
        until(lambda: has_ended(witness), SECONDS)
    until(scene.server.answers, SECONDS)


def postgres_killed(scene: Scene, pid: int, release: Callable[[], None]) -> None:
    scene.server.kill()
    scene.server.start()


def session_frozen(scene: Scene, pid: int, release: Callable[[], None]) -> None:
    """Another sealer meanwhile is kept out, and goes away with empty hands."""
    send(pid, signal.SIGSTOP)
    try:
        release()
        with scene.connect() as other, pytest.raises(psycopg.errors.LockNotAvailable):
            other.execute("set lock_timeout = '200ms'")
            other.execute("select kos.seal((select tenant from public.under_way))")
    finally:
        send(pid, signal.SIGCONT)


def worker_frozen(scene: Scene, pid: int, release: Callable[[], None]) -> None:
    """The other takes the lead, while the seal of the first waits still."""
    frozen = scene.leader()
    frozen.send(signal.SIGSTOP)
    scene.workers.remove(frozen)
    try:
        scene.leader()
        release()
    finally:
        frozen.send(signal.SIGCONT)
        scene.workers.append(frozen)


def has_ended(witness: Connection) -> bool:
    with suppress(psycopg.OperationalError):
        witness.execute("select")
    return witness.closed


FAULTS = {
    each.__name__: each
    for each in (session_ended, worker_killed, session_killed, postgres_killed, session_frozen, worker_frozen)
}


@pytest.fixture
def scene(server: OwnPostgres, installed: Topology, start_worker: StartWorker) -> Scene:
    """A database of the test's own, with two workers."""
    name = f"product_{uuid.uuid4().hex[:8]}"
    server.execute(f"create database {name} template product")
    topology = on_database(installed, name)
    made = Scene(server, topology, lambda: start_worker(topology))
    made.workers += [made.start(), made.start()]
    made.leader()
    return made


@pytest.fixture
def held(scene: Scene) -> Scene:
    """The same; its seals can be held."""
    with scene.connect() as connection:
        connection.execute(HOLDS.encode())
    return scene


@contextmanager
def holding(scene: Scene, point: int) -> Iterator[Callable[[], None]]:
    """Seals that come to this point wait, until the block ends or calls what it gets, or the server dies."""
    with scene.connect() as holder:
        holder.execute("select pg_advisory_lock(4711, %s)", (point,))
        yield holder.close


def play(scene: Scene, point: str, fault: str) -> None:
    """One seal of a new tenant, struck at that point; it writes on meanwhile."""
    tenant = uuid.uuid4()
    with holding(scene, POINTS[point]) as release:
        with scene.connect() as writer:
            announce(writer, tenant)
            put(writer, tenant, ROWS)
            until(lambda: writer.execute(HELD, (POINTS[point],)).rowcount == 1, SECONDS)
            found = writer.execute(HELD, (POINTS[point],)).fetchone()
            assert found is not None
        FAULTS[fault](scene, found[0], release)
        release()

    def writes_again() -> bool:
        try:
            with scene.connect() as writer, writer.transaction():
                writer.execute("update public.firsts set previous = stamp, stamp = nextval('public.stamps')"
                               " where tenant = %s and id <= 10", (tenant,))  # fmt: skip
                writer.execute("insert into public.ledger values (pg_current_xact_id()::text, %s, 10)", (tenant,))
        except Exception:
            return False
        return True

    until(writes_again, SECONDS)
    scene.wait_sealed(tenant)
    with scene.connect() as connection:
        assert len(check(connection, tenant)) == ROWS + 10


SHORT = [
    ("session_ended", ("half of it", "its own row")),
    ("postgres_killed", ("half of it", "its own row", "its commit")),
    ("session_killed", ("half of it",)),
    ("worker_killed", ("half of it",)),
    ("session_frozen", ("its commit",)),
]


@pytest.mark.long
def test_a_seal_that_is_struck_was_whole_or_nothing(held: Scene) -> None:
    for fault, points in SHORT:
        for point in points:
            play(held, point, fault)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_seal_that_is_struck_at_any_point_was_whole_or_nothing(held: Scene, fault: str) -> None:
    for point in POINTS:
        play(held, point, fault)


@pytest.mark.long
def test_a_seal_of_two_transactions_is_found_out(held: Scene) -> None:
    """The control: events that commit before the row that says they are sealed."""
    with held.connect() as connection:
        plant_two_transactions(connection)
    with pytest.raises(WrongLog):
        play(held, "its own row", "session_ended")


def plant_two_transactions(connection: Connection) -> None:
    row = connection.execute("select pg_get_functiondef('kos.seal_locked'::regproc)").fetchone()
    assert row is not None
    own_row = "insert into kos.seals ("
    assert own_row in row[0]
    apart = row[0].replace(own_row, "insert into public.apart (")
    connection.execute("create extension dblink; create table public.apart (like kos.seals including all)")
    connection.execute("grant all on public.apart to kos_owner")
    connection.execute(apart.replace("FUNCTION kos.seal_locked(", "FUNCTION public.seal_apart(").encode())
    where = psycopg.conninfo.make_conninfo(
        **connection.info.get_parameters() | {"password": connection.info.password}
    ).replace("'", "''")
    connection.execute(
        f"""
        create or replace function kos.seal(tenant uuid) returns bigint
        language plpgsql volatile security definer set search_path = public, pg_catalog as $$
        declare
          noted text := pg_advisory_xact_lock(kos.log_key(tenant));
          sealed bigint;
        begin
          perform * from dblink('{where}', format('select public.seal_apart(%L)', tenant)) as apart (events bigint);
          insert into kos.seals select a.* from public.apart a where a.tenant_id = tenant returning events into sealed;
          delete from public.apart a where a.tenant_id = tenant;
          return coalesce(sealed, 0);
        end $$""".encode()
    )


BIG = 10_000
STRIKES = 12
LONGEST = 0.2  # seconds from the begin of a seal to the strike


@dataclass
class Reader:
    """Follows tenants' feeds through everything, as an application does."""

    scene: Scene
    cursors: dict[uuid.UUID, Cursor]
    seen: Counter[uuid.UUID] = field(default_factory=Counter)

    def read_on(self) -> None:
        with self.scene.connect() as connection:
            for tenant in self.cursors:
                while events := read(connection, tenant, self.cursors[tenant]):
                    self.cursors[tenant] = Cursor.after(events[-1])
                    self.seen[tenant] += len(events)


@pytest.mark.long
def test_seals_that_are_struck_at_any_moment_under_load(scene: Scene) -> None:
    dice = random.Random(SEED)
    tenants = [uuid.uuid4() for _ in range(3)]
    reader = Reader(scene, {tenant: Cursor() for tenant in tenants})
    big: list[uuid.UUID] = []
    with Writers(scene.connect, tenants, dice):
        for number in range(STRIKES):
            until(lambda number=number: strike(scene, list(FAULTS)[number % len(FAULTS)], dice, big), SECONDS)  # type: ignore[misc]
            reader.read_on()
    for tenant in (*tenants, *big):
        scene.wait_sealed(tenant)
    reader.read_on()
    with scene.connect() as connection:
        assert {tenant: len(check(connection, tenant)) for tenant in tenants} == reader.seen
        assert {len(check(connection, tenant)) for tenant in big} == {BIG}


def strike(scene: Scene, fault: str, dice: random.Random, big: list[uuid.UUID]) -> bool:
    """Strike the seal of a new tenant at a moment of its run that the dice say; False where it had ended by then."""
    big.append(uuid.uuid4())
    with scene.connect() as watch:
        announce(watch, big[-1])
        put(watch, big[-1], BIG)
        until(lambda: watch.execute(SEALING, (big[-1],)).rowcount == 1 or is_sealed(watch, big[-1]), SECONDS)
        time.sleep(dice.uniform(0, LONGEST))
        found = watch.execute(SEALING, (big[-1],)).fetchone()
    if found is None:
        return False
    with suppress(psutil.NoSuchProcess):  # it has ended just now
        FAULTS[fault](scene, found[0], lambda: None)
    return True
