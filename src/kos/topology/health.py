"""Whether every store answers, asked through its own driver, all at once, within a few seconds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from queue import Empty, SimpleQueue
from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

from kos.errors import KosError, StoreUnavailable
from kos.sql import load
from kos.topology import cache, graph, objects, postgres
from kos.topology.answer import Answer
from kos.topology.model import Login, PostgresServer, Shard, Topology

DEADLINE_SECONDS = 6.0
DRIVER_SECONDS = 3

_DRIVERS = {"graph": "neo4j", "cache": "redis", "objects": "boto3"}

_queries = load("kos.topology")


@dataclass(frozen=True)
class StoreHealth:
    """How one store is. `version` is empty where it did not answer; `detail` is why, or what else is to say."""

    name: str
    kind: str
    version: str
    address: str
    healthy: bool
    detail: str


@dataclass(frozen=True)
class _Question:
    name: str
    kind: str
    address: str
    ask: Callable[[], Answer]


def check(topology: Topology, *, seconds: float = DEADLINE_SECONDS) -> list[StoreHealth]:
    """The health of every store of `topology`, in its order. Never raises; takes `seconds` at most.

    Not counted is what loading a driver for the first time takes: a busy machine must not look like a dead store.
    """
    for store, driver in _DRIVERS.items():
        if getattr(topology, store):
            import_module(driver)
    questions = list(_questions(topology))
    answers: SimpleQueue[tuple[int, StoreHealth]] = SimpleQueue()
    for number, question in enumerate(questions):
        # Daemons: a name server that hangs inside the C library can't be interrupted, only left behind.
        threading.Thread(
            target=lambda number, question: answers.put((number, _ask(question))),
            args=(number, question),
            name=f"health of {question.name}",
            daemon=True,
        ).start()
    found: dict[int, StoreHealth] = {}
    deadline = time.monotonic() + seconds
    while len(found) < len(questions):
        try:
            number, health = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except Empty:
            break
        found[number] = health
    silence = f"it did not answer within {seconds:g} s"
    return [found.get(number) or _unhealthy(each, silence) for number, each in enumerate(questions)]


def shard_store(shard: Shard) -> str:
    """The name of a shard's primary among the stores: `postgres`, then `postgres-2`, …"""
    return "postgres" if shard.number == 1 else f"postgres-{shard.number}"


def _questions(topology: Topology) -> Iterator[_Question]:
    for shard in topology.shards:
        name = shard_store(shard)
        primary = shard.primary
        yield _Question(name, "postgresql", primary.address, partial(_probe, primary, shard, replica=False))
        for server in shard.replicas:
            ask = partial(_probe, server, shard, replica=True)
            yield _Question(f"{name}:{server.name}", "postgresql", server.address, ask)
    if topology.graph:
        ask = partial(graph.probe, topology.graph, DRIVER_SECONDS)
        yield _Question("graph", "bolt graph", topology.graph.uri, ask)
    if topology.cache:
        ask = partial(cache.probe, topology.cache, DRIVER_SECONDS)
        yield _Question("cache", "redis", topology.cache.address, ask)
    if topology.objects:
        ask = partial(objects.probe, topology.objects, DRIVER_SECONDS)
        yield _Question("objects", "s3", topology.objects.address, ask)


def _ask(question: _Question) -> StoreHealth:
    try:
        answer = question.ask()
    except StoreUnavailable as error:
        return _unhealthy(question, error.reason)
    except Exception as error:  # noqa: BLE001 - a status that fails tells nobody anything: it is said in the status
        return _unhealthy(question, str(error) if isinstance(error, KosError) else repr(error))
    return StoreHealth(question.name, answer.kind, answer.version, question.address, True, answer.detail)


def _unhealthy(question: _Question, detail: str) -> StoreHealth:
    return StoreHealth(question.name, question.kind, "", question.address, False, detail)


def _probe(server: PostgresServer, shard: Shard, *, replica: bool) -> Answer:
    """Ask as the application does: what it can't reach isn't healthy. Before `kos upgrade` its role isn't there
    yet, which is no fault of the server: then another login asks."""
    try:
        return _facts(server, shard.app, replica=replica)
    except StoreUnavailable as refused:
        for login in (shard.operator, shard.installer):
            if login and _knows_role(server, login, shard.app.user) is False:
                answer = _facts(server, login, replica=replica)
                return Answer(answer.kind, answer.version, f"no role {shard.app.user} yet: kos upgrade")
        raise refused


def _facts(server: PostgresServer, login: Login, *, replica: bool) -> Answer:
    with postgres.connect(server, login, connect_seconds=DRIVER_SECONDS) as connection:
        facts = _ask_postgres(server, connection, "server_facts")
    if facts.in_recovery and not replica:
        raise StoreUnavailable("PostgreSQL", server.address, "it is a replica, and takes no writes")
    if replica and not facts.in_recovery:
        raise StoreUnavailable("PostgreSQL", server.address, "it is no replica: it takes writes of its own")
    detail = f"{facts.age or 0:.0f} s behind" if replica else ""
    return Answer("postgresql", facts.version.split()[0], detail)


def _knows_role(server: PostgresServer, login: Login, role: str) -> bool | None:
    """Whether the server has a role; None where this login can't ask."""
    try:
        connection = postgres.connect(server, login, connect_seconds=DRIVER_SECONDS)
    except KosError:
        return None  # why the application's own login failed is the reason that is told
    with connection:
        return bool(_ask_postgres(server, connection, "role_exists", role=role).found)


def _ask_postgres(server: PostgresServer, connection: psycopg.Connection[Any], query: str, **given: Any) -> Any:
    try:
        with connection.transaction(), connection.cursor(row_factory=namedtuple_row) as cursor:
            cursor.execute(_queries.limit_statements, {"milliseconds": DRIVER_SECONDS * 1000})
            return cursor.execute(getattr(_queries, query), given).fetchone()
    except psycopg.Error as error:
        raise postgres.unavailable(server, error) from error
