"""Takes any operation through everything that can go wrong, and looks each time whether all is well afterwards.

After each disturbance the operation is resumed or rolled back, and then there must be the finished result or the clean
slate: to the row. `Broken` says what was not.
"""

from __future__ import annotations

import functools
import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from sweep_connections import close_all, operator_of
from sweep_scenarios import ALL

from fix_samples import child_environment
from kos import journal
from kos.errors import KosError, PastReturn
from kos.journal import Operation, Record, Run, Step
from kos.journal.history import OVER
from kos.journal.lease import Point, nowhere
from kos.tenancy import Store


class Broken(AssertionError):
    """The operation, or its runner, did not do what the journal promises."""


class Planted(Exception):
    """The failure that a sweep puts into a step. No error of kos, so it comes back as it is."""


def _steps(operation: Operation, name: str, change: Callable[[Step], Step]) -> Operation:
    return replace(operation, steps=tuple(change(step) if step.name == name else step for step in operation.steps))


def _failing(function: Callable[[Run[Any]], object], when: str) -> Callable[[Run[Any]], Any]:
    @functools.wraps(function)
    def fail(run: Run[Any]) -> object:
        if when == "after":
            function(run)
        raise Planted(f"{when} {function.__name__}")

    return fail


def _twice(function: Callable[[Run[Any]], object]) -> Callable[[Run[Any]], Any]:
    @functools.wraps(function)
    def again(run: Run[Any]) -> object:
        function(run)
        return function(run)

    return again


def failing_at(operation: Operation, name: str, when: str) -> Operation:
    """The operation with a step that fails before or after its effect."""
    return _steps(operation, name, lambda step: replace(step, do=_failing(step.do, when)))


def failing_back_at(operation: Operation, name: str, when: str) -> Operation:
    """The operation with an undo that fails before or after its effect."""
    return _steps(operation, name, lambda step: replace(step, undo=_failing(step.undo or nothing, when)))


def nothing(run: Run[Any]) -> None:
    """The undo of a step that has none."""


def repeating(operation: Operation) -> Operation:
    """The operation with every step and every undo done twice."""
    return replace(
        operation,
        steps=tuple(
            replace(step, do=_twice(step.do), undo=None if step.undo is None else _twice(step.undo))
            for step in operation.steps
        ),
    )


