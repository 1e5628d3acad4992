"""`kos feed`: a cursor that moves behind what was printed, in a process that is killed as well."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from test_feed_consumer import put

from fix_exports import until
from fix_samples import child_environment
from kos import errors
from kos.cli import run
from kos.log import Cursor, advance, next_batch, pages, position_of, seal_all, seek
from kos.tenancy import Store, Tenant, create_tenant

Printed = Callable[..., list[Any]]
OF_GRAPH = "projection.graph"
TAIL = ("feed", "tail", "--tenant", "acme", "--feed", "copy")


@pytest.fixture
def printed(
    store: Store, tenant: Tenant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Printed:
    """What a command prints as JSON, line by line."""
    for name, value in child_environment(store.topology, tmp_path).items():
        monkeypatch.setenv(name, value)

    def printed(*arguments: str) -> list[Any]:
        capsys.readouterr()
        assert run([*arguments, "--json"]) == errors.DONE
        return [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    return printed


def test_tail_goes_on_where_it_was(store: Store, printed: Printed) -> None:
    put(store, "a", "b")
    put(store, "c")
    assert [event["data"]["name"] for event in printed(*TAIL)] == ["a", "b", "c"]
    assert printed(*TAIL) == []
    put(store, "d")
    assert [event["data"]["name"] for event in printed(*TAIL)] == ["d"]
    printed("feed", "seek", "copy", "--tenant", "acme", "--to", "2", "--dry-run")
    assert printed(*TAIL) == []
    assert run(["feed", "seek", "copy", "--tenant", "acme", "--to", "1", "--yes"]) == errors.WRONG_USE
    assert printed("feed", "seek", "copy", "--tenant", "acme", "--to", "2", "--yes")[0]["before"] == 4
    assert [event["data"]["name"] for event in printed(*TAIL)] == ["c", "d"]
    assert run([*TAIL, "--from", "0"]) == errors.WRONG_USE


def test_what_was_not_printed_comes_again(store: Store, printed: Printed) -> None:
    for number in range(3):
        put(store, str(number))
    command = [sys.executable, "-m", "kos", *TAIL]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ) as cut_off:
        assert cut_off.stdout is not None
        cut_off.stdout.close()  # it can print nothing
    assert len(printed(*TAIL)) == 3


@pytest.mark.long
def test_a_follower_that_is_killed_loses_nothing(store: Store, tenant: Tenant, printed: Printed) -> None:
    put(store, "a")
    command = [sys.executable, "-m", "kos", *TAIL, "--follow", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=os.environ) as follower, store.operator() as operator:
        assert follower.stdout is not None
        assert json.loads(follower.stdout.readline())["data"]["name"] == "a"
        until(lambda: position_of(operator, "copy", tenant.id).position == 1)
        put(store, "b")
        assert json.loads(follower.stdout.readline())["data"]["name"] == "b"
        follower.kill()
        follower.wait()
    put(store, "c")
    assert [event["data"]["name"] for event in printed(*TAIL)] in (["b", "c"], ["c"])


def test_list_and_drop(store: Store, tenant: Tenant, printed: Printed) -> None:
    create_tenant(store, "beta", "database")
    for name in ("acme", "beta"):
        put(store, "a", tenant=name)
        printed("feed", "tail", "--tenant", name, "--feed", "copy")
    put(store, "b", "c")
    [listed] = printed("feed", "list")
    found = [(each["name"], each["position"], each["head"], each["behind"]) for each in listed]
    assert found == [("acme", 1, 3, 2), ("beta", 1, 1, 0)]
    assert len({each["database"] for each in listed}) == 2
    assert printed("feed", "drop", "copy", "--tenant", "beta", "--yes")[0]["tenants"] == [listed[1]["tenant"]]
    assert [each["name"] for each in printed("feed", "list")[0]] == ["acme"]
    assert len(printed("feed", "drop", "copy", "--dry-run")[0]["tenants"]) == 1
    printed("feed", "drop", "copy", "--yes")
    assert run(["feed", "drop", "copy", "--yes"]) == errors.WRONG_USE


@pytest.mark.parametrize(
    "command",
    [
        ["tail", "--tenant", "acme", "--feed", OF_GRAPH],
        ["seek", OF_GRAPH, "--tenant", "acme", "--to", "0"],
        ["drop", OF_GRAPH],
    ],
    ids=lambda each: each[0],
)
def test_the_cursor_of_a_projection_is_not_moved(
    store: Store, tenant: Tenant, printed: Printed, command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    put(store, "a")
    with store.operator() as operator:
        seal_all(operator)
        seek(operator, OF_GRAPH, tenant.id, Cursor(1))
        assert run(["feed", *command, *(["--yes"] if command[0] != "tail" else [])]) == errors.WRONG_USE
        assert position_of(operator, OF_GRAPH, tenant.id).position == 1
    assert "kos projection rebuild graph" in capsys.readouterr().err


def test_pages_end_anywhere_and_the_cursor_moves_at_ends(store: Store, tenant: Tenant) -> None:
    put(store, "a", "b", "c", "d", "e")
    put(store, "f")
    with store.operator() as operator:
        stood = []
        seen = []
        for page in pages(operator, "copy", tenant.id, limit=2):
            assert len(page) <= 2
            seen += [event.data["name"] for event in page]
            stood.append(position_of(operator, "copy", tenant.id).position)
        assert seen == list("abcdef")
        assert stood == [0, 0, 0]
        assert position_of(operator, "copy", tenant.id).position == 6
        put(store, "g", "h", "i")
        moved = pages(operator, "copy", tenant.id, limit=2)
        next(moved)
        next(moved)
        assert position_of(operator, "copy", tenant.id).position == 6
        batch = next_batch(operator, "copy", tenant.id)
        assert batch is not None
        advance(operator, "copy", tenant.id, 6, batch.end)
        with pytest.raises(errors.FeedMoved):
            next(moved)
