"""`kos projection rebuild` as an operation of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kos import journal
from kos.journal import Operation, Run, Step
from kos.progress import Advance, silent
from kos.projections.declared import make
from kos.projections.generation import rebuild
from kos.projections.whole import Part, parts_of
from kos.tenancy import Store


@dataclass(frozen=True)
class RebuildPlan:
    """Whose part of which projection is made anew."""

    projection: str
    parts: tuple[Part, ...]

    @property
    def subject(self) -> str:
        return f"projection:{self.projection}"

    @property
    def count(self) -> int:
        return len(self.parts)


def plan_rebuild(store: Store, projection: str, tenants: Sequence[str] = ()) -> RebuildPlan:
    """Reads only.

    Raises:
        UnknownProjection, NoLog
    """
    make(store.topology, projection).close()
    return RebuildPlan(projection, parts_of(store, tenants))


def rebuild_tenants(run: Run[RebuildPlan]) -> None:
    """Make {count} tenants anew in {projection}, each beside what its readers see, and show each when it is equal."""
    projection = make(run.store.topology, run.plan.projection)
    try:
        projection.prepare()
        for number in range(run.cursor or 0, run.plan.count):
            rebuild(run.plan.parts[number].site(run.store, projection), run.progress)
            with run.transaction():
                run.checkpoint(number + 1, done=number + 1)
    finally:
        projection.close()


def clear_unfinished(run: Run[RebuildPlan]) -> None:
    """Those that are shown are equal to the tables, and stay; what is not finished is removed."""
    projection = make(run.store.topology, run.plan.projection)
    try:
        for part in run.plan.parts:
            projection.clear(part.site(run.store, projection).whose)
    finally:
        projection.close()


REBUILD = Operation(
    name="projection.rebuild",
    plan_type=RebuildPlan,
    plan=plan_rebuild,
    steps=(Step(rebuild_tenants, clear_unfinished, total="count"),),
)


def run_rebuild(store: Store, plan: RebuildPlan, progress: Advance = silent) -> journal.Outcome:
    """Do it; where the same was killed, go on with it.

    Raises:
        What `kos.projections.rebuild` raises; LeaseHeld, OperationUnfinished.
    """
    return journal.run(store, REBUILD, plan, progress, same=lambda begun: begun == plan)
