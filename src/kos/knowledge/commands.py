"""`kos sample list | load` and `kos objects collect | hold | release | holds`."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

import typer

from kos import console, errors
from kos.console import DryRun, Json, Yes, emit, say, table
from kos.knowledge import objects
from kos.knowledge.samples import Loaded, LoadPlan, list_datasets, plan_load, run_load
from kos.tenancy import Store, Tenant, find_tenant, list_tenants
from kos.tenancy import open as open_store

TenantOption = Annotated[str, typer.Option("--tenant", help="The tenant's name.")]


def sample_list(json: Json = False) -> None:
    """The datasets that can be loaded."""
    rows = [
        {"name": each.name, "about": each.about, "package": each.package, "has_objects": each.has_objects}
        for each in list_datasets()
    ]

    def human() -> None:
        table(("name", "from", "what"), [(row["name"], row["package"], row["about"]) for row in rows])
        say("load one: kos sample load NAME --tenant TENANT")

    emit(rows, as_json=json, human=human)


def sample_load(
    dataset: Annotated[str, typer.Argument(help="Which one; see `kos sample list`.")],
    tenant: TenantOption,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Load real data into a tenant; what is there already stays. Run it again after a kill: it goes on."""
    with open_store() as store, console.progress(quiet=json) as progress:
        plan = plan_load(store, dataset, tenant)
        loaded = None if dry_run else run_load(store, plan, progress)
    if loaded is None:
        emit(_planned(plan), as_json=json, human=lambda: _show_plan(plan))
    else:
        emit(loaded, as_json=json, human=lambda: _show_loaded(loaded))


def _planned(plan: LoadPlan) -> dict[str, Any]:
    return {
        "dataset": plan.dataset.name,
        "tenant": plan.tenant.name,
        "rows": {rows.table: rows.count for rows in plan.content.tables},
        "objects": len(plan.content.objects),
    }


def _show_plan(plan: LoadPlan) -> None:
    table(("table", "rows"), [(rows.table, f"{rows.count:,}") for rows in plan.content.tables], numbers=("rows",))
    say(
        f"would load {plan.content.rows:,} rows and {len(plan.content.objects):,} objects "
        f"of {plan.dataset.name} into {plan.tenant.name}"
    )


def _show_loaded(loaded: Loaded) -> None:
    before = loaded.rows_already_there
    rows = [(name, f"{new:,}", f"{before[name]:,}") for name, new in loaded.rows.items()]
    table(("table", "new", "there already"), rows, numbers=("new", "there already"))
    total = sum(loaded.rows.values())
    say(f"{total:,} rows and {loaded.objects:,} objects loaded into {loaded.tenant} in {loaded.seconds:.1f} s")


def objects_collect(
    tenant: Annotated[str | None, typer.Option(help="One tenant; else all.")] = None,
    grace: Annotated[
        float, typer.Option(min=0, help="Hours that an object is left alone after it was written.")
    ] = 24.0,
    dry_run: DryRun = False,
    yes: Yes = False,
    json: Json = False,
) -> None:
    """Delete objects that no document refers to. A tenant that is held is left alone."""
    age = timedelta(hours=grace)
    with open_store() as store:
        tenants = _tenants(store, tenant)
        if not dry_run and not yes:
            found = _collect(store, tenants, age, dry_run=True, quiet=json)
            _ask(found)
        collected = _collect(store, tenants, age, dry_run=dry_run, quiet=json)

    def human() -> None:
        table(
            ("tenant", "unreferenced", "bytes", "deleted", "in use", ""),
            [
                (each.tenant, each.found, f"{each.bytes:,}", each.deleted, each.busy, "held" if each.held else "")
                for each in collected
            ],
            numbers=("unreferenced", "bytes", "deleted", "in use"),
        )

    value = {
        "dry_run": dry_run,
        "deleted": sum(each.deleted for each in collected),
        "tenants": [asdict(each) for each in collected],
    }
    emit(value, as_json=json, human=human)


def _tenants(store: Store, name: str | None) -> list[Tenant]:
    if name is not None:
        return [store.find(name, again=True)]
    return [tenant for tenant in list_tenants(store) if tenant.state == "active"]


def _collect(
    store: Store, tenants: list[Tenant], grace: timedelta, *, dry_run: bool, quiet: bool
) -> list[objects.Collected]:
    with console.progress(quiet=quiet) as progress:
        return [objects.collect(store, each, grace=grace, dry_run=dry_run, progress=progress) for each in tenants]


def _ask(found: list[objects.Collected]) -> None:
    free = [each for each in found if each.found and not each.held]
    if free:
        number, size = sum(each.found for each in free), sum(each.bytes for each in free)
        typer.confirm(f"delete {number:,} objects ({size:,} bytes) of {len(free)} tenants?", abort=True, err=True)


def objects_hold(
    reason: Annotated[str, typer.Option(help="Why; shown to whoever wonders.")],
    tenant: Annotated[str | None, typer.Option(help="One tenant; else all.")] = None,
    until: Annotated[datetime | None, typer.Option(help="When it ends by itself (UTC); else never.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Keep all objects of a tenant, or of all tenants, from being collected."""
    end = until.replace(tzinfo=UTC) if until else None
    with open_store() as store:
        found = find_tenant(store, tenant) if tenant else None
        made = None
        if not dry_run:
            made = objects.hold(store, found, reason=reason, created_by=getpass.getuser(), until=end)
    value = {"id": made, "tenant": tenant, "reason": reason, "until": end}
    what = f"the objects of {tenant or 'all tenants'}"
    emit(
        value,
        as_json=json,
        human=lambda: say(
            f"would hold {what}" if made is None else f"{what} are held; end it: kos objects release {made}"
        ),
    )


def objects_release(
    hold: Annotated[str, typer.Argument(help="The hold's id; see `kos objects holds`.")],
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """End a hold."""
    with open_store() as store:
        found = next((each for each in objects.list_holds(store) if str(each.id) == hold.lower()), None)
        if found is None:
            raise errors.UnknownHold(hold)
        if not dry_run:
            objects.release(store, UUID(hold))
    verb = "would release" if dry_run else "released"
    emit(
        {"id": found.id, "tenant": found.tenant, "released": not dry_run},
        as_json=json,
        human=lambda: say(f"{verb} {found.id} ({found.tenant or 'all tenants'}: {found.reason})"),
    )


def objects_holds(json: Json = False) -> None:
    """The holds in force, oldest first."""
    with open_store() as store:
        holds = objects.list_holds(store)
    columns = ("id", "tenant", "reason", "by", "until", "since")
    rows = [
        (each.id, each.tenant or "all", each.reason, each.created_by, each.until or "released", each.created_at)
        for each in holds
    ]
    emit(holds, as_json=json, human=lambda: table(columns, rows))


COMMANDS = {
    "sample list": sample_list,
    "sample load": sample_load,
    "objects collect": objects_collect,
    "objects hold": objects_hold,
    "objects release": objects_release,
    "objects holds": objects_holds,
}
