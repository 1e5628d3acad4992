"""Loading named queries."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from psycopg.sql import Identifier

from kos import sql

PACKAGE = "kos_test_queries"


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    folder = tmp_path / PACKAGE
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    sql.load.cache_clear()

    def writing(text: str) -> sql.Queries:
        (folder / "queries.sql").write_text(text)
        return sql.load(PACKAGE)

    return writing


def test_queries_are_attributes(write) -> None:  # type: ignore[no-untyped-def]
    queries = write("-- For tests.\n\n-- name: one\n-- Why.\nselect 1;\n\n-- name: two\nselect * from {table};\n")
    assert queries.one.as_string() == "-- Why.\nselect 1"
    assert sql.statement(queries.two, table=Identifier("a b")).as_string() == 'select * from "a b"'


def test_an_unknown_name_lists_the_known_ones(write) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(AttributeError, match=r"no query 'three'; there are: one"):
        _ = write("-- name: one\nselect 1").three


@pytest.mark.parametrize(
    "text", ["select 1;\n-- name: one\nselect 1", "-- name: one\nselect 1\n-- name: one\nselect 2"]
)
def test_a_wrong_file_is_refused(write, text: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=r"queries\.sql"):
        write(text)
