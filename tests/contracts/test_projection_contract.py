"""What every projection promises, whatever store it is in: `kos.projections.Projection`."""

from __future__ import annotations

import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from fix_redis import OwnCache
from kos import errors
from kos.projections import Change, Difference, Projection, Reached, Row, Standing, TableName, Whose
from kos.projections.cache import CacheProjection
from kos.projections.graph import GraphProjection
from kos.projections.model import Kind as ChangeKind
from kos.topology.embedded import Stack

ATOMS, RELATIONS = TableName("atoms", "knowledge"), TableName("relations", "knowledge")
LEAF = bytes(range(32))
Values = dict[str, str | None]


@dataclass
class Kind:
    """A projection under the contract; `holds`: whether it keeps rows, as all do but a cache."""

    make: Callable[[], Projection]
    holds: bool = True


def _files(request: pytest.FixtureRequest) -> Kind:
    sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
    from file_projection import FileProjection

    folder = request.getfixturevalue("tmp_path")
    return Kind(lambda: FileProjection("files", str(folder), ["atoms", "relations"]))


def _arcadedb(request: pytest.FixtureRequest) -> Kind:
    stack: Stack = request.getfixturevalue("stack")
    server = stack.topology().graph
    assert server is not None
    return Kind(lambda: GraphProjection(server))


def _neo4j(request: pytest.FixtureRequest) -> Kind:
    server = request.getfixturevalue("neo4j")
    return Kind(lambda: GraphProjection(server))


def _cache(request: pytest.FixtureRequest) -> Kind:
    server = request.getfixturevalue(f"contract_{request.param}").store
    return Kind(lambda: CacheProjection(server), holds=False)


KINDS = {"files": _files, "arcadedb": _arcadedb, "neo4j": _neo4j, "valkey": _cache, "redis": _cache}


@pytest.fixture(scope="module")
def contract_valkey() -> Iterator[OwnCache]:
    with OwnCache("valkey") as server:
        yield server


@pytest.fixture(scope="module")
def contract_redis() -> Iterator[OwnCache]:
    with OwnCache("redis") as server:
        yield server


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.long] if name == "neo4j" else []) for name in KINDS])
def kind(request: pytest.FixtureRequest) -> Kind:
    """Each store, one after another."""
    return KINDS[request.param](request)


@pytest.fixture
def projection(kind: Kind) -> Iterator[Projection]:
    """One of the kind."""
    made = kind.make()
    made.prepare()
    yield made
    made.close()


@pytest.fixture
def whose(projection: Projection) -> Iterator[Whose]:
    """A tenant of the test's own."""
    tenant = Whose(uuid.uuid4(), 1)
    yield tenant
    projection.forget(tenant.tenant)


def atom(key: str, /, **values: str | None) -> Values:
    return {"id": key, "atom_type": "T", "name": key, "deleted_at": None, **values}


def relation(key: str, one: str, other: str, kind: str = "R") -> Values:
    return {"id": key, "relation_type": kind, "from_atom_id": one, "to_atom_id": other}


def created(table: TableName, values: Values, position: int, before: Values | None = None) -> Change:
    return Change(table, "created", (str(values["id"]),), values, position, before, fresh=before is None)


def deleted(table: TableName, before: Values, position: int) -> Change:
    return Change(table, "deleted", (str(before["id"]),), {}, position, before)


def at(position: int) -> Reached:
    return Reached(1, position, LEAF)


def rows(table: TableName, *values: Values) -> list[Row]:
    return [Row(table, (str(each["id"]),), each) for each in values]


def differences(
    projection: Projection, whose: Whose, standing: Standing, expected: Sequence[Row]
) -> list[tuple[str, str]]:
    found: list[Difference] = list(projection.compare(whose, standing, expected))
    return sorted((each.key, each.fault) for each in found)


