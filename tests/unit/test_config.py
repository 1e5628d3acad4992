"""kos.toml: what it means, and that every mistake in it is told at once."""

from __future__ import annotations

import copy
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from config_texts import ALONE, WHOLE, load, mistakes
from hypothesis import given
from hypothesis import strategies as st

from kos.errors import ConfigInvalid, NotConfigured, StackNotRunning
from kos.topology import config, model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("config")
    (folder / "ca.pem").write_text("a certificate")
    return folder


# what it means


def test_postgres_alone_is_a_topology(folder: Path) -> None:
    topology = load(folder, ALONE)
    assert topology.control.primary.address == "127.0.0.1:5432/knowledge_os"
    assert topology.control.primary.tls.mode == "prefer"
    assert (topology.graph, topology.cache, topology.objects, topology.stack) == (None, None, None, None)


def test_whole_file(folder: Path) -> None:
    topology = load(folder, WHOLE)
    main, big = topology.shards
    assert [(shard.number, shard.name) for shard in topology.shards] == [(1, "main"), (2, "big-one")]
    assert main.primary.tls == model.Tls("verify-full", ca=folder / "ca.pem")
    assert main.primary.region == "us-east-1"
    (reader,) = main.replicas
    assert (reader.host, reader.port, reader.database, reader.pooler) == ("db2.example.com", 5432, "knowledge_os", True)
    assert reader.tls == main.primary.tls, "a replica trusts what its primary trusts"
    assert big.primary.tls.mode == "require"
    assert big.installer is None
    assert topology.cache is not None
    assert topology.cache.tls == model.Tls(ca=folder / "ca.pem")
    assert topology.cache.login is not None
    assert topology.cache.login.user == "default"
    assert topology.graph is not None
    assert topology.graph.verified
    assert topology.regions == ("us-east-1", "eu-west-1")
    (feed,) = topology.feeds
    assert (feed.name, feed.token.key, feed.tenants) == ("search", "feeds.search.token", ("acme",))
    assert topology.folder == folder


def test_secrets_are_read_late_and_named_by_their_key(folder: Path) -> None:
    environ: dict[str, str] = {}
    topology = config.understand(tomllib.loads(WHOLE), folder / "kos.toml", environ)
    environ["APP_PASSWORD"] = "later"
    password = topology.control.app.password
    assert password is not None
    assert password.read() == "later"
    assert password.key == "shards.main.app.password"
    operator = topology.control.operator.password
    assert operator is not None
    assert operator.file == folder / "operator.secret"


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.8.8.8", "::1", "/var/run/postgresql"])
def test_loopback_needs_no_tls(folder: Path, host: str) -> None:
    assert load(folder, ALONE.replace("127.0.0.1", host)).control.primary.verified


@pytest.mark.parametrize("host", ["db", "10.0.0.1", "128.0.0.1", "fe80::1", "localhost.example.com"])
def test_anything_else_is_verified(folder: Path, host: str) -> None:
    primary = load(folder, ALONE.replace("127.0.0.1", host)).control.primary
    assert primary.tls.mode == "verify-full"


# mistakes


