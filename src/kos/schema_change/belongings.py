"""What else hangs on a column that another takes the place of: its numbers, settings, statistics and comments."""

from __future__ import annotations

from psycopg.sql import Identifier, Literal

from kos.errors import ChangeRefused
from kos.schema_change.draft import Draft, ddl
from kos.schema_change.facts import Column, Constraint, Index, Table
from kos.schema_change.naming import QUERIES
from kos.schema_change.parse import parse_statement, rename_columns, render
from kos.sql import literal


class Belongings:
    """Of one column: as statements for the moment in which the second, now called `new`, gets the name `called`."""

    def __init__(self, draft: Draft, facts: Table, known: Column, new: str, called: str) -> None:
        self.draft = draft
        self.facts = facts
        self.known = known
        self.new = new
        self.called = called

    def over(self, each: Index | Constraint) -> bool:
        """Whether it is over the column, and to be there at the end.

        Raises:
            ChangeRefused: under another name.
        """
        if self.known.name not in each.columns:
            return False
        if (self.facts.name, each.name) in self.draft.renamed_of:
            raise ChangeRefused(
                f"{self.facts.name}: {each.name}",
                f"this change gives it another name above, and {self.known.name} another type, which makes it anew",
                "rename it in a change of its own",
            )
        return not self.draft.frees(self.facts.name, each.name)

    def numbers(self) -> list[str]:
        """A sequence goes over to the second column; that of an identity column is made again, and goes on."""
        known, table = self.known, self.facts.name
        if known.sequence is None:
            return []
        if not known.identity:
            owned = "alter sequence {sequence} owned by {table}.{column}"
            return [ddl(owned, sequence=literal(known.sequence), table=table, column=self.new)]
        row = self.draft.connection.execute(QUERIES.sequence, {"sequence": self._sequence()}).fetchone()
        assert row is not None
        self.sequence, start, increment, least, most, cache, cycles = row
        self._made = self.draft.name("numbers")
        options = f"start {start} increment {increment} minvalue {least} cache {cache}"
        options += (f" maxvalue {most}" if most is not None else "") + (" cycle" if cycles else "")
        how = "always" if known.identity == "a" else "by default"
        self.draft.warnings.append(
            f"{table}.{known.name}: its sequence is made anew when the columns change places; a session that calls"
            " nextval by itself just then fails (could not open relation), and is to do so again"
        )
        return [
            # Changes nothing; from here on nobody takes a number of the old one.
            ddl("alter sequence {old} cache {cache}", old=self.sequence, cache=literal(str(cache))),
            ddl(
                "alter table {t} alter column {c} add generated {how} as identity (sequence name {s} {options})",
                t=table,
                c=self.new,
                how=literal(how),
                s=self._made,
                options=literal(options),
            ),
            ddl(
                "select setval({new}::regclass, last_value, is_called) from {old}",
                new=Literal(ddl("{s}", s=self._made)),
                old=self.sequence,
            ),
        ]

    def _sequence(self) -> str:
        known = self.known.sequence
        assert known is not None
        return known if "." in known else Identifier(self.draft.schema).as_string() + "." + known

    def renamed_sequence(self) -> list[str]:
        if not (self.known.sequence and self.known.identity):
            return []
        return [ddl("alter sequence {old} rename to {new}", old=self._made, new=self.sequence)]

    def settings(self) -> list[str]:
        asked = {"oid": self.facts.oid, "column": self.known.name}
        row = self.draft.connection.execute(QUERIES.column_settings, asked).fetchone()
        target, options = row or (None, [])
        names_ = {"t": self.facts.name, "c": self.called}
        found = []
        if target is not None:
            found.append(ddl("alter table {t} alter column {c} set statistics {n}", n=literal(str(target)), **names_))
        if options:
            said = literal(", ".join(options))
            found.append(ddl("alter table {t} alter column {c} set ({said})", said=said, **names_))
        by = self.draft.connection.execute(QUERIES.clustered, {"oid": self.facts.oid}).fetchone()
        if by is not None and self.over(self.facts.indexes[by[0]]):
            found.append(ddl("alter table {t} cluster on {index}", t=self.facts.name, index=by[0]))
        return found

    def statistics(self) -> list[str]:
        """Extended statistics went with the first column."""
        found = []
        for of, kind, name in self.facts.readers:
            if of != self.known.name or kind != "statistics":
                continue
            asked = {"schema": self.draft.schema, "name": name}
            text, comment = self.draft.connection.execute(QUERIES.statistics_definition, asked).fetchone() or ("", None)
            node = parse_statement(text)
            del node.defnames[:-1]
            node.relations[0].range_var.schemaname = ""
            rename_columns(node, self.known.name, self.called)
            found.append(render(node))
            if comment is not None:
                found.append(ddl("comment on statistics {name} is {text}", name=name, text=Literal(comment)))
        return found

    def comments(self) -> list[str]:
        table, found = self.facts.name, []
        if self.known.comment is not None:
            text = Literal(self.known.comment)
            found.append(ddl("comment on column {t}.{c} is {text}", t=table, c=self.called, text=text))
        rows = self.draft.connection.execute(QUERIES.comments, {"oid": self.facts.oid}).fetchall()
        for kind, name, text in rows:
            held = self.facts.constraints.get(name) if kind == "constraint" else self.facts.indexes.get(name)
            if held is None or not self.over(held):
                continue
            if kind == "constraint":
                found.append(ddl("comment on constraint {c} on {t} is {text}", c=name, t=table, text=Literal(text)))
            else:
                found.append(ddl("comment on index {i} is {text}", i=name, text=Literal(text)))
        return found
