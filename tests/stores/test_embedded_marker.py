"""What a stack remembers: damaged, copied, moved, deleted under its servers, and held by another command."""

from __future__ import annotations

import fcntl
import json
import shutil
import subprocess
from pathlib import Path

import psutil
import pytest

from fix_stack import connect, left_in, pids
from kos.errors import StackBusy, StackNotRunning, StateDamaged
from kos.topology.embedded import Stack, census

pytestmark = pytest.mark.long

GOOD = {"format": 1, "stack": "x", "folder": "/f", "home": "/f", "created": "", "shards": 1, "base": None, "ports": {}}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "JSON"),
        ('{"format": 1, "stack"', "JSON"),
        ("[]", "TypeError"),
        ("null", "TypeError"),
        (json.dumps({**GOOD, "format": 2}), "its format is 2"),
        (json.dumps({name: value for name, value in GOOD.items() if name != "ports"}), "ports"),
        (json.dumps({**GOOD, "ports": {"cache": "many"}}), "ValueError"),
        (json.dumps({**GOOD, "ports": []}), "AttributeError"),
    ],
)
def test_a_damaged_marker_is_named(place: Path, text: str, reason: str) -> None:
    kos = place / ".kos"
    kos.mkdir()
    (kos / "stack.json").write_text(text)
    for act in (Stack(place).up, Stack(place).topology, Stack(place).processes, Stack(place).down):
        with pytest.raises(StateDamaged, match=reason) as failure:
            act()
        assert failure.value.path == kos / "stack.json"
    assert (kos / "stack.json").read_text() == text, "nothing was written over it"


def test_a_damaged_marker_does_not_keep_the_servers_running(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["cache"])
    (place / ".kos" / "stack.json").write_text("{")
    with pytest.raises(StateDamaged):
        stack.down()
    assert left_in(place) == []
    stack.down(purge=True)
    assert list(place.iterdir()) == []
    stack.up(stores=["cache"])


def test_lost_passwords_are_noticed_before_a_start(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["postgres"])
    stack.down()
    (place / ".kos" / "secrets.json").unlink()
    with pytest.raises(StateDamaged, match="it is missing"):
        stack.up(stores=["postgres"])


def test_a_damaged_secrets_file_is_named_without_its_text(place: Path) -> None:
    stack = Stack(place)
    stack.up(stores=["cache"])
    (place / ".kos" / "secrets.json").write_text('{"cache": "hunter2"')
    with pytest.raises(StateDamaged) as failure:
        stack.topology()
    assert "hunter2" not in str(failure.value)


def test_a_copy_does_not_act_on_the_original(place: Path) -> None:
    original, copy = place / "original", place / "copy"
    original.mkdir(mode=0o711)
    Stack(original).up(stores=["cache"])
    shutil.copytree(original, copy)
    before = pids(Stack(original))
    with pytest.raises(StateDamaged, match="copy of the stack in"):
        Stack(copy).up(stores=["cache"])
    Stack(copy).down(purge=True)
    assert list(copy.iterdir()) == []
    assert pids(Stack(original)) == before
    Stack(original).down()


def test_copies_of_a_stack_that_is_gone_do_not_meet(place: Path) -> None:
    """Both carry its id: what runs for one must be neither stopped nor asked by the other."""
    original, one, other = place / "original", place / "one", place / "other"
    original.mkdir(mode=0o711)
    Stack(original).up(stores=["postgres", "cache"])
    Stack(original).down()
    for copy in (one, other):
        subprocess.run(["cp", "-a", original, copy], check=True)
    shutil.rmtree(original)
    Stack(one).up(stores=["postgres", "cache"])
    before = pids(Stack(one))
    assert not Stack(other).is_running()
    assert Stack(other).down() == []
    assert set(Stack(other).up(stores=["postgres", "cache"]).started) == {"postgres", "cache"}
    assert pids(Stack(one)) == before
    assert Stack(one).topology().control.primary.address != Stack(other).topology().control.primary.address
    assert {each.pid for each in Stack(one).down()} == set(before.values())
    Stack(other).down()
    assert left_in(place) == []


def test_a_stack_kept_elsewhere_by_links(place: Path) -> None:
    """A backend that outlives a crash is found by the folder it works in, which the system knows without links."""
    (place / "disk" / "data").mkdir(parents=True)
    (place / "here").mkdir(mode=0o711)
    (place / "disk").chmod(0o711)
    (place / "here" / ".kos").symlink_to(place / "disk")
    stack = Stack(place / "here")
    stack.up(stores=["postgres"])
    with connect(stack.topology()) as connection:
        row = connection.execute("select pg_backend_pid()").fetchone()
        assert row
        backend = psutil.Process(int(str(row[0])))
        backend.suspend()
        stack.kill_store("postgres")
        stack.start_store("postgres")
        assert not census.is_alive(backend)
    assert [each.store for each in stack.down(purge=True)] == ["postgres"]
    assert (place / "here" / ".kos").is_symlink()
    assert list((place / "disk").iterdir()) == []


def test_data_behind_a_link_are_purged_and_its_folder_stays(place: Path) -> None:
    disk = place / "disk"
    disk.mkdir(mode=0o711)
    (place / ".kos").mkdir()
    (place / ".kos" / "data").symlink_to(disk)
    stack = Stack(place)
    stack.up(stores=["cache"])
    stack.down(purge=True)
    assert list(place.iterdir()) == [disk]
    assert list(disk.iterdir()) == []


def test_a_stack_that_was_moved_is_followed(place: Path) -> None:
    old, new = place / "old", place / "new"
    old.mkdir(mode=0o711)
    Stack(old).up(stores=["postgres", "cache"])
    Stack(old).down()
    old.rename(new)
    stack = Stack(new)
    assert set(stack.up(stores=["postgres", "cache"]).started) == {"postgres", "cache"}
    stack.down()
    assert left_in(place) == []


def test_a_stack_that_was_moved_while_it_ran_is_stopped(place: Path) -> None:
    old, new = place / "old", place / "new"
    old.mkdir(mode=0o711)
    Stack(old).up(stores=["postgres", "cache"])
    old.rename(new)
    assert {each.store for each in Stack(new).down()} == {"postgres", "cache"}
    assert left_in(place) == []


def test_a_marker_that_was_deleted_under_its_servers(place: Path) -> None:
    Stack(place).up(stores=["postgres", "cache"])
    shutil.rmtree(place / ".kos")
    assert {each.store for each in Stack(place).down()} == {"postgres", "cache"}
    assert left_in(place) == []
    with pytest.raises(StackNotRunning):
        Stack(place).topology()


def test_a_new_stack_cleans_what_an_earlier_one_left(place: Path) -> None:
    Stack(place).up(stores=["cache"])
    (before,) = pids(Stack(place)).values()
    shutil.rmtree(place / ".kos")
    assert set(Stack(place).up(stores=["cache"]).started) == {"cache"}
    assert before not in [process.pid for process in left_in(place)]


def test_another_command_at_work(place: Path) -> None:
    stack = Stack(place, patience=0.2)
    stack.up(stores=["cache"])
    with (place / ".kos" / "lock").open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        for act in (stack.up, stack.down, lambda: stack.start_store("cache")):
            with pytest.raises(StackBusy) as caught:
                act()
            assert caught.value.retryable
        assert set(pids(stack)) == {"cache"}, "looking needs no lock"
    stack.down()
