"""`kos projection rebuild` as an operation of the journal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
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


def prepare_store(run: Run[RebuildPlan]) -> None:
    """See that the store of {projection} answers, and has its indexes."""
    with closing(make(run.store.topology, run.plan.projection)) as projection:
        projection.prepare()


def rebuild_tenants(run: Run[RebuildPlan]) -> None:
    """Make {count} tenants anew in {projection}, each beside what its readers see, and show each when it is equal."""
    with closing(make(run.store.topology, run.plan.projection)) as projection:
        for number in range(run.cursor or 0, run.plan.count):
            rebuild(run.plan.parts[number].site(run.store, projection), run.progress)
            with run.transaction():
                run.checkpoint(number + 1, done=number + 1)


REBUILD = Operation(
    name="projection.rebuild",
    plan_type=RebuildPlan,
    plan=plan_rebuild,
    # Final: each tenant that is shown is equal to its tables, and there is nothing better to go back to.
    steps=(Step(prepare_store), Step(rebuild_tenants, final=True, total="count")),
)


def run_rebuild(store: Store, plan: RebuildPlan, progress: Advance = silent) -> journal.Outcome:
    """Do it; where the same was killed, go on with it.

    Raises:
        What `kos.projections.rebuild` raises; LeaseHeld, OperationUnfinished.
    """
    return journal.run(store, REBUILD, plan, progress, same=lambda begun: begun == plan)