def test_nothing_is_seen_before_it_is_shown(projection: Projection, whose: Whose) -> None:
    assert projection.live(whose) is None
    standing = projection.begin(whose, "one")
    assert standing == Standing("one", Reached())
    standing = projection.apply(whose, standing, [created(ATOMS, atom("a"), 1)], at(1))
    assert projection.live(whose) is None
    projection.switch(whose, standing)
    live = projection.live(whose)
    assert live == Standing("one", at(1))
    assert live.reached.leaf == LEAF


def test_it_moves_only_from_where_it_is(projection: Projection, whose: Whose) -> None:
    begun = projection.begin(whose, "one")
    first = projection.apply(whose, begun, [created(ATOMS, atom("a"), 1)], at(1))
    for stale in (begun, replace(first, reached=Reached(2, 1, LEAF)), replace(first, reached=at(2))):
        with pytest.raises(errors.ProjectionMoved):
            projection.apply(whose, stale, [created(ATOMS, atom("late"), 2)], at(2))
    assert differences(projection, whose, first, rows(ATOMS, atom("a"))) == []


def test_of_two_who_move_it_at_once_one_does(kind: Kind, projection: Projection, whose: Whose) -> None:
    standing = projection.begin(whose, "one")
    names = [f"of {number}" for number in range(4)]
    together = threading.Barrier(len(names))
    moved: list[str] = []

    def move(name: str) -> None:
        mine = kind.make()
        together.wait(60)
        try:
            mine.apply(whose, standing, [created(ATOMS, atom(name), 1)], at(1))
            moved.append(name)
        except (errors.ProjectionMoved, errors.StoreUnavailable):
            pass
        mine.close()

    threads = [threading.Thread(target=move, args=(name,)) for name in names]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert len(moved) == 1
    projection.switch(whose, replace(standing, reached=at(1)))
    live = projection.live(whose)
    assert live is not None
    assert live.reached == at(1)
    assert differences(projection, whose, live, rows(ATOMS, atom(moved[0]))) == []


def test_a_rehearsal_leaves_nothing(projection: Projection, whose: Whose) -> None:
    begun = projection.begin(whose, "one")
    projection.apply(whose, begun, [created(ATOMS, atom("a"), 1)], at(1), rehearse=True)
    first = projection.apply(whose, begun, [], at(1))
    assert differences(projection, whose, first, []) == []


def test_comparing_finds_each_fault(kind: Kind, projection: Projection, whose: Whose) -> None:
    if not kind.holds:
        pytest.skip("a cache holds what readers have put there, and is compared with the log")
    standing = projection.begin(whose, "one")
    both = [created(ATOMS, atom("a"), 1), created(ATOMS, atom("b"), 2)]
    standing = projection.apply(whose, standing, [*both, created(RELATIONS, relation("r", "a", "b"), 3)], at(3))
    right = [*rows(ATOMS, atom("a"), atom("b")), *rows(RELATIONS, relation("r", "a", "b"))]
    assert differences(projection, whose, standing, right) == []
    assert differences(projection, whose, standing, right[:-1]) == [("r", "left over")]
    assert differences(projection, whose, standing, right[1:])[0] == ("a", "left over")
    assert ("c", "missing") in differences(projection, whose, standing, [*right, *rows(ATOMS, atom("c"))])
    other = [*rows(ATOMS, atom("a", name="z"), atom("b")), *rows(RELATIONS, relation("r", "b", "a"))]
    assert differences(projection, whose, standing, other) == [("a", "different"), ("r", "different")]


