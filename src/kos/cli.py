"""The command line: assembles what each capability's `commands.py` offers.

A `commands.py` has a table `COMMANDS` from the words of a command ("tenant create") to its function.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Collection
from importlib import import_module
from typing import Any

import typer

from kos.errors import DONE, FAILED, INTERRUPTED, Interrupted

CAPABILITIES = (
    "kos",
    "kos.tenancy",
    "kos.journal",
    "kos.log",
    "kos.knowledge",
    "kos.adoption",
    "kos.schema_change",
    "kos.projections",
    "kos.worker",
    "kos.feed_server",
    "kos.workload",
    "kos.tour",
)

NOUNS = {
    "tenant": "Tenants: make, list, show, export, import.",
    "change": "Changes of schema, online: plan, start, finish or take back.",
    "log": "The log of changes: what waits for its position, and whether it has everything.",
    "feed": "A tenant's events, by position, and who follows them.",
    "projection": "Stores that follow the log: how far they are, whether they are equal, and making them anew.",
    "operation": "The journal: long operations, to be watched, resumed and rolled back.",
    "sample": "Real data to try things with.",
    "objects": "Objects in object storage: collect what nothing refers to, and hold what must stay.",
    "workload": "A live load that accounts for every acknowledged write.",
}

EPILOG = "Exit codes: 0 done, 1 failed, 2 wrong use, 3 refused by a check."


def commands() -> dict[str, Callable[..., Any]]:
    """Every command by its words."""
    found: dict[str, Callable[..., Any]] = {}
    for capability in CAPABILITIES:
        found |= import_module(f"{capability}.commands").COMMANDS
    return found


def build() -> typer.Typer:
    """The whole command line."""
    root = typer.Typer(
        name="kos",
        help="Persistence operations for multi-tenant products.",
        epilog=EPILOG,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    nouns: dict[str, typer.Typer] = {}
    found = commands()
    for words, function in found.items():
        *noun, verb = [words] if _of_command(words, found) else words.split()
        app = root
        if noun:
            app = nouns.setdefault(noun[0], typer.Typer(help=NOUNS[noun[0]], no_args_is_help=True))
        app.command(verb)(function)
    for name, app in nouns.items():
        root.add_typer(app, name=name)
    return root


def _of_command(words: str, found: Collection[str]) -> bool:
    """Is it said after a command that does something by itself, as `adopt status` is?"""
    return " " in words and words.split(maxsplit=1)[0] in found


def _joined(arguments: list[str]) -> list[str]:
    """Arguments with the words of such a command made one."""
    words = " ".join(arguments[:2])
    return [words, *arguments[2:]] if words in commands() and _of_command(words, commands()) else arguments


def main(arguments: list[str] | None = None) -> None:
    """Run one command and exit with its documented code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    sys.exit(run(arguments))


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code."""
    from stamina.instrumentation import set_on_retry_hooks

    from kos.console import report
    from kos.translate import translated

    # Without any handler Python prints warnings. What the pool warns of comes back as a typed error, or was mended.
    logging.getLogger("psycopg.pool").addHandler(logging.NullHandler())
    set_on_retry_hooks(())  # it would tell of each attempt, on standard output where structlog is installed
    try:
        typer.main.get_command(build()).main(args=_joined(arguments), prog_name="kos")
    except SystemExit as end:  # typer's own way to say that it is done, was misused, or was interrupted
        if end.code == INTERRUPTED:
            report(Interrupted(), as_json="--json" in arguments)
        return end.code if isinstance(end.code, int) else FAILED
    except Exception as error:
        failure = translated(error)
        if failure is None:
            raise  # a mistake of ours: whoever mends it needs the traceback
        report(failure, as_json="--json" in arguments)
        return failure.exit_code
    return DONE
