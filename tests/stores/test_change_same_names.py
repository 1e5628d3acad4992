"""Constraints, triggers and policies have names of their table's: what is dropped of one is not dropped of another."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from change_by_hand import Scratch, scratch_database, there_and_back
from kos import errors
from kos.topology.embedded import Stack
from kos.topology.model import Topology

TWO = (
    "create table keys (id integer primary key)",
    "create table a (id integer primary key, amount integer constraint positive check (amount > 0),"
    " of integer constraint of_key references keys)",
    "create table b (id integer primary key, amount integer constraint positive check (amount > 0),"
    " of integer constraint of_key references keys, title text)",
    "create function fill_slug() returns trigger language plpgsql as 'begin new.title := new.title; return new; end'",
    "create trigger set_slug before insert on a for each row execute function fill_slug()",
    "create trigger set_slug before insert on b for each row execute function fill_slug()",
    "create policy seen on a using (amount > 1)",
    "create policy seen on b using (amount > 1)",
)


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.mark.parametrize(
    "change",
    [
        "alter table a drop constraint positive; drop policy seen on b; alter table b alter amount type bigint",
        "alter table a drop constraint of_key; alter table b alter of type bigint;"
        " alter table keys alter id type bigint",
        "alter table a drop constraint of_key; alter table keys alter id type bigint;"
        " alter table b alter of type bigint",
        "drop policy seen on a; drop policy seen on b; alter table b alter amount type bigint",
    ],
)
def test_the_others_is_still_there(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, TWO, change)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("drop trigger set_slug on a; alter table b rename title to name", "title"),
        ("drop policy seen on a; alter table b alter amount type bigint", "the policy seen reads it"),
        ("alter table a drop constraint of_key; drop table keys", "b refers to it"),
        ("alter table a drop constraint of_key; alter table keys drop constraint keys_pkey", "foreign keys need it: b"),
        ("alter table a drop constraint of_key; alter table b add constraint of_key check (id > 0)", "there is such"),
        (
            "alter table b rename constraint positive to above; drop policy seen on b;"
            " alter table b alter amount type bigint",
            "this change gives it another name above",
        ),
    ],
)
def test_the_others_is_in_the_way(scratch: Scratch, change: str, reason: str) -> None:
    schema = scratch.schema(*TWO)
    with pytest.raises(errors.ChangeRefused, match=reason):
        scratch.plan(schema, change)


def test_of_another_table_a_policy_that_reads_the_column_is_told_with_it(scratch: Scratch) -> None:
    more = "create policy others on a using (exists (select from b where b.amount = a.amount))"
    change = "drop policy seen on b; alter table b alter amount type bigint"
    schema = scratch.schema(*TWO, more)
    with pytest.raises(errors.ChangeRefused, match="the policy others of a reads it"):
        scratch.plan(schema, change)
    there_and_back(scratch, (*TWO, more), f"drop policy others on a; {change}")


@pytest.mark.parametrize(
    ("change", "also"),
    [
        ("alter table b drop column of", ("keys",)),
        ("alter table b drop constraint of_key", ("keys",)),
        ("drop table b", ("keys",)),
        ("drop table b, keys, a", ("keys", "a")),
        ("alter table b alter of type bigint", ("keys",)),
    ],
)
def test_a_foreign_key_that_goes_locks_both_tables(scratch: Scratch, change: str, also: tuple[str, ...]) -> None:
    """So both are named in the plan, and neither is kept while the other is waited for."""
    recipe = scratch.plan(scratch.schema(*TWO), change)
    assert also in [each.also for each in recipe.contract]
    there_and_back(scratch, TWO, change)


def test_names_that_are_quoted(scratch: Scratch) -> None:
    """As tools make them that keep the case of their classes."""
    before = (
        'create table "Order" (id integer primary key, total integer)',
        'create table "Line" (id integer, of integer constraint "Of" references "Order")',
        'create view "OrderView" as select total from "Order"',
    )
    there_and_back(scratch, before, 'drop view "OrderView"; alter table "Order" alter total type bigint')
    there_and_back(scratch, before, 'drop view "OrderView"; drop table "Line"; drop table "Order"')
    there_and_back(
        scratch, before, 'alter table "Line" drop constraint "Of"; drop view "OrderView"; drop table "Order"'
    )
