"""The folder that an export is written to: whole and on disk, or not there."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from kos.errors import DiskFull, ExportRunning, ExportTargetExists, ExportTargetRefused
from kos.knowledge import TENANT_TABLES
from kos.knowledge.exchange.manifest import FILE

_OURS = {FILE, "objects", *(f"{table}.jsonl" for table in TENANT_TABLES)}
_FULL = {errno.ENOSPC, errno.EDQUOT}
_MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Written:
    """A file that was written: its lines, its size in bytes and its SHA-256."""

    lines: int
    bytes: int
    sha256: str


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """A folder to write to that becomes `target` at the end of the block, and disappears if the block fails.

    A killed command leaves `target` with `.partial` behind; the next one empties that and uses it.

    Raises:
        ExportTargetExists, ExportTargetRefused
        ExportRunning: another command is writing there.
        DiskFull: the disk has no room; nothing is left there.
    """
    refuse_existing(target)
    partial = target.with_name(target.name + ".partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        partial.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise ExportTargetRefused(target, error.strerror or str(error)) from error
    with _claimed(partial, target):
        _refuse_foreign(partial, target)
        try:
            _empty(partial)
            yield partial
            sync_folder(partial)
            refuse_existing(target)
            partial.rename(target)
            sync_folder(target.parent)
        except OSError as error:
            written = sum(path.lstat().st_size for path in partial.rglob("*"))
            shutil.rmtree(partial)
            if error.errno in _FULL:
                raise _full(target.parent, written) from error
            raise ExportTargetRefused(target, error.strerror or str(error)) from error
        except BaseException:
            shutil.rmtree(partial)
            raise


def refuse_existing(target: Path) -> None:
    """`ExportTargetExists` if something has that name already."""
    if os.path.lexists(target):
        raise ExportTargetExists(target)


def write(path: Path, pieces: Iterable[bytes]) -> Written:
    """Write a new file, and wait until it is on disk."""
    digest = hashlib.sha256()
    lines = size = 0
    with _create(path) as file:
        for piece in pieces:
            digest.update(piece)
            file.write(piece)
            lines, size = lines + piece.count(b"\n"), size + len(piece)
        file.flush()
        os.fsync(file.fileno())
    return Written(lines, size, digest.hexdigest())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's list of files is on disk."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _create(path: Path) -> BinaryIO:
    # A tenant's whole knowledge: for the eyes of whoever exported it.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=_MEGABYTE)


@contextmanager
def _claimed(partial: Path, target: Path) -> Iterator[None]:
    """The lock goes with the process, so a killed one leaves none."""
    try:
        handle = os.open(partial, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise ExportTargetRefused(target, f"{partial} is in the way ({error.strerror})") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ExportRunning(target) from error
        # Between opening and locking, its owner may have renamed or removed the folder.
        if not partial.exists() or not os.path.samestat(os.fstat(handle), partial.stat()):
            raise ExportRunning(target)
        yield
    finally:
        os.close(handle)


def _refuse_foreign(partial: Path, target: Path) -> None:
    """A folder of that name can be anybody's: what no export writes, no export takes away."""
    foreign = sorted({entry.name for entry in partial.iterdir()} - _OURS)
    if foreign:
        raise ExportTargetRefused(target, f"{partial} is in the way, it has {foreign[0]}")


def _empty(folder: Path) -> None:
    for entry in folder.iterdir():
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def _full(folder: Path, written: int) -> DiskFull:
    """More was needed than what is free now, which includes what was written and is removed again."""
    free = shutil.disk_usage(folder).free
    return DiskFull(folder, free // _MEGABYTE, max(free, written) // _MEGABYTE + 1)
