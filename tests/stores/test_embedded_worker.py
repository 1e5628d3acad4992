"""The worker of an embedded stack: `kos up` starts one, `kos down` stops it, and nothing else meets it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

from fix_exports import until
from fix_stack import arguments, left_in
from kos import cli, errors
from kos.commands import prepare
from kos.tenancy import Store, list_tenants
from kos.topology.embedded import Stack, census, ports

pytestmark = pytest.mark.long


@pytest.fixture
def small(place: Path) -> Stack:
    """A stack of PostgreSQL alone, with the schema and a worker."""
    return begun(place)


def begun(folder: Path) -> Stack:
    stack = Stack(folder)
    stack.up(stores=["postgres"])
    prepare(stack)
    stack.begin_worker().wait()
    return stack


def process_of(stack: Stack) -> psutil.Process:
    """The stack's worker, looked for in another way than the stack itself looks."""
    [found] = [each for each in left_in(stack.folder) if " -m kos worker" in arguments(each)]
    return found


@pytest.fixture
def kos(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Any]:
    """A command in a folder, and its JSON."""
    monkeypatch.delenv("KOS_CONFIG", raising=False)

    def run(folder: Path, *words: str) -> Any:
        monkeypatch.chdir(folder)
        capsys.readouterr()
        assert cli.run([*words, "--json"]) == errors.DONE
        return json.loads(capsys.readouterr().out)

    return run


def test_up_starts_one_and_down_stops_it(place: Path, kos: Callable[..., Any]) -> None:
    [told] = kos(place, "up")["workers"]
    assert told["name"] == "worker"
    first = process_of(Stack(place))
    with urllib.request.urlopen(f"http://{told['address']}/metrics") as answer:
        assert b"kos_worker_leader" in answer.read()
    assert kos(place, "up")["workers"][0]["address"] == told["address"]
    assert process_of(Stack(place)) == first, "it ran already"
    status = kos(place, "status")
    assert status["workers"][0]["address"] == told["address"]
    assert {store["name"] for store in status["stores"]} == {"postgres", "graph", "cache", "objects"}
    assert "worker" in kos(place, "down", "--dry-run")["would_stop"]
    stopped = {each["store"]: each["pid"] for each in kos(place, "down")["stopped"]}
    assert stopped["worker"] == first.pid
    assert left_in(place) == []


def test_the_address_stays(small: Stack) -> None:
    before = small.worker().address
    assert before.startswith("127.0.0.1:")
    small.down()
    assert small.up(stores=["postgres"]).adopted == []
    small.begin_worker().wait()
    assert small.worker().address == before


def test_one_that_was_killed_is_started_again(small: Stack) -> None:
    process = process_of(small)
    process.kill()
    until(lambda: not census.is_alive(process))
    assert small.worker().detail == "it does not run: kos up"
    assert small.begin_worker().started
    until(lambda: small.worker().detail != "it does not run: kos up")


def test_one_that_is_frozen_is_replaced(small: Stack) -> None:
    frozen = process_of(small)
    frozen.send_signal(signal.SIGSTOP)
    again = small.begin_worker()
    again.wait()
    assert again.started
    assert process_of(small).pid != frozen.pid


def test_a_worker_of_other_servers_is_replaced(small: Stack) -> None:
    """It was started before there was a second shard."""
    before = process_of(small)
    small.up(stores=["postgres"], shards=2)
    again = small.begin_worker()
    again.wait()
    assert again.started
    assert process_of(small).pid != before.pid


def test_down_finds_it_where_its_folder_is_gone(small: Stack) -> None:
    (small.folder / ".kos").rename(small.folder / "elsewhere")
    assert "worker" in {stopped.store for stopped in small.down()}
    (small.folder / "elsewhere").rename(small.folder / ".kos")
    assert left_in(small.folder) == []


def test_another_port_where_its_own_is_taken(small: Stack) -> None:
    port = int(small.worker().address.rpartition(":")[2])
    process_of(small).kill()
    assert ports.become_free([port], patience=10)
    with socket.create_server(("127.0.0.1", port)):
        small.begin_worker().wait()
    assert not small.worker().address.endswith(f":{port}")


def test_two_stacks_have_a_worker_each(place: Path) -> None:
    folders = [place / "one", place / "two"]
    for folder in folders:
        folder.mkdir(mode=0o711)
    one, two = map(begun, folders)
    try:
        assert process_of(one) != process_of(two)
        one.down()
        assert census.is_alive(process_of(two))
        assert two.worker().detail != "it does not run: kos up"
    finally:
        one.down(purge=True)
        two.down(purge=True)


def test_it_listens_on_loopback_and_shows_no_secret(small: Stack) -> None:
    process = process_of(small)
    listening = [each.laddr.ip for each in process.net_connections("tcp") if each.status == psutil.CONN_LISTEN]
    assert listening == ["127.0.0.1"]
    secrets = json.loads((small.folder / ".kos" / "secrets.json").read_text()).values()
    shown = arguments(process) + " ".join(process.environ().values()) + small.log("worker").read_text()
    assert [secret for secret in secrets if secret in shown] == []
    assert process.uids().real == os.geteuid()


def test_two_that_start_a_stack_of_two_shards_at_once_and_tenants_on_each(place: Path, kos: Callable[..., Any]) -> None:
    command = [sys.executable, "-c", "from kos.cli import main; main()", "up", "--shards", "2", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "KOS_CONFIG"}
    both = [
        subprocess.Popen(command, cwd=place, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(2)
    ]
    told = [each.communicate(timeout=200) for each in both]
    assert errors.DONE in [each.returncode for each in both], told
    for each, (_, wrong) in zip(both, told, strict=True):
        if each.returncode != errors.DONE:  # it came while the other one was at it
            error = json.loads(wrong)["error"]
            assert (each.returncode, error["type"], error["retryable"]) == (errors.FAILED, "StackBusy", True)
            assert "kos status" in error["next"]
    assert kos(place, "up")["healthy"]
    process_of(Stack(place))  # one worker
    for tier in ("row", "schema", "database"):
        for shard in ("main", "shard-2"):
            kos(place, "tenant", "create", f"{tier}-{shard}", "--tier", tier, "--shard", shard)
    with Store(Stack(place).topology()) as store:
        ports_of = {each.name: each.primary.port for each in store.topology.shards}
        for tenant in list_tenants(store):
            with store.tenant(tenant.name) as session:
                session.execute("insert into atoms (atom_type, name) values ('T', %s)", (tenant.name,))
                [(port, names)] = session.execute("select inet_server_port(), array_agg(name) from atoms").fetchall()
            assert (port, names) == (ports_of[tenant.shard], [tenant.name])
    assert len({each["shard"] for each in kos(place, "tenant", "list")}) == 2


def test_a_store_that_dies_meanwhile_is_told(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    monkeypatch.chdir(place)
    begin_worker = Stack.begin_worker

    def begin_without_cache(stack: Stack) -> Any:
        cache = stack.processes()["cache"]
        cache.kill()
        cache.wait()
        return begin_worker(stack)

    monkeypatch.setattr(Stack, "begin_worker", begin_without_cache)
    assert cli.run(["up", "--json"]) == errors.FAILED
    told = json.loads(capsys.readouterr().out)
    assert not told["healthy"]
    assert [each["name"] for each in told["stores"] if not each["healthy"]] == ["cache"]
    monkeypatch.undo()
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    monkeypatch.chdir(place)
    capsys.readouterr()
    assert cli.run(["up"]) == errors.DONE
    assert "no:" not in capsys.readouterr().out
