"""A fill of a table that is not stored as a heap: in the order of a key, and otherwise as any fill."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from test_change_fill import LABEL, ROWS, Clock, World, place, world
from test_change_fill_keys import HEAP2, KEYS, fill_keyed, make_keyed
from test_change_fill_python import by, hooks

from fix_database import as_superuser
from fix_product import OWNER
from kos import errors
from kos.schema_change import fill as filling
from kos.schema_change.fill import fill_rows
from kos.schema_change.fill_python import PythonFilling
from kos.schema_change.model import Fill
from kos.schema_change.parts import parts_of
from kos.schema_change.ranges import Part, Point, Range
from kos.schema_change.site import QUERIES as CHANGE_QUERIES
from kos.schema_change.throttle import Limits, Pace
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from suites import short

__all__ = ["hooks", "place", "world"]


@pytest.fixture(scope="module")
def heap2(place: Topology, product_template: Stack) -> None:
    """Another access method: as good as the heap, but how should anybody know?"""
    with as_superuser(product_template, place.control.primary.database) as superuser:
        superuser.execute(HEAP2)


@pytest.fixture
def keyed(world: World, heap2: None, monkeypatch: pytest.MonkeyPatch) -> World:
    """In which the table is no heap, and batches are small."""
    world.owner.execute("alter table things set access method heap2")
    for each, rows in ((filling.Filling, 100), (PythonFilling, 16)):
        monkeypatch.setattr(each, "first_rows", rows)
        monkeypatch.setattr(each, "most_rows", rows)
    return world


def key(world: World, fill: str = "label") -> tuple[list[str], int]:
    """Up to which all rows are done, and how many were written."""
    query = "select up_to_key, rows from kos.change_fills where operation = %s and fill = %s"
    row = world.site.connection.execute(query, (world.site.operation, fill)).fetchone()
    assert row is not None
    return row[0], row[1]


def test_every_row_is_filled_once_and_told_in_pages(keyed: World) -> None:
    seen: list[tuple[int, int | None]] = []
    keyed.owner.execute("delete from things where id % 3 = 0; analyze things")
    pages = keyed.value("select pg_relation_size('things') / 8192")
    fill_rows(keyed.site, LABEL, Pace(), lambda part, done, of: seen.append((done, of)))
    assert keyed.missing == 0
    assert keyed.value("select array_agg(distinct writes) from things") == [1]
    assert {of for _, of in seen} == {pages}
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    middle = seen[len(seen) // 2][0]
    assert 0.4 < middle / pages < 0.6, seen
    assert [done for done, _ in seen].count(pages) == 1, "it is done before it is"
    left = keyed.value("select count(*) from things")
    assert keyed.note() == [(f"{keyed.site.placement.schema}.things", pages, pages, left)]
    transactions = keyed.site.transactions
    keyed.owner.execute("insert into things values (9999, 'new')")
    fill_rows(keyed.site, LABEL, Pace())  # it is done
    assert keyed.site.transactions - transactions < 5


@pytest.mark.parametrize("kind", KEYS)
def test_keys_of_any_type(keyed: World, kind: str) -> None:
    make_keyed(keyed.owner, kind)
    fill_keyed(keyed.site, keyed.owner, OWNER)


def test_a_batch_uses_the_index_of_the_key(keyed: World) -> None:
    """Of which the planner knows the first column only."""
    keyed.owner.execute(
        "create table shared (id bigint, tenant text, label text, primary key (tenant, id)) using heap2;"
        "insert into shared select g, 'tenant ' || g % 2 from generate_series(1, 5000) g; analyze shared"
    )
    fill = Fill("shared", "", "shared", OWNER, "label is null", {"label": "'x'"})
    (part,) = parts_of(keyed.site, fill)
    one = filling.Filling(keyed.site, fill, Pace(), lambda *each: None)
    one.way = filling.Crossing(OWNER)
    rows = Range(Point(1, ("tenant 0", "4990")), Point(21, ("tenant 1", "11")))

    def planned(query: Any, prepare: Any) -> str:
        with keyed.site.transaction(OWNER) as connection:
            prepare(connection)
            found = connection.execute(f"explain (costs off) {query.as_string(connection)}").fetchall()
        return "\n".join(line for (line,) in found)

    update = one._statement(part, part.within(rows))
    plan = planned(update, part.prepare)
    assert re.search(r"Index Scan (using|on) shared_pkey\n *Index Cond: \(\(ROW\(tenant, id\) > .*AND .* <= ", plan)
    assert "Seq Scan" not in plan
    assert "Seq Scan" in planned(update, lambda connection: None), "it is none that a planner would mistake"
    for statement in _reading(keyed, one, part):
        assert "Index Only Scan" in statement
        assert "Sort" not in statement
        assert "Index Only Scan Backward" in statement or "Index Cond: ((ROW(tenant, id) > " in statement


def _reading(world: World, one: filling.Filling, part: Part) -> list[str]:
    """The plans of those queries that read keys alone."""
    found: list[str] = []

    class Explaining:
        """A connection that explains before it executes."""

        def __init__(self, connection: Any) -> None:
            self.connection = connection

        def execute(self, query: Any, *parameters: Any) -> Any:
            text = query.as_string(self.connection)
            if "limit 1" in text:
                rows = self.connection.execute(f"explain (costs off) {text}").fetchall()
                found.append("\n".join(line for (line,) in rows))
            return self.connection.execute(query, *parameters)

    def transaction(part: Part) -> Any:
        return _entered(one.transaction(part), Explaining)

    with transaction(part) as connection:
        part.measure(connection)
    part.at = Point(5, ("tenant 0", "3000"))
    assert part.next(transaction, 100).last.key == ("tenant 0", "3200")
    assert len(found) == 2
    return found


def _entered(context: Any, wrapped: Any) -> Any:
    @contextmanager
    def work() -> Iterator[Any]:
        with context as connection:
            yield wrapped(connection)

    return work()


def test_a_killed_fill_goes_on_where_it_was(keyed: World) -> None:
    class Killed(Exception):
        pass

    def die_after(transactions: int) -> None:
        if keyed.site.transactions >= transactions:
            raise Killed

    for kill in (6, 9, 20):
        keyed.site.transactions = 0
        keyed.site.before = lambda kill=kill: die_after(kill)  # type: ignore[misc]
        with pytest.raises(Killed):
            fill_rows(keyed.site, LABEL, Pace())
    (up_to,), rows = key(keyed)
    assert rows == ROWS - keyed.missing == int(up_to) > 900
    keyed.site.before = lambda: None
    keyed.owner.execute("update things set label = null where id <= 100; alter table things disable trigger sync")
    keyed.owner.execute("update things set label = null where id <= 100")
    fill_rows(keyed.site, LABEL, Pace())
    assert keyed.value("select array_agg(id) from things where label is null") == list(range(1, 101)), "it began anew"
    assert key(keyed) == ([str(ROWS)], ROWS)


def test_the_way_ends_where_it_did_when_it_was_begun(keyed: World) -> None:
    """Whoever goes on inserting would else be followed for ever."""
    keyed.owner.execute("alter table things disable trigger sync")

    def insert(part: str, done: int, of: int | None) -> None:
        keyed.owner.execute(
            "with so_far as (select max(id) as last from things)"
            " insert into things select last + g, 'more' from so_far, generate_series(1, 100) g"
        )

    fill_rows(keyed.site, LABEL, Pace(), insert)
    assert keyed.value(f"select count(*) from things where id <= {ROWS} and label is null") == 0
    assert keyed.value(f"select count(*) from things where id > {ROWS} and label is not null") == 0


def test_a_locked_row_stops_no_other(keyed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    holder = keyed.connect()
    with holder.transaction():
        holder.execute("update things set score = 1 where id = 2500")
        monkeypatch.setattr(filling, "PATIENCE", 0.5)
        with pytest.raises(errors.FillBlocked, match=r"^1 row\(s\) of ") as blocked:
            fill_rows(keyed.site, LABEL, Pace(tell=told.append))
        assert keyed.missing == 1
        assert f"pid {holder.info.backend_pid} ({OWNER}, idle in transaction): update things" in blocked.value.blocker
        assert f"waiting for {blocked.value.blocker}" in told
        assert key(keyed) == (["2499"], ROWS - 1)  # killed now, it would look at what comes after once more
        ((_, next_page, pages, _),) = keyed.note()
        assert next_page < pages
    fill_rows(keyed.site, LABEL, Pace())
    assert keyed.missing == 0
    assert key(keyed) == ([str(ROWS)], ROWS - 1)  # the holder's trigger has filled its own


def test_an_expression_that_fails_names_its_row(keyed: World) -> None:
    keyed.owner.execute("alter table things disable trigger sync; update things set name = id::text")
    keyed.owner.execute("update things set name = 'no number' where id in (70, 4000)")
    number = Fill("score", "", "things", OWNER, "score is null", {"score": "name::numeric"})
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(keyed.site, number, Pace())
    assert (failed.value.row, failed.value.count) == ("id=70", 2)
    assert keyed.value("select array_agg(id order by id) from things where score is null") == [70, 4000]
    assert key(keyed, "score")[0] == []  # a later run begins anew: a mended row may be anywhere
    keyed.owner.execute(
        "update things set name = '7' where id in (70, 4000); update things set id = -id where id = 4000"
    )
    fill_rows(keyed.site, number, Pace())
    assert keyed.value("select count(*) from things where score is null") == 0


def test_a_limited_rate_holds_from_the_first_batch_on(keyed: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filling.Filling, "first_rows", 4000)
    monkeypatch.setattr(filling.Filling, "most_rows", 4000)
    clock = Clock()
    done: list[tuple[float, int]] = []

    def hear(part: str, page: int, of: int | None) -> None:
        done.append((clock.now, key(keyed)[1]))

    fill_rows(keyed.site, LABEL, Pace(lambda: Limits(max_rate=1000), clock=clock, wait=clock.wait), hear)
    assert keyed.missing == 0
    assert [rows for _, rows in done] == list(range(500, ROWS + 1, 500))
    assert [at for at, _ in done] == pytest.approx([each / 2 for each in range(10)])


def test_a_key_that_is_another_one_now_is_begun_anew(keyed: World) -> None:
    keyed.owner.execute(
        "alter table things add column other integer not null generated always as identity (start 10001)"
    )
    changed: list[int] = []

    def change(part: str, done: int, of: int | None) -> None:
        if not changed and keyed.missing < 2000:
            changed.append(keyed.missing)
            keyed.owner.execute("alter table things drop constraint things_pkey, add unique (other)")

    fill_rows(keyed.site, LABEL, Pace(), change)
    assert changed
    assert keyed.missing == 0
    assert key(keyed) == ([str(10000 + ROWS)], ROWS)


UNFIT = """
create unique index on things (upper(name));
create unique index on things (id) where id > 7;
create unique index on things (id desc);
create unique index on things (score);
create unique index on things (name text_pattern_ops);
create unique index on things (name collate "POSIX");
alter table things alter name set not null
"""


def test_without_a_key_it_is_refused(keyed: World) -> None:
    keyed.owner.execute(f"alter table things drop constraint things_pkey; {UNFIT}")
    with pytest.raises(errors.ChangeRefused, match="stored as heap2, not as a heap") as refused:
        fill_rows(keyed.site, LABEL, Pace())
    assert refused.value.instead.endswith("things add primary key (…)")
    keyed.owner.execute("create unique index on things (name, id) include (score)")
    fill_rows(keyed.site, LABEL, Pace())
    assert keyed.missing == 0


def test_a_fill_that_is_repeated_begins_anew(keyed: World) -> None:
    fill_rows(keyed.site, LABEL, Pace())
    keyed.owner.execute("alter table things disable trigger sync; update things set label = null where id = 5")
    facts = {"operation": keyed.site.operation, "schema": keyed.site.placement.schema, "fill": LABEL.name}
    keyed.site.connection.execute(CHANGE_QUERIES.repeat_fill, facts)
    fill_rows(keyed.site, LABEL, Pace())
    assert keyed.missing == 0


def test_rows_can_be_deleted_instead(keyed: World) -> None:
    orphans = Fill("o", "", "things", OWNER, "things.id % 3 = 0 and name like '%1%'", delete=True)
    left = keyed.value("select count(*) from things where not (id % 3 = 0 and name like '%1%')")
    fill_rows(keyed.site, orphans, Pace())
    assert keyed.value("select count(*) from things") == left


@pytest.mark.parametrize("function", short(["label", "many"], "label"))
def test_a_function_gives_values_too(keyed: World, hooks: dict[str, Any], function: str) -> None:
    """Also where one row raises, one is locked for a while, and others are changed meanwhile."""
    keyed.owner.execute("alter table things disable trigger sync; delete from things where id > 1000")
    other, holder = keyed.connect(), keyed.connect()
    called: list[int] = []

    def hear(*ids: int) -> None:
        called.extend(ids)
        if 100 in ids:
            other.execute("update things set label = 'mine' where id = 98")
            other.execute("update things set name = 'other' where id in (99, 990)")
        if 70 in ids:
            raise ValueError("no such word")

    def tell(state: str) -> None:
        if state.startswith("waiting") and keyed.missing <= 4:
            assert f"pid {holder.info.backend_pid} " in state
            holder.rollback()

    hooks["each"] = hear
    hooks["many"] = lambda rows: hear(*(id for id, _ in rows))
    holder.autocommit = False
    holder.execute("select from things where id = 500 for update")
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(keyed.site, by(function), Pace(tell=tell))
    assert (failed.value.row, failed.value.error, failed.value.count) == ("id=70", "ValueError: no such word", 1)
    assert keyed.value("select array_agg(id order by id) from things where label is distinct from upper(name)") == [
        70,
        98,
    ]
    assert keyed.value("select label from things where id = 98") == "mine"
    hooks["each"] = hooks["many"] = lambda row: None
    fill_rows(keyed.site, by(function), Pace())
    assert keyed.value("select count(*) from things where label is null") == 0


def test_partitions_of_both_kinds(keyed: World) -> None:
    keyed.owner.execute("""
        create table parted (id bigint primary key, name text, label text) partition by range (id);
        create table parted_1 partition of parted for values from (0) to (1000);
        create table parted_2 partition of parted for values from (1000) to (9000) using heap2;
        insert into parted select g, 'name ' || g from generate_series(1, 3000) g""")
    fill = Fill("p", "", "parted", OWNER, "parted.label is null", {"label": "upper(parted.name)"})
    fill_rows(keyed.site, fill, Pace())
    assert keyed.value("select count(*) from parted where label = upper(name)") == 3000
    found = [(part, pages == next_page > 0, rows) for part, next_page, pages, rows in keyed.note("p")]
    schema = keyed.site.placement.schema
    assert found == [(f"{schema}.parted_1", True, 999), (f"{schema}.parted_2", True, 2001)]
