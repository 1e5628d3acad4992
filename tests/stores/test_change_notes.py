"""What a plan says of tables that get another column or whose rows are sent elsewhere, and that it is true."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from change_by_hand import Scratch, scratch_database
from kos import errors
from kos.topology.embedded import Stack
from kos.topology.model import Topology

TABLES = (
    "create table orders (id integer primary key, price integer, note text)",
    "insert into orders values (1, 2, 'three')",
    "create table events (id integer, at date) partition by range (at)",
    "create table events_1 partition of events for values from ('2020-01-01') to ('2021-01-01')",
    "create table keyless (id integer, other integer)",
)
ADD = "alter table orders add column size integer"
RENAME = "alter table orders rename note to remark"
RETYPE = "alter table orders alter price type bigint"
EVENT = "alter table events add column size integer"
FILL = "-- kos: fill keyless.size = id\nalter table keyless add column size integer"


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.fixture
def schema(scratch: Scratch) -> Iterator[str]:
    """One whose tables all are published while the test lasts."""
    name = scratch.schema(*TABLES)
    yield name
    scratch.connection.execute("drop publication if exists everybody")


def noted(scratch: Scratch, schema: str, change: str, *words: str) -> int:
    """How many notes have all these words."""
    return sum(all(word in note for word in words) for note in scratch.plan(schema, change).warnings)


@pytest.mark.parametrize("change", [ADD, RENAME, RETYPE, f"{ADD}; {RENAME}; {RETYPE}"])
def test_a_table_that_gets_a_column_has_each_note_once(scratch: Scratch, schema: str, change: str) -> None:
    assert noted(scratch, schema, change, "orders gets a column", "0A000") == 1
    assert noted(scratch, schema, change, "orders", "COPY FROM without a list") == 1
    assert noted(scratch, schema, change, "the last of the columns") == (RETYPE in change)


@pytest.mark.parametrize("change", ["alter table orders drop column note", "create index on orders (note)"])
def test_one_that_gets_none_has_no_such_note(scratch: Scratch, schema: str, change: str) -> None:
    assert noted(scratch, schema, change, "gets a column") == 0


def test_copy_without_columns_fails_while_there_is_another(scratch: Scratch, schema: str) -> None:
    scratch.do(schema, scratch.plan(schema, ADD).expand)
    scratch.connection.execute("select set_config('search_path', %s, false)", (schema,))
    with (
        pytest.raises(psycopg.errors.BadCopyFileFormat),
        scratch.connection.cursor().copy("copy orders from stdin") as copy,
    ):
        copy.write("2\t3\tfour\n")
    scratch.connection.execute("reset search_path")


def test_what_is_retyped_is_the_last_column_then(scratch: Scratch, schema: str) -> None:
    recipe = scratch.plan(schema, RETYPE)
    scratch.do(schema, (*recipe.expand, *recipe.fill, *recipe.build, *recipe.tighten, *recipe.contract))
    assert scratch.run(schema, "select * from orders") == [(1, "three", 2)]


def test_a_partition_without_the_column_is_not_attached(scratch: Scratch, schema: str) -> None:
    assert noted(scratch, schema, EVENT, "events", "ATTACH PARTITION") == 1
    assert noted(scratch, schema, ADD, "ATTACH PARTITION") == 0
    scratch.do(schema, scratch.plan(schema, EVENT).expand)
    scratch.run(schema, "create table events_2 (id integer, at date)")
    attach = "alter table events attach partition events_2 for values from ('2021-01-01') to ('2022-01-01')"
    with pytest.raises(psycopg.errors.DatatypeMismatch):
        scratch.run(schema, attach)


@pytest.mark.parametrize(
    ("what", "change", "count"),
    [
        ("table {}.orders", ADD, 1),
        ("table {}.orders", f"{RENAME}; {RETYPE}", 1),
        ("tables in schema {}", EVENT, 1),
        ("table {}.events", EVENT, 1),
        ("table {}.events_1", EVENT, 1),
        ("table {}.orders (id, note)", ADD, 0),
        ("table {}.events", ADD, 0),
    ],
)
def test_subscribers_need_the_column_before(scratch: Scratch, schema: str, what: str, change: str, count: int) -> None:
    scratch.run(schema, f"create publication everybody for {what.format(schema)}")
    columns = {ADD: "size", EVENT: "size"}.get(change, "price_new, remark")
    assert noted(scratch, schema, change, "publication everybody", f"add {columns} there before") == count


def test_a_published_table_without_identity_is_not_filled(scratch: Scratch, schema: str) -> None:
    scratch.plan(schema, FILL)
    scratch.run(schema, f"create publication everybody for tables in schema {schema}")
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
        scratch.run(schema, "update keyless set id = 3")
    with pytest.raises(
        errors.ChangeRefused, match=r"everybody sends its rows, and .*keyless has no replica"
    ) as refused:
        scratch.plan(schema, FILL)
    scratch.run(schema, refused.value.instead)
    scratch.plan(schema, FILL)
    with pytest.raises(errors.ChangeRefused, match="events_1 has no replica identity"):
        scratch.plan(schema, FILL.replace("keyless", "events"))
    scratch.run(schema, "alter publication everybody set (publish = 'insert, delete')")
    scratch.plan(schema, FILL.replace("keyless", "events"))


def test_orphans_of_a_published_table_without_identity_are_not_deleted(scratch: Scratch, schema: str) -> None:
    key = "alter table keyless add foreign key (other) references orders"
    scratch.run(schema, "create publication everybody for table keyless with (publish = 'delete')")
    with pytest.raises(errors.ChangeRefused, match="no replica identity"):
        scratch.plan(schema, f"-- kos: orphans keyless.other delete\n{key}")
    scratch.plan(schema, f"-- kos: orphans keyless.other null\n{key}")
    scratch.plan(schema, key)


@pytest.mark.parametrize("name", ["~later", "überwacht", "!early", " early"])
@pytest.mark.parametrize(
    "change", [RENAME, RETYPE, "-- kos: fill orders.size = price\nalter table orders add size integer"]
)
def test_a_trigger_whose_name_sorts_outside_of_ours_is_refused(
    scratch: Scratch, schema: str, name: str, change: str
) -> None:
    made = (
        "create function raised() returns trigger language plpgsql as"
        " $$ begin new.price := new.price + 1; return new; end $$",
        f'create trigger "{name}" before insert or update on orders for each row execute function raised()',
    )
    scratch.run(schema, *made)
    if "fill" in change and "early" in name:
        scratch.plan(schema, change)  # it is filled after that
        return
    with pytest.raises(errors.ChangeRefused, match=f"the trigger {name} of orders") as refused:
        scratch.plan(schema, change)
    scratch.run(schema, refused.value.instead.replace("…", "between"))
    scratch.plan(schema, change)


def test_a_partitions_trigger_that_sorts_after_ours_is_refused(scratch: Scratch, schema: str) -> None:
    scratch.run(
        schema,
        "create function back() returns trigger language plpgsql as $$ begin return new; end $$",
        'create trigger "~last" before update on events_1 for each row execute function back()',
        'create trigger "~after" after update on events for each row execute function back()',
    )
    with pytest.raises(errors.ChangeRefused, match="the trigger ~last of events_1"):
        scratch.plan(schema, "alter table events alter id type bigint")
