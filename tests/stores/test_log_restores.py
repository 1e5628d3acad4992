"""A restore to a moment before the last seals, and a promoted standby that lost them: real servers, and what their logs
say.

What was sealed after that moment is sealed again, or never, under the same positions. A reader that saw it is told.
"""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from log_load import check, put, set_up

from fix_exports import until
from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from fix_samples import child_environment
from fix_worker import StartWorker
from kos import errors
from kos.log import Cursor, compare, read, seal_all
from kos.tenancy import Store
from kos.tenancy.placement import control_place
from kos.topology import postgres as opening
from kos.topology.model import Topology

Connection = psycopg.Connection[Any]
pytestmark = pytest.mark.long
ONE, NEW = uuid.UUID(int=1), uuid.UUID(int=2)
CHANGE = "update public.firsts set previous = stamp, stamp = nextval('public.stamps') where tenant = %s and id <= %s"
NOTE = "insert into public.ledger values (pg_current_xact_id()::text, %s, %s)"
INCARNATIONS = "select incarnation, reason from kos.incarnations order by 1"
BEGUN = [(1, "installed"), (2, "restored or promoted")]


def connect(topology: Topology) -> Connection:
    assert topology.control.installer is not None
    return opening.connect(topology.control.primary, topology.control.installer)


def change(connection: Connection, rows: int) -> None:
    with connection.transaction():
        connection.execute(CHANGE, (ONE, rows))
        connection.execute(NOTE, (ONE, rows))


def end_of(connection: Connection) -> Cursor:
    """Where a reader is that has read everything that is sealed by now."""
    return Cursor.after(read(connection, ONE, Cursor(), 1000)[-1])


@pytest.fixture
def primary(own_postgres: MakePostgres) -> OwnPostgres:
    server = own_postgres("wheel", "--no-sync")
    archive = server.folder / "archive"
    archive.mkdir()
    server.account.own(archive)
    server.configure(
        track_commit_timestamp="on", archive_mode="on", archive_command=f"cp %p {archive}/%f", max_wal_senders=4
    )
    server.start()
    return server


@pytest.fixture
def topology(primary: OwnPostgres) -> Topology:
    made = install_on(primary)
    with connect(made) as connection:
        set_up(connection)
        put(connection, ONE, 20)
        seal_all(connection)
    return made


def at(topology: Topology, server: OwnPostgres) -> Topology:
    """The same on another server."""
    shard = topology.control
    return Topology((replace(shard, primary=replace(shard.primary, port=server.server.port)),))


@dataclass(frozen=True)
class Readers:
    """What they have read: of what is left, and of what is lost."""

    kept: Cursor
    lost: list[Cursor]


def write_what_is_lost(connection: Connection, kept: Cursor) -> Readers:
    """Seals of what waited, and of what was written later."""
    seal_all(connection)
    first = end_of(connection)
    change(connection, 5)
    put(connection, NEW, 3)
    seal_all(connection)
    return Readers(kept, [first, end_of(connection)])


def assert_goes_on(topology: Topology, readers: Readers, waited: int) -> None:
    """Everything that waited is sealed, in a new incarnation; who lost what he read is told, also when its positions
    are given again."""
    with connect(topology) as connection:
        assert connection.execute(INCARNATIONS).fetchall() == BEGUN
        assert connection.execute("select from kos.unsealed()").fetchall() == []
        new = read(connection, ONE, readers.kept)
        assert [each.position for each in new] == [readers.kept.position + n for n in range(1, waited + 1)]
        assert {each.incarnation for each in new} == {2}
        for cursor in readers.lost:
            with pytest.raises(errors.FeedDiverged):
                read(connection, ONE, cursor)
        change(connection, 9)
        change(connection, 2)
        seal_all(connection)
        assert end_of(connection).position > max(cursor.position for cursor in readers.lost)
        for cursor in readers.lost:
            with pytest.raises(errors.FeedDiverged):
                read(connection, ONE, cursor)
        assert len(check(connection, ONE)) == readers.kept.position + waited + 11
        assert check(connection, NEW) == []
        assert connection.execute(INCARNATIONS).fetchall() == BEGUN
    with Store(topology) as store:
        assert compare(store, control_place(topology)) == []


