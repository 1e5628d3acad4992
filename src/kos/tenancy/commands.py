"""`kos tenant create | list | show`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kos import console, errors
from kos.console import DryRun, Json, emit, say, table
from kos.tenancy import create_tenant, find_tenant, list_tenants, look_at
from kos.tenancy import open as open_store
from kos.tenancy.create import Seen, plan_tenant

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
        found = []
        for number, seen in enumerate(look_at(store, tenants), start=1):
            found.append(seen)
            progress("tenants", number, len(tenants))
    rows = [_described(seen) for seen in found]

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
                    "?" if row["error"] else "" if row["rows"] is None else f"{sum(row['rows'].values()):,}",
                )
                for row in rows
            ],
            numbers=("epoch", "rows"),
        )

    emit(rows, as_json=json, human=human)
    console.fail_for(_broken(found), as_json=json)


def tenant_show(name: Name, json: Json = False) -> None:
    """One tenant with its placement and its rows per table."""
    with open_store() as store:
        [seen] = look_at(store, [find_tenant(store, name)])
    row = _described(seen)

    def human() -> None:
        facts = [(key.replace("_", " "), value) for key, value in row.items() if key not in {"rows", "error"}]
        table(("", ""), facts)
        if row["rows"] is not None:
            say("")
            table(("table", "rows"), [(key, f"{count:,}") for key, count in row["rows"].items()], numbers=("rows",))

    emit(row, as_json=json, human=human)
    console.fail_for(_broken([seen]), as_json=json)


def _described(seen: Seen) -> dict[str, Any]:
    described: dict[str, Any] = console.plain(seen.tenant)
    return described | {"rows": seen.rows, "error": None if seen.error is None else str(seen.error)}


def _broken(found: list[Seen]) -> list[tuple[str, errors.KosError]]:
    return [(seen.tenant.name, seen.error) for seen in found if seen.error is not None]


COMMANDS = {"tenant create": tenant_create, "tenant list": tenant_list, "tenant show": tenant_show}
