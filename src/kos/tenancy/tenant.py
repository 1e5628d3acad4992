"""A tenant, and the directory that says where each one lives."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Literal
from uuid import UUID

from kos import errors, sql

QUERIES = sql.load("kos.tenancy")

Tier = Literal["row", "schema", "database"]
TIERS: tuple[Tier, ...] = ("row", "schema", "database")
ROW_SCHEMA = "knowledge"

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_LONGEST_NAME = 40


@dataclass(frozen=True)
class Tenant:
    """A tenant with its placement: where it lives, and the epoch a session must come with."""

    id: UUID
    name: str
    tier: Tier
    service_plan: str
    state: str
    shard: str
    region: str | None
    database: str
    schema: str
    epoch: int
    created_at: datetime
    adopted: bool = False  # its tables are a product's, and kos knows of them what it was told

    @classmethod
    def from_row(cls, row: tuple[Any, ...]) -> Tenant:
        """From a row of `find_tenant` or `list_tenants`."""
        return cls(*row)

    @cached_property
    def key(self) -> tuple[str, str]:
        """Id and epoch as `kos.enter` is given them."""
        return str(self.id), str(self.epoch)


def check_name(name: str) -> str:
    """The name, if it can be one.

    Raises:
        InvalidTenantName: it can't; a UUID can't either, because `kos.enter` takes names and ids alike.
    """
    if len(name) > _LONGEST_NAME or not _NAME.fullmatch(name) or _is_uuid(name):
        raise errors.InvalidTenantName(name)
    return name


def check_tier(tier: str) -> Tier:
    """The tier, if there is one of that name; `UnknownTier` otherwise."""
    for known in TIERS:
        if tier == known:
            return known
    raise errors.UnknownTier(tier)


def place(name: str, tier: Tier, shard_database: str) -> tuple[str, str]:
    """The database and schema of a new tenant. Names have hyphens and never underscores, so these can't collide."""
    suffix = name.replace("-", "_")
    if tier == "row":
        return shard_database, ROW_SCHEMA
    if tier == "schema":
        return shard_database, f"tenant_{suffix}"
    # PostgreSQL cuts identifiers at 63 bytes, silently: the shard's name gives way, the tenant's does not.
    return f"{shard_database[: 62 - len(suffix)]}_{suffix}", ROW_SCHEMA


def _is_uuid(text: str) -> bool:
    try:
        UUID(text)
    except ValueError:
        return False
    return True


def ready(name: str, row: tuple[Any, ...] | None) -> Tenant:
    """The tenant of a row of `find_tenant`, if it can be entered.

    Raises:
        UnknownTenant: there is no such row.
        TenantUnfinished: the command that makes it was killed.
    """
    if row is None:
        raise errors.UnknownTenant(name)
    tenant = Tenant.from_row(row)
    if tenant.state != "active":
        raise errors.TenantUnfinished(tenant.name, tenant.state)
    return tenant
