"""All kinds of change that are tried under load."""

from __future__ import annotations

from change_kinds_columns import COLUMNS
from change_kinds_constraints import CONSTRAINTS
from change_kinds_others import OTHERS
from change_kinds_pgroll import PGROLL

KINDS = (*PGROLL, *COLUMNS, *CONSTRAINTS, *OTHERS)
