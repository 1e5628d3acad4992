"""Workers as processes, and a database whose log is a stand-in that tests can steer."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_exports import until
from fix_samples import child_environment
from kos.tenancy.placement import Place, server_at
from kos.topology import postgres as opening
from kos.topology.model import Topology

STAND_IN = Path(__file__).with_name("log_stand_in.sql")
SECONDS = 30.0


def fit_out(connection: psycopg.Connection[Any]) -> None:
    """Give a database the stand-in."""
    with connection.transaction():
        connection.execute("set local role kos_owner")
        connection.execute(STAND_IN.read_bytes())


@dataclass
class Log:
    """The stand-in of one database, as a test steers and reads it."""

    connection: psycopg.Connection[Any]

    def write(self, tenant: uuid.UUID, rows: int = 1) -> None:
        self.connection.execute(
            "insert into kos.waiting (tenant_id) select %s from generate_series(1, %s)", (tenant, rows)
        )

    def tell(self, tenant: uuid.UUID, **outcome: Any) -> None:
        """What the tenant's seal does from now on: seconds, fails, holds_back."""
        told = {"seconds": 0.0, "fails": False, "holds_back": False, **outcome}
        self.connection.execute("delete from kos.outcome where tenant_id = %s", (tenant,))
        self.connection.execute(
            "insert into kos.outcome values (%s, %s, %s, %s)",
            (tenant, told["seconds"], told["fails"], told["holds_back"]),
        )

    def value(self, query: str, *values: Any) -> Any:
        row = self.connection.execute(query, values).fetchone()
        return row[0] if row else None

    def sealed(self, tenant: uuid.UUID) -> int:
        return int(self.value("select count(*) from kos.positions where tenant_id = %s", tenant))

    def waiting(self) -> int:
        return int(self.value("select count(*) from kos.waiting"))

    def leader(self) -> int | None:
        """The session that leads here."""
        found = self.value(
            "select pid from pg_locks where locktype = 'advisory' and granted and objsubid = 1"
            " and database = (select oid from pg_database where datname = current_database())"
            " and (classid::bigint << 32 | objid::bigint) = hashtextextended('kos worker', 1263489026)"
        )
        return None if found is None else int(found)


@dataclass
class Process:
    """A `kos worker` of its own."""

    process: subprocess.Popen[bytes]
    output: Path
    told: Path
    notes: socket.socket | None = None
    _address: list[str] = field(default_factory=list)

    def lines(self) -> list[dict[str, Any]]:
        """Its log so far."""
        whole = self.told.read_text(encoding="utf-8").rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines() if line]

    def events(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line["event"] == event]

    @property
    def address(self) -> str:
        if not self._address:
            until(lambda: bool(self.events("listening")) or self.process.poll() is not None, SECONDS)
            assert self.process.poll() is None, self.told.read_text()
            self._address.append(self.events("listening")[0]["address"])
        return self._address[0]

    def get(self, path: str) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(self.address + path, timeout=10) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def health(self) -> dict[str, Any]:
        status, body = self.get("/healthz")
        value: dict[str, Any] = json.loads(body)
        assert (status == 200) == value["healthy"]
        return value

    def states(self) -> dict[str, str]:
        return {each["database"]: each["state"] for each in self.health()["databases"]}

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one series, None where there is none."""
        wanted = "{" + ",".join(f'{key}="{labels[key]}"' for key in sorted(labels)) + "}"
        for line in self.get("/metrics")[1].splitlines():
            if line.startswith(f"{name}{wanted} "):
                return float(line.rsplit(" ", 1)[1])
        return None

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.send(number)
        return self.process.wait(SECONDS)


StartWorker = Callable[..., Process]


@pytest.fixture
def start_worker(tmp_path: Path) -> Iterator[StartWorker]:
    """Starts workers on a topology: `start_worker(topology, "--seals", "1", environment={…})`; all are ended."""
    started: list[Process] = []

    def start(topology: Topology, *arguments: str, environment: dict[str, str] | None = None) -> Process:
        folder = Path(tempfile.mkdtemp(dir=tmp_path))
        environ = {**child_environment(topology, folder), **(environment or {})}
        command = [sys.executable, "-m", "kos", "worker", "--listen", "127.0.0.1:0", *arguments]
        with (folder / "output").open("wb") as output, (folder / "told").open("wb") as told:
            process = subprocess.Popen(command, cwd=folder, env=environ, stdout=output, stderr=told)
        started.append(Process(process, folder / "output", folder / "told"))
        return started[-1]

    yield start
    for each in started:
        if each.process.poll() is None:
            os.kill(each.process.pid, signal.SIGKILL)
            each.process.wait(SECONDS)


@pytest.fixture
def log(database: Topology) -> Iterator[Log]:
    """The stand-in in the test's database."""
    with log_of(database, database.control.primary.database, fresh=True) as connection:
        yield Log(connection)


def log_of(topology: Topology, database: str, *, fresh: bool) -> psycopg.Connection[Any]:
    """A connection of the operator to a database of the first shard; `fresh` gives it the stand-in."""
    shard = topology.control
    connection = opening.connect(server_at(topology, Place(shard.name, database)), shard.operator)
    if fresh:
        fit_out(connection)
    return connection


def wait_sealed(log: Log, tenant: uuid.UUID, rows: int, seconds: float = SECONDS) -> float:
    """Wait until so many rows have a position; returns the seconds that took."""
    began = time.monotonic()
    until(lambda: log.sealed(tenant) >= rows, seconds)
    return time.monotonic() - began
