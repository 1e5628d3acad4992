"""An operation's state is the fold of its events; moves that can't be are refused; and what a declaration must have."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kos.errors import IllegalMove
from kos.journal import Operation, Run, Step
from kos.journal.history import _MOVES, History, fold
from kos.journal.records import Event

ID = UUID(int=1)
STEPS = ("one", "two")
OF_STEPS = ("started", "done", "failed", "undo_started", "undone", "undo_failed")
Move = tuple[str, str | None]


def after(*moves: Move) -> History:
    now = datetime.now(UTC)
    return fold(ID, [Event(number, step, what, None, 1, now) for number, (what, step) in enumerate(moves, start=1)])


ONE_DONE: tuple[Move, ...] = (("started", "one"), ("done", "one"))


@pytest.mark.parametrize(
    ("moves", "state"),
    [
        ((), "planned"),
        ((("started", "one"),), "running"),
        ((("started", "one"), ("started", "one")), "running"),
        ((("started", "one"), ("failed", "one")), "failed"),
        ((*ONE_DONE, ("started", "two"), ("done", "two"), ("finished", None)), "finished"),
        ((*ONE_DONE, ("rollback_started", None)), "rolling_back"),
        ((*ONE_DONE, ("rollback_started", None), ("undo_started", "one"), ("undo_failed", "one")), "rollback_failed"),
        ((("rollback_started", None), ("rolled_back", None)), "rolled_back"),
        (
            (*ONE_DONE, ("rollback_started", None), ("undo_started", "one"), ("undone", "one"), ("rolled_back", None)),
            "rolled_back",
        ),
    ],
)
def test_the_state_follows_from_the_events(moves: tuple[Move, ...], state: str) -> None:
    assert after(*moves).state == state


@pytest.mark.parametrize(
    "moves",
    [
        (("done", "one"),),
        (("failed", "one"),),
        (("finished", None),),
        (("undo_started", "one"),),
        (("rolled_back", None),),
        (*ONE_DONE, ("started", "one")),
        (*ONE_DONE, ("failed", "one")),
        (("started", "one"), ("started", "two")),
        (("started", "one"), ("finished", None)),
        (("started", "one"), ("rollback_started", None), ("done", "one")),
        (("started", "one"), ("rollback_started", None), ("rolled_back", None)),
        (("started", "one"), ("rollback_started", None), ("undone", "one")),
        (("started", "one"), ("rollback_started", None), ("undo_started", "two")),
        (*ONE_DONE, ("finished", None), ("started", "two")),
        (*ONE_DONE, ("finished", None), ("rollback_started", None)),
    ],
)
def test_what_can_not_happen_is_refused(moves: tuple[Move, ...]) -> None:
    before = after(*moves[:-1])
    with pytest.raises(IllegalMove) as caught:
        before.after(*moves[-1])
    assert caught.value.state == before.state


@given(st.lists(st.tuples(st.sampled_from(sorted(_MOVES)), st.sampled_from(STEPS)), max_size=30))
def test_no_way_leads_out_of_an_end_or_back_from_a_rollback(wanted: list[tuple[str, str]]) -> None:
    history = History(ID)
    for what, step in wanted:
        state = history.state
        try:
            history = history.after(what, step if what in OF_STEPS else None)
        except IllegalMove:
            continue
        assert state not in {"finished", "rolled_back"}
        assert not (state.startswith("roll") and not history.state.startswith("roll"))
        assert history.state != "finished" or set(history.started) == set(history.done)
        assert history.state != "rolled_back" or set(history.started) == set(history.undone)


# declarations


@dataclass(frozen=True)
class Plan:
    tenant: str
    id: UUID = field(default_factory=uuid4)
    folder: Path = Path("/x")
    tables: tuple[str, ...] = ("a", "b")
    counts: dict[str, int] = field(default_factory=dict)

    @property
    def subject(self) -> str:
        return f"tenant:{self.tenant}"


def greet(run: Run[Plan]) -> None:
    """Greet {tenant} ({subject}).

    More of it.
    """


def wave(run: Run[Plan]) -> None:
    """Wave."""


def mute(run: Run[Plan]) -> None: ...


def test_what_a_step_does_is_said_with_the_plan() -> None:
    operation = Operation("greet", Plan, Plan, (Step(greet), Step(wave)))
    assert operation.described(Plan("acme")) == [("greet", "Greet acme (tenant:acme)"), ("wave", "Wave")]


def test_a_plan_comes_back_as_it_was() -> None:
    operation = Operation("greet", Plan, Plan, (Step(greet),))
    plan = Plan("acme", tables=("a",), counts={"a": 2})
    assert operation.decode(operation.encode(plan)) == plan
    with pytest.raises(ValueError, match="tenant"):
        operation.decode({"name": "acme"})


@dataclass(frozen=True)
class Telling:
    subject: str
    admin_password: str


@dataclass(frozen=True)
class Aimless:
    tenant: str


class Opaque:
    pass


@dataclass(frozen=True)
class Holding:
    subject: str
    thing: Opaque


def test_a_declaration_that_is_not_whole_is_refused() -> None:
    for steps, wrong in (
        ((), "no steps"),
        ((Step(greet), Step(greet)), "two of one name"),
        ((Step(mute),), "docstring"),
    ):
        with pytest.raises(ValueError, match=wrong):
            Operation("greet", Plan, Plan, steps)
    with pytest.raises(ValueError, match="admin_password"):
        Operation("greet", Telling, Telling, (Step(wave),))
    with pytest.raises(ValueError, match="subject"):
        Operation("greet", Aimless, Aimless, (Step(wave),))
    with pytest.raises(Exception, match="Opaque"):
        Operation("greet", Holding, Holding, (Step(wave),)).encode(Holding("x", Opaque()))
