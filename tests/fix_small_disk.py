"""A disk of a few megabytes for the shared PostgreSQL, which can be made full, and have room again."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from fix_shop import SHOP, Shop
from kos.topology.embedded import account

NAME = "small_disk"
MEGABYTES = 16
# A disk of its own needs rights that a namespace gives. The server reaches it as what this process sees.
PROGRAM = """
mount -t tmpfs -o size=$2m tmpfs "$1" && mkdir "$1/data" && echo made || exit 1
while read -r what kilobytes; do
  case $what in
    full) cat /dev/zero >"$1/ballast" 2>/dev/null; truncate -s "-${kilobytes}K" "$1/ballast" ;;
    room) rm "$1/ballast" ;;
  esac
  echo "$what"
done
"""


class SmallDisk:
    """A disk, mounted as the server's account, as long as the process lives."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="kos-disk-"))
        as_whom = account.choose()
        as_whom.own(self.folder)
        command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", PROGRAM, "sh", str(self.folder)]
        self._process = subprocess.Popen(  # type: ignore[call-overload]
            [*command, str(MEGABYTES)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            cwd="/",
            **as_whom.popen,
        )
        self.is_there = self._process.stdout.readline() == "made\n"
        self.data = f"/proc/{self._process.pid}/root{self.folder}/data"

    def fill_up(self, leave_kilobytes: int) -> None:
        """Nothing more than this goes on it."""
        self._tell(f"full {leave_kilobytes}")

    def make_room(self) -> None:
        """What filled it is gone."""
        self._tell("room 0")

    def close(self) -> None:
        """With what is on it."""
        self._process.communicate()
        shutil.rmtree(self.folder)

    def _tell(self, what: str) -> None:
        self._process.stdin.write(f"{what}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline().split() == what.split()[:1]


@pytest.fixture
def small_disk(shop: Shop) -> Iterator[SmallDisk]:
    """On which the tables and indexes are that are made in the shop's database from now on."""
    disk = SmallDisk()
    if not disk.is_there:
        disk.close()
        pytest.skip("no small disk can be made here: unshare or mount is refused")
    database = shop.topology.control.primary.database
    try:
        shop.superuser.execute(f"create tablespace {NAME} location '{disk.data}'".encode())
        shop.superuser.execute(f"grant create on tablespace {NAME} to public".encode())
        shop.superuser.execute(f"alter database {database} set default_tablespace = {NAME}".encode())
        shop.owner.execute(f"set default_tablespace = {NAME}".encode())
        yield disk
    finally:
        shop.owner.execute(b"reset default_tablespace")
        shop.superuser.execute(f"alter database {database} reset default_tablespace".encode())
        shop.drop(SHOP)
        _drop_tablespace(shop.superuser)
        disk.close()


def _drop_tablespace(superuser: psycopg.Connection[tuple[object, ...]]) -> None:
    superuser.execute(f"drop tablespace if exists {NAME}".encode())
