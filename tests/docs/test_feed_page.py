"""docs/how-to/follow-the-log.md: what it shows works as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kos.log import seal_all
from kos.tenancy import Store, Tenant

PAGE = (Path(__file__).parents[2] / "docs/how-to/follow-the-log.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (text,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return str(text)


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
    def run() -> None:
        with written.control() as connection:
            connection.execute(block("sql").encode())

    run()
    assert names(written) == ["Bern", "Zug"]
    change(written, "update atoms set name = 'Berne' where name = 'Bern'")
    run()
    run()  # nothing is there
    assert names(written) == ["Bern", "Zug", "Berne"]