def test_a_snapshot_and_what_came_after_it(projection: Projection, whose: Whose) -> None:
    begun = projection.begin(whose, "one")
    atoms = [atom(f"atom {number}") for number in range(50)]
    loading = replace(begun, reached=at(100))
    projection.load(whose, loading, rows(ATOMS, *atoms[:30]))
    projection.load(whose, loading, rows(ATOMS, *atoms[30:]))
    projection.load(whose, loading, rows(RELATIONS, relation("r", "atom 1", "atom 40")))
    standing = projection.apply(whose, begun, [], at(100))
    standing = projection.apply(whose, standing, [deleted(ATOMS, atoms[5], 101)], at(101))
    expected = rows(ATOMS, *atoms[:5], *atoms[6:]) + rows(RELATIONS, relation("r", "atom 1", "atom 40"))
    assert differences(projection, whose, standing, expected) == []


def test_what_is_new_stands_beside_what_is_shown(projection: Projection, whose: Whose) -> None:
    shown = projection.apply(whose, projection.begin(whose, "one"), [created(ATOMS, atom("a"), 1)], at(1))
    projection.switch(whose, shown)
    building = projection.begin(whose, "two")
    projection.load(whose, replace(building, reached=at(1)), rows(ATOMS, atom("a")))
    building = projection.apply(whose, building, [created(ATOMS, atom("b"), 2)], at(2))
    assert projection.live(whose) == shown
    assert differences(projection, whose, shown, rows(ATOMS, atom("a"))) == []
    projection.switch(whose, building)
    assert projection.live(whose) == building
    assert differences(projection, whose, building, rows(ATOMS, atom("a"), atom("b"))) == []


def test_what_is_shown_no_more_moves_no_further(projection: Projection, whose: Whose) -> None:
    """Else who has not heard of the new one would go on with it, and nobody with the new one. Nor does who was frozen
    while it was made show an older one."""
    before = projection.apply(whose, projection.begin(whose, "one"), [], at(1))
    projection.switch(whose, before)
    before = projection.apply(whose, before, [], at(2))
    frozen = projection.begin(whose, "frozen")
    after = projection.apply(whose, projection.begin(whose, "two"), [], at(2))
    projection.switch(whose, after)
    with pytest.raises(errors.ProjectionMoved):
        projection.apply(whose, before, [created(ATOMS, atom("a"), 3)], at(3))
    with pytest.raises(errors.ProjectionMoved):
        projection.switch(whose, frozen)
    assert projection.live(whose) == after
    projection.apply(whose, after, [created(ATOMS, atom("a"), 3)], at(3))


def test_what_was_cleared_takes_nothing_and_is_not_shown(kind: Kind, projection: Projection, whose: Whose) -> None:
    """Two make one anew: the lock of the first was lost."""
    projection.switch(whose, projection.begin(whose, "one"))
    left = projection.begin(whose, "left")
    projection.clear(whose)
    if kind.holds:  # of a snapshot a cache takes nothing in any case
        with pytest.raises(errors.ProjectionMoved):
            projection.load(whose, replace(left, reached=at(1)), rows(ATOMS, atom("a")))
    with pytest.raises(errors.ProjectionMoved):
        projection.apply(whose, left, [created(ATOMS, atom("a"), 1)], at(1))
    with pytest.raises(errors.ProjectionMoved):
        projection.switch(whose, left)
    live = projection.live(whose)
    assert live is not None
    assert live.generation == "one"


def test_what_was_never_shown_is_cleared(projection: Projection, whose: Whose) -> None:
    shown = projection.apply(whose, projection.begin(whose, "one"), [created(ATOMS, atom("a"), 1)], at(1))
    projection.switch(whose, shown)
    left = projection.apply(whose, projection.begin(whose, "left"), [created(ATOMS, atom("x"), 1)], at(1))
    projection.clear(whose)
    projection.clear(whose)
    again = projection.begin(whose, "left")
    assert again.reached == Reached()
    assert differences(projection, whose, again, []) == []
    assert differences(projection, whose, shown, rows(ATOMS, atom("a"))) == []
    assert left.reached == at(1)