class Forks:
    """Processes that run an operation of a scenario and are killed on the way."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        self._environment = {key: value for key, value in environment.items() if key.startswith(("KOS_", "TEST_"))}
        self._folder = folder
        command = [sys.executable, str(Path(__file__).with_name("sweep_child.py"))]
        self._errors = (folder / "forks.log").open("w+")
        self._server = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=environment
        )

    def ask(self, **request: Any) -> dict[str, Any]:
        """Start one; how it ended, or its process id if it is `detached`."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        request |= {"environment": self._environment, "folder": str(self._folder)}
        self._server.stdin.write(json.dumps(request) + "\n")
        self._server.stdin.flush()
        return dict(json.loads(self._server.stdout.readline()))

    def log(self) -> str:
        """What they wrote to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(30)
        assert self._server.stdout is not None
        self._server.stdout.close()
        self._errors.close()


@contextmanager
def forks(store: Store, folder: Path) -> Iterator[Forks]:
    """A server of forks for the databases of this store."""
    made = Forks(child_environment(store.topology, folder), folder)
    try:
        yield made
    finally:
        made.close()
        close_all()


@dataclass
class Sweep:
    """One scenario in one database."""

    name: str
    store: Store
    folder: Path
    forks: Forks | None = None
    clean: Any = None
    finished: Any = None
    cases: int = 0

    def __post_init__(self) -> None:
        self.scenario = ALL[self.name]
        self.set_up()
        self.plan = self.scenario.plan(self.store, self.folder)
        self.clean = self.facts()
        self._runner().run(self.plan)
        self.finished = self.facts()
        if self.clean == self.finished:
            raise Broken(f"{self.name}: its facts do not show what it does")
        self.set_up()
        self._compare("the stage after a finished run", self.facts(), self.clean)

    def set_up(self) -> None:
        self.scenario.set_up(self.store, self.folder)
        self.plan = self.scenario.plan(self.store, self.folder)

    def facts(self) -> Any:
        return self.scenario.facts(self.store, self.plan)

    # the sweeps

    def everything(self) -> None:
        """All of them, at as many points as the scenario says."""
        self.fail_everywhere()
        self.fail_on_the_way_back()
        self.repeat_everything()
        chosen = {"every": self.scenario.every, "first": self.scenario.first}
        self.kill_forwards(**chosen)
        self.kill_backwards(**chosen)
        self.kill_resumptions(every=3 * self.scenario.every, first=self.scenario.first)

    def fail_everywhere(self) -> None:
        """Each step fails before and after its effect; then it goes on after one of them, and back after the other."""
        verbs = ["resume", "roll_back"]
        for step in self.scenario.operation.steps:
            for when, verb in zip(("before", "after"), verbs, strict=True):
                with self._case(f"{step.name} failed {when} its effect, {verb}", verb):
                    self._expect_planted(failing_at(self.scenario.operation, step.name, when))
            verbs.reverse()  # so that over the steps both come after both

    def fail_on_the_way_back(self) -> None:
        """Each undo fails before and after its effect; then it is rolled back again."""
        last = self._last_before_return()
        for step in self.scenario.operation.steps:
            if step.final:
                break
            for when in ("before", "after"):
                with self._case(f"undo of {step.name} failed {when} its effect", "roll_back"):
                    self._expect_planted(failing_at(self.scenario.operation, last, "after"))
                    broken = failing_back_at(self.scenario.operation, step.name, when)
                    try:
                        self._runner(broken).roll_back(self._record())
                    except Planted:
                        continue
                    raise Broken(f"{self.name}: the undo of {step.name} was not called")

    def repeat_everything(self) -> None:
        """Every step twice, and every undo twice."""
        operation = repeating(self.scenario.operation)
        with self._case("every step twice", "nothing"):
            self._runner(operation).run(self.plan)
        with self._case("every undo twice", "roll_back", operation):
            self._expect_planted(failing_at(operation, self._last_before_return(), "after"))

    def kill_forwards(self, every: int = 1, first: int = 1) -> None:
        """A process is killed at each point of the journal; then it goes on at two of them, and back at the next two.

        By twos, since most points come in pairs, of what is about to be done and what has been.
        """
        for number in range(first, self._count_points() + 1, every):
            verb = ("resume", "resume", "roll_back", "roll_back")[number // every % 4]
            with self._case(f"killed at point {number} of a run, {verb}", verb):
                self._kill(number, "run")

    def kill_backwards(self, every: int = 1, first: int = 1) -> None:
        """A process that rolls back is killed at each point; then it is rolled back again."""
        number = first
        while True:
            ended = False
            with self._case(f"killed at point {number} of a rollback", "roll_back"):
                self._expect_planted(failing_at(self.scenario.operation, self._last_before_return(), "after"))
                ended = self._kill(number, "roll_back", str(self._record().id)) == 0
            if ended:
                return
            number += every

    def kill_resumptions(self, every: int = 1, first: int = 1) -> None:
        """A process that resumes is killed at points that the runs above were killed at too; then it goes on."""
        number = first
        while True:
            ended = False
            with self._case(f"killed at point {number} of a resumption", "resume"):
                begun = self.scenario.operation.steps[0].name
                self._expect_planted(failing_at(self.scenario.operation, begun, "after"))
                ended = self._kill(number, "resume", str(self._record().id)) == 0
            if ended:
                return
            number += every

    # what they are made of

    @contextmanager
    def _case(self, what: str, verb: str, operation: Operation | None = None) -> Iterator[None]:
        """One disturbance, its remedy, and the look at what there is then."""
        self.cases += 1
        what = f"{self.name}: {what}"
        before = self._latest_id()
        try:
            yield
            latest = self._record_of(self._latest_id(), before)
            if latest is not None:
                self.plan = journal.plan_of(self.scenario.operation, latest)  # another process has made its own
            if latest is None:
                expected = self.clean  # it was killed before its plan was stored
            elif latest.state in OVER:
                expected = self.finished if latest.state == "finished" else self.clean
            else:
                expected = self._remedied(what, latest, verb, operation)
            self._compare(what, self.facts(), expected)
            self._look_at_journal(what)
        finally:
            self._forget_unfinished()
            self.set_up()

    def _remedied(self, what: str, record: Record, verb: str, operation: Operation | None) -> Any:
        try:
            return self._remedy(record, verb, operation)
        except KosError as error:
            raise Broken(f"{what}: {verb} raised {error!r}") from error

    def _remedy(self, record: Record, verb: str, operation: Operation | None) -> Any:
        runner = self._runner(operation)
        if verb == "roll_back":
            try:
                runner.roll_back(record)
            except PastReturn:
                self._runner(operation).resume(record)
                return self.finished
            return self.clean
        runner.resume(record)
        return self.finished

    def _expect_planted(self, operation: Operation) -> None:
        try:
            self._runner(operation).run(self.plan)
        except Planted:
            return
        raise Broken(f"{self.name}: a step that raised was taken for done")

    def _kill(self, number: int, verb: str, operation: str = "") -> int:
        assert self.forks is not None
        answer = self.forks.ask(scenario=self.name, kill_at=number, verb=verb, operation=operation)
        if answer["code"] not in (-signal.SIGKILL, 0):
            raise Broken(f"{self.name}: a process ended with {answer['code']}: {self.forks.log()}")
        return int(answer["code"])

    def _count_points(self) -> int:
        points: list[str] = []
        with self._case("undisturbed", "nothing"):
            self._runner(point=points.append).run(self.plan)
        return len(points)

    def _last_before_return(self) -> str:
        names = []
        for step in self.scenario.operation.steps:
            if step.final:
                break
            names.append(step.name)
        return names[-1]

    def _runner(self, operation: Operation | None = None, point: Point = nowhere) -> journal.Runner:
        operation = operation or self.scenario.operation
        return self.scenario.runner(self.store, operation, kept=dict(self.scenario.kept), point=point)

    def _latest_id(self) -> str | None:
        query = "select operation_id from kos.operations where name = %s order by created_at desc limit 1"
        row = operator_of(self.store).execute(query, (self.scenario.operation.name,)).fetchone()
        return str(row[0]) if row else None

    def _record_of(self, latest: str | None, before: str | None) -> Record | None:
        return None if latest is None or latest == before else journal.find_operation(self.store, latest)

    def _record(self) -> Record:
        found = self._record_of(self._latest_id(), None)
        if found is None or found.state in OVER:
            raise Broken(f"{self.name}: an operation that failed is not in the journal")
        return found

    def _look_at_journal(self, what: str) -> None:
        """Nothing may be left but the operation and its events."""
        for table in ("leases", "checkpoints"):
            left = operator_of(self.store).execute(f"select * from kos.{table}").fetchall()
            if left:
                raise Broken(f"{what}: kos.{table} still has {left}")

    def _forget_unfinished(self) -> None:
        """Of a harness that has found something."""
        operator = operator_of(self.store)
        unfinished = "update kos.operations set state = %s where state <> all (%s)"
        for state in ("rolling_back", "rolled_back"):
            if operator.execute(unfinished, (state, list(OVER))).rowcount:
                operator.execute("delete from kos.checkpoints")

    def _compare(self, what: str, found: Any, expected: Any) -> None:
        if found != expected:
            raise Broken(f"{what}: {'; '.join(_differences(found, expected))}"[:4000])


def _differences(found: Any, expected: Any, where: str = "") -> Iterator[str]:
    """Where two lots of facts differ."""
    if isinstance(found, dict) and isinstance(expected, dict):
        for key in sorted(found.keys() | expected.keys()):
            yield from _differences(found.get(key), expected.get(key), f"{where}.{key}")
    elif isinstance(found, tuple) and isinstance(expected, tuple) and len(found) == len(expected):
        for number, (one, other) in enumerate(zip(found, expected, strict=True)):
            yield from _differences(one, other, f"{where}.{number}")
    elif found != expected:
        yield f"at {where} there is {found!r}, and should be {expected!r}"[:1000]
