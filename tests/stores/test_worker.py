"""`kos worker` on a real PostgreSQL, as processes: who leads, what is sealed, and what one fault does to the rest."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path

import pytest

from fix_exports import until
from fix_pgbouncer import behind_pgbouncer
from fix_samples import child_environment
from fix_worker import Log, StartWorker, log_of, wait_sealed
from kos import errors
from kos.tenancy import Store, create_tenant, remove_tenant
from kos.tenancy.placement import control_place
from kos.topology.model import Topology
from kos.worker import Worker
from kos.worker.metrics import Metrics
from kos.worker.watch import BLIND_SECONDS, LEADING, State, Watch
from waiting import ADVISORY, waiters

A, B, C, D = (uuid.UUID(int=number) for number in range(1, 5))


def is_sealing(log: Log) -> bool:
    """Whether a seal is under way, in its own time."""
    sleeping = "select count(*) from pg_stat_activity where wait_event = 'PgSleep' and datname = current_database()"
    return bool(log.value(sleeping))


def name_of(database: Topology) -> str:
    return database.control.primary.database


def label_of(database: Topology) -> str:
    return f"{database.control.name}/{name_of(database)}"


def test_what_waits_is_sealed_and_what_comes_later(database: Topology, log: Log, start_worker: StartWorker) -> None:
    log.write(A, 3)
    worker = start_worker(database)
    wait_sealed(log, A, 3)
    log.write(B, 2)
    wait_sealed(log, B, 2)
    until(lambda: worker.health()["databases"][0]["sealed"] == 5)
    assert worker.states() == {name_of(database): "leading"}


def test_the_real_log(database: Topology, store: Store, start_worker: StartWorker) -> None:
    """No stand-in: what tenants of every tier write gets its positions, and nothing waits in the end."""
    tenants = [
        create_tenant(store, name, tier) for name, tier in (("one", "row"), ("two", "schema"), ("three", "database"))
    ]
    worker = start_worker(database)
    for tenant in tenants:
        for number in range(3):
            with store.tenant(tenant.name) as session:
                session.execute("insert into atoms (atom_type, name) values ('price', %s)", (str(number),))
    for tenant in tenants:
        until(lambda tenant=tenant: positions(store, tenant.name) == [1, 2, 3])  # type: ignore[misc]
    until(lambda: {each["state"] for each in worker.health()["databases"]} == {"leading"})
    until(lambda: sum(each["sealed"] for each in worker.health()["databases"]) == 9)
    until(lambda: worker.metric("kos_log_pending_rows", database=label_of(database)) is not None)
    assert [line for line in worker.lines() if line["level"] == "error"] == []


def positions(store: Store, tenant: str) -> list[int]:
    with store.tenant(tenant) as session:
        return [position for (position,) in session.execute("select position from knowledge_events order by position")]


def test_two_at_once_one_leads(database: Topology, log: Log, start_worker: StartWorker) -> None:
    first, second = start_worker(database), start_worker(database)
    name = name_of(database)
    until(lambda: {first.states()[name], second.states()[name]} == {"leading", "standby"})
    leading = {worker.metric("kos_worker_leader", database=label_of(database)) for worker in (first, second)}
    assert leading == {0.0, 1.0}
    log.write(A, 5)
    wait_sealed(log, A, 5)
    until(lambda: sorted(each.health()["databases"][0]["sealed"] for each in (first, second)) == [0, 5])


@pytest.mark.long
def test_a_killed_leader_is_followed(database: Topology, log: Log, start_worker: StartWorker) -> None:
    first = start_worker(database)
    until(lambda: first.states() == {name_of(database): "leading"})
    second = start_worker(database)
    until(lambda: second.states() == {name_of(database): "standby"})
    first.end(signal.SIGKILL)
    log.write(A)
    wait_sealed(log, A, 1)
    until(lambda: second.states() == {name_of(database): "leading"})


@pytest.mark.long
def test_a_frozen_leader_is_followed_and_stands_by_when_it_wakes(
    database: Topology, log: Log, start_worker: StartWorker
) -> None:
    first = start_worker(database)
    until(lambda: first.states() == {name_of(database): "leading"})
    second = start_worker(database)
    until(lambda: second.states() == {name_of(database): "standby"})
    first.send(signal.SIGSTOP)
    log.write(A, 2)
    wait_sealed(log, A, 2)
    until(lambda: second.states() == {name_of(database): "leading"})
    assert second.events("ended the session of a silent leader")
    first.send(signal.SIGCONT)
    until(lambda: first.states() == {name_of(database): "standby"})
    # Or the figures of two workers would be added up.
    for worker, has in ((first, False), (second, True)):
        for name in ("kos_log_seal_lag_seconds", "kos_log_pending_rows"):
            assert (worker.metric(name, database=label_of(database)) is not None) == has
    log.write(A, 2)
    wait_sealed(log, A, 4)
    assert second.states() == {name_of(database): "leading"}


@pytest.mark.long
def test_a_busy_leader_is_left_in_its_place(database: Topology, log: Log, start_worker: StartWorker) -> None:
    """A seal that takes longer than a leader may be silent: it goes on asking meanwhile."""
    first = start_worker(database)
    until(lambda: first.states() == {name_of(database): "leading"})
    second = start_worker(database)
    log.tell(A, seconds=8)
    log.write(A)
    wait_sealed(log, A, 1)
    assert first.states() == {name_of(database): "leading"}
    assert second.events("ended the session of a silent leader") == []


@pytest.mark.long
def test_a_frozen_worker_holds_no_tenant(database: Topology, log: Log, start_worker: StartWorker) -> None:
    """Frozen in the middle of a seal: the server ends it, and another worker seals what comes after it."""
    first = start_worker(database)
    until(lambda: first.states() == {name_of(database): "leading"})
    second = start_worker(database)
    log.tell(A, seconds=1)
    log.write(A)
    until(lambda: is_sealing(log))
    first.send(signal.SIGSTOP)
    wait_sealed(log, A, 1)
    log.write(A)
    wait_sealed(log, A, 2)
    until(lambda: second.states() == {name_of(database): "leading"})


def test_a_huge_seal_delays_no_other_tenant(database: Topology, log: Log, start_worker: StartWorker) -> None:
    worker = start_worker(database)
    until(lambda: worker.states() == {name_of(database): "leading"})
    log.tell(A, seconds=60)
    log.write(A)
    until(lambda: is_sealing(log))
    log.write(B)
    wait_sealed(log, B, 1)
    assert log.sealed(A) == 0


@pytest.mark.long
def test_no_tenant_starves(database: Topology, log: Log, start_worker: StartWorker) -> None:
    """Tenants that can't be sealed at all, more than a worker asks for at once, and one that can."""
    for number in range(100, 160):
        log.tell(uuid.UUID(int=number), holds_back=number % 2 == 0, fails=number % 2 == 1)
        log.write(uuid.UUID(int=number))
    log.write(A)
    start_worker(database, "--seals", "1")
    wait_sealed(log, A, 1)
    log.write(A)
    wait_sealed(log, A, 2)