def test_who_is_told_of_it_sees_all_of_it(kind: Kind, projection: Projection, whose: Whose) -> None:
    """A bookmark's reader is told when `apply` has returned, and asks over a connection of its own."""
    standing, others = projection.begin(whose, "one"), kind.make()
    assert projection.identity() == projection.identity() == others.identity()
    projection.switch(whose, standing)
    both = [atom(f"{n}") for n in range(60)], [relation(f"r{n}", f"{n}", f"{n ^ 1}") for n in range(60)]
    all_rows = rows(ATOMS, *both[0]) + rows(RELATIONS, *both[1])
    for number in range(1, 5):
        how, expected = (created, all_rows) if number % 2 else (deleted, [])
        changes = [how(each.table, dict(each.values), number) for each in all_rows]
        standing = projection.apply(whose, standing, changes, at(number))
        assert others.live(whose) == standing
        assert differences(others, whose, standing, expected) == []
    others.close()


def test_a_truncation_takes_what_was_before_it(projection: Projection, whose: Whose) -> None:
    standing = projection.begin(whose, "one")
    begun = [created(ATOMS, atom(name), 1) for name in ("a", "b")]
    standing = projection.apply(whose, standing, [*begun, created(RELATIONS, relation("r", "a", "b"), 2)], at(2))
    emptied = [Change(RELATIONS, "truncated", (), {}, 3), Change(ATOMS, "truncated", (), {}, 4)]
    standing = projection.apply(whose, standing, [*emptied, created(ATOMS, atom("b", name="new"), 5)], at(5))
    assert differences(projection, whose, standing, rows(ATOMS, atom("b", name="new"))) == []


def test_nothing_comes_back_that_was_deleted(projection: Projection, whose: Whose) -> None:
    standing = projection.apply(whose, projection.begin(whose, "one"), [created(ATOMS, atom("a"), 1)], at(1))
    standing = projection.apply(whose, standing, [deleted(ATOMS, atom("a"), 2)], at(2))
    with pytest.raises(errors.ProjectionMoved):
        projection.apply(whose, replace(standing, reached=Reached()), [created(ATOMS, atom("a"), 1)], at(1))
    changed = Change(ATOMS, "changed", ("a",), {"name": "late"}, 3)
    standing = projection.apply(whose, standing, [changed], at(3))  # of a row that is gone, nothing is made
    assert differences(projection, whose, standing, []) == []


def test_an_older_change_is_not_applied_over_a_newer_one(projection: Projection, whose: Whose) -> None:
    standing = projection.begin(whose, "one")
    standing = projection.apply(whose, standing, [created(ATOMS, atom("a", name="new"), 9)], at(9))
    older = Change(ATOMS, "changed", ("a",), {"name": "old"}, 4)
    standing = projection.apply(whose, standing, [older, deleted(ATOMS, atom("none"), 5)], at(10))
    assert differences(projection, whose, standing, rows(ATOMS, atom("a", name="new"))) == []


@pytest.fixture
def joined(projection: Projection, whose: Whose) -> Standing:
    """Two rows that a third joins."""
    both = [created(ATOMS, atom("a"), 1), created(ATOMS, atom("b"), 2)]
    begun = projection.begin(whose, "one")
    return projection.apply(whose, begun, [*both, created(RELATIONS, relation("r", "a", "b"), 3)], at(3))


def test_what_joins_two_may_come_before_them(projection: Projection, whose: Whose) -> None:
    standing = projection.begin(whose, "one")
    standing = projection.apply(whose, standing, [created(RELATIONS, relation("r", "a", "b"), 1)], at(1))
    standing = projection.apply(whose, standing, [created(ATOMS, atom("b"), 2)], at(2))
    standing = projection.apply(whose, standing, [created(ATOMS, atom("a"), 3)], at(3))
    expected = [*rows(ATOMS, atom("a"), atom("b")), *rows(RELATIONS, relation("r", "a", "b"))]
    assert differences(projection, whose, standing, expected) == []


