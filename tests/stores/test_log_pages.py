"""What is asked of a log again and again reads what it is asked for, however much there is: in a new database too, of
whose tables the planner knows nothing yet."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import pytest
from logged_table import log

from kos.log import seal_all
from kos.log.seal import QUERIES
from kos.tenancy import Store, create_tenant
from kos.tenancy.placement import place_of
from kos.tenancy.store import Connection
from suites import spread

FEW, MANY = 200, 6_000
MOST = 60  # pages more; an index has grown by a level
NOTHING = "rows that are new since"

ASKED = {
    "who has something to seal": "select * from kos.unsealed_among(array[%(tenant)s::uuid])",
    "who of all has": "select * from kos.unsealed()",
    "sealing": "select kos.seal(%(tenant)s)",
    "the newest seal": "select * from kos.newest_seal(%(tenant)s)",
    "the next events": "select * from kos.read_feed(%(tenant)s, %(at)s, null, 10)",
    "the next transactions": "select * from kos.feed_next('pages', %(tenant)s, 10)",
    "the end of a transaction": "select kos.end_of_transaction(%(tenant)s, %(at)s + 1)",
    "who waits for a feed": "select * from kos.feed_waiting('pages', 10)",
    "all feeds": "select * from kos.feeds()",
    "the state of the log": "select * from kos.log_status()",
    "the position of a bookmark": "select kos.bookmark_position(%(tenant)s, kos.incarnation(), '3'::xid8)",
    "rows as they were": "select * from kos.rows_at(%(tenant)s, %(at)s, %(schema)s, 'atoms', %(keys)s)",
    NOTHING: "select * from kos.rows_at(%(tenant)s, %(before)s, %(schema)s, 'atoms', %(keys)s)",
}


OF_SEALS = (
    "select kos.log_tenants()",
    "select * from kos.projection_status() union all select 'nothing', 0, 0, 0, 0",
    "select * from kos.feed_waiting('pages')",
    QUERIES.tenants_of_log.as_string(),
)
SEALS = """
insert into kos.seals (tenant_id, position, events, incarnation, origin, snapshot, foreign_id, committed_at)
select s.tenant_id, s.position + n, 1, s.incarnation, s.origin, s.snapshot, s.foreign_id, s.committed_at
  from kos.seals s cross join generate_series(1, %(seals)s) n where s.tenant_id = %(tenant)s
"""


NO_TRIGGER = "create function public.nothing() returns trigger language plpgsql as 'begin return null; end'"
TRIGGERS = f"""
do $$ begin
  for n in 1..{MANY} loop
    execute format('create trigger t%s after insert on public.others execute function public.nothing()', n);
  end loop;
