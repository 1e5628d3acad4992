"""Cypher as tokens: what a query is made of, and what no query of a tenant may contain.

Both servers read Cypher by the same grammar (Neo4j's), so one reading of the letters is enough. Whatever they might
read in another way than this does is refused here, before anyone looks for patterns.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from typing import Literal, NoReturn

from kos import errors
from kos.projections.graph.vocabulary import WORDS

Kind = Literal["name", "quoted name", "parameter", "string", "number", "sign", "end"]

RESERVED = "kos_"
MOST_CHARACTERS = 100_000
DEEPEST = 40  # brackets within brackets

_PIECE = re.compile(
    r"""
      (?P<blank>     [ \t\n]+ | \r\n )
    | (?P<comment>   //[^\r\n]* | /\*.*?\*/ )
    | (?P<string>    '(?:[^'\\]|\\.)*' | "(?:[^"\\]|\\.)*" )
    | (?P<quoted>    `(?:[^`]|``)*` )
    | (?P<parameter> \$(?:\w+|`(?:[^`]|``)*`) )
    | (?P<number>    (?:0x[0-9a-fA-F]+ | 0o[0-7]+ | (?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)(?!\w) )
    | (?P<name>      [^\W\d]\w* )
    | (?P<sign>      <= | >= | <> | =~ | \|\| | \.\. | [-+*/%^=<>()\[\]{}:,.|&!] )
    """,
    re.VERBOSE | re.DOTALL,
)
_ODD = re.compile(r"[^ -~\t\r\n]")
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = frozenset("\\'\"`bfnrt")
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Nd"})
_QUOTABLE = re.compile(r"\w[\w .-]*")
_OPENING = {")": "(", "]": "[", "}": "{"}


@dataclass(frozen=True)
class Token:
    """A piece of a query. `text` of a name or a parameter is the name itself, without `$` and backticks."""

    kind: Kind
    text: str
    start: int
    end: int
    partner: int = -1
    """Of an opening bracket: which token closes it."""

    def is_word(self, *words: str) -> bool:
        """An unquoted name that is one of these, in any case."""
        return self.kind == "name" and self.text.isascii() and self.text.upper() in words

    def is_sign(self, *signs: str) -> bool:
        """An operator or a bracket that is one of these."""
        return self.kind == "sign" and self.text in signs


def refuse(query: str, start: int, reason: str) -> NoReturn:
    """Raise what a query is refused with."""
    raise errors.GraphQueryRefused(reason, start, query[start : start + 40])


def is_reserved(name: str) -> bool:
    """Whether a name belongs to kos, however it is spelled."""
    return unicodedata.normalize("NFKC", name).casefold().startswith(RESERVED)


def is_plain(name: str) -> bool:
    """Letters, digits and underscores, and no digit first."""
    return name.isidentifier() and all(_is_plain_letter(letter) for letter in name.replace("_", ""))


def _is_plain_letter(letter: str) -> bool:
    return unicodedata.category(letter) in _LETTERS


def without_comments(query: str) -> str:
    """`query` with blanks in place of its comments, every other character where it was.

    ArcadeDB cuts patterns out of the text and searches them for quotes and keywords: comments must not have any.

    Raises:
        GraphQueryRefused: it can't be read.
    """
    pieces = []
    for kind, start, end in _pieces(query):
        text = query[start:end]
        pieces.append(re.sub(r"[^\r\n]", " ", text) if kind == "comment" else text)
    return "".join(pieces)


def tokens(query: str) -> list[Token]:
    """What `query` is made of, without blanks and comments; at last an "end".

    Raises:
        GraphQueryRefused: it can't be read, or has a name that belongs to kos.
    """
    found = [_token(query, kind, start, end) for kind, start, end in _pieces(query) if kind not in {"blank", "comment"}]
    return [*_with_partners(query, found), Token("end", "", len(query), len(query))]


def _pieces(query: str) -> list[tuple[str, int, int]]:
    if len(query) > MOST_CHARACTERS:
        refuse(query, 0, f"it has more than {MOST_CHARACTERS:,} characters")
    # Neo4j replaces these before it reads anything, also where they stand in quotes.
    if escape := re.search(r"\\u", query, re.IGNORECASE):
        refuse(
            query, escape.start(), "a backslash with u is not allowed, not even in a string (pass it as a parameter)"
        )
    pieces = []
    at = 0
    while at < len(query):
        piece = _PIECE.match(query, at)
        if piece is None or piece.lastgroup is None:
            refuse(query, at, "this can't be read")
        _check_letters(query, piece.lastgroup, at, piece.end())
        pieces.append((piece.lastgroup, at, piece.end()))
        at = piece.end()
    return pieces


def _check_letters(query: str, kind: str, start: int, end: int) -> None:
    """Servers take some letters for blanks, or for parts of an arrow, that no one sees."""
    for odd in _ODD.finditer(query, start, end):
        allowed = odd[0] > "\x7f" if kind == "string" else _is_plain_letter(odd[0])
        if not allowed:
            refuse(query, odd.start(), f"the character U+{ord(odd[0]):04X} is not allowed here")


def _token(query: str, kind: str, start: int, end: int) -> Token:
    text = query[start:end]
    if kind == "string":
        if wrong := next((each for each in _ESCAPE.finditer(text) if each[1] not in _ESCAPES), None):
            refuse(query, start + wrong.start(), "a string has an unknown escape")
        return Token("string", text, start, end)
    if kind == "parameter":
        name = text[1:].strip("`")
        if not is_plain(name) or is_reserved(name):
            refuse(query, start, "this can't be the name of a parameter")
        return Token("parameter", name, start, end)
    if kind == "quoted":
        text = text[1:-1]
        if not _QUOTABLE.fullmatch(text):
            refuse(query, start, "a name in backticks may have letters, digits, blanks, and _ . - only")
    if kind in {"quoted", "name"} and is_reserved(text):
        refuse(query, start, f"names that begin with {RESERVED} belong to kos")
    kinds: dict[str, Kind] = {"quoted": "quoted name", "name": "name", "number": "number", "sign": "sign"}
    return Token(kinds[kind], text, start, end)


def _with_partners(query: str, found: list[Token]) -> list[Token]:
    paired = list(found)
    opened: list[int] = []
    for index, token in enumerate(found):
        if token.is_sign("(", "[", "{"):
            opened.append(index)
            if len(opened) > DEEPEST:
                refuse(query, token.start, f"it has more than {DEEPEST} brackets within each other")
        elif token.is_sign(")", "]", "}"):
            if not opened or found[opened[-1]].text != _OPENING[token.text]:
                refuse(query, token.start, "this closes nothing")
            begin = opened.pop()
            first = found[begin]
            paired[begin] = Token("sign", first.text, first.start, first.end, partner=index)
    if opened:
        refuse(query, found[opened[-1]].start, "this is not closed")
    return paired


class Cursor:
    """A place among the tokens of a query."""

    def __init__(self, query: str) -> None:
        self.query = query
        self.tokens = tokens(query)
        self.at = 0

    def peek(self, ahead: int = 0) -> Token:
        """A token further on; the last is an "end"."""
        return self.tokens[min(self.at + ahead, len(self.tokens) - 1)]

    def take(self) -> Token:
        """The next token."""
        token = self.peek()
        self.at += 1
        return token

    def accept_word(self, *words: str) -> bool:
        """Go past these words, if they are the next, one after another."""
        if all(self.peek(ahead).is_word(word) for ahead, word in enumerate(words)):
            self.at += len(words)
            return True
        return False

    def accept_sign(self, sign: str) -> bool:
        """Go past this sign, if it is the next."""
        if self.peek().is_sign(sign):
            self.at += 1
            return True
        return False

    def expect_word(self, word: str) -> None:
        """Go past this word."""
        if not self.accept_word(word):
            self.refuse(f"{word} is missing")

    def expect_sign(self, sign: str) -> Token:
        """Go past this sign."""
        if not self.peek().is_sign(sign):
            self.refuse(f"{sign} is missing")
        return self.take()

    def refuse(self, reason: str) -> NoReturn:
        """Nothing else can stand here."""
        refuse(self.query, self.peek().start, reason)

    def name(self) -> str:
        """Go past the name of a label, a type, a key: any word will do."""
        if self.peek().kind not in {"name", "quoted name"}:
            self.refuse("a name is missing")
        return self.take().text

    def at_variable(self) -> bool:
        """Whether a variable is next. ArcadeDB puts its name into text that it parses again: backticks don't help."""
        token = self.peek()
        if token.kind not in {"name", "quoted name"}:
            return False
        return is_plain(token.text) and not token.text.startswith("__") and token.text.upper() not in WORDS

    def variable(self) -> None:
        """Go past a variable."""
        if not self.at_variable():
            self.refuse("a variable is missing, or has a name that can't be one")
        self.take()

    def accept_variable(self) -> None:
        """Go past a variable, if one is next."""
        if self.at_variable():
            self.take()

    def at_arrow(self, ahead: int = 0) -> bool:
        """Whether signs follow that could begin the relationship of a pattern."""
        line = ahead + 1 if self.peek(ahead).is_sign("<") else ahead
        return self.peek(line).is_sign("-") and self.peek(line + 1).is_sign("-", "[")

    def at_pattern(self, ahead: int = 0) -> bool:
        """Whether a bracket follows, and behind what closes it an arrow."""
        token = self.peek(ahead)
        return token.is_sign("(") and self.at_arrow(token.partner + 1 - self.at)