@pytest.mark.parametrize("after", [relation("r", "a", "b", "S"), relation("r", "b", "a"), None])
@pytest.mark.parametrize("fully", [True, False])
def test_what_is_there_though_the_log_did_not_say_so(
    projection: Projection, whose: Whose, joined: Standing, after: Values | None, fully: bool
) -> None:
    """Of before its table was logged."""
    atoms = rows(ATOMS, atom("a"), atom("b"))
    named = {name: value for name, value in (after or {}).items() if value != relation("r", "a", "b")[name]}
    change = Change(RELATIONS, "created" if fully else "changed", ("r",), (after or {}) if fully else named, 4)
    if after is None:
        change = replace(change, kind="deleted")
    standing = projection.apply(whose, joined, [change], at(4))
    expected = [] if after is None else rows(RELATIONS, after)
    assert differences(projection, whose, standing, [*atoms, *expected]) == []


@pytest.mark.parametrize("kind_of_change", ["created", "changed", "deleted"])
def test_an_older_change_of_what_joins_two_is_not_applied_over_a_newer_one(
    projection: Projection, whose: Whose, joined: Standing, kind_of_change: ChangeKind
) -> None:
    values = {} if kind_of_change == "deleted" else relation("r", "b", "a", "old")
    for before in (None, relation("r", "a", "b")):
        older = Change(RELATIONS, kind_of_change, ("r",), values, 2, before)
        if before is not None and values:
            older = replace(older, values=relation("r", "a", "b", "old"))
        joined = projection.apply(whose, joined, [older], at(joined.reached.position + 1))
        expected = [*rows(ATOMS, atom("a"), atom("b")), *rows(RELATIONS, relation("r", "a", "b"))]
        assert differences(projection, whose, joined, expected) == []


KEYS = ["", "a b", "a/b", '"', "'", "\\", "}", "{a}", "$x", "`", "ü", "\N{SNOWMAN}", "\n", "\u0001", "a" * 500, "[1,2]"]


def test_what_seemed_new_may_be_there(projection: Projection, whose: Whose) -> None:
    """A key was removed and inserted again by one statement: the others of the batch are not refused with it."""
    standing = projection.begin(whose, "one")
    standing = projection.apply(whose, standing, [created(ATOMS, atom("a"), 1), created(ATOMS, atom("b"), 2)], at(2))
    changes = [created(ATOMS, atom("c"), 3), created(ATOMS, atom("a", name="again"), 4)]
    standing = projection.apply(whose, standing, changes, at(4))
    expected = rows(ATOMS, atom("a", name="again"), atom("b"), atom("c"))
    assert differences(projection, whose, standing, expected) == []


def test_keys_and_values_are_whatever_they_are(projection: Projection, whose: Whose) -> None:
    standing = projection.begin(whose, "one")
    atoms = [atom(key, name=key, value="'; MATCH (n) DETACH DELETE n //") for key in KEYS]
    standing = projection.apply(whose, standing, [created(ATOMS, each, 1) for each in atoms], at(1))
    assert differences(projection, whose, standing, rows(ATOMS, *atoms)) == []
    gone = [deleted(ATOMS, each, 2) for each in atoms]
    assert differences(projection, whose, projection.apply(whose, standing, gone, at(2)), []) == []


def test_a_tenant_that_is_forgotten_takes_no_other_along(projection: Projection, whose: Whose) -> None:
    other = Whose(uuid.uuid4(), 1)
    standings = []
    for each in (whose, other):
        standing = projection.apply(each, projection.begin(each, "same"), [created(ATOMS, atom("a"), 1)], at(1))
        projection.switch(each, standing)
        standings.append(standing)
    projection.forget(other.tenant)
    projection.forget(other.tenant)
    assert projection.live(other) is None
    assert projection.live(whose) == standings[0]
    assert differences(projection, whose, standings[0], rows(ATOMS, atom("a"))) == []
    assert differences(projection, other, projection.begin(other, "same"), []) == []
