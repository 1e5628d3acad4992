"""PgBouncer in front of a test's database, pooling transactions."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from kos.errors import StoreUnavailable
from kos.topology import postgres as opening
from kos.topology.embedded import account, ports
from kos.topology.model import Login, Shard, Topology

START_SECONDS = 10.0
# Everything that could hide a leak stays as Debian's package has it: no reset query, no tracked parameters.
# A client that waits for the only server connection gets it or an error, in less time than the test has.
SETTINGS = """\
[databases]
* = host={server.host} port={server.port}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
logfile = {log}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 200
query_wait_timeout = 60
{more}
"""


def program() -> str | None:
    """Debian keeps it where only root's PATH leads."""
    return shutil.which("pgbouncer", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))


def version() -> tuple[int, ...]:
    """Of the program that there is; Debian 12 has 1.18."""
    said = subprocess.run([program() or "false", "--version"], capture_output=True, text=True, check=False).stdout
    return tuple(int(part) for part in re.findall(r"[0-9]+", said)[:2])


@pytest.fixture
def pooled(database: Topology) -> Iterator[Topology]:
    """The test's database through PgBouncer, with one server connection per role."""
    with behind_pgbouncer(database) as topology:
        yield topology


@contextmanager
def behind_pgbouncer(database: Topology, size: int = 1, more: str = "") -> Iterator[Topology]:
    """A database through a PgBouncer of its own. Skips the test where PgBouncer is not installed.

    `size` is the number of server connections per role, `more` are further settings.
    """
    found = program()
    if found is None:
        pytest.skip("pgbouncer is not installed (Debian: apt-get install pgbouncer)")
    direct = database.control
    behind = replace(direct, primary=replace(direct.primary, port=ports.choose(()), pooler=True))
    with _folder() as folder, _running(found, folder, direct, behind, size, more):
        yield replace(database, shards=(behind,))


@contextmanager
def _folder() -> Iterator[Path]:
    """Outside of pytest's own folder, which only its user can enter: PgBouncer refuses to run as root."""
    path = Path(tempfile.mkdtemp(prefix="kos-pgbouncer-"))
    account.choose().own(path)
    try:
        yield path
    finally:
        shutil.rmtree(path)


@contextmanager
def _running(found: str, folder: Path, direct: Shard, behind: Shard, size: int, more: str) -> Iterator[None]:
    users, log = folder / "users.txt", folder / "log"
    _write(users, "".join(f'"{login.user}" "{_password(login)}"\n' for login in (direct.app, direct.operator)))
    text = SETTINGS.format(server=direct.primary, port=behind.primary.port, users=users, log=log, size=size, more=more)
    settings = _write(folder / "pgbouncer.ini", text)
    process = subprocess.Popen(
        [found, "--quiet", str(settings)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        **account.choose().popen,  # type: ignore[call-overload]
    )
    try:
        _wait(process, log, behind)
        yield
    finally:
        process.terminate()  # to PgBouncer: stop at once
        process.wait(10)


def _password(login: Login) -> str:
    assert login.password is not None
    return login.password.read()


def _write(path: Path, text: str) -> Path:
    """A file of PgBouncer's account alone, closed before the passwords go in."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    account.choose().own(path)
    return path


def _wait(process: subprocess.Popen[bytes], log: Path, shard: Shard) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            opening.connect(shard.primary, shard.app, connect_seconds=2).close()
            return
        except StoreUnavailable as error:
            if process.poll() is not None or time.monotonic() > deadline:
                told = log.read_text(encoding="utf-8") if log.exists() else "(it wrote nothing)"
                pytest.fail(f"pgbouncer did not serve: {error}\n{told}")
        time.sleep(0.05)
