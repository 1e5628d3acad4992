"""Where a stack keeps its files: in `.kos`, or in /var/lib/kos if the servers' account can't reach that."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from kos.errors import DiskFull
from kos.topology.embedded.account import Account
from kos.topology.embedded.state import BELONGS, FOR_PSQL, LOCK, MARKER, SECRETS
from kos.topology.embedded.wheels import Programs

OUTSIDE = Path("/var/lib/kos")
NEEDED_MB = {"postgres": 300, "graph": 60, "cache": 10, "objects": 10}

FreeSpace = Callable[[Path], int]


def free_mb(path: Path) -> int:
    """Megabytes that ordinary accounts may still write on the file system of `path`."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize // 2**20


def check_space(path: Path, kinds: Iterable[str], free: FreeSpace) -> None:
    """Refuse to begin what the disk has no room for.

    Raises:
        DiskFull: less is free than new stores of these kinds need.
    """
    needed = sum(NEEDED_MB[kind] for kind in kinds)
    if needed and (found := free(path)) < needed:
        raise DiskFull(path, found, needed)


def choose(kos: Path, stack: str, account: Account) -> Path:
    """The folder for the data of a new stack: `kos` itself if the account can get there."""
    if not account.switched:
        return kos
    os.chown(kos, -1, account.gid)
    kos.chmod(0o710)  # the account may go through to its data, and nobody may look around
    if account.passes(kos):
        return kos
    kos.chmod(0o700)
    outside = OUTSIDE / stack
    OUTSIDE.mkdir(parents=True, exist_ok=True)
    OUTSIDE.chmod(0o755)  # set, not asked for: a careful umask would lock the account out
    outside.mkdir(mode=0o700)
    (outside / BELONGS).write_text(str(kos), encoding="utf-8")
    os.chown(outside, -1, account.gid)
    outside.chmod(0o710)
    return outside


def make_folders(kos: Path, home: Path, account: Account) -> None:
    """The folders that all stores share."""
    (kos / "log").mkdir(mode=0o700, exist_ok=True)
    for name in ("data", "conf"):
        (home / name).mkdir(mode=0o700, exist_ok=True)
        account.own(home / name)


def reachable(programs: Programs, kind: str, home: Path, account: Account) -> Programs:
    """The same programs where the account can run them: copied to `home` if the wheel is out of reach."""
    if account.reaches(programs.needed()):
        return programs
    (home / "programs").mkdir(exist_ok=True)
    (home / "programs").chmod(0o755)
    return programs.copied_to(home / "programs" / f"{kind}-{programs.version}")


def outside_homes(kos: Path) -> list[Path]:
    """The homes outside that belong to `kos`; found without its marker, which may be damaged or gone."""
    return [note.parent for note in OUTSIDE.glob(f"*/{BELONGS}") if note.read_text(encoding="utf-8") == str(kos)]


def delete(kos: Path) -> None:
    """Delete what a stack made, and nothing else. No server of it may run."""
    for folder in (*outside_homes(kos), kos / "data", kos / "conf", kos / "log", kos / "programs"):
        if folder.is_symlink():  # somebody keeps it elsewhere: what is in it is ours, the folder is his
            _empty(folder)
            folder.unlink()
        elif folder.exists():
            shutil.rmtree(folder)
    for name in (MARKER, SECRETS, FOR_PSQL):
        (kos / name).unlink(missing_ok=True)
        (kos / f"{name}.new").unlink(missing_ok=True)
    (kos / LOCK).unlink(missing_ok=True)
    if kos.exists() and not kos.is_symlink() and not any(kos.iterdir()):
        kos.rmdir()


def _empty(folder: Path) -> None:
    for inside in folder.iterdir():
        if inside.is_dir() and not inside.is_symlink():
            shutil.rmtree(inside)
        else:
            inside.unlink()
