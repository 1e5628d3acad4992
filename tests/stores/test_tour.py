"""The tour: its facts are measured, and one that does not hold is told."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL

from fix_stack import FOLDER
from kos import cli, tour
from kos.errors import StackNotRunning
from kos.schema_change import change_status, find_open, finish, plan_change, start
from kos.tenancy import Store, create_tenant
from kos.topology import postgres
from kos.topology.embedded import Stack
from kos.tour import Fact, Step, Tour, change, commands, steps
from kos.tour.change import change_schema
from kos.tour.isolation import reach_for
from kos.tour.shop import adopt_shop
from kos.tour.tour import aligned
from kos.workload import Shape, running

CLI = [sys.executable, "-c", "from kos.cli import main; main()"]
TITLES = [step.title for step in tour.STEPS]


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """A folder of these tests' own, where nothing runs yet: the tour starts it, and kills in it."""
    folder = Path(os.environ[FOLDER]) / f"tour-{os.getpid()}"
    folder.mkdir(mode=0o711)
    stack = Stack(folder)
    yield stack
    stack.down(purge=True)


def kos(stack: Stack, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *arguments], cwd=stack.folder, capture_output=True, text=True, timeout=600, check=False
    )


# the whole of it, twice


@pytest.fixture(scope="module")
def first(own_stack: Stack) -> subprocess.CompletedProcess[str]:
    """A tour for people, into a pipe, from nothing."""
    return kos(own_stack, "tour")


@pytest.fixture(scope="module")
def rows_before(own_stack: Stack, first: object) -> dict[str, int]:
    return rows(own_stack)


@pytest.fixture(scope="module")
def second(own_stack: Stack, rows_before: object) -> dict[str, Any]:
    """Another one, for programs."""
    done = kos(own_stack, "tour", "--json")
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)
    return value


def rows(stack: Stack) -> dict[str, int]:
    """Rows of the tour's tenants; those of the load grow with each tour."""
    listed = json.loads(kos(stack, "tenant", "list", "--json").stdout)
    return {each["name"]: sum(each["rows"].values()) for each in listed if each["name"] in steps.TENANTS}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("tour")
def test_the_tour_begins_from_nothing_and_reads_well_in_a_pipe(first: subprocess.CompletedProcess[str]) -> None:
    assert first.returncode == 0, first.stdout + first.stderr
    assert first.stderr == ""
    assert "\x1b" not in first.stdout
    assert re.findall(r"^ ?(\d+)  (.+)$", first.stdout, re.MULTILINE) == [(str(n), t) for n, t in enumerate(TITLES, 1)]
    assert [line for line in first.stdout.splitlines() if len(line) > 100 and "PATH" not in line] == []
    assert len(re.findall(r"^    ✓ .*\d", first.stdout, re.MULTILINE)) == len(TITLES)
    assert "✗" not in first.stdout
    assert "ran already" not in first.stdout
    assert re.search(r"✓ [\d,]+ new rows at [\d,]+ rows/s", first.stdout)
    assert re.search(r"✓ [\d,]+ acknowledged writes: lost 0, doubled 0, foreign 0", first.stdout)


