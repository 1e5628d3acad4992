"""While a change is open nobody sees rows that neither the schema of before nor the one of after shows."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from change_by_hand import Scratch, scratch_database, there_and_back
from kos.schema_change.model import Action
from kos.topology.embedded import Stack
from kos.topology.model import Topology

DOCS = (
    "create table docs (id integer primary key, tenant text not null)",
    "insert into docs select n, 'tenant ' || n % 3 from generate_series(1, 9) n",
)
OWN = "create policy own on docs using (tenant = current_setting('app.tenant', true))"


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


CHANGES = {
    "a grant with row security": (
        (),
        f"alter table docs enable row level security; {OWN}; grant select on docs to kos_app",
        None,
    ),
    "a grant before it": (
        (),
        f"grant select on docs to kos_app; {OWN}; alter table docs force row level security, enable row level security",
        None,
    ),
    "a policy with one that restricts": (
        ("alter table docs enable row level security", "grant select on docs to kos_app"),
        f"create policy everything on docs using (true); {OWN.replace('using', 'as restrictive using')}",
        0,
    ),
    "a policy beside one that is altered": (
        ("alter table docs enable row level security", "grant select on docs to kos_app", OWN),
        "create policy everything on docs using (true); alter policy own on docs using (false);"
        " alter table docs enable row level security",
        0,
    ),
    "of a table that is renamed": (
        (),
        f"alter table docs rename to papers; {OWN.replace('docs', 'papers')};"
        " alter table papers enable row level security; grant select on papers to kos_app",
        None,
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_what_lets_more_be_seen_waits_for_what_lets_less(scratch: Scratch, name: str) -> None:
    before, change, seen = CHANGES[name]
    there_and_back(scratch, (*DOCS, *before), change)
    schema = scratch.schema(*DOCS, *before)
    scratch.run(schema, f"grant usage on schema {schema} to kos_app")
    recipe = scratch.plan(schema, change)
    for step in (*recipe.expand, *recipe.fill, *recipe.build, *recipe.tighten):
        assert isinstance(step, Action)
        scratch.do(schema, [step])
        assert sees(scratch, schema) == seen, step.text


def test_a_grant_alone_is_there_at_once(scratch: Scratch) -> None:
    """With a REVOKE as well: code of after may come as another role."""
    schema = scratch.schema(*DOCS)
    scratch.run(schema, f"grant usage on schema {schema} to kos_app")
    recipe = scratch.plan(schema, "revoke all on docs from public; grant select on docs to kos_app")
    scratch.do(schema, recipe.expand)
    assert sees(scratch, schema) == 9


def sees(scratch: Scratch, schema: str) -> int | None:
    """How many rows an application does; None if it may not look."""
    with scratch.connection.transaction(force_rollback=True):
        may = scratch.connection.execute("select has_table_privilege('kos_app', %s, 'select')", (f"{schema}.docs",))
        if may.fetchone() == (False,):
            return None
        scratch.connection.execute("set local role kos_app")
        (count,) = scratch.connection.execute(f"select count(*) from {schema}.docs".encode()).fetchone() or (None,)
        return count
