"""Whatever changes something has --dry-run, says what it would do, and does nothing."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from typing import Any

import pytest
import typer

from kos import cli, errors
from kos.cli import commands
from kos.tenancy import Store, create_tenant, install, list_tenants
from kos.topology.embedded import Stack
from kos.tour import STEPS

READS = {
    "adopt status",
    "change plan",
    "change status",
    "change throttle",  # its limits hold for a change that is open; without options it shows them
    "change lint",
    "log status",
    "log verify",
    "feed tail",  # with a feed it is that feed's consumer
    "feed list",
    "feed serve",  # so are those that it lets in
    "projection list",
    "projection status",
    "projection verify",  # it follows what it compares, as the worker does
    "projection parked",
    "status",
    "doctor",
    "tenant list",
    "tenant show",
    "sample list",
    "objects holds",
    "workload verify",
    "operation list",
    "operation show",
}
ASKS = {
    "adopt",
    "change start",
    "change finish",
    "change rollback",
    "change leave-out",
    "release",
    "uninstall",
    "down",
    "tenant remove",
    "objects collect",
    "operation rollback",
    "feed seek",
    "feed drop",
}


@functools.cache
def program() -> Any:
    """Built once: it takes a seventh of a second."""
    return typer.main.get_command(cli.build())


def options(words: str) -> set[str]:
    command = program()
    for word in [words] if words in command.commands else words.split():
        command = command.commands[word]
    return {name for each in command.params for name in each.opts}


@pytest.mark.parametrize("words", commands())
def test_every_command_that_changes_something_can_be_tried(words: str) -> None:
    assert "--json" in options(words)
    assert ("--dry-run" in options(words)) == (words not in READS)
    assert ("--yes" in options(words)) == (words in ASKS)


def planned(capsys: pytest.CaptureFixture[str], *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.run([*arguments, "--dry-run"]) == errors.DONE
    people = capsys.readouterr()
    assert people.out
    assert people.err == ""
    assert cli.run([*arguments, "--dry-run", "--json"]) == errors.DONE
    return json.loads(capsys.readouterr().out)


def test_of_a_stack_that_is_not_there(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    steps = planned(capsys, "tour")["steps"]
    assert [each["title"] for each in steps] == [step.title for step in STEPS]
    changes = planned(capsys, "up", "--shards", "2")["changes"]
    assert {"store": "postgres-2", "what": "make its data, and start it"} in changes
    assert {"store": "postgres", "what": "install or upgrade its schema, if it is behind"} in changes
    assert list(place.iterdir()) == []


def test_of_a_stack_that_runs(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(place)
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    stack = Stack(place)
    stack.up(stores=["postgres"])
    value = planned(capsys, "up")
    assert value["adopted"] == ["postgres"]
    assert {"store": "postgres", "what": "apply 0001_identity.sql in schema kos of knowledge_os"} in value["changes"]
    install(stack.topology())
    stack.set_role_passwords()
    stores = {change["store"] for change in planned(capsys, "up")["changes"]}
    assert stores == {"graph", "cache", "objects", "worker"}
    with Store(stack.topology()) as store:
        create_tenant(store, "workload-2")
        load = planned(capsys, "workload", "run", "--clients", "2", "--seconds", "7")
        assert [(each["name"], each["tier"], each["exists"]) for each in load["tenants"]] == [
            ("workload-1", "row", False),
            ("workload-2", "row", True),
            ("workload-3", "database", False),
        ]
        assert (load["clients"], load["seconds"], load["ledger"]) == (2, 7, str(place / ".kos" / "workload"))
        assert [tenant.name for tenant in list_tenants(store)] == ["workload-2"]
    assert not (place / ".kos" / "workload").exists()
    (place / "there").touch()
    assert cli.run(["workload", "run", "--dry-run", "--ledger", "there"]) == errors.WRONG_USE
