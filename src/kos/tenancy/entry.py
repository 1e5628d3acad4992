"""How a session enters a tenant: pure decisions, used by the synchronous and the asynchronous session alike."""

from __future__ import annotations

import enum
import ipaddress
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, LiteralString
from uuid import UUID

import psycopg

from kos import errors
from kos.tenancy.placement import place_of
from kos.tenancy.tenant import Tenant

Isolation = Literal["read committed", "repeatable read", "serializable"]
_ISOLATION = ("read committed", "repeatable read", "serializable")

ATTEMPTS = 4
_SERVED_HERE = re.compile(r"it is served here at epoch (\d+)")  # the detail of KS003
_LONGEST = 2_147_483  # what PostgreSQL takes, which counts milliseconds in 32 bits

# Several commands in one string are a syntax error of the extended protocol; a prepared entry is lost by DISCARD ALL;
# a statement that is prepared can't run where a table has other columns since. Apart, it is not prepared: the next
# connection of the pool may have its own from before.
_APART = (
    psycopg.errors.SyntaxError,
    psycopg.errors.InvalidSqlStatementName,
    psycopg.errors.FeatureNotSupported,
)


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
        if not 0 < self.timeout <= _LONGEST:
            raise ValueError(f"timeout is in seconds, more than 0 and at most {_LONGEST:,}, not {self.timeout!r}")
        for said in (self.persona, self.user, self.request, self.agent):
            if said is not None and "\0" in str(said):  # the protocol would cut it there: another identity
                raise ValueError("an identity can't have a NUL character")

    @property
    def begin(self) -> LiteralString:
        """The statement that begins the transaction."""
        return f"begin isolation level {self.isolation}{' read only' if self.read_only else ''}"

    def values(self, tenant: Tenant) -> tuple[str | None, ...]:
        """What `kos.enter` is given, in its order."""
        return (
            *tenant.key,
            self.persona,
            _text(self.user),
            _text(self.request),
            self.address,
            self.agent,
            str(max(1, round(self.timeout * 1000))),
        )

    @classmethod
    def of(cls, **fields: Any) -> Entry:
        """An entry with these fields. The one that says nothing is made once: it is the most common by far."""
        return cls(**fields) if fields else _SAYS_NOTHING


_SAYS_NOTHING = Entry()


def _text(value: object) -> str | None:
    return None if value is None else str(value)


class After(enum.Enum):
    """What to do after the first statement of a session failed. Nothing was committed, so anything may be repeated."""

    LOOK_UP_AGAIN = "the placement is stale: look it up, then enter there"
    RECONNECT = "the pooled connection was dead: take another"
    SEND_APART = "what can't travel in one message: begin, enter, then send the statement by itself"


class Entering:
    """The state of an entry that may have to be tried again. Decides; the session's wrapper does the input and output.

    `pipelined` says whether the first statement travels together with the entry.
    """

    def __init__(self, tenant: Tenant, *, jitter: Callable[[], float] = random.random) -> None:
        self.tenant = tenant
        self.pipelined = True
        self.answered = False  # whether the server has begun to answer: then the connection was alive
        self._here = 0  # the epoch that this place's fence has said
        self._reconnected = False
        self._attempt = 0
        self._jitter = jitter

    def failed(self, error: psycopg.Error, *, broken: bool) -> tuple[After, float]:
        """What to do about it, and how many seconds to wait first. Raises the typed error where nothing helps."""
        self._attempt += 1
        said = _SERVED_HERE.fullmatch(error.diag.message_detail or "")
        self._here = int(said[1]) if said else 0
        if self._attempt < ATTEMPTS:
            if error.sqlstate in {"KS002", "KS003"}:
                # The directory follows the fence within moments of a cutover; the first look needs no wait.
                return After.LOOK_UP_AGAIN, (self._attempt - 1) * (0.05 + 0.05 * self._jitter())
            # Once, and only what went with its own BEGIN to a connection that never answered. Anything else may have
            # ended the connection itself, or have committed: it is not run again.
            if broken and self.pipelined and not self.answered and not self._reconnected:
                self._reconnected = True
                return After.RECONNECT, 0.0
            if self.pipelined and isinstance(error, _APART):
                self.pipelined = False
                return After.SEND_APART, 0.0
        raise translate(error, self.tenant) from error

    def found(self, tenant: Tenant) -> None:
        """Go on with what the directory says now.

        Where it names the same place with a lower epoch than the place's own fence, the fence is right: the directory
        follows it, and a cutover that was killed between both leaves it behind.
        """
        same = place_of(tenant) == place_of(self.tenant) and tenant.id == self.tenant.id
        self.tenant = replace(tenant, epoch=max(tenant.epoch, self._here)) if same else tenant


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
        case "KS012":
            return errors.PlacementBehind(tenant.name, detail)
        case "0A000" if error.diag.source_function == "RevalidateCachedQuery":
            return errors.TablesChanged(tenant.name, detail)
        case _:
            return error
