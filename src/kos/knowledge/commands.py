"""`kos objects collect | hold | release | holds`, `kos tenant remove`, and the commands of samples and exports."""

from __future__ import annotations

import getpass
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer
from rich.console import Console

from kos import console, errors
from kos.console import DryRun, Json, Yes, emit, say, table
from kos.knowledge import objects
from kos.knowledge.bucket import STORE
from kos.knowledge.exchange import commands as exchange
from kos.knowledge.removal import RemovalPlan, plan_removal, remove
from kos.knowledge.samples import commands as samples
from kos.progress import Advance
from kos.tenancy import Store, Tenant, enterable, find_tenant, shipped_tenants
from kos.tenancy import open as open_store
from kos.translate import translated


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
            _ask([each for each, _ in _collect(store, tenants, age, dry_run=True, quiet=json)])
        outcomes = _collect(store, tenants, age, dry_run=dry_run, quiet=json)
    collected = [each for each, _ in outcomes]
    broken = [(each.tenant, error) for each, error in outcomes if error is not None]

    def human() -> None:
        table(
            ("tenant", "unreferenced", "bytes", "deleted", "in use", ""),
            [
                (each.tenant, each.found, f"{each.bytes:,}", each.deleted, each.busy, "held" if each.held else "")
                for each in collected
                if each.error is None
            ],
            numbers=("unreferenced", "bytes", "deleted", "in use"),
        )

    value = {
        "dry_run": dry_run,
        "deleted": sum(each.deleted for each in collected),
        "tenants": [asdict(each) for each in collected],
    }
    emit(value, as_json=json, human=human)
    console.fail_for(broken, as_json=json)


def _tenants(store: Store, name: str | None) -> list[Tenant]:
    if name is not None:
        return [enterable(store, name)]
    return shipped_tenants(store)


def _collect(
    store: Store, tenants: list[Tenant], grace: timedelta, *, dry_run: bool, quiet: bool
) -> list[tuple[objects.Collected, errors.KosError | None]]:
    with console.progress(quiet=quiet) as progress:
        return [_collect_one(store, each, grace, dry_run=dry_run, progress=progress) for each in tenants]


def _collect_one(
    store: Store, tenant: Tenant, grace: timedelta, *, dry_run: bool, progress: Advance
) -> tuple[objects.Collected, errors.KosError | None]:
    """One tenant that can't be looked at does not hide the others."""
    try:
        return objects.collect(store, tenant, grace=grace, dry_run=dry_run, progress=progress), None
    except Exception as raised:
        error = translated(raised)
        if error is None or isinstance(error, errors.StoreNotConfigured):
            raise
        if isinstance(error, errors.StoreUnavailable) and error.store == STORE:
            raise  # it is the same for all, and asking once per tenant would only take longer
        return objects.Collected(tenant.name, held=False, error=str(error)), error


def _ask(found: list[objects.Collected]) -> None:
    free = [each for each in found if each.found and not each.held]
    if free:
        number, size = sum(each.found for each in free), sum(each.bytes for each in free)
        console.confirm(f"delete {number:,} objects ({size:,} bytes) of {len(free)} tenants?")


def objects_hold(
    reason: Annotated[str, typer.Option(help="Why; shown to whoever wonders.")],
    tenant: Annotated[str | None, typer.Option(help="One tenant; else all.")] = None,
    until: Annotated[datetime | None, typer.Option(help="When it ends by itself (UTC); else never.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Keep all objects of a tenant, or of all tenants, from being collected."""
    end = until.replace(tzinfo=UTC) if until else None
    if not reason.strip():
        raise typer.BadParameter("it is empty", param_hint="--reason")
    if end and end <= datetime.now(UTC):
        raise typer.BadParameter("it is in the past", param_hint="--until")
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
    emit({"holds": holds}, as_json=json, human=lambda: table(columns, rows))


def tenant_remove(
    name: Annotated[str, typer.Argument(help="The tenant's name.")],
    yes: Yes = False,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Delete a tenant with its rows, schema or database, and objects. Run it again after a kill: it goes on."""
    with open_store() as store:
        with console.progress(quiet=json) as progress:
            plan = plan_removal(store, name, progress)
        if not dry_run and not yes:
            _show_loss(console.err, plan)
            console.confirm(f"delete {_loss(plan)}, for ever?")
        if not dry_run:
            with console.progress(quiet=json) as progress:
                remove(store, plan.tenant.name, progress)
    value = {
        "tenant": plan.tenant,
        "rows": plan.rows,
        "objects": plan.objects,
        "bytes_of_objects": plan.bytes_of_objects,
        "removed": not dry_run,
    }

    def human() -> None:
        if dry_run:
            _show_loss(console.out, plan)
        say(f"{'would delete' if dry_run else 'deleted'} {_loss(plan)}")

    emit(value, as_json=json, human=human)


def _show_loss(where: Console, plan: RemovalPlan) -> None:
    rows = [(name, f"{count:,}") for name, count in (plan.rows or {}).items()]
    table(("table", "rows"), rows, numbers=("rows",), where=where)


def _loss(plan: RemovalPlan) -> str:
    rows = "an unknown number of" if plan.rows is None else f"{sum(plan.rows.values()):,}"
    return (
        f"the tenant {plan.tenant.name} (tier {plan.tenant.tier}) with {rows} rows and {plan.objects:,} objects "
        f"({plan.bytes_of_objects:,} bytes)"
    )


COMMANDS = {
    **samples.COMMANDS,
    **exchange.COMMANDS,
    "tenant remove": tenant_remove,
    "objects collect": objects_collect,
    "objects hold": objects_hold,
    "objects release": objects_release,
    "objects holds": objects_holds,
}
