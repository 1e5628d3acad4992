"""A fill: every row once, from where it was, with nobody waiting for longer than a batch."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import psycopg
import pytest
from fill_site import FILLS, StandIn, stand_in

from fix_database import as_superuser
from fix_product import OWNER, as_owner
from kos import errors
from kos.log import seal_all
from kos.schema_change import fill as filling
from kos.schema_change.fill import fill_rows
from kos.schema_change.model import Fill
from kos.schema_change.parts import parts_of
from kos.schema_change.ranges import Point, Range
from kos.schema_change.throttle import Limits, Pace
from kos.tenancy import Store, Tenant, create_tenant
from kos.topology.embedded import Stack
from kos.topology.model import Topology

ROWS = 5000
_numbers = itertools.count(1)

# What a change has put on the table by the time of its fill; `writes` counts who has written each row.
TABLE = """
create schema {schema};
create table {schema}.things (
  id bigint primary key, name text, label text, score numeric, writes integer not null default 0);
insert into {schema}.things select g, 'name ' || g from generate_series(1, {rows}) g;
create function {schema}.count_writes() returns trigger language plpgsql as $$
begin new.writes := old.writes + 1; return new; end $$;
create trigger count_writes before update on {schema}.things for each row execute function {schema}.count_writes();
create function {schema}.sync() returns trigger language plpgsql as $$
begin new.label := upper(new.name); return new; end $$;
create trigger sync before insert or update on {schema}.things for each row
  when (new.label is distinct from upper(new.name)) execute function {schema}.sync();
"""
LABEL = Fill("label", "fill label", "things", OWNER, "label is null", {"label": "upper(name)"})


@pytest.fixture(scope="module")
def place(module_product: Topology, product_template: Stack) -> Topology:
    database = module_product.control.primary.database
    with as_superuser(product_template, database) as connection:
        connection.execute(FILLS)
        connection.execute(f"grant create on database {database} to {OWNER}")
    return module_product


@dataclass
class World:
    """A schema of the test's own; `owner` is a session of the application."""

    site: StandIn
    owner: psycopg.Connection[Any]
    connect: Callable[[], psycopg.Connection[Any]]

    def value(self, query: str) -> Any:
        row = self.owner.execute(query).fetchone()
        return row[0] if row else None

    @property
    def missing(self) -> int:
        return int(self.value("select count(*) from things where label is distinct from upper(name)"))

    def note(self, fill: str = "label") -> list[Any]:
        query = (
            "select part, next_page, pages, rows from kos.change_fills where operation = %s and fill = %s order by part"
        )
        return self.site.connection.execute(query, (self.site.operation, fill)).fetchall()


@pytest.fixture
def world(place: Topology) -> Iterator[World]:
    schema = f"fill_{next(_numbers)}"
    opened: list[psycopg.Connection[Any]] = []

    def connect() -> psycopg.Connection[Any]:
        opened.append(as_owner(place))
        opened[-1].execute(f"set search_path = {schema}, public")
        return opened[-1]

    with as_owner(place) as owner:
        owner.execute(TABLE.format(schema=schema, rows=ROWS))
    site = stand_in(place, schema)
    yield World(site, connect(), connect)
    for each in (site.connection, *opened):
        each.close()


class Clock:
    """A clock that waiting moves on, and nothing else. `at` is done at each wait."""

    def __init__(self, at: Callable[[float], None] = lambda now: None) -> None:
        self.now = 0.0
        self.at = at

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.at(self.now)


def small_batches(monkeypatch: pytest.MonkeyPatch, pages: int = 2) -> None:
    monkeypatch.setattr(filling.Filling, "first_pages", pages)
    monkeypatch.setattr(filling.Filling, "most_pages", pages)


def test_every_row_is_filled_once(world: World) -> None:
    seen: list[tuple[str, int, int | None]] = []
    fill_rows(world.site, LABEL, Pace(), lambda part, done, of: seen.append((part, done, of)))
    assert world.missing == 0
    assert world.value("select array_agg(distinct writes) from things") == [1]
    pages = seen[-1][2]
    assert seen[-1][1] == pages
    assert world.note() == [(f"{world.site.placement.schema}.things", pages, pages, ROWS)]
    transactions = world.site.transactions
    fill_rows(world.site, LABEL, Pace())  # it is done
    assert world.site.transactions - transactions < 5
    assert world.value("select array_agg(distinct writes) from things") == [1]


