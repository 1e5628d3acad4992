"""A change as an operation of the journal: what `start` does, what `finish` does, and how each is taken back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import psycopg

from kos import errors
from kos.journal import Operation, Run, Step
from kos.schema_change import act
from kos.schema_change.bodies import refuse_readers
from kos.schema_change.everywhere import everywhere, in_databases, known, refuse_lost
from kos.schema_change.fill import fill_rows
from kos.schema_change.hanging import refuse_changed
from kos.schema_change.make import late_placements, plan_change
from kos.schema_change.model import (
    BUILD,
    CONTRACT,
    EXPAND,
    FILL,
    LEFT_OUT,
    PHASES,
    TIGHTEN,
    Action,
    ChangePlan,
    Fill,
    Placement,
    Recipe,
)
from kos.schema_change.pace import pace_of
from kos.schema_change.placements import Lost
from kos.schema_change.site import QUERIES, Site
from kos.schema_change.throttle import Limits
from kos.schema_change.unproved import naming_rows, take_away
from kos.tenancy.changes import nobody_making

REPEATS = 5  # of a fill that rows have escaped from


def note_change(run: Run[ChangePlan]) -> None:
    """Note the change {name}."""
    plan, limits = run.plan, run.kept.get("limits", Limits())
    facts = {"operation": run.operation, "name": plan.name, "sql": plan.plain, "shipped": plan.scope.shipped}
    with run.control() as control:
        control.execute(QUERIES.note_change, facts | vars(limits))


def forget_change(run: Run[ChangePlan]) -> None:
    """Nothing of it is left."""
    _forget_placements(run)
    with run.control() as control:
        control.execute(QUERIES.forget_change, {"operation": run.operation})


def expand(run: Run[ChangePlan]) -> None:
    """Add what new code needs, beside what old code knows, in {count} placements."""
    everywhere(run, EXPAND, run.plan.placements, _doing(run.plan, EXPAND))


def fill(run: Run[ChangePlan]) -> None:
    """Fill the rows that are there, in {count} placements."""
    everywhere(run, FILL, _with(run, FILL, run.plan.placements), _doing(run.plan, FILL))


def build(run: Run[ChangePlan]) -> None:
    """Build indexes concurrently, in {count} placements."""
    everywhere(run, BUILD, _with(run, BUILD, run.plan.placements), _doing(run.plan, BUILD))


def announce(run: Run[ChangePlan]) -> None:
    """Let new code count on {name}: kos.require_change()."""
    refuse_lost("announce", _announced(run))


def withdraw(run: Run[ChangePlan]) -> None:
    """New code can't count on it any more."""
    facts = {"operation": run.operation}
    refuse_lost("withdraw", in_databases(run, lambda _, connection: connection.execute(QUERIES.withdraw, facts)))


def _announced(run: Run[ChangePlan]) -> Lost:
    facts = {"operation": run.operation, "name": run.plan.name, "schema": None}
    return in_databases(run, lambda _, connection: connection.execute(QUERIES.announce, facts))


def tighten(run: Run[ChangePlan]) -> None:
    """Hold the rows to what the new schema says, in {count} placements and those that have come since."""
    with nobody_making(run.store):
        late, begun = late_placements(run), known(run)
    for placement in late.placements:
        everywhere(run, EXPAND, [placement], _doing(run.plan, EXPAND, FILL, BUILD))
    lost = late.lost | begun.lost | _announced(run)
    todo = _with(run, TIGHTEN, dict.fromkeys((*begun.placements, *late.placements)))
    everywhere(run, TIGHTEN, todo, _doing(run.plan, TIGHTEN), lost=lost)


def contract(run: Run[ChangePlan]) -> None:
    """Take away what only old code needs, in all placements."""
    found = known(run, _is_tightened)
    todo = _with(run, CONTRACT, found.placements)
    everywhere(run, CONTRACT, todo, _doing(run.plan, CONTRACT), lost=found.lost)


def tidy(run: Run[ChangePlan]) -> None:
    """Note that {name} is part of the schema."""
    with run.control() as control:
        control.execute(QUERIES.end_change, {"operation": run.operation})
    if run.plan.scope.shipped:
        with nobody_making(run.store):
            late = known(run, _is_behind)  # they were made since the tightening
        everywhere(run, CONTRACT, late.placements, _doing(run.plan, *PHASES), lost=late.lost)
    _take_back_left_out(run)
    refuse_lost("tidy", in_databases(run, lambda _, connection: connection.execute(QUERIES.refresh_captures)))
    _forget_placements(run)


def _is_tightened(recipe: Recipe, phase: str, state: str) -> bool:
    """Or need not be."""
    return phase in {TIGHTEN, CONTRACT} or (not recipe.tighten and state == "done")


