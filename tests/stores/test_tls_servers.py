"""TLS with servers that speak it themselves, client certificates included. What the machine lacks is skipped."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import pkcs12

from fix_own_postgres import MakePostgres
from fix_tls import Authority, Pair
from kos.errors import StoreUnavailable
from kos.topology import health, model
from kos.topology import postgres as opening
from kos.topology.embedded import ports
from kos.topology.embedded.wheels import programs
from kos.topology.model import Login, Shard, Topology, fixed

START_SECONDS = 30.0
PASSWORD = "of the cache"
pytestmark = pytest.mark.xdist_group("tls servers")  # they are started once, not in every worker

KEYS = ("an-access-key-of-ours", "a-secret-key")


def ask(topology: Topology) -> health.StoreHealth:
    (found,) = health.check(topology)
    return found


@contextmanager
def running(command: list[str], topology: Topology, folder: Path, **environ: str) -> Iterator[None]:
    """A server, from its first healthy answer on."""
    with (folder / "server.log").open("ab") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **environ})
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := ask(topology)).healthy:
            assert process.poll() is None, (folder / "server.log").read_text()
            assert time.monotonic() < deadline, found.detail
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(30)


def refusals(topologies: Mapping[str, Topology]) -> dict[str, str]:
    """Why each of these is unhealthy."""
    found = {name: ask(topology) for name, topology in topologies.items()}
    assert [name for name, health in found.items() if health.healthy] == []
    return {name: health.detail for name, health in found.items()}


# PostgreSQL


@pytest.fixture(scope="module")
def postgres(own_postgres: MakePostgres, authority: Authority) -> Topology:
    """PostgreSQL with TLS for localhost; the role `ops` logs in with a certificate, `web` with a password."""
    server = own_postgres("debian")
    pair = authority.issue("localhost")
    for name, path in (("ca", authority.certificate), ("cert", pair.certificate), ("key", pair.key)):
        server.write(f"server.{name}", path.read_bytes())
    server.configure(
        ssl="on",
        ssl_ca_file=server.folder / "server.ca",
        ssl_cert_file=server.folder / "server.cert",
        ssl_key_file=server.folder / "server.key",
    )
    rules = "hostssl all ops all cert\nhostssl all all all scram-sha-256\nhost all postgres all scram-sha-256\n"
    server.write("data/pg_hba.conf", rules)
    server.start()
    server.execute(f"create role web login password '{PASSWORD}'", "create role ops login")
    tls = model.Tls("verify-full", ca=authority.certificate)
    primary = replace(server.server, host="localhost", tls=tls)
    web = Login("web", fixed(PASSWORD))
    return Topology((Shard(1, "main", primary, (), app=web, operator=Login("ops")),))


def with_tls(topology: Topology, host: str = "localhost", **changes: object) -> Topology:
    shard = topology.control
    tls = replace(shard.primary.tls, **changes)  # type: ignore[arg-type]
    return replace(topology, shards=(replace(shard, primary=replace(shard.primary, host=host, tls=tls)),))


def test_postgres(postgres: Topology, stranger: Authority) -> None:
    assert ask(postgres).healthy, ask(postgres).detail
    with opening.connect(postgres.control.primary, postgres.control.app) as connection:
        row = connection.execute("select ssl from pg_stat_ssl where pid = pg_backend_pid()").fetchone()
    assert row == (True,)
    wrong = {
        "another authority": with_tls(postgres, ca=stranger.certificate),
        "another name": with_tls(postgres, host="127.0.0.1"),
        "the system's authorities": with_tls(postgres, ca=None),
        "no TLS": with_tls(postgres, mode="disable"),
    }
    reasons = refusals(wrong)
    assert "certificate verify failed" in reasons["another authority"]
    assert "certificate verify failed" in reasons["the system's authorities"]
    assert "does not match host name" in reasons["another name"]
    assert "no encryption" in reasons["no TLS"]


def test_postgres_with_a_client_certificate(postgres: Topology, authority: Authority) -> None:
    mine, other = authority.issue("ops"), authority.issue("somebody")
    assert who(postgres, mine) == "ops"
    with pytest.raises(StoreUnavailable, match="certificate authentication failed"):
        who(postgres, other)


def who(topology: Topology, pair: Pair) -> str:
    server = with_tls(topology, certificate=pair.certificate, key=pair.key).control.primary
    with opening.connect(server, topology.control.operator) as connection:
        row = connection.execute("select current_user").fetchone()
    assert row is not None
    return str(row[0])


# the cache


@pytest.fixture(scope="module")
def redis(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """Redis that takes TLS only, and only clients with a certificate."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed (Debian: apt-get install redis-server)")
    folder = tmp_path_factory.mktemp("redis")
    pair, client = authority.issue("localhost"), authority.issue("client")
    port = ports.choose(())
    (folder / "redis.conf").write_text(
        f"port 0\ntls-port {port}\nbind 127.0.0.1\nsave ''\nrequirepass '{PASSWORD}'\ntls-auth-clients yes\n"
        f"tls-ca-cert-file {authority.certificate}\ntls-cert-file {pair.certificate}\ntls-key-file {pair.key}\n"
    )
    tls = model.Tls(ca=authority.certificate, certificate=client.certificate, key=client.key)
    login = Login("default", fixed(PASSWORD))
    topology = Topology((), cache=model.CacheServer("localhost", port, login, tls))
    with running([program, "redis.conf"], topology, folder):
        yield topology


