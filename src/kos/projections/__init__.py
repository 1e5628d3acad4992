"""Projections: stores that hold nothing that PostgreSQL doesn't, follow the log, and can be made anew while in use.

Promise: what a projection shows of a tenant is what its tables held at the position that it says; nothing is skipped,
nothing comes back that was deleted, and no tenant sees what is another's.

Invariants: the position stands in the store, and moves in one transaction with what it stands for, from the position
that the writer believes in: so no older event can arrive. Only whole transactions are shown. A generation is shown when
it was found equal to the tables. What a store refuses is parked by row, and of that row nothing that comes after it is
applied.

Words: *projection*, *generation*, *standing*, *parked*, *bookmark*: see `docs/glossary.md`.
"""

from kos.projections.declared import declared, make
from kos.projections.follower import Follower, Progress
from kos.projections.generation import Comparison, Site, rebuild, verify
from kos.projections.model import (
    Change,
    Difference,
    Projection,
    Reached,
    Row,
    Standing,
    TableName,
    Wanted,
    Whose,
    key_text,
)
from kos.projections.whole import ProjectionStatus, status

__all__ = [
    "Change",
    "Comparison",
    "Difference",
    "Follower",
    "Progress",
    "Projection",
    "ProjectionStatus",
    "Reached",
    "Row",
    "Site",
    "Standing",
    "TableName",
    "Wanted",
    "Whose",
    "declared",
    "key_text",
    "make",
    "rebuild",
    "status",
    "verify",
]
