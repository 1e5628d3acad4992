"""Values that a Python function gives."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fill_site import FILLS, stand_in
from test_change_fill import ROWS, Clock, World, place, world

from fix_database import as_superuser
from fix_product import OWNER
from kos import errors
from kos.schema_change.fill import fill_rows
from kos.schema_change.fill_python import PASSES, load
from kos.schema_change.model import Fill
from kos.schema_change.throttle import Limits, Pace
from kos.tenancy import Store, Tenant
from kos.topology.embedded import Stack

__all__ = ["place", "world"]

MODULE = """
import decimal
from hooks import HOOKS

def label(id, name):
    HOOKS["each"](id)
    return name.upper()

def many(rows):
    HOOKS["many"](rows)
    return [name.upper() for _, name in rows]
many.kos_batch = True

def vector(id):
    return [id, 0.5, 2]

def document(id):
    return {"id": id, "tags": ["a", None]}

def tags(id):
    return ["x", 'quoted "y"', None]

def score(id):
    return decimal.Decimal(id) / 4

def wrong_size(id):
    return [1, 2] if id == 7 else [1, 2, 3]

def nothing(id):
    return None if id == 9 else 1

not_callable = 5
"""
HOOKS = "HOOKS = {'each': lambda id: None, 'many': lambda rows: None}"


@pytest.fixture
def hooks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """The functions, in the current folder."""
    (tmp_path / "fills.py").write_text(MODULE)
    (tmp_path / "hooks.py").write_text(HOOKS)
    monkeypatch.chdir(tmp_path)
    load("fills:label")
    yield sys.modules["hooks"].HOOKS
    for name in ("fills", "hooks"):
        del sys.modules[name]


def by(function: str, column: str = "label", reads: tuple[str, ...] = ("id", "name")) -> Fill:
    return Fill(
        function, f"fill {column}", "things", OWNER, f"{column} is null",
        column=column, python=f"fills:{function}", reads=reads,
    )  # fmt: skip


@pytest.mark.parametrize("function", ["label", "many"])
def test_every_row_gets_its_value_once(world: World, hooks: dict[str, Any], function: str) -> None:
    called: list[int] = []
    hooks["each"] = called.append
    hooks["many"] = lambda rows: called.extend(id for id, _ in rows)
    fill_rows(world.site, by(function), Pace())
    assert world.missing == 0
    assert sorted(called) == list(range(1, ROWS + 1))
    assert world.value("select array_agg(distinct writes) from things") == [1]
    ((_, next_page, pages, rows),) = world.note(function)
    assert (next_page, rows) == (pages, ROWS)


@pytest.mark.parametrize("function", ["label", "many"])
def test_a_row_that_raises_is_named_and_stops_no_other(world: World, hooks: dict[str, Any], function: str) -> None:
    def refuse(*ids: int) -> None:
        if {70, 4000} & set(ids):
            raise ValueError("no such word")

    hooks["each"] = refuse
    hooks["many"] = lambda rows: refuse(*(id for id, _ in rows))
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(world.site, by(function), Pace())
    assert (failed.value.row, failed.value.error, failed.value.count) == ("id=70", "ValueError: no such word", 2)
    assert world.value("select array_agg(id order by id) from things where label is null") == [70, 4000]
    hooks["each"] = hooks["many"] = lambda row: None
    fill_rows(world.site, by(function), Pace())
    assert world.missing == 0


def test_a_row_that_changed_meanwhile_keeps_what_it_has(world: World, hooks: dict[str, Any]) -> None:
    world.owner.execute("alter table things disable trigger sync")  # so that nothing else fills the second row
    other = world.connect()

    def change(id: int) -> None:
        if id == 100:
            other.execute("update things set label = 'mine' where id = 90")
            other.execute("update things set name = 'other' where id in (91, 4990)")
            hooks["each"] = lambda id: None

    hooks["each"] = change
    fill_rows(world.site, by("label"), Pace())
    assert world.value("select label from things where id = 90") == "mine"
    assert world.value("select array_agg(label) from things where id in (91, 4990)") == ["OTHER", "OTHER"]
    assert world.value("select count(*) from things where label is distinct from upper(name)") == 1


def test_a_row_that_took_anothers_place_does_not_get_its_value(world: World, hooks: dict[str, Any]) -> None:
    world.owner.execute("alter table things disable trigger sync")
    other = world.connect()

    def change(id: int) -> None:
        hooks["each"] = lambda id: None
        other.execute("delete from things where id <= 20")
        other.execute("vacuum (index_cleanup on) things")
        other.execute("insert into things select g, 'taker' from generate_series(9001, 9020) g")
        places.append(world.value("select count(*) from things where id > 9000 and ctid < '(0,21)'"))

    places: list[int] = []
    hooks["each"] = change
    fill_rows(world.site, by("label"), Pace())
    assert places == [20]
    assert world.missing == 0


def test_nothing_is_locked_while_a_function_is_called(world: World, hooks: dict[str, Any]) -> None:
    other = world.connect()

    def look(id: int) -> None:
        if id % 500 == 0:
            found.append(world.site.connection.info.transaction_status.name)
            other.execute("begin; lock table things in access exclusive mode nowait; commit")

    found: list[str] = []
    hooks["each"] = look
    fill_rows(world.site, by("label"), Pace())
    assert set(found) == {"IDLE"}


@pytest.mark.parametrize("written", ["score", "name"])
def test_a_row_that_is_written_all_the_time_gets_its_value(world: World, hooks: dict[str, Any], written: str) -> None:
    world.owner.execute("alter table things disable trigger sync")
    other = world.connect()
    value = "coalesce(score, 0) + 1" if written == "score" else "name || '+'"
    # It moves before each of our transactions: no value that was computed for it finds it as it was.
    world.site.before = lambda: other.execute(f"update things set {written} = {value} where id = 2500")
    found: list[str] = []
    hooks["each"] = lambda id: found.append(world.site.connection.info.transaction_status.name)
    fill_rows(world.site, by("label"), Pace())
    world.site.before = lambda: None
    assert world.value("select count(*) from things where label is null") == 0
    assert world.value("select label = upper(name) from things where id = 2500")
    # It is locked while its value is computed only if that is of what changes.
    assert Counter(found)["INTRANS"] == (1 if written == "name" else 0)


def test_a_table_that_is_written_anew_after_the_first_pass(world: World, hooks: dict[str, Any]) -> None:
    """All that is known of where its rows are means nothing then."""
    world.owner.execute("alter table things disable trigger sync")
    other = world.connect()
    calls: Counter[int] = Counter()

    def look(id: int) -> None:
        calls[id] += 1
        if id == 2500 and calls[id] < 3:
            other.execute("update things set name = name || '+' where id = 2500")
        if id == 2500 and calls[id] == 2:
            other.execute("vacuum full things")

    hooks["each"] = look
    fill_rows(world.site, by("label"), Pace())
    assert calls[2500] > 2
    assert world.value("select count(*) from things where label is null") == 0
    assert world.value("select label = upper(name) from things where id = 2500")


def test_such_a_row_is_reached_where_row_security_hides_it_from_its_owner(
    store: Store, tenant: Tenant, template: Stack, hooks: dict[str, Any]
) -> None:
    with store.tenant(tenant.name) as session:
        session.execute("insert into atoms (atom_type, name) select 'Point', 'n ' || g from generate_series(1, 50) g")
    fill = Fill(
        "value", "fill atoms.value", "atoms", "kos_owner", "value is null",
        column="value", python="fills:label", reads=("id", "name"),
    )  # fmt: skip
    with as_superuser(template, store.topology.control.primary.database) as other:
        other.execute(FILLS)
        other.execute("set session_replication_role = replica")
        write = "update knowledge.atoms set name = name || '+' where name like 'n 7%'"
        site = stand_in(store.topology, "knowledge")
        site.before = lambda: other.execute(write)
        fill_rows(site, fill, Pace())
        site.connection.close()
        count = "select count(*) from knowledge.atoms where value = upper(name)"
        assert other.execute(count).fetchone() == (50,)


def test_a_row_is_not_kept_locked_for_a_slow_function(world: World, hooks: dict[str, Any]) -> None:
    world.owner.execute("delete from things where id > 100")
    world.owner.execute("alter table things disable trigger sync")
    other, clock = world.connect(), Clock()
    found: list[str] = []

    def slowly(id: int) -> None:
        clock.wait(1)
        found.append(world.site.connection.info.transaction_status.name)

    hooks["each"] = slowly
    world.site.before = lambda: other.execute("update things set name = name || '+' where id = 50")
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(world.site, by("label"), Pace(clock=clock, wait=clock.wait))
    assert (failed.value.row, failed.value.count) == ("id=50", 1)
    assert "written each time" in failed.value.error
    assert set(found) == {"IDLE"}
    world.site.before = lambda: None
    fill_rows(world.site, by("label"), Pace())
    assert world.value("select count(*) from things where label is distinct from upper(name)") == 0


def test_a_row_that_stays_locked_to_the_end_is_waited_for(world: World, hooks: dict[str, Any]) -> None:
    world.owner.execute("alter table things disable trigger sync")
    holder, other = world.connect(), world.connect()
    holder.autocommit = False
    told: list[str] = []
    calls: list[int] = []

    def change(id: int) -> None:
        calls.extend([id] * (id == 2500))
        if id == 2500 and len(calls) <= PASSES + 2:
            (other if len(calls) <= PASSES + 1 else holder).execute("update things set name = 'held' where id = 2500")

    def hear(state: str) -> None:
        told.append(state)
        if state.startswith("waiting for pid"):
            holder.commit()

    hooks["each"] = change
    fill_rows(world.site, by("label"), Pace(tell=hear))
    assert any(f"pid {holder.info.backend_pid} " in each for each in told)
    assert world.value("select label from things where id = 2500") == "HELD"


def test_a_locked_row_stops_no_other(world: World, hooks: dict[str, Any]) -> None:
    holder = world.connect()
    told: list[str] = []

    def hear(state: str) -> None:
        told.append(state)
        if world.missing == 1:
            holder.rollback()

    holder.autocommit = False
    holder.execute("select from things where id = 2500 for update")
    fill_rows(world.site, by("label"), Pace(tell=hear))
    assert any(f"pid {holder.info.backend_pid} " in each for each in told)
    assert world.missing == 0


@pytest.mark.parametrize(
    ("function", "type", "shown"),
    [
        ("vector", "vector(3)", "[1,0.5,2]"),
        ("vector", "real[]", "{1,0.5,2}"),
        ("document", "jsonb", '{"id": 1, "tags": ["a", null]}'),
        ("tags", "text[]", '{x,"quoted \\"y\\"",NULL}'),
        ("score", "numeric(9,3)", "0.250"),
        ("score", "double precision", "0.25"),
        ("score", "text", "0.25"),
        ("label", "text", "NAME 1"),
    ],
)
def test_values_become_the_columns_type(
    world: World, hooks: dict[str, Any], function: str, type: str, shown: str
) -> None:
    world.owner.execute("delete from things where id > 300")
    world.owner.execute(f"alter table things add column value {type}")
    fill_rows(world.site, by(function, "value", ("id", "name") if function == "label" else ("id",)), Pace())
    assert world.value("select value::text from things where id = 1") == shown
    assert world.value("select count(*) from things where value is null") == 0


@pytest.mark.parametrize(
    ("function", "row", "error"),
    [
        ("wrong_size", "id=7", "expected 3 dimensions, not 2"),
        ("nothing", "id=9", "ValueError: the function returned None"),
    ],
)
def test_a_value_that_does_not_fit_is_its_rows_failure(
    world: World, hooks: dict[str, Any], function: str, row: str, error: str
) -> None:
    world.owner.execute("delete from things where id > 300")
    world.owner.execute(f"alter table things add column made {'vector(3)' if function == 'wrong_size' else 'integer'}")
    with pytest.raises(errors.FillFailed) as failed:
        fill_rows(world.site, by(function, "made", ("id",)), Pace())
    assert (failed.value.row, failed.value.error, failed.value.count) == (row, error, 1)
    assert world.value("select count(*) from things where made is null") == 1


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("fills:absent", "AttributeError"),
        ("absent:label", "ModuleNotFoundError: No module named 'absent'"),
        ("fills", "AttributeError"),
        ("fills:not_callable", "it can't be called"),
    ],
)
def test_a_function_that_is_not_there_is_told_before_anything_is_done(
    world: World, hooks: dict[str, Any], name: str, reason: str
) -> None:
    fill = Fill("f", "", "things", OWNER, "things.label is null", column="label", python=name, reads=("id",))
    with pytest.raises(errors.FillUnloadable) as unloadable:
        fill_rows(world.site, fill, Pace())
    assert unloadable.value.function == name
    assert unloadable.value.reason.startswith(reason)
    assert str(Path.cwd()) not in sys.path


def test_a_limited_rate_holds_within_a_page_too(world: World, hooks: dict[str, Any]) -> None:
    clock = Clock()
    at_once: Counter[float] = Counter()
    hooks["each"] = lambda id: at_once.update([clock.now])
    pace = Pace(lambda: Limits(max_rate=100), clock=clock, wait=clock.wait)
    fill_rows(world.site, by("label"), pace)
    assert world.missing == 0
    assert clock.now == pytest.approx(ROWS / 100, rel=0.05)
    assert max(at_once.values()) <= 50
