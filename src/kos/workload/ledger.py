"""The ledger of a run: what was attempted, and what became of it.

One JSON object per line, appended with a single write. The intent is written before the transaction begins and the
outcome after its commit was acknowledged, so whatever is in the database has its intent here. A process that is killed
can cut the last line only; a record that is cut anywhere else means that somebody else damaged the file.

Records: `run` (the first), `intent`, `acknowledged`, `failed`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self
from uuid import UUID

from kos.errors import LedgerBusy, LedgerDamaged, LedgerExists, LedgerMissing, LedgerUnwritable

FORMAT = 1
MOST_ITEMS = 64  # more than any attempt leaves; who verifies keeps a bit for each
FOLDER = Path(".kos") / "workload"
SUFFIX = ".ledger"


@dataclass(frozen=True)
class Run:
    """The first record of a ledger. `tenants` are names; `seed` is what the clients' choices follow from."""

    id: str
    tenants: tuple[str, ...]
    clients: int
    seed: int

    @property
    def prefix(self) -> str:
        """How every tag of this run begins."""
        return f"workload:{self.id}:"

    def counter_tag(self, client: int) -> str:
        """The tag of one client's counter, the same in every tenant."""
        return f"{self.prefix}counter:{client}"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One transaction that is about to be tried. It will leave `items` traces, numbered from 0."""

    id: str
    tenant: str
    client: int
    does: str
    items: int

    def tag(self, run: Run, item: int) -> str:
        """What the database keeps of one of the traces."""
        return f"{run.prefix}{self.id}:{item}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an attempt. `known` is false if a failed one may have happened all the same."""

    attempt: str
    acknowledged: bool
    known: bool
    reason: str = ""


def new_id(milliseconds: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> str:
    """A UUID of version 7."""
    random = secrets.randbits(74)
    high = (milliseconds() & (1 << 48) - 1) << 16 | 0x7 << 12 | random >> 62
    return str(UUID(int=high << 64 | 0b10 << 62 | random & (1 << 62) - 1))


class Ledger:
    """A ledger that is being written, by any number of threads. Close it, or use it as a context manager."""

    def __init__(self, path: Path, run: Run) -> None:
        """
        Raises:
            LedgerExists: a file is there already.
            LedgerUnwritable: it can't be made.
        """
        self.path = path
        self.run = run
        self._lock = threading.Lock()
        if os.path.lexists(path):
            raise LedgerExists(path)
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        except OSError as error:
            raise LedgerUnwritable(path, str(error)) from error
        # Who verifies meanwhile would miss what is under way. The system lifts the lock if we die.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._append({"record": "run", "format": FORMAT, **asdict(run)})

    def intend(self, attempt: Attempt) -> None:
        """Before the transaction."""
        self._append({"record": "intent", **asdict(attempt)})

    def acknowledge(self, attempt: Attempt) -> None:
        """After its commit."""
        self._append({"record": "acknowledged", "attempt": attempt.id})

    def fail(self, attempt: Attempt, *, known: bool, reason: str) -> None:
        """It was not acknowledged; `known` says that it certainly did not happen."""
        self._append({"record": "failed", "attempt": attempt.id, "known": known, "reason": reason})

    def close(self) -> None:
        """Nothing more will be written."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _append(self, record: dict[str, Any]) -> None:
        data = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        # The lock is for full disks alone: nobody may write behind a record that was cut.
        with self._lock:
            if self._file < 0:
                raise LedgerUnwritable(self.path, "it is closed")
            try:
                written = os.write(self._file, data)
                reason = "" if written == len(data) else "the disk is full"
            except OSError as error:
                reason = str(error)
            if reason:
                os.close(self._file)
                self._file = -1
                raise LedgerUnwritable(self.path, reason)


def folder_of(start: Path) -> Path:
    """Where the ledgers of a stack lie."""
    return start / FOLDER


def newest(folder: Path) -> Path:
    """The ledger of the last run: ids begin with the time.

    Raises:
        LedgerMissing: there is none.
    """
    found = sorted(folder.glob(f"*{SUFFIX}"))
    if not found:
        raise LedgerMissing(folder / f"*{SUFFIX}")
    return found[-1]


@contextmanager
def settled(path: Path) -> Iterator[None]:
    """Hold a ledger that nobody writes any more.

    Raises:
        LedgerMissing
        LedgerBusy: its run goes on.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError as error:
        raise LedgerMissing(path) from error
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LedgerBusy(path) from error
    finally:
        os.close(file)


def read(path: Path) -> Iterator[Run | Attempt | Outcome]:
    """The records of a ledger, the run first. A last line that was cut is left out.

    Raises:
        LedgerMissing
        LedgerDamaged: with the line.
    """
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, start=1):
                if not line.endswith(b"\n") and number > 1:
                    return
                yield _parsed(path, number, line)
    except OSError as error:
        raise LedgerMissing(path) from error


def _parsed(path: Path, number: int, line: bytes) -> Run | Attempt | Outcome:
    try:
        record = json.loads(line)
        kind = record.pop("record")
        if (kind == "run") != (number == 1):
            raise ValueError("a ledger begins with its one run")
        match kind:
            case "run":
                return _run(record)
            case "intent":
                return _attempt(record)
            case "acknowledged":
                return Outcome(_text(record["attempt"]), acknowledged=True, known=True)
            case "failed":
                known = record["known"]
                if not isinstance(known, bool):
                    raise TypeError("known is true or false")
                return Outcome(_text(record["attempt"]), acknowledged=False, known=known, reason=str(record["reason"]))
        raise ValueError(f"there is no record {kind!r}")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LedgerDamaged(path, number, f"{type(error).__name__}: {error}") from error


def _run(record: dict[str, Any]) -> Run:
    if record["format"] != FORMAT:
        raise ValueError(f"its format is {record['format']!r}; this kos reads {FORMAT}")
    names = tuple(_text(name) for name in record["tenants"])
    return Run(_text(record["id"]), names, int(record["clients"]), int(record["seed"]))


def _attempt(record: dict[str, Any]) -> Attempt:
    number, items = int(record["client"]), int(record["items"])
    if not 0 < items <= MOST_ITEMS:
        raise ValueError(f"no attempt leaves {items} traces")
    return Attempt(_text(record["id"]), _text(record["tenant"]), number, _text(record["does"]), items)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value
