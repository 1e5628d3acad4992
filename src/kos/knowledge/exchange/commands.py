"""`kos tenant export | import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kos import console
from kos.console import DryRun, Json, emit, say, table
from kos.knowledge.exchange import ExportPlan, export_tenant, plan_export, plan_import, run_import
from kos.tenancy import open as open_store

Folder = Annotated[Path, typer.Argument(metavar="DIR", help="The export's folder.")]


def tenant_export(
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    folder: Folder,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Write a tenant's whole data to a new folder: a file of JSON lines per table, and its objects."""
    with open_store() as store, console.progress(quiet=json) as progress:
        done = plan_export(store, name, folder) if dry_run else export_tenant(store, name, folder, progress)
    amount = f"{_amount(done.rows, done.objects)} of {done.tenant}"
    if isinstance(done, ExportPlan):
        summary = f"would write {amount} to {done.path}"
    else:
        summary = f"{amount} are in {done.path} ({done.bytes:,} bytes, {done.seconds:.1f} s)"
    if done.left_out:
        summary += f"\nnot exported, because kos did not make them: {', '.join(done.left_out)}"
    emit(done, as_json=json, human=lambda: _show(done.rows, summary))


def tenant_import(
    folder: Folder,
    name: Annotated[str, typer.Option(help="The new tenant's name.")],
    tier: Annotated[str, typer.Option(help="row, schema or database")] = "row",
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Bring an export in as a new tenant, identical. Run it again after a kill: it goes on."""
    with open_store() as store, console.progress(quiet=json) as progress:
        plan = plan_import(store, folder, name, tier, shard, progress)
        imported = None if dry_run else run_import(store, plan, progress)
    manifest = plan.export.manifest
    rows = {table: facts.rows for table, facts in manifest.tables.items()}
    if imported is None:
        emit(
            {"tenant": plan.tenant, "path": folder, "rows": rows, "objects": len(plan.export.objects)},
            as_json=json,
            human=lambda: _show(
                rows,
                f"{folder} is whole; would import {_amount(rows, len(plan.export.objects))} of "
                f"{manifest.tenant.name} as {name} (tier {tier})",
            ),
        )
        return
    emit(
        imported,
        as_json=json,
        human=lambda: _show(
            imported.rows,
            f"{_amount(imported.rows, imported.objects)} are in {imported.tenant.name} "
            f"(tier {imported.tenant.tier}), compared with the export, {imported.seconds:.1f} s",
        ),
    )


def _amount(rows: dict[str, int], objects: int) -> str:
    return f"{sum(rows.values()):,} rows and {objects:,} objects"


def _show(rows: dict[str, int], summary: str) -> None:
    table(("table", "rows"), [(name, f"{count:,}") for name, count in rows.items()], numbers=("rows",))
    say(summary)


COMMANDS = {"tenant export": tenant_export, "tenant import": tenant_import}
