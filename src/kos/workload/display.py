"""How a load looks on a terminal while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.text import Text

from kos.workload.meter import Reading, line
from kos.workload.run import Watch


@contextmanager
def shown(console: Console, *, of_seconds: float | None = None, quiet: bool = False) -> Iterator[Watch | None]:
    """Something to watch a load with: one line that is drawn again and again, on a terminal only."""
    if quiet or not console.is_terminal:
        yield None
        return
    with Live(console=console, transient=True, auto_refresh=False) as live:

        def watch(reading: Reading) -> None:
            live.update(Text("  " + line(reading, of_seconds), no_wrap=True, overflow="ellipsis"), refresh=True)

        yield watch
