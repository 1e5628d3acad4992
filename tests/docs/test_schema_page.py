"""docs/reference/schema.md has every table and role of the shipped schema."""

from __future__ import annotations

import re
from pathlib import Path

from kos.knowledge import TENANT_TABLES

REFERENCE = Path(__file__).parents[2] / "docs/reference"
PAGE = (REFERENCE / "schema.md").read_text(encoding="utf-8")
SNAPSHOT = (REFERENCE / "schema.sql").read_text(encoding="utf-8")


def rows(heading: str) -> set[str]:
    section = PAGE.split(f"\n## {heading}\n")[1].split("\n## ")[0]
    return set(re.findall(r"^\| `(\w+)` \|", section, re.MULTILINE))


def made(schema: str) -> set[str]:
    found = re.findall(rf"^CREATE (?:TABLE|VIEW) {schema}\.(\w+)", SNAPSHOT, re.MULTILINE)
    return {name for name in found if not name.endswith("_default")}


def test_every_table_has_its_row() -> None:
    assert rows("Schema kos") == made("kos")
    assert rows("Tables of tenants") == made("knowledge") == {*TENANT_TABLES, "knowledge_events"}


def test_every_role_has_its_row() -> None:
    assert rows("Roles") == set(re.findall(r"\b(kos_(?:owner|app|persona|operator|auditor|mover))\b", SNAPSHOT))


def test_every_policy_is_named() -> None:
    policies = set(re.findall(r"^CREATE POLICY (\w+)", SNAPSHOT, re.MULTILINE)) - {"auditor_access"}
    assert {name for name in policies if f"`{name}`" not in PAGE} == set()
