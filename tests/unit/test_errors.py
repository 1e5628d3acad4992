"""Every error states its fact from its fields, names the next command, and stands in the tree."""

from __future__ import annotations

import dataclasses
import inspect
import pickle
from pathlib import Path
from typing import Any

import pytest

from kos import errors

TYPES = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, errors.KosError) and not kind.__subclasses__()
]
VALUES = {"int": 7, "float": 1.5, "Path": Path("somewhere"), "str": "text", "tuple[str, ...]": ("a", "b")}


def example(kind: type[errors.KosError]) -> errors.KosError:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(kind):
        name = str(field.type)
        values[field.name] = (
            (errors.Mistake("a.b", "is wrong", "write c"),) if "Mistake" in name else VALUES.get(name, "text")
        )
    return kind(**values)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_it_states_fact_and_next_command(kind: type[errors.KosError]) -> None:
    error = example(kind)
    assert str(error)
    assert "{" not in str(error)
    assert error.next_command
    assert "{" not in error.next_command
    assert error.exit_code in {errors.FAILED, errors.WRONG_USE, errors.REFUSED, errors.INTERRUPTED}


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_it_survives_another_process(kind: type[errors.KosError]) -> None:
    error = example(kind)
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.fields) == (kind, error.fields)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
def test_it_stands_in_the_tree(kind: type[errors.KosError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_the_tree_names_nothing_else() -> None:
    known = {name for name, _ in inspect.getmembers(errors, inspect.isclass)}
    drawn = (errors.__doc__ or "").split("KosError\n", 1)[1]
    words = {word.strip(",") for word in drawn.split() if word[:1].isupper()}
    assert words <= known
