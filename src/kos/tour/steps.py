"""The steps of the tour, and the table of them last."""

from __future__ import annotations

import os
import shutil
import time
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path

from kos.errors import TenantExists
from kos.knowledge import install
from kos.knowledge.samples import Loaded, load_sample
from kos.tenancy import TIERS, Tenant, Tier, create_tenant, rows_per_table, shipped_tenants
from kos.topology import health
from kos.topology.embedded import Started, postgres_tool
from kos.topology.embedded.state import FOR_PSQL, write_whole
from kos.tour.change import change_schema, clear
from kos.tour.isolation import REFUSALS, reach_for
from kos.tour.path import find_path
from kos.tour.shop import adopt_shop
from kos.tour.tour import Fact, Step, Tour, aligned
from kos.workload import Load, running

TENANTS: dict[str, Tier] = {"atlas": "row", "foundry": "schema", "vault": "database"}
SAMPLES = (("cities", "atlas"), ("packages", "foundry"), ("packages", "vault"))
BEFORE_SECONDS = 6.0  # of load before the crash, and after the recovery
AFTER_SECONDS = 4.0
RECOVERY_SECONDS = 60.0
WATCH_SECONDS = 0.1


def come_up(tour: Tour) -> Fact:
    started = tour.stack.up(progress=tour.progress)
    stores = health.check(tour.stack.topology())
    rows = []
    for store in stores:
        seconds = started.started.get(store.name)
        took = "ran already" if seconds is None else f"{seconds:.1f} s"
        what = f"{store.kind} {store.version}" if store.healthy else f"{store.kind}: {store.detail}"
        rows.append((store.name, what, store.address, took))
    healthy = sum(store.healthy for store in stores)
    return Fact(
        f"{healthy} of {len(stores)} stores answer through their own drivers, after {started.seconds:.1f} s",
        holds=healthy == len(stores),
        lines=aligned(rows, right=[3]),
        figures={"stores": stores, "started": started.started, "adopted": started.adopted},
    )


def settle_tenants(tour: Tour) -> Fact:
    began = time.monotonic()
    install(tour.stack.topology(), progress=tour.progress)
    tour.stack.set_role_passwords()
    worker = tour.stack.begin_worker()
    tenants = [_tenant(tour, name, tier) for name, tier in TENANTS.items()]
    clear(tour.store)
    worker.wait()
    seconds = time.monotonic() - began
    return Fact(
        f"{len(tenants)} tenants in {len({tenant.tier for tenant in tenants})} tiers, with the same tables, "
        f"ready in {seconds:.1f} s",
        holds={tenant.tier for tenant in tenants} == set(TIERS),
        lines=aligned([(each.name, each.tier, f"{each.database}.{each.schema}") for each in tenants]),
        figures={"tenants": tenants},
    )


def load_samples(tour: Tour) -> Fact:
    loads = [load_sample(tour.store, dataset, tenant, tour.progress) for dataset, tenant in SAMPLES]
    fresh = [loaded for loaded in loads if sum(loaded.rows.values())]
    new, seconds = sum(_new(loaded) for loaded in fresh), sum(loaded.seconds for loaded in fresh)
    there = sum(_there(loaded) for loaded in loads)
    speed = f"{new:,} new rows at {new / seconds:,.0f} rows/s; " if fresh else ""
    return Fact(
        f"{speed}{there:,} rows of real data are in their tenants",
        holds=all(_is_there(tour, loaded) for loaded in loads),
        lines=aligned([_loaded_row(loaded) for loaded in loads]),
        figures={"loaded": loads, "rows": there, "rows_per_second": new / seconds if fresh else None},
    )


def begin_load(tour: Tour) -> Fact:
    tour.load = load = tour.enter(running(tour.store))
    load.go_on(BEFORE_SECONDS, tour.watch)
    speed, run = load.meter.speed(), load.ledger.run
    return Fact(
        f"{speed.tps:,.0f} writing transactions/s by {run.clients} clients, p99 {speed.p99_ms:.0f} ms; it goes on",
        holds=load.meter.acknowledged > 0,
        figures={"tps": speed.tps, "p50_ms": speed.p50_ms, "p99_ms": speed.p99_ms, "clients": run.clients},
    )


def crash_postgres(tour: Tour) -> Fact:
    load = _load(tour)
    process = tour.stack.processes()["postgres"]
    tour.stack.kill_store("postgres")
    started = _start_again(tour, load)
    back = _writes_again(tour, load)
    load.go_on(AFTER_SECONDS, tour.watch)
    up, failed = started.started.get("postgres", 0.0), load.meter.failed
    silence = load.meter.speed().longest_stall_ms / 1000
    return Fact(
        f"PostgreSQL was back after {up:.1f} s; the longest time without an acknowledged write was {silence:.1f} s"
        if back
        else f"nothing was written in {RECOVERY_SECONDS:.0f} s after PostgreSQL was back",
        holds=back,
        lines=(f"SIGKILL to process {process.pid}; {failed:,} transactions failed, and their clients went on",),
        figures={"started_seconds": up, "longest_stall_seconds": silence, "failed": failed},
    )


def settle_ledger(tour: Tour) -> Fact:
    verdict = _load(tour).result().verdict
    return Fact(
        f"{verdict.acknowledged:,} acknowledged writes: lost {verdict.lost}, doubled {verdict.doubled}, "
        f"foreign {verdict.foreign}",
        holds=verdict.holds and verdict.acknowledged > 0,
        lines=(
            f"{verdict.attempted:,} attempted; {verdict.failed:,} failed, {verdict.ambiguous:,} of them in the commit",
            f"ledger {_short(verdict.ledger)}",
        ),
        figures={"verdict": verdict},
    )


