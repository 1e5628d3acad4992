"""Another type for a column of a partitioned table: its partitions have it too, those that come meanwhile as well."""

from __future__ import annotations

from collections.abc import Iterator

import psycopg
import pytest

from change_by_hand import Scratch, different, scratch_database, there_and_back
from kos import errors, sql
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import spread

EVENTS = (
    "create table kinds (kind integer primary key)",
    "insert into kinds select n from generate_series(1, 5) n",
    """create table events (id integer not null, day date not null, kind integer default 3 not null references kinds
       on delete cascade, size integer default 7, n serial, code text default 'a' not null, note text,
       primary key (id, day, code) include (n), constraint odd unique (kind, id, day, code), check (size > 0))
       partition by range (day)""",
    "create table events_old partition of events for values from (minvalue) to ('2026-01-01') partition by list (code)",
    "create table events_old_few partition of events_old for values in ('b', 'c')",
    "create table events_old_rest partition of events_old default",
    "create table \"events New\" partition of events for values from ('2026-01-01') to ('2027-01-01')",
    """insert into events (id, day, kind, code)
       select n, date '2025-11-01' + n, 1 + n % 5, chr(97 + n % 3) from generate_series(1, 100) n""",
    "create index events_size on events (size desc, note) where size > 3",
    "create unique index events_once on events (size, id, day, code)",
    "create statistics both_of on size, note from events",
    "alter table events alter size set statistics 300",
    "comment on column events.size is 'in bytes'",
    "comment on index events_size is 'some'",
    "grant select (size), update (size) on events to public",
)
LATE_ROW = "(200, '2027-02-02', 2, 5, default, 'a', 'note')"
LATE = "create table events_late partition of events for values from ('2027-01-01') to ('2028-01-01')"
# The file of an index: another one if it was built anew.
OF_KEY = "select relfilenode from pg_class where relname = '{name}' and relnamespace = current_schema()::regnamespace"
PAIRS = (
    "create table pairs (a integer, b integer, day date, primary key (a, b, day)) partition by range (day)",
    "create table pairs_2026 partition of pairs for values from ('2026-01-01') to ('2027-01-01')",
    "insert into pairs select n, n, '2026-02-02' from generate_series(1, 10) n",
)
OF_EVENTS = (
    "alter table events alter size type bigint",
    "alter table events alter size type numeric using size / 10.0, alter size set default 1",
    "alter table events alter id type bigint",
    "alter table events alter kind type bigint",
    "alter table events alter n type bigint",
    "alter table events alter note type varchar(9)",
    "alter table events alter id type bigint, alter size type bigint, alter kind type bigint",
)


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.mark.parametrize("change", spread(OF_EVENTS, 2))
def test_column_of_a_partitioned_table(scratch: Scratch, change: str) -> None:
    schema = there_and_back(scratch, EVENTS, change)
    assert scratch.run(schema, "select count(*), sum(kind) from events") == [(100, 300)]


def test_under_another_name_the_indexes_of_partitions_keep_theirs(scratch: Scratch) -> None:
    """PostgreSQL, which builds them anew, makes other names; those of before a rename are as good."""
    change = "alter table events rename size to length; alter table events alter length type bigint"
    naive = "alter table events alter size type bigint; alter table events rename size to length"
    there_and_back(scratch, EVENTS, change, naive=naive)


@pytest.mark.long
@pytest.mark.parametrize("column", ["id", "kind", "size"])
@pytest.mark.parametrize("when", ["expand", "fill", "build"])
def test_a_partition_that_comes_meanwhile(scratch: Scratch, column: str, when: str) -> None:
    change, come = f"alter table events alter {column} type bigint", f"insert into events values {LATE_ROW}"
    events = [each for each in EVENTS if "set statistics" not in each]  # which no partition gets that comes later
    expected, schema = scratch.schema(*events, LATE, come, change), scratch.schema(*events)
    recipe = scratch.plan(schema, change)
    for phase in ("expand", "fill", "build", "tighten", "contract"):
        scratch.do(schema, getattr(recipe, phase))
        if phase == when:
            scratch.run(schema, LATE, come)
    scratch.run(schema, "insert into events (id, day, kind, code) values (201, '2027-03-02', 1, 'a')")
    found = f"select id, kind, size, pg_typeof({column})::text from events_late order by id"
    assert scratch.run(schema, found) == [(200, 2, 5, "bigint"), (201, 1, 7, "bigint")]
    assert different(scratch.dump(expected), scratch.dump(schema)) == []


