"""`kos operation list | show | resume | rollback`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from kos import console, errors, journal
from kos.console import DryRun, Json, Yes, emit, say, table
from kos.journal import Event, Operation, Outcome, Record
from kos.journal.history import BACKWARDS, OVER, fold
from kos.journal.runner import refuse_final, refuse_unknown
from kos.tenancy import Store
from kos.tenancy import open as open_store

NEWEST = 100  # that are listed; a journal has years of them
Id = Annotated[str, typer.Argument(metavar="ID", help="The operation's id, or how it begins.")]


def operation_list(
    subject: Annotated[str | None, typer.Option(help="Of this subject only, e.g. tenant:acme.")] = None,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Only those that are not over.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="The newest so many.")] = NEWEST,
    json: Json = False,
) -> None:
    """Operations, newest first: where they stand, and who is at them."""
    with open_store() as store:
        found = journal.list_operations(store, subject=subject, unfinished=unfinished, limit=limit + 1)
    records = found[:limit]

    def human() -> None:
        table(
            ("id", "operation", "subject", "state", "step", "progress", "age", "at it"),
            [
                (
                    each.id,
                    each.name,
                    each.subject,
                    _state(each),
                    each.step,
                    _progress(each),
                    _age(each.created_at),
                    each.holder,
                )
                for each in records
            ],
        )
        if len(found) > limit:
            say(f"These are the newest {limit}. For more: --limit")

    emit([_described(each) for each in records], as_json=json, human=human)


def operation_show(operation: Id, json: Json = False) -> None:
    """One operation with its plan and all that has happened to it."""
    with open_store() as store:
        record = journal.find_operation(store, operation)
        events = journal.history_of(store, record)
    value = _described(record) | {"plan": record.plan, "events": events}

    def human() -> None:
        facts = {key: item for key, item in _described(record).items() if item is not None}
        table(("", ""), [(key.replace("_", " "), item) for key, item in facts.items()])
        say("")
        table(("plan", ""), list(record.plan.items()))
        say("")
        table(("at", "step", "what", ""), [_line(event) for event in events])

    emit(value, as_json=json, human=human)


def operation_resume(operation: Id, dry_run: DryRun = False, json: Json = False) -> None:
    """Finish an operation that was killed or failed; what is done is skipped."""
    with open_store() as store:
        if dry_run:
            record, steps = _ahead(store, operation)
            _show_steps(record, steps, as_json=json)
            return
        with console.progress(quiet=json) as progress:
            outcome = journal.resume(store, operation, progress)
    _show_outcome(outcome, as_json=json)


def operation_rollback(operation: Id, yes: Yes = False, dry_run: DryRun = False, json: Json = False) -> None:
    """Take an operation back: every step that started, the newest first."""
    with open_store() as store:
        record, steps = _behind(store, operation)
        if dry_run:
            _show_steps(record, steps, as_json=json)
            return
        if not yes:
            console.confirm(f"take back {record.name} on {record.subject} ({len(steps)} steps)?")
        with console.progress(quiet=json) as progress:
            outcome = journal.roll_back(store, str(record.id), progress)
    _show_outcome(outcome, as_json=json)


def _looked_up(store: Store, operation: str) -> tuple[Record, Operation, Any]:
    record = journal.find_operation(store, operation)
    if record.state in OVER:
        raise errors.OperationOver(str(record.id), record.state)
    kind = journal.operation_named(record.name)
    return record, kind, journal.plan_of(kind, record)


def _ahead(store: Store, operation: str) -> tuple[Record, list[dict[str, str]]]:
    """The steps that a resumption would take."""
    record, kind, plan = _looked_up(store, operation)
    if record.state in BACKWARDS:
        raise errors.RollbackBegun(str(record.id))
    history = fold(record.id, journal.history_of(store, record))
    refuse_unknown(kind, history, record)
    left = [step for step in kind.steps if step.name not in history.done]
    return record, [{"step": step.name, "what": step.text(plan)} for step in left]


def _behind(store: Store, operation: str) -> tuple[Record, list[dict[str, str]]]:
    """The steps that a rollback would undo, in its order."""
    record, kind, plan = _looked_up(store, operation)
    history = fold(record.id, journal.history_of(store, record))
    refuse_unknown(kind, history, record)
    refuse_final(kind, history)
    left = [step for step in reversed(kind.steps) if step.name in history.started and step.name not in history.undone]
    return record, [{"step": step.name, "what": f"take back: {step.text(plan)}"} for step in left]


def _show_steps(record: Record, steps: list[dict[str, str]], *, as_json: bool) -> None:
    value = {"id": record.id, "name": record.name, "subject": record.subject, "state": record.state, "steps": steps}

    def human() -> None:
        table(("step", "to do"), [(step["step"], step["what"]) for step in steps])
        say(f"{len(steps)} steps of {record.name} on {record.subject} are ahead")

    emit(value, as_json=as_json, human=human)


def _show_outcome(outcome: Outcome, *, as_json: bool) -> None:
    value = {"id": outcome.operation, "state": outcome.state, "results": outcome.results}
    emit(value, as_json=as_json, human=lambda: say(f"{outcome.operation} is {outcome.state.replace('_', ' ')}"))


def _described(record: Record) -> dict[str, Any]:
    described: dict[str, Any] = console.plain(record)
    return {key: value for key, value in described.items() if key != "plan"}


def _state(record: Record) -> str:
    """As people are told: an operation that is running and that nobody is at has been stopped."""
    stopped = record.holder is None and record.state in {"planned", "running", "rolling_back"}
    return f"{record.state.replace('_', ' ')}{', stopped' if stopped else ''}"


def _progress(record: Record) -> str:
    steps = f"{record.steps_done}/{record.steps or '?'} steps"
    if record.done is None:
        return steps
    return f"{steps}, {record.done:,}{f'/{record.total:,}' if record.total else ''}"


def _age(since: datetime) -> str:
    seconds = int((datetime.now(UTC) - since).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit}"
    return f"{max(0, seconds)} s"


def _line(event: Event) -> tuple[str, str, str, str]:
    said = event.result.get("error", "") if isinstance(event.result, dict) else ""
    return f"{event.at:%Y-%m-%d %H:%M:%S}", event.step or "", event.what.replace("_", " "), said


COMMANDS = {
    "operation list": operation_list,
    "operation show": operation_show,
    "operation resume": operation_resume,
    "operation rollback": operation_rollback,
}
