"""What a dataset is: rows for tenants' tables, read from the files of an installed Python package.

Invariants: reading the same files gives the same rows in the same order, with the same ids and times. So loading
twice changes nothing, and a load that was killed is finished by loading again.
"""

from __future__ import annotations

import base64
import hashlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackagePath
from pathlib import Path
from typing import Any

from kos.errors import DatasetDamaged, DatasetMissing

# Every row of a sample was made at this moment, and its id says so. Another moment would make all rows other rows.
_MADE = datetime(2025, 1, 1, tzinfo=UTC)
MADE = _MADE.isoformat()
_MADE_DIGITS = f"{int(_MADE.timestamp() * 1000):012x}"

Row = Sequence[Any]


@dataclass(frozen=True)
class Rows:
    """Rows of one table. `read` may be called again, and gives the same rows."""

    table: str
    columns: tuple[str, ...]
    count: int
    read: Callable[[], Iterator[Row]]

    @property
    def key(self) -> tuple[str, ...]:
        """What tells its rows apart: the id, or all columns where a row only connects others."""
        return ("id",) if "id" in self.columns else self.columns

    def keys(self) -> Iterator[Row]:
        """The keys of all rows, in the order of the rows."""
        positions = [self.columns.index(name) for name in self.key]
        for row in self.read():
            yield tuple(row[position] for position in positions)


@dataclass(frozen=True)
class Content:
    """All of a dataset, verified: its tables with referenced ones first, and the objects that its documents name.

    `edition` is a digest of what it was read from: the same edition has the same rows.
    """

    tables: tuple[Rows, ...]
    edition: str
    objects: tuple[bytes, ...] = ()

    @property
    def rows(self) -> int:
        return sum(rows.count for rows in self.tables)


@dataclass(frozen=True)
class Dataset:
    """A dataset that can be loaded. `read` takes the folder of installed packages; None is Python's own path."""

    name: str
    about: str
    package: str
    has_objects: bool
    read: Callable[[Path | None], Content]


# Between these lie all ids of samples, and no others: nobody else makes rows of that moment.
FIRST_ID = f"{_MADE_DIGITS[:8]}-{_MADE_DIGITS[8:]}-7000-8000-000000000000"
LAST_ID = f"{_MADE_DIGITS[:8]}-{_MADE_DIGITS[8:]}-7fff-8fff-ffffffffffff"


def sample_id(*key: str) -> str:
    """The id of whatever `key` names: a UUID of version 7 in form, made of a fixed time and a hash of the key."""
    digits = hashlib.blake2b("\x00".join(key).encode(), digest_size=10).hexdigest()
    return f"{_MADE_DIGITS[:8]}-{_MADE_DIGITS[8:]}-7{digits[:3]}-8{digits[3:6]}-{digits[6:18]}"


def find_distribution(dataset: str, package: str, site: Path | None) -> Distribution:
    """The installed package; `DatasetMissing` if there is none."""
    for distribution in distributions(site, package):
        return distribution
    raise DatasetMissing(dataset, package)


def distributions(site: Path | None, name: str | None = None) -> Iterator[Distribution]:
    """The packages that are installed in `site` (None: on Python's own path), in the order in which Python looks."""
    path = sys.path if site is None else [str(site)]
    return iter(Distribution.discover(name=name, path=path))


def read_file(dataset: str, distribution: Distribution, name: str) -> bytes:
    """One file of an installed package, as long as it is what was installed.

    `name` is how the file's path in the package ends. A package that was installed without digests (by some Linux
    distributions) can't be compared.

    Raises:
        DatasetDamaged: the file is gone, or differs from the digest that was recorded when it was installed.
    """
    path = next((path for path in distribution.files or () if str(path).endswith(name)), None)
    if path is None:
        raise DatasetDamaged(dataset, f"{distribution.name} has no file {name}")
    try:
        data = Path(path.locate()).read_bytes()
    except OSError as error:
        raise DatasetDamaged(dataset, f"{name} can't be read: {error.strerror}") from error
    if path.hash is not None and _digest(path, data) != path.hash.value:
        raise DatasetDamaged(dataset, f"{name} is not what was installed ({len(data)} bytes, {path.size} expected)")
    return data


def _digest(path: PackagePath, data: bytes) -> str:
    assert path.hash is not None
    return base64.urlsafe_b64encode(hashlib.new(path.hash.mode, data).digest()).rstrip(b"=").decode()
