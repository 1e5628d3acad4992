"""Another type for a column of a partitioned table: its partitions have it too, those that come meanwhile as well."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from change_by_hand import Scratch, before_contract, scratch_database, there_and_back
from kos import errors
from kos.topology.embedded import Stack
from kos.topology.model import Topology

EVENTS = (
    "create table kinds (kind integer primary key)",
    "insert into kinds select n from generate_series(1, 5) n",
    """create table events (id integer not null, day date not null, kind integer default 3 not null references kinds
       on delete cascade, size integer default 7, n serial, code text,
       primary key (id, day) include (code), constraint odd unique (kind, id, day), check (size > 0))
       partition by range (day)""",
    "create table events_old partition of events for values from (minvalue) to ('2026-01-01') partition by list (kind)",
    "create table events_old_few partition of events_old for values in (1, 2)",
    "create table events_old_rest partition of events_old default",
    'create table "events New" partition of events for values from (\'2026-01-01\') to (\'2027-01-01\')',
    "insert into events (id, day, kind) select n, date '2025-11-01' + n, 1 + n % 5 from generate_series(1, 100) n",
    "create index events_size on events (size desc, code) where size > 3",
    "create unique index events_once on events (size, id, day, kind)",
    "create statistics both_of on size, code from events",
    "alter table events alter size set statistics 300",
    "comment on column events.size is 'in bytes'",
    "comment on index events_size is 'some'",
    "grant select (size), update (size) on events to public",
)
# A unique key of the partition that is partitioned itself needs `kind` as well.
FLAT = tuple(
    each.replace("primary key (id, day)", "primary key (id, day)").replace(" partition by list (kind)", "")
    for each in EVENTS
    if "events_old_" not in each
)
LATE = "create table events_late partition of events for values from ('2027-01-01') to ('2028-01-01')"


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        yield scratch


@pytest.mark.parametrize(
    "change",
    [
        "alter table events alter size type bigint",
        "alter table events alter size type numeric using size / 10.0, alter size set default 1",
        "alter table events alter id type bigint",
        "alter table events alter kind type bigint",
        "alter table events alter n type bigint",
        "alter table events alter code type varchar(9)",
        "alter table events rename size to length; alter table events alter length type bigint",
        "alter table events alter id type bigint, alter size type bigint, alter kind type bigint",
    ],
)
def test_column_of_a_partitioned_table(scratch: Scratch, change: str) -> None:
    schema = there_and_back(scratch, FLAT, change)
    assert scratch.run(schema, "select count(*), sum(kind) from events") == [(100, 300)]
