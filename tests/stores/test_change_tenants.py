"""Tenants that are made while a change is open, and after it: what code that needs the change finds there."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import pytest
from psycopg.rows import TupleRow
from psycopg.sql import SQL, Identifier

from kos import errors
from kos.journal import Run
from kos.schema_change import (
    Action,
    ChangePlan,
    act,
    change,
    change_status,
    finish,
    leave_out,
    plan_change,
    roll_back,
    start,
)
from kos.schema_change.site import Site
from kos.tenancy import Store, Tenant, create, create_tenant, install, remove_tenant
from suites import short

CHANGE = """
-- kos: fill atoms.shade = 'grey'
alter table atoms add column shade text not null;
create index concurrently atoms_by_shade on atoms (shade);
create index atoms_by_lower on atoms (lower(name));
"""
TIERS = ("schema", pytest.param("database", marks=pytest.mark.long))


@pytest.fixture
def started(store: Store) -> Store:
    """A store whose change is started in the row tier and a schema, and not finished."""
    create_tenant(store, "acme")
    create_tenant(store, "initech", "schema")
    with store.tenant("initech") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'before')")
    start(store, plan_change(store, CHANGE, name="shades"))
    return store


def demand(store: Store, tenant: str) -> None:
    """As code does that can't work without the change."""
    with store.tenant(tenant) as session:
        session.execute("select kos.require_change('shades')")


def shape(store: Store, tenant: str) -> TupleRow | None:
    """Whether the column is required, and its index valid."""
    with store.tenant(tenant) as session:
        return session.execute(
            "select (select attnotnull from pg_attribute where attrelid = 'atoms'::regclass and attname = 'shade'),"
            " (select indisvalid from pg_index where indexrelid = to_regclass('atoms_by_shade'))"
        ).fetchone()


@pytest.mark.parametrize("tier", TIERS)
def test_one_that_is_made_after_the_end_has_the_change(started: Store, tier: str) -> None:
    finish(started)
    create_tenant(started, "late", tier)
    demand(started, "late")
    assert shape(started, "late") == (True, True)


@pytest.mark.long
def test_an_upgrade_does_not_make_up_for_what_was_left_out(store: Store) -> None:
    create_tenant(store, "acme")
    hooli = create_tenant(store, "hooli", "database")
    start(store, plan_change(store, CHANGE, name="shades"))
    demand(store, "hooli")
    leave_out(store, hooli.schema, database=hooli.database)
    with pytest.raises(errors.PlacementBehind):
        demand(store, "hooli")
    finish(store)
    assert install(store.topology) == []
    assert (shape(store, "acme"), shape(store, "hooli")) == ((True, True), (None, None))
    with pytest.raises(errors.PlacementBehind):
        demand(store, "hooli")


