"""docs/reference/kos-toml.md: its examples load, and it names every key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel

from kos.topology import config, keys

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "kos-toml.md"
EXAMPLES = re.findall(r"```toml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def understood(text: str, folder: Path) -> Any:
    for name in ("ca.pem", "client.pem", "client.key"):
        (folder / name).touch()
    return config.understand(tomllib.loads(text), folder / "kos.toml", {})


@pytest.mark.parametrize("text", EXAMPLES)
def test_an_example_loads(text: str, tmp_path: Path) -> None:
    assert understood(text, tmp_path).shards


def test_one_example_is_postgres_alone_and_one_is_everything(tmp_path: Path) -> None:
    alone, whole = (understood(text, tmp_path) for text in EXAMPLES)
    assert (alone.graph, alone.cache, alone.objects) == (None, None, None)
    assert None not in (whole.graph, whole.cache, whole.objects)


def test_an_example_is_every_mistake_s_mend(tmp_path: Path) -> None:
    """The example of each key, as a mistake shows it, is TOML that the key accepts."""
    for table in tables(keys.FileKeys):
        for name, field in table.model_fields.items():
            assert field.examples, f"{table.__name__}.{name} has no example"
            if table is not keys.FileKeys:
                key = field.alias or name
                example = re.sub(rf"^(\[+)[\w.]*\.({key})\b", r"\1\2", field.examples[0])
                assert key in tomllib.loads(example)


def test_every_key_is_documented_and_in_the_whole_example() -> None:
    page = PAGE.read_text(encoding="utf-8")
    _, whole = EXAMPLES
    for table in tables(keys.FileKeys):
        for name in (field.alias or name for name, field in table.model_fields.items()):
            assert f"`{name}`" in page or f"[{name}" in page or f"{{ {name} =" in page, f"{name} is not documented"
            assert name in whole, f"{name} is not in the example"


def tables(start: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield start
    for field in start.model_fields.values():
        for inner in inside(field.annotation):
            yield from tables(inner)


def inside(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from inside(argument)
