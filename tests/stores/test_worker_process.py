"""`kos worker` as a program: its pages, its log, its signals, systemd, and a server that goes and comes back."""

from __future__ import annotations

import json
import signal
import socket
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fix_exports import until
from fix_own_postgres import MakePostgres
from fix_worker import Log, Process, StartWorker, fit_out, wait_sealed
from kos import errors
from kos.tenancy import install
from kos.topology import postgres as opening
from kos.topology.model import Login, Shard, Topology, fixed
from kos.worker.systemd import watchdog_seconds
from suites import short

A, B = (uuid.UUID(int=number) for number in (1, 2))


def label_of(database: Topology) -> str:
    return f"{database.control.name}/{database.control.primary.database}"


def is_sealing(log: Log) -> bool:
    """Whether a seal is under way, in its own time."""
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    return bool(log.value(sleeping))


def leads(worker: Process, database: Topology) -> bool:
    return worker.states().get(database.control.primary.database) == "leading"


def test_the_pages(database: Topology, log: Log, start_worker: StartWorker) -> None:
    log.tell(B, seconds=60)  # waits on, while the page is read
    log.write(A, 4)
    worker = start_worker(database)
    until(lambda: leads(worker, database))
    wait_sealed(log, A, 4)
    log.write(B, 3)
    here = {"database": label_of(database)}
    until(lambda: worker.metric("kos_log_sealed_events_total", **here) == 4)
    until(lambda: (worker.metric("kos_log_seal_lag_seconds", **here) or 0) > 0.2)
    status, body = worker.get("/healthz")
    assert status == 200
    value = json.loads(body)
    [only] = value.pop("databases")
    assert value == {"healthy": True, "directory_error": None}
    assert only.pop("lag_seconds") > 0.2
    assert only == {
        "shard": database.control.name,
        "database": database.control.primary.database,
        "state": "leading",
        "sealed": 4,
        "parked": [],
        "error": None,
        "projections": [],
    }
    until(lambda: worker.metric("kos_log_pending_rows", **here) == 3)
    assert worker.metric("kos_worker_leader", **here) == 1
    assert worker.metric("kos_worker_database_up", **here) == 1
    assert worker.metric("kos_log_broken_tables", **here) == 3
    assert worker.metric("kos_log_seal_seconds_count", **here) == 1
    assert str(A) not in worker.get("/metrics")[1]
    assert worker.get("/nonsense")[0] == 404
    assert log.value("select count(*) from kos.rotations") >= 1


@pytest.mark.parametrize("number", short([signal.SIGTERM, signal.SIGINT], signal.SIGTERM))
def test_it_finishes_the_running_seal(
    number: signal.Signals, database: Topology, log: Log, start_worker: StartWorker
) -> None:
    log.tell(A, seconds=2)
    log.write(A)
    worker = start_worker(database, "--json")
    until(lambda: is_sealing(log))
    assert worker.end(number) == errors.DONE
    assert log.sealed(A) == 1
    assert json.loads(worker.output.read_text())["sealed"] == 1
    # That it leads is told with its first answer, which may be this seal's.
    told = [line["event"] for line in worker.lines()]
    assert "stopping" in told
    assert told[-1] == "stopped"


@pytest.mark.long
def test_a_seal_that_takes_too_long_does_not_hold_it_up(
    database: Topology, log: Log, start_worker: StartWorker
) -> None:
    log.tell(A, seconds=3600)
    log.write(A)
    worker = start_worker(database)
    until(lambda: is_sealing(log))
    assert worker.end() == errors.DONE
    until(lambda: log.leader() is None)
    until(lambda: not is_sealing(log))  # interrupted, not left behind
    assert (log.sealed(A), log.waiting()) == (0, 1)


@pytest.mark.parametrize("listen", short(["nonsense", "127.0.0.1:99999", "192.0.2.1:9567"], "192.0.2.1:9567"))
def test_an_address_that_cant_be_had_is_wrong_use(
    listen: str, database: Topology, log: Log, start_worker: StartWorker
) -> None:
    worker = start_worker(database, "--listen", listen)
    assert worker.process.wait(30) == errors.WRONG_USE
    assert f"error: the worker can't listen on {listen}" in worker.told.read_text()