@pytest.mark.parametrize("tier", TIERS)
def test_one_that_is_made_meanwhile_knows_both(started: Store, tier: str) -> None:
    create_tenant(started, "late", tier)
    demand(started, "late")
    assert shape(started, "late") == shape(started, "initech") == (False, True)
    with started.tenant("late") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'old')")
        session.execute("insert into atoms (atom_type, name, shade) values ('T', 'new', 'red')")
    finish(started)
    demand(started, "late")
    assert shape(started, "late") == shape(started, "initech") == shape(started, "acme") == (True, True)
    with started.tenant("late") as session:
        assert session.execute("select shade from atoms order by shade").fetchall() == [("grey",), ("red",)]


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("end", [finish, roll_back])
def test_one_whose_making_was_killed_is_made_by_the_same_command(
    started: Store, tier: str, end: Callable[[Store], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within what the change adds, and before the tenant is whole; the same is ended with the others too."""
    real, count = act.do, itertools.count()

    def dies(site: Site, action: Action) -> None:
        real(site, action)
        if next(count) == 0:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(act, "do", dies)
        with pytest.raises(KeyboardInterrupt):
            create_tenant(started, "late", tier)
    if end is roll_back:
        end(started)
        create_tenant(started, "late", tier)
        assert shape(started, "late") == (None, None)
        return
    create_tenant(started, "late", tier)
    demand(started, "late")
    end(started)
    assert shape(started, "late") == (True, True)


@pytest.mark.long
def test_many_that_are_made_at_once_wait_for_each_other(started: Store) -> None:
    with ThreadPoolExecutor(3) as pool:
        list(pool.map(lambda name: create_tenant(started, name, "schema"), ("one", "two", "three")))
    for name in ("one", "two", "three"):
        demand(started, name)


def test_making_one_waits_for_nobody_at_work(started: Store) -> None:
    """As a concurrent index would, for whoever has an older snapshot."""
    with started.operator() as report:
        report.execute("begin isolation level repeatable read; select count(*) from kos.tenants")
        report.execute("set local statement_timeout = 0")
        with ThreadPoolExecutor(1) as pool:
            making = pool.submit(create_tenant, started, "late", "schema")
            try:
                making.result(timeout=60)
            finally:
                report.execute("rollback")
    demand(started, "late")


def test_a_command_that_takes_long_keeps_no_snapshot(started: Store) -> None:
    """What it holds is the name of its tenant, and nothing that a vacuum or a concurrent index waits for."""
    with started.operator() as look, create._alone(started, "late"):
        query = (
            "select a.backend_xmin::text from pg_stat_activity a join pg_locks l using (pid)"
            " where l.locktype = 'advisory' and l.granted and a.state = 'idle in transaction'"
            " and l.database = (select oid from pg_database where datname = current_database())"
        )
        assert look.execute(query).fetchall() == [(None,)]


def test_one_that_did_not_join_is_shown_to_be_behind_until_finish(
    started: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As one that an older library has made."""
    with monkeypatch.context() as patch:
        patch.setattr("kos.tenancy.create.join_open", lambda *_: None)
        late = create_tenant(started, "late", "schema")
    with pytest.raises(errors.PlacementBehind):
        demand(started, "late")
    assert states(started)[late.schema] == "behind"
    finish(started)
    demand(started, "late")
    assert shape(started, "late") == (True, True)


def test_the_function_of_a_fill_is_not_needed_to_make_a_tenant(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever makes one may have none of the code of who changes the schema."""
    create_tenant(store, "initech", "schema")
    start(store, plan_change(store, CHANGE.replace("= 'grey'", f"with {__name__}:grey(name)"), name="shades"))
    with monkeypatch.context() as patch:
        patch.delattr(f"{__name__}.grey")
        create_tenant(store, "late", "schema")
    with store.tenant("late") as session:
        session.execute("insert into atoms (atom_type, name) values ('T', 'old')")
    finish(store)
    with store.tenant("late") as session:
        assert session.execute("select shade from atoms").fetchall() == [("grey",)]


def grey(name: str) -> str:
    """A fill's function."""
    return "grey"


@pytest.mark.long
@pytest.mark.parametrize("end", short([finish, roll_back], roll_back))
def test_another_one_of_the_same_name_begins_anew(started: Store, end: Callable[[Store], object]) -> None:
    for _ in range(2):
        remove_tenant(started, "initech")
        create_tenant(started, "initech", "schema")
        demand(started, "initech")
    end(started)
    remove_tenant(started, "initech")
    create_tenant(started, "initech", "schema")
    if end is finish:
        demand(started, "initech")
    assert shape(started, "initech") == ((True, True) if end is finish else (None, None))


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("end", [finish, roll_back])
def test_one_that_goes_meanwhile_is_left_out(started: Store, tier: str, end: Callable[[Store], object]) -> None:
    create_tenant(started, "late", tier)
    remove_tenant(started, "late")
    create_tenant(started, "later", "schema")
    demand(started, "later")
    end(started)
    assert shape(started, "later") == ((True, True) if end is finish else (None, None))


@pytest.mark.long
@pytest.mark.parametrize("step", short(["tighten", "contract"], "contract"))
def test_one_that_is_made_while_finish_is_at_work_may_have_rows(
    started: Store, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is tightened when the others are done, not in one go."""
    real = change.everywhere

    def work(run: Run[ChangePlan], phase: str, *rest: Any, **lost: Any) -> None:
        real(run, phase, *rest, **lost)
        if phase == step and not made:
            made.append(create_tenant(started, "late", "schema"))
            demand(started, "late")
            with started.tenant("late") as session:
                session.execute("insert into atoms (atom_type, name) values ('T', 'old')")

    made: list[Tenant] = []
    monkeypatch.setattr(change, "everywhere", work)
    finish(started)
    assert made
    assert shape(started, "late") == shape(started, "initech") == (True, True)
    with started.tenant("late") as session:
        assert session.execute("select shade from atoms").fetchall() == [("grey",)]


def test_what_can_not_be_looked_at_is_said(started: Store) -> None:
    """Nobody knows then which schemas have come."""
    late = create_tenant(started, "late", "database")
    with started.operator() as operator:
        operator.execute(SQL("drop database {} with (force)").format(Identifier(late.database)))
    assert any("schemas that have come since" in each for each in change_status(started).unreachable)


def states(store: Store) -> dict[str, str]:
    """What `kos change status` says, by schema."""
    return {each.placement.rsplit("/", 1)[1]: each.state for each in change_status(store).placements}


@pytest.mark.long
def test_one_that_has_its_tables_and_no_more_is_its_makers(started: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two who add the same to it would be in each other's way."""
    real = create.making

    def changes_of_late() -> list[Any]:
        with started.operator() as operator:
            query = "select name from kos.changed_schemas where schema_name = 'tenant_late'"
            return operator.execute(query).fetchall()

    @contextmanager
    def making(store: Store) -> Iterator[Any]:
        finish(store)
        assert changes_of_late() == []
        with real(store) as lock:
            yield lock

    monkeypatch.setattr(create, "making", making)
    create_tenant(started, "late", "schema")
    demand(started, "late")
    assert shape(started, "late") == shape(started, "initech") == (True, True)
    assert changes_of_late() == [("shades",)]


@pytest.mark.long
@pytest.mark.parametrize("tier", TIERS)
def test_one_that_is_made_before_a_rollback_never_hears_of_the_change(started: Store, tier: str) -> None:
    create_tenant(started, "late", tier)
    roll_back(started)
    for tenant in ("acme", "initech", "late"):
        with pytest.raises(errors.PlacementBehind):
            demand(started, tenant)
        assert shape(started, tenant) == (None, None)


def test_all_tenants_have_one_recipe(store: Store) -> None:
    for name, tier in (("acme", "row"), ("initech", "schema"), ("hooli", "schema"), ("umbrella", "database")):
        create_tenant(store, name, tier)
    plan = plan_change(store, CHANGE)
    assert len(plan.placements) == 4
    assert len(plan.recipes) == 1


def test_one_in_the_row_tier_shares_the_tables_that_are_changed(started: Store) -> None:
    create_tenant(started, "late")
    demand(started, "late")
    finish(started)
    assert shape(started, "late") == (True, True)


@pytest.mark.long
def test_what_comes_later_has_all_changes_in_their_order(started: Store) -> None:
    finish(started)
    start(started, plan_change(started, "alter table atoms rename column shade to tone;", name="tones"))
    create_tenant(started, "between", "schema")
    demand(started, "between")
    finish(started)
    create_tenant(started, "late", "schema")
    for tenant in ("acme", "initech", "between", "late"):
        with started.tenant(tenant) as session:
            session.execute("select kos.require_change('shades'), kos.require_change('tones')")
            session.execute("insert into atoms (atom_type, name, tone) values ('T', 'x', 'red')")
