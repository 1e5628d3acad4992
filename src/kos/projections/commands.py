"""`kos projection list | status | verify | rebuild | parked | retry`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer

from kos import console, errors
from kos.console import DryRun, Json, emit, plain, say, seconds, table
from kos.projections.declared import declared, make
from kos.projections.generation import verify
from kos.projections.model import Projection
from kos.projections.rebuilding import REBUILD, plan_rebuild, run_rebuild
from kos.projections.retry import retry
from kos.projections.whole import (
    Part,
    Position,
    ProjectionStatus,
    parked_everywhere,
    parts_of,
    positions,
    status,
)
from kos.tenancy import Store
from kos.tenancy import open as open_store

Name = Annotated[str, typer.Argument(metavar="NAME", help="The projection's name; see `kos projection list`.")]
Tenants = Annotated[
    list[str] | None, typer.Option("--tenant", help="Only this tenant, by name, id or its value. Repeat for more.")
]


def projection_list(json: Json = False) -> None:
    """The projections that there are, and the tables that each follows."""
    rows = []
    with open_store() as store:
        for name, making in declared(store.topology).items():
            projection = making()
            wanted = projection.wanted
            tables = None if wanted is None else [str(each.table) for each in wanted]
            rows.append({"name": name, "tables": tables})
            projection.close()

    def human() -> None:
        shown = [(row["name"], ", ".join(row["tables"]) if row["tables"] else "all") for row in rows]
        table(("projection", "tables"), shown)
        if not rows:
            say("none: kos.toml names neither a graph nor a cache")

    emit(rows, as_json=json, human=human)


def projection_status(tenants: Tenants = None, json: Json = False) -> None:
    """How far each projection is: tenants, events that it hasn't had, seconds, rows that its store refuses."""
    with open_store() as store:
        if tenants:
            rows = [each for part in parts_of(store, tenants) for each in positions(store, part)]
            emit({"tenants": [plain(each) for each in rows]}, as_json=json, human=lambda: _show_positions(rows))
            return
        found = status(store)
    emit({"projections": [plain(each) for each in found]}, as_json=json, human=lambda: show_status(found))


def _show_positions(rows: Sequence[Position]) -> None:
    headings = ("projection", "tenant", "position", "head", "behind", "parked")
    shown = [(each.projection, each.tenant, each.position, each.head, each.behind, each.parked or "") for each in rows]
    table(headings, shown, numbers=headings[2:])


def show_status(found: Sequence[ProjectionStatus]) -> None:
    """The same for people, here and in `kos status`."""
    headings = ("projection", "database", "tenants", "behind", "events", "lag s", "parked", "made", "making")
    table(
        headings,
        [
            (each.projection, each.database, each.tenants, each.tenants_behind, each.behind,
             seconds(each.lag_seconds), each.parked or "", each.rebuilds or "", each.making or "")
            for each in found
        ],
        numbers=headings[2:],
    )  # fmt: skip
    for name in dict.fromkeys(each.projection for each in found if each.parked):
        say(f"{name}: some rows are refused: kos projection parked {name}")


def projection_verify(
    name: Annotated[str | None, typer.Argument(metavar="NAME", help="Which one; all of them if none is named.")] = None,
    tenants: Tenants = None,
    json: Json = False,
) -> None:
    """Compare projections with the tables, exactly, each tenant at one position. Readers and writers go on."""
    rows: list[dict[str, Any]] = []
    with open_store() as store, console.progress(quiet=json) as progress:
        parts = parts_of(store, tenants or ())
        for each in [name] if name else list(declared(store.topology)):
            projection = make(store.topology, each)
            try:
                for number, part in enumerate(parts):
                    progress(f"{each} of {part.name}", number, len(parts))
                    rows.append(_verified(store, projection, part))
            finally:
                projection.close()
    equal = all(not row["differing"] and row["error"] is None for row in rows)

    def human() -> None:
        headings = ("projection", "tenant", "position", "rows", "parked", "differing")
        table(headings, [tuple(row[each] for each in headings) for row in rows], numbers=headings[2:])
        for row in rows:
            for each in row["differences"]:
                say(f"{row['projection']} of {row['tenant']}: {each['what']} {each['key']}: {each['fault']}")
            if row["error"]:
                say(f"{row['projection']} of {row['tenant']}: {row['error']}")
        if not equal:
            say("make it anew: kos projection rebuild NAME --tenant TENANT")

    emit({"equal": equal, "compared": rows}, as_json=json, human=human)
    if not equal:
        raise typer.Exit(errors.FAILED)


