"""Progress as long work reports it; who listens decides what to show."""

from __future__ import annotations

from collections.abc import Callable

Advance = Callable[[str, int, int | None], None]
"""What is being done, how much of it is done, and of how much (None if that is not known)."""


def silent(what: str, done: int, total: int | None) -> None:
    """The progress of somebody who does not want to hear it."""
