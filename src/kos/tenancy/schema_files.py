"""Numbered `.sql` files, applied to a database in order: schema `kos` itself, and every schema of tenants' tables.

Each file is one transaction under a short lock timeout, recorded in the same transaction with its checksum.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import psycopg
import stamina
from psycopg.rows import TupleRow
from psycopg.sql import Identifier

from kos import errors, sql
from kos.tenancy.tenant import ROW_SCHEMA

QUERIES = sql.load("kos.tenancy", "schema_files.sql")
LOCK_TIMEOUT = "200ms"  # while a lock is waited for, everyone behind it waits too
LOCK_ATTEMPTS = 20

_OLDEST = re.compile(r"^-- oldest library: (\d+)$", re.MULTILINE)

Connection = psycopg.Connection[TupleRow]


@dataclass(frozen=True)
class SchemaFile:
    """One step of a schema. `oldest_library` is the first library version that can work with it."""

    version: int
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def oldest_library(self) -> int:
        found = _OLDEST.search(self.text)
        if found is None:
            raise ValueError(f"{self.name} does not say `-- oldest library: N`")
        return int(found[1])


@dataclass(frozen=True)
class Source:
    """The numbered files of one schema; each package keeps its own part of it, with numbers of one series."""

    packages: tuple[str, ...]

    @cached_property
    def files(self) -> tuple[SchemaFile, ...]:
        found = {
            item.name: item.read_text(encoding="utf-8")
            for package in self.packages
            # By way of `kos`: to look into a package must not import it, for later parts of the core import this one.
            for item in files("kos").joinpath(*package.split(".")[1:], "schema").iterdir()
            if item.name.endswith(".sql")
        }
        return tuple(SchemaFile(number, name, found[name]) for number, name in enumerate(sorted(found), start=1))

    @property
    def version(self) -> int:
        """The number of the last file."""
        return len(self.files)


CONTROL = Source(("kos.tenancy", "kos.journal", "kos.log", "kos.adoption", "kos.schema_change", "kos.projections"))
TENANT_TABLES = Source(("kos.knowledge",))


@dataclass(frozen=True)
class Pending:
    """A file that a schema has not had yet."""

    schema: str
    file: SchemaFile


def source_of(schema: str) -> Source:
    """Which files make a schema."""
    return CONTROL if schema == "kos" else TENANT_TABLES


def pending(connection: Connection, schema: str) -> Iterator[Pending]:
    """The files that a schema still lacks. Reads only.

    Raises:
        SchemaFileChanged: an applied file had other content.
    """
    applied: dict[int, str] = {}
    if connection.execute(QUERIES.is_installed).fetchone() == (True,):
        applied = dict(connection.execute(QUERIES.applied_files, {"schema": schema}).fetchall())
    for file in source_of(schema).files:
        if file.version not in applied:
            yield Pending(schema, file)
        elif applied[file.version] != file.checksum:
            raise errors.SchemaFileChanged(connection.info.dbname, schema, file.name)


def apply(connection: Connection, step: Pending) -> None:
    """Apply one file and record it, in one transaction as kos_owner. Nothing happens where it was applied meanwhile.

    Raises:
        LockNotGranted: somebody held a lock all the while.
    """
    retries = stamina.retry_context(
        on=psycopg.errors.LockNotAvailable,
        attempts=LOCK_ATTEMPTS,
        wait_initial=0.05,
        wait_max=1.0,
        wait_jitter=0.1,
    )
    try:
        for attempt in retries:
            with attempt:
                _apply_once(connection, step)
    except psycopg.errors.LockNotAvailable as error:
        blockers = connection.execute(QUERIES.blockers).fetchall()
        named = ", ".join(
            f"pid {pid} ({role}, {application or 'no name'}, {state})" for pid, role, application, state in blockers
        )
        what = f"{step.file.name} on schema {step.schema}"
        raise errors.LockNotGranted(connection.info.dbname, what, LOCK_ATTEMPTS, named or "nobody now") from error


def _apply_once(connection: Connection, step: Pending) -> None:
    file = step.file
    with connection.transaction():
        # One upgrade at a time in a database; the second one finds the work done.
        connection.execute(QUERIES.lock_upgrade)
        if not any(other.file.version == file.version for other in pending(connection, step.schema)):
            return
        connection.execute(QUERIES.become_owner)
        connection.execute(QUERIES.set_lock_timeout, {"timeout": LOCK_TIMEOUT})
        if step.schema != "kos":
            connection.execute(QUERIES.make_schema.format(schema=Identifier(step.schema)))
            connection.execute(QUERIES.open_schema.format(schema=Identifier(step.schema)))
            connection.execute(QUERIES.enter_schema.format(schema=Identifier(step.schema)))
        connection.execute(sql.literal(file.text))
        record = {
            "schema": step.schema,
            "version": file.version,
            "file": file.name,
            "checksum": file.checksum,
            "oldest": file.oldest_library,
        }
        connection.execute(QUERIES.record_file, record)


def schemas_here(connection: Connection) -> list[str]:
    """Every schema of this database that kos keeps at its version: its own first, then those of tenants' tables."""
    if connection.execute(QUERIES.is_installed).fetchone() != (True,):
        return ["kos", ROW_SCHEMA]
    found = [name for (name,) in connection.execute(QUERIES.known_schemas).fetchall()]
    return ["kos", *sorted({ROW_SCHEMA, *found} - {"kos"})]
