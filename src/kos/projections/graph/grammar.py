"""Reading a query by a small, strict grammar, to find its node patterns.

The grammar is a part of openCypher: the clauses that read, patterns, expressions. Whatever is not in it is refused.
Three rules make sure that no server finds a node pattern where this finds none:

- a pattern without an arrow stands only where nothing else can: after MATCH, and where a subquery begins;
- signs that could begin an arrow (`--`, `-[`, `<--`, `<-[`) are read as one or refused, never as arithmetic;
- a word of Cypher is never the name of a variable, so that no clause begins unseen.
"""

from __future__ import annotations

from kos.projections.graph.expressions import Expressions
from kos.projections.graph.vocabulary import PATHS

_CLAUSES = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN")


class Query(Expressions):
    """A whole query. `gaps` are the places for one more property in each node pattern, with what goes around it."""

    def __init__(self, query: str) -> None:
        super().__init__(query)
        self.gaps: list[tuple[int, str, str]] = []

    def read(self) -> None:
        """All of it.

        Raises:
            GraphQueryRefused
        """
        self._statement()
        if self.peek().kind != "end":
            self.refuse("only MATCH, OPTIONAL MATCH, WHERE, WITH, UNWIND, RETURN and UNION are allowed here")

    def _statement(self) -> None:
        self._clauses()
        while self.accept_word("UNION"):
            if not self.accept_word("ALL"):
                self.accept_word("DISTINCT")
            self._clauses()

    def _clauses(self) -> None:
        if not self.peek().is_word(*_CLAUSES):
            self.refuse("only a query that reads is allowed: it begins with MATCH, UNWIND, WITH or RETURN")
        while self.peek().is_word(*_CLAUSES):
            if self.accept_word("UNWIND"):
                self.expression()
                self.expect_word("AS")
                self.variable()
            elif self.accept_word("RETURN"):
                self._result()
            elif self.accept_word("WITH"):
                self._result()
                self._where()
            else:
                self.accept_word("OPTIONAL")
                self.expect_word("MATCH")
                self._paths()

    def _paths(self) -> None:
        self.path()
        while self.accept_sign(","):
            self.path()
        self._where()

    def _where(self) -> None:
        if self.accept_word("WHERE"):
            self.expression()

    def _result(self) -> None:
        self.accept_word("DISTINCT")
        self._item()
        while self.accept_sign(","):
            self._item()
        if self.accept_word("ORDER", "BY"):
            self._order()
            while self.accept_sign(","):
                self._order()
        if self.accept_word("SKIP") or self.accept_word("OFFSET"):
            self.expression()
        if self.accept_word("LIMIT"):
            self.expression()

    def _item(self) -> None:
        if self.accept_sign("*"):
            return
        self.expression()
        if self.accept_word("AS"):
            self.variable()

    def _order(self) -> None:
        self.expression()
        if self.peek().is_word("ASC", "ASCENDING", "DESC", "DESCENDING"):
            self.take()

    def subquery(self) -> None:
        self.expect_sign("{")
        if self.peek().is_word(*_CLAUSES):
            self._statement()
        else:
            self._paths()
        self.expect_sign("}")

    def path(self) -> None:
        if self.at_variable() and self.peek(1).is_sign("="):
            self.at += 2
        if self.peek().is_word(*PATHS):
            self.take()
            self.expect_sign("(")
            self._pattern()
            self.expect_sign(")")
        else:
            self._pattern()

    def _pattern(self) -> None:
        self._node()
        while self.at_arrow():
            self._relationship()
            self._node()

    def _node(self) -> None:
        self.expect_sign("(")
        self.accept_variable()
        if self.peek().is_sign(":"):
            self.labels()
        if self.peek().is_sign("{"):
            self.map()
            last = self.tokens[self.at - 2]
            self.gaps.append((last.end, "" if last.is_sign("{") else ", ", ""))
        else:
            last = self.tokens[self.at - 1]
            self.gaps.append((last.end, "{" if last.is_sign("(") else " {", "}"))
        self._where()
        self.expect_sign(")")

    def _relationship(self) -> None:
        self.accept_sign("<")
        self.expect_sign("-")
        if self.accept_sign("["):
            self.accept_variable()
            if self.peek().is_sign(":"):
                self.labels()
            if self.accept_sign("*"):
                self._hops()
            if self.peek().is_sign("{"):
                self.map()
            self._where()
            self.expect_sign("]")
        self.expect_sign("-")
        self.accept_sign(">")

    def _hops(self) -> None:
        if self.peek().kind == "number":
            self.take()
        if self.accept_sign("..") and self.peek().kind == "number":
            self.take()
