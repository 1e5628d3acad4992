"""Indexes of every sort, and what else hangs on a table: each ends as the change in one go would have made it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from change_by_hand import Scratch, before_contract, scratch_database, there_and_back
from kos import errors
from kos.schema_change.model import CREATE_INDEX, DROP_INDEX
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import spread

NOTES = (
    "create table notes (id bigint primary key, title text, body jsonb, place point, at timestamptz, mood vector(3))",
    "insert into notes select n, 't' || n, '{}', point(n, n), now(), '[1,2,3]' from generate_series(1, 50) n",
    "create index notes_at on notes (at)",
    "create unique index notes_pair on notes (id, title)",
    "grant select on notes to kos_app",
    "create policy old on notes using (id > 0)",
    "comment on table notes is 'before'",
    "create sequence counting",
    "create function said() returns trigger language plpgsql as 'begin return new; end'",
    "create trigger says before insert on notes for each row execute function said()",
    "create statistics some_notes on title, at from notes",
    "alter table notes set (fillfactor = 90)",
)
EVENTS = (
    "create table events (id bigint, at date not null, kind text) partition by range (at)",
    "create table events_1 partition of events for values from ('2020-01-01') to ('2021-01-01')",
    "create table events_2 partition of events for values from ('2021-01-01') to ('2022-01-01')"
    " partition by list (kind)",
    "create table events_2a partition of events_2 for values in ('a')",
    "insert into events values (1, '2020-05-01', 'b'), (2, '2021-05-01', 'a'), (3, '2021-05-01', 'a')",
)
INDEXES = (
    "create index on notes (title)",
    "create unique index concurrently if not exists by_title on notes (title text_pattern_ops desc nulls last)",
    "create index odd on notes using hash (title) with (fillfactor = 70) where title <> '{%s}' and id % 2 = 0",
    "create index on notes using gin (body jsonb_path_ops); create index on notes using gist (place)",
    "create index on notes using brin (at) with (pages_per_range = 4)",
    "create index near on notes using hnsw (mood vector_cosine_ops) with (m = 4, ef_construction = 16)",
    "create index near on notes using ivfflat (mood vector_l2_ops) with (lists = 1)",
    "create unique index on notes (lower(title), (id + 1)) include (at) nulls not distinct",
    "drop index notes_at; drop index if exists never",
    "drop index notes_at; create index notes_at on notes (at desc)",
    "alter index notes_at rename to notes_when; alter index notes_pair set (fillfactor = 60)",
    "alter index notes_pair reset (fillfactor)",
)
OF_EVENTS = (
    "create index on events (kind, id)",
    "create unique index whole on events (at, kind, id)",
    "create index on events (id) where id > 1; create index on events (id)",
)
OTHERS = (
    "create function f(a notes, b text[] default '{}', out c integer) language sql as 'select 1';"
    " create or replace function said() returns trigger language plpgsql as 'begin return null; end'",
    "create function notes_at() returns trigger language plpgsql as 'begin return new; end';"
    " create trigger t before update of title on notes for each row when (new.id > 1) execute function notes_at();"
    " drop trigger says on notes; drop function if exists nobody(text)",
    "comment on table notes is 'it''s {new}'; comment on column notes.title is null",
    "create index i on notes (id); comment on index i is 'x'; comment on index notes_at is 'y'",
    "grant select, insert on notes to kos_app with grant option; grant update (title, body) on notes to public",
    "grant all on notes to kos_app; grant usage on sequence counting to kos_app",
    "revoke select on notes from kos_app",
    "create policy p on notes for select using (notes.id > 1); create policy q on notes as restrictive using (true)",
    "alter policy old on notes using (id > 5); alter table notes enable row level security, force row level security",
    "drop policy old on notes; drop policy if exists no on notes",
    "create statistics on id, title from notes; drop statistics some_notes",
    "create statistics st (ndistinct) on id, at from notes; comment on statistics st is 'x'",
    "alter statistics some_notes set statistics 10",
    "alter table notes alter title set statistics 500, alter body set storage external, alter id set (n_distinct = 5)",
    "alter table notes set (fillfactor = 50, autovacuum_enabled = false), cluster on notes_at",
    "alter table notes reset (fillfactor); alter table notes set (toast.autovacuum_enabled = false)",
    "alter table notes replica identity using index notes_by; create unique index notes_by on notes (id)",
    "alter sequence counting increment by 5 owned by notes.id",
    "create materialized view many as select title from notes; create index on many (title)",
    "alter table notes rename title to name; comment on column notes.name is 'x';"
    " grant select (name) on notes to public; create policy p on notes using (name > 'a');"
    " create statistics st on id, name from notes",
    "alter table notes rename to papers; comment on table papers is 'x'; create index on papers (title);"
    " grant update on papers to kos_app; drop policy old on papers",
)


def in_one_go(change: str) -> str:
    """The same for PostgreSQL: in one transaction, and each statement after what it needs."""
    statements = change.replace(" concurrently", "").split("; ")
    return "; ".join(reversed(statements) if "using index notes_by" in statements[0] else statements)


@pytest.fixture(scope="module")
def scratch(template: Stack, module_database: Topology) -> Iterator[Scratch]:
    """A database for this module's schemas."""
    with scratch_database(template, module_database) as scratch:
        scratch.connection.execute("create extension if not exists vector")
        yield scratch


