"""Every command is documented, and every documented command exists; links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kos.cli import commands

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]


def test_commands_and_their_page_agree() -> None:
    documented = set(re.findall(r"^## kos (.+)$", (ROOT / "docs/reference/cli.md").read_text(), re.MULTILINE))
    assert documented == set(commands())


def test_the_readme_names_every_noun() -> None:
    text = (ROOT / "README.md").read_text()
    assert [words for words in commands() if words.split()[0] not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)", page.read_text())
    assert [link for link in links if "://" not in link and not (page.parent / link).exists()] == []