def test_a_poisoned_tenant_is_parked_and_named(database: Topology, log: Log, start_worker: StartWorker) -> None:
    log.tell(A, fails=True)
    log.write(A)
    worker = start_worker(database, "--seals", "1")
    until(lambda: bool(worker.events("parked a tenant: its seal failed")))
    log.write(B)
    wait_sealed(log, B, 1)
    line = worker.events("parked a tenant: its seal failed")[0]
    assert (line["tenant"], line["error"]) == (str(A), "this tenant is poisoned (XX001)")
    until(lambda: worker.health()["databases"][0]["parked"] != [])
    parked = worker.health()["databases"][0]["parked"][0]
    assert (parked["tenant"], parked["error"]) == (str(A), "this tenant is poisoned (XX001)")
    assert worker.metric("kos_worker_parked_tenants", database=label_of(database)) == 1
    assert worker.metric("kos_worker_errors_total", database=label_of(database), kind="seal") >= 1  # type: ignore[operator]
    log.tell(A)
    wait_sealed(log, A, 1)
    until(lambda: worker.health()["databases"][0]["parked"] == [])
    assert worker.metric("kos_worker_parked_tenants", database=label_of(database)) == 0


def test_a_poisoned_tenant_that_another_session_seals_is_parked_no_longer(
    database: Topology, log: Log, start_worker: StartWorker
) -> None:
    log.tell(A, fails=True)
    log.write(A)
    worker = start_worker(database, "--seals", "1")
    until(lambda: worker.health()["databases"][0]["parked"] != [])
    log.tell(A)
    log.connection.execute("select kos.seal(%s)", (A,))
    until(lambda: worker.health()["databases"][0]["parked"] == [])
    assert worker.metric("kos_worker_parked_tenants", database=label_of(database)) == 0


