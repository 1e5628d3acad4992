"""Named queries, kept in `.sql` files beside the code that runs them.

A file holds statements, each under a line `-- name: NAME` and one comment line that says what it is for:

    -- name: find_tenant
    -- One tenant by its name.
    select … where name = %(name)s

Identifiers that vary are written `{schema}` and composed with `psycopg.sql`, never formatted into the text.
"""

from __future__ import annotations

import re
from functools import cache
from importlib.resources import files
from types import SimpleNamespace

from psycopg.sql import SQL, Composable

_NAME = re.compile(r"^-- name: ([a-z][a-z0-9_]*)$", re.MULTILINE)


class Queries(SimpleNamespace):
    """The statements of one file as attributes; each is a `psycopg.sql.SQL` (format it with identifiers or not)."""

    def __getattr__(self, name: str) -> SQL:
        raise AttributeError(f"there is no query {name!r}; there are: {', '.join(sorted(vars(self)))}")


@cache
def load(package: str, filename: str = "queries.sql") -> Queries:
    """The named queries of `filename` in `package`.

    Raises:
        ValueError: a name stands twice, or text stands before the first name.
    """
    text = files(package).joinpath(filename).read_text(encoding="utf-8")
    head, *parts = _NAME.split(text)
    if any(line and not line.startswith("--") for line in map(str.strip, head.splitlines())):
        raise ValueError(f"{package}/{filename}: there is SQL before the first `-- name:`")
    names = parts[0::2]
    if len(names) != len(set(names)):
        raise ValueError(f"{package}/{filename}: a name stands twice")
    statements = (part.strip().rstrip(";") for part in parts[1::2])
    return Queries(**{name: literal(text) for name, text in zip(names, statements, strict=True)})


def literal(text: str) -> SQL:
    """Text that came with the package, as SQL. Never call this with anything a user typed."""
    return SQL(text)


def statement(query: SQL, **identifiers: Composable) -> Composable:
    """A query with its `{identifiers}` composed in."""
    return query.format(**identifiers)
