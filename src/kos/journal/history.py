"""What has happened to an operation: the fold of its events. Pure; refuses moves that can't be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from kos.errors import IllegalMove

OVER = ("finished", "rolled_back")
BACKWARDS = ("rolling_back", "rollback_failed", "rolled_back")

# From which states an event may come, and the state that it leads to.
_MOVES: dict[str, tuple[tuple[str, ...], str]] = {
    "started": (("planned", "running", "failed", "waiting"), "running"),
    "done": (("running",), "running"),
    "failed": (("running",), "failed"),
    "waiting": (("running", "failed"), "waiting"),
    "finished": (("running", "failed"), "finished"),
    "rollback_started": (("planned", "running", "failed", "waiting"), "rolling_back"),
    "undo_started": (("rolling_back", "rollback_failed"), "rolling_back"),
    "undone": (("rolling_back",), "rolling_back"),
    "undo_failed": (("rolling_back",), "rollback_failed"),
    "rolled_back": (("rolling_back", "rollback_failed"), "rolled_back"),
}


@dataclass(frozen=True)
class Event:
    """One line of the journal. `step` is None where the event is of the whole operation."""

    sequence: int
    step: str | None
    what: str
    result: Any
    token: int
    at: datetime


@dataclass(frozen=True)
class History:
    """Where an operation stands. `started` are steps in the order in which they began; `done` has their results."""

    operation: UUID
    state: str = "planned"
    length: int = 0
    started: tuple[str, ...] = ()
    done: dict[str, Any] = field(default_factory=dict)
    undone: tuple[str, ...] = ()
    step: str | None = None
    """What was begun last."""
    open: bool = False
    """Whether that has neither ended nor failed."""

    def after(self, what: str, step: str | None, result: Any = None) -> History:
        """Where it stands after one more event.

        Raises:
            IllegalMove: that can't happen now.
        """
        sources, state = _MOVES[what]
        if self.state not in sources or not self._fits(what, step):
            raise IllegalMove(str(self.operation), self.state, what if step is None else f"{what} {step}")
        later = replace(self, state=state, length=self.length + 1, step=step or self.step)
        match what, step:
            case "started", str():
                started = self.started if step in self.started else (*self.started, step)
                return replace(later, started=started, open=True)
            case "done", str():
                return replace(later, done={**self.done, step: result}, open=False)
            case "undo_started", str():
                return replace(later, open=True)
            case "undone", str():
                return replace(later, undone=(*self.undone, step), open=False)
        return replace(later, open=False)

    def _fits(self, what: str, step: str | None) -> bool:
        unfinished = [name for name in self.started if name not in self.done]
        match what:
            case "started":
                return step not in self.done and unfinished in ([], [step])
            case "done" | "failed":
                return self.open and step == self.step
            case "finished" | "waiting":
                return bool(self.done) and not unfinished
            case "undo_started":
                return step in self.started and step not in self.undone
            case "undone" | "undo_failed":
                return self.open and step == self.step
            case "rolled_back":
                return set(self.started) == set(self.undone)
        return True


def fold(operation: UUID, events: Iterable[Event]) -> History:
    """Where an operation stands after these events."""
    history = History(operation)
    for event in events:
        history = history.after(event.what, event.step, event.result)
    return history
