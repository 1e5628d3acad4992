"""The health of every store: asked through its own driver, all at once, never raising, never showing a secret."""

from __future__ import annotations

import socket
import subprocess
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres
from kos.errors import SecretUnavailable, StoreUnavailable
from kos.topology import cache, graph, health, model, objects, postgres
from kos.topology.embedded import Stack, ports
from kos.topology.embedded.wheels import programs
from kos.topology.model import Login, Shard, Topology, fixed

PLANTED = "correct-horse-battery-staple"
Moved = Callable[[Callable[[], int]], Topology]


def by_name(found: list[health.StoreHealth]) -> dict[str, health.StoreHealth]:
    return {each.name: each for each in found}


def test_the_embedded_stack_is_healthy(stack: Stack) -> None:
    found = health.check(stack.topology())
    assert [(each.name, each.kind, each.healthy) for each in found] == [
        ("postgres", "postgresql", True),
        ("graph", "arcadedb", True),
        ("cache", "valkey", True),
        ("objects", "s3", True),
    ]
    assert all(each.version and each.address for each in found)
    assert by_name(found)["postgres"].version.startswith("18.")
    assert by_name(found)["objects"].version.startswith("rclone 1."), "it calls itself AmazonS3"


@pytest.fixture
def moved(stack: Stack) -> Moved:
    """The stack's stores, each at another port."""

    def move(port: Callable[[], int]) -> Topology:
        topology = stack.topology()
        assert topology.graph
        assert topology.cache
        assert topology.objects
        primary = replace(topology.control.primary, port=port())
        return replace(
            topology,
            shards=(replace(topology.control, primary=primary),),
            graph=replace(topology.graph, uri=f"bolt://127.0.0.1:{port()}"),
            cache=replace(topology.cache, port=port()),
            objects=replace(topology.objects, endpoint=f"http://127.0.0.1:{port()}"),
        )

    return move


def test_stores_that_are_not_there(moved: Moved) -> None:
    found = health.check(moved(lambda: ports.choose(())))
    assert [each.name for each in found if each.healthy] == []
    for each in found:
        assert "refused" in each.detail or "Could not connect" in each.detail, each


@pytest.mark.long
def test_stores_that_never_answer_are_waited_for_together(moved: Moved) -> None:
    with ExitStack() as open_sockets:

        def deaf() -> int:
            listener = open_sockets.enter_context(closing(socket.create_server(("127.0.0.1", 0))))
            port: int = listener.getsockname()[1]
            return port

        topology = moved(deaf)
        began = time.monotonic()
        found = health.check(topology, seconds=5)
        assert time.monotonic() - began < 5.5
    assert [each.healthy for each in found] == [False] * 4
    assert all("time" in each.detail.lower() or "within 5 s" in each.detail for each in found), found


def test_a_secret_that_never_comes_does_not_hold_the_others(stack: Stack) -> None:
    release = threading.Event()

    def wait() -> str:
        release.wait(60)
        return "too late"

    topology = stack.topology()
    assert topology.cache
    hanging = replace(topology.cache, login=Login("default", model.Secret(wait)))
    found = by_name(health.check(replace(topology, cache=hanging), seconds=2))
    release.set()
    assert found["cache"].detail == "it did not answer within 2 s"
    assert found["postgres"].healthy


def test_a_wrong_password_is_a_reason_and_is_not_shown(stack: Stack) -> None:
    wrong = fixed(PLANTED)
    topology = stack.topology()
    assert topology.graph
    assert topology.cache
    assert topology.objects
    installer = topology.control.installer
    assert installer
    shard = replace(topology.control, app=Login(installer.user, wrong))
    found = health.check(
        replace(
            topology,
            shards=(shard,),
            graph=replace(topology.graph, login=Login(topology.graph.login.user, wrong)),
            cache=replace(topology.cache, login=Login("default", wrong)),
            objects=replace(topology.objects, secret_key=wrong),
        )
    )
    assert [each.healthy for each in found] == [False] * 4
    details = {each.name: each.detail for each in found}
    assert "password authentication failed" in details["postgres"]
    assert "uthentication failed" in details["graph"]
    assert "invalid username-password pair" in details["cache"]
    assert details["objects"] == "it refuses these keys"
    assert PLANTED not in repr(found)


@pytest.mark.parametrize("store", ["postgres", "graph", "cache", "objects"])
def test_no_error_of_a_store_holds_a_secret(moved: Moved, store: str) -> None:
    """Planted as every secret there is; then everything that hangs on to the error is searched."""
    topology = moved(lambda: ports.choose(()))
    login = Login("default", fixed(PLANTED))
    bolt, redis, s3 = topology.graph, topology.cache, topology.objects
    assert bolt
    assert redis
    assert s3
    s3 = replace(s3, access_key=fixed(PLANTED), secret_key=fixed(PLANTED))
    probes: dict[str, Callable[[], object]] = {
        "postgres": lambda: postgres.connect(topology.control.primary, login),
        "graph": lambda: graph.probe(replace(bolt, login=login), 2),
        "cache": lambda: cache.probe(replace(redis, login=login), 2),
        "objects": lambda: objects.probe(s3, 2),
    }
    with pytest.raises(StoreUnavailable) as caught:
        probes[store]()
    error: BaseException | None = caught.value
    while error:
        assert PLANTED not in f"{error} {error!r} {error.__dict__}"
        error = error.__cause__ or error.__context__


def test_a_missing_secret_is_named(stack: Stack) -> None:
    def missing() -> str:
        raise SecretUnavailable("cache.password", "the environment variable X is not set")

    topology = stack.topology()
    assert topology.cache
    lost = replace(topology.cache, login=Login("default", model.Secret(missing)))
    found = by_name(health.check(replace(topology, cache=lost)))["cache"]
    assert not found.healthy
    assert "cache.password" in found.detail


