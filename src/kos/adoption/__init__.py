"""Taking existing tables in, table by table and level by level, and out again.

Promise: before anything is changed it is said what there is, what is in the way, and what it costs; level *observe*
changes nothing at all.

Invariants: a plan is made by reading only. Tables are changed with the rights of their owner, which kos has by
membership that it never inherits. What can't be taken in is said table by table, with the SQL that mends it.

Words: to *adopt* is to take a table in; *level* (observe, log, enforce); *tenant column*; *root* (the table whose rows
are the tenants); *child* (a table that belongs to a tenant by its references only); *shared* (of no tenant); *baseline*
(what becomes of the rows that are there already).
"""

from kos.adoption.adopt import ADOPT, Adopted, Planned, adopt_tables, planned_adoption
from kos.adoption.model import BASELINES, LEVELS, Effects, Plan, Table, Wanted
from kos.adoption.plan import check, plan
from kos.adoption.release import RELEASE, Released, ReleasePlan, plan_release, release_tables, released
from kos.adoption.secure import check_effects
from kos.adoption.status import Status, status
from kos.adoption.uninstall import Uninstalled, plan_uninstall, uninstall

__all__ = [
    "ADOPT",
    "BASELINES",
    "LEVELS",
    "RELEASE",
    "Adopted",
    "Effects",
    "Plan",
    "Planned",
    "ReleasePlan",
    "Released",
    "Status",
    "Table",
    "Uninstalled",
    "Wanted",
    "adopt_tables",
    "check",
    "check_effects",
    "plan",
    "plan_release",
    "plan_uninstall",
    "planned_adoption",
    "release_tables",
    "released",
    "status",
    "uninstall",
]
