"""What the pages on samples, exports and objects say is so: their Python runs, their tables are complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from fix_samples import child_environment
from kos.knowledge.exchange import export_tenant
from kos.knowledge.exchange.manifest import Manifest
from kos.knowledge.objects import put_object
from kos.knowledge.samples import list_datasets, load_sample, plan_load
from kos.tenancy import Store, create_tenant

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("how-to/sample-data.md", "how-to/export-and-import.md", "reference/objects.md")


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


def rows(page: str, section: str) -> dict[str, str]:
    """The first two columns of the first table of a section."""
    text = (DOCS / page).read_text(encoding="utf-8").partition(f"## {section}\n")[2].partition("\n## ")[0]
    return dict(re.findall(r"^\| `?([^|`]+)`? \| (.*?) \|", text, re.MULTILINE))


@pytest.fixture
def configured(full_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """`kos.open()` finds this test's database, which has a tenant acme; temporary files go with the test."""
    create_tenant(full_store, "acme")
    for name, value in child_environment(full_store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    return full_store


@pytest.mark.parametrize("page", PAGES)
def test_python_runs(page: str, configured: Store, capsys: pytest.CaptureFixture[str]) -> None:
    found = blocks(page, "python")
    assert found
    for number, text in enumerate(found, 1):
        exec(compile(text, f"{page}, block {number}", "exec"), {"__name__": "page"})
    assert capsys.readouterr().out


def test_the_page_has_every_dataset() -> None:
    page = (DOCS / "how-to/sample-data.md").read_text()
    assert re.findall(r"^\| `(\w+)` \| .* \| .* \|", page, re.MULTILINE)[:2] == [each.name for each in list_datasets()]


@pytest.mark.long
def test_the_page_has_every_relation_and_kind(configured: Store) -> None:
    page = (DOCS / "how-to/sample-data.md").read_text()
    for dataset in list_datasets():
        tables = {rows.table: rows for rows in plan_load(configured, dataset.name, "acme").content.tables}
        relations = {row[1] for row in tables["relations"].read()}
        assert [name for name in relations if f"`{name}`" not in page] == []
        kind, name, value = (tables["atoms"].columns.index(each) for each in ("atom_type", "name", "value"))
        named = {row[value] if row[kind] == "EntityAtom" else row[name] for row in tables["atoms"].read()}
        assert [each for each in named if each not in page] == []


def test_the_page_has_every_key_of_the_manifest() -> None:
    assert [key for key in rows("reference/export-format.md", "manifest.json") if key != "key"] == list(
        Manifest.model_fields
    )


@pytest.mark.long
@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_an_export_can_be_checked_without_kos(configured: Store, tmp_path: Path) -> None:
    load_sample(configured, "packages", "acme")
    export_tenant(configured, "acme", tmp_path / "DIR")
    [script] = blocks("reference/export-format.md", "sh")
    run = ["sh", "-e", "-c", script]
    assert subprocess.run(run, cwd=tmp_path, check=False).returncode == 0
    path = min((tmp_path / "DIR" / "objects").iterdir())
    os.truncate(path, 1)
    assert subprocess.run(run, cwd=tmp_path, stderr=subprocess.DEVNULL, check=False).returncode != 0


def test_the_key_of_an_object_is_where_the_page_says(configured: Store) -> None:
    with configured.tenant("acme") as acme:
        digest = put_object(acme, b"content")
        [(key,)] = acme.execute("select kos.object_key(%s, %s)", (acme.tenant.id, digest)).fetchall()
        query = """
            select (classid::bigint << 32) | objid::bigint from pg_locks
             where locktype = 'advisory' and mode = 'ShareLock' and pid = pg_backend_pid()
        """
        held = {number for (number,) in acme.execute(query).fetchall()}
    assert key in held
