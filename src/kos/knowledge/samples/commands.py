"""`kos sample list | load`."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from kos import console
from kos.console import DryRun, Json, emit, say, table
from kos.knowledge.samples import Loaded, LoadPlan, list_datasets, plan_load, run_load
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


COMMANDS = {"sample list": sample_list, "sample load": sample_load}
