"""What the steps of the tour share, and how one is taken."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self, TypeVar

from kos.progress import Advance, silent
from kos.tenancy import Store
from kos.topology.embedded import Stack
from kos.workload import Load, Watch

Opened = TypeVar("Opened")


@dataclass(frozen=True)
class Fact:
    """What a step ends in. `lines` are what it is made of; `figures` are the same for programs."""

    text: str
    holds: bool = True
    lines: tuple[str, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Tour:
    """A tour that is under way: its stack, and what earlier steps left to later ones. Use it in a `with` block.

    `program` is how the user calls kos.
    """

    stack: Stack
    program: str = "kos"
    progress: Advance = silent
    watch: Watch | None = None
    load: Load | None = None
    _store: Store | None = None
    _open: ExitStack = field(default_factory=ExitStack)

    @property
    def store(self) -> Store:
        """The stack's databases, opened when a step first needs them."""
        if self._store is None:
            self._store = self.enter(Store(self.stack.topology()))
        return self._store

    def enter(self, context: AbstractContextManager[Opened]) -> Opened:
        """Open something that lasts until the tour's end."""
        return self._open.enter_context(context)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()


@dataclass(frozen=True)
class Step:
    """One step of the tour."""

    title: str
    take: Callable[[Tour], Fact]


@dataclass(frozen=True)
class Told:
    """A step that was taken, and how long it took."""

    number: int
    title: str
    seconds: float
    fact: Fact


def aligned(rows: Sequence[Sequence[object]], *, right: Sequence[int] = ()) -> tuple[str, ...]:
    """Rows as lines with columns that stand under each other; those numbered in `right` stand to the right."""
    texts = [[str(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    return tuple(
        "  ".join(
            cell.rjust(width) if number in right else cell.ljust(width)
            for number, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in texts
    )


def take(tour: Tour, number: int, step: Step) -> Told:
    """Take one step. Raises what the step raises; a fact that does not hold is no error."""
    began = time.monotonic()
    fact = step.take(tour)
    return Told(number, step.title, time.monotonic() - began, fact)
