"""The table of docs/schema-change.md on prepared `select *`: each row is tried, and says what is."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import psycopg
import pytest
from change_drivers import CASES, EACH, NOTHING, ONCE, Attempt, Case, Place

from kos.tenancy import Tenant
from kos.topology.model import Topology

PAGE = (Path(__file__).parents[2] / "docs/schema-change.md").read_text(encoding="utf-8")
CACHED = re.compile("cached (statement )?plan|the tables of 'acme' changed")
OFTEN = 16  # psycopg prepares what it has run five times, also after it has forgotten it


def fails(attempt: Attempt) -> bool:
    """For that reason; any other is an error."""
    try:
        attempt()
    except Exception as error:  # each driver has its own
        if not CACHED.search(str(error)):
            raise
        return True
    return False


def outcome(failed: list[bool]) -> str:
    if not any(failed):
        return NOTHING
    if all(failed):
        return EACH
    return ONCE if failed == [True, *[False] * (OFTEN - 1)] else f"fails in {sum(failed)} of {OFTEN}"


def test_the_page_has_a_row_for_each_case() -> None:
    section = PAGE.split("## Prepared `select *`")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (.+?) \| (.+?) \|$", section, re.MULTILINE)
    assert [driver for driver, _ in rows] == [each.driver for each in CASES]
    for (driver, said), each in zip(rows, CASES, strict=True):
        assert re.match(rf"{each.outcome}\b", said), f"{driver}: {said}"


@pytest.mark.long
@pytest.mark.parametrize("each", CASES, ids=[each.open.__name__ for each in CASES])
def test_each_row(
    each: Case, database: Topology, superuser: psycopg.Connection[Any], tenant: Tenant, request: pytest.FixtureRequest
) -> None:
    superuser.execute("create table public.things (id integer, kind integer)")
    superuser.execute("insert into public.things values (1, 1)")
    superuser.execute("grant select on public.things to kos_app")
    place = Place(database, lambda: request.getfixturevalue("node_recipe"))
    with ExitStack() as end:
        attempt = each.open(place, end)
        assert not any(fails(attempt) for _ in range(OFTEN))
        superuser.execute(each.change.encode())
        assert outcome([fails(attempt) for _ in range(OFTEN)]) == each.outcome
    with ExitStack() as end:
        assert not fails(each.open(place, end)), "closed and opened again it goes on"