def reach_across(tour: Tour) -> Fact:
    owner = tour.store.find("atlas")
    answers = reach_for(tour.store, owner, neighbour=_load(tour).ledger.run.tenants[0], elsewhere="foundry")
    lines = aligned([(answer.who, answer.statement, answer) for answer in answers])
    codes = dict.fromkeys(answer.sqlstate for answer in answers if answer.sqlstate)
    meanings = " · ".join(f"{code} {REFUSALS.get(code, 'something else')}" for code in codes)
    outside = [answer for answer in answers if answer.who != owner.name]
    wrong = sum(not answer.expected for answer in answers)
    return Fact(
        f"{len(outside)} attempts from outside atlas: no row was read, changed or planted"
        if not wrong
        else f"{wrong} of {len(answers)} statements came back otherwise than they must",
        holds=not wrong,
        lines=(*lines, meanings),
        figures={"attempts": answers},
    )


def look_around(tour: Tour) -> Fact:
    kos, server = tour.program, tour.stack.topology().control.primary
    passwords = _write_passwords(tour)
    psql = f"PGPASSFILE={passwords} psql -h {server.host} -p {server.port} -U kos_app {server.database}"
    tools = [] if shutil.which("psql") else [f"PATH=$PATH:{_short(postgres_tool('psql').parent)}"]
    rows = {tenant.name: sum(rows_per_table(tour.store, tenant).values()) for tenant in _active(tour)}
    lines = (
        f"{kos} status · tenant list · tenant show atlas · doctor",
        f"{kos} log status · adopt status · feed tail --tenant 42 · operation list",
        f"{kos} workload run · workload verify · tour",
        *tools,
        psql,
        "begin; select kos.enter('atlas'); table atoms limit 5;",
        f"stop: {kos} down      (--purge deletes the data too)",
    )
    return Fact(
        f"the stack stays up, with {sum(rows.values()):,} rows of {len(rows)} tenants",
        holds=bool(rows),
        lines=lines,
        figures={"rows": rows},
    )


def _tenant(tour: Tour, name: str, tier: Tier) -> Tenant:
    try:
        return create_tenant(tour.store, name, tier)
    except TenantExists:  # an earlier tour made it
        return tour.store.find(name)


def _active(tour: Tour) -> list[Tenant]:
    return shipped_tenants(tour.store)


def _load(tour: Tour) -> Load:
    assert tour.load is not None, "a step before this one begins the load"
    return tour.load


def _new(loaded: Loaded) -> int:
    return sum(loaded.rows.values())


def _there(loaded: Loaded) -> int:
    return _new(loaded) + sum(loaded.rows_already_there.values())


def _is_there(tour: Tour, loaded: Loaded) -> bool:
    """Whether the tenant's tables hold at least what the dataset has; users may have added to it."""
    found = rows_per_table(tour.store, tour.store.find(loaded.tenant))
    return all(found[table] >= new + loaded.rows_already_there[table] for table, new in loaded.rows.items())


def _loaded_row(loaded: Loaded) -> tuple[str, str, str]:
    new = _new(loaded)
    what = f"{new:,} rows in {loaded.seconds:.1f} s" if new else f"{_there(loaded):,} rows were there already"
    objects = loaded.objects + loaded.objects_already_there
    return loaded.tenant, loaded.dataset, what + (f", {objects:,} objects" if objects else "")


def _start_again(tour: Tour, load: Load) -> Started:
    """Start PostgreSQL again; the load is watched meanwhile."""
    with ThreadPoolExecutor(1) as thread:
        starting = thread.submit(tour.stack.start_store, "postgres")
        while wait([starting], timeout=WATCH_SECONDS).not_done:
            if tour.watch is not None:
                tour.watch(load.meter.reading())
        return starting.result()


def _writes_again(tour: Tour, load: Load) -> bool:
    """Wait until a write is acknowledged; false if none is in good time."""
    acknowledged, deadline = load.meter.acknowledged, time.monotonic() + RECOVERY_SECONDS
    while load.meter.acknowledged == acknowledged and time.monotonic() < deadline and load.is_running:
        load.go_on(WATCH_SECONDS, tour.watch)
    return load.meter.acknowledged > acknowledged


def _write_passwords(tour: Tour) -> str:
    """A password file for psql, beside the stack's other secrets; its path as the user would type it."""
    control = tour.stack.topology().control
    lines = []
    for login in (control.app, control.operator):
        password = login.password.read() if login.password else ""
        lines.append(f"{control.primary.host}:{control.primary.port}:*:{login.user}:{password}\n")
    path = tour.stack.folder / ".kos" / FOR_PSQL
    write_whole(path, "".join(lines))
    return _short(path)


def _short(path: Path) -> str:
    """A path as the user would type it."""
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


STEPS = (
    Step("The stack comes up", come_up),
    Step("Tenants in three tiers", settle_tenants),
    Step("Real data is loaded", load_samples),
    Step("A live load runs", begin_load),
    Step("A table of another product is taken in under its load", adopt_shop),
    Step("A schema changes while old and new code use it", change_schema),
    Step("A path through the graph, right after a write", find_path),
    Step("PostgreSQL is killed under it", crash_postgres),
    Step("The ledger is held against the databases", settle_ledger),
    Step("One tenant can't see another's rows", reach_across),
    Step("Where to look next", look_around),
)
