"""What is wanted, and what a plan says: plain frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

LEVELS = ("observe", "log", "enforce")
BASELINES = ("full", "lazy", "none")
CAPABILITIES = ("log", "history", "row_security", "schema_change", "move", "distribution")
CLASSES = ("tenant", "root", "child", "shared", "partition", "unusable")


@dataclass(frozen=True)
class Wanted:
    """Which tables, how far, and how. Patterns match `table` or `schema.table`; none means all."""

    patterns: tuple[str, ...] = ()
    level: str = "observe"
    tenant_column: str | None = None
    baseline: str = "lazy"
    schema: str | None = None
    count: bool = False
    sensitive: tuple[str, ...] = ()  # TABLE.COLUMN=encrypted, digest or absent


@dataclass(frozen=True)
class Blocker:
    """Why capabilities don't work for a table yet. `kind` is one of key, nulls, type, unsuitable, column, grant,
    composite, meaning."""

    kind: str
    capabilities: tuple[str, ...]
    reason: str


@dataclass(frozen=True)
class Table:
    """One table as the plan sees it. Rows, bytes and tenants are estimates unless the plan counted."""

    name: str
    oid: int
    schema: str
    table: str
    of_class: str
    column: str | None
    type: str | None
    tenants: int | None
    rows: int | None
    bytes: int
    owner: str
    key: tuple[str, ...]
    partition_of: str | None
    partitions: int
    path: tuple[str, ...]
    row_triggers: tuple[str, ...]
    writes: int
    log_bytes: int | None
    baseline_bytes: int | None
    sensitive: dict[str, str]  # what is asked to be hidden in the log
    blockers: tuple[Blocker, ...]
    columns_sql: tuple[str, ...]
    keys_sql: tuple[tuple[str, ...], ...]  # keys, references, primary keys: each for all tables before the next

    def blocked(self, capability: str) -> tuple[Blocker, ...]:
        """What is in the way of one capability."""
        return tuple(each for each in self.blockers if capability in each.capabilities)


@dataclass(frozen=True)
class Lock:
    """A lock that a level takes on each table, one table at a time."""

    level: str
    statement: str
    mode: str
    stops: str
    how_long: str


@dataclass(frozen=True)
class Role:
    """A role that uses the tables, and what row security would mean for it."""

    role: str
    owns: int
    uses: int
    sessions: int
    bound: bool
    blind: bool  # would read 0 rows, and write none
    effect: str


@dataclass(frozen=True)
class Effect:
    """Something that would work otherwise, or no longer."""

    kind: str
    subject: str
    effect: str


@dataclass(frozen=True)
class Statement:
    """A statement that was run, by pg_stat_statements."""

    role: str
    calls: int
    statement: str


@dataclass(frozen=True)
class Effects:
    """What level enforce would break. `statements` is None where the database keeps no account of them."""

    roles: tuple[Role, ...]
    effects: tuple[Effect, ...]
    statements: tuple[Statement, ...] | None


@dataclass(frozen=True)
class Plan:
    """What is there, what is in the way, and what it would cost. Sizes are bytes; writes since `counted_since`."""

    shard: str
    database: str
    level: str
    baseline: str
    installed: bool
    tenant_column: str
    tenant_types: dict[str, int]
    tenants: int | None
    tenants_exact: bool
    counted_since: datetime | None
    log_bytes: int
    log_bytes_per_day: int | None
    baseline_bytes: int
    tables: tuple[Table, ...]
    locks: tuple[Lock, ...]
    grants: tuple[str, ...]
    effects: Effects | None
