"""What an operation is: a kind of plan, and a table of steps with their undos."""

from __future__ import annotations

import dataclasses
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter, ValidationError

if TYPE_CHECKING:
    from kos.journal.run import Run

_SECRET = ("password", "secret", "passphrase", "credential")


@dataclass(frozen=True)
class Step:
    """A plain function that takes the run, and what takes back whatever of it has happened: nothing, half or all.

    Both can be repeated. After a `final` step has started there is no way back. A run that heeds it stops before a step
    that `waits`, until somebody says to go on; it can be rolled back meanwhile. `total` names the field of the plan
    that says how much there is to do; what `run.checkpoint` says is done is shown against it.
    """

    do: Callable[[Run[Any]], object]
    undo: Callable[[Run[Any]], None] | None = None
    final: bool = False
    waits: bool = False
    total: str | None = None

    @property
    def name(self) -> str:
        """As it stands in the journal. A step that is renamed is another one."""
        return self.do.__name__

    def text(self, plan: object) -> str:
        """What it does: the first line of its docstring, filled from the plan."""
        line = (self.do.__doc__ or "").strip().splitlines()[0]
        return string.Formatter().vformat(line, (), _Fields(plan)).rstrip(".")

    def total_of(self, plan: object) -> int | None:
        """How much there is to do; None if nobody knows."""
        return None if self.total is None else getattr(plan, self.total)


class _Fields(Mapping[str, Any]):
    """A plan's fields and properties, looked at when they are asked for."""

    def __init__(self, plan: object) -> None:
        self._plan = plan

    def __getitem__(self, name: str) -> Any:
        return getattr(self._plan, name)

    def __iter__(self) -> Any:
        return iter(vars(self._plan))

    def __len__(self) -> int:
        return len(vars(self._plan))


@dataclass(frozen=True)
class Operation:
    """A long piece of work that can be resumed and taken back.

    `plan_type` is a frozen dataclass of plain values that has a `subject` ("tenant:acme"): one operation at a time
    works on a subject. It may have a `place`: where `run.transaction()` goes if nothing is said. `plan` makes one, and
    only reads. What is done in one place of a `scattered` one does not depend on the others: where one can't be reached
    when it is resumed, the others are gone on with; each step fails that has to do something there.
    """

    name: str
    plan_type: type
    plan: Callable[..., Any]
    steps: tuple[Step, ...]
    scattered: bool = False

    def __post_init__(self) -> None:
        names = [step.name for step in self.steps]
        if not names or len(set(names)) != len(names):
            raise ValueError(f"{self.name}: it has no steps, or two of one name: {', '.join(names)}")
        silent = [step.name for step in self.steps if not (step.do.__doc__ or "").strip()]
        if silent:
            raise ValueError(f"{self.name}: no docstring says what these steps do: {', '.join(silent)}")
        fields = [field.name for field in dataclasses.fields(self.plan_type)]
        telling = [name for name in fields if any(word in name for word in _SECRET)]
        if telling:
            raise ValueError(f"{self.name}: a plan is stored for all to read, so it has no {', '.join(telling)}")
        if not hasattr(self.plan_type, "subject") and "subject" not in fields:
            raise ValueError(f"{self.name}: its plan has no subject")

    def step(self, name: str) -> Step | None:
        """The step of that name; None if there is none."""
        return next((step for step in self.steps if step.name == name), None)

    def described(self, plan: object) -> list[tuple[str, str]]:
        """Every step and what it does: the dry run."""
        return [(step.name, step.text(plan)) for step in self.steps]

    def encode(self, plan: object) -> dict[str, Any]:
        """The plan as JSON. Anything that is not plain data is refused by its type."""
        stored: dict[str, Any] = self._adapter.dump_python(plan, mode="json")
        return stored

    def decode(self, stored: object) -> Any:
        """The plan again; `ValueError` if this version of the library has another kind of plan."""
        try:
            return self._adapter.validate_python(stored)
        except ValidationError as error:
            first = error.errors(include_url=False)[0]
            raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error

    @cached_property
    def _adapter(self) -> TypeAdapter[Any]:
        return TypeAdapter(self.plan_type)
