"""Whatever writers and sealers do at once: the log is gapless, whole and in order, and equals the tables at every cut.

The faults beside it are the control: planted one by one, each is found out by the same histories.
KOS_LOG_SEED plays others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky
from log_history import SCHEMA, SEALERS, WRITERS, Arena, Client, Step, WrongLog, histories

from fix_database import as_superuser
from kos.tenancy import Store
from kos.tenancy.placement import control_place
from kos.topology.embedded import Stack
from kos.topology.model import Topology

SEED = int(os.environ.get("KOS_LOG_SEED", "6"))
HISTORIES = 150
ISOLATIONS = ("read committed", "read committed", "repeatable read")


@pytest.fixture(scope="module")
def arena(template: Stack, module_database: Topology) -> Iterator[Arena]:
    name = module_database.control.primary.database
    with ExitStack() as opened:
        watch = opened.enter_context(as_superuser(template, name))
        watch.execute(SCHEMA.encode())
        clients = []
        for number in range(WRITERS + SEALERS):
            client = Client(as_superuser(template, name), ISOLATIONS[number] if number < WRITERS else ISOLATIONS[0])
            client.connection.execute("set deadlock_timeout = '20ms'")
            opened.callback(client.close)
            clients.append(client)
        store = opened.enter_context(Store(module_database))
        yield Arena(store, control_place(store.topology), watch, clients[:WRITERS], clients[WRITERS:])


def search(run: Callable[[list[Step]], None], examples: int, *phases: Phase) -> None:
    """Play that many histories, always the same ones for a seed."""

    @seed(SEED)
    @settings(
        max_examples=examples, deadline=None, database=None, phases=phases, suppress_health_check=list(HealthCheck)
    )
    @given(histories)
    def play(history: list[Step]) -> None:
        run(history)

    play()


def test_the_log_is_whole_and_in_order(arena: Arena) -> None:
    search(arena.run, HISTORIES // 8, Phase.generate, Phase.shrink)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_the_log_is_whole_and_in_order_in_many_histories(arena: Arena) -> None:
    search(arena.run, 4 * HISTORIES, Phase.generate, Phase.shrink)


LOCK = "perform pg_advisory_xact_lock(kos.log_key(tenant));"
LATE_LOCK = "noted text := pg_advisory_xact_lock(kos.log_key(tenant));"
NEWEST = "newest kos.seals := kos.newest_seal(tenant);"
RUNNING = "select pg_snapshot_xip(newest.snapshot) except"
# What each changes of a function: the text that stands there, and what is planted in its place.
FAULTS: dict[str, tuple[str, dict[str, str]]] = {
    "order by id only": ("seal_locked", {"order by f.last_id, f.id": "order by f.id"}),
    "order by transaction": ("seal_locked", {"order by f.last_id, f.id": "order by f.transaction, f.id"}),
    "no lock": ("seal", {LOCK: ""}),
    "the newest seal is read before the lock": ("seal_locked", {NEWEST: f"{NEWEST} {LATE_LOCK}"}),
    "running transactions are forgotten": ("unsealed_rows", {RUNNING: "select null::xid8 where false except"}),
    "one transaction too few": (
        "ended_since",
        {"over (order by r.edge) + 1)": "over (order by r.edge) + 2)"},
    ),
    "the time of who seals": (
        "seal_locked",
        {"coalesce(pg_xact_commit_timestamp(f.transaction::xid), clock_timestamp())": "clock_timestamp()"},
    ),
    "the time of its own commit": (
        "seal_locked",
        {"over (order by f.last_id, f.id)) as committed_at": "over (partition by f.id)) as committed_at"},
    ),
    "a leaf without a key": (
        "seal_locked",
        {"operation, key, image, before, context, salt),": "operation, null, image, before, context, salt),"},
    ),
    "the leaf of another place": ("seal_locked", {"kos.leaf(tenant, position,": "kos.leaf(tenant, position + 1,"}),
    "the snapshot is taken before the lock": (
        "seal_locked",
        {
            NEWEST: f"taken pg_snapshot := pg_current_snapshot(); {LATE_LOCK} {NEWEST}",
            "kos.seen_by_seal()": "taken",
        },
    ),
}


def found_out(arena: Arena) -> bool:
    """Whether one of the histories of the test above shows that the log is wrong."""
    found: list[list[Step]] = []

    def run(history: list[Step]) -> None:
        try:
            arena.run(history)
        except WrongLog:
            found.append(history)
            raise

    with suppress(WrongLog, Flaky):
        search(run, HISTORIES, Phase.generate)
    return bool(found)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_function_is_found_out(arena: Arena, fault: str) -> None:
    name, changes = FAULTS[fault]
    locks = arena.watch.execute("select pg_get_functiondef('kos.seal'::regproc)").fetchone()
    assert locks is not None
    assert LOCK in locks[0]
    row = arena.watch.execute("select pg_get_functiondef(('kos.' || %s)::regproc)", (name,)).fetchone()
    assert row is not None
    whole = row[0]
    planted = whole
    for there in changes:
        assert there in whole
    for number, there in enumerate(changes):
        planted = planted.replace(there, f"<{number}>")
    for number, instead in enumerate(changes.values()):
        planted = planted.replace(f"<{number}>", instead)
    arena.watch.execute(planted.encode())
    if LATE_LOCK in planted:
        arena.watch.execute(locks[0].replace(LOCK, "").encode())
    try:
        assert found_out(arena)
    finally:
        arena.watch.execute(whole.encode())
        arena.watch.execute(locks[0].encode())
