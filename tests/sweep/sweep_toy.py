"""A small operation that is not harmless to repeat but for its checkpoints; and ways to do it wrong."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep_connections import operator_of

from kos.journal import Operation, Run, Runner, Step
from kos.tenancy import Store


@dataclass(frozen=True)
class ToyPlan:
    rows: int

    @property
    def subject(self) -> str:
        return "toy:one"


def make_table(run: Run[ToyPlan]) -> None:
    """Make a table for {rows} rows."""
    with run.transaction() as connection:
        connection.execute("create table if not exists toy.target (n integer)")


def drop_table(run: Run[ToyPlan]) -> None:
    with run.transaction() as connection:
        connection.execute("drop table if exists toy.target")


def copy_rows(run: Run[ToyPlan]) -> int:
    """Copy {rows} rows."""
    done = run.cursor or 0
    while done < run.plan.rows:
        with run.transaction() as connection:
            connection.execute(
                "insert into toy.target select n from toy.source where n between %s + 1 and %s + 2", (done, done)
            )
            done += 2
            run.checkpoint(done, done=done)
        run.advance(done)
    return int(done)


def copy_carelessly(run: Run[ToyPlan]) -> int:
    """Copy {rows} rows."""
    done = run.cursor or 0
    while done < run.plan.rows:
        with run.transaction() as connection:
            run.checkpoint(done + 2, done=done + 2)
        with run.transaction() as connection:
            connection.execute(
                "insert into toy.target select n from toy.source where n between %s + 1 and %s + 2", (done, done)
            )
        done += 2
    return int(done)


def delete_rows(run: Run[ToyPlan]) -> None:
    with run.transaction() as connection:
        connection.execute("delete from toy.target")


def count(run: Run[ToyPlan]) -> None:
    """Note how many rows there are."""
    with run.transaction() as connection:
        connection.execute("insert into toy.counted select count(*) from toy.target on conflict do nothing")


def forget_count(run: Run[ToyPlan]) -> None:
    with run.transaction() as connection:
        connection.execute("delete from toy.counted")


def publish(run: Run[ToyPlan]) -> None:
    """Let everybody see the {rows} rows."""
    with run.transaction() as connection:
        connection.execute("insert into toy.published values (1) on conflict do nothing")


def empty_source(run: Run[ToyPlan]) -> None:
    """Empty the source."""
    with run.transaction() as connection:
        connection.execute("delete from toy.source")


TOY = Operation(
    "toy.copy",
    ToyPlan,
    lambda store, folder: ToyPlan(6),
    steps=(
        Step(make_table, undo=drop_table),
        Step(copy_rows, undo=delete_rows, total="rows"),
        Step(count, undo=forget_count),
        Step(publish, final=True),
        Step(empty_source),
    ),
)
copy_carelessly.__name__ = "copy_rows"
CARELESS_TOY = replace(
    TOY, steps=tuple(replace(step, do=copy_carelessly) if step.name == "copy_rows" else step for step in TOY.steps)
)


def set_up(store: Store, folder: Path) -> None:
    operator = operator_of(store)
    with operator.transaction():
        operator.execute("set local role kos_owner")
        operator.execute("drop schema if exists toy cascade")
        operator.execute("create schema toy")
        operator.execute("grant all on schema toy to kos_operator")
        operator.execute("set local role none")
        operator.execute("create table toy.source as select n from generate_series(1, 6) n")
        operator.execute("create table toy.counted (n integer primary key)")
        operator.execute("create table toy.published (n integer primary key)")


def plan(store: Store, folder: Path) -> ToyPlan:
    return ToyPlan(6)


def facts(store: Store, plan: Any) -> Any:
    found: dict[str, Any] = {}
    operator = operator_of(store)
    for (table,) in operator.execute("select tablename from pg_tables where schemaname = 'toy' order by 1").fetchall():
        found[str(table)] = operator.execute(f"select n from toy.{table} order by n").fetchall()
    return found


class UndoesOnlyWhatFinished(Runner):
    """As if a step that never said that it was done had done nothing."""

    def _to_undo(self) -> tuple[str, ...]:
        return tuple(self._history.done)

    def _end(self, what: str) -> Any:
        # Its journal believes that all is undone.
        if what == "rolled_back":
            for name in self._history.started:
                if name not in self._history.undone:
                    step = self._operation.step(name)
                    self._note("undo_started", step)
                    self._note("undone", step)
        return super()._end(what)


class SaysDoneBeforeDoing(Runner):
    """As if nothing could happen between the two."""

    def _take(self, step: Step) -> None:
        with self._explained(step, "failed"):
            self._note("started", step)
            self._note("done", step)
            step.do(self._seen_by(step))
