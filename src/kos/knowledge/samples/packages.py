"""The dataset `packages`: the Python packages that are installed here, from their own metadata.

A package, a licence, an author is an EntityAtom; what a package says of itself (its version, the Python it needs,
whether it is typed) is an atom that `describes` it. Its long description is a document. Annotations say where a
description states what the metadata states: the package's name and version, its licence and authors, what it needs.
Entry points are implementations; trove classifiers of topics are the capabilities that a package serves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.message import Message
from email.utils import getaddresses
from hashlib import sha256
from importlib.metadata import Distribution
from pathlib import Path
from typing import Any, cast

from kos.errors import DatasetDamaged, DatasetMissing
from kos.knowledge.samples.dataset import MADE, Content, Dataset, Row, Rows, distributions, read_file, sample_id

NAME = "packages"

COLUMNS = {
    "atoms": ("id", "atom_type", "name", "value", "boolean_value", "source", "created_at", "updated_at"),
    "documents": (
        "id", "title", "media_type", "content_sha256", "byte_length", "metadata", "created_at", "updated_at",
    ),
    "annotations": ("id", "document_id", "atom_id", "start_offset", "end_offset", "quote", "created_at"),
    "relations": ("id", "relation_type", "from_atom_id", "to_atom_id", "metadata", "created_at"),
    "implementations": ("id", "atom_id", "system", "location", "created_at"),
    "capability_mappings": ("id", "atom_id", "capability", "created_at"),
}  # fmt: skip

_SOURCE = "package metadata"
_FILES = ("METADATA", "entry_points.txt")
_MOST_PLACES = 20  # of one atom in one description
_SEPARATORS = re.compile(r"[-_.]+")
_REQUIRED = re.compile(r"\s*([A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?)")
_MEDIA_TYPE = re.compile(r"[a-z]+/[a-z0-9.+-]+")


@dataclass(frozen=True)
class Package:
    """What one package says of itself. `description` is exactly what its metadata holds; None if there is none."""

    name: str
    version: str
    headers: Message
    description: str | None
    entry_points: tuple[tuple[str, str, str], ...]  # group, name, value

    @property
    def key(self) -> str:
        """The name as it is compared: `Foo.Bar` and `foo-bar` are one package."""
        return _key(self.name)

    def all(self, header: str) -> list[str]:
        return [str(value).strip() for value in self.headers.get_all(header, [])]

    def first(self, header: str) -> str | None:
        value = self.headers.get(header)
        return str(value).strip() if value is not None and str(value).strip() not in {"", "UNKNOWN"} else None


@dataclass
class _Collector:
    """Rows by table, each id once: two packages may name the same licence."""

    rows: dict[str, dict[Any, Row]] = field(default_factory=lambda: {table: {} for table in COLUMNS})
    objects: dict[str, bytes] = field(default_factory=dict)

    def add(self, table: str, *row: Any) -> str:
        self.rows[table].setdefault(row[0], row)
        return str(row[0])


def read(site: Path | None = None) -> Content:
    """The dataset, verified.

    Raises:
        DatasetMissing: no package is installed there.
        DatasetDamaged: a package's metadata or entry points are gone, cut short, changed or no text.
    """
    packages = _packages(site)
    if not packages:
        raise DatasetMissing(NAME, "pip")
    collector = _Collector()
    for package in packages.values():
        _add_package(collector, package, packages)
    tables = tuple(_rows(table, tuple(collector.rows[table].values())) for table in COLUMNS)
    edition = sha256(repr([list(rows.read()) for rows in tables]).encode()).hexdigest()
    return Content(tables, edition, tuple(collector.objects.values()))


def _rows(table: str, rows: tuple[Row, ...]) -> Rows:
    return Rows(table, COLUMNS[table], len(rows), lambda: iter(rows))


def _packages(site: Path | None) -> dict[str, Package]:
    """The installed packages by key, in the order of their keys; of two with the same key Python takes the first."""
    found: dict[str, Package] = {}
    for distribution in distributions(site):
        recorded = _recorded(distribution)
        for name in recorded:
            read_file(NAME, distribution, name)
        _refuse_no_text(distribution, recorded)
        # A folder that pip left behind has no metadata, and so no name: it is no package.
        if recorded or distribution.read_text("METADATA") or distribution.read_text("PKG-INFO"):
            package = _package(distribution)
            found.setdefault(package.key, package)
    return dict(sorted(found.items()))


def _recorded(distribution: Distribution) -> list[str]:
    """The files that are read here, as far as the installation recorded them.

    Those of packages that this one brings along inside of itself lie deeper.
    """
    return [
        str(path)
        for path in distribution.files or ()
        if len(path.parts) == 2 and path.parent.suffix == ".dist-info" and path.name in _FILES
    ]


def _refuse_no_text(distribution: Distribution, recorded: list[str]) -> None:
    """Before Python's own reader or the database stumbles over it: its digest can be right all the same."""
    where = recorded[0] if recorded else "a package without a record of its files"
    try:
        texts = [distribution.read_text(name) or "" for name in (*_FILES, "PKG-INFO")]
    except UnicodeDecodeError as error:
        raise DatasetDamaged(NAME, f"{where}: it is not UTF-8 ({error.reason})") from error
    if any("\0" in text for text in texts):
        raise DatasetDamaged(NAME, f"{where}: it has a NUL character, which no text has")


def _package(distribution: Distribution) -> Package:
    headers = cast(Message, distribution.metadata)
    name, version = headers.get("Name"), headers.get("Version")
    if not name or not version:
        raise DatasetDamaged(NAME, f"the metadata of {name or 'a package'} lacks its name or version")
    description = headers.get("Description") or headers.get_payload()
    if not isinstance(description, str) or description.strip() in {"", "UNKNOWN"}:
        description = None
    points = tuple(sorted((point.group, point.name, point.value) for point in distribution.entry_points))
    return Package(str(name), str(version), headers, description, points)


