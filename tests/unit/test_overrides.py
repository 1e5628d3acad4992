"""Environment variables over kos.toml."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest
from config_texts import ALONE, WHOLE, load, mistakes
from hypothesis import given
from hypothesis import strategies as st

from kos.topology import config


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    (folder / "ca.pem").write_text("a certificate")
    return folder


@pytest.mark.parametrize(
    ("variable", "value", "read"),
    [
        ("KOS_SHARDS__MAIN__PORT", "6000", lambda t: t.shards[0].primary.port),
        ("kos_shards__main__port", "5433", lambda t: t.shards[0].primary.port),
        ("KOS_SHARDS__BIG_ONE__DATABASE", "other", lambda t: t.shards[1].primary.database),
        ("KOS_SHARDS__MAIN__REPLICAS__0__HOST", "db3", lambda t: t.shards[0].replicas[0].host),
        ("KOS_SHARDS__MAIN__INSTALLER__USER", "root", lambda t: t.shards[0].installer.user),
        ("KOS_OBJECTS__BUCKET", "other", lambda t: t.objects.bucket),
    ],
)
def test_a_variable_overrides_its_key(folder: Path, variable: str, value: str, read: Any) -> None:
    assert str(read(load(folder, WHOLE, **{variable.upper(): value}))) == value


def test_a_secret_may_be_a_variable_itself(folder: Path) -> None:
    for text in ("plain", "{begins like JSON", "[1]"):
        topology = load(folder, WHOLE, KOS_SHARDS__MAIN__APP__PASSWORD=text)
        password = topology.control.app.password
        assert password is not None
        assert password.read() == text


def test_a_variable_may_name_where_a_secret_is(folder: Path) -> None:
    environ = {"KOS_SHARDS__MAIN__APP__PASSWORD": '{"env": "ELSEWHERE"}', "ELSEWHERE": "found"}
    password = load(folder, WHOLE, **environ).control.app.password
    assert password is not None
    assert password.read() == "found"


def test_a_variable_can_bring_a_store(folder: Path) -> None:
    topology = load(folder, ALONE, KOS_CACHE__HOST="localhost")
    assert topology.cache is not None
    assert topology.cache.address == "localhost:6379/0"


def test_a_mistake_in_a_variable_names_it(folder: Path) -> None:
    found = mistakes(folder, ALONE, KOS_SHARDS__MAIN__PORT="many", KOS_SHARD__MAIN__PORT="1")
    assert "(set by KOS_SHARDS__MAIN__PORT)" in found["shards.main.port"]
    assert "did you mean KOS_SHARDS__MAIN__PORT?" in found["KOS_SHARD__MAIN__PORT"]


def test_variables_of_others_are_left_alone(folder: Path) -> None:
    load(folder, ALONE, KOS_CONFIG="x", KOS_APP_PASSWORD="x", KOS_LOG__LEVEL="debug", OTHER__THING="x")


LEAVES: dict[tuple[str | int, ...], str] = {
    ("shards", "main", "host"): "elsewhere.example.com",
    ("shards", "main", "port"): "7000",
    ("shards", "main", "pooler"): "true",
    ("shards", "main", "region"): "eu-west-1",
    ("shards", "main", "sslmode"): "verify-full",
    ("shards", "main", "app", "user"): "web",
    ("shards", "main", "replicas", 0, "name"): "second",
    ("shards", "main", "replicas", 0, "port"): "7001",
    ("shards", "big-one", "insecure"): "true",
    ("graph", "database"): "other",
    ("cache", "database"): "3",
    ("objects", "region"): "eu-west-1",
}


@given(st.sets(st.sampled_from(sorted(LEAVES, key=str)), min_size=1))
def test_overriding_a_key_is_the_same_as_writing_it(folder: Path, places: set[tuple[str | int, ...]]) -> None:
    written = tomllib.loads(WHOLE)
    environ = {}
    for place in places:
        node: Any = written
        for part in place[:-1]:
            node = node[part]
        node[place[-1]] = LEAVES[place]
        environ["KOS_" + "__".join(str(part).upper().replace("-", "_") for part in place)] = LEAVES[place]
    assert config.understand(tomllib.loads(WHOLE), folder / "kos.toml", environ) == config.understand(
        written, folder / "kos.toml", {}
    )
