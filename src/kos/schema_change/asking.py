"""Ask PostgreSQL whether it takes an expression, a type or a column, before a change begins. No row is read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psycopg
from psycopg.sql import SQL, Composable, Composed, Identifier, Literal

from kos import errors
from kos.schema_change.draft import Draft
from kos.schema_change.facts import QUERIES
from kos.schema_change.parse import asks_tables, inner, is_null, kind, render_expression
from kos.schema_change.rows import Rows, is_about_row, row_of, words
from kos.sql import literal

_REFUSALS = ("0A", "22", "42")  # what is wrong by itself, and not with the server


class Asking:
    """Questions about one file. `made` are the names of what it makes itself, of which PostgreSQL knows nothing yet:
    what is refused and names one of them is not refused by us. `values` are those that enums get with the end of the
    change; what is asked about `at_the_end` comes after them."""

    def __init__(self, draft: Draft) -> None:
        self.draft = draft
        self.made: set[str] = set()
        self.changed: set[str] = set()
        self.values: set[str] = set()
        self.at_the_end = False
        self.what, self.instead = "", ""

    def about(self, what: str, instead: str = "correct the statement") -> None:
        """The questions that come are about that."""
        self.what, self.instead, self.at_the_end = what, instead, False

    def refuse(self, reason: str) -> None:
        """Raise `ChangeRefused`."""
        raise errors.ChangeRefused(self.what, reason, self.instead)

    def type(self, owner: str, name: str) -> None:
        """A type must be there."""
        self._ask(owner, SQL("select cast(null as {}) limit 0").format(literal(name)), words(name))

    def columns(self, rows: Rows, columns: list[str], among: Mapping[str, str] | None = None) -> None:
        """Columns must be there."""
        given = rows.columns if among is None else among
        query = SQL("select {} from {} limit 0").format(SQL(", ").join(map(Identifier, columns)), row_of(given, "t"))
        self._ask(rows.owner, query, words(*given.values()))

    def condition(self, rows: Rows, table: str, node: Any, *, alone: str = "") -> None:
        """It must be one, over the row. `alone`: where no subquery may be."""
        self._over(rows, table, node, rows.columns, SQL("({})"), alone)

    def expression(self, rows: Rows, table: str, node: Any, *, alone: str = "") -> None:
        """It must be one, over the row."""
        self._over(rows, table, node, rows.columns, SQL("({}) is null"), alone)

    def value(
        self,
        rows: Rows,
        table: str,
        node: Any,
        type_name: str,
        among: Mapping[str, str],
        *,
        assigned: bool = True,
        alone: str = "",
    ) -> None:
        """It must give a value of the type; where it is `assigned`, without a cast that somebody has to write."""
        if not self._over(
            rows, table, node, among, SQL("cast(({{}}) as {}) is null").format(literal(type_name)), alone
        ):
            return
        if assigned and not is_null(node) and not (kind(node) == "A_Const" and inner(node).HasField("sval")):
            query = SQL("select ({}) from {} limit 0").format(
                literal(render_expression(node)), self._from(rows, table, node, among) or row_of(among, table)
            )
            self._assign(rows.owner, query, type_name)

    def equal(self, rows: Rows, own: list[str], other: Rows, theirs: list[str]) -> None:
        """What a foreign key compares must have an operator for it."""
        pairs = [
            SQL("own.{} = other.{}").format(Identifier(one), Identifier(two))
            for one, two in zip(own, theirs, strict=True)
        ]
        query = SQL("select from {}, {} where {} limit 0").format(
            row_of(rows.columns, "own"), row_of(other.columns, "other"), SQL(" and ").join(pairs)
        )
        self._ask(rows.owner, query, words(*rows.columns.values(), *other.columns.values()))

    def _over(self, rows: Rows, table: str, node: Any, among: Mapping[str, str], form: Any, alone: str) -> bool:
        """Whether it was asked, and is right."""
        if alone and asks_tables(node):
            self.refuse(f"cannot use subquery in {alone}")
        over = self._from(rows, table, node, among)
        if over is None:
            return False
        text = render_expression(node)
        query = SQL("select from {} where {} limit 0").format(over, _formed(form, text))
        named = words(text, form.as_string(), *among.values())
        return self._ask(rows.owner, query, named, named & self.changed if asks_tables(node) else set())

    def _from(self, rows: Rows, table: str, node: Any, among: Mapping[str, str]) -> Composable | None:
        """What it is read from; None where that is not there yet."""
        if not is_about_row(node, table, among):
            return row_of(among, table)
        if not rows.is_as_before(among):
            return None
        return SQL("only {} as {}").format(Identifier(rows.first), Identifier(table))

    def _assign(self, owner: str, query: Composed, type_name: str) -> None:
        try:
            with self.draft.connection.transaction(force_rollback=True):
                self.draft.connection.execute(QUERIES.look_as.format(role=Identifier(owner)))
                cursor = self.draft.connection.execute(query)
                assert cursor.pgresult is not None
                facts = {"source": cursor.pgresult.ftype(0), "target": type_name}
                row = self.draft.connection.execute(QUERIES.assignment, facts).fetchone()
        except psycopg.Error:
            return
        if row is not None and not row[0]:
            self.refuse(f"the column is of type {type_name} but the expression is of type {row[1]}")

    def _ask(self, owner: str, query: Composed, named: set[str], late: set[str] | None = None) -> bool:
        """Whether PostgreSQL takes it. As the table's owner, who is going to do it."""
        try:
            with self.draft.connection.transaction(force_rollback=True):
                self.draft.connection.execute(QUERIES.look_as.format(role=Identifier(owner)))
                self.draft.connection.execute(query)
        except psycopg.Error as error:
            is_value = isinstance(error, psycopg.errors.InvalidTextRepresentation)
            value = self._new_value(query) if is_value else None
            if value is not None and not self.at_the_end:
                self.instead = "add the value by a change of its own, finish that, and then start this one"
                self.refuse(f"{value!r} is a value only when the change is finished: PostgreSQL can't take one back")
            is_ours = (error.sqlstate or "")[:2] in _REFUSALS
            is_ours &= value is None and not isinstance(error, psycopg.errors.InsufficientPrivilege)
            if is_ours and not (named & self.made) and not late:
                self.refuse(error.diag.message_primary or str(error))
            return False
        return True

    def _new_value(self, query: Composed) -> str | None:
        """One of those values that a query has as a constant."""
        text = query.as_string()
        return next((each for each in sorted(self.values) if Literal(each).as_string() in text), None)


def _formed(form: Any, text: str) -> Composable:
    return SQL(form.as_string()).format(literal(text))
