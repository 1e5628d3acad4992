"""Is an export whole and unchanged? Asked before anything is imported."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from kos.errors import ExportDamaged, ExportUnsupported
from kos.knowledge import TENANT_TABLES
from kos.knowledge.exchange.folder import Written
from kos.knowledge.exchange.manifest import Manifest, TableFile, pieces, read
from kos.progress import Advance, silent


@dataclass(frozen=True)
class Verified:
    """An export that is what its manifest says; `objects` maps the SHA-256 of each object to its size in bytes."""

    folder: Path
    manifest: Manifest
    objects: dict[str, int]


def verify(folder: Path, progress: Advance = silent) -> Verified:
    """Read all of an export and compare it with its manifest.

    Raises:
        ExportMissing, ExportUnsupported
        ExportDamaged: a file is gone, cut short or changed, or a document's object is not there.
    """
    manifest = read(folder)
    unknown = sorted(set(manifest.tables) - set(TENANT_TABLES))
    if unknown:
        raise ExportUnsupported(folder, f"it has tables that are not known: {', '.join(unknown)}")
    total = sum(facts.bytes for facts in manifest.tables.values()) + manifest.objects.bytes
    done = 0
    for table, facts in manifest.tables.items():
        _verify_file(folder, f"{table}.jsonl", facts)
        done += facts.bytes
        progress("bytes verified", done, total)
    objects = _object_files(folder)
    for name, size in objects.items():
        if _measure(folder, f"objects/{name}").sha256 != name:
            raise ExportDamaged(folder, f"objects/{name} has other content now")
        done += size
        progress("bytes verified", done, total)
    _verify_references(folder, manifest, objects)
    return Verified(folder, manifest, objects)


def _verify_file(folder: Path, name: str, facts: TableFile) -> None:
    found = _measure(folder, name)
    if found.bytes != facts.bytes:
        raise ExportDamaged(folder, f"{name} has {found.bytes} bytes, {facts.bytes} were written")
    if found.sha256 != facts.sha256 or found.lines != facts.rows:
        raise ExportDamaged(folder, f"{name} has other content now")


def _verify_references(folder: Path, manifest: Manifest, objects: dict[str, int]) -> None:
    """Every document's object is there, and nothing else is."""
    referred = set(_references(folder)) if "documents" in manifest.tables else set()
    missing = sorted(referred - objects.keys())
    if missing:
        raise ExportDamaged(folder, f"objects/{missing[0]} is missing")
    if len(objects) > len(referred) or len(objects) != manifest.objects.count:
        raise ExportDamaged(folder, f"objects/ has {len(objects)} files, {manifest.objects.count} were written")


def _references(folder: Path) -> Iterator[str]:
    try:
        with (folder / "documents.jsonl").open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                yield str(json.loads(line)["content_sha256"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ExportDamaged(folder, "documents.jsonl has a line that is no document") from error


def _object_files(folder: Path) -> dict[str, int]:
    """The files under `objects/`, sorted by name, with their sizes."""
    try:
        with os.scandir(folder / "objects") as entries:
            return {entry.name: entry.stat().st_size for entry in sorted(entries, key=lambda entry: entry.name)}
    except OSError as error:
        raise ExportDamaged(folder, f"objects/ can't be read: {error.strerror}") from error


def _measure(folder: Path, name: str) -> Written:
    digest = hashlib.sha256()
    lines = size = 0
    for piece in pieces(folder, name):
        digest.update(piece)
        lines, size = lines + piece.count(b"\n"), size + len(piece)
    return Written(lines, size, digest.hexdigest())
