"""Crashes: of a server, and of the command that starts the stack, at any moment."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from fix_stack import connect, left_in
from kos.errors import StackNotRunning
from kos.topology.embedded import Stack

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
    assert not backend.is_running() or backend.status() == psutil.STATUS_ZOMBIE
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
