"""docs/reference/errors.md has every error under its group, with its exit code, whether to retry, and its fields."""

from __future__ import annotations

import dataclasses
import inspect
import re
from pathlib import Path

from kos import errors

PAGE = (Path(__file__).parents[2] / "docs/reference/errors.md").read_text(encoding="utf-8")
ROW = re.compile(r"^\| `(\w+)`( \(retryable\))? \| (\d+) \| .* \| ([^|]*)\|$", re.MULTILINE)

Facts = tuple[str, str, bool, int, tuple[str, ...]]


def documented() -> set[Facts]:
    rows = set()
    for section in PAGE.split("\n## ")[1:]:
        group = section.splitlines()[0]
        for name, retryable, code, fields in ROW.findall(section):
            rows.add((group, name, bool(retryable), int(code), tuple(re.findall(r"`(\w+)`", fields))))
    return rows


def real() -> set[Facts]:
    kinds = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.KosError)]
    return {
        (
            kind.__base__.__name__,
            kind.__name__,
            kind.retryable,
            kind.exit_code,
            tuple(field.name for field in dataclasses.fields(kind)),
        )
        for kind in kinds
        if not kind.__subclasses__()
    }


def test_the_page_has_every_error_as_it_is() -> None:
    assert documented() == real()
