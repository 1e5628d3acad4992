"""How the tour looks: a title, one line below it while the step is under way (on a terminal only), and the fact."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kos.tour.tour import Step, Told
from kos.workload import Reading, line

INDENT = "    "
BAR = 24


class Below:
    """The line below a step's title. It appears when there is something to tell, and leaves nothing behind."""

    def __init__(self, console: Console, *, quiet: bool = False) -> None:
        self._console = console
        self._silent = quiet or not console.is_terminal
        self._live: Live | None = None

    def advance(self, what: str, done: int, total: int | None) -> None:
        """Progress, as long work reports it."""
        if total is None:
            self._show(f"{what}: {done:,}")
        else:
            filled = BAR * done // total if total else BAR
            self._show(f"{what}  {'━' * filled}{'╌' * (BAR - filled)}  {done:,} of {total:,}")

    def watch(self, reading: Reading) -> None:
        """A load that runs."""
        self._show(line(reading))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def _show(self, text: str) -> None:
        if self._silent:
            return
        if self._live is None:
            self._live = Live(console=self._console, transient=True, auto_refresh=False)
            self._live.start()
        self._live.update(Text(INDENT + text, style="dim", no_wrap=True, overflow="ellipsis"), refresh=True)


def title(console: Console, number: int, step: Step) -> None:
    """Before a step."""
    console.print(Text(f"{number:>2}  {step.title}", style="bold"))


def fact(console: Console, told: Told) -> None:
    """After a step."""
    for each in told.fact.lines:
        console.print(Text(INDENT + each, style="dim"))
    mark, style = ("✓", "green") if told.fact.holds else ("✗", "bold red")
    console.print(Text(INDENT).append(f"{mark} {told.fact.text}", style=style))
    console.print()
