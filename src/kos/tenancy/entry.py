"""How a session enters a tenant: pure decisions, used by the synchronous and the asynchronous session alike."""

from __future__ import annotations

import enum
import ipaddress
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal
from uuid import UUID

import psycopg

from kos import errors
from kos.tenancy.tenant import Tenant

Isolation = Literal["read committed", "repeatable read", "serializable"]
_ISOLATION = {
    "read committed": psycopg.IsolationLevel.READ_COMMITTED,
    "repeatable read": psycopg.IsolationLevel.REPEATABLE_READ,
    "serializable": psycopg.IsolationLevel.SERIALIZABLE,
}

ATTEMPTS = 4


@dataclass(frozen=True)
class Entry:
    """What a session brings: who works, on whose behalf, and how its transaction runs.

    `timeout` is the longest that the transaction may last, in seconds; then the server ends it, so that a client
    that is stuck can't hold the tenant's fence.
    """

    persona: str | None = None
    user: str | UUID | int | None = None
    request: str | UUID | None = None
    address: str | None = None
    agent: str | None = None
    read_only: bool = False
    isolation: Isolation = "read committed"
    timeout: float = 60.0

    def __post_init__(self) -> None:
        if self.address is not None:
            ipaddress.ip_address(self.address)
        if self.isolation not in _ISOLATION:
            raise ValueError(f"isolation is one of {', '.join(_ISOLATION)}, not {self.isolation!r}")
        if self.timeout <= 0:
            raise ValueError(f"timeout is in seconds, and more than 0, not {self.timeout!r}")

    @property
    def isolation_level(self) -> psycopg.IsolationLevel:
        return _ISOLATION[self.isolation]

    def parameters(self, tenant: Tenant) -> dict[str, Any]:
        """The parameters of the query `enter`."""
        return {
            "tenant": str(tenant.id),
            "epoch": tenant.epoch,
            "persona": self.persona,
            "user": _text(self.user),
            "request": _text(self.request),
            "address": self.address,
            "agent": self.agent,
            "timeout_ms": max(1, round(self.timeout * 1000)),
        }


def _text(value: object) -> str | None:
    return None if value is None else str(value)


class After(enum.Enum):
    """What to do after the first statement of a session failed. Nothing was committed, so anything may be repeated."""

    LOOK_UP_AGAIN = "the placement is stale: look it up, then enter there"
    RECONNECT = "the pooled connection was dead: take another"
    SEND_APART = "several commands in one string: enter first, then send them the simple way"


class Entering:
    """The state of an entry that may have to be tried again. Decides; the session's wrapper does the input and output.

    `pipelined` says whether the first statement travels together with the entry.
    """

    def __init__(self, tenant: Tenant, *, jitter: Callable[[], float] = random.random) -> None:
        self.tenant = tenant
        self.pipelined = True
        self._attempt = 0
        self._jitter = jitter

    def failed(self, error: psycopg.Error, *, broken: bool) -> tuple[After, float]:
        """What to do about it, and how many seconds to wait first. Raises the typed error where nothing helps."""
        self._attempt += 1
        if self._attempt < ATTEMPTS:
            if error.sqlstate in {"KS002", "KS003"}:
                # The directory follows the fence within moments of a cutover; the first look needs no wait.
                return After.LOOK_UP_AGAIN, (self._attempt - 1) * (0.05 + 0.05 * self._jitter())
            if broken:
                return After.RECONNECT, 0.0
            if self.pipelined and isinstance(error, psycopg.errors.SyntaxError):
                self.pipelined = False
                return After.SEND_APART, 0.0
        raise translate(error, self.tenant) from error


def translate(error: psycopg.Error, tenant: Tenant) -> Exception:
    """The typed error for an SQLSTATE of kos; any other error as it is."""
    detail = error.diag.message_primary or str(error)
    match error.sqlstate:
        case "KS001":
            return errors.NoTenantEntered(detail)
        case "KS002":
            return errors.UnknownTenant(tenant.name)
        case "KS003":
            return errors.PlacementMoved(tenant.name, detail)
        case "KS004":
            return errors.AnotherTenantEntered(detail)
        case "KS005":
            return errors.TruncateRefused(detail)
        case _:
            return error
