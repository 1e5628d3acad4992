"""Commands without a noun: the embedded stack, the state of all stores, and the schema's version."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from kos import console, errors, topology
from kos.console import DryRun, Json, emit, say, table
from kos.projections import ProjectionStatus, declared
from kos.projections import status as projections_status
from kos.projections.commands import show_status
from kos.tenancy import Failure, Store, install
from kos.tenancy.checks import CHECKS, tenant_databases
from kos.topology import config, health
from kos.topology import doctor as examination
from kos.topology.embedded import WORKER, Planned, Stack, StartPlan, WorkerHealth, require_embedded
from kos.topology.model import Topology
from kos.translate import translated


def up(
    shards: Annotated[int, typer.Option(min=1, max=8, help="PostgreSQL servers to start.")] = 1,
    port: Annotated[int | None, typer.Option(min=1024, max=65000, help="First port; else free ones.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Start the embedded stack of this folder (`.kos/`), or find it running."""
    _refuse_external("up")
    stack = _stack_here()
    if dry_run:
        planned = _plan_up(stack, shards, port)
        value = {"folder": stack.folder, "adopted": planned.adopted, "changes": planned.changes}
        emit(value, as_json=json, human=lambda: _show_plan(stack, planned))
        return
    with console.progress(quiet=json) as progress:
        started = stack.up(shards=shards, port=port, progress=progress)
        failures = prepare(stack)
        worker = stack.begin_worker()
        stores = health.check(stack.topology())  # while the worker comes up
        worker.wait()

    def human() -> None:
        table(
            ("store", "kind", "version", "address", "healthy", "seconds"),
            [(*_health_of(store), _seconds(started.started.get(store.name))) for store in stores],
            numbers=("seconds",),
        )
        say(f"worker: {'started' if worker.started else 'ran already'}, http://127.0.0.1:{worker.port}/healthz")
        say("look around: kos status · kos tour        stop: kos down")

    value = {
        "healthy": all(store.healthy for store in stores),
        "started": started.started,
        "adopted": started.adopted,
        "seconds": started.seconds,
        "stores": [_as_row(store) for store in stores],
        "workers": _workers(stack),
        "failed": _as_objects(failures),
    }
    emit(value, as_json=json, human=human)
    console.fail_for(_broken(failures), as_json=json)
    if not all(store.healthy for store in stores):
        raise typer.Exit(errors.FAILED)


def _plan_up(stack: Stack, shards: int, port: int | None) -> StartPlan:
    """What `up` would do to the servers, and to the databases of those that run."""
    planned = stack.plan(shards=shards, port=port)
    started = {change.store for change in planned.changes if change.store.startswith("postgres")}
    if started:
        planned.changes += [
            Planned(store, "install or upgrade its schema, if it is behind") for store in sorted(started)
        ]
        planned.changes += _plan_worker(stack)
        return planned
    for change in install(stack.topology(), dry_run=True, failures=[]):
        schema = f" in schema {change.schema}" if change.schema else ""
        planned.changes.append(Planned("postgres", f"{change.what}{schema} of {change.database}"))
    planned.changes += _plan_worker(stack)
    return planned


def _plan_worker(stack: Stack) -> list[Planned]:
    return [] if WORKER in stack.running() else [Planned(WORKER, "start it")]


def _show_plan(stack: Stack, planned: StartPlan) -> None:
    if planned.changes:
        table(("store", "to do"), [(change.store, change.what) for change in planned.changes])
    say(f"in {stack.folder}: {', '.join(planned.adopted) or 'nothing'} would be found running")


def prepare(stack: Stack) -> list[Failure]:
    """Give the databases of a stack that is up their schema, and its roles their passwords; returns what failed."""
    failures: list[Failure] = []
    install(stack.topology(), failures=failures)
    stack.set_role_passwords()
    return failures


