"""Starting beside a PostgreSQL that crashed: its last processes let go of its shared memory first."""

from __future__ import annotations

import ctypes
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kos.topology.embedded.postgres import SHARED_MEMORY, await_detached

CREATE, REMOVE = 0o1600, 0

pytestmark = pytest.mark.skipif(not SHARED_MEMORY.exists(), reason="this system does not list its shared memory")


@pytest.fixture
def let_go(tmp_path: Path) -> Iterator[Callable[[], None]]:
    """Hold on to the shared memory of a cluster in `tmp_path`, as a process that is just ending does."""
    system = ctypes.CDLL(None, use_errno=True)
    system.shmat.restype = ctypes.c_void_p
    segment = system.shmget(tmp_path.stat().st_ino, 64, CREATE)
    assert segment >= 0
    address = ctypes.c_void_p(system.shmat(segment, None, 0))
    yield lambda: system.shmdt(address)
    system.shmdt(address)
    system.shmctl(segment, REMOVE, None)


def test_a_start_waits_for_the_last_process(tmp_path: Path, let_go: Callable[[], None]) -> None:
    threading.Timer(0.3, let_go).start()
    began = time.monotonic()
    await_detached(tmp_path, seconds=20)
    assert 0.25 < time.monotonic() - began < 10


@pytest.mark.usefixtures("let_go")
def test_a_start_does_not_wait_for_ever(tmp_path: Path) -> None:
    began = time.monotonic()
    await_detached(tmp_path, seconds=0.2)
    assert time.monotonic() - began >= 0.2


def test_a_start_after_a_proper_end_waits_for_nothing(tmp_path: Path) -> None:
    began = time.monotonic()
    await_detached(tmp_path, seconds=20)
    assert time.monotonic() - began < 5
