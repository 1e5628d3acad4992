"""What a store says when it is asked how it is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Answer:
    """A store that answered: what it is, its version, and what else is worth saying."""

    kind: str
    version: str
    detail: str = ""


def one_line(error: BaseException) -> str:
    """What an error says, on one line; its type where it says nothing."""
    return " ".join(str(error).split()) or type(error).__name__