def test_what_a_driver_does_not_understand_is_said(stack: Stack) -> None:
    topology = stack.topology()
    assert topology.graph
    found = by_name(health.check(replace(topology, graph=replace(topology.graph, uri="nonsense"))))["graph"]
    assert not found.healthy
    assert "nonsense" in found.detail or "scheme" in found.detail


def test_an_account_that_may_do_little_is_enough_for_the_cache(stack: Stack) -> None:
    topology = stack.topology()
    assert topology.cache
    with cache.open(topology.cache) as client:
        client.execute_command("ACL", "SETUSER", "limited", "on", f">{PLANTED}", "~*", "+ping", "+client", "+hello")
    limited = replace(topology.cache, login=Login("limited", fixed(PLANTED)))
    (found,) = health.check(Topology((), cache=limited))
    with cache.open(topology.cache) as client:
        client.execute_command("ACL", "DELUSER", "limited")
    assert (found.healthy, found.version) == (True, "unknown"), found.detail


def test_a_cache_behind_a_socket(tmp_path: Path) -> None:
    path = tmp_path / "cache.socket"
    command = [str(programs("cache").path), "--port", "0", "--unixsocket", str(path), "--save", ""]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 10
        while not path.exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        (found,) = health.check(Topology((), cache=model.CacheServer(str(path), 6379, None, None)))
    finally:
        process.terminate()
        process.wait(10)
    assert found.healthy, found.detail


# PostgreSQL: roles, replicas, sockets

pytestmark = pytest.mark.xdist_group("health")  # the servers are made once, not in every worker


@pytest.fixture(scope="module")
def own(own_postgres: MakePostgres) -> OwnPostgres:
    server = own_postgres("wheel")
    server.configure(unix_socket_directories=server.folder)
    server.start()
    return server


@pytest.fixture
def shard(own: OwnPostgres) -> Shard:
    return Shard(1, "main", own.server, (), app=Login("web", fixed(PLANTED)), operator=own.superuser)


def one(shard: Shard) -> health.StoreHealth:
    (found,) = health.check(Topology((shard,)))
    return found


def test_before_kos_upgrade_the_server_is_healthy(shard: Shard) -> None:
    found = one(shard)
    assert (found.healthy, found.detail) == (True, "no role web yet: kos upgrade")
    found = one(replace(shard, operator=shard.app))
    assert not found.healthy, "nobody can tell that the role is missing"
    found = one(replace(shard, operator=shard.app, installer=shard.operator))
    assert found.healthy


def test_an_application_that_is_locked_out_makes_it_unhealthy(own: OwnPostgres, shard: Shard) -> None:
    own.execute(f"create role web login password '{PLANTED}'")
    assert one(shard).healthy
    assert one(shard).detail == ""
    own.execute("alter role web nologin")
    found = one(shard)
    own.execute("drop role web")
    assert not found.healthy
    assert "not permitted to log in" in found.detail


def test_a_socket(own: OwnPostgres, shard: Shard) -> None:
    assert one(replace(shard, primary=replace(own.server, host=str(own.folder)))).healthy


@pytest.fixture(scope="module")
def replica(own: OwnPostgres, own_postgres: MakePostgres) -> OwnPostgres:
    """A streaming replica of `own`."""
    with own.data.joinpath("pg_hba.conf").open("a") as rules:
        rules.write("host replication postgres 127.0.0.1/32 scram-sha-256\n")
    own.restart()
    own.execute("alter role postgres replication")
    copy = own_postgres("wheel")
    copy.clone(own)
    copy.start()
    return copy


def test_a_replica(own: OwnPostgres, replica: OwnPostgres, shard: Shard) -> None:
    reader = replace(replica.server, name="reader")
    second = replace(shard, number=2, name="second", replicas=(reader,))
    found = by_name(health.check(Topology((shard, second))))
    assert list(found) == ["postgres", "postgres-2", "postgres-2:reader"]
    assert all(each.healthy for each in found.values())
    assert found["postgres-2:reader"].detail.endswith("kos upgrade") or "s behind" in found["postgres-2:reader"].detail
    swapped = replace(shard, primary=replica.server, replicas=(replace(own.server, name="writer"),))
    found = by_name(health.check(Topology((swapped,))))
    assert found["postgres"].detail == "it is a replica, and takes no writes"
    assert found["postgres:writer"].detail == "it is no replica: it takes writes of its own"


@pytest.mark.long
def test_a_replica_says_how_far_behind_it_is(own: OwnPostgres, replica: OwnPostgres, shard: Shard) -> None:
    asks = replace(shard, app=own.superuser, replicas=(replace(replica.server, name="reader"),))
    own.execute("create table counted (n int)")
    with replica.connect() as connection:
        await_table(connection, "counted")
        connection.execute("select pg_wal_replay_pause()")
        own.execute("insert into counted select generate_series(1, 1000)")
        time.sleep(1.5)  # the age that is told is real time: nothing to wait for but the clock
        behind = by_name(health.check(Topology((asks,))))["postgres:reader"].detail
        connection.execute("select pg_wal_replay_resume()")
    seconds, _, rest = behind.partition(" ")
    assert rest == "s behind"
    assert int(seconds) >= 1


def await_table(connection: psycopg.Connection[object], name: str) -> None:
    deadline = time.monotonic() + 10
    while connection.execute("select to_regclass(%s)", (name,)).fetchone() == (None,):
        assert time.monotonic() < deadline
        time.sleep(0.01)