@pytest.mark.long
@pytest.mark.xdist_group("tour")
def test_the_tour_again_is_harmless(own_stack: Stack, rows_before: dict[str, int], second: dict[str, Any]) -> None:
    assert set(rows_before) == set(steps.TENANTS)
    assert min(rows_before.values()) > 1_000
    assert rows(own_stack) == rows_before


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("tour")
def test_the_tour_is_one_object_for_programs(second: dict[str, Any]) -> None:
    assert set(second) == {"steps", "ok"}
    assert second["ok"] is True
    assert [(step["number"], step["title"]) for step in second["steps"]] == list(enumerate(TITLES, 1))
    assert all(step["ok"] and step["fact"] and step["seconds"] >= 0 for step in second["steps"])
    figures = [step["figures"] for step in second["steps"]]
    assert {store["name"] for store in figures[0]["stores"]} == {"postgres", "graph", "cache", "objects"}
    assert figures[4]["events"] >= figures[4]["rows"] > 0
    assert figures[5]["rows"] > 100
    assert figures[5]["failed"] == 0
    assert figures[6]["path"][0] == "tour-product"
    assert figures[7]["longest_stall_seconds"] > 0
    assert [figures[8]["verdict"][kind] for kind in ("lost", "doubled", "foreign")] == [0, 0, 0]
    assert all(attempt["expected"] for attempt in figures[9]["attempts"])


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("tour")
def test_the_tour_leaves_the_stack_up_and_tells_no_secret(
    own_stack: Stack, first: subprocess.CompletedProcess[str], second: dict[str, Any]
) -> None:
    assert set(own_stack.processes()) == {"postgres", "graph", "cache", "objects"}
    passwords = own_stack.folder / ".kos" / "pgpass"
    assert passwords.stat().st_mode & 0o777 == 0o600
    for login in (own_stack.topology().control.app, own_stack.topology().control.operator):
        assert login.password is not None
        assert login.password.read() not in first.stdout + json.dumps(second)
        assert login.password.read() in passwords.read_text()


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.xdist_group("tour")
def test_an_adopted_table_that_was_written_past_its_triggers_is_told(own_stack: Stack, second: dict[str, Any]) -> None:
    control = own_stack.topology().control
    assert control.installer is not None
    with postgres.connect(control.primary, control.installer) as administrator:
        administrator.execute("set role shop")
        administrator.execute("alter table shop.orders disable trigger kos_capture_insert")
        administrator.execute("insert into shop.orders (account_id, product) values (42, 'unseen')")
        administrator.execute("alter table shop.orders enable trigger kos_capture_insert")
    with Tour(own_stack) as under_way:
        fact = adopt_shop(under_way)
    assert not fact.holds
    assert "says something else" in fact.text


# facts that do not hold


def broken(_: Tour) -> Fact:
    return Fact("2 of 4 stores answer", holds=False, lines=("graph  down",))


def sound(_: Tour) -> Fact:
    return Fact("all is well", figures={"answer": 42})


def refused(under_way: Tour) -> Fact:
    raise StackNotRunning(under_way.stack.folder)


@pytest.fixture
def with_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KOS_CONFIG", raising=False)

    def use(*chosen: Any) -> None:
        monkeypatch.setattr(commands, "STEPS", tuple(Step(each.__name__, each) for each in chosen))

    return use


