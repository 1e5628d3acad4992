"""Running embedded stacks, each shared by all tests and all xdist workers of a run.

The first to ask starts one; the run's controlling process stops them all, after the last worker, whatever failed.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier, Literal

from kos.topology.embedded import Stack, account
from kos.topology.model import Login, Topology, fixed

FOLDER = "KOS_TEST_STACKS"
PREFIX = "kos-tests-"
PATIENCE_SECONDS = 120.0
MEMORY = Path("/dev/shm")
ROOM_BYTES = 8 << 30


def pytest_configure(config: pytest.Config) -> None:
    """Make the run's folder; workers find it in the environment that they inherit."""
    if hasattr(config, "workerinput"):
        return
    _clear_killed_runs()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=_parent()))
    folder.chmod(0o711)  # the account of the servers may pass
    os.environ[FOLDER] = str(folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    """Stop what the run started. The controller comes here when its workers are gone."""
    if hasattr(config, "workerinput") or FOLDER not in os.environ:
        return
    _clear(Path(os.environ.pop(FOLDER)))


def _parent() -> str:
    """Where the stacks' folders are: in memory, where the machine has plenty of it, and no TMPDIR says otherwise.

    Two thousand databases are made and dropped, of four hundred files each. Whether writes survive a crash of the
    machine is nothing that a test could find out; of servers that are killed the page cache keeps everything.
    """
    roomy = "TMPDIR" not in os.environ and MEMORY.is_dir() and shutil.disk_usage(MEMORY).free >= ROOM_BYTES
    return str(MEMORY) if roomy and psutil.virtual_memory().available >= 2 * ROOM_BYTES else tempfile.gettempdir()


def _clear_killed_runs() -> None:
    """Stop what runs left that were killed themselves."""
    for folder in [*Path(tempfile.gettempdir()).glob(f"{PREFIX}*"), *MEMORY.glob(f"{PREFIX}*")]:
        run = int(folder.name.removeprefix(PREFIX).split("-", 1)[0])
        if folder.stat().st_uid == os.geteuid() and not psutil.pid_exists(run):
            _clear(folder)


def _clear(folder: Path) -> None:
    for each in folder.iterdir():
        Stack(each, patience=PATIENCE_SECONDS).down(purge=True)
    shutil.rmtree(folder)


def log_in_quickly(stack: Stack) -> None:
    """Let the roles of a shared stack log in with one round of SHA-256, and those that are made later.

    Tests connect ten thousand times, and 4,096 rounds each cost more than anything else they do. Rounds protect a
    password that can be guessed; these are random.
    """
    secrets = json.loads((stack.folder / ".kos" / "secrets.json").read_text())
    topology = stack.topology()
    has_password = "select rolname from pg_authid where rolpassword is not null and rolname = any(%s)"
    with connect(topology, login=Login("postgres", fixed(secrets["postgres"])), database="postgres") as superuser:
        superuser.execute("alter system set scram_iterations = 1")
        superuser.execute("select pg_reload_conf()")
        superuser.execute("set scram_iterations = 1")  # which libpq hears of, and does the same
        for (role,) in superuser.execute(has_password, (list(secrets),)).fetchall():
            name = str(role)
            encrypted = superuser.pgconn.encrypt_password(
                secrets[name].encode(), name.encode(), b"scram-sha-256"
            ).decode()
            superuser.execute(SQL("alter role {} password {}").format(Identifier(name), Literal(encrypted)))


def _shared(name: str, *stores: str) -> Stack:
    folder = Path(os.environ[FOLDER]) / name
    folder.mkdir(mode=0o711, exist_ok=True)
    stack = Stack(folder, patience=PATIENCE_SECONDS)
    stack.up(stores=stores)  # harmless where another worker was first
    return stack


@pytest.fixture(scope="session")
def stack() -> Stack:
    """A full running stack. Shared: leave its servers running, and its databases as they were."""
    return _shared("full", "postgres", "graph", "cache", "objects")


@pytest.fixture(scope="session")
def postgres() -> Stack:
    """A running stack of one PostgreSQL. Shared: make databases of your own in it."""
    return _shared("postgres", "postgres")


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Path]:
    """An empty folder that the servers' account can reach; whatever runs there is stopped afterwards."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name)
    folder = Path(os.environ[FOLDER]) / name
    folder.mkdir(mode=0o711)
    yield folder
    Stack(folder, patience=PATIENCE_SECONDS).down(purge=True)
    shutil.rmtree(folder)


def left_in(folder: Path) -> list[psutil.Process]:
    """Every living process with a trace of `folder`: looked for in another way than the stack itself looks."""
    return [process for process in psutil.process_iter() if str(folder) in _traces(process)]


def _traces(process: psutil.Process) -> str:
    try:
        if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
            return ""
        with account.seeing_as_owner(process):
            return " ".join([process.cwd(), *process.cmdline(), *process.environ().values()])
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return ""


def arguments(process: psutil.Process) -> str:
    """How a process was started, as others on the machine see it; nothing if it ended meanwhile."""
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def heard(process: psutil.Process) -> set[str]:
    """The addresses that a process listens on; none if it ended meanwhile, as PostgreSQL's children do at any time.

    A process that is just ending belongs to root already, and shows its owner nothing: it is asked until it has ended.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with account.seeing_as_owner(process):
                connections = process.net_connections()
            break
        except psutil.NoSuchProcess:
            return set()
        except psutil.AccessDenied:
            if process.status() == psutil.STATUS_ZOMBIE:
                return set()
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    return {each.laddr.ip for each in connections if each.status == psutil.CONN_LISTEN or not each.raddr}


def pids(stack: Stack) -> dict[str, int]:
    """The number of each server's process."""
    return {store: process.pid for store, process in stack.processes().items()}


def connect(
    topology: Topology, *, login: Login | None = None, shard: int = 0, database: str | None = None
) -> psycopg.Connection[tuple[object, ...]]:
    """A session with a shard, in autocommit; as the installer unless told otherwise."""
    server = topology.shards[shard].primary
    login = login or topology.shards[shard].installer
    assert login
    assert login.password
    return psycopg.connect(
        host=server.host,
        port=server.port,
        dbname=database or server.database,
        user=login.user,
        password=login.password.read(),
        autocommit=True,
    )