def test_a_partition_with_rows_that_came_before_its_index_is_refused(scratch: Scratch) -> None:
    """Its index would be built with the table locked."""
    schema = scratch.schema(*EVENTS)
    recipe = scratch.plan(schema, "alter table events alter id type bigint")
    scratch.do(schema, (*recipe.expand, *recipe.fill, *recipe.build))
    many = "insert into events (id, day) select n, '2027-01-01' from generate_series(1, 9000) n"
    scratch.run(schema, LATE, many)
    with pytest.raises(psycopg.errors.InvalidObjectDefinition, match="events_late"):
        scratch.do(schema, recipe.tighten)


def test_a_partition_with_rows_that_came_before_the_foreign_key_is_refused(scratch: Scratch) -> None:
    """It would be read with nobody writing to any of them, nor to the table that they refer to."""
    schema = scratch.schema(*EVENTS, "create table days (n integer primary key)", "insert into days values (1)")
    change = "alter table events add constraint of_day foreign key (n) references days"
    recipe = scratch.plan(schema, change)
    many = "insert into events (id, day, n) select g, '2027-01-01', 1 from generate_series(1, 9000) g"
    scratch.run(schema, "delete from events", LATE, many)
    with pytest.raises(psycopg.errors.InvalidObjectDefinition, match="events_late is a partition that came after"):
        scratch.do(schema, recipe.tighten)
    own = "alter table events_late add constraint of_day foreign key (n) references days"
    scratch.run(schema, own)
    scratch.do(schema, recipe.tighten[-1:])


def test_a_partition_that_grew_after_the_tightening_needs_its_index_before_anything_is_dropped(
    scratch: Scratch,
) -> None:
    """Else it would be built with all partitions locked. What the error says makes it go on."""
    schema = scratch.schema(*EVENTS)
    recipe = scratch.plan(schema, "alter table events alter id type bigint")
    scratch.do(schema, (*recipe.expand, *recipe.fill, *recipe.build, *recipe.tighten))
    many = "insert into events (id, day) select n, '2027-01-01' from generate_series(1, 9000) n"
    scratch.run(schema, LATE, many, "create unique index of_others on events_late (id_new, day) include (code, n)")
    with pytest.raises(psycopg.errors.InvalidObjectDefinition, match="run this") as refused:
        scratch.do(schema, recipe.contract)
    said = refused.value.diag.message_primary or ""
    statement = said.partition("go on: ")[2]
    assert statement.startswith(f"CREATE UNIQUE INDEX CONCURRENTLY ON {schema}.events_late ")
    scratch.connection.execute(sql.literal(statement))
    before = scratch.run(schema, OF_KEY.format(name="events_late_id_new_day_code_n_idx"))
    scratch.do(schema, recipe.contract)
    assert scratch.run(schema, OF_KEY.format(name="events_late_pkey")) == before
    key = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'events_late_pkey'"
    assert "PRIMARY KEY (id, day, code) INCLUDE (n)" in str(scratch.run(schema, key))


def test_two_columns_of_one_key(scratch: Scratch) -> None:
    """The second one's key is made when the first has its name."""
    there_and_back(scratch, PAIRS, "alter table pairs alter a type bigint, alter b type bigint")


@pytest.mark.long
@pytest.mark.parametrize(
    ("own", "reason"),
    [
        ("create index of_part on events_old_few (size)", "index of_part"),
        ("create index of_part on events_old_few (abs(size))", "index of_part"),
        ("alter table events_old_few add unique (size, id)", "constraint events_old_few_size_id_key"),
        ("alter table events_old_few add check (size < 9)", "constraint events_old_few_size_check"),
        ("alter table events_old_few alter size set default 9", "default"),
        ("alter table events_old_few alter size set not null", "NOT NULL"),
        ("alter table events_old_few alter size set (n_distinct = 5)", "settings"),
        ("alter table events_old_few alter size set statistics 5", "settings"),
        ("comment on column events_old_few.size is 'x'", "comment"),
        ("grant select (size) on events_old_few to public", "grants"),
        ("create view shown as select size from events_old_few", "view shown"),
        ("create policy of_part on events_old_few using (size > 1)", "policy of_part"),
        ("create statistics of_part on size, kind from events_old_few", "statistics object .*of_part"),
    ],
)
def test_what_a_partition_has_of_its_own(scratch: Scratch, own: str, reason: str) -> None:
    schema = scratch.schema(*EVENTS, own)
    with pytest.raises(errors.ChangeRefused, match=f"of its own on it: .*{reason}.* of partition events_old_few"):
        scratch.plan(schema, "alter table events alter size type bigint")
    scratch.plan(schema, "alter table events alter note type varchar(9)")
