"""What people see of a change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from kos import console
from kos.console import say, table
from kos.journal import Outcome
from kos.schema_change.model import PHASES, Action, ChangePlan, Fill, Recipe
from kos.schema_change.status import ChangeStatus, PlacementStatus
from kos.schema_change.throttle import Limits

SHOWN = 20  # placements in a table: those that fail or are behind come first


def show_plan(plan: ChangePlan, *, ahead: Sequence[str] = PHASES, where: Console = console.out) -> None:
    """Every step, for each kind of catalog that there is."""
    for number, recipe in enumerate(plan.recipes):
        here = [each.name for each in plan.placements if each.recipe == number]
        said = here[0] if len(here) == 1 else f"{len(here)} placements ({here[0]}, …)"
        where.print(f"in {said}:", markup=False)
        table(("when", "phase", "what", "lock", "for", "rows"), _rows(recipe, ahead), numbers=("rows",), where=where)
        for warning in recipe.warnings:
            where.print(f"note: {warning}", markup=False)
    where.print(f"{counted(plan.count)}, {plan.parallel} at a time; a lock is waited for 200 ms at most", markup=False)


def counted(placements: int) -> str:
    """So many, in words."""
    return "1 placement" if placements == 1 else f"{placements} placements"


def show_undo(plan: ChangePlan) -> None:
    """What a rollback would take back."""
    for recipe in plan.recipes:
        items = [each for phase in PHASES for each in getattr(recipe, phase) if isinstance(each, Action) and each.undo]
        table(("take back", "lock"), [(each.text, each.lock) for each in reversed(items)])
    say(counted(plan.count))


def show_started(plan: ChangePlan, outcome: Outcome) -> None:
    """What there is to do next."""
    say(f"{plan.name} is started in {counted(plan.count)}: old and new code both work now")
    say("when only new code runs: kos change finish        to go back: kos change rollback")


def show_limits(limits: Limits) -> None:
    """What holds now."""
    say(f"{'paused' if limits.paused else 'running'}: {_limits(limits)}")


def show_status(status: ChangeStatus) -> None:
    """Once."""
    console.out.print(status_table(status))


def status_table(status: ChangeStatus) -> Group:
    """The change, its limits, and its placements: those that fail or are behind first."""
    at_it = f", {status.holder} is at it" if status.holder else ", and nobody is at it" if status.is_left else ""
    paused = "paused, " if status.limits.paused else ""
    head = Text(f"{status.name}: {status.state.replace('_', ' ')}{at_it}; {paused}{_limits(status.limits)}")
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in ("placement", "phase", "state", "rows", "filled", "rows/s", "left", "doing"):
        grid.add_column(column, justify="right" if column in {"rows", "filled", "rows/s", "left"} else "left")
    for each in sorted(status.placements, key=_urgency)[:SHOWN]:
        grid.add_row(*_cells(each))
    parts: list[Text | Table] = [head, grid]
    if len(status.placements) > SHOWN:
        counts = ", ".join(f"{count} {state}" for state, count in sorted(status.counts.items()))
        parts.append(Text(f"{len(status.placements)} placements: {counts}"))
    parts += [Text(f"unreachable: {each}") for each in status.unreachable]
    if status.is_left:
        parts.append(Text("to go on: the same command again        to go back: kos change rollback"))
    return Group(*parts)


def _urgency(each: PlacementStatus) -> tuple[bool, int]:
    return each.state != "failed", PHASES.index(each.phase) if each.phase else -1


def _cells(each: PlacementStatus) -> tuple[str, ...]:
    filled = f"{each.pages * 100 // each.of_pages} %" if each.pages is not None and each.of_pages else ""
    return (
        each.placement,
        each.phase or "",
        each.state,
        "" if each.rows is None else f"{each.rows:,}",
        filled,
        "" if each.rate is None else f"{each.rate:,.0f}",
        "" if each.seconds_left is None else f"{each.seconds_left:,.0f} s",
        each.error or each.doing or "",
    )


def _rows(recipe: Recipe, ahead: Sequence[str]) -> Iterator[tuple[str, ...]]:
    for phase in ahead:
        when = "start" if phase in PHASES[:3] else "finish"
        for item in getattr(recipe, phase):
            if isinstance(item, Fill):
                rows = "?" if item.rows is None else f"{item.rows:,}"
                yield when, phase, item.text, "rows of a batch", "a batch", rows
            else:
                also = f", also of {', '.join(item.also)}" if item.lock and item.also else ""
                yield when, phase, item.text, item.lock.lower() + also, _how_long(item), ""


def _how_long(action: Action) -> str:
    if action.kind != "transaction":
        return "long, in nobody's way"
    if action.scans:
        return "a scan"
    return "moments" if action.lock else ""


def _limits(limits: Limits) -> str:
    by = f" by: {limits.latency_query}" if limits.latency_query else ""
    said = [
        f"at most {limits.max_rate:,.0f} rows/s" if limits.max_rate else "",
        f"replicas at most {limits.max_lag_ms:,.0f} ms behind" if limits.max_lag_ms else "",
        f"a latency of at most {limits.max_latency_ms:,.0f} ms{by}" if limits.max_latency_ms else "",
        f"no limit of the latency{by}" if by and not limits.max_latency_ms else "",
    ]
    return ", ".join(filter(None, said)) or "no limits"
