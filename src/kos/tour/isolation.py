"""Try to reach one tenant's rows from everywhere else, with the statements in the open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.sql import SQL, Composed, Literal

from kos import sql
from kos.tenancy import Store, Tenant

QUERIES = sql.load("kos.tour")

REFUSALS = {
    "42501": "row security",
    "KS001": "in no tenant",
    "KS003": "an old epoch",
    "KS004": "in another tenant already",
}
"""What the database means by each."""


@dataclass(frozen=True)
class Attempt:
    """A statement, who tries it (a tenant, or nobody), and what must come back: rows, or an SQLSTATE.

    `rows` None means: some.
    """

    who: str
    query: str
    rows: int | None = 0
    refusal: str | None = None


@dataclass(frozen=True)
class Answer:
    """What came back: a number of rows, or the SQLSTATE of a refusal."""

    who: str
    statement: str
    rows: int | None
    sqlstate: str | None
    expected: bool

    def __str__(self) -> str:
        if self.sqlstate is not None:
            return f"refused {self.sqlstate}"
        return f"{self.rows:,} rows"


def attempts(owner: str, neighbour: str, elsewhere: str) -> tuple[Attempt, ...]:
    """The attempts on `owner`. `neighbour` has its rows in the same table, `elsewhere` in another schema."""
    return (
        Attempt(owner, "count_there", rows=None),
        Attempt(neighbour, "ask_for_tenant"),
        Attempt(neighbour, "change_there"),
        Attempt(neighbour, "plant_row", refusal="42501"),
        Attempt(neighbour, "enter_too", refusal="KS004"),
        Attempt(elsewhere, "count_there"),
        Attempt("nobody", "count_there", refusal="KS001"),
        Attempt("nobody", "enter_old", refusal="KS003"),
    )


def reach_for(store: Store, owner: Tenant, neighbour: str, elsewhere: str) -> list[Answer]:
    """Make all the attempts; whatever one of them changes is rolled back."""
    return [_try(store, owner, attempt) for attempt in attempts(owner.name, neighbour, elsewhere)]


def _try(store: Store, owner: Tenant, attempt: Attempt) -> Answer:
    query: SQL = getattr(QUERIES, attempt.query)
    statement = query.format(owner=Literal(owner.id), name=Literal(owner.name), epoch=Literal(owner.epoch - 1))
    shown = query.format(owner=SQL(f":{owner.name}"), name=Literal(owner.name), epoch=Literal(owner.epoch - 1))
    rows, sqlstate = _answer(store, attempt.who, statement)
    if attempt.refusal is not None:
        expected = sqlstate == attempt.refusal
    elif attempt.rows is None:
        expected = bool(rows)
    else:
        expected = rows == attempt.rows
    return Answer(attempt.who, _without_comments(shown), rows, sqlstate, expected)


def _without_comments(statement: Composed) -> str:
    return "\n".join(line for line in statement.as_string(None).splitlines() if not line.startswith("--"))


def _answer(store: Store, who: str, statement: Composed) -> tuple[int | None, str | None]:
    with _connected(store, who) as connection:
        try:
            with connection.transaction(force_rollback=True):
                cursor = connection.execute(statement)
                row = cursor.fetchone() if cursor.description else (cursor.rowcount,)
        except psycopg.Error as error:
            return None, error.sqlstate
    counted = row[0] if row else 0
    return (counted if isinstance(counted, int) else 1), None


@contextmanager
def _connected(store: Store, who: str) -> Iterator[psycopg.Connection[Any]]:
    """As the application, in a tenant or in none."""
    if who == "nobody":
        with store.control() as connection:
            yield connection
    else:
        with store.tenant(who) as session:
            yield session.connection
