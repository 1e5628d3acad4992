"""Reading Cypher's expressions, and the labels in them. Precedence is left to the servers: it moves no pattern."""

from __future__ import annotations

from abc import ABC, abstractmethod

from kos.projections.graph.cypher import DEEPEST, Cursor, Token
from kos.projections.graph.vocabulary import FUNCTIONS, PATHS

_OPERATORS = ("+", "-", "*", "/", "%", "^", "=", "<>", "<", ">", "<=", ">=", "=~", "||")
_WORD_OPERATORS = (("IN",), ("CONTAINS",), ("STARTS", "WITH"), ("ENDS", "WITH"))


class Expressions(Cursor, ABC):
    """Each method goes past what it is named after."""

    bar_ends = False
    depth = 0

    @abstractmethod
    def path(self) -> None:
        """One pattern, or shortestPath of one."""

    @abstractmethod
    def subquery(self) -> None:
        """What stands in braces after EXISTS, COUNT and COLLECT."""

    def expression(self, *, bar_ends: bool = False) -> None:
        """Operands and operators. Inside of a comprehension `|` ends it, and is no "or" of labels."""
        if self.depth > 2 * DEEPEST:
            self.refuse("it has too many expressions within each other")
        before, self.bar_ends = self.bar_ends, bar_ends
        self.depth += 1
        self._nots()
        self._operand()
        while self._accept_operator():
            self._operand()
        self.depth -= 1
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
                if self.peek().text.casefold().startswith("kos"):
                    self.refuse("labels and types that begin with Kos are its own")
                self.name()
            if self.peek().is_sign("|") and not bar_ends:
                self.take()
                self.accept_sign(":")
            elif not (self.accept_sign("&") or self.accept_sign(":")):
                return

    def _nots(self) -> None:
        """Where a truth value begins; elsewhere NOT would be the name of a function."""
        while self.accept_word("NOT"):
            pass

    def _operand(self) -> None:
        self._refuse_arrow()
        while self.accept_sign("+") or self.accept_sign("-"):
            self._refuse_arrow()
        self._primary()
        self._postfixes()

    def _accept_operator(self) -> bool:
        self._refuse_arrow()
        if self.accept_word("AND") or self.accept_word("OR") or self.accept_word("XOR"):
            self._nots()
            return True
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
        elif self.at_pattern() or token.is_word(*PATHS):
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
