"""`kos tour`."""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import suppress
from pathlib import Path

import typer

from kos import console, errors, topology
from kos.console import DryRun, Json, emit, say
from kos.topology.embedded import Stack, require_embedded
from kos.tour import STEPS, Told, Tour, display, take


def tour(dry_run: DryRun = False, json: Json = False) -> None:
    """See what kos does, on real servers started in this folder: tenants, real data, a crash, and the account of it."""
    stack = _own_stack()
    if dry_run:
        titles = [{"number": number, "title": step.title} for number, step in enumerate(STEPS, start=1)]
        emit({"folder": stack.folder, "steps": titles}, as_json=json, human=lambda: _show_plan(stack))
        return
    told: list[Told] = []
    with Tour(stack, program=_program()) as under_way:
        for number, step in enumerate(STEPS, start=1):
            if not json:
                display.title(console.out, number, step)
            with display.Below(console.err, quiet=json) as below:
                under_way.progress, under_way.watch = below.advance, below.watch
                told.append(take(under_way, number, step))
            if not json:
                display.fact(console.out, told[-1])
    ok = all(each.fact.holds for each in told)
    emit(
        {"steps": [_as_object(each) for each in told], "ok": ok},
        as_json=json,
        human=lambda: None if ok else say("not every fact holds: see the steps marked ✗"),
    )
    if not ok:
        raise typer.Exit(errors.FAILED)


def _own_stack() -> Stack:
    """The embedded stack of this folder, running or not; `ExternalStore` if the configuration names other servers."""
    # Where nothing runs yet there is nothing to refuse: the tour begins with starting it.
    with suppress(errors.NotConfigured, errors.StackNotRunning):
        require_embedded(topology.find(), "tour")
    return Stack.find(Path.cwd()) or Stack(Path.cwd())


def _show_plan(stack: Stack) -> None:
    for number, step in enumerate(STEPS, start=1):
        say(f"{number:>2}  {step.title}")
    say(f"would do this with the stack in {stack.folder}; what would be started: {_program()} up --dry-run")


def _program() -> str:
    """How the user calls kos: `make run` leaves it off the PATH."""
    return "kos" if shutil.which("kos") else os.path.relpath(sys.argv[0])


def _as_object(told: Told) -> dict[str, object]:
    return {
        "number": told.number,
        "title": told.title,
        "seconds": told.seconds,
        "fact": told.fact.text,
        "ok": told.fact.holds,
        "figures": dict(told.fact.figures),
    }


COMMANDS = {"tour": tour}
