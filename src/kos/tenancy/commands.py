"""`kos tenant create | list | show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kos import console
from kos.console import DryRun, Json, emit, say, table
from kos.tenancy import Store, Tenant, create_tenant, find_tenant, list_tenants, rows_per_table
from kos.tenancy import open as open_store
from kos.tenancy.create import plan_tenant

Name = Annotated[str, typer.Argument(help="The tenant's name.")]


def tenant_create(
    name: Name,
    tier: Annotated[str, typer.Option(help="row, schema or database")] = "row",
    service_plan: Annotated[
        str | None, typer.Option(help="What the customer pays for, e.g. free or enterprise; else standard.")
    ] = None,
    shard: Annotated[str | None, typer.Option(help="Where; else the first shard.")] = None,
    dry_run: DryRun = False,
    json: Json = False,
) -> None:
    """Make a tenant. A command that was killed is finished by running it again."""
    with open_store() as store:
        if dry_run:
            plan = plan_tenant(store, name, tier, shard)
            where = f"schema {plan.schema} of database {plan.database} on shard {plan.shard}"
            emit(plan, as_json=json, human=lambda: say(f"would make {name} (tier {plan.tier}) in {where}"))
            return
        tenant = create_tenant(store, name, tier, service_plan, shard)
    emit(
        tenant,
        as_json=json,
        human=lambda: say(
            f"{tenant.name} is ready: tier {tenant.tier}, {tenant.database}.{tenant.schema}, id {tenant.id}"
        ),
    )


def tenant_list(json: Json = False) -> None:
    """All tenants with tier, placement, epoch and rows per table."""
    with open_store() as store, console.progress(quiet=json) as progress:
        tenants = list_tenants(store)
        rows = []
        for number, tenant in enumerate(tenants, start=1):
            rows.append(_described(store, tenant))
            progress("tenants", number, len(tenants))

    def human() -> None:
        table(
            ("name", "tier", "plan", "shard", "database", "schema", "epoch", "state", "rows"),
            [
                (
                    row["name"],
                    row["tier"],
                    row["service_plan"],
                    row["shard"],
                    row["database"],
                    row["schema"],
                    row["epoch"],
                    row["state"],
                    "" if row["rows"] is None else f"{sum(row['rows'].values()):,}",
                )
                for row in rows
            ],
            numbers=("epoch", "rows"),
        )

    emit(rows, as_json=json, human=human)


def tenant_show(name: Name, json: Json = False) -> None:
    """One tenant with its placement and its rows per table."""
    with open_store() as store:
        row = _described(store, find_tenant(store, name))

    def human() -> None:
        table(("", ""), [(key.replace("_", " "), value) for key, value in row.items() if key != "rows"])
        if row["rows"] is not None:
            say("")
            table(("table", "rows"), [(key, f"{count:,}") for key, count in row["rows"].items()], numbers=("rows",))

    emit(row, as_json=json, human=human)


def _described(store: Store, tenant: Tenant) -> dict[str, Any]:
    """A tenant as JSON; `rows` is null while it is unfinished, because nobody can enter it yet."""
    described: dict[str, Any] = console.plain(tenant)
    return described | {"rows": rows_per_table(store, tenant) if tenant.state == "active" else None}


COMMANDS = {"tenant create": tenant_create, "tenant list": tenant_list, "tenant show": tenant_show}
