"""What a stack remembers: its marker `.kos/stack.json`, its secrets, and the lock of those who change it."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from kos.errors import StackBusy, StateDamaged
from kos.topology import config, trust

FORMAT = 1
MARKER = "stack.json"
SECRETS = "secrets.json"
LOCK = "lock"
FOR_PSQL = "pgpass"  # passwords once more, as psql reads them
BELONGS = "belongs-to"  # in a home outside: the `.kos` whose data these are
POLL_SECONDS = 0.05

# Role passwords are the same on every shard: the roles are the same.
_SECRET_NAMES = (
    "postgres",
    "kos_installer",
    "kos_app",
    "kos_operator",
    "graph",
    "cache",
    "access_key",
    "secret_key",
)


@dataclass(frozen=True)
class Marker:
    """What makes a `.kos` folder ours.

    `home` holds the servers' data (the `.kos` folder itself, or a folder elsewhere when the servers' account
    can't reach that). `ports` are by name of store; `base` is the first port if the user asked for one.
    """

    stack: str
    folder: Path
    created: str
    home: Path
    shards: int
    base: int | None
    ports: Mapping[str, int]

    @property
    def elsewhere(self) -> bool:
        """Whether the data lie outside the `.kos` folder."""
        return self.home != self.folder


def new_marker(folder: Path) -> Marker:
    """The marker of a stack that is about to be made in `folder` (a `.kos`)."""
    return Marker(str(uuid4()), folder, datetime.now(UTC).isoformat(), folder, 1, None, {})


def is_stack(folder: Path) -> bool:
    """Whether `folder` (a `.kos`) is a stack's.

    Raises:
        ConfigUntrusted: somebody else may have made it, and KOS_CONFIG does not say `embedded`.
    """
    marker = folder / MARKER
    if not os.path.isfile(marker):  # false where we may not look
        return False
    if os.environ.get(config.VARIABLE) != config.EMBEDDED:
        for each in (folder, marker):
            trust.require_own(each, config.EMBEDDED)
    return True


def read_marker(folder: Path) -> Marker | None:
    """The marker in `folder` (a `.kos`), or None if there is none.

    A folder that was moved is followed.

    Raises:
        StateDamaged: it can't be read, or it is the copy of another stack's.
    """
    path = folder / MARKER
    found = _read(path)
    if found is None:
        return None
    if found.folder == folder:
        return found
    for other in {found.folder, _last_user(found)} - {folder}:
        if lives_in(other, found.stack):
            # Acting on a copy would act on the servers of the original: both carry the same id.
            raise StateDamaged(path, f"it is a copy of the stack in {other.parent}")
    home = found.home if found.elsewhere else folder
    return Marker(found.stack, folder, found.created, home, found.shards, found.base, found.ports)


def lives_in(folder: Path, stack: str) -> bool:
    """Whether the stack of this id lives in `folder` (a `.kos`), and was not copied there."""
    with suppress(StateDamaged):
        found = _read(folder / MARKER)
        return found is not None and found.stack == stack and found.folder == folder
    return False


def _last_user(marker: Marker) -> Path:
    """The `.kos` that used the stack's home last; copies share one that lies outside."""
    if not marker.elsewhere:
        return marker.folder
    try:
        return Path((marker.home / BELONGS).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return marker.folder


def claim_home(marker: Marker) -> None:
    """Note in a home outside whose data it holds."""
    if marker.elsewhere and _last_user(marker) != marker.folder:
        write_whole(marker.home / BELONGS, str(marker.folder))


def _read(path: Path) -> Marker | None:
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StateDamaged(path, str(error)) from None
    try:
        body = json.loads(text)
        if body["format"] != FORMAT:
            raise StateDamaged(path, f"its format is {body['format']!r}; this kos reads {FORMAT}")
        ports = {str(name): int(port) for name, port in body["ports"].items()}
        base = None if body["base"] is None else int(body["base"])
        folder, home = Path(body["folder"]), Path(body["home"])
        return Marker(str(body["stack"]), folder, str(body["created"]), home, int(body["shards"]), base, ports)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StateDamaged(path, f"{type(error).__name__}: {error}") from None


def write_marker(marker: Marker) -> None:
    """Store a marker; afterwards either the old one or the new one is there, whole, whatever happens."""
    body = {
        "format": FORMAT,
        "stack": marker.stack,
        "folder": str(marker.folder),
        "created": marker.created,
        "home": str(marker.home),
        "shards": marker.shards,
        "base": marker.base,
        "ports": dict(marker.ports),
    }
    write_whole(marker.folder / MARKER, json.dumps(body, indent=2) + "\n")


def read_secrets(folder: Path) -> dict[str, str]:
    """The stack's passwords by name.

    Raises:
        StateDamaged: the file is missing, or can't be read.
    """
    path = folder / SECRETS
    try:
        body: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {name: str(body[name]) for name in _SECRET_NAMES}
    except (OSError, ValueError, TypeError) as error:
        raise StateDamaged(path, type(error).__name__) from None  # never the text: it holds secrets
    except KeyError as error:
        raise StateDamaged(path, f"{error} is missing") from None


def ensure_secrets(folder: Path, *, has_data: bool) -> None:
    """Generate the stack's passwords, unless it has them.

    Raises:
        StateDamaged: it has data, and their passwords are gone.
    """
    path = folder / SECRETS
    if not path.exists():
        if has_data:
            raise StateDamaged(path, "it is missing, and the data can't be opened without it")
        passwords = {name: secrets.token_urlsafe(24) for name in _SECRET_NAMES}
        write_whole(path, json.dumps(passwords, indent=2) + "\n")


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step, readable by its owner only, and durable on return."""
    unfinished = path.with_name(path.name + ".new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def locked(folder: Path, *, patience: float) -> Iterator[None]:
    """Hold the lock of `folder` (a `.kos`), as everyone must who changes it. The system lifts it if we die.

    Raises:
        StackBusy: somebody else held it for `patience` seconds.
    """
    path = folder / LOCK
    deadline = time.monotonic() + patience
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            if _try_lock(descriptor) and _same_file(descriptor, path):
                yield
                return
        finally:
            os.close(descriptor)
        if time.monotonic() > deadline:
            raise StackBusy(folder.parent)
        time.sleep(POLL_SECONDS)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _same_file(descriptor: int, path: Path) -> bool:
    """Whether the file that we locked is still the one at `path`: `down --purge` deletes it."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(os.fstat(descriptor), there)
