"""Reading a query by a small, strict grammar, to find its node patterns.

The grammar is a part of openCypher: the clauses that read, patterns, expressions. Whatever is not in it is refused.
Three rules make sure that no server finds a node pattern where this finds none:

- a pattern without an arrow stands only where nothing else can: after MATCH, and where a subquery begins;
- signs that could begin an arrow (`--`, `-[`, `<--`, `<-[`) are read as one or refused, never as arithmetic;
- a word of Cypher is never the name of a variable, so that no clause begins unseen.

Precedence is left to the servers: it moves no pattern.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from kos.projections.graph.cypher import Cursor, Token
from kos.projections.graph.vocabulary import FUNCTIONS

_OPERATORS = ("+", "-", "*", "/", "%", "^", "=", "<>", "<", ">", "<=", ">=", "=~", "||")
_WORD_OPERATORS = (("AND",), ("OR",), ("XOR",), ("IN",), ("CONTAINS",), ("STARTS", "WITH"), ("ENDS", "WITH"))
_PATHS = ("SHORTESTPATH", "ALLSHORTESTPATHS")
_CLAUSES = ("MATCH", "OPTIONAL", "UNWIND", "WITH", "RETURN")


class Expressions(Cursor, ABC):
    """Expressions, and the labels in them. Each method goes past what it is named after."""

    bar_ends = False

    @abstractmethod
    def path(self) -> None:
        """One pattern, or shortestPath of one."""

    @abstractmethod
    def subquery(self) -> None:
        """What stands in braces after EXISTS, COUNT and COLLECT."""

    def expression(self, *, bar_ends: bool = False) -> None:
        """Operands and operators. Inside of a comprehension `|` ends it, and is no "or" of labels."""
        before, self.bar_ends = self.bar_ends, bar_ends
        self._operand()
        while self._accept_operator():
            self._operand()
        self.bar_ends = before

    def expressions(self, closing: str) -> None:
        """Expressions between commas, and the bracket that closes them."""
        if not self.peek().is_sign(closing):
            self.expression()
            while self.accept_sign(","):
                self.expression()
        self.expect_sign(closing)

    def map(self) -> None:
        """A map in braces."""
        self.expect_sign("{")
        while not self.peek().is_sign("}"):
            self.name()
            self.expect_sign(":")
            self.expression()
            if not self.accept_sign(","):
                break
        self.expect_sign("}")

    def labels(self, *, bar_ends: bool = False) -> None:
        """`:A`, `:A|B`, `:!(A&B)` and the like."""
        self.expect_sign(":")
        self._label_expression(bar_ends)

    def _label_expression(self, bar_ends: bool) -> None:
        while True:
            while self.accept_sign("!"):
                pass
            if self.accept_sign("("):
                self._label_expression(False)
                self.expect_sign(")")
            elif not self.accept_sign("%"):
                self.name()
            if self.peek().is_sign("|") and not bar_ends:
                self.take()
                self.accept_sign(":")
            elif not (self.accept_sign("&") or self.accept_sign(":")):
                return

    def _operand(self) -> None:
        while True:
            self._refuse_arrow()
            if not (self.accept_word("NOT") or self.accept_sign("+") or self.accept_sign("-")):
                break
        self._primary()
        self._postfixes()

    def _accept_operator(self) -> bool:
        self._refuse_arrow()
        if self.peek().is_sign(*_OPERATORS):
            self.take()
            return True
        return any(self.accept_word(*words) for words in _WORD_OPERATORS)

    def _refuse_arrow(self) -> None:
        if self.at_arrow():
            self.refuse("this could begin the arrow of a pattern, and none can be here")

    def _postfixes(self) -> None:
        while True:
            if self.accept_sign("."):
                self.name()
            elif self.accept_sign("["):
                self._index()
            elif self.accept_word("IS"):
                self.accept_word("NOT")
                self.expect_word("NULL")
            elif self.peek().is_sign(":"):
                self.labels(bar_ends=self.bar_ends)
            else:
                return

    def _index(self) -> None:
        if not self.peek().is_sign(".."):
            self.expression()
        if self.accept_sign("..") and not self.peek().is_sign("]"):
            self.expression()
        self.expect_sign("]")

    def _primary(self) -> None:
        token = self.peek()
        if token.kind in {"number", "string", "parameter"} or token.is_word("TRUE", "FALSE", "NULL"):
            self.take()
        elif self.at_pattern() or token.is_word(*_PATHS):
            self.path()
        elif self.accept_sign("("):
            self.expression()
            self.expect_sign(")")
        elif token.is_sign("["):
            self._list()
        elif token.is_sign("{"):
            self.map()
        elif self.accept_word("CASE"):
            self._case()
        elif token.is_word("EXISTS", "COUNT", "COLLECT") and self.peek(1).is_sign("{"):
            self.take()
            self.subquery()
        elif token.is_word("ALL", "ANY", "NONE", "SINGLE"):
            self._predicate()
        elif self.accept_word("REDUCE"):
            self._reduce()
        else:
            self._named()

    def _list(self) -> None:
        self.expect_sign("[")
        if self.at_pattern(2 if self.at_variable() and self.peek(1).is_sign("=") else 0):
            self.path()
            if self.accept_word("WHERE"):
                self.expression(bar_ends=True)
            self.expect_sign("|")
            self.expression()
        elif self.at_variable() and self.peek(1).is_word("IN"):
            self.expression(bar_ends=True)
            if self.accept_word("WHERE"):
                self.expression(bar_ends=True)
            if self.accept_sign("|"):
                self.expression()
            elif self.accept_sign(","):
                self.expressions("]")
                return
        else:
            self.expressions("]")
            return
        self.expect_sign("]")

    def _case(self) -> None:
        if not self.peek().is_word("WHEN"):
            self.expression()
        self.expect_word("WHEN")
        while True:
            self.expression()
            self.expect_word("THEN")
            self.expression()
            if not self.accept_word("WHEN"):
                break
        if self.accept_word("ELSE"):
            self.expression()
        self.expect_word("END")

    def _predicate(self) -> None:
        self.take()
        self.expect_sign("(")
        self.variable()
        self.expect_word("IN")
        self.expression()
        if self.accept_word("WHERE"):
            self.expression()
        self.expect_sign(")")

    def _reduce(self) -> None:
        self.expect_sign("(")
        self.variable()
        self.expect_sign("=")
        self.expression()
        self.expect_sign(",")
        self.variable()
        self.expect_word("IN")
        self.expression(bar_ends=True)
        self.expect_sign("|")
        self.expression()
        self.expect_sign(")")

    def _named(self) -> None:
        """A call, a map projection, or a variable."""
        parts = 1
        while self.peek(2 * parts - 1).is_sign(".") and self.peek(2 * parts).kind == "name":
            parts += 1
        if self.peek(2 * parts - 1).is_sign("("):
            self._call([self.peek(2 * part) for part in range(parts)])
            return
        self.variable()
        if self.peek().is_sign("{"):
            self._projection()

    def _call(self, parts: list[Token]) -> None:
        name = ".".join(part.text for part in parts)
        if name.lower() not in FUNCTIONS or not name.isascii() or parts[0].kind != "name":
            self.refuse(f"the function {name} is not allowed")
        self.at += 2 * len(parts)
        self.accept_word("DISTINCT")
        if name.lower() == "count" and self.accept_sign("*"):
            self.expect_sign(")")
        else:
            self.expressions(")")

    def _projection(self) -> None:
        self.expect_sign("{")
        while not self.peek().is_sign("}"):
            if self.accept_sign("."):
                if not self.accept_sign("*"):
                    self.name()
            elif self.peek(1).is_sign(":"):
                self.name()
                self.expect_sign(":")
                self.expression()
            else:
                self.variable()
            if not self.accept_sign(","):
                break
        self.expect_sign("}")


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
        if self.peek().is_word(*_PATHS):
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
