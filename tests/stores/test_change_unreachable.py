"""A change in several databases, of which one does not let anybody in: the others are done, and it is when it does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from fix_database import as_installer, as_superuser
from kos import errors
from kos.schema_change import change_status, finish, plan_change, roll_back, start
from kos.schema_change.model import ChangePlan
from kos.tenancy import Store, create_tenant, find_tenant, install
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import short

CHANGE = """
-- kos: fill atoms.shade = 'grey'
alter table atoms add column shade text not null;
"""


@dataclass
class Two:
    """A store on two databases, and what keeps everybody out of the `other`, whose tenant is *far*."""

    store: Store
    other: str
    superuser: psycopg.Connection[tuple[object, ...]]

    @contextmanager
    def closed(self) -> Iterator[None]:
        """While nobody gets in, and who was in is out."""
        self._let_in(False)
        end = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
        self.superuser.execute(end, (self.other,))
        try:
            yield
        finally:
            self._let_in(True)

    def _let_in(self, yes: bool) -> None:
        statement = "alter database {} with allow_connections " + ("true" if yes else "false")
        self.superuser.execute(SQL(statement).format(Identifier(self.other)))

    def plan(self) -> ChangePlan:
        return plan_change(self.store, CHANGE, name="shades")

    def has(self, tenant: str) -> bool | None:
        """Whether the column is required there; None if there is none."""
        with self.store.tenant(tenant) as session:
            row = session.execute(
                "select attnotnull from pg_attribute where attrelid = 'atoms'::regclass and attname = 'shade'"
            ).fetchone()
        return None if row is None else bool(row[0])


@pytest.fixture(params=short(["shard", "database"], "database"))
def two(request: pytest.FixtureRequest, template: Stack, database: Topology) -> Iterator[Two]:
    """The other is that of another shard, or of a tenant that has its own."""
    first, topology = database.control, database
    if request.param == "shard":
        primary = replace(first.primary, database=f"{first.primary.database}_east")
        with as_installer(database, "knowledge_os") as connection:
            connection.execute(SQL("create database {}").format(Identifier(primary.database)))
        topology = replace(database, shards=(first, replace(first, number=2, name="east", primary=primary)))
        install(topology)
    with Store(topology) as store, as_superuser(template, "knowledge_os") as superuser:
        create_tenant(store, "near", "schema")
        if request.param == "shard":
            create_tenant(store, "far", "schema", shard="east")
        else:
            create_tenant(store, "far", "database")
        yield Two(store, find_tenant(store, "far").database, superuser)


def incomplete(two: Two, work: Callable[[], object]) -> None:
    """It says that one failed, and so does the status."""
    with pytest.raises(errors.ChangeIncomplete) as caught:
        work()
    assert two.other in str(caught.value)
    assert any(two.other in each for each in change_status(two.store).unreachable)


@pytest.mark.long
def test_the_others_are_started_and_finished(two: Two) -> None:
    plan = two.plan()
    with two.closed():
        for _ in range(2):  # begun, and gone on with
            incomplete(two, lambda: start(two.store, plan))
            assert two.has("near") is False
    assert start(two.store, plan).state == "waiting"
    assert two.has("far") is False
    with two.closed():
        for _ in range(2):
            incomplete(two, lambda: finish(two.store))
            (state,) = {
                each.state for each in change_status(two.store).placements if each.placement.endswith("tenant_near")
            }
            assert state == "done"
    finish(two.store)
    assert two.has("near") is two.has("far") is True


def test_the_others_are_taken_back(two: Two) -> None:
    start(two.store, two.plan())
    with two.closed():
        for _ in range(2):
            with pytest.raises(errors.KosError, match=two.other):
                roll_back(two.store)
            assert any(two.other in each for each in change_status(two.store).unreachable)
            with pytest.raises(errors.PlacementBehind), two.store.tenant("near") as session:
                session.execute("select kos.require_change('shades')")
    assert roll_back(two.store).state == "rolled_back"
    assert two.has("near") is two.has("far") is None


def test_what_the_change_never_came_to_is_not_needed_to_take_it_back(two: Two) -> None:
    plan = two.plan()
    with two.closed():
        incomplete(two, lambda: start(two.store, plan))
        assert roll_back(two.store).state == "rolled_back"
        assert two.has("near") is None
    assert two.has("far") is None
