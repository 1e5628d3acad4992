"""How things are called in the store. All of a tenant's names have one hash tag, so a cluster keeps them together."""

from __future__ import annotations

from uuid import UUID

from kos.projections.model import Whose
from kos.tenancy.entry import Entry

WANTED = "kos:wanted"  # tenants that readers have found no state of
IDENTITY = "kos:identity"


def prefix(tenant: UUID | str, epoch: int | str) -> str:
    """What all of a tenant's names at one epoch begin with."""
    return f"kos:{{{tenant}.{epoch}}}:"


def prefix_of(whose: Whose) -> str:
    """The same."""
    return prefix(whose.tenant, whose.epoch)


def reader(entry: Entry, *, any_user: bool) -> str:
    """Whose a value is: row security shows another persona or user other rows. Neither can have a NUL in it."""
    user = None if any_user else entry.user
    if entry.persona is None and user is None:
        return "-\0-"
    return f"{_said(entry.persona)}\0{_said(user)}"


def has_persona(reader_name: bytes) -> bool:
    """Of a reader that is named so."""
    return reader_name.startswith(b"=")


def _said(value: object) -> str:
    return "-" if value is None else f"={value}"


def whose(text: str) -> Whose | None:
    """A tenant out of the set of wanted ones; None for what anybody may have put there."""
    tenant, _, epoch = text.partition(".")
    try:
        return Whose(UUID(tenant), int(epoch))
    except ValueError:
        return None