def test_a_restore_to_a_moment(
    primary: OwnPostgres, topology: Topology, own_postgres: MakePostgres, tmp_path: Path
) -> None:
    restored = own_postgres("wheel", "--no-sync")
    restored.copy(primary)
    with connect(topology) as connection:
        change(connection, 4)
        seal_all(connection)
        kept = end_of(connection)
        change(connection, 3)  # waits at the moment of the restore
        connection.execute("select pg_create_restore_point('here')")
        readers = write_what_is_lost(connection, kept)
        connection.execute("select pg_switch_wal()")
        connection.execute("create table public.later ()")
        wanted = connection.execute("select pg_walfile_name(pg_switch_wal())").fetchone()
        archived = "select last_archived_wal from pg_stat_archiver"
        until(lambda: (connection.execute(archived).fetchone() or ("",))[0] >= (wanted or ("",))[0])
    primary.stop()
    restored.configure(
        restore_command=f"cp {primary.folder}/archive/%f %p", recovery_target_name="here",
        recovery_target_action="promote", archive_mode="off",
    )  # fmt: skip
    restored.write("data/recovery.signal", "")
    restored.start()
    there = at(topology, restored)
    with connect(there) as connection:
        until(lambda: connection.execute("select pg_is_in_recovery()").fetchone() == (False,))
        assert connection.execute("select from kos.unsealed()").rowcount == 1
        connection.execute("select kos.keep_log()")  # what a worker asks first
        assert connection.execute(INCARNATIONS).fetchall() == BEGUN
    seal_once(there, tmp_path)
    assert_goes_on(there, readers, waited=3)


def seal_once(topology: Topology, folder: Path) -> None:
    """What an operator runs before he lets applications in."""
    subprocess.run(
        [sys.executable, "-m", "kos", "worker", "--once"],
        cwd=folder, env={**os.environ, **child_environment(topology, folder)}, check=True, capture_output=True,
    )  # fmt: skip


@pytest.fixture
def standby(primary: OwnPostgres, topology: Topology, own_postgres: MakePostgres) -> Iterator[OwnPostgres]:
    server = own_postgres("wheel", "--no-sync")
    server.clone(primary)
    server.start()
    yield server
    server.stop()


def test_a_standby_that_lost_the_tail_is_promoted(
    primary: OwnPostgres, standby: OwnPostgres, topology: Topology, start_worker: StartWorker
) -> None:
    there = at(topology, standby)
    with connect(topology) as connection, connect(there) as behind:
        change(connection, 4)
        seal_all(connection)
        kept = end_of(connection)
        change(connection, 3)
        row = connection.execute("select pg_current_wal_lsn()").fetchone()
        until(lambda: behind.execute("select pg_last_wal_replay_lsn() >= %s::pg_lsn", row).fetchone() == (True,))
        behind.execute("alter system set primary_conninfo = ''")
        behind.execute("select pg_reload_conf()")
        until(lambda: behind.execute("select from pg_stat_wal_receiver").rowcount == 0)
        readers = write_what_is_lost(connection, kept)
    primary.kill()
    worker = start_worker(there)  # it finds a standby, and is there when that is promoted
    until(lambda: bool(worker.events("leads") or worker.events("database can't be served; trying again")))
    with connect(there) as connection:
        assert connection.execute("select pg_promote()").fetchone() == (True,)
        until(lambda: connection.execute("select from kos.unsealed()").rowcount == 0)
        until(lambda: len(connection.execute(INCARNATIONS).fetchall()) == 2)
    assert_goes_on(there, readers, waited=3)