def test_a_batch_reads_its_pages_only(world: World) -> None:
    (part,) = parts_of(world.site, LABEL)
    one = filling.Filling(world.site, LABEL, Pace(), lambda *each: None)
    statement = one._statement(part, part.within(Range(Point(3), Point(9)))).as_string(world.owner)
    plan = "\n".join(line for (line,) in world.owner.execute(f"explain {statement}"))
    assert "Tid Range Scan" in plan


def test_a_killed_fill_goes_on_where_it_was(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch)

    class Killed(Exception):
        pass

    def die_after(transactions: int) -> None:
        if world.site.transactions >= transactions:
            raise Killed

    for kill in (4, 6, 9):
        world.site.transactions = 0
        world.site.before = lambda kill=kill: die_after(kill)  # type: ignore[misc]
        with pytest.raises(Killed):
            fill_rows(world.site, LABEL, Pace())
    ((_, next_page, pages, rows),) = world.note()
    assert 0 < next_page < pages
    assert rows == ROWS - world.missing > 0
    world.site.before = lambda: None
    begun: list[int] = []
    fill_rows(world.site, LABEL, Pace(), lambda part, done, of: begun.append(done))
    assert begun[0] == next_page + 2
    assert world.missing == 0
    assert world.note()[0][3] == ROWS
    assert world.value("select array_agg(distinct writes) from things") == [1]


def test_writers_beside_lose_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 1)
    failed: list[Exception] = []
    over = threading.Event()

    def write(number: int) -> None:
        connection = world.connect()
        try:
            for turn in itertools.count():
                row = (turn * 37 + number * 1009) % ROWS + 1
                connection.execute(f"update things set name = 'new {number} {turn}' where id = {row}")
                connection.execute(f"insert into things values ({ROWS + 1 + turn * 3 + number}, 'added')")
                connection.execute(f"delete from things where id = {(turn * 53 + number) % ROWS + 1}")
                if over.is_set():
                    return
        except psycopg.Error as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    fill_rows(world.site, LABEL, Pace())
    over.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert world.missing == 0


