"""`kos change plan | start | status | finish | rollback | leave-out | throttle | lint`."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.live import Live

from kos import console, errors, journal
from kos.console import DryRun, Json, Yes, emit
from kos.schema_change import display
from kos.schema_change.change import CHANGE
from kos.schema_change.lint import NEWEST, OLDEST, Finding, lint
from kos.schema_change.lint_display import rules as all_rules
from kos.schema_change.lint_display import show_findings, show_rules
from kos.schema_change.make import PARALLEL, UNNAMED, plan_change
from kos.schema_change.model import ChangePlan
from kos.schema_change.start import (
    find_open,
    find_placement,
    finish,
    go_on,
    is_same,
    leave_out,
    open_change,
    roll_back,
    start,
)
from kos.schema_change.status import change_status, throttle
from kos.schema_change.throttle import Limits
from kos.tenancy import Store
from kos.tenancy import open as open_store

File = Annotated[Path, typer.Argument(metavar="FILE", help="Ordinary SQL; `-` reads standard input.")]
Schemas = Annotated[
    list[str] | None,
    typer.Option("--schema", help="In this schema, or in all that a pattern finds: `tenant_*`. Repeat."),
]
ShardName = Annotated[str | None, typer.Option("--shard", help="Where; else the first shard.")]
DatabaseName = Annotated[str | None, typer.Option("--database", help="Where; else the shard's own database.")]
Parallel = Annotated[int, typer.Option("--parallel", min=1, max=32, help="Schemas at a time.")]
MaxRate = Annotated[float | None, typer.Option("--max-rate", min=0, help="Rows per second to fill; 0: no limit.")]
MaxLag = Annotated[
    float | None, typer.Option("--max-lag", min=0, help="Fill only while no replica is further behind: ms.")
]
MaxLatency = Annotated[
    float | None,
    typer.Option("--max-latency", min=0, help="Fill only while the application's statements take no longer: ms."),
]
LatencyQuery = Annotated[
    str | None,
    typer.Option("--latency-query", help="What tells its latency: SQL that returns ms; '': kos looks itself."),
]
EVERY = 1.0  # seconds between two looks of --watch


def change_plan(
    file: File,
    schemas: Schemas = None,
    shard: ShardName = None,
    database: DatabaseName = None,
    parallel: Parallel = PARALLEL,
    json: Json = False,
) -> None:
    """The online steps of a change: what is locked and how, what is read or rewritten, how many rows are filled. Reads
    only."""
    text, name = _read(file)
    with open_store() as store:
        plan = plan_change(
            store, text, name=name, schemas=tuple(schemas or ()), shard=shard, database=database, parallel=parallel
        )
    emit(plan, as_json=json, human=lambda: display.show_plan(plan))


def change_start(  # noqa: PLR0913, PLR0917 - each is an option that people know
    file: File,
    schemas: Schemas = None,
    shard: ShardName = None,
    database: DatabaseName = None,
    parallel: Parallel = PARALLEL,
    max_rate: MaxRate = None,
    max_lag: MaxLag = None,
    max_latency: MaxLatency = None,
    latency_query: LatencyQuery = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Add what new code needs, and fill it; old code goes on working. What a kill has left is gone on with."""
    text, name = _read(file)
    with open_store() as store:
        record = find_open(store)
        if record is not None and not is_same(record, text):
            raise errors.ChangeOpen(str(record.plan.get("name")), record.state)
        if record is None:
            plan = plan_change(
                store, text, name=name, schemas=tuple(schemas or ()), shard=shard, database=database, parallel=parallel
            )
        else:
            plan = journal.plan_of(CHANGE, record)
        if dry_run:
            emit(plan, as_json=json, human=lambda: display.show_plan(plan))
            return
        if not yes:
            _ask(plan, quiet=json)
        limits = Limits(False, max_rate or None, max_lag or None, max_latency or None, latency_query or None)
        with console.progress(quiet=json) as progress:
            outcome = go_on(store, record, progress) if record else start(store, plan, progress, limits=limits)
    value = {"operation": outcome.operation, "name": plan.name, "state": outcome.state, "placements": plan.count}
    emit(value, as_json=json, human=lambda: display.show_started(plan, outcome))


def change_status_(
    watch: Annotated[bool, typer.Option("--watch", help="Go on looking until it is over.")] = False,
    json: Json = False,
) -> None:
    """Where the open change stands: phase, rows, rate, time left, and what it waits for, in each placement."""
    with open_store() as store:
        if watch and not json:
            _watch(store)
            return
        status = change_status(store)
    emit(status, as_json=json, human=lambda: display.show_status(status))


