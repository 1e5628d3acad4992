"""The cache as a projection: generations, what moves one, and how things are called."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
import redis
from hypothesis import example, given
from hypothesis import strategies as st

from fix_redis import OwnCache
from kos import errors
from kos.projections.cache import KINDS, CacheKind, CacheProjection, names
from kos.projections.cache.kinds import touched
from kos.projections.model import Change, Reached, Standing, TableName, Whose
from kos.tenancy.entry import Entry

TENANT = UUID("01900000-0000-7000-8000-000000000001")
WHOSE = Whose(TENANT, 3)
ATOM = UUID("01900000-0000-7000-8000-0000000000ab")


@pytest.fixture
def projection(module_cache: OwnCache, plain_client: redis.Redis) -> Iterator[CacheProjection]:
    made = CacheProjection(module_cache.store)
    yield made
    made.close()


def change(table: str, *key: str, kind: Any = "changed", position: int = 5) -> Change:
    return Change(TableName(table, "knowledge"), kind, key, {}, position)


def test_readers_see_a_generation_when_it_is_switched_to(projection: CacheProjection) -> None:
    assert projection.live(WHOSE) is None
    made = projection.begin(WHOSE, "a")
    assert made == Standing("a", Reached())
    made = projection.apply(WHOSE, made, [], Reached(1, 7, b"\0leaf"))
    assert projection.live(WHOSE) is None
    projection.switch(WHOSE, made)
    projection.switch(WHOSE, made)
    live = projection.live(WHOSE)
    assert live == made
    assert live is not None
    assert live.reached.leaf == b"\0leaf"
    other = projection.begin(WHOSE, "b")
    assert projection.live(WHOSE) == made
    with pytest.raises(errors.ProjectionMoved):
        projection.switch(WHOSE, Standing("c", Reached()))
    made = projection.apply(WHOSE, made, [change("atoms", str(TENANT), str(ATOM))], Reached(1, 8))
    projection.switch(WHOSE, other)
    assert projection.live(WHOSE) == Standing("b", Reached())
    with pytest.raises(errors.ProjectionMoved):
        projection.apply(WHOSE, made, [], Reached(1, 9))


def test_who_stands_elsewhere_moves_nothing(projection: CacheProjection, plain_client: redis.Redis) -> None:
    at = projection.begin(WHOSE, "a")
    projection.switch(WHOSE, at)
    new = projection.apply(WHOSE, at, [], Reached(1, 5))
    for wrong in (at, Standing("b", new.reached), Standing("a", Reached(2, 5)), Standing("a", Reached(1, 6))):
        with pytest.raises(errors.ProjectionMoved):
            projection.apply(WHOSE, wrong, [], Reached(3, 9))
    assert projection.apply(WHOSE, new, [], Reached(1, 9), rehearse=True) == Standing("a", Reached(1, 9))
    assert projection.live(WHOSE) == new
    plain_client.flushall()
    with pytest.raises(errors.ProjectionMoved):
        projection.apply(WHOSE, new, [], Reached(1, 9))


def test_other_kinds_are_another_projection(projection: CacheProjection, module_cache: OwnCache) -> None:
    at = projection.begin(WHOSE, "a")
    projection.switch(WHOSE, at)
    other = CacheProjection(module_cache.store, KINDS[:2])
    assert other.live(WHOSE) is None
    with pytest.raises(errors.ProjectionMoved):
        other.apply(WHOSE, at, [], Reached(1, 5))
    other.close()


def test_earlier_epochs_are_cleared_and_a_tenant_is_forgotten(
    projection: CacheProjection, plain_client: redis.Redis
) -> None:
    for epoch in (1, 2, 3):
        projection.switch(Whose(TENANT, epoch), projection.begin(Whose(TENANT, epoch), "a"))
    other = Whose(uuid4(), 1)
    projection.switch(other, projection.begin(other, "a"))
    projection.begin(WHOSE, "b")
    projection.clear(WHOSE)
    assert [projection.live(Whose(TENANT, epoch)) is not None for epoch in (1, 2, 3)] == [False, False, True]
    with pytest.raises(errors.ProjectionMoved):
        projection.switch(WHOSE, Standing("b", Reached()))
    plain_client.hset(f"kos:{{{TENANT}.9}}:g:atom:1:a", "v", "x")
    projection.forget(TENANT)
    assert plain_client.keys(f"*{TENANT}*") == []
    assert projection.live(other) is not None


def test_what_anybody_has_put_among_the_wanted_is_no_tenant(
    projection: CacheProjection, plain_client: redis.Redis
) -> None:
    plain_client.sadd("kos:wanted", f"{TENANT}.3", "nonsense", b"\xff.1", f"{TENANT}.x")
    assert projection.asking() == [WHOSE]
    assert projection.asking() == []


def test_two_tables_of_one_name_in_two_schemas() -> None:
    kinds = (CacheKind("order", "shop.orders", key=(int,)), CacheKind("old", depends=("archive.orders",), key=(int,)))
    found = touched(Change(TableName("orders", "shop"), "changed", ("7",), {}, 1), kinds, TENANT)
    assert (found.entries, found.tables) == (("order:1:7",), ())
    found = touched(Change(TableName("orders", "archive"), "changed", ("7",), {}, 1), kinds, TENANT)
    assert (found.entries, found.tables) == ((), ("archive.orders",))


@pytest.mark.parametrize("key", [(), ("7", "8"), (str(TENANT), "x", "7"), (str(TENANT), "x")])
def test_a_key_of_another_form_makes_the_whole_table_old(key: tuple[str, ...]) -> None:
    found = touched(change("orders", *key), (CacheKind("order", "orders", key=(int,)),), TENANT)
    assert (found.entries, found.tables) == ((), ("orders",))


def test_the_key_of_an_event_has_the_tenant_in_it_or_not() -> None:
    kind = CacheKind("atom", "atoms")
    for key in ((str(TENANT), str(ATOM)), (str(ATOM), str(TENANT)), (str(ATOM),)):
        assert kind.entry_of_row(key, TENANT) == kind.entry(ATOM)
    assert kind.entry_of_row((str(TENANT), str(TENANT)), TENANT) == kind.entry(TENANT)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=8) | st.text(":{}1\0\n", max_size=3)


@given(st.lists(st.tuples(texts, texts), min_size=2, max_size=6, unique=True))
@example([("", ":"), (":", "")])
@example([("", "1:a"), ("1:a", "")])
def test_no_two_keys_have_one_name(keys: list[tuple[str, str]]) -> None:
    kind = CacheKind("pair", "pairs", key=(str, str))
    assert len({kind.entry(key) for key in keys}) == len(keys)


@given(texts, texts)
def test_no_name_leads_to_another_tenant(text: str, generation: str) -> None:
    """The place of a name in a cluster is what stands in its first braces."""
    name = names.prefix(TENANT, 1) + generation + ":" + CacheKind("t", "t", key=(str,)).entry(text)
    assert name[name.index("{") + 1 : name.index("}")] == f"{TENANT}.1"


identities = st.none() | st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=4)


@given(st.lists(st.tuples(identities, identities), min_size=2, max_size=6, unique=True))
def test_no_two_readers_have_one_name(who: list[tuple[str | None, str | None]]) -> None:
    found = {names.reader(Entry(persona=persona, user=user), any_user=False) for persona, user in who}
    assert len(found) == len(who)


@pytest.mark.parametrize(
    "declared",
    [
        {"name": "Atom", "table": "atoms"},
        {"name": "atom:1", "table": "atoms"},
        {"name": "atom\n", "table": "atoms"},
        {"name": "atom"},
        {"name": "atom", "table": "a,b"},
        {"name": "atom", "table": "atoms", "key": ()},
        {"name": "atom", "table": "atoms", "key": (float,)},
    ],
)
def test_kinds_that_can_not_be(declared: dict[str, Any]) -> None:
    with pytest.raises(errors.CacheKindInvalid):
        CacheKind(**declared)


@pytest.mark.parametrize(
    ("types", "key"),
    [
        ((UUID,), "Bern"), ((UUID,), 1), ((UUID,), None), ((UUID,), (ATOM, ATOM)),
        ((int,), "x"), ((int,), True), ((int,), None), ((str,), 1), ((str,), ATOM), ((str,), "\ud800"), ((str,), b"a"),
        ((str, int), "a"), ((str, int), ("a", "b")),
    ],
)  # fmt: skip
def test_keys_of_another_type_are_refused(types: tuple[type, ...], key: Any) -> None:
    with pytest.raises(errors.CacheKeyRefused):
        CacheKind("k", "t", key=types).entry(key)


def test_ways_to_write_one_key() -> None:
    uuid = CacheKind("k", "t")
    ways = (ATOM, str(ATOM), str(ATOM).upper(), f"{{{ATOM}}}", ATOM.hex, (ATOM,))
    assert {uuid.entry(each) for each in ways} == {f"k:36:{ATOM}"}
    number = CacheKind("k", "t", key=(int,))
    assert {number.entry(each) for each in (7, "7", "007", " 7", "+7")} == {"k:1:7"}