@pytest.mark.parametrize("change", INDEXES)
def test_index(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, NOTES, change, naive=in_one_go(change))


@pytest.mark.parametrize("change", OF_EVENTS)
def test_index_of_a_partitioned_table(scratch: Scratch, change: str) -> None:
    schema = there_and_back(scratch, EVENTS, change)
    assert scratch.run(schema, "select indexrelid::regclass from pg_index where not indisvalid") == []
    dropped = scratch.plan(schema, "drop index if exists events_id_idx")
    assert not any(each.kind == DROP_INDEX for each in dropped.contract)


@pytest.mark.parametrize("change", spread(OTHERS, 2))
def test_what_else_hangs_on_a_table(scratch: Scratch, change: str) -> None:
    there_and_back(scratch, NOTES, change, naive=in_one_go(change))


def test_unique_index_waits_only_where_old_code_could_trip(scratch: Scratch) -> None:
    schema = scratch.schema(*NOTES)
    change = """
        alter table notes add column slug text unique, add column place_of text;
        create unique index a on notes (lower(slug)); create unique index b on notes (id, slug);
        create index c on notes (title); alter table notes add unique (slug, place_of)"""
    recipe = scratch.plan(schema, change)
    names = [[each.index for each in steps if getattr(each, "index", None)] for steps in (recipe.build, recipe.tighten)]
    assert names == [["notes_slug_key", "a", "c", "notes_slug_place_of_key"], ["b"]]
    assert {each.kind for each in (*recipe.build, *recipe.tighten) if getattr(each, "index", None)} == {CREATE_INDEX}
    scratch.do(schema, before_contract(recipe))
    scratch.do(schema, recipe.contract)


def test_grants_that_were_there_stay_after_a_rollback(scratch: Scratch) -> None:
    schema = scratch.schema(*NOTES)
    recipe = scratch.plan(schema, "grant select, delete on notes to kos_app")
    assert "DELETE" in str(recipe.expand[0].undo).upper()
    assert "SELECT" not in str(recipe.expand[0].undo).upper()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ("drop index nothing", "no such index"),
        ("create index on only notes (id)", "somebody else"),
        ("create function said() returns trigger language plpgsql as ''", "already"),
        ("create index notes_at on notes (id)", "name is taken"),
        ("reindex index notes_at", "nothing of the schema"),
        ("alter table notes set unlogged", "copies the whole table"),
        ("update notes set id = 1", "rows"),
        ("do $$ begin end $$", "beforehand"),
        ("begin", "transaction of its own"),
        ("refresh materialized view x", "nothing of the schema"),
        ("grant select on notes to current_user", "who asks"),
        ("create table x as select 1", "moves rows"),
        ("drop index notes_pair", "foreign keys need it"),
    ],
)
def test_what_is_refused(scratch: Scratch, change: str, reason: str) -> None:
    schema = scratch.schema(
        *NOTES, "create table t (n bigint, t text, foreign key (n, t) references notes (id, title))"
    )
    with pytest.raises(errors.ChangeRefused, match=reason) as refused:
        scratch.plan(schema, change)
    assert refused.value.instead
