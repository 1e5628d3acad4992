"""Whom the servers run as.

Ordinary users run them as themselves. PostgreSQL refuses root, so root runs all of them as an account without
rights.
"""

from __future__ import annotations

import ctypes
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from kos.errors import NoAccount

SETTING = "KOS_SERVER_ACCOUNT"
MADE = "kos"
LAST_RESORT = "nobody"


@dataclass(frozen=True)
class Account:
    """The account that servers run as; `switched` where it is not the one that runs kos."""

    name: str
    uid: int
    gid: int
    switched: bool

    @property
    def popen(self) -> dict[str, object]:
        """What `subprocess` needs to start a program as this account."""
        if not self.switched:
            return {}
        return {"user": self.uid, "group": self.gid, "extra_groups": ()}

    def own(self, path: Path) -> None:
        """Give `path` to the account."""
        if self.switched:
            os.chown(path, self.uid, self.gid)

    def reaches(self, paths: Iterable[Path]) -> bool:
        """Whether the account can read all of `paths`, and enter those that are folders.

        Asks the system as that account: modes, access lists and mount options all count.
        """
        if not self.switched:
            return True
        question = 'for path; do test -r "$path" || exit 1; test ! -d "$path" || test -x "$path" || exit 1; done'
        return self._asks(question, paths)

    def passes(self, folder: Path) -> bool:
        """Whether the account can go through `folder` to something inside it."""
        return not self.switched or self._asks('test -x "$1"', [folder])

    def _asks(self, question: str, paths: Iterable[Path]) -> bool:
        command = ["/bin/sh", "-c", question, "sh", *map(str, paths)]
        answer = subprocess.run(command, cwd="/", check=False, capture_output=True, **self.popen)  # type: ignore[call-overload]
        return bool(answer.returncode == 0)


@contextmanager
def seeing_as_owner(process: psutil.Process) -> Iterator[None]:
    """Have root look at a process with the eyes of the account that runs it.

    Root in a container usually has no CAP_SYS_PTRACE, and then may not read the environment, folder and ports of
    other accounts' processes: it would neither find the servers that it started nor stop them. Counts for this
    thread only, as Linux does it; Python's own seteuid would change every thread.
    """
    if os.geteuid() != 0:
        yield
        return
    uid, gid = process.uids().effective, process.gids().effective
    system = ctypes.CDLL(None)
    system.setfsgid(gid)
    system.setfsuid(uid)
    try:
        yield
    finally:
        system.setfsuid(0)
        system.setfsgid(os.getegid())


def owner_of(path: Path) -> Account | None:
    """The account that owns `path`, if it can run servers: they go on as the one that their data belong to."""
    if not path.exists():
        return None
    found = path.stat()
    if found.st_uid == 0:  # made, and not given away yet: a first start was killed just then
        return None
    return Account(name_of(found.st_uid), found.st_uid, found.st_gid, switched=found.st_uid != os.geteuid())


def myself() -> Account:
    """The account that runs kos."""
    return Account(name_of(os.geteuid()), os.geteuid(), os.getegid(), switched=False)


def choose(environment: Mapping[str, str] = os.environ) -> Account:
    """The account to run servers as.

    Raises:
        NoAccount: kos runs as root, and there is no other account to use.
    """
    if os.geteuid() != 0:
        return myself()
    if wanted := environment.get(SETTING):
        found = _look_up(wanted)
        if found is None:
            raise NoAccount(f"{SETTING} names {wanted!r}, which does not exist")
        return found
    found = _look_up(MADE) or _make() or _look_up(LAST_RESORT)
    if found is None:
        raise NoAccount(f"useradd is missing or failed, and there is no account {LAST_RESORT!r}")
    return found


def _make() -> Account | None:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        return None
    shell = "/usr/sbin/nologin"
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent", "--shell", shell]
    # Two first starts at once both try; the one that comes second fails and finds the account made.
    subprocess.run([program, *options, MADE], check=False, capture_output=True)
    return _look_up(MADE)


def _look_up(name: str) -> Account | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    if entry.pw_uid == 0:
        raise NoAccount(f"{name!r} is root itself")
    return Account(name, entry.pw_uid, entry.pw_gid, switched=True)


def name_of(uid: int) -> str:
    """The name of an account, or its number."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container may run us under a number without a name
        return str(uid)