def _add_package(collector: _Collector, package: Package, packages: dict[str, Package]) -> None:
    here = _add_entity(collector, "package", package.key, package.name)
    stated = [(here, package.name), *_add_facts(collector, package, here), *_add_shared(collector, package, here)]
    stated += _add_requirements(collector, package, here, packages)
    if package.description is not None:
        _add_document(collector, package, package.description, stated)
    for group, name, value in package.entry_points:
        location = f"{name} = {value}"
        key = sample_id(NAME, "implementation", package.key, group, location)
        collector.add("implementations", key, here, group, location, MADE)
    for topic in package.all("Classifier"):
        if topic.startswith("Topic :: "):
            capability = topic.removeprefix("Topic :: ")
            key = sample_id(NAME, "capability", package.key, capability)
            collector.add("capability_mappings", key, here, capability, MADE)


def _add_entity(collector: _Collector, kind: str, key: str, name: str) -> str:
    return collector.add(
        "atoms", sample_id(NAME, kind, key), "EntityAtom", name, kind, None, _SOURCE, MADE, MADE
    )  # fmt: skip


def _add_relation(collector: _Collector, relation: str, source: str, target: str, metadata: str = "{}") -> None:
    key = sample_id(NAME, relation, source, target)
    collector.add("relations", key, relation, source, target, metadata, MADE)


def _add_facts(collector: _Collector, package: Package, here: str) -> Iterator[tuple[str, str]]:
    """Facts of one package only. Yields the atoms that its description may state, with the words to look for."""
    facts = {
        "version": package.version,
        "summary": package.first("Summary"),
        "requires python": package.first("Requires-Python"),
    }
    for name, value in facts.items():
        if value is None:
            continue
        # The value is part of the key: a later version of the package states another fact.
        key = sample_id(NAME, name, package.key, value)
        collector.add("atoms", key, "TextAtom", name, value, None, _SOURCE, MADE, MADE)
        _add_relation(collector, "describes", key, here)
        yield key, value
    typed = "Typing :: Typed" in package.all("Classifier")
    key = sample_id(NAME, "typed", package.key, str(typed))
    collector.add("atoms", key, "BooleanAtom", "typed", None, typed, _SOURCE, MADE, MADE)
    _add_relation(collector, "describes", key, here)


def _add_shared(collector: _Collector, package: Package, here: str) -> Iterator[tuple[str, str]]:
    """Licences and authors, which other packages may have too."""
    licence = package.first("License-Expression") or package.first("License")
    if licence is not None and "\n" not in licence:
        key = _add_entity(collector, "licence", licence.casefold(), licence)
        _add_relation(collector, "has_licence", here, key)
        yield key, licence
    named = getaddresses(package.all("Author-email") + package.all("Maintainer-email"))
    people = [name for name, _ in named] + package.all("Author") + package.all("Maintainer")
    for person in dict.fromkeys(filter(None, map(str.strip, people))):
        key = _add_entity(collector, "author", person.casefold(), person)
        _add_relation(collector, "written_by", here, key)
        yield key, person


def _add_requirements(
    collector: _Collector, package: Package, here: str, packages: dict[str, Package]
) -> Iterator[tuple[str, str]]:
    """What the package depends on, installed here or not."""
    required: dict[str, list[str]] = {}
    names: dict[str, str] = {}
    for requirement in package.all("Requires-Dist"):
        if match := _REQUIRED.match(requirement):
            required.setdefault(_key(match[1]), []).append(requirement)
            names.setdefault(_key(match[1]), match[1])
    for key, requirements in required.items():
        name = packages[key].name if key in packages else names[key]
        atom = _add_entity(collector, "package", key, name)
        metadata = json.dumps({"requirements": requirements}, ensure_ascii=False)
        _add_relation(collector, "depends_on", here, atom, metadata)
        yield atom, name


def _add_document(collector: _Collector, package: Package, description: str, stated: list[tuple[str, str]]) -> None:
    try:
        content = description.encode()
    except UnicodeEncodeError as error:
        raise DatasetDamaged(NAME, f"the description of {package.name} is no text: {error.reason}") from error
    digest = sha256(content).hexdigest()
    collector.objects[digest] = content
    kind = _MEDIA_TYPE.match(package.first("Description-Content-Type") or "")
    document = collector.add(
        "documents", sample_id(NAME, "description", package.key, digest), f"{package.name} {package.version}",
        kind[0] if kind else "text/plain", digest, len(content),
        json.dumps({"package": package.name, "version": package.version}), MADE, MADE,
    )  # fmt: skip
    for atom, words in dict.fromkeys(stated):
        for start, end in _places(description, words):
            key = sample_id(NAME, "annotation", document, atom, str(start))
            collector.add("annotations", key, document, atom, start, end, description[start:end], MADE)


def _places(text: str, words: str) -> list[tuple[int, int]]:
    """Where `words` stand in `text` by themselves, in any case: offsets in characters, the end not included."""
    alone = re.compile(rf"(?<![\w.-]){re.escape(words)}(?![\w-]|\.\d)", re.IGNORECASE)
    return [match.span() for match in alone.finditer(text)][:_MOST_PLACES]


def _key(name: str) -> str:
    return _SEPARATORS.sub("-", name).lower()


PACKAGES = Dataset(
    NAME, "the Python packages installed here: their descriptions, facts and dependencies", "pip", True, read
)