def down(
    purge: Annotated[bool, typer.Option("--purge", help="Delete the stack's data as well.")] = False,
    yes: console.Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Stop the embedded stack of this folder; no process is left."""
    _refuse_external("down")
    stack = Stack.find(Path.cwd()) or _stack_here()
    if dry_run:
        running = sorted(stack.running())
        emit(
            {"folder": stack.folder, "would_stop": running, "would_purge": purge},
            as_json=json,
            human=lambda: say(f"would stop: {', '.join(running) or 'nothing'}{', and delete .kos' if purge else ''}"),
        )
        return
    if purge and not yes and (stack.folder / ".kos").exists():
        console.confirm(f"delete {stack.folder / '.kos'} with all its data?")
    stopped = stack.down(purge=purge)

    def human() -> None:
        for item in stopped:
            say(f"stopped {item.store} (process {item.pid}) in {item.seconds:.1f} s")
        if not stopped:
            say("nothing was running")

    emit({"stopped": stopped, "purged": purge}, as_json=json, human=human)


def status(json: Json = False) -> None:
    """Every store: kind, version, address, and whether it answers; the stack's worker; how far projections are."""
    here = topology.find()
    stores = health.check(here)
    healthy = all(store.healthy for store in stores)
    workers = _workers(Stack(here.folder)) if here.stack and here.folder else []
    followed, unknown = _projections(here, stores)

    def human() -> None:
        rows = [_health_of(store) for store in stores]
        rows += [
            (each.name, "kos worker", "", each.address, "yes" if each.healthy else f"no: {each.detail}")
            for each in workers
        ]
        table(("store", "kind", "version", "address", "healthy"), rows)
        if followed:
            say("")
            show_status(followed)
        if unknown:
            say(f"how far projections are is not known: {unknown}")

    value = {
        "healthy": healthy,
        "stores": [_as_row(store) for store in stores],
        "workers": workers,
        "projections": followed,
        "projections_unknown": unknown,
    }
    emit(value, as_json=json, human=human)
    if not healthy:
        raise typer.Exit(errors.FAILED)


def doctor(json: Json = False) -> None:
    """What is wrong and how to mend it, and what this server allows kos to do."""
    here = topology.find()
    report = examination.examine(here, extra=CHECKS)
    report = replace(report, findings=(*report.findings, *tenant_databases(here)))
    problems = [item for item in report.findings if item.severity != "ok"]

    def human() -> None:
        say(f"{len(report.findings)} checks, {len(problems)} with something to say")
        if problems:
            say("")
            table(
                ("", "check", "subject", "found", "mend"),
                [(item.severity, item.check, item.subject, item.found, item.mend) for item in problems],
            )
        say("")
        table(
            ("this server allows", "on", "", "why"),
            [(item.name, item.subject, "yes" if item.allowed else "no", item.reason) for item in report.capabilities],
        )

    value = {"healthy": report.healthy, "findings": report.findings, "capabilities": report.capabilities}
    emit(value, as_json=json, human=human)
    if not report.healthy:
        raise typer.Exit(errors.REFUSED)


def upgrade(dry_run: DryRun = False, json: Json = False) -> None:
    """Bring the databases to this library's version: roles, schema kos, and every tenant's schema."""
    with console.progress(quiet=json) as progress:
        failures: list[Failure] = []
        changes = install(topology.find(), dry_run=dry_run, progress=progress, failures=failures)

    def human() -> None:
        rows = [(change.shard, change.database, change.schema, change.what) for change in changes]
        if rows:
            table(("shard", "database", "schema", "to do" if dry_run else "done"), rows)
        elif not failures:
            say("everything is at this library's version")

    value = {"dry_run": dry_run, "changes": changes, "failed": _as_objects(failures)}
    emit(value, as_json=json, human=human)
    console.fail_for(_broken(failures), as_json=json)


def _projections(here: Topology, stores: list[health.StoreHealth]) -> tuple[list[ProjectionStatus], str | None]:
    """How far each is, or why that can't be asked: what is wrong with it must not hide the rest."""
    silent = [store.name for store in stores if store.kind == "postgresql" and not store.healthy]
    if silent or not declared(here):
        return [], f"{silent[0]} does not answer" if silent else None
    try:
        with Store(here) as store:
            return projections_status(store), None
    except Exception as raised:
        error = translated(raised)
        if error is None:
            raise
        return [], str(error)


def _as_objects(failures: list[Failure]) -> list[dict[str, str]]:
    return [{"shard": each.shard, "database": each.database, "error": str(each.error)} for each in failures]


def _broken(failures: list[Failure]) -> list[tuple[str, errors.KosError]]:
    return [(f"{each.shard}: {each.database}", each.error) for each in failures]


def _refuse_external(command: str) -> None:
    """Do no harm: where a file names servers of somebody's own, this folder is not one to start or delete data in."""
    named = config.configured()
    if named is not None:
        require_embedded(named, command)


def _stack_here() -> Stack:
    return Stack.find(Path.cwd()) or Stack(Path.cwd())


def _workers(stack: Stack) -> list[WorkerHealth]:
    return [stack.worker()]


def _as_row(store: health.StoreHealth) -> dict[str, object]:
    return {
        "name": store.name,
        "kind": store.kind,
        "version": store.version,
        "address": store.address,
        "healthy": store.healthy,
    }


def _health_of(store: health.StoreHealth) -> tuple[str, str, str, str, str]:
    return store.name, store.kind, store.version, store.address, "yes" if store.healthy else f"no: {store.detail}"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f}"


COMMANDS = {"up": up, "down": down, "status": status, "doctor": doctor, "upgrade": upgrade}
