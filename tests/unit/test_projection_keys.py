"""A row's key as its tenant knows it."""

from __future__ import annotations

from uuid import UUID

import pytest

from kos.projections.changes import key_within
from kos.projections.graph import End
from kos.projections.model import key_text

TENANT = UUID("01900000-0000-7000-8000-000000000001")
OWN = str(TENANT)


@pytest.mark.parametrize(
    ("key", "known"), [((OWN, "a"), ("a",)), (("a", OWN), ("a",)), (("a",), ("a",)), (("42", "a"), ("42", "a"))]
)
def test_the_tenant_is_no_part_of_it(key: tuple[str, ...], known: tuple[str, ...]) -> None:
    assert key_within(TENANT, key) == known


def test_the_row_that_is_the_tenant_keeps_its_key() -> None:
    """So that an edge of another table leads there, by the column that says whose the row is."""
    assert key_text(key_within(TENANT, (OWN,))) == End("Account", ("account_id",)).key({"account_id": OWN})