def _is_behind(recipe: Recipe, phase: str, state: str) -> bool:
    """Whether something of a recipe is left to be done."""
    last = max((each for each in PHASES if getattr(recipe, each)), key=PHASES.index, default=EXPAND)
    return (PHASES.index(phase), state == "done") < (PHASES.index(last), True)


def take_back(phase: str) -> Callable[[Run[ChangePlan]], None]:
    """What undoes a phase, in all placements that it has begun in."""

    def back(run: Run[ChangePlan]) -> None:
        if run.plan.scope.shipped:
            with nobody_making(run.store):  # whoever makes a tenant from now on knows that this is taken back
                pass

        found = known(run)
        todo = _with(run, phase, found.placements)
        everywhere(run, phase, todo, lambda site: _undo(site, phase), lost=found.lost)

    return back


def _undo(site: Site, phase: str) -> None:
    """What a phase has done in one placement."""
    for item in reversed(getattr(site.run.plan.recipe_of(site.placement), phase)):
        if isinstance(item, Action):
            act.undo(site, item)
    if phase == FILL:
        with site.transaction() as connection:
            connection.execute(QUERIES.forget_fills, site.facts)


def _take_back_left_out(run: Run[ChangePlan]) -> None:
    """What was done in placements that somebody has left out: at the end, so that they keep nobody waiting."""

    def work(site: Site) -> None:
        for phase in (TIGHTEN, BUILD, FILL, EXPAND):
            _undo(site, phase)

    found = known(run, lambda _recipe, _phase, state: state == LEFT_OUT)
    everywhere(run, EXPAND, found.placements, work, lost=found.lost)


def _with(run: Run[ChangePlan], phase: str, placements: Iterable[Placement]) -> list[Placement]:
    """Those that have something to do in a phase, or to look after before the last."""
    recipes = {each: run.plan.recipe_of(each) for each in placements}
    return [
        each
        for each, recipe in recipes.items()
        if getattr(recipe, phase) or (phase == TIGHTEN and (recipe.hanging or recipe.losses))
    ]


def _doing(plan: ChangePlan, *phases: str) -> Callable[[Site], None]:
    def work(site: Site) -> None:
        if site.connection.execute(QUERIES.is_left_out, site.facts).fetchone() == (True,):
            return
        for phase in phases:
            if phase in {TIGHTEN, CONTRACT}:
                refuse_changed(site, plan.recipe_of(site.placement))
                refuse_readers(site, plan.recipe_of(site.placement))
            items = getattr(plan.recipe_of(site.placement), phase)
            for item in items:
                site.heed()
                try:
                    _do(site, items, item)
                except (errors.ChangeFailed, errors.FillFailed, errors.FillBlocked):
                    take_away(site, items)
                    raise
            if phase == TIGHTEN:
                refuse_changed(site, plan.recipe_of(site.placement))  # it may have lasted

    return work


def _do(site: Site, items: Sequence[Action | Fill], item: Action | Fill) -> None:
    if isinstance(item, Fill):
        _fill(site, item)
    elif item.repeat is not None:
        _do_repeating(site, item, next(each for each in items if isinstance(each, Fill) and each.name == item.repeat))
    else:
        with naming_rows(site, item):
            act.do(site, item)


def _fill(site: Site, fill: Fill) -> None:
    with pace_of(site) as pace:
        fill_rows(site, fill, pace)


def _do_repeating(site: Site, action: Action, fill: Fill) -> None:
    """A row that somebody updates while the fill goes on is at another place then, behind its back: so the action may
    find it, also one that was ended here before."""
    for attempt in range(1, REPEATS + 1):
        try:
            act.do(site, action)
        except errors.ChangeFailed as error:
            if attempt == REPEATS or not isinstance(error.__cause__, psycopg.IntegrityError):
                raise
        else:
            return
        with site.transaction() as connection:
            connection.execute(QUERIES.repeat_fill, site.facts | {"fill": fill.name})
        _fill(site, fill)


def _forget_placements(run: Run[ChangePlan]) -> None:
    facts = {"operation": run.operation}
    lost = in_databases(run, lambda _, connection: connection.execute(QUERIES.forget_placements, facts))
    refuse_lost("forget", lost)


CHANGE = Operation(
    "schema.change",
    ChangePlan,
    plan_change,
    steps=(
        Step(note_change, undo=forget_change),
        Step(expand, undo=take_back(EXPAND), total="count"),
        Step(fill, undo=take_back(FILL), total="count"),
        Step(build, undo=take_back(BUILD), total="count"),
        Step(announce, undo=withdraw),
        Step(tighten, undo=take_back(TIGHTEN), waits=True, total="count"),
        Step(contract, final=True, total="count"),
        Step(tidy),
    ),
    scattered=True,
)
