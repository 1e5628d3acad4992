"""What may stand in the way of a start: each gives one clear error, and leaves nothing half done."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from fix_stack import left_in, pids
from kos.errors import DiskFull, FolderRefused, PortInUse, ServerDidNotStart
from kos.topology.embedded import Stack, ports, start
from suites import short

# what stands in the way of a start


def test_a_server_that_will_not_start_says_why_and_leaves_nothing(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres"])
    stack.down()
    settings = place / ".kos" / "data" / "postgres" / "postgresql.conf"
    right = settings.read_text()
    settings.write_text(right + "\nshared_buffers = 'a lot'\n")
    with pytest.raises(ServerDidNotStart, match="shared_buffers") as failure:
        stack.up(stores=["postgres", "cache"])
    assert failure.value.store == "postgres"
    assert failure.value.log == stack.log("postgres")
    assert left_in(place) == [], "what the same call had started is stopped again"
    settings.write_text(right)
    stack.up(stores=["postgres", "cache"])
    assert set(pids(stack)) == {"postgres", "cache"}


def test_a_full_disk_is_noticed_before_anything_is_made(place: Path) -> None:
    with pytest.raises(DiskFull) as failure:
        Stack(place, free_mb=lambda _: 100).up()
    assert failure.value.free_mb == 100
    assert failure.value.needed_mb >= 300
    assert list(place.iterdir()) == []


def test_a_folder_that_can_not_be_written(tmp_path: Path) -> None:
    with pytest.raises(FolderRefused):
        Stack(tmp_path / "missing").up()


@pytest.mark.parametrize("name", [b"two\nlines", b"latin-\xe9"])
def test_a_folder_that_no_server_can_be_told_of(place: Path, name: bytes) -> None:
    folder = place / os.fsdecode(name)
    folder.mkdir()
    with pytest.raises(FolderRefused, match="line breaks, or is not UTF-8"):
        Stack(folder).up()
    assert list(folder.iterdir()) == []


def test_nothing_of_the_users_aws_stands_in_the_way(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "damaged").write_text("no [section")
    for name, value in {
        "AWS_PROFILE": "nope",
        "AWS_CONFIG_FILE": str(tmp_path / "damaged"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "damaged"),
        "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1",
        "AWS_ACCESS_KEY_ID": "of something else",
        "AWS_SECRET_ACCESS_KEY": "of something else",
        "AWS_SESSION_TOKEN": "of something else",
        "AWS_CA_BUNDLE": str(tmp_path / "missing"),
    }.items():
        monkeypatch.setenv(name, value)
    stack = Stack(place)
    stack.up(stores=["objects"])
    assert set(pids(stack)) == {"objects"}


def test_a_port_that_the_user_asked_for_is_in_use(place: Path) -> None:
    base = free_run(5)
    with taken(base + 3), pytest.raises(PortInUse) as failure:
        Stack(place).up(port=base)
    assert (failure.value.store, failure.value.port) == ("cache", base + 3)
    assert left_in(place) == []
    Stack(place).up(port=base, stores=["postgres", "cache"])
    assert Stack(place).topology().control.primary.port == base


def test_the_workers_port_is_looked_at_before_anything_starts(place: Path) -> None:
    """It begins last, and is behind the ports of eight shards."""
    base = free_run(13)
    with taken(base + 12), pytest.raises(PortInUse) as failure:
        Stack(place).up(port=base, stores=["postgres"])
    assert (failure.value.store, failure.value.port) == ("worker", base + 12)
    assert left_in(place) == []


def test_a_taken_port_that_is_asked_for_stops_nothing_that_runs(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres", "cache"])
    before, base = pids(stack), free_run(5)
    with taken(base + 3), pytest.raises(PortInUse) as failure:
        stack.up(stores=["postgres", "cache"], port=base)
    assert (failure.value.store, failure.value.port) == ("cache", base + 3)
    assert pids(stack) == before


def test_a_port_of_the_stacks_own_can_be_given_to_another_store(place: Path) -> None:
    stack = Stack(place)
    base = free_run(7)
    stack.up(stores=["cache", "objects"], port=base)
    stack.up(stores=["cache", "objects"], port=base + 1)  # the cache's new port was that of the objects
    cache = stack.topology().cache
    assert cache
    assert cache.port == base + 4
    assert set(pids(stack)) == {"cache", "objects"}


def test_another_port_can_be_asked_for_later(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["cache"])
    base = free_run(5)
    assert set(stack.up(stores=["cache"], port=base).started) == {"cache"}
    cache = stack.topology().cache
    assert cache
    assert cache.port == base + 3
    assert len(left_in(place)) == 1


def test_a_remembered_port_that_is_taken_is_replaced(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["cache"])
    cache = stack.topology().cache
    assert cache
    stack.down()
    with taken(cache.port):
        stack.up(stores=["cache"])
        assert stack.topology().cache != cache
        assert set(pids(stack)) == {"cache"}


@pytest.mark.parametrize("store", short(["postgres", "cache", "objects", "graph"], "objects"))
def test_a_port_lost_during_the_start_is_replaced(place: Path, store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(place)
    stack.up(stores=[store])
    lost = remembered_ports(place)[store]
    stack.down()
    # The look before the start finds the port free: another program takes it just then.
    monkeypatch.setattr(start, "ports", SimpleNamespace(become_free=lambda _: True))
    with taken(lost):
        stack.up(stores=[store])
        assert set(pids(stack)) == {store}
    assert remembered_ports(place)[store] != lost


def remembered_ports(folder: Path) -> dict[str, int]:
    body: dict[str, dict[str, int]] = json.loads((folder / ".kos" / "stack.json").read_text())
    return body["ports"]


def taken(port: int) -> socket.socket:
    """Another program that listens on `port`."""
    return socket.create_server((ports.LOOPBACK, port))


def free_run(length: int) -> int:
    while True:
        base = ports.choose(())
        if all(ports.is_free(base + offset) for offset in range(length)):
            return base


# what a start would do


def test_a_plan_says_what_up_would_do_and_does_nothing(place: Path) -> None:
    stack = Stack(place)
    kinds = ["postgres", "graph", "cache", "objects"]
    assert told(stack) == ([], [(kind, "make its data, and start it") for kind in kinds])
    assert list(place.iterdir()) == []
    stack.up(stores=["cache", "objects"])
    stack.kill_store("objects")
    before = files(place)
    new = [(kind, "make its data, and start it") for kind in ("postgres", "graph")]
    assert told(stack) == (["cache"], [*new, ("objects", "start it")])
    assert files(place) == before
    assert set(pids(stack)) == {"cache"}


def test_a_plan_tells_of_a_server_that_does_not_serve(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(start, "ADOPT_SECONDS", 0.5)
    stack = Stack(place)
    stack.up(stores=["cache"])
    frozen = stack.processes()["cache"]
    frozen.suspend()
    _, changes = told(stack)
    assert ("cache", f"stop what does not serve (process {frozen.pid})") in changes
    assert ("cache", "start it") in changes


def test_a_plan_is_refused_as_a_start_is(place: Path) -> None:
    base = free_run(5)
    with taken(base + 3), pytest.raises(PortInUse):
        Stack(place).plan(port=base)
    with pytest.raises(DiskFull):
        Stack(place, free_mb=lambda _: 100).plan()
    assert list(place.iterdir()) == []


def told(stack: Stack) -> tuple[list[str], list[tuple[str, str]]]:
    planned = stack.plan()
    return planned.adopted, [(each.store, each.what) for each in planned.changes]


def files(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.suffix in {".json", ".conf"}}
