"""What a connection is opened with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from kos.errors import NotConfigured, StackNotRunning, StoreUnavailable
from kos.topology import Login, PostgresServer, Secret, Tls, find, find_embedded, objects
from kos.topology import postgres as opening
from kos.topology.embedded import Stack, ports, require_embedded
from kos.topology.model import ObjectStore, fixed

REMOTE = PostgresServer("main", "db1.example.com", 5432, "kos", Tls())
APP = Login("kos_app", fixed("a password"))


def test_a_server_elsewhere_is_verified(tmp_path: Path) -> None:
    tls = Tls(ca=tmp_path / "ca.pem", certificate=tmp_path / "client.pem", key=tmp_path / "client.key")
    given = opening.conninfo(replace(REMOTE, tls=tls), APP)
    assert given["sslmode"] == "verify-full"
    assert given["sslrootcert"] == str(tmp_path / "ca.pem")
    assert given["sslcert"] == str(tmp_path / "client.pem")
    assert given["sslkey"] == str(tmp_path / "client.key")
    assert given["gssencmode"] == "disable", "libpq would take Kerberos instead of TLS"
    psycopg.conninfo.make_conninfo(**given)


def test_the_authorities_of_the_system_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    named = tmp_path / "bundle.pem"
    named.touch()
    monkeypatch.setenv("SSL_CERT_FILE", str(named))
    assert opening.conninfo(REMOTE, APP)["sslrootcert"] == str(named)
    monkeypatch.delenv("SSL_CERT_FILE")
    found = opening.conninfo(REMOTE, APP)["sslrootcert"]
    assert found == "system" or Path(found).is_file()


def test_a_secret_is_read_for_every_connection() -> None:
    tokens: Iterator[str] = iter(["first", "second"])
    login = Login("kos_app", Secret(lambda: next(tokens)))
    assert [opening.conninfo(REMOTE, login)["password"] for _ in range(2)] == ["first", "second"]


def test_nothing_is_prepared_behind_a_pooler(postgres: Stack) -> None:
    control = postgres.topology().control
    assert control.installer
    for pooler in (False, True):
        server = replace(control.primary, pooler=pooler)
        with opening.connect(server, control.installer) as connection:
            assert (connection.prepare_threshold is None) == pooler
            assert connection.autocommit
            row = connection.execute("select current_setting('application_name')").fetchone()
            assert row == ("kos",)


def test_the_environment_does_not_weaken_tls(postgres: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    control = postgres.topology().control
    assert control.installer
    monkeypatch.setenv("PGSSLMODE", "disable")
    with pytest.raises(StoreUnavailable, match="does not support SSL"):
        opening.connect(replace(control.primary, tls=Tls()), control.installer)


def test_the_asynchronous_twin(postgres: Stack) -> None:
    control = postgres.topology().control
    assert control.installer

    async def work() -> object:
        assert control.installer
        async with await opening.connect_async(control.primary, control.installer) as connection:
            return await (await connection.execute("select current_user")).fetchone()

    assert asyncio.run(work()) == (control.installer.user,)
    nowhere = replace(control.primary, port=ports.choose(()))
    with pytest.raises(StoreUnavailable) as caught:
        asyncio.run(opening.connect_async(nowhere, control.installer))
    assert caught.value.__cause__ is None


def test_object_storage_without_an_endpoint_is_aws() -> None:
    store = ObjectStore(None, "bucket", "eu-west-1", fixed("access"), fixed("secret"))
    assert store.address == "https://s3.eu-west-1.amazonaws.com/bucket"
    client = objects.open(store)
    assert client.meta.endpoint_url == "https://s3.eu-west-1.amazonaws.com"
    client.close()


def test_a_running_stack_is_found_from_within_its_folder(postgres: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = postgres.folder / "one" / "two"
    inside.mkdir(parents=True, exist_ok=True)
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    assert find(inside).stack == postgres.id
    monkeypatch.setenv("KOS_CONFIG", "embedded")
    assert find(inside).stack == postgres.id
    assert find_embedded(inside).stack == postgres.id


def test_a_kos_toml_comes_before_a_stack(postgres: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    inside = postgres.folder / "configured"
    inside.mkdir(exist_ok=True)
    logins = 'app = { user = "kos_app" }\noperator = { user = "kos_operator" }\n'
    (inside / "kos.toml").write_text(f'[shards.main]\nhost = "127.0.0.1"\ndatabase = "kos"\n{logins}')
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    assert find(inside).stack is None
    monkeypatch.setenv("KOS_CONFIG", "embedded")
    assert find(inside).stack == postgres.id


def test_a_stack_that_is_down_is_not_started(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(place)
    stack.up(stores=("postgres",))
    stack.down()
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    with pytest.raises(NotConfigured):
        find(place)
    with pytest.raises(StackNotRunning):
        find_embedded(place)
    assert not stack.is_running()


REDIRECTIONS = {
    "PGHOSTADDR": "127.0.0.9",
    "PGOPTIONS": "-c search_path=elsewhere",
    "PGTARGETSESSIONATTRS": "read-only",
}


@pytest.mark.parametrize("variable", REDIRECTIONS)
def test_the_users_environment_does_not_lead_elsewhere(
    postgres: Stack, monkeypatch: pytest.MonkeyPatch, variable: str
) -> None:
    shard = postgres.topology().control
    monkeypatch.setenv(variable, REDIRECTIONS[variable])
    assert shard.installer
    with opening.connect(shard.primary, shard.installer) as connection:
        row = connection.execute("select current_setting('search_path'), current_setting('kos.stack')").fetchone()
    assert row == ('"$user", public', postgres.id)
    require_embedded(replace(postgres.topology(), graph=None, cache=None, objects=None), "a test")


def test_a_proxy_of_the_user_does_not_get_what_is_for_this_machine(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{ports.choose(())}")
    store = stack.topology().objects
    assert store
    assert objects.probe(store, 3).kind == "s3"


@pytest.mark.parametrize("variable", ["AWS_PROFILE", "AWS_CONFIG_FILE", "AWS_ENDPOINT_URL", "AWS_SESSION_TOKEN"])
def test_what_the_user_has_told_aws_does_not_lead_elsewhere(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    said = {
        "AWS_PROFILE": "missing",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{ports.choose(())}",
        "AWS_SESSION_TOKEN": "of something else",
    }
    monkeypatch.setenv(variable, said[variable])
    store = stack.topology().objects
    assert store
    assert objects.probe(store, 3).kind == "s3"
