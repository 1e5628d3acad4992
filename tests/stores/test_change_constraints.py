"""Constraints: each ends as the change in one go would have made it, and no step before reads rows under a lock."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from change_by_hand import Scratch, before_contract, scratch_database, there_and_back
from kos import errors
from kos.schema_change.model import CREATE_INDEX, Action, Fill
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import spread

PEOPLE = (
    "create table people (id bigint primary key, tenant integer not null, email text, age integer, boss bigint)",
    "alter table people add constraint young check (age < 150)",
    "insert into people select n, n % 3, 'p' || n, n, null from generate_series(1, 50) n",
)
PETS = (
    *PEOPLE,
    "create table pets (id bigint primary key, owner_id bigint, kos_0 integer, tenant integer)",
    "alter table pets add foreign key (kos_0) references people",
    "insert into pets select n, n, 1, n % 3 from generate_series(1, 50) n",
)
ORPHANS = "insert into pets values (51, 999, 1, 0), (52, null, 1, 0)"
EVENTS = (
    *PEOPLE,
    "create table events (id bigint, at date not null, person bigint, kind text) partition by range (at)",
    "create table events_1 partition of events for values from ('2020-01-01') to ('2021-01-01')",
    "create table events_2 partition of events for values from ('2021-01-01') to ('2022-01-01')"
    " partition by list (kind)",
    "create table events_2a partition of events_2 for values in ('a')",
    "insert into events values (1, '2020-05-01', 1, 'b'), (2, '2021-05-01', 2, 'a'), (3, '2021-05-01', null, 'a')",
)
OF_PEOPLE = (
    "alter table people add check (age > 0)",
    "alter table people add constraint grown check (age > 0 and tenant >= 0) no inherit",
    "alter table people add check (age > 0 and tenant >= 0), add check (id > 0)",
    "alter table people add constraint later check (age > 25) not valid",
    "alter table people add unique (email)",
    "alter table people add unique nulls not distinct (tenant, boss, id) include (email) with (fillfactor = 70)",
    "alter table people add constraint one_age unique (age) deferrable initially deferred",
    "alter table people drop constraint people_pkey; alter table people add primary key (tenant, id)",
    "alter table people drop constraint people_pkey, add constraint people_pkey primary key (email)",
    "alter table people add foreign key (boss) references people on delete set null",
    "alter table people rename constraint people_pkey to pk; comment on constraint pk on people is 'the key'",
    "create unique index people_mail on people (email); alter table people add unique using index people_mail",
    "alter table people add exclude using gist (int4range(age, age + 1) with &&) where (age > 10)",
    "alter table people drop constraint young, add constraint young check (age < 200);"
    " comment on constraint young on people is 'not that young'",
    "alter table people add constraint " + "c" * 63 + " unique (email, age)",
)
OF_PETS = (
    "alter table pets add foreign key (owner_id) references people match full on update cascade deferrable",
    "alter table people add unique (tenant, id); alter table pets add constraint of_tenant"
    " foreign key (tenant, owner_id) references people (tenant, id) on delete set null (owner_id)",
    "alter table pets drop constraint pets_kos_0_fkey, add foreign key (kos_0) references people on delete cascade;"
    " alter table pets validate constraint pets_kos_0_fkey",
    # Both tables more than once, so neither may go first as a whole.
    "alter table people add column uid bigint generated always as identity;"
    " alter table people drop constraint young; alter table pets drop constraint pets_kos_0_fkey;"
    " alter table people drop constraint people_pkey; alter table people add primary key (uid);"
    " alter table pets add foreign key (owner_id) references people (uid)",
    "alter table pets add constraint soon foreign key (owner_id) references people not valid;"
    " alter table pets validate constraint soon",
)
OF_EVENTS = (
    "alter table events add foreign key (person) references people",
    "alter table events add check (id > 0)",
    "alter table people add column event bigint; alter table people add constraint x check (event > 0)",
)


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.mark.parametrize("change", spread(OF_PEOPLE, 2))
def test_constraint_of_a_table(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, PEOPLE, change)


@pytest.mark.parametrize("change", OF_PETS)
def test_foreign_key(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, PETS, change)


@pytest.mark.parametrize("change", OF_EVENTS)
def test_constraint_of_a_partitioned_table(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, EVENTS, change)


def test_partitions_are_not_read_again_for_the_whole_table(scratch: Scratch) -> None:
    schema = scratch.schema(*EVENTS)
    recipe = scratch.plan(schema, "alter table events add foreign key (person) references people")
    *steps, last = recipe.tighten
    scratch.do(schema, steps)
    scratch.run(schema, "set local session_replication_role = replica", "update events set person = 77 where id = 1")
    scratch.do(schema, [last])  # would fail if it looked


def test_names_are_those_that_postgresql_gives(scratch: Scratch) -> None:
    long = "a_rather_long_name_of_a_table_that_has_to_be_cut_somewhere"
    before = (f"create table {long} (a_column_with_a_long_name_too integer primary key, b integer)",)
    change = f"""
        alter table {long} add unique (a_column_with_a_long_name_too, b), add unique (b), add unique (b);
        alter table {long} add check (a_column_with_a_long_name_too > 0), add check (b > 0), add check (b > 1),
          add foreign key (b) references {long};
        create index on {long} (b); create index on {long} (b); create index on {long} (abs(b), (b + 1), b)"""
    there_and_back(scratch, before, change)


def test_constraint_on_a_renamed_column_follows_it(scratch: Scratch) -> None:
    change = """
        alter table people rename column age to years;
        alter table people add check (years > 0), add unique (years);
        create index on people (abs(years)) where years > 3"""
    there_and_back(scratch, PEOPLE, change)


@pytest.mark.parametrize(("fate", "left"), [("delete", [(52, None)]), ("null", [(51, None), (52, None)])])
def test_orphans(scratch: Scratch, fate: str, left: list[tuple[int, None]]) -> None:
    schema = scratch.schema(*PETS, ORPHANS)
    change = f"-- kos: orphans pets.owner_id {fate}\nalter table pets add foreign key (owner_id) references people"
    recipe = scratch.plan(schema, change)
    assert [type(each) for each in recipe.tighten] == [Action, Fill, Action]
    scratch.do(schema, before_contract(recipe))
    assert scratch.run(schema, "select id, owner_id from pets where id > 50 order by id") == left
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        scratch.do(
            untouched := scratch.schema(*PETS, ORPHANS), before_contract(scratch.plan(untouched, change.split("\n")[1]))
        )


def test_half_a_reference_is_an_orphan_where_it_must_match_fully(scratch: Scratch) -> None:
    half = "insert into pets values (53, 1, 1, null)"
    schema = scratch.schema(*PETS, half, "alter table people add unique (tenant, id)")
    change = (
        "-- kos: orphans pets.owner_id null\n"
        "alter table pets add foreign key (tenant, owner_id) references people (tenant, id) match full"
    )
    scratch.do(schema, before_contract(scratch.plan(schema, change)))
    assert scratch.run(schema, "select owner_id from pets where id = 53") == [(None,)]


def test_validation_is_taken_back(scratch: Scratch) -> None:
    before = (*PEOPLE, "alter table people add constraint grown check (age > 0) not valid")
    there_and_back(scratch, before, "alter table people validate constraint grown")


def test_rows_are_never_read_under_a_lock_that_stops_writers(scratch: Scratch) -> None:
    schema = scratch.schema(*PETS)
    change = """
        alter table people add check (age > 0), add unique (email);
        alter table pets add foreign key (owner_id) references people"""
    recipe = scratch.plan(schema, change)
    assert {each.lock for each in recipe.tighten if isinstance(each, Action) and each.scans} == {
        "SHARE UPDATE EXCLUSIVE"
    }
    assert not recipe.expand + recipe.build
    # What doesn't scan doesn't see that these are wrong.
    scratch.run(schema, "insert into people values (99, 1, 'x', -1)", "insert into pets values (99, 12345)")
    scratch.do(schema, [each for each in recipe.tighten if not (isinstance(each, Action) and each.scans)])
    assert not any(each.scans or each.kind == CREATE_INDEX for each in recipe.contract)


def test_dropped_constraint_stays_until_the_end(scratch: Scratch) -> None:
    before = (*PEOPLE, "alter table people add constraint grown check (age > 0)")
    schema = there_and_back(scratch, before, "alter table people drop constraint grown")
    recipe = scratch.plan(schema, "alter table people drop constraint people_pkey")
    assert not before_contract(recipe)
    assert "until then new code" in recipe.warnings[0]
    assert not scratch.plan(schema, "alter table people drop constraint if exists never").contract


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("alter table people drop constraint people_pkey", "foreign keys need it"),
        ("alter table people drop constraint nothing", "no such constraint"),
        ("alter table events add foreign key (person) references people not valid", "that isn't valid"),
        ("alter table people add constraint n not null age", "before 18"),
        ("alter table big add exclude using gist (int4range(n, n + 1) with &&)", "concurrently"),
        ("alter table people add constraint people_pkey unique (email)", "name is taken"),
        ("-- kos: orphans people.id null\nalter table people add foreign key (id) references big", "NOT NULL"),
        ("drop index people_pkey", "that of constraint"),
    ],
)
def test_what_is_refused(scratch: Scratch, change: str, reason: str) -> None:
    schema = scratch.schema(
        *EVENTS,
        "alter table people add foreign key (boss) references people",
        "create table big (n integer primary key)",
        "insert into big select generate_series(1, 10000)",
    )
    with pytest.raises(errors.ChangeRefused, match=reason) as refused:
        scratch.plan(schema, change)
    assert refused.value.instead


WAITING = "deferrable initially deferred"


@pytest.mark.parametrize(
    ("key", "change"),
    [
        (f", unique (n) {WAITING}", "alter table t rename n to m"),
        (f", unique (n) {WAITING}", "alter table t alter n type bigint"),
        ("", f"alter table t add constraint t_once unique (n) {WAITING}"),
        ("", f"alter table t add constraint t_once primary key (n) {WAITING}"),
        ("", f"-- kos: fill t.o = n\nalter table t add o integer not null, add primary key (o) {WAITING}"),
        (
            f", constraint t_once unique (n) {WAITING}",
            f"alter table t drop constraint t_once; alter table t add constraint t_once unique (n, id) {WAITING}",
        ),
    ],
)
def test_two_values_are_swapped_until_the_end(scratch: Scratch, key: str, change: str) -> None:
    before = (f"create table t (id integer, n integer{key})", "insert into t values (1, 1), (2, 2)")
    there_and_back(scratch, before[:1], change)
    schema = scratch.schema(*before)
    recipe = scratch.plan(schema, change)
    swap = ("update t set n = 2 where id = 1", "update t set n = 1 where id = 2", "update t set n = id")
    for steps in (recipe.expand, recipe.fill, recipe.build, recipe.tighten):
        scratch.do(schema, steps)
        scratch.run(schema, *swap)


def test_a_table_that_grew_gets_no_exclusion(scratch: Scratch) -> None:
    """Nobody could read it while its index is built; it was empty when the change was planned."""
    schema = scratch.schema("create table stays (n integer)")
    recipe = scratch.plan(schema, "alter table stays add exclude using gist (int4range(n, n + 1) with &&)")
    scratch.run(schema, "insert into stays select generate_series(1, 9000)")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="has grown since the plan"):
        scratch.do(schema, recipe.tighten)
    scratch.run(schema, "truncate stays")
    scratch.do(schema, recipe.tighten)
