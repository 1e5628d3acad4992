"""How commands speak: one JSON value on standard output for programs, text, tables and progress for people.

Errors and progress go to standard error, so standard output stays clean in both cases.
"""

from __future__ import annotations

import dataclasses
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from kos.errors import FAILED, KosError, NotConfirmed
from kos.progress import Advance, silent

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)

UNFOLDED = 4000  # columns; wider than any table

Json = Annotated[bool, typer.Option("--json", help="Print one JSON value.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would be done, and change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def emit(value: Any, *, as_json: bool, human: Callable[[], None]) -> None:
    """Print a command's result: `value` as JSON, or whatever `human` prints."""
    if as_json:
        print(json.dumps(plain(value), ensure_ascii=False))  # noqa: T201
    else:
        human()


def plain(value: Any) -> Any:
    """`value` as JSON's own types: dataclasses become objects, UUIDs and times text."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, UUID | Path):
        return str(value)
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Decimal):
        return float(value)
    return value


def table(
    columns: Sequence[str], rows: Iterable[Sequence[Any]], *, numbers: Sequence[str] = (), where: Console = out
) -> None:
    """Print a table; the columns named in `numbers` stand to the right."""
    grid = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        grid.add_column(column, justify="right" if column in numbers else "left", overflow="fold")
    for row in rows:
        grid.add_row(*("" if cell is None else str(cell) for cell in row))
    if not where.is_terminal:  # into a pipe or a file nothing is folded: it is read line by line
        where = Console(file=where.file, width=UNFOLDED)
    where.print(grid)


def seconds(known: float | None) -> str:
    """A time in a table; a question mark where nobody knows it."""
    return "?" if known is None else f"{known:.1f}"


def say(text: str) -> None:
    """Print one line for people."""
    out.print(text, markup=False)


def confirm(question: str) -> None:
    """Ask before what can't be undone; `NotConfirmed` for anything but yes, also where nobody can answer."""
    try:
        answer = typer.confirm(question, err=True)
    except typer.Abort as abort:
        if isinstance(abort.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from None
        err.print()  # the end of the input
        answer = False
    if not answer:
        raise NotConfirmed(question)


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Advance]:
    """A progress bar per thing that is being done, on standard error and only on a terminal."""
    if quiet or not err.is_terminal:
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=err, transient=True) as bars:
        tasks: dict[str, Any] = {}

        def advance(what: str, done: int, total: int | None) -> None:
            if what not in tasks:
                tasks[what] = bars.add_task(what, total=total)
            bars.update(tasks[what], completed=done, total=total)

        yield advance


def fail_for(broken: Sequence[tuple[str, KosError]], *, as_json: bool) -> None:
    """Exit with 1 if some of many things could not be done; people are told which, and why. JSON has said it."""
    for name, error in () if as_json else broken:
        err.print(f"error: {name}: {error}", markup=False, style="red")
        err.print(f"next:  {error.next_command}", markup=False)
    if broken:
        raise typer.Exit(FAILED)


def report(error: KosError, *, as_json: bool) -> None:
    """Print an error: the fact, then the command to run next."""
    if as_json:
        body = {
            "type": type(error).__name__,
            "message": str(error),
            "next": error.next_command,
            "retryable": error.retryable,
            **({} if error.left is None else {"operation": error.left[0]}),
            **{name: plain(value) for name, value in error.fields.items()},
        }
        print(json.dumps({"error": body}, ensure_ascii=False, default=str), file=sys.stderr)  # noqa: T201
        return
    err.print(f"error: {error}", markup=False, style="red")
    err.print(f"next:  {error.next_command}", markup=False)
