"""docs/how-to/follow-the-log.md: what it shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from fix_samples import child_environment
from kos.log import feeds, seal_all
from kos.tenancy import Store, Tenant

PAGE = (Path(__file__).parents[2] / "docs/how-to/follow-the-log.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


@pytest.fixture
def written(store: Store, tenant: Tenant) -> Store:
    with store.operator() as operator:
        operator.execute("create table knowledge.names_over_time (tenant_id uuid, name text, at timestamptz)")
        operator.execute("grant select, insert on knowledge.names_over_time to kos_app")
    change(store, "insert into atoms (atom_type, name) values ('city', 'Bern'), ('city', 'Zug')")
    return store


def change(store: Store, statement: str) -> None:
    with store.tenant("acme") as acme:
        acme.execute(statement.encode())
    with store.operator() as operator:
        seal_all(operator)


def names(store: Store) -> list[str]:
    with store.operator() as operator:
        return [name for (name,) in operator.execute("select name from knowledge.names_over_time order by at, name")]


def test_the_sql(written: Store) -> None:
    (text,) = blocks("sql")

    def run() -> None:
        with written.control() as connection:
            connection.execute(text.encode())

    run()
    assert names(written) == ["Bern", "Zug"]
    change(written, "update atoms set name = 'Berne' where name = 'Bern'")
    run()
    run()  # nothing is there
    assert names(written) == ["Bern", "Zug", "Berne"]


def test_the_python(
    written: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in child_environment(written.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    for _ in range(2):
        shown: dict[str, object] = {}
        for text in blocks("python"):
            exec(text, shown)
    assert names(written) == ["Bern", "Zug"]
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()] == [
        ["1", "atoms.created"],
        ["2", "atoms.created"],
    ]
    with written.operator() as operator:
        assert [(each.feed, each.behind) for each in feeds(operator)] == [("elsewhere", 0), ("names", 0)]
