"""`kos feed serve`, as consumers on other machines have it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
from psycopg.sql import SQL, Identifier
from test_feed_consumer import put

from feed_serving import FEEDS, OTHER, SEARCH, Serving, serving
from fix_exports import until
from kos.log import Cursor, position_of, seal_all
from kos.tenancy import Store, Tenant, create_tenant

EVENTS = "search/tenants/acme/events"


@pytest.fixture
def server(store: Store, tenant: Tenant, tmp_path: Path) -> Iterator[Serving]:
    with serving(store.topology, tmp_path, "--heartbeat", "0.2") as running:
        yield running


def test_a_consumer_takes_events_and_says_what_it_has_stored(store: Store, tenant: Tenant, server: Serving) -> None:
    put(store, "a", "b")
    put(store, "c")
    (waits,) = json.loads(server.ask("search/tenants")[1])["tenants"]
    assert (waits["name"], waits["position"], waits["behind"]) == ("acme", 0, 3)
    found = server.events()
    assert [(event["data"]["name"], event["ends_transaction"]) for event in found] == [
        ("a", False), ("b", True), ("c", True),
    ]  # fmt: skip
    assert server.events() == found
    done = "search/tenants/acme/done"

    def say(**query: object) -> int:
        return server.ask(done, method="POST", **query)[0]

    assert say(at=0, position=1, leaf=found[0]["leaf"]) == 422
    assert say(at=0, position=2, leaf=found[0]["leaf"]) == 410
    assert say(at=0, position=2, leaf=found[1]["leaf"]) == 204
    assert say(at=0, position=2, leaf=found[1]["leaf"]) == 409
    for wrong in ({"at": -1}, {"at": "x"}, {"leaf": "xyz"}, {"leaf": ""}):
        assert say(**{"at": 0, "position": 3, "leaf": "00", **wrong}) == 422, wrong
    assert say(at=2, position=3) == 422, "without the leaf nobody knows whether the log was restored"
    assert server.events() == found[2:]
    assert server.events(after=0) == found
    assert server.events(after=f"1:{found[0]['leaf']}") == found[1:]
    assert server.ask(EVENTS, after=f"1:{found[1]['leaf']}")[0] == 410
    assert server.ask("search/tenants/acme/cursor", method="PUT", position=3, leaf=found[2]["leaf"])[0] == 204
    assert server.events() == []
    assert json.loads(server.ask("search/tenants")[1]) == {"tenants": [], "unreachable": []}
    with store.operator() as operator:
        assert position_of(operator, "search", tenant.id) == Cursor(3, bytes.fromhex(found[2]["leaf"]))
        assert position_of(operator, "other", tenant.id) == Cursor()


def test_a_token_is_good_for_its_feed_and_its_tenants(store: Store, server: Serving) -> None:
    beta = create_tenant(store, "beta")
    for name in ("acme", "beta"):
        put(store, name, tenant=name)
    for token in (None, "", OTHER, SEARCH[:-1], SEARCH + "x"):
        for path, method in (("", "GET"), ("/acme/events", "GET"), ("/acme/done", "POST"), ("/acme/cursor", "PUT")):
            assert server.ask(f"search/tenants{path}", token, method, at=0, position=0)[0] == 401, (token, path)
    assert server.ask("nothing/tenants")[0] == 401
    for name in ("beta", str(beta.id), "nobody", "00000000-0000-0000-0000-000000000000"):
        assert server.ask(f"search/tenants/{name}/events")[0] == 404
        assert server.ask(f"search/tenants/{name}/cursor", method="PUT", position=0)[0] == 404
        assert server.ask(f"search/tenants/{name}/done", method="POST", at=0, position=0)[0] == 404
    assert [each["name"] for each in json.loads(server.ask("search/tenants")[1])["tenants"]] == ["acme"]
    assert {each["name"] for each in json.loads(server.ask("other/tenants", OTHER)[1])["tenants"]} == {"acme", "beta"}
    assert len(server.events(f"other/tenants/{beta.id}/events", OTHER)) == 1
    assert server.end() == 0
    told = server.errors.read_text()
    assert SEARCH not in told
    assert OTHER not in told


def test_tenants_of_adopted_tables_are_listed_by_their_values(
    store: Store, superuser: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    superuser.execute(
        "create table public.orders (account_id bigint, id bigint, primary key (account_id, id));"
        "alter table public.orders owner to kos_owner; set role kos_owner;"
        "select kos.log_table('public.orders'::regclass, 'account_id'); reset role;"
        "insert into public.orders values (42, 1), (43, 1)"
    )
    with store.operator() as operator:
        seal_all(operator)
    with serving(store.topology, tmp_path, feeds=FEEDS.replace('["acme"]', '["42"]')) as server:
        (waits,) = json.loads(server.ask("search/tenants")[1])["tenants"]
        assert (waits["name"], waits["behind"]) == ("42", 1)
        assert len(server.events("search/tenants/42/events")) == 1


@pytest.mark.long
def test_a_database_that_cannot_tell_hides_no_other(
    store: Store, superuser: psycopg.Connection[tuple[object, ...]], tmp_path: Path
) -> None:
    create_tenant(store, "acme")
    gone = create_tenant(store, "hooli", "database")
    put(store, "a")
    store.close()
    superuser.execute(SQL("alter database {} with allow_connections false").format(Identifier(gone.database)))
    with serving(store.topology, tmp_path) as server:
        answer = json.loads(server.ask("search/tenants")[1])
    assert [each["name"] for each in answer["tenants"]] == ["acme"]
    assert answer["unreachable"] == [f"{gone.shard}/{gone.database}"]


def test_a_follower_hears_what_comes_and_that_nothing_comes(store: Store, server: Serving) -> None:
    put(store, "a")
    with opened(server, f"/feeds/{EVENTS}?follow=true") as client, client.makefile("rb") as lines:
        assert next_event(lines)["data"]["name"] == "a"
        seen = [json.loads(next(line for line in lines if line.startswith(b"{"))) for _ in range(2)]
        assert seen == [{"type": "heartbeat", "position": 1}] * 2
        put(store, "b")
        assert next_event(lines)["data"]["name"] == "b"
        assert server.end() == 0
    assert server.errors.read_text() == ""  # it has ended the stream by itself


def opened(server: Serving, target: str) -> socket.socket:
    """A client of whom only we read."""
    parts = urlsplit(server.address)
    client = socket.create_connection((str(parts.hostname), parts.port or 0), timeout=60)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 14)
    client.sendall(f"GET {target} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {SEARCH}\r\n\r\n".encode())
    return client


def next_event(lines: Iterator[bytes]) -> dict[str, dict[str, str]]:
    """The next line that is an event."""
    for line in lines:
        if line.startswith(b'{"position"'):
            found: dict[str, dict[str, str]] = json.loads(line)
            return found
    raise AssertionError("the stream has ended")


@pytest.mark.long
@pytest.mark.parametrize("rows", [30_000, 250_000])
def test_a_client_that_does_not_read_costs_neither_memory_nor_a_transaction(
    store: Store, server: Serving, superuser: psycopg.Connection[tuple[object, ...]], tenant: Tenant, rows: int
) -> None:
    put(store, "warm")
    assert len(server.events()) == 1
    before = psutil.Process(server.process.pid).memory_info().rss
    with store.tenant("acme") as acme:
        acme.execute(
            "insert into atoms (atom_type, name, value) select 'T', g::text, repeat('x', 200)"
            " from generate_series(1, %s) g", (rows,),
        )  # fmt: skip
    with store.operator() as operator:
        seal_all(operator)
    ours = "select count(*) from pg_stat_activity where datname = current_database() and usename = 'kos_operator'"
    with opened(server, f"/feeds/{EVENTS}") as client:
        client.recv(1)
        used = psutil.Process(server.process.pid)
        until(lambda: stands_still(used))
        assert superuser.execute(f"{ours} and state = 'idle'".encode()).fetchone() == (1,)
        assert superuser.execute(f"{ours} and xact_start is not null".encode()).fetchone() == (0,)
        assert used.memory_info().rss - before < 32 << 20
        store.find("acme", again=True)  # it still answers others
        assert server.ask("search/tenants")[0] == 200
        with client.makefile("rb") as lines:
            found = islice((line for line in lines if line.startswith(b'{"position"')), 200_000)
            positions = [json.loads(line)["position"] for line in found]
            peak = used.memory_info().rss
    assert positions == list(range(1, min(rows + 1, 200_000) + 1))
    assert peak - before < 64 << 20


def stands_still(process: psutil.Process) -> bool:
    """It has used no processor for a moment."""
    before = process.cpu_times()
    try:
        process.wait(0.3)
    except psutil.TimeoutExpired:
        return process.cpu_times() == before
    raise AssertionError("the server has ended")