@pytest.mark.parametrize(
    ("text", "key", "said"),
    [
        ("", "shards", "is missing"),
        ("[shards]", "shards", "is empty"),
        ("shards = 3", "shards", "should be a table"),
        ("[shards]\nmain = 3", "shards.main", "should be a table; write [shards.main]"),
        (ALONE + "port = 0", "shards.main.port", "greater than or equal to 1"),
        (ALONE + "port = 'many'", "shards.main.port", "should be a whole number; for example: port = 5432"),
        (ALONE + "port = 5432.5", "shards.main.port", "should be a whole number"),
        (ALONE + "pooler = 'perhaps'", "shards.main.pooler", "should be true or false"),
        (ALONE + "region = 7", "shards.main.region", "should be text in quotes"),
        (ALONE + "region = ''", "shards.main.region", "is empty"),
        (ALONE + "replicas = 'one'", "shards.main.replicas", "should be a list"),
        (ALONE + "pots = 5432", "shards.main.pots", "is not a known key; did you mean shards.main.port?"),
        (ALONE + "wallpaper = 1", "shards.main.wallpaper", "take it out (known here: insecure, host,"),
        (ALONE + "[wallpaper]", "wallpaper", "take it out (known here: regions, shards,"),
        (ALONE + "[catch]\nhost = 'x'", "catch", "did you mean cache?"),
        (
            ALONE + "[feeds.'projection.graph']\ntoken = { env = 'T' }",
            'feeds."projection.graph"',
            "cursor of a projection",
        ),
        (ALONE + "[regions.here]\ncolour = 'red'", "regions.here.colour", "take it out"),
        (ALONE.replace("host", "hots"), "shards.main.host", 'is missing; for example: host = "db1.example.com"'),
        (ALONE.replace("main", '"ma in"'), 'shards."ma in"', "is no name"),
        (ALONE.replace("127.0.0.1", "me@db1"), "shards.main.host", "is no host name"),
        (ALONE.replace("127.0.0.1", "https://db1"), "shards.main.host", "is no host name"),
        (ALONE + "sslmode = 'verify'", "shards.main.sslmode", "'verify-full'"),
        (ALONE.replace("127.0.0.1", "db1") + "sslmode = 'require'", "shards.main.sslmode", "insecure = true"),
        (ALONE + "sslrootcert = 'nowhere.pem'", "shards.main.sslrootcert", "there is no file"),
        (ALONE + "region = 'mars'", "shards.main.region", "is not declared; add [regions.mars]"),
        (ALONE + "region = 'mars'\n[regions.moon]", "shards.main.region", "(declared: moon)"),
        (ALONE + "installer = { user = 'a', password = 'p' }", "shards.main.installer.password", "in plain text"),
        (ALONE + "installer = { user = 'a', password = {} }", "shards.main.installer.password", "exactly one"),
        (
            ALONE + "installer = { user = 'a', password = { env = 'A', file = 'b' } }",
            "shards.main.installer.password",
            "does not name exactly one source",
        ),
        (
            ALONE + "installer = { user = 'a', password = { command = 'pass show kos' } }",
            "shards.main.installer.password.command",
            "should be a list",
        ),
        (ALONE.replace("kos_operator", "kos_app"), "shards.main.operator.user", "is the same role as app"),
        (ALONE + ALONE.replace("main", "twin"), "shards.twin", "is the same database as shards.main"),
        (
            ALONE + "replicas = [{ name = 'a', host = 'x' }, { name = 'a', host = 'y' }]",
            "shards.main.replicas",
            "the name a stands 2 times",
        ),
        (ALONE + "replicas = [{ name = 'a' }]", "shards.main.replicas[0].host", "is missing"),
        (ALONE + "[graph]\nuri = 'bolt://g:7687'\nuser = 'u'", "graph.uri", "insecure = true"),
        (ALONE + "[graph]\nuri = 'bolt+ssc://g:7687'\nuser = 'u'", "graph.uri", "insecure = true"),
        (ALONE + "[graph]\nuri = 'http://g:7474'\nuser = 'u'", "graph.uri", "no address of this kind"),
        (ALONE + "[graph]\nuri = 'bolt+s://u:p@g'\nuser = 'u'", "graph.uri", "carries credentials"),
        (ALONE + "[graph]\nuri = 'bolt+s://g:port'\nuser = 'u'", "graph.uri", "is no address"),
        (ALONE + "[cache]\nhost = 'c'\ntls = false", "cache.tls", "in plain text"),
        (ALONE + "[cache]\nhost = 'c'\ndatabase = -1", "cache.database", "greater than or equal to 0"),
        (ALONE + "[objects]\nendpoint = 'http://s3'\nbucket = 'b'", "objects.endpoint", "https://"),
        (ALONE + "[objects]\nbucket = 'b'\nsecret_key = { env = 'A' }", "objects.secret_key", "go together"),
        (ALONE + "[objects]\nbucket = 'b'\naccess_key = { env = 'A' }", "objects.secret_key", "go together"),
    ],
)
def test_a_mistake_says_its_key_and_the_mend(folder: Path, text: str, key: str, said: str) -> None:
    found = mistakes(folder, text)
    assert key in found
    assert said in found[key]


def test_all_mistakes_are_told_at_once(folder: Path) -> None:
    text = """
        graf = 3
        [shards.main]
        host = "db1.example.com"
        port = "many"
        databse = "x"
        sslmode = "require"
        region = "mars"
        app = { user = "kos_app", password = "hunter2" }
        operator = { user = "kos_app", password = { env = "A", file = "b" } }
        [[shards.main.replicas]]
        host = "x y"
        [cache]
        host = "cache.example.com"
        tls = false
        [objects]
        endpoint = "http://s3.example.com"
        ca = "nowhere.pem"
    """
    found = mistakes(folder, text, KOS_SHARD__MAIN__HOST="x", KOS_CACHE__PORT="abc")
    assert set(found) == {
        "graf",
        "shards.main.port",
        "shards.main.databse",
        "shards.main.database",
        "shards.main.sslmode",
        "shards.main.region",
        "shards.main.app.password",
        "shards.main.operator.password",
        "shards.main.operator.user",
        "shards.main.replicas[0].host",
        "shards.main.replicas[0].name",
        "cache.tls",
        "cache.port",
        "objects.endpoint",
        "objects.bucket",
        "objects.ca",
        "KOS_SHARD__MAIN__HOST",
    }


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[shards.main]\nhost = \n", "line 2"),
        (b"[shards.main]\nhost = '\xff'", "byte 23 is not UTF-8"),
        (None, "there is no such file"),
    ],
)
def test_a_file_that_is_no_toml(tmp_path: Path, content: bytes | None, said: str) -> None:
    path = tmp_path / "kos.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigInvalid, match=said) as caught:
        config.load(path)
    assert [mistake.key for mistake in caught.value.mistakes] == ["kos.toml"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "kos.toml").mkdir()
    with pytest.raises(ConfigInvalid, match="it can't be read: Is a directory"):
        config.find(tmp_path)