@pytest.mark.long
def test_a_port_in_use_is_wrong_use(database: Topology, log: Log, start_worker: StartWorker) -> None:
    first = start_worker(database)
    second = start_worker(database, "--listen", first.address.removeprefix("http://"))
    assert second.process.wait(30) == errors.WRONG_USE


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[tuple[str, socket.socket]]:
    """A socket like systemd's."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notes:
        path = f"{folder}/notify"
        notes.bind(path)
        notes.settimeout(30)
        yield path, notes


def test_systemd_is_told(
    database: Topology, log: Log, start_worker: StartWorker, systemd: tuple[str, socket.socket]
) -> None:
    path, notes = systemd
    worker = start_worker(database, environment={"NOTIFY_SOCKET": path, "WATCHDOG_USEC": "200000"})
    assert notes.recv(100) == b"READY=1"
    assert notes.recv(100) == b"WATCHDOG=1"
    assert notes.recv(100) == b"WATCHDOG=1"
    worker.send(signal.SIGTERM)
    told = set()
    while b"STOPPING=1" not in told:
        told.add(notes.recv(100))
    assert worker.process.wait(30) == errors.DONE


def test_a_socket_that_is_gone_hurts_nobody(database: Topology, log: Log, start_worker: StartWorker) -> None:
    worker = start_worker(database, environment={"NOTIFY_SOCKET": "/nonexistent/notify"})
    until(lambda: leads(worker, database))
    assert worker.events("systemd did not hear us")


def test_the_watchdog_of_another_process_is_not_ours() -> None:
    assert watchdog_seconds({"WATCHDOG_USEC": "3000000"}) == 1.5
    assert watchdog_seconds({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}) is None
    assert watchdog_seconds({}) is None


OPERATOR = Login("kos_operator", fixed("operator"))


@pytest.fixture
def two_shards(database: Topology, own_postgres: MakePostgres) -> tuple[Topology, Any]:
    """A second shard whose server can be stopped."""
    server = own_postgres("wheel")
    server.start()
    server.execute("create database knowledge")
    there = replace(server.server, name="second", database="knowledge")
    superuser = server.superuser
    shard = Shard(2, "second", there, (), replace(OPERATOR, user="kos_app"), OPERATOR, superuser)
    install(Topology((replace(shard, number=1),)))
    server.execute("alter role kos_operator login password 'operator'", "alter role kos_app login password 'operator'")
    topology = replace(database, shards=(*database.shards, shard))
    return topology, server


@pytest.mark.long
def test_a_server_that_goes_and_comes_back(
    two_shards: tuple[Topology, Any], log: Log, start_worker: StartWorker
) -> None:
    topology, server = two_shards
    second = topology.shards[1]
    with opening.connect(second.primary, second.operator) as connection:
        fit_out(connection)
    worker = start_worker(topology)
    until(lambda: set(worker.states().values()) == {"leading"})
    with opening.connect(second.primary, second.operator) as connection:
        Log(connection).write(B)
        wait_sealed(Log(connection), B, 1)  # so that a connection for seals is there to be lost
    server.stop()
    until(lambda: worker.states()["knowledge"] == "unreachable")
    assert worker.get("/healthz")[0] == 503
    assert worker.metric("kos_worker_database_up", database="second/knowledge") == 0
    assert worker.metric("kos_worker_leader", database="second/knowledge") == 0
    assert worker.events("database can't be served; trying again")[-1]["database"] == "second/knowledge"
    log.write(A)
    wait_sealed(log, A, 1)
    server.start()
    until(lambda: set(worker.states().values()) == {"leading"})
    with opening.connect(second.primary, second.operator) as connection:
        there = Log(connection)
        there.write(B, 2)
        wait_sealed(there, B, 3)
    assert worker.events("parked a tenant: its seal failed") == []


def test_a_session_that_is_ended_under_it(database: Topology, log: Log, start_worker: StartWorker) -> None:
    worker = start_worker(database)
    until(lambda: log.leader() is not None)
    before = log.leader()
    log.value("select pg_terminate_backend(%s)", before)
    until(lambda: log.leader() not in {None, before})
    log.write(A)
    wait_sealed(log, A, 1)
    assert worker.process.poll() is None
