"""`kos workload run | verify`."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from kos import console, errors, topology
from kos import workload as load
from kos.console import DryRun, Json, emit, say, table
from kos.tenancy import Store
from kos.topology.embedded import require_embedded
from kos.workload.display import shown


def workload_run(
    tenants: Annotated[int, typer.Option(min=1, max=50, help="Tenants of the load's own.")] = load.DEFAULT.tenants,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long it runs.")] = load.SECONDS,
    clients: Annotated[int, typer.Option(min=1, max=64, help="Clients at work at once.")] = load.DEFAULT.clients,
    seed: Annotated[int | None, typer.Option(help="What the clients' choices follow from; else a new one.")] = None,
    ledger: Annotated[Path | None, typer.Option(help="Where to write the ledger; else under .kos/workload.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Run a live load, then account for every acknowledged write. Ctrl-C ends it early."""
    found = topology.find()
    shape = load.Shape(tenants, clients, seed)
    if dry_run:
        with Store(found) as store:
            plan = load.plan(store, ledger, shape, seconds=seconds)
        emit(plan, as_json=json, human=lambda: _show_plan(plan))
        return
    with (
        Store(found, pool_size=clients) as store,
        shown(console.err, of_seconds=seconds, quiet=json) as watch,
    ):
        result = load.run(store, ledger, shape, seconds=seconds, watch=watch)

    def human() -> None:
        speed = result.speed
        lines = [
            ("load", f"{result.clients} clients on {len(result.tenants)} tenants for {speed.seconds:.1f} s"),
            ("speed", f"{speed.tps:,.0f} writing transactions/s; p50 {speed.p50_ms:.1f} ms, p99 {speed.p99_ms:.1f} ms"),
            ("longest stall", f"{speed.longest_stall_ms / 1000:.2f} s without any acknowledgement"),
            ("reads", f"{result.reads:,}"),
        ]
        _print(result.verdict, lines)

    described = asdict(result)
    value = {**described.pop("verdict"), **described.pop("speed"), **described}
    emit(value, as_json=json, human=human)
    _refuse_mismatch(result.verdict)


def workload_verify(
    ledger: Annotated[Path | None, typer.Argument(help="A run's ledger; else the newest of this stack.")] = None,
    json: Json = False,
) -> None:
    """Hold a ledger against the databases, also that of a run that was killed."""
    found = topology.find()
    require_embedded(found, "workload verify")
    path = ledger or load.newest(load.folder_of(found.folder or Path.cwd()))
    with Store(found) as store:
        verdict = load.verify(store, path)
    emit(verdict, as_json=json, human=lambda: _print(verdict, []))
    _refuse_mismatch(verdict)


def _show_plan(plan: load.Plan) -> None:
    rows = [(each.name, each.tier, "is there" if each.exists else "would be made") for each in plan.tenants]
    table(("tenant", "tier", ""), rows)
    say(f"would run {plan.clients} clients on them for {plan.seconds:g} s; ledger in {plan.ledger}")


def _print(verdict: load.Verdict, lines: list[tuple[str, str]]) -> None:
    accounted = f"{verdict.acknowledged:,} of {verdict.attempted:,} attempted"
    if verdict.failed:
        accounted += f"; {verdict.failed:,} failed, {verdict.ambiguous:,} of these ambiguous"
    counts = [("lost", verdict.lost), ("doubled", verdict.doubled), ("foreign", verdict.foreign)]
    numbers = [(name, f"{count:,}") for name, count in counts]
    for name, value in [*lines, ("acknowledged", accounted), *numbers, ("ledger", str(verdict.ledger))]:
        say(f"{name:<14}  {value}")
    for each in verdict.findings:
        say(f"  {each.kind} in {each.tenant}: {each.subject}: {each.detail}")


def _refuse_mismatch(verdict: load.Verdict) -> None:
    if not verdict.holds:
        raise errors.WorkloadMismatch(verdict.lost, verdict.doubled, verdict.foreign, verdict.ledger)


COMMANDS = {"workload run": workload_run, "workload verify": workload_verify}