def test_a_locked_row_stops_no_other(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    small_batches(monkeypatch, 8)
    told: list[str] = []
    holder = world.connect()
    with holder.transaction():
        holder.execute("update things set score = 1 where id = 2500")
        page = world.value("select (ctid::text::point)[0]::int from things where id = 2500")

        def let_go(state: str) -> None:
            told.append(state)
            if world.missing <= world.value(f"select count(*) from things where (ctid::text::point)[0] = {page}"):
                over.set()

        over = threading.Event()
        monkeypatch.setattr(filling, "PATIENCE", 0.5)
        with pytest.raises(errors.FillBlocked) as blocked:
            fill_rows(world.site, LABEL, Pace(tell=let_go))
        assert over.is_set()
        assert blocked.value.pages == 1
        assert f"pid {holder.info.backend_pid} ({OWNER}, idle in transaction): update things" in blocked.value.blocker
        assert f"waiting for {blocked.value.blocker}" in told
        ((_, next_page, pages, rows),) = world.note()
        assert next_page == page < pages  # killed now, it would look at what comes after once more
        assert 0 < ROWS - rows < 200
    fill_rows(world.site, LABEL, Pace())
    assert world.missing == 0
    assert world.note()[0][1:] == (pages, pages, ROWS - 1)  # the holder's trigger has filled its own


def test_a_locked_table_is_waited_for(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are no other pages to go on with."""
    small_batches(monkeypatch)
    told: list[str] = []
    pages: list[int] = []
    waited: list[int] = []
    holder = world.connect()
    holder.autocommit = False

    def lock(part: str, done: int, of: int | None) -> None:
        pages.append(done)
        if len(pages) == 3:
            holder.execute("lock table things in share mode")

    def wait(seconds: float) -> None:
        waited.append(len(pages))
        if len(waited) == 8:
            holder.rollback()

    fill_rows(world.site, LABEL, Pace(tell=told.append, wait=wait), lock)
    assert waited[:8] == [3] * 8
    assert told[1].startswith(f"waiting for pid {holder.info.backend_pid} ({OWNER}, idle in transaction): lock table")
    assert world.missing == 0


def test_a_writer_waits_no_longer_than_a_batch(world: World) -> None:
    """A batch that would last is ended, and comes again with fewer pages."""
    world.owner.execute("""
        create function slow(text) returns text language plpgsql as $$
        begin perform pg_sleep(0.001); return upper($1); end $$;
        delete from things where id > 1500""")
    slow = Fill("label", "fill label", "things", OWNER, "label is null", {"label": "slow(name)"})
    longest: list[float] = []
    over = threading.Event()

    def write() -> None:
        connection = world.connect()
        for turn in itertools.count():
            began = time.monotonic()
            connection.execute("update things set score = %s where id = %s", (turn, turn * 7 % 1500 + 1))
            longest.append(time.monotonic() - began)
            if over.is_set():
                return

    writer = threading.Thread(target=write)
    writer.start()
    fill_rows(world.site, slow, Pace())
    over.set()
    writer.join()
    assert world.missing == 0
    assert max(longest) < 0.6  # all of it in one batch would be 1.5 s


def test_a_note_that_lasts_ends_no_batch(world: World, place: Topology, product_template: Stack) -> None:
    """The limit is for those who may wait for rows; a busy server takes longer for the note than some limits are."""
    slow = """
        create function public.slow_note() returns trigger language plpgsql as $$
        begin perform pg_sleep(0.3); return new; end $$;
        create trigger slow_note before update on kos.change_fills for each row execute function public.slow_note()"""
    with as_superuser(product_template, place.control.primary.database) as superuser:
        superuser.execute(slow)
        try:
            fill_rows(world.site, LABEL, Pace())
        finally:
            superuser.execute("drop trigger slow_note on kos.change_fills; drop function public.slow_note()")
    assert world.missing == 0


def test_partitions_are_filled_leaf_by_leaf(world: World) -> None:
    world.owner.execute("""
        create table parted (id bigint, name text, label text) partition by range (id);
        create table parted_1 partition of parted for values from (0) to (1000);
        create table parted_2 partition of parted for values from (1000) to (9000) partition by hash (id);
        create table "parted 2 0" partition of parted_2 for values with (modulus 2, remainder 0);
        create table parted_2_1 partition of parted_2 for values with (modulus 2, remainder 1);
        insert into parted select g, 'name ' || g from generate_series(1, 3000) g""")
    fill_rows(
        world.site, Fill("p", "", "parted", OWNER, "parted.label is null", {"label": "upper(parted.name)"}), Pace()
    )
    assert world.value("select count(*) from parted where label = upper(name)") == 3000
    schema = world.site.placement.schema
    assert [(part, rows) for part, _, _, rows in world.note("p")] == [
        (f'{schema}."parted 2 0"', world.value('select count(*) from "parted 2 0"')),
        (f"{schema}.parted_1", 999),
        (f"{schema}.parted_2_1", world.value("select count(*) from parted_2_1")),
    ]


def test_a_table_that_was_rewritten_is_begun_anew(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows are elsewhere: those of its end may be where the fill has been."""
    small_batches(monkeypatch)
    world.owner.execute("create index by_end on things ((-id))")
    rewritten = []

    def rewrite(part: str, done: int, pages: int | None) -> None:
        if done > 10 and not rewritten:
            rewritten.append(done)
            world.owner.execute("cluster things using by_end")

    fill_rows(world.site, LABEL, Pace(), rewrite)
    assert rewritten
    assert world.missing == 0
    assert world.note()[0][3] == ROWS


def test_an_expression_that_fails_names_its_row(world: World) -> None:
    world.owner.execute("update things set name = 'no number' where id in (70, 4000)")
    world.owner.execute("alter table things disable trigger sync")
    world.owner.execute("update things set name = id::text where name <> 'no number'; update things set label = null")
    number = Fill("score", "", "things", OWNER, "score is null", {"score": "name::numeric"})
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(world.site, number, Pace())
    assert (failed.value.row, failed.value.count) == ("id=70", 2)
    assert failed.value.error == 'invalid input syntax for type numeric: "no number"'
    assert world.value("select array_agg(id order by id) from things where score is null") == [70, 4000]
    world.owner.execute("update things set name = '7' where id in (70, 4000)")
    fill_rows(world.site, number, Pace())
    assert world.value("select count(*) from things where score is null") == 0
    assert world.note("score")[0][3] == ROWS


def test_a_mended_row_is_found_wherever_it_is_now(world: World) -> None:
    last = world.value("select id from things order by ctid desc limit 1")
    world.owner.execute("update things set name = id::text; alter table things disable trigger sync")
    world.owner.execute("update things set name = 'no number' where id = %s", (last,))
    number = Fill("score", "", "things", OWNER, "score is null", {"score": "name::numeric"})
    with pytest.raises(errors.FillFailed):
        fill_rows(world.site, number, Pace())
    world.owner.execute("delete from things where ctid < '(2,0)'")
    world.owner.execute("vacuum (index_cleanup on, truncate off) things")
    before = world.value(f"select ctid from things where id = {last}")
    world.owner.execute("update things set name = '7' where id = %s", (last,))
    assert world.value(f"select ctid < '{before}' from things where id = {last}")
    fill_rows(world.site, number, Pace())
    assert world.value("select count(*) from things where score is null") == 0


OWN_STATE = """
create function refuse() returns trigger language plpgsql as $$
begin if new.id = 7 then raise exception 'not seven' using errcode = 'ZZ001'; end if; return new; end $$;
create trigger refuse before update on things for each row execute function refuse();
"""


def test_a_row_that_a_trigger_refuses_in_its_own_way_is_named(world: World) -> None:
    world.owner.execute(OWN_STATE)
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(world.site, LABEL, Pace())
    assert (failed.value.row, failed.value.error, failed.value.count) == ("id=7", "not seven", 1)
    assert world.missing == 1


class SlowClock:
    """The server's clock gains on it."""

    def monotonic(self) -> float:
        return time.monotonic() * 0.98


def test_what_the_limit_ends_was_too_long_though_two_clocks_do_not_agree(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filling, "time", SlowClock())
    with world.connect() as connection:
        with pytest.raises(filling.TooLong), connection.transaction(), filling.limited(connection, 0.2):
            connection.execute("select pg_sleep(10)")
        with pytest.raises(psycopg.errors.QueryCanceled), connection.transaction(), filling.limited(connection, 10):
            connection.execute("select pg_cancel_backend(pg_backend_pid()), pg_sleep(10)")


WAITED_FOR = "select count(*) from pg_locks where relation = 'things'::regclass and not granted"


def test_a_table_that_is_rewritten_while_a_row_of_it_is_waited_for(world: World) -> None:
    holder, rewriter = world.connect(), world.connect()
    holder.execute("begin")
    holder.execute("select from things where id = 70 for update")
    rewriting: list[Future[Any]] = []

    def tell(state: str) -> None:
        if "waiting" not in state or rewriting or world.missing > ROWS // 4:
            return
        rewriting.append(pool.submit(rewriter.execute, "vacuum full things"))
        deadline = time.monotonic() + 10
        while world.value(WAITED_FOR) == 0:
            assert time.monotonic() < deadline
        holder.execute("commit")
        rewriting[0].result()

    with ThreadPoolExecutor() as pool:
        fill_rows(world.site, LABEL, Pace(tell=tell))
    assert rewriting
    assert world.missing == 0


def test_rows_can_be_deleted_instead(world: World) -> None:
    orphans = Fill("o", "", "things", OWNER, "things.id % 3 = 0 and name like '%1%'", delete=True)
    left = world.value("select count(*) from things where not (id % 3 = 0 and name like '%1%')")
    fill_rows(world.site, orphans, Pace())
    assert world.value("select count(*) from things") == left
    assert world.note("o")[0][3] == ROWS - left


def test_limits_that_change_meanwhile_hold_from_the_next_batch_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_batches(monkeypatch)
    limits = [Limits(paused=True)]
    told: list[str] = []

    def at(now: float) -> None:
        if now > 3:
            limits[0] = Limits()
        elif now > 1:
            limits[0] = Limits(max_rate=100)

    clock = Clock(at)
    done: list[tuple[float, int]] = []

    def hear(part: str, page: int, of: int | None) -> None:
        done.append((clock.now, world.note()[0][3]))

    fill_rows(world.site, LABEL, Pace(lambda: limits[0], tell=told.append, clock=clock, wait=clock.wait), hear)
    assert told == ["paused", "running", "rate limited: 100 rows/s", "running"]
    assert done[0][0] > 1  # nothing while it was paused
    assert [at for at, _ in done].count(done[0][0]) == 1  # one batch, then its rows' time
    assert 3 < done[1][0] < 3.3  # and all at once when the limit was lifted
    assert {at for at, _ in done[1:]} == {done[1][0]}
    assert world.missing == 0


def test_rows_that_row_security_hides_from_the_owner_are_filled_and_that_is_noted(
    store: Store, tenant: Tenant, template: Stack
) -> None:
    other = create_tenant(store, "beta")
    for each in (tenant, other):
        with store.tenant(each.name) as session:
            session.execute(
                "insert into atoms (atom_type, name) select 'Point', 'n ' || g from generate_series(1, 50) g"
            )
    with as_superuser(template, store.topology.control.primary.database) as superuser:
        superuser.execute(FILLS)
        site = stand_in(store.topology, "knowledge")
        names = Fill("value", "fill atoms.value", "atoms", "kos_owner", "value is null", {"value": "upper(name)"})
        fill_rows(site, names, Pace())
        site.connection.close()
        count = "select count(*), count(distinct tenant_id) from knowledge.atoms where value = upper(name)"
        assert superuser.execute(count).fetchone() == (100, 2)
        access = superuser.execute("select role_name, reason, ended_at is null from kos.cross_tenant_access").fetchall()
        assert access == [("kos_operator", f"change {site.operation}: fill atoms.value", False)]
        seal_all(superuser)
        query = "select context[6], count(*) from kos.knowledge_events where operation = 'U' group by 1"
        ((said, events),) = superuser.execute(query).fetchall()
        assert events == 100
        assert said == f"all tenants, access 1: change {site.operation}: fill atoms.value"


@pytest.mark.parametrize("whom", ["public", "kos_operator"])
def test_a_table_that_a_policy_of_the_products_hides_from_the_operator_too_is_refused(
    store: Store, tenant: Tenant, template: Stack, whom: str
) -> None:
    with store.tenant(tenant.name) as session:
        session.execute("insert into atoms (atom_type, name) values ('Point', 'shown'), ('Point', 'hidden')")
    with as_superuser(template, store.topology.control.primary.database) as superuser:
        superuser.execute(FILLS)
        policy = f"create policy drafts on knowledge.atoms as restrictive for select to {whom} using (name = 'shown')"
        superuser.execute(policy.encode())
        site = stand_in(store.topology, "knowledge")
        names = Fill("value", "fill atoms.value", "atoms", "kos_owner", "value is null", {"value": "upper(name)"})
        with pytest.raises(errors.ChangeRefused, match="row security hides rows"):
            fill_rows(site, names, Pace())
        site.connection.close()


def test_rows_that_are_hidden_from_everybody_are_refused(world: World) -> None:
    world.owner.execute("alter table things enable row level security, force row level security")
    with pytest.raises(errors.ChangeRefused, match="row security hides rows"):
        fill_rows(world.site, LABEL, Pace())


def test_what_is_no_table_is_refused(world: World) -> None:
    world.owner.execute("create view seen as select * from things")
    with pytest.raises(errors.ChangeRefused, match="it is no table"):
        fill_rows(world.site, replace(LABEL, table="seen"), Pace())
