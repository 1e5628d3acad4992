"""What `make test` tries, and what only `make test-long` does."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def short(values: Iterable[Any], *kept: Any) -> list[Any]:
    """For parametrize: all values, of which `make test` tries those that are `kept`."""
    values = list(values)
    assert set(kept) <= set(values)
    return [value if value in kept else _long(value) for value in values]


def spread(values: Iterable[Any], step: int) -> list[Any]:
    """For parametrize: all values, of which `make test` tries each `step`th."""
    return [value if number % step == 0 else _long(value) for number, value in enumerate(values)]


def _long(value: Any) -> Any:
    """A tuple has the values of several parameters."""
    return pytest.param(*(value if isinstance(value, tuple) else (value,)), marks=pytest.mark.long)
