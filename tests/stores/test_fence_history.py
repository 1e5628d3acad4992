"""Whatever clients do, and whenever they are frozen: no write of an old epoch is accepted.

The faults beside it are the control: planted one by one, each is found out by the same histories.
KOS_FENCE_SEED plays others.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress

import pytest
from fence_client import Client
from fence_history import FIRST, WATCH, WATCH_SCHEMA, Arena, History, OldEpochWritten, histories
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Flaky

from fix_database import as_superuser
from kos.tenancy import Store, create_tenant
from kos.topology.embedded import Stack
from kos.topology.model import Topology

pytestmark = pytest.mark.long

SEED = int(os.environ.get("KOS_FENCE_SEED", "4"))
HISTORIES = 600


@pytest.fixture(scope="module")
def arena(template: Stack, module_database: Topology) -> Iterator[Arena]:
    with Store(module_database) as store:
        tenants = {tier: create_tenant(store, f"of-{tier}", tier) for tier in ("row", "schema", "database")}
    schemas: dict[str, set[str]] = {}
    for tenant in tenants.values():
        schemas.setdefault(tenant.database, set()).add(tenant.schema)
    with ExitStack() as opened:
        operators, clients = {}, {}
        for name, here in schemas.items():
            operators[name] = superuser = opened.enter_context(as_superuser(template, name))
            superuser.execute(WATCH.encode())
            for schema in here:
                superuser.execute(WATCH_SCHEMA.format(schema=schema).encode())
            first = [statement.format(schema=schema) for statement in FIRST[:-1] for schema in here]
            parameters = superuser.info.get_parameters() | {"password": superuser.info.password}
            clients[name] = [Client(parameters, *first, FIRST[-1]) for _ in range(2)]
            for client in clients[name]:
                opened.callback(client.close)
        yield Arena(tenants, operators, clients)


def search(run: Callable[[History], None], examples: int, *phases: Phase) -> None:
    """Play that many histories, always the same ones for a seed."""

    @seed(SEED)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=phases,
        suppress_health_check=list(HealthCheck),
    )
    @given(histories)
    def play(history: History) -> None:
        run(history)

    play()


def test_no_write_of_an_old_epoch_is_ever_accepted(arena: Arena) -> None:
    search(arena.run, HISTORIES, Phase.generate, Phase.shrink)


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_no_write_of_an_old_epoch_is_ever_accepted_in_many_histories(arena: Arena) -> None:
    search(arena.run, 4 * HISTORIES, Phase.generate, Phase.shrink)


GUARD = """
do $$
declare
  target regclass;
begin
  for target in select tgrelid from pg_trigger where tgname = 'kos_guard' loop
    execute format('create or replace trigger kos_guard before {events} on %s
                      for each statement execute function kos.guard()', target);
    execute format('alter table %s {truncate} trigger kos_guard_truncate', target);
  end loop;
end $$;
"""
LOCK = "  locked := pg_advisory_xact_lock_shared(kos.fence_key(tenant));\n"
READ = "select * into here from kos.fence f where f.tenant_id = tenant"
JOINED = (
    "select f.* into here from kos.fence f, (select pg_advisory_xact_lock_shared(kos.fence_key(tenant)) offset 0) l "
    "where f.tenant_id = tenant"
)
# What each changes of a function: the text that stands there, and what is planted in its place.
FAULTS: dict[str, tuple[str, dict[str, str]]] = {
    "lock and check in one statement": ("pass_fence", {LOCK: "", READ: JOINED}),
    "check before lock": ("pass_fence", {LOCK: "", "  return here;": LOCK + "  return here;"}),
    "no lock": ("pass_fence", {LOCK: ""}),
    "no lock in the guard": (
        "guard",
        {
            "here := kos.pass_fence(kos.current_tenant_id(), epoch);": READ.replace(
                "= tenant", "= kos.current_tenant_id()"
            )
            + " and f.epoch = current_setting('kos.epoch')::bigint; if not found then perform kos.no_tenant(); end if;"
        },
    ),
    "no row lock under REPEATABLE READ": ("pass_fence", {" for share": ""}),
    "no check of the epoch": ("pass_fence", {"here.epoch <> coalesce": "here.epoch < coalesce"}),
    "an identity without an epoch": ("guard", {"if epoch is null": "if false"}),
    "a cutover that takes no lock": ("advance_epoch", {"perform pg_advisory_xact_lock(": "perform ("}),
    "a cutover that takes a shared lock": ("advance_epoch", {"xact_lock(": "xact_lock_shared("}),
}
HOLES = {
    "a guard for INSERT only": ("insert", "enable"),
    "a guard without INSERT": ("update or delete", "enable"),
    "a guard without UPDATE": ("insert or delete", "enable"),
    "a guard without DELETE": ("insert or update", "enable"),
    "a guard without TRUNCATE": ("insert or update or delete", "disable"),
}


ALONE = ("foreach tenant in array tenants loop", "foreach tenant in array array[]::uuid[] loop")


@pytest.fixture
def guard_alone(arena: Arena) -> Iterator[None]:
    """Without the fence of the capture triggers, which stops what a broken guard lets through."""
    whole = arena.definition("pass_fences")
    assert ALONE[0] in whole
    arena.everywhere(whole.replace(*ALONE))
    yield
    arena.everywhere(whole)


def found_out(arena: Arena) -> bool:
    """Whether one of the histories of the test above shows a violation."""
    found: list[History] = []

    def run(history: History) -> None:
        try:
            arena.run(history)
        except OldEpochWritten:
            found.append(history)
            raise

    with suppress(OldEpochWritten, Flaky):
        search(run, HISTORIES, Phase.generate)
    return bool(found)


@pytest.mark.long
@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.usefixtures("guard_alone")
def test_a_fault_of_a_function_is_found_out(arena: Arena, fault: str) -> None:
    name, changes = FAULTS[fault]
    whole = planted = arena.definition(name)
    for there, instead in changes.items():
        assert there in planted
        planted = planted.replace(there, instead)
    arena.everywhere(planted)
    try:
        assert found_out(arena)
    finally:
        arena.everywhere(whole)


@pytest.mark.long
@pytest.mark.parametrize("hole", HOLES)
@pytest.mark.usefixtures("guard_alone")
def test_a_hole_in_the_guard_is_found_out(arena: Arena, hole: str) -> None:
    events, truncate = HOLES[hole]
    arena.everywhere(GUARD.format(events=events, truncate=truncate))
    try:
        assert found_out(arena)
    finally:
        arena.everywhere(GUARD.format(events="insert or update or delete", truncate="enable"))