def test_a_fact_that_does_not_hold_fails_the_command(with_steps: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with_steps(sound, broken, sound)
    assert cli.run(["tour", "--json"]) == 1
    value = json.loads(capsys.readouterr().out)
    assert [step["ok"] for step in value["steps"]] == [True, False, True]
    assert value["ok"] is False
    assert value["steps"][0]["figures"] == {"answer": 42}


def test_a_fact_that_does_not_hold_is_marked(with_steps: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with_steps(broken, sound)
    assert cli.run(["tour"]) == 1
    told = capsys.readouterr().out.splitlines()
    assert told[:3] == [" 1  broken", "    graph  down", "    ✗ 2 of 4 stores answer"]
    assert "    ✓ all is well" in told


def test_a_step_that_can_not_be_taken_ends_the_tour(with_steps: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with_steps(sound, refused, sound)
    assert cli.run(["tour"]) == StackNotRunning.exit_code
    told = capsys.readouterr()
    assert "next:  kos up" in told.err
    assert " 3 " not in told.out


def test_lost_writes_do_not_hold(store: Store, template: Stack, tmp_path: Path) -> None:
    with Tour(template, _store=store) as under_way:
        load = under_way.enter(running(store, tmp_path / "run.ledger", Shape(clients=2)))
        under_way.load = load
        deadline = time.monotonic() + 60
        with store.operator() as operator:
            while operator.execute("select exists (select from knowledge.relations)").fetchone() != (True,):
                assert time.monotonic() < deadline
                load.go_on(0.2)
            load.stop()
            with operator.transaction():
                operator.execute("select set_config('search_path', kos.enter('workload-1'), true)")
                lost = operator.execute("delete from relations where id = (select id from relations limit 1)")
        assert lost.rowcount == 1, "the fault is planted"
        fact = steps.settle_ledger(under_way)
    assert not fact.holds
    assert "lost 1" in fact.text


# a schema that changes


@pytest.fixture
def foundry(store: Store) -> Store:
    """The tenant whose schema changes, with atoms."""
    create_tenant(store, "foundry", "schema")
    with store.tenant("foundry") as session:
        session.execute(
            "insert into atoms (atom_type, name, value) select 'T', 'atom', 'value ' || g from generate_series(1, 50) g"
        )
    return store


def as_before(store: Store) -> bool:
    """No column, no row and no change is left of the step."""
    with store.tenant("foundry") as session:
        there = session.execute(
            "select count(*), to_regclass('atoms_embedding_idx') is null, not exists (select from pg_attribute"
            " where attrelid = 'atoms'::regclass and attname = 'embedding') from atoms"
        ).fetchone()
    return there == (50, True, True) and find_open(store) is None


@pytest.mark.long
def test_a_schema_changes_and_is_as_before(foundry: Store, template: Stack) -> None:
    for _ in range(2):
        with Tour(template, _store=foundry) as under_way:
            fact = change_schema(under_way)
        assert fact.holds
        assert fact.figures["rows"] >= 50
        assert as_before(foundry)


@pytest.mark.parametrize("finished", [False, True])
def test_what_a_killed_tour_left_of_its_change_is_taken_away(foundry: Store, *, finished: bool) -> None:
    start(foundry, plan_change(foundry, change.CHANGE, name=change.NAME, schemas=("tenant_foundry",)))
    if finished:
        finish(foundry)
    assert not as_before(foundry)
    change.clear(foundry)
    assert as_before(foundry)


def test_a_change_of_somebody_elses_is_left_alone(foundry: Store, template: Stack) -> None:
    start(foundry, plan_change(foundry, "alter table atoms add column shade text;", name="shades"))
    with Tour(template, _store=foundry) as under_way:
        fact = change_schema(under_way)
    assert "shades is open" in fact.text
    status = change_status(foundry)
    assert (status.name, status.state) == ("shades", "waiting")


@pytest.mark.long
def test_statements_that_fail_while_a_schema_changes_are_told(
    foundry: Store, template: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(change.QUERIES, "require", SQL("select kos.require_change('something else')"))
    with Tour(template, _store=foundry) as under_way:
        fact = change_schema(under_way)
    assert not fact.holds
    assert f"{change.FAILURES} statements failed" in fact.text
    assert as_before(foundry)


# the walls between tenants


@pytest.fixture
def three(store: Store) -> Store:
    """A tenant with rows, a neighbour in the same table, and one in a schema of its own."""
    for name, tier in (("atlas", "row"), ("workload-1", "row"), ("foundry", "schema")):
        create_tenant(store, name, tier)
    with store.tenant("atlas") as atlas:
        atlas.execute("insert into atoms (atom_type, name) values ('EntityAtom', 'Aachen'), ('EntityAtom', 'Aalen')")
    return store


def test_no_tenant_reaches_another(three: Store) -> None:
    answers = reach_for(three, three.find("atlas"), "workload-1", "foundry")
    assert [(answer.who, str(answer)) for answer in answers] == [
        ("atlas", "2 rows"),
        ("workload-1", "0 rows"),
        ("workload-1", "0 rows"),
        ("workload-1", "refused 42501"),
        ("workload-1", "refused KS004"),
        ("foundry", "0 rows"),
        ("nobody", "refused KS001"),
        ("nobody", "refused KS003"),
    ]
    assert all(answer.expected for answer in answers)


@pytest.mark.parametrize(
    ("hole", "through"),
    [
        ("drop policy tenant_isolation on knowledge.atoms", [1, 2, 3, 5, 6]),
        ("alter policy tenant_isolation on knowledge.atoms using (true) with check (false)", [1, 2, 5, 6]),
        ("alter table knowledge.atoms disable row level security", [1, 2, 3, 5, 6]),
    ],
)
def test_a_hole_in_the_wall_is_told(three: Store, hole: str, through: list[int]) -> None:
    with three.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute(hole)
    answers = reach_for(three, three.find("atlas"), "workload-1", "foundry")
    assert [number for number, answer in enumerate(answers) if not answer.expected] == through


def test_the_attempts_change_nothing(three: Store) -> None:
    with three.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute("drop policy tenant_isolation on knowledge.atoms")
        reach_for(three, three.find("atlas"), "workload-1", "foundry")
        operator.execute("reset role")
        found = operator.execute("select count(*), count(value) from knowledge.atoms").fetchone()
    assert found == (2, 0)


def test_columns_stand_under_each_other() -> None:
    assert aligned([("a", "bb", 3), ("aaaa", "b", 10)], right=[2]) == ("a     bb   3", "aaaa  b   10")
    assert aligned([]) == ()