def test_a_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    (tmp_path / "kos.toml").write_text(ALONE, encoding="utf-8-sig")
    assert config.load(tmp_path / "kos.toml", {}).control.name == "main"


# laws

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.dates()
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner))


def places(node: Any, here: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    found = [here] if here else []
    if isinstance(node, dict | list):
        for key, inner in node.items() if isinstance(node, dict) else enumerate(node):
            found += places(inner, (*here, key))
    return found


@given(st.data())
def test_whatever_stands_in_the_file_is_understood_or_explained(folder: Path, data: st.DataObject) -> None:
    document = tomllib.loads(WHOLE)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(places(document)))
        node: Any = document
        for part in place[:-1]:
            node = node[part]
        node[place[-1]] = data.draw(values)
    try:
        topology = config.understand(copy.deepcopy(document), folder / "kos.toml", {})
    except ConfigInvalid as error:
        told = error.mistakes
    else:
        told = ()
        assert topology.shards
    assert all(mistake.key and mistake.problem and mistake.mend for mistake in told)


SECRET = "correct-horse-battery-staple"
HIDDEN = [place for place in places(tomllib.loads(WHOLE)) if place[-1] in {"password", "secret_key", "access_key"}]


@given(st.data())
def test_no_secret_is_shown_wherever_it_was_put(folder: Path, data: st.DataObject) -> None:
    document = tomllib.loads(WHOLE)
    place = data.draw(st.sampled_from(HIDDEN))
    node: Any = document
    for part in place[:-1]:
        node = node[part]
    wrapped = [SECRET, [SECRET], {"env": [SECRET]}, {SECRET[:7]: SECRET}, {"value": SECRET}, {"command": SECRET}]
    node[place[-1]] = data.draw(st.sampled_from(wrapped))
    document["graph"]["uri"] = f"bolt+s://neo4j:{SECRET}@graph.example.com"
    document["objects"]["endpoint"] = f"https://{SECRET}@s3.example.com"
    document["shards"]["main"]["host"] = f"kos:{SECRET}@db1.example.com"
    with pytest.raises(ConfigInvalid) as caught:
        config.understand(document, folder / "kos.toml", {})
    shown = json.dumps([str(caught.value), repr(caught.value), repr(caught.value.fields), caught.value.next_command])
    assert SECRET not in shown


def test_a_topology_shows_no_secret(folder: Path) -> None:
    topology = load(folder, WHOLE, KOS_SHARDS__MAIN__APP__PASSWORD=SECRET, GRAPH_PASSWORD=SECRET)
    assert topology.graph is not None
    assert topology.graph.login.password is not None
    assert topology.graph.login.password.read() == SECRET
    assert SECRET not in repr(topology)
    assert SECRET not in f"{topology.graph.login.password} {topology.control.app.password!r}"


# finding it


@pytest.fixture
def nested(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    nested = tmp_path / "one" / "two"
    nested.mkdir(parents=True)
    return nested


def test_the_nearest_file_is_found(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nested.parent / "kos.toml").write_text(ALONE)
    assert config.find(nested).folder == nested.parent
    (nested / "kos.toml").write_text(ALONE)
    monkeypatch.chdir(nested)
    assert config.find().folder == nested


def test_the_variable_comes_first(nested: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nested / "kos.toml").write_text(ALONE)
    (tmp_path / "other.toml").write_text(ALONE.replace("5432", "6000"))
    monkeypatch.setenv("KOS_CONFIG", str(tmp_path / "other.toml"))
    assert config.find(nested).folder == tmp_path


def test_a_variable_that_names_nothing_is_a_mistake(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nested / "kos.toml").write_text(ALONE)
    monkeypatch.setenv("KOS_CONFIG", str(nested / "nothing.toml"))
    with pytest.raises(ConfigInvalid, match="correct KOS_CONFIG"):
        config.find(nested)


def test_nothing_is_found(nested: Path) -> None:
    with pytest.raises(NotConfigured) as caught:
        config.find(nested)
    assert str(nested) in str(caught.value)
    assert "kos up" in caught.value.next_command


def test_embedded_without_a_stack(nested: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (nested / "kos.toml").write_text(ALONE)
    monkeypatch.setenv("KOS_CONFIG", "embedded")
    with pytest.raises(StackNotRunning):
        config.find(nested)
    assert list(nested.iterdir()) == [nested / "kos.toml"], "looking starts nothing"
