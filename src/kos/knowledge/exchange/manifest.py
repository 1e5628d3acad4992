"""What an export says of itself: `manifest.json`."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from kos.errors import ExportDamaged, ExportMissing, ExportUnsupported

FILE = "manifest.json"
FORMAT_VERSION = 1
_PIECE = 1 << 20

Count = Annotated[int, Field(ge=0)]
Text = Annotated[str, Field(pattern=r"^[^\x00]*$")]  # PostgreSQL has no other
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


def _each_once(columns: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(columns)) != len(columns):
        raise ValueError("a column stands there twice")
    return columns


class TableFile(_Facts):
    """One table's file: how much it holds, and its SHA-256."""

    rows: Count
    bytes: Count
    sha256: Digest
    columns: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_each_once)]


class Objects(_Facts):
    """The files under `objects/`, each named by its SHA-256."""

    count: Count
    bytes: Count


class Source(_Facts):
    """The tenant that was exported."""

    name: Text
    id: UUID
    tier: str
    service_plan: Text


class Manifest(_Facts):
    """The whole export. `tables` are in the order in which they can be imported."""

    format: Literal["kos-tenant-export"] = "kos-tenant-export"
    format_version: int = FORMAT_VERSION
    kos_version: str
    schema_version: Count
    created_at: datetime
    position: None = None  # kept for the one in the tenant's log
    tenant: Source
    tables: dict[str, TableFile]
    objects: Objects

    @property
    def rows(self) -> int:
        return sum(table.rows for table in self.tables.values())

    def text(self) -> str:
        """As it stands in the file."""
        return json.dumps(self.model_dump(mode="json"), indent=2, ensure_ascii=False) + "\n"


def read(folder: Path) -> Manifest:
    """The manifest of an export.

    Raises:
        ExportMissing: there is none.
        ExportUnsupported: a later version of kos wrote it.
        ExportDamaged: it is no manifest, or lacks something.
    """
    if not os.path.lexists(folder / FILE):
        raise ExportMissing(folder)
    text = b"".join(pieces(folder, FILE))
    try:
        facts = json.loads(text)
        version = facts["format_version"]
        if isinstance(version, int) and version > FORMAT_VERSION:
            raise ExportUnsupported(folder, f"its format is version {version}, known is {FORMAT_VERSION}")
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise ExportDamaged(folder, f"{FILE}: {where}: {first['msg']}") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportDamaged(folder, f"{FILE} is cut short or garbled") from error


def pieces(folder: Path, name: str) -> Iterator[bytes]:
    """One file of an export, in pieces; `ExportDamaged` if it can't be read."""
    path = folder / name
    try:
        # Reading from a pipe or a device might never end.
        if path.exists() and not path.is_dir() and not path.is_file():
            raise ExportDamaged(folder, f"{name} is no file")
        with path.open("rb") as file:
            while piece := file.read(_PIECE):
                yield piece
    except OSError as error:
        raise ExportDamaged(folder, f"{name} can't be read: {error.strerror}") from error
