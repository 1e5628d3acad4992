"""Change a schema online: ordinary SQL in, no failed statement out.

Promise: while a change runs, code that knows the schema of before and code that knows the one of after both work, and
no statement waits for longer than one lock's limit. It can be killed anywhere, and taken back until it is finished.

Invariants: `start` only adds what nobody can trip over; `finish` tightens, then drops. What must be seen together
commits together. An action and the note that it was done commit together.

Words: *change*, *recipe*, *action*, *fill*, *placement*, *expand*, *tighten*, *contract*; see `docs/glossary.md`.
"""

from __future__ import annotations

from kos.schema_change.lint import Finding, lint
from kos.schema_change.make import plan_change
from kos.schema_change.model import Action, ChangePlan, Fill, Placement, Recipe, Scope
from kos.schema_change.start import find_open, finish, go_on, leave_out, roll_back, start
from kos.schema_change.status import ChangeStatus, PlacementStatus, change_status, throttle
from kos.schema_change.throttle import Limits

__all__ = [
    "Action",
    "ChangePlan",
    "ChangeStatus",
    "Fill",
    "Finding",
    "Limits",
    "Placement",
    "PlacementStatus",
    "Recipe",
    "Scope",
    "change_status",
    "find_open",
    "finish",
    "go_on",
    "leave_out",
    "lint",
    "plan_change",
    "roll_back",
    "start",
    "throttle",
]
