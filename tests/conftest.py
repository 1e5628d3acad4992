"""Fixtures live in `fix_*.py`, one plugin per resource."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

pytest_plugins = ["fix_stack", "fix_database", "fix_own_postgres", "fix_tls", "fix_pgbouncer"]
