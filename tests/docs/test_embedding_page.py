"""docs/how-to/add-an-embedding.md, followed from top to bottom."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from fix_samples import child_environment
from kos.schema_change.fill_python import load
from kos.tenancy import Store, Tenant, create_tenant

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
PAGE = (ROOT / "docs/how-to/add-an-embedding.md").read_text(encoding="utf-8")
CLI = [sys.executable, "-c", "from kos.cli import main; main()"]
ASKED = ("start", "finish")


@pytest.fixture
def configured(store: Store, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """`kos.open()` finds this test's database, in the folder of the examples. Two tenants have atoms."""
    pytest.importorskip("wordllama", reason="the model's package is not there for this platform")
    create_tenant(store, "initech", "schema")
    for name in ("acme", "initech"):
        with store.tenant(name) as session:
            session.execute(
                "insert into atoms (atom_type, name) values ('T', 'rain is expected'), ('T', 'a storm at sea')"
            )
    environment = child_environment(store.topology, tmp_path)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(EXAMPLES)
    load("embeddings:embedding_of")
    return environment


def run(line: str, environment: dict[str, str]) -> None:
    program, *arguments = shlex.split(line)
    if program == "pip":
        return
    assert program == "kos"
    if arguments[1] in ASKED:
        arguments.append("--yes")
    done = subprocess.run(
        [*CLI, *arguments], cwd=EXAMPLES, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{line}\n{done.stdout}{done.stderr}"


@pytest.mark.long
def test_the_page_works_as_it_stands(
    configured: dict[str, str], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, object] = {"__name__": "page"}
    for language, text in re.findall(r"^```(sh|python)\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE):
        if language == "sh":
            for line in text.splitlines():
                run(line, configured)
        else:
            exec(compile(text, "add-an-embedding.md", "exec"), names)
    assert capsys.readouterr().out.splitlines()[0] == "a discount lowers the price"
    for tenant in ("acme", "initech"):
        with store.tenant(tenant) as session:
            assert session.execute("select count(*) from atoms where embedding is null").fetchone() == (0,)


def test_the_page_shows_the_example() -> None:
    (text,) = re.findall(r"^```sql\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    assert text in (EXAMPLES / "add-embedding.sql").read_text()