@pytest.mark.long
def test_a_lock_of_another_is_no_failure(database: Topology, log: Log, start_worker: StartWorker) -> None:
    worker = start_worker(database, "--seals", "1")
    until(lambda: worker.states() == {name_of(database): "leading"})
    with log_of(database, name_of(database), fresh=False) as other, other.transaction():
        other.execute("select pg_advisory_xact_lock(hashtextextended('seal ' || %s::text, 0))", (A,))
        log.write(A)
        until(lambda: waiters(log.connection, ADVISORY) > 0)
        log.write(B)
        wait_sealed(log, B, 1)
    wait_sealed(log, A, 1)
    assert worker.health()["databases"][0]["parked"] == []
    assert worker.events("parked a tenant: its seal failed") == []


@pytest.mark.long
def test_a_new_database_is_noticed_and_one_that_is_gone(
    database: Topology, store: Store, log: Log, start_worker: StartWorker
) -> None:
    worker = start_worker(database)
    until(lambda: worker.states() == {name_of(database): "leading"})
    tenant = create_tenant(store, "vault", "database")
    with log_of(database, tenant.database, fresh=True) as connection:
        there = Log(connection)
        there.write(A, 2)
        wait_sealed(there, A, 2)
        until(lambda: worker.states().get(tenant.database) == "leading")
    label = f"{tenant.shard}/{tenant.database}"
    until(lambda: worker.metric("kos_log_sealed_events_total", database=label) == 2)
    remove_tenant(store, "vault")
    until(lambda: worker.states() == {name_of(database): "leading"})
    until(lambda: tenant.database not in worker.get("/metrics")[1])
    log.write(A)
    wait_sealed(log, A, 1)


BLOCKED_LOOK = """
create or replace function kos.unsealed(max_tenants integer)
returns table (tenant_id uuid, waiting bigint, oldest timestamptz) language plpgsql as $$
begin
  perform pg_advisory_xact_lock(4711);
end $$
"""


@pytest.mark.long
def test_who_waits_already_waits_for_no_look_at_all(database: Topology, log: Log, start_worker: StartWorker) -> None:
    """As while another tenant's huge transaction is under way: a look that finds everybody takes long."""
    start_worker(database)
    log.write(A)
    wait_sealed(log, A, 1)
    log.connection.execute("select pg_advisory_lock(4711)")
    log.connection.execute(BLOCKED_LOOK)
    until(
        lambda: log.value("select count(*) from pg_locks where locktype = 'advisory' and objid = 4711 and not granted")
    )
    for number in range(2, 5):
        log.write(A)
        wait_sealed(log, A, number)
    log.write(B)
    log.connection.execute("select pg_advisory_unlock(4711)")
    assert log.sealed(B) == 0, "nobody has found it"


