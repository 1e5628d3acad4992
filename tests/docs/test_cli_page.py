"""docs/reference/cli.md has every command with its options, and so has the README's table; links lead somewhere."""

from __future__ import annotations

import functools
import io
import re
from pathlib import Path
from typing import Any

import pytest
import typer

from kos.cli import build, commands, run
from kos.errors import DONE, WRONG_USE

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
SECTIONS = {
    section.splitlines()[0]: section
    for section in re.split(r"^## kos ", (ROOT / "docs/reference/cli.md").read_text(), flags=re.MULTILINE)[1:]
}


@functools.cache
def program() -> Any:
    """Built once: it takes a seventh of a second."""
    return typer.main.get_command(build())


def parameters(words: str) -> dict[str, Any]:
    """What a command takes, by the name that users know: its default, or "required"."""
    command = program()
    for word in [words] if words in command.commands else words.split():
        command = command.commands[word]
    taken = {}
    for each in command.params:
        is_option = each.param_type_name == "option"
        name = each.opts[0] if is_option else (each.metavar or each.name.upper())
        taken[name] = "required" if each.required else each.default
    return {name: default for name, default in taken.items() if name != "--help"}


def documented(words: str) -> dict[str, str]:
    return dict(re.findall(r"^\| `([^`]+)` \| (.*?) ?\|", SECTIONS[words], re.MULTILINE))


def test_commands_and_their_page_agree() -> None:
    assert sorted(SECTIONS) == sorted(commands())


@pytest.mark.parametrize("words", commands())
def test_every_option_has_its_row(words: str) -> None:
    taken, rows = parameters(words), documented(words)
    assert list(rows) == list(taken)
    for name, default in taken.items():
        shown = rows[name].strip("`")
        if default is False:
            assert shown == "", f"{name} is a flag"
        elif default is None:
            assert shown, f"{name} does not say what it is without a value"
        else:
            assert shown == (f"{default:g}" if isinstance(default, float) else str(default))


def test_the_readme_has_a_row_for_every_command_that_exists() -> None:
    rows = re.findall(r"^\| (`kos .*?) \|", (ROOT / "README.md").read_text(), re.MULTILINE)
    named = []
    for row in rows:
        first, *others = re.findall(r"`(?:kos )?([a-z -]+)`", row)
        noun = first.rpartition(" ")[0]
        named += [first, *(f"{noun} {other}".strip() for other in others)]
    assert sorted(named) == sorted(commands())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_commands_of_a_page_exist(page: Path) -> None:
    """Lines of shell blocks that begin with kos: the command is there, and takes these options."""
    for block in re.findall(r"^```sh\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE):
        for line in re.findall(r"^(?:\w+=\S+ )*kos (.*?)(?:#.*)?$", block, re.MULTILINE):
            words = next((each for each in commands() if f"{line} ".startswith(f"{each} ")), None)
            assert words, f"there is no command kos {line}"
            assert set(re.findall(r"--[a-z-]+", line)) <= parameters(words).keys(), line


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    broken = []
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        path, _, anchor = link.partition("#")
        target = (page.parent / path) if path else page
        if "://" in link:
            continue
        if not target.exists() or (anchor and anchor not in anchors(target)):
            broken.append(link)
    assert broken == []


def anchors(page: Path) -> set[str]:
    """The headings of a page as links name them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize(
    "arguments",
    [["nonsense"], ["tenant"], ["tenant", "create"], ["status", "--nonsense"], ["up", "--shards", "99"]],
    ids=" ".join,
)
def test_wrong_use_has_its_exit_code(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(arguments) == WRONG_USE
    assert "Traceback" not in capsys.readouterr().err


def test_help_is_no_error() -> None:
    assert run(["--help"]) == DONE


def test_a_question_answered_with_no_changes_nothing(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (place / ".kos").mkdir()
    monkeypatch.chdir(place)
    monkeypatch.setattr("sys.stdin", io.StringIO("n\n"))
    assert run(["down", "--purge"]) == 1
    assert (place / ".kos").exists()
