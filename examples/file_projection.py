"""A projection of your own: every tenant's rows in a JSON file, which is always a whole moment of its log.

    [projections.files]
    use = "file_projection:FileProjection"
    options = { folder = "/var/lib/product/files", tables = ["atoms", "relations"] }

`kos worker` follows with it, and `kos projection status | verify | rebuild files` know it. What each method has to do
is said in `kos.projections.Projection`; the contract that all are held to is in `tests/contracts`.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

from kos.errors import ProjectionMoved
from kos.projections import (
    Change,
    Difference,
    Reached,
    Row,
    Standing,
    TableName,
    Wanted,
    Whose,
    key_text,
)

Content = dict[str, Any]  # position and rows of one generation


class FileProjection:
    """A folder per tenant: a file per generation, and `live`, which names the one that readers open."""

    def __init__(self, name: str, folder: str, tables: Sequence[str]) -> None:
        self.name = name
        self.wanted = tuple(Wanted(TableName.read(table)) for table in tables)
        self._folder = Path(folder)

    def prepare(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)

    def identity(self) -> str:
        file = self._folder / "identity"
        if not file.exists():
            _write(file, secrets.token_hex(16))
        return file.read_text()

    def asking(self) -> Sequence[Whose]:
        return ()

    def live(self, whose: Whose) -> Standing | None:
        file = self._of(whose.tenant) / "live"
        if not file.exists():
            return None
        generation = file.read_text()
        return Standing(generation, _reached(self._read(whose, generation)))

    def begin(self, whose: Whose, generation: str) -> Standing:
        self._of(whose.tenant).mkdir(exist_ok=True)
        before = self.live(whose)
        content = {"incarnation": 0, "position": 0, "leaf": "", "rows": {}, "before": before and before.generation}
        _write(self._file(whose, generation), json.dumps(content))
        return Standing(generation, Reached())

    def load(self, whose: Whose, standing: Standing, rows: Sequence[Row]) -> None:
        with self._changing(whose, standing.generation) as content:
            for row in rows:
                table = content["rows"].setdefault(row.table.name, {})
                table[key_text(row.key)] = {"at": standing.reached.position, "values": dict(row.values)}

    def apply(
        self, whose: Whose, standing: Standing, changes: Sequence[Change], reached: Reached, *, rehearse: bool = False
    ) -> Standing:
        with self._changing(whose, standing.generation, keep=not rehearse) as content:
            if _reached(content) != standing.reached or content.get("ended"):
                raise ProjectionMoved(self.name, str(whose.tenant))
            for change in changes:
                _apply(content["rows"].setdefault(change.table.name, {}), change)
            leaf = (reached.leaf or b"").hex()
            content.update(incarnation=reached.incarnation, position=reached.position, leaf=leaf)
        return Standing(standing.generation, reached)

    def switch(self, whose: Whose, standing: Standing) -> None:
        with self._changing(whose, standing.generation, keep=False) as content:
            before = self.live(whose)
            if (before and before.generation) not in (content["before"], standing.generation):
                raise ProjectionMoved(self.name, str(whose.tenant))
            _write(self._of(whose.tenant) / "live", standing.generation)
        if before is not None and before.generation != standing.generation:
            with self._changing(whose, before.generation) as content:
                content["ended"] = True

    def clear(self, whose: Whose) -> None:
        live = self.live(whose)
        for file in self._of(whose.tenant).glob("*.json"):
            if live is None or file.stem != live.generation:
                file.unlink()

    def tidy(self) -> None:
        """Nothing: who reads a file has it whole, whatever becomes of its name."""

    def forget(self, tenant: UUID) -> None:
        shutil.rmtree(self._of(tenant), ignore_errors=True)

    def compare(
        self, whose: Whose, standing: Standing, rows: Iterable[Row], log: object = None
    ) -> Iterator[Difference]:
        rows = list(rows)  # first of all
        found = {
            (table, key): row["values"]
            for table, known in self._read(whose, standing.generation)["rows"].items()
            for key, row in known.items()
        }
        for row in rows:
            place = row.table.name, key_text(row.key)
            values = found.pop(place, None)
            if values is None:
                yield Difference(*place, "missing", table=place[0])
            elif values != row.values:
                yield Difference(*place, "different", str(row.values), str(values), place[0])
        for place in found:
            yield Difference(*place, "left over", table=place[0])

    def close(self) -> None:
        """Nothing is kept open."""

    def _of(self, tenant: UUID) -> Path:
        return self._folder / str(tenant)

    def _file(self, whose: Whose, generation: str) -> Path:
        return self._of(whose.tenant) / f"{generation}.json"

    def _read(self, whose: Whose, generation: str) -> Content:
        content: Content = json.loads(self._file(whose, generation).read_text())
        return content

    @contextmanager
    def _changing(self, whose: Whose, generation: str, *, keep: bool = True) -> Iterator[Content]:
        """A generation's content, and then the file in its new state: one who writes at a time, and no half of it."""
        with (self._of(whose.tenant) / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not self._file(whose, generation).exists():
                raise ProjectionMoved(self.name, str(whose.tenant))
            content = self._read(whose, generation)
            yield content
            if keep:
                _write(self._file(whose, generation), json.dumps(content))


def _apply(rows: dict[str, Any], change: Change) -> None:
    """One change, unless the row has a later one."""
    key = key_text(change.key) if change.key else ""
    if change.kind == "truncated":
        for each in [each for each, row in rows.items() if row["at"] < change.position]:
            del rows[each]
    elif key in rows and rows[key]["at"] > change.position:
        return
    elif change.kind == "deleted":
        rows.pop(key, None)
    elif change.kind == "created" or key in rows:
        before = rows[key]["values"] if change.kind == "changed" else {}
        rows[key] = {"at": change.position, "values": {**before, **change.values}}


def _reached(content: Content) -> Reached:
    return Reached(content["incarnation"], content["position"], bytes.fromhex(content["leaf"]) or None)


def _write(file: Path, text: str) -> None:
    """All of it or nothing, also if the machine stops."""
    made = file.with_name(f".{file.name}.{secrets.token_hex(4)}")
    with made.open("w") as opened:
        opened.write(text)
        opened.flush()
        os.fsync(opened.fileno())
    made.replace(file)