@pytest.mark.long
def test_a_look_that_fails_costs_no_lead(database: Topology, log: Log, start_worker: StartWorker) -> None:
    worker = start_worker(database)
    log.write(A)
    wait_sealed(log, A, 1)
    leader, label = log.leader(), f"{database.control.name}/{name_of(database)}"
    log.connection.execute("alter function kos.unsealed(integer) rename to unsealed_for_now")
    until(lambda: (worker.metric("kos_worker_errors_total", database=label, kind="find") or 0) > 0)
    log.write(A)
    wait_sealed(log, A, 2)
    assert (log.leader(), worker.states()) == (leader, {name_of(database): "leading"})
    log.connection.execute("alter function kos.unsealed_for_now(integer) rename to unsealed")
    log.write(B)
    wait_sealed(log, B, 1)


def test_who_can_find_nobody_says_so(database: Topology) -> None:
    now = [100.0]
    watch = Watch(database, control_place(database), Metrics(), seals=1, clock=lambda: now[0])
    watch.state = State(LEADING, answered=now[0])
    watch._led = now[0]
    assert watch.health()["state"] == LEADING
    now[0] += BLIND_SECONDS + 1
    watch.state = State(LEADING, answered=now[0])
    found = watch.health()
    assert (found["state"], found["error"]) == (
        "blind",
        "no tenant that is new was looked for in 31 s: the look goes on",
    )


def test_a_database_without_a_log_says_so(database: Topology, start_worker: StartWorker) -> None:
    """As an older library left it."""
    with log_of(database, name_of(database), fresh=False) as connection, connection.transaction():
        connection.execute("set local role kos_owner")
        connection.execute("drop function kos.unsealed(integer), kos.unsealed_among(uuid[]) cascade")
    worker = start_worker(database)
    until(lambda: worker.states() == {name_of(database): "unreachable"})
    assert worker.health()["databases"][0]["error"] == "its schema kos has no log yet: kos upgrade"


def test_a_pooler_is_refused(database: Topology, log: Log, start_worker: StartWorker) -> None:
    pooled = replace(database.control, primary=replace(database.control.primary, pooler=True))
    with pytest.raises(errors.PoolerBetween):
        Worker(replace(database, shards=(pooled,)))


@pytest.mark.long
def test_a_pooler_that_nobody_told_of_is_noticed(database: Topology, log: Log, start_worker: StartWorker) -> None:
    with behind_pgbouncer(database) as pooled:
        hidden = replace(pooled.control, primary=replace(pooled.control.primary, pooler=False))
        worker = start_worker(replace(pooled, shards=(hidden,)))
        until(lambda: worker.states() == {name_of(database): "unreachable"})
        assert "a pooler is between us" in worker.health()["databases"][0]["error"]


def once(database: Topology, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kos", "worker", "--once", *arguments],
        cwd=folder,
        env=child_environment(database, folder),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_once(database: Topology, log: Log, tmp_path: Path) -> None:
    log.write(A, 3)
    log.write(B, 2)
    done = once(database, tmp_path, "--json")
    assert done.returncode == errors.DONE, done.stderr
    assert json.loads(done.stdout) == {
        "sealed": 5,
        "databases": [
            {"shard": database.control.name, "database": name_of(database), "sealed": 5, "failed": [], "error": None}
        ],
    }
    assert log.waiting() == 0
    assert "nothing waited" in once(database, tmp_path).stdout


@pytest.mark.long
def test_once_goes_on_after_a_poisoned_tenant(database: Topology, log: Log, tmp_path: Path) -> None:
    log.tell(A, fails=True)
    log.write(A)
    log.write(B)
    done = once(database, tmp_path, "--json")
    assert done.returncode == errors.FAILED
    value = json.loads(done.stdout)
    assert value["sealed"] == 1
    assert value["databases"][0]["failed"] == [{"tenant": str(A), "error": "this tenant is poisoned (XX001)"}]
    assert f"tenant {A} could not be sealed" in once(database, tmp_path).stderr
