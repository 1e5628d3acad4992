"""A server that keeps no commit times, as many of others: nothing is lost by it, and no lag is made up."""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fix_exports import until
from fix_own_postgres import MakePostgres, install_on
from fix_samples import child_environment
from fix_worker import StartWorker
from kos import errors
from kos.cli import run
from kos.log import seal_all, status
from kos.tenancy import Place, Store
from kos.topology import postgres as opening
from kos.topology.model import Topology

TENANT = uuid.UUID(int=7)


@pytest.fixture(scope="module")
def untimed(own_postgres: MakePostgres) -> Topology:
    server = own_postgres("wheel", "--no-sync")
    server.start()
    topology = install_on(server)
    assert topology.control.installer is not None
    with opening.connect(topology.control.primary, topology.control.installer) as connection:
        assert connection.execute("show track_commit_timestamp").fetchone() == ("off",)
        connection.execute("create table public.orders (id bigint primary key, tenant_id uuid not null, total integer)")
        connection.execute("select kos.log_table('public.orders', 'tenant_id')")
    return topology


@pytest.fixture
def superuser(untimed: Topology) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    assert untimed.control.installer is not None
    with opening.connect(untimed.control.primary, untimed.control.installer) as connection:
        yield connection


@pytest.mark.long
def test_a_lag_that_nobody_knows_is_told_as_unknown(
    untimed: Topology,
    superuser: psycopg.Connection[tuple[object, ...]],
    start_worker: StartWorker,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    installer = untimed.control.installer
    assert installer is not None
    here = Place(untimed.control.name, untimed.control.primary.database)
    for name, value in child_environment(untimed, tmp_path).items():
        monkeypatch.setenv(name, value)
    worker = start_worker(untimed)
    database = {"database": f"{here.shard}/{here.database}"}
    until(lambda: worker.states().get(here.database) == "leading")
    with Store(untimed) as store, superuser.transaction():
        superuser.execute("select pg_advisory_xact_lock(kos.log_key(%s))", (TENANT,))  # so that it goes on waiting
        with opening.connect(untimed.control.primary, installer) as writer:
            writer.execute("insert into public.orders values (1, %s, 1)", (TENANT,))
        assert status(store, here).lag_seconds is None
        until(lambda: math.isnan(worker.metric("kos_log_seal_lag_seconds", **database) or 0.0))
        assert worker.health()["databases"][0]["lag_seconds"] is None
        assert run(["log", "status"]) == errors.DONE
        told = capsys.readouterr().out
        assert "?" in told.splitlines()[-2]
        assert "their lag is unknown" in told.splitlines()[-1]
        assert run(["worker", "--dry-run"]) == errors.DONE
        assert "?" in capsys.readouterr().out
        assert run(["log", "status", "--json"]) == errors.DONE
        assert json.loads(capsys.readouterr().out)["databases"][0]["lag_seconds"] is None
    with Store(untimed) as store:
        with store.operator() as operator:
            until(lambda: not seal_all(operator) and not status(store, here).waiting_tenants)
            assert operator.execute("select count(*) from kos.knowledge_events").fetchone() == (1,)
        assert status(store, here).lag_seconds == 0
    until(lambda: worker.metric("kos_log_seal_lag_seconds", **database) == 0)