def change_finish(yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Hold the rows to the new schema, then drop what only old code needs. There is no way back from the drop."""
    with open_store() as store:
        plan = journal.plan_of(CHANGE, open_change(store))
        if dry_run:
            emit(plan, as_json=json, human=lambda: display.show_plan(plan, ahead=("tighten", "contract")))
            return
        if not yes:
            console.confirm(f"finish {plan.name} in {display.counted(plan.count)}? Old code must be gone")
        with console.progress(quiet=json) as progress:
            outcome = finish(store, progress)
    value = {"operation": outcome.operation, "name": plan.name, "state": outcome.state, "placements": plan.count}
    emit(value, as_json=json, human=lambda: console.say(f"{plan.name} is finished in {display.counted(plan.count)}"))


def change_rollback(yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Take the open change back: the schema is as before, and nothing that was written meanwhile is lost."""
    with open_store() as store:
        plan = journal.plan_of(CHANGE, open_change(store))
        if dry_run:
            emit(plan, as_json=json, human=lambda: display.show_undo(plan))
            return
        if not yes:
            console.confirm(f"take {plan.name} back in {display.counted(plan.count)}? New code must be gone")
        with console.progress(quiet=json) as progress:
            outcome = roll_back(store, progress)
    value = {"operation": outcome.operation, "name": plan.name, "state": outcome.state, "placements": plan.count}
    emit(value, as_json=json, human=lambda: console.say(f"{plan.name} is taken back in {display.counted(plan.count)}"))


def change_leave_out(
    schema: Annotated[str, typer.Argument(help="As kos change status calls it, without its database.")],
    shard: Annotated[str | None, typer.Option("--shard", help="Where several have it.")] = None,
    database: Annotated[str | None, typer.Option("--database", help="Where several have it.")] = None,
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Go on without one schema that can't be changed now; finish takes back what was done there."""
    with open_store() as store:
        name = str(open_change(store).plan.get("name"))
        if not (yes or dry_run):
            console.confirm(f"leave {schema} out of {name}? Code that needs the change is refused there")
        find = find_placement if dry_run else leave_out
        placement = find(store, schema, shard=shard, database=database)
    is_ = "would be" if dry_run else "is"
    value = {"name": name, "placement": placement.name}
    emit(
        value, as_json=json, human=lambda: console.say(f"{placement.name} {is_} left out: go on with start, or finish")
    )


def change_throttle(
    max_rate: MaxRate = None,
    max_lag: MaxLag = None,
    max_latency: MaxLatency = None,
    latency_query: LatencyQuery = None,
    pause: Annotated[bool | None, typer.Option("--pause/--go-on", help="Fill no more for now; or go on.")] = None,
    json: Json = False,
) -> None:
    """Change how fast the open change fills, while it runs. Without options: what holds now."""
    with open_store() as store:
        limits = throttle(
            store,
            paused=pause,
            max_rate=max_rate,
            max_lag_ms=max_lag,
            max_latency_ms=max_latency,
            latency_query=latency_query,
        )
    emit(limits, as_json=json, human=lambda: display.show_limits(limits))


def change_lint(
    files: Annotated[list[Path] | None, typer.Argument(metavar="FILE…", help="SQL; `-` reads standard input.")] = None,
    postgres: Annotated[int, typer.Option(min=OLDEST, max=NEWEST, help="The oldest PostgreSQL that runs it.")] = OLDEST,
    in_transaction: Annotated[
        bool, typer.Option("--in-transaction", help="What runs the files begins a transaction before each.")
    ] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Show the rules.")] = False,
    json: Json = False,
) -> None:
    """What in ordinary SQL is dangerous on a database at work, why, and its online form. Needs no database."""
    if rules or not files:
        emit({"rules": all_rules()}, as_json=json, human=show_rules)
        return
    found: dict[str, list[Finding]] = {}
    for file in files:
        try:
            found[str(file)] = lint(_read(file)[0], version=postgres, in_transaction=in_transaction)
        except errors.ChangeUnreadable as error:
            raise errors.ChangeUnreadable(error.line, f"{error.reason} (in {file})") from None
    emit({"findings": found}, as_json=json, human=lambda: show_findings(found))
    if any(found.values()):
        raise typer.Exit(errors.REFUSED)


def _read(file: Path) -> tuple[str, str]:
    """The text of a change, and what it is called."""
    if str(file) == "-":
        return sys.stdin.read(), UNNAMED
    try:
        return file.read_text(encoding="utf-8"), file.stem
    except (OSError, UnicodeDecodeError) as error:
        raise errors.FileRefused(str(file), getattr(error, "strerror", None) or str(error)) from error


def _ask(plan: ChangePlan, *, quiet: bool) -> None:
    if not quiet:
        display.show_plan(plan, where=console.err)
    console.confirm(f"start {plan.name} in {display.counted(plan.count)}?")


def _watch(store: Store) -> None:
    with Live(console=console.out, auto_refresh=False) as live:
        while True:
            try:
                status = change_status(store)
            except errors.NoChange:
                return
            live.update(display.status_table(status), refresh=True)
            time.sleep(EVERY)


COMMANDS = {
    "change plan": change_plan,
    "change start": change_start,
    "change status": change_status_,
    "change finish": change_finish,
    "change rollback": change_rollback,
    "change leave-out": change_leave_out,
    "change throttle": change_throttle,
    "change lint": change_lint,
}
