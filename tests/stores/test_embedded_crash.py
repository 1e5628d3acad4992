"""Crashes: of a server, and of the command that starts the stack, at any moment."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import psutil
import pytest

from fix_stack import connect, left_in, pids
from kos.errors import StackNotRunning
from kos.topology.embedded import Stack, census, postgres, start

pytestmark = pytest.mark.long

# crashes


def test_killed_postgres_comes_back_with_its_data(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres"])
    before = stack.topology()
    with connect(before) as connection:
        connection.execute("create table kept as select generate_series(1, 1000) as number")
    stack.kill_store("postgres")
    assert "postgres" not in stack.processes()
    with pytest.raises(StackNotRunning):
        stack.kill_store("postgres")
    assert set(stack.start_store("postgres").started) == {"postgres"}
    assert stack.topology().control.primary == before.control.primary, "clients go on with the same address"
    with connect(stack.topology()) as connection:
        assert connection.execute("select count(*) from kept").fetchone() == (1000,)


def test_a_frozen_backend_does_not_hold_a_start_up(place: Path) -> None:
    """A backend that outlives its postmaster keeps the shared memory, and PostgreSQL refuses to start beside it."""
    stack = Stack(place)
    stack.up(stores=["postgres"])
    connection = connect(stack.topology())
    backend = psutil.Process(connection.info.backend_pid)
    backend.suspend()
    stack.kill_store("postgres")
    assert backend.is_running()
    stack.start_store("postgres")
    assert not census.is_alive(backend)
    connection.close()


def test_a_frozen_server_is_stopped(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres", "cache"])
    with connect(stack.topology()) as connection:
        psutil.Process(connection.info.backend_pid).suspend()
        for process in stack.processes().values():
            process.suspend()
        stack.down()
    assert left_in(place) == []


def test_a_pid_file_that_names_another_process_is_not_believed(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres", "cache"])
    note = place / ".kos" / "data" / "postgres" / "postmaster.pid"
    lines = note.read_text().splitlines(keepends=True)
    stack.kill_store("postgres")
    # As after a restart of the machine: the number now belongs to another server of the same account.
    note.write_text("".join([f"{stack.processes()['cache'].pid}\n", *lines[1:]]))
    stack.start_store("postgres")
    assert "postgres" in stack.processes()


# the command that starts the stack is killed, or interrupted

MOMENTS: dict[str, Callable[[Path], object]] = {
    "the marker is stored": lambda kos: (kos / "stack.json").exists(),
    "PostgreSQL's data are being made": lambda kos: (kos / "data" / "postgres.new").exists(),
    "PostgreSQL's data are there": lambda kos: (kos / "data" / "postgres" / "PG_VERSION").exists(),
    "a server is started": lambda kos: Stack(kos.parent).processes(),
    "PostgreSQL is started": lambda kos: "postgres" in Stack(kos.parent).processes(),
    "the graph is started": lambda kos: "graph" in Stack(kos.parent).processes(),
}
FEW = ("postgres", "cache")
UP = "import sys; from pathlib import Path; from kos.topology.embedded import Stack; {}"


def starting(folder: Path, stores: Sequence[str]) -> subprocess.Popen[bytes]:
    """Another program that starts a stack."""
    code = UP.format(f"print(Stack(Path({str(folder)!r})).up(stores={tuple(stores)!r}))")
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def wait_for(moment: Callable[[Path], object], kos: Path, child: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while not moment(kos):
        if child.poll() == 0:
            return  # it was done before the moment could be seen: a kill that comes too late
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


@pytest.mark.parametrize("moment", list(MOMENTS)[:-1])
def test_killing_the_start_leaves_what_the_next_can_adopt_or_clean(place: Path, moment: str) -> None:
    kill_and_start_again(place, moment, FEW)


@pytest.mark.long
@pytest.mark.parametrize("moment", list(MOMENTS))
@pytest.mark.parametrize("later", [0.0, 0.05, 0.3, 1.0])
def test_killing_the_start_of_all_servers(place: Path, moment: str, later: float) -> None:
    kill_and_start_again(place, moment, ("postgres", "graph", "cache", "objects"), later)


def kill_and_start_again(place: Path, moment: str, stores: Sequence[str], later: float = 0.0) -> None:
    with starting(place, stores) as child:
        wait_for(MOMENTS[moment], place / ".kos", child)
        time.sleep(later)  # to reach moments that leave no trace to wait for
        child.kill()
    stack = Stack(place)
    stack.up(stores=stores)
    assert set(pids(stack)) == set(stores)
    with connect(stack.topology()) as connection:
        assert connection.execute("show kos.stack").fetchone() == (stack.id,)
    assert not (place / ".kos" / "data" / "postgres.new").exists()
    stack.down()
    assert left_in(place) == []


def test_what_a_killed_initdb_still_writes_into_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, remove = tmp_path / "postgres.new", shutil.rmtree
    folder.mkdir()
    tries: list[Path] = []

    def not_yet(path: Path, *, ignore_errors: bool) -> None:
        tries.append(path)
        if len(tries) > 2:
            remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(shutil, "rmtree", not_yet)
    postgres._remove(folder)
    assert (len(tries), folder.exists()) == (3, False)


def test_killing_the_start_then_down_leaves_no_process(place: Path) -> None:
    with starting(place, FEW) as child:
        wait_for(MOMENTS["PostgreSQL's data are being made"], place / ".kos", child)
        child.kill()
    Stack(place).down()
    assert left_in(place) == []


def test_interrupting_the_start_stops_what_it_began(place: Path) -> None:
    with starting(place, FEW) as child:
        wait_for(MOMENTS["a server is started"], place / ".kos", child)
        child.send_signal(signal.SIGINT)
        _, said = child.communicate(timeout=60)
    assert b"KeyboardInterrupt" in said
    assert left_in(place) == []


def test_two_starts_at_once_make_one_stack(place: Path) -> None:
    with starting(place, FEW) as first, starting(place, FEW) as second:
        said = [child.communicate(timeout=60) for child in (first, second)]
    assert [first.returncode, second.returncode] == [0, 0], said
    servers = [process for process in left_in(place) if process.ppid() not in {p.pid for p in left_in(place)}]
    assert len(servers) == len(FEW)
    assert set(pids(Stack(place))) == set(FEW)


def test_a_server_that_hangs_is_replaced(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ADOPT_SECONDS", 0.5)
    stack = Stack(place)
    stack.up(stores=["cache"])
    before = stack.processes()["cache"]
    before.suspend()
    assert set(stack.up(stores=["cache"]).started) == {"cache"}
    assert [process.pid for process in left_in(place)] == list(pids(stack).values()) != [before.pid]
