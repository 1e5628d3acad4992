"""`kos feed serve`: a consumer in JavaScript that is killed, TLS, and what it refuses to begin."""

from __future__ import annotations

import json
import os
import shutil
import signal
import ssl
import subprocess
import urllib.request
from pathlib import Path

import pytest
from test_feed_consumer import put

from feed_serving import FEEDS, SEARCH, serving
from fix_samples import child_environment
from fix_tls import Authority
from kos import errors
from kos.cli import run
from kos.tenancy import Store, Tenant
from kos.topology.model import Topology

EXAMPLE = Path(__file__).parents[2] / "examples/node/feed.js"
CONSUMER = """
const { follow } = require(process.env.EXAMPLE)
const { appendFileSync } = require('node:fs')
const { ADDRESS: address, TOKEN: token, FILE, DIES } = process.env
follow({ address, feed: 'search', token, tenant: 'acme', forever: false }, async (events) => {
  appendFileSync(FILE, events.map((event) => `${event.position} ${event.data.name}\\n`).join(''))
  if (events.some((event) => event.position === Number(DIES))) process.kill(process.pid, 'SIGKILL')
})
"""


@pytest.mark.long
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed (Debian: apt-get install nodejs)")
def test_a_consumer_in_javascript_that_is_killed_loses_nothing(store: Store, tenant: Tenant, tmp_path: Path) -> None:
    for names in (("a", "b"), ("c",), ("d", "é\n")):
        put(store, *names)
    file = tmp_path / "stored"
    with serving(store.topology, tmp_path) as server:
        variables = {"ADDRESS": server.address, "TOKEN": SEARCH, "FILE": str(file), "EXAMPLE": str(EXAMPLE)}

        def consume(dies: int) -> int:
            environment = os.environ | variables | {"DIES": str(dies)}
            return subprocess.run(["node", "-e", CONSUMER], env=environment, check=False, timeout=60).returncode

        assert consume(1) == -signal.SIGKILL
        assert consume(3) == -signal.SIGKILL
        assert consume(0) == 0
        assert consume(0) == 0
    positions = [line.split()[0] for line in file.read_text().splitlines() if line]
    assert positions == ["1", "2", "1", "2", "3", "3", "4", "5"]


@pytest.mark.long
def test_tls(store: Store, tenant: Tenant, tmp_path: Path, authority: Authority) -> None:
    put(store, "a")
    pair = authority.issue("127.0.0.1")
    options = ("--certificate", str(pair.certificate), "--key", str(pair.key))
    with serving(store.topology, tmp_path, *options) as server:
        assert server.address.startswith("https://")
        request = urllib.request.Request(
            f"{server.address}/feeds/search/tenants/acme/events", headers={"Authorization": f"Bearer {SEARCH}"}
        )
        trusting = ssl.create_default_context(cafile=authority.certificate)
        with urllib.request.urlopen(request, context=trusting, timeout=60) as answer:
            assert json.loads(answer.read())["data"]["name"] == "a"


REFUSED = (
    ("", (), "names no consumer"),
    (FEEDS, ("--listen", "0.0.0.0:0"), "plain text"),
    (FEEDS, ("--listen", "[::]:0"), "plain text"),
    (FEEDS, ("--listen", "nowhere"), "no address"),
    (FEEDS, ("--listen", "127.0.0.1:99999"), "no address"),
    (FEEDS, ("--listen", "192.0.2.1:0", "--insecure"), "192.0.2.1:0:"),
    (FEEDS, ("--certificate", __file__), "go together"),
    (FEEDS, (), "SEARCH_TOKEN is not set"),
)


def test_what_it_refuses(
    database: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in child_environment(database, tmp_path).items():
        monkeypatch.setenv(name, value)
    file = Path(os.environ["KOS_CONFIG"])
    servers = file.read_text(encoding="utf-8")
    for feeds, options, told in REFUSED:
        file.write_text(servers + feeds, encoding="utf-8")
        assert run(["feed", "serve", "--listen", "127.0.0.1:0", *options]) in (errors.WRONG_USE, errors.FAILED)
        assert told in " ".join(capsys.readouterr().err.split())
