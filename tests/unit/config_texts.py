"""Configurations that the tests of kos.toml begin with, and how they are read."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from kos.errors import ConfigInvalid
from kos.topology import config, model

WHOLE = """
[regions.us-east-1]
[regions.eu-west-1]

[shards.main]
host = "db1.example.com"
port = 5433
database = "knowledge_os"
region = "us-east-1"
sslrootcert = "ca.pem"
app = { user = "kos_app", password = { env = "APP_PASSWORD" } }
operator = { user = "kos_operator", password = { file = "operator.secret" } }
installer = { user = "admin", password = { command = ["print-token", "--for", "admin"] } }

[[shards.main.replicas]]
name = "reader"
host = "db2.example.com"
region = "eu-west-1"
pooler = true

[shards.big-one]
host = "10.1.2.3"
database = "knowledge_os"
insecure = true
sslmode = "require"
app = { user = "kos_app" }
operator = { user = "kos_operator" }

[graph]
uri = "neo4j+s://graph.example.com"
user = "neo4j"
password = { env = "GRAPH_PASSWORD" }

[cache]
host = "cache.example.com"
password = { env = "CACHE_PASSWORD" }
ca = "ca.pem"

[objects]
endpoint = "https://s3.example.com"
bucket = "knowledge-os"
access_key = { env = "ACCESS_KEY" }
secret_key = { env = "SECRET_KEY" }

[feeds.search]
token = { env = "FEED_TOKEN" }
tenants = ["acme"]
"""

ALONE = """
[shards.main]
host = "127.0.0.1"
database = "knowledge_os"
app = { user = "kos_app" }
operator = { user = "kos_operator" }
"""


def load(folder: Path, text: str, **environ: str) -> model.Topology:
    return config.understand(tomllib.loads(text), folder / "kos.toml", environ)


def mistakes(folder: Path, text: str, **environ: str) -> dict[str, str]:
    with pytest.raises(ConfigInvalid) as caught:
        load(folder, text, **environ)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return {mistake.key: f"{mistake.problem}; {mistake.mend}" for mistake in caught.value.mistakes}