def test_redis(redis: Topology, authority: Authority, stranger: Authority) -> None:
    assert redis.cache
    assert redis.cache.tls
    found = ask(redis)
    assert found.healthy, found.detail
    assert found.kind == "redis"
    wrong = {
        "another authority": replace(redis.cache, tls=replace(redis.cache.tls, ca=stranger.certificate)),
        "another name": replace(redis.cache, host="127.0.0.1"),
        "no client certificate": replace(redis.cache, tls=model.Tls(ca=authority.certificate)),
        "no TLS": replace(redis.cache, tls=None),
    }
    reasons = refusals({name: Topology((), cache=cache) for name, cache in wrong.items()})
    assert "certificate verify failed" in reasons["another authority"]
    assert "127.0.0.1" in reasons["another name"]


# object storage


@pytest.fixture(scope="module")
def s3(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """rclone's S3 server with TLS of its own."""
    folder = tmp_path_factory.mktemp("s3")
    (folder / "served" / "bucket").mkdir(parents=True)
    pair = authority.issue("localhost")
    port = ports.choose(())
    tls = model.Tls(ca=authority.certificate)
    access, secret = map(fixed, KEYS)
    store = model.ObjectStore(f"https://localhost:{port}", "bucket", "us-east-1", access, secret, tls)
    command = [
        *(str(programs("objects").path), "serve", "s3", str(folder / "served"), "--addr", f"127.0.0.1:{port}"),
        *("--cert", str(pair.certificate), "--key", str(pair.key), "--config", str(folder / "none")),
    ]
    topology = Topology((), objects=store)
    with running(command, topology, folder, RCLONE_AUTH_KEY=f'"{",".join(KEYS)}"'):
        yield topology


def test_object_storage(s3: Topology, stranger: Authority) -> None:
    assert s3.objects
    assert s3.objects.endpoint
    assert ask(s3).healthy
    wrong = {
        "another authority": replace(s3.objects, tls=model.Tls(ca=stranger.certificate)),
        "another name": replace(s3.objects, endpoint=s3.objects.endpoint.replace("localhost", "127.0.0.1")),
        "no TLS": replace(s3.objects, endpoint=s3.objects.endpoint.replace("https", "http")),
        "another key": replace(s3.objects, secret_key=fixed("not this one")),
        "another bucket": replace(s3.objects, bucket="nothing"),
    }
    reasons = refusals({name: Topology((), objects=store) for name, store in wrong.items()})
    assert "certificate verify failed" in reasons["another authority"]
    assert "127.0.0.1" in reasons["another name"]
    assert reasons["another key"] == "it refuses these keys"
    assert reasons["another bucket"] == "there is no bucket nothing"


# the graph


@pytest.fixture(scope="module")
def arcade(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Topology]:
    """ArcadeDB, whose Bolt takes TLS only."""
    folder = tmp_path_factory.mktemp("arcade")
    port, http = ports.choose(()), ports.choose(())
    settings = {
        "server.rootPassword": PASSWORD.replace(" ", "-"),
        "server.rootPath": folder,
        "server.plugins": "Bolt:com.arcadedb.bolt.BoltProtocolPlugin",
        "server.defaultDatabases": "kos[root]",
        "server.httpIncomingHost": "127.0.0.1",
        "server.httpIncomingPort": http,
        "bolt.host": "127.0.0.1",
        "bolt.port": port,
        "bolt.ssl": "REQUIRED",
        **java_stores(authority, authority.issue("localhost"), folder),
    }
    java = programs("graph")
    command = [str(java.path), "-Xmx512m", "-cp", f"{java.root}/jars/*", "com.arcadedb.server.ArcadeDBServer"]
    options = " ".join(f"-Darcadedb.{name}={value}" for name, value in settings.items())
    login = Login("root", fixed(str(settings["server.rootPassword"])))
    tls = model.Tls(ca=authority.certificate)
    topology = Topology((), graph=model.GraphServer(f"bolt+s://localhost:{port}", login, "kos", tls))
    with running(command, topology, folder, JDK_JAVA_OPTIONS=options):
        yield topology


def java_stores(authority: Authority, pair: Pair, folder: Path) -> dict[str, object]:
    """A certificate as Java wants it, and the settings that name it."""
    password = serialization.BestAvailableEncryption(b"of-the-stores")
    key = serialization.load_pem_private_key(pair.key.read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    certificate, ca = (
        x509.load_pem_x509_certificate(path.read_bytes()) for path in (pair.certificate, authority.certificate)
    )
    store = pkcs12.serialize_key_and_certificates(b"server", key, certificate, [ca], password)
    trust = pkcs12.serialize_java_truststore([pkcs12.PKCS12Certificate(ca, b"ca")], password)
    (folder / "key.p12").write_bytes(store)
    (folder / "trust.p12").write_bytes(trust)
    return {
        "ssl.keyStore": folder / "key.p12",
        "ssl.keyStorePassword": "of-the-stores",
        "ssl.trustStore": folder / "trust.p12",
        "ssl.trustStorePassword": "of-the-stores",
    }


@pytest.mark.long
def test_the_graph(arcade: Topology, stranger: Authority) -> None:
    assert arcade.graph
    found = ask(arcade)
    assert found.healthy, found.detail
    routed = replace(arcade.graph, uri=arcade.graph.uri.replace("bolt+s", "neo4j+s"))
    assert ask(Topology((), graph=routed)).healthy
    wrong = {
        "another authority": replace(arcade.graph, tls=model.Tls(ca=stranger.certificate)),
        "the system's authorities": replace(arcade.graph, tls=model.Tls()),
        "another name": replace(arcade.graph, uri=arcade.graph.uri.replace("localhost", "127.0.0.1")),
        "no TLS": replace(arcade.graph, uri=arcade.graph.uri.replace("bolt+s", "bolt")),
    }
    reasons = refusals({name: Topology((), graph=store) for name, store in wrong.items()})
    assert "certificate verify failed" in reasons["another authority"]
    assert "certificate verify failed" in reasons["the system's authorities"]
    assert "not valid for '127.0.0.1'" in reasons["another name"]