end $$
"""


CONSTRAINTS = f"""
do $$ begin
  for n in 1..{MANY // 40} loop
    execute format('create table public.t%s (%s)', n,
                   (select string_agg(format('c%s int not null', c), ', ') from generate_series(1, 40) c));
  end loop;
end $$
"""


@pytest.mark.parametrize("what", spread(ASKED, 2))
def test_pages_do_not_grow_with_the_log(full_store: Store, what: str) -> None:
    tenant = create_tenant(full_store, "acme")
    with full_store.operator(place_of(tenant)) as operator:
        operator.execute("select kos.feed_seek('pages', %s, 0, null)", (tenant.id,))
        few = _pages_of(full_store, operator, tenant.id, what, FEW)
        many = _pages_of(full_store, operator, tenant.id, what, MANY)
    assert few > 0
    assert many <= few + MOST


def test_pages_do_not_grow_with_the_seals(full_store: Store, full_superuser: Any) -> None:
    """There is one of each moment in which something was sealed, for good."""
    tenant = create_tenant(full_store, "acme")
    with full_store.operator(place_of(tenant)) as operator:
        _write(full_store, 1)
        seal_all(operator)
        operator.execute("select pg_advisory_lock(1)")  # of whoever holds one it is asked what it is
        few = [_explained(operator, each) for each in OF_SEALS]
        full_superuser.execute(SEALS, {"tenant": tenant.id, "seals": MANY})
        many = [_explained(operator, each) for each in OF_SEALS]
    assert all(0 < after <= before + MOST for before, after in zip(few, many, strict=True))


@pytest.mark.long
@pytest.mark.parametrize("taken", [False, True], ids=["its name is free", "its name is taken"])
def test_who_takes_a_table_in_reads_no_triggers_of_others(full_superuser: Any, taken: bool) -> None:
    """Each schema of a tenant brings a dozen for each of its tables."""
    create = "create table public.fresh (tenant_id uuid, id int, primary key (tenant_id, id))"
    full_superuser.execute(create)
    full_superuser.execute("create table public.others (); " + NO_TRIGGER)
    if taken:
        full_superuser.execute("grant all on public.fresh to kos_owner, kos_operator")
        log(full_superuser, "public.fresh")
        full_superuser.execute("alter table public.fresh rename to older")
        full_superuser.execute(create)
    name = "select kos.capture_name('public.fresh')"
    few = _explained(full_superuser, name)
    full_superuser.execute(TRIGGERS)
    assert 0 < _explained(full_superuser, name) <= few + 10  # all of pg_trigger are 48 more


def test_what_runs_inside_of_a_statement_is_told_without_reading_other_tables_constraints(full_superuser: Any) -> None:
    """Every session asks, of each table that it writes to; a schema of a tenant brings a hundred."""
    full_superuser.execute("create table public.places (id int primary key)")
    full_superuser.execute(
        "create table public.roads (id int primary key, place int references places on delete cascade)"
    )
    full_superuser.execute(
        "create table public.signs (id int primary key, road int references roads on delete cascade)"
    )
    asked = [f"select kos.has_nested_changes('public.{name}')" for name in ("places", "roads", "signs")]
    few = [_explained(full_superuser, each) for each in asked]
    full_superuser.execute(CONSTRAINTS)
    assert all(0 < _explained(full_superuser, each) <= before + 10 for each, before in zip(asked, few, strict=True))
    assert [full_superuser.execute(each).fetchone() for each in asked] == [(True,), (False,), (False,)]


TABLES = """
do $$ begin
  for n in 1..%s loop
    execute format('create table public.logged_%%s_%%s (id int primary key)', %s, n);
    execute format('grant all on public.logged_%%s_%%s to kos_owner', %s, n);
    perform kos.log_table(format('public.logged_%%s_%%s', %s, n)::regclass);
  end loop;
end $$
"""


@pytest.mark.long
def test_who_keeps_the_log_looks_at_some_tables_at_a_time(full_superuser: Any) -> None:
    """While it looks nobody seals; and a schema of a tenant brings nine."""
    full_superuser.execute(TABLES % (150, 1, 1, 1))
    few = _explained(full_superuser, "select kos.keep_log()")
    full_superuser.execute(TABLES % (1_050, 2, 2, 2))
    many = _explained(full_superuser, "select kos.keep_log()")
    all_of_them = _explained(full_superuser, "select kos.refresh_captures()")
    assert 0 < many < 2 * few < all_of_them / 2


def test_each_table_has_its_turn(full_superuser: Any) -> None:
    full_superuser.execute(TABLES % (9, 1, 1, 1))
    full_superuser.execute("alter table public.logged_1_4 add column more int; alter table public.logged_1_7 add m int")
    turns = [full_superuser.execute("select kos.refresh_captures(4, %s)", (turn,)).fetchone() for turn in range(7, 11)]
    assert sorted(turns) == [(0,), (0,), (1,), (1,)]
    assert full_superuser.execute("select kos.refresh_captures()").fetchone() == (0,)


def _explained(operator: Connection, query: str) -> int:
    for _ in range(3):
        [(plan,)] = operator.execute(f"explain (analyze, buffers, format json) {query}".encode()).fetchall()
        assert _rows(plan) > 0
    return _pages(plan)


def _pages_of(store: Store, operator: Connection, tenant: UUID, what: str, rows: int) -> int:
    """How many pages are looked at when that many rows more, and then ten, have been written."""
    _write(store, rows)
    seal_all(operator)
    at = _head(operator, tenant)
    _write(store, 10)
    if what not in ("who has something to seal", "who of all has", "sealing"):
        seal_all(operator)
    found = operator.execute(
        "select key from kos.knowledge_events where tenant_id = %s and position between %s - 9 and %s", (tenant, at, at)
    ).fetchall()
    keys = json.dumps([key for (key,) in found])
    asked = {"tenant": tenant, "at": at, "before": at - 10, "schema": "knowledge", "keys": keys}
    for _ in range(3):  # the first times it looks into the catalogs, too
        with operator.transaction(force_rollback=True):
            [(plan,)] = operator.execute(
                f"explain (analyze, buffers, format json) {ASKED[what]}".encode(), asked
            ).fetchall()
        assert (_rows(plan) == 0) is (what == NOTHING)
    return _pages(plan)


def _rows(plan: list[dict[str, Any]]) -> float:
    return float(plan[0]["Plan"]["Actual Rows"])


def _pages(plan: list[dict[str, Any]]) -> int:
    top = plan[0]["Plan"]
    return int(top["Shared Hit Blocks"] + top["Shared Read Blocks"])


def _head(operator: Connection, tenant: UUID) -> int:
    row = operator.execute("select position from kos.newest_seal(%s)", (tenant,)).fetchone()
    assert row is not None
    return int(row[0])


def _write(store: Store, rows: int) -> None:
    with store.tenant("acme") as session:
        session.execute(
            "insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, %s) n", (rows,)
        )
