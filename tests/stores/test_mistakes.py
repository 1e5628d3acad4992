"""Mistakes that users make on the command line: each gets one clear answer, and nothing is left half done."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fix_samples import child_environment
from fix_stack import left_in
from kos import cli, errors
from kos.knowledge.objects import list_holds
from kos.tenancy import Store, create_tenant, find_tenant, list_tenants

CLI = [sys.executable, "-c", "from kos.cli import main; main()"]


@pytest.fixture
def configured(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    for name, value in child_environment(store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    return store


PRESS_AGAIN = 15.0  # seconds


def interrupted(arguments: list[str], when: str, cwd: Path) -> tuple[int, str]:
    """Run on a terminal, press Ctrl-C when it has shown `when`; the exit code and all that it has shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen([*CLI, *arguments], stdin=theirs, stdout=theirs, stderr=theirs, cwd=cwd) as process:
        os.close(theirs)
        shown = b""
        pressed = False
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            # Between its question and its wait for an answer a program may miss it: press again. Not soon: one that is
            # ending is killed by the second.
            if not select.select([ours], [], [], PRESS_AGAIN if pressed else 1.0)[0]:
                if pressed:
                    process.send_signal(signal.SIGINT)
                continue
            try:
                shown += os.read(ours, 4096)
            except OSError:  # the terminal of a process that ended
                break
            if not pressed and when.encode() in shown:
                process.send_signal(signal.SIGINT)
                pressed = True
        if time.monotonic() >= deadline:
            process.kill()
        code = process.wait()
    os.close(ours)
    assert pressed, shown.decode()
    return code, shown.decode()


@pytest.mark.long
def test_an_interrupted_load_says_so(configured: Store, tmp_path: Path) -> None:
    create_tenant(configured, "acme")
    code, shown = interrupted(["sample", "load", "cities", "--tenant", "acme"], "rows of cities", tmp_path)
    assert code == errors.INTERRUPTED
    assert "was interrupted at load_rows" in shown
    assert "next:  kos operation resume" in shown
    assert "Traceback" not in shown


def test_an_interrupted_question_is_no_answer(configured: Store, tmp_path: Path) -> None:
    create_tenant(configured, "acme")
    code, shown = interrupted(["tenant", "remove", "acme"], "for ever?", tmp_path)
    assert code == errors.INTERRUPTED
    assert "error: interrupted" in shown
    assert find_tenant(configured, "acme").state == "active"


@pytest.mark.parametrize(
    "options", [("--reason", " "), ("--reason", "x", "--until", "2001-01-01")], ids=["empty", "past"]
)
def test_a_hold_that_would_hold_nothing(
    configured: Store, capsys: pytest.CaptureFixture[str], options: tuple[str, ...]
) -> None:
    assert cli.run(["objects", "hold", *options]) == errors.WRONG_USE
    assert "Invalid value" in capsys.readouterr().err
    assert list_holds(configured) == []


def test_a_folder_that_was_deleted_under_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    here.rmdir()
    assert cli.run(["status"]) == errors.FAILED
    assert "the current folder can't be used: No such file or directory" in capsys.readouterr().err


def test_nothing_is_asked_where_nothing_is(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    assert cli.run(["down", "--purge", "--json"]) == errors.DONE
    assert json.loads(capsys.readouterr().out) == {"stopped": [], "purged": True}


@pytest.mark.parametrize(
    ("words", "kind", "next_command"),
    [
        ("tenant create acme --tier shelf", "UnknownTier", "kos tenant create"),
        ("tenant show nobody", "UnknownTenant", "kos tenant list"),
        ("sample load nothing --tenant acme", "UnknownDataset", "kos sample list"),
        ("tenant import nowhere --name acme", "ExportMissing", "kos tenant export"),
        ("operation resume 00000000-0000-4000-8000-000000000000", "UnknownOperation", "kos operation list"),
        ("projection rebuild nothing", "UnknownProjection", "kos projection list"),
    ],
)
def test_a_wrong_word_is_told_with_the_next_command(
    configured: Store,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    kind: str,
    next_command: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = [tenant.name for tenant in list_tenants(configured)]
    assert cli.run([*words.split(), "--json"]) == errors.WRONG_USE
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["type"], told["retryable"]) == (kind, False)
    assert next_command in told["next"]
    assert [tenant.name for tenant in list_tenants(configured)] == before


def test_a_damaged_file_and_a_port_in_use_are_told_with_the_next_command(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    monkeypatch.chdir(place)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert cli.run(["up", "--port", str(port), "--json"]) == errors.FAILED
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["type"], told["port"]) == ("PortInUse", port)
    assert "kos up --port" in told["next"]
    assert left_in(place) == []
    (place / "kos.toml").write_text("[[shards")
    assert cli.run(["status", "--json"]) == errors.WRONG_USE
    told = json.loads(capsys.readouterr().err)["error"]
    assert (told["type"], len(told["mistakes"])) == ("ConfigInvalid", 1)
    assert "kos doctor" in told["next"]
