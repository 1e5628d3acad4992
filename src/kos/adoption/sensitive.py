"""Which columns the log is to hide, as it is said: `people.iban=encrypted`, `*.password=digest`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from kos import errors

HOW = ("encrypted", "digest", "absent")

Names = tuple[str, str]  # schema and table


def hidden(
    declarations: Sequence[str], columns: Mapping[Names, Sequence[str]], keys: Mapping[Names, Sequence[str]]
) -> dict[Names, dict[str, str]]:
    """How each column is hidden, by table: of several declarations that mean a column the last counts.

    A declaration that means nothing is refused: what is asked to be hidden and is not would be in the log for good.

    Raises:
        SensitiveUnclear, NoSensitiveColumn, SensitiveKey
    """
    found: dict[Names, dict[str, str]] = {}
    for declaration in declarations:
        pattern, how = _read(declaration)
        meant = [
            (names, column) for names, there in columns.items() for column in there if _means(pattern, names, column)
        ]
        if not meant:
            raise errors.NoSensitiveColumn(pattern)
        for names, column in meant:
            if column in keys.get(names, ()):
                raise errors.SensitiveKey(".".join(names), column)
            found.setdefault(names, {})[column] = how
    return found


def _read(declaration: str) -> tuple[str, str]:
    pattern, _, how = declaration.rpartition("=")
    if how not in HOW or "." not in pattern:
        raise errors.SensitiveUnclear(declaration)
    return pattern, how


def _means(pattern: str, names: Names, column: str) -> bool:
    schema, table = names
    return fnmatchcase(f"{table}.{column}", pattern) or fnmatchcase(f"{schema}.{table}.{column}", pattern)