_OF_ONE = (errors.ProjectionNotReady, errors.ProjectionBusy, errors.ProjectionMoved, errors.FeedDiverged,
           errors.TransactionTooLong, errors.StoreBusy)  # fmt: skip


def _verified(store: Store, projection: Projection, part: Part) -> dict[str, Any]:
    """One tenant; what can't be compared stops no other."""
    row: dict[str, Any] = {"projection": projection.name, "tenant": part.name, "position": None, "rows": 0, "parked": 0,
                           "differing": 0, "differences": [], "error": None}  # fmt: skip
    try:
        found = verify(part.site(store, projection))
    except _OF_ONE as error:
        return row | {"error": str(error)}
    except errors.StoreUnavailable as error:
        projection.identity()  # raises, where it is the store's fault and not this tenant's
        return row | {"error": str(error)}
    return row | {
        "position": found.position,
        "rows": found.rows,
        "parked": len(found.parked),
        "differing": found.differing,
        "differences": [plain(each) for each in found.differences],
    }


def projection_rebuild(name: Name, tenants: Tenants = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Make a projection anew beside what its readers see, and show it when it is equal to the tables."""
    with open_store() as store, console.progress(quiet=json) as progress:
        plan = plan_rebuild(store, name, tenants or ())
        outcome = None if dry_run else run_rebuild(store, plan, progress)
    value = {
        "projection": name,
        "tenants": [part.name for part in plan.parts],
        "operation": str(outcome.operation) if outcome else None,
    }

    def human() -> None:
        if outcome is None:
            for step, text in REBUILD.described(plan):
                say(f"{step}: {text}")
            say(f"would make anew: {', '.join(part.name for part in plan.parts) or 'nothing'}")
        else:
            say(f"{name} is made anew and equal to the tables, for {plan.count} tenants")

    emit(value, as_json=json, human=human)


def projection_parked(name: Name, json: Json = False) -> None:
    """The rows whose changes its store refuses, with the reason. What came after is not applied to such a row."""
    with open_store() as store:
        make(store.topology, name).close()
        found = parked_everywhere(store, name)

    def human() -> None:
        table(
            ("tenant", "table", "key", "position", "reason"),
            [(str(each.tenant), each.table, "/".join(each.key), each.position, each.reason) for each in found],
            numbers=("position",),
        )
        say(f"try them again: kos projection retry {name}" if found else "nothing is parked")

    emit({"rows": [plain(each) for each in found]}, as_json=json, human=human)


def projection_retry(name: Name, tenants: Tenants = None, dry_run: DryRun = False, json: Json = False) -> None:
    """Try again the rows that are parked: each is put as it is now."""
    if dry_run:
        _would_retry(name, tenants, as_json=json)
        return
    done = 0
    refused: list[dict[str, Any]] = []
    with open_store() as store:
        projection = make(store.topology, name)
        try:
            waiting = {each.tenant for each in parked_everywhere(store, name)}
            for part in parts_of(store, tenants or ()):
                if part.tenant in waiting:
                    count, still = retry(part.site(store, projection))
                    done += count
                    refused += [
                        {"tenant": part.name, "table": str(each.table), "key": list(each.key), "reason": each.reason}
                        for each in still
                    ]
        finally:
            projection.close()

    def human() -> None:
        say(f"{done} rows are applied, {len(refused)} are refused")
        for each in refused:
            say(f"{each['tenant']}: {each['table']} {'/'.join(each['key'])}: {each['reason']}")

    emit({"applied": done, "refused": refused}, as_json=json, human=human)
    if refused:
        raise typer.Exit(errors.FAILED)


def _would_retry(name: str, tenants: list[str] | None, *, as_json: bool) -> None:
    with open_store() as store:
        make(store.topology, name).close()
        mine = {part.tenant for part in parts_of(store, tenants or ())}
        found = [each for each in parked_everywhere(store, name) if each.tenant in mine]
    rows = [
        {"tenant": str(each.tenant), "table": each.table, "key": list(each.key), "reason": each.reason}
        for each in found
    ]
    emit(
        {"tried": rows}, as_json=as_json, human=lambda: say(f"would try {len(rows)} rows: kos projection parked {name}")
    )


COMMANDS = {
    "projection list": projection_list,
    "projection status": projection_status,
    "projection verify": projection_verify,
    "projection rebuild": projection_rebuild,
    "projection parked": projection_parked,
    "projection retry": projection_retry,
}
