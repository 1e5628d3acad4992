"""`kos adopt`, `kos adopt status`, `kos release`, `kos uninstall`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kos import console, topology
from kos.adoption import (
    Adopted,
    Plan,
    Wanted,
    adopt_tables,
    check,
    check_effects,
    display,
    plan,
    plan_release,
    plan_uninstall,
    planned_adoption,
    release_tables,
    released,
    status,
    uninstall,
)
from kos.console import DryRun, Json, Yes, emit
from kos.tenancy import open as open_store
from kos.tenancy.placement import Place, server_at, shard_named
from kos.topology import postgres
from kos.topology.model import Topology


class Level(StrEnum):
    observe = "observe"
    log = "log"
    enforce = "enforce"


class Baseline(StrEnum):
    full = "full"
    lazy = "lazy"
    none = "none"


class Script(StrEnum):
    grants = "grants"
    columns = "columns"
    keys = "keys"


def adopt(  # noqa: PLR0913, PLR0917 - each is an option that people know
    globs: Annotated[
        list[str] | None, typer.Argument(metavar="GLOB...", help="Tables: `orders`, `shop_*`, `billing.*`.")
    ] = None,
    all_tables: Annotated[bool, typer.Option("--all", help="All tables that can be taken in.")] = False,
    tenant_column: Annotated[
        str | None, typer.Option(help="The column that says whose a row is; else the usual one that most tables have.")
    ] = None,
    level: Annotated[Level, typer.Option(help="observe (report only), log or enforce")] = Level.observe,
    baseline: Annotated[Baseline, typer.Option(help="For rows that are there: full, lazy or none")] = Baseline.lazy,
    sensitive: Annotated[
        list[str] | None,
        typer.Option(metavar="TABLE.COLUMN=HOW", help="Hide a column in the log: encrypted, digest or absent. Repeat."),
    ] = None,
    schema: Annotated[str | None, typer.Option(help="Only this schema; else all of them.")] = None,
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    database: Annotated[str | None, typer.Option(help="Where; else the shard's own database.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Count the tenants of each table: reads all rows.")] = False,
    script: Annotated[
        Script | None, typer.Option("--sql", help="Print only the SQL that mends: grants, columns or keys.")
    ] = None,
    accept_effects: Annotated[
        bool, typer.Option("--accept-effects", help="Enforce also where roles would then read 0 rows.")
    ] = False,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take existing tables in. Level observe, and --dry-run, change nothing: they say what there is, what is in the
    way, and what it costs."""
    if bool(globs) == all_tables:
        raise typer.BadParameter("name tables, or say --all")
    wanted = Wanted(tuple(globs or ()), level, tenant_column, baseline, schema, count, tuple(sensitive or ()))
    found = _planned(wanted, shard, database, quiet=json)
    if script is not None:
        lines = display.script(found, script)
        emit({"sql": lines}, as_json=json, human=lambda: display.show_script(lines))
        return
    if not dry_run:
        check(found, wanted)
        check_effects(found, accepted=accept_effects)
    if dry_run or level == Level.observe:
        emit(found, as_json=json, human=lambda: display.show(found))
        return
    taken = _take(found, wanted, yes=yes, quiet=json)
    emit(taken, as_json=json, human=lambda: display.show_taken(taken))


def _take(found: Plan, wanted: Wanted, *, yes: bool, quiet: bool) -> Adopted:
    with open_store() as store:
        planned = planned_adoption(store, found, wanted)
        if planned.work and not yes:
            if not quiet:
                display.show_question(found)
            console.confirm(display.question(planned.plan))
        with console.progress(quiet=quiet) as progress:
            return adopt_tables(store, planned, progress)


def adopt_status(
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    database: Annotated[str | None, typer.Option(help="Where; else the shard's own database.")] = None,
    json: Json = False,
) -> None:
    """The tables that were taken in: at which level, since when, and whether their capture is in order."""
    with open_store() as store:
        found = status(store, _place(store.topology, shard, database))
    emit({"tables": found}, as_json=json, human=lambda: display.show_status(found))


def release(
    globs: Annotated[list[str], typer.Argument(metavar="GLOB...", help="Adopted tables: `orders`, `shop_*`.")],
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    database: Annotated[str | None, typer.Option(help="Where; else the shard's own database.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take adopted tables out again: their catalog is as before. What was logged stays in the log."""
    with open_store() as store:
        planned = plan_release(store, _place(store.topology, shard, database), globs)
        value = released(planned)
        if dry_run:
            emit(value, as_json=json, human=lambda: display.show_released(value, "would be taken out"))
            return
        if not yes:
            if not json:
                display.show_kept(value.kept)
            console.confirm(f"take {len(value.released)} tables of {planned.database} out again?")
        with console.progress(quiet=json) as progress:
            done = release_tables(store, planned, progress)
    emit(done, as_json=json, human=lambda: display.show_released(done, "taken out"))


def uninstall_(
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    database: Annotated[str | None, typer.Option(help="Where; else the shard's own database.")] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Take kos out of a database: adopted tables, the log, the journal, all of it. Refused while there are tenants."""
    here = topology.find()
    place = _place(here, shard, database)
    found = plan_uninstall(here, place)
    if dry_run:
        emit(found, as_json=json, human=lambda: display.show_uninstalled(found, "would be dropped"))
        return
    if found.dropped and not yes:
        if not json:
            display.show_kept(found.kept)
        told = f"the log, the journal and {len(found.released)} adopted tables' capture"
        console.confirm(f"take kos out of {place.database}, with {told}?")
    with console.progress(quiet=json) as progress:
        done = uninstall(here, place, progress)
    emit(done, as_json=json, human=lambda: display.show_uninstalled(done, "dropped"))


def _place(here: Topology, shard: str | None, database: str | None) -> Place:
    at = shard_named(here, shard) if shard else here.control
    return Place(at.name, database or at.primary.database)


def _planned(wanted: Wanted, shard: str | None, database: str | None, *, quiet: bool) -> Plan:
    here = topology.find()
    place = _place(here, shard, database)
    login = shard_named(here, place.shard).operator
    with postgres.connect(server_at(here, place), login) as connection, console.progress(quiet=quiet) as progress:
        return plan(connection, wanted, shard=place.shard, progress=progress)


COMMANDS = {"adopt": adopt, "adopt status": adopt_status, "release": release, "uninstall": uninstall_}
