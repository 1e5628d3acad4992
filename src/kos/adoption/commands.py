"""`kos adopt`."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from kos import console, errors, topology
from kos.adoption import Plan, Wanted, check, display, plan
from kos.console import DryRun, Json, Yes, emit
from kos.tenancy.placement import Place, server_at, shard_named
from kos.topology import postgres


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
    schema: Annotated[str | None, typer.Option(help="Only this schema; else all of them.")] = None,
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    database: Annotated[str | None, typer.Option(help="Where; else the shard's own database.")] = None,
    count: Annotated[bool, typer.Option("--count", help="Count the tenants of each table: reads all rows.")] = False,
    script: Annotated[
        Script | None, typer.Option("--sql", help="Print only the SQL that mends: grants, columns or keys.")
    ] = None,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """What taking existing tables in would mean: what they are, what is in the way, what it costs. Changes nothing."""
    if bool(globs) == all_tables:
        raise typer.BadParameter("name tables, or say --all")
    wanted = Wanted(tuple(globs or ()), level, tenant_column, baseline, schema, count)
    found = _planned(wanted, shard, database, quiet=json)
    if script is not None:
        lines = display.script(found, script)
        emit({"sql": lines}, as_json=json, human=lambda: display.show_script(lines))
        return
    if not dry_run:
        check(found, wanted)
        if level != Level.observe:
            raise errors.LevelNotReady(level)
    emit(found, as_json=json, human=lambda: display.show(found))


def _planned(wanted: Wanted, shard: str | None, database: str | None, *, quiet: bool) -> Plan:
    here = topology.find()
    at = shard_named(here, shard) if shard else here.control
    server = server_at(here, Place(at.name, database or at.primary.database))
    with postgres.connect(server, at.operator) as connection, console.progress(quiet=quiet) as progress:
        return plan(connection, wanted, shard=at.name, progress=progress)


COMMANDS = {"adopt": adopt}
