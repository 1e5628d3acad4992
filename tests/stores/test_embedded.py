"""The embedded stack: harmless to repeat, nothing left behind, nothing shown, nothing beyond loopback."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import psutil
import psycopg
import pytest

from documents import until
from fix_stack import arguments, connect, heard, left_in, pids
from kos.errors import StackNotRunning, UnknownStore
from kos.topology.embedded import Stack, account
from kos.topology.model import Login, fixed

# repeating


def test_a_second_up_is_harmless(stack: Stack) -> None:
    before = pids(stack)
    again = Stack(stack.folder).up()
    assert again.started == {}
    assert sorted(again.adopted) == ["cache", "graph", "objects", "postgres"]
    assert pids(stack) == before


def test_down_leaves_no_process_and_can_be_repeated(place: Path) -> None:
    stack = Stack(place)
    assert set(stack.up().started) == {"postgres", "graph", "cache", "objects"}
    assert len(left_in(place)) > 4, "the test itself must be able to see them"
    stopped = stack.down()
    assert {each.store for each in stopped} == {"postgres", "graph", "cache", "objects"}
    assert left_in(place) == []
    assert not stack.is_running()
    assert stack.down() == []


def test_data_and_addresses_stay_until_they_are_purged(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres"])
    with connect(stack.topology()) as connection:
        connection.execute("create table kept as select 42 as answer")
    stack.down()
    stack.up(stores=["postgres"])
    with connect(stack.topology()) as connection:
        assert connection.execute("select answer from kept").fetchone() == (42,)
    stack.down(purge=True)
    assert list(place.iterdir()) == []
    with pytest.raises(StackNotRunning):
        stack.topology()


def test_a_stack_is_found_from_the_folders_below_it(place: Path, postgres: Stack) -> None:
    below = postgres.folder / "a" / "b"
    below.mkdir(parents=True, exist_ok=True)
    found = Stack.find(below)
    assert found
    assert found.folder == postgres.folder
    (place / ".kos").mkdir()
    assert Stack.find(place) is None, "a .kos without our marker is somebody else's"


def test_purge_deletes_only_what_is_ours(place: Path) -> None:
    Stack(place).up(stores=["cache"])
    (place / ".kos" / "notes.txt").write_text("mine")
    (place / ".kos" / "pgpass").write_text("what the tour makes")
    Stack(place).down(purge=True)
    assert [path.name for path in (place / ".kos").iterdir()] == ["notes.txt"]


# secrets and loopback


def test_no_secret_stands_in_arguments_or_logs(stack: Stack) -> None:
    secrets = json.loads((stack.folder / ".kos" / "secrets.json").read_text()).values()
    assert all(len(secret) >= 24 for secret in secrets)
    shown = [arguments(process) for process in left_in(stack.folder)]
    logs = [stack.log(store).read_text() for store in stack.stores]
    assert len([text for text in shown if text]) > 4
    assert not [text for text in (*shown, *logs) for secret in secrets if secret in text]


def test_nobody_else_can_read_the_secrets(stack: Stack) -> None:
    kos = stack.folder / ".kos"
    assert stat.S_IMODE((kos / "secrets.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(kos.stat().st_mode) in {0o700, 0o710}
    holding = [path for path in kos.glob("conf/*/*") if path.is_file()]
    assert {path.name for path in holding} >= {"valkey.conf", "password", "options"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in holding} == {0o600}


def test_everything_listens_on_loopback_only(stack: Stack) -> None:
    addresses = {
        store: set().union(*map(heard, (process, *process.children(recursive=True))))
        for store, process in stack.processes().items()
    }
    assert addresses == {store: {"127.0.0.1"} for store in stack.stores}


def test_who_listens_elsewhere_is_heard_and_who_ended_is_not() -> None:
    code = "import socket; s = socket.create_server(('0.0.0.0', 0)); print(flush=True); input()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as child:
        assert child.stdout
        child.stdout.readline()
        process = psutil.Process(child.pid)
        assert heard(process) == {"0.0.0.0"}
        assert code in arguments(process)
        child.communicate(b"\n")
        assert heard(process) == set()
        assert arguments(process) == ""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts a process of another account")
def test_who_ended_as_another_account_is_not_heard() -> None:
    with subprocess.Popen(["true"], user="nobody") as child:
        process = psutil.Process(child.pid)
        until(lambda: process.status() == psutil.STATUS_ZOMBIE)
        assert heard(process) == set()


def test_the_users_environment_does_not_reach_the_servers(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("VALKEY_TEST_SECRET", "of the user")
    stack = Stack(place)
    stack.up(stores=["cache"])
    server = stack.processes()["cache"]
    with account.seeing_as_owner(server):
        assert "VALKEY_TEST_SECRET" not in server.environ()


# several


@pytest.mark.long
def test_two_stacks_never_meet(place: Path, postgres: Stack) -> None:
    other = Stack(place)
    other.up(stores=["postgres"])
    assert other.id != postgres.id
    assert set(pids(other).values()).isdisjoint(pids(postgres).values())
    here, there = other.topology().control, postgres.topology().control
    assert here.primary.port != there.primary.port
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        connect(other.topology(), login=there.installer)
    before = pids(postgres)
    other.down(purge=True)
    assert pids(postgres) == before


@pytest.mark.long
def test_a_second_shard(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres"])
    first = pids(stack)
    stack.up(stores=["postgres"], shards=2)
    assert pids(stack) == {**first, "postgres-2": pids(stack)["postgres-2"]}
    assert [shard.name for shard in stack.topology().shards] == ["main", "shard-2"]
    for number in (0, 1):
        with connect(stack.topology(), shard=number) as connection:
            assert connection.execute("show kos.stack").fetchone() == (stack.id,)
    stack.down()
    stack.up(stores=["postgres"])
    assert set(pids(stack)) == {"postgres", "postgres-2"}, "a shard that was made is not forgotten"


# PostgreSQL as later features need it


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("wal_level", "logical"),
        ("track_commit_timestamp", "on"),
        ("summarize_wal", "on"),
        ("data_checksums", "on"),
        ("fsync", "on"),
        ("full_page_writes", "on"),
        ("password_encryption", "scram-sha-256"),
        ("log_statement", "none"),
        ("log_min_error_statement", "panic"),
        ("server_encoding", "UTF8"),
        ("TimeZone", "UTC"),
    ],
)
def test_a_setting_of_postgres(postgres: Stack, setting: str, value: str) -> None:
    with connect(postgres.topology()) as connection:
        assert connection.execute("select current_setting(%s)", (setting,)).fetchone() == (value,)


def test_new_databases_have_vectors_and_nobody_needs_superuser(postgres: Stack) -> None:
    query = "select rolsuper, rolbypassrls, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user"
    with connect(postgres.topology()) as connection:
        assert connection.execute(query).fetchone() == (False, False, True, True)
        connection.execute("create database with_vectors")
        try:
            with connect(postgres.topology(), database="with_vectors") as there:
                assert there.execute("select '[1,2]'::vector <-> '[1,4]'").fetchone() == (2.0,)
                assert there.execute("select count(*) >= 0 from pg_stat_statements").fetchone() == (True,)
        finally:
            connection.execute("drop database with_vectors with (force)")


def test_passwords_reach_postgres_encrypted(postgres: Stack) -> None:
    user, password = postgres.superuser()
    superuser = Login(user, fixed(password))
    with connect(postgres.topology(), login=superuser) as connection:
        stored = connection.execute("select rolpassword from pg_authid where rolpassword is not null").fetchall()
        assert all(str(each).startswith("SCRAM-SHA-256$") for (each,) in stored)
        seen = connection.execute("select query from pg_stat_statements").fetchall()
    secrets = json.loads((postgres.folder / ".kos" / "secrets.json").read_text()).values()
    assert not [query for (query,) in seen for secret in secrets if secret in str(query)]


def test_a_store_that_the_stack_lacks(postgres: Stack) -> None:
    with pytest.raises(UnknownStore, match="no store 'graph'"):
        postgres.kill_store("graph")
    with pytest.raises(UnknownStore):
        postgres.up(stores=["mongo"])
