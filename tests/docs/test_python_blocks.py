"""The Python and SQL of the README and the how-to pages work as they stand, page by page, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import kos
from fix_samples import child_environment
from kos.tenancy import Store, Tenant

ROOT = Path(__file__).parents[2]
PAGES = [
    "README.md",
    *(f"docs/how-to/{name}.md" for name in ("get-started", "create-tenants", "python", "run-a-workload", "cache")),
]
# A file can't say that servers are a stack's own, and loads are refused on any others.
ON_A_STACK = ["docs/how-to/run-a-workload.md"]
IN_TRANSACTION = ["README.md", "docs/how-to/get-started.md"]


def blocks(page: str, language: str) -> list[str]:
    return re.findall(
        rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE
    )


@pytest.fixture
def configured(store: Store, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """`kos.open()` finds this test's database, where the tenant acme has an atom."""
    for name, value in child_environment(store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    with store.tenant(tenant.name) as acme:
        acme.execute("insert into atoms (atom_type, name, value) values ('city', 'Zug', 'ZG')")
    return store


@pytest.mark.parametrize("page", PAGES)
def test_python_runs(
    page: str, configured: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if page in ON_A_STACK:
        monkeypatch.setattr(kos, "open", lambda: Store(configured.topology))
    found = blocks(page, "python")
    assert found
    names: dict[str, object] = {"__name__": "page"}
    for number, text in enumerate(found, 1):
        exec(compile(text, f"{page}, block {number}", "exec"), names)
    assert capsys.readouterr().out


def test_what_the_pages_wrote_is_there(configured: Store) -> None:
    """So a page that runs has also done something."""
    names: dict[str, object] = {}
    for text in blocks("docs/how-to/python.md", "python"):
        exec(text, names)
    with configured.tenant("acme") as acme:
        found = dict(acme.execute("select name, number_value from atoms").fetchall())
    assert found == {"Zug": None, "Bern": 1, "Basel": None, "Chur": None}


@pytest.mark.parametrize("page", IN_TRANSACTION)
def test_sql_runs(page: str, configured: Store) -> None:
    (text,) = blocks(page, "sql")
    statements = [each.strip() for each in text.split(";") if each.strip()]
    assert (statements[0], statements[-1]) == ("begin", "commit")
    with configured.control() as connection:
        *_, last, _ = [connection.execute(each) for each in statements]
        rows = last.fetchall()
    assert [row[0] for row in rows] == ["Zug"]
