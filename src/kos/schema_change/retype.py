"""To be written."""

from __future__ import annotations

from kos.schema_change.draft import Planner

PLANNERS: dict[str, Planner] = {}
