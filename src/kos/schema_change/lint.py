"""What in ordinary DDL is dangerous on a database that is at work, why, and its online form. Needs no database."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from kos import errors
from kos.schema_change.lint_columns import COLUMNS
from kos.schema_change.lint_constraints import CONSTRAINTS
from kos.schema_change.lint_indexes import INDEXES
from kos.schema_change.lint_look import Look, Rule, one_line, quoted
from kos.schema_change.lint_seen import BEGINS, Seen, commands_of
from kos.schema_change.lint_statements import STATEMENTS
from kos.schema_change.lint_transactions import ANY, LOCK_TIMEOUT, OPEN, TRANSACTIONS, waited_for
from kos.schema_change.parse import Statement, choice, comments_of, inner, parse_statements, render_command

LINT_RULES = (*INDEXES, *STATEMENTS, *COLUMNS, *CONSTRAINTS, *TRANSACTIONS)
NAMES = sorted({each.name for each in LINT_RULES})
OLDEST, NEWEST = 15, 18
_OF_THE_FILE = {LOCK_TIMEOUT.name, OPEN.name}  # allowed anywhere, they are allowed


@dataclass(frozen=True)
class Finding:
    """`danger` is what happens to a database at work, `instead` what to run there, as SQL or in words."""

    line: int
    rule: str
    statement: str
    danger: str
    instead: str


def lint(text: str, *, version: int = OLDEST, in_transaction: bool = False) -> list[Finding]:
    """What is dangerous in the statements of a file, if they are run as they stand, in its order.

    `version` is PostgreSQL's: what is written is right for it and all later ones. `in_transaction` says that the tool
    which runs the file begins a transaction before it.

    Raises:
        ChangeUnreadable: it isn't SQL, or a comment allows a rule that there isn't.
    """
    statements = parse_statements(text)
    allowed = _Allowed(text, statements)
    seen = Seen(in_transaction=in_transaction)
    found: list[Finding] = []
    begun: Statement | None = None
    for statement in statements:
        node = statement.node
        if type(node).__name__ == "AlterTableStmt":
            seen.forget_dropped(node)
        for rule, finding in _findings(statement, text, Look(node, None, seen, version)):
            once = rule is LOCK_TIMEOUT and any(each.rule == rule.name for each in found)
            if not once and not allowed(rule.name, statement):
                found.append(finding)
        waited = waited_for(node, seen)
        seen.learn(node)
        if seen.in_transaction:
            seen.locked += [quoted(*each) for each in waited]
        if type(node).__name__ == "TransactionStmt":
            begun = statement if choice(node, "kind") in BEGINS else begun
    if begun is not None and seen.in_transaction and not allowed(OPEN.name, begun):
        found.append(_finding(OPEN, begun.line, begun.text, {}))
    return sorted(found, key=lambda each: each.line)


def _findings(statement: Statement, text: str, look: Look) -> Iterator[tuple[Rule, Finding]]:
    """All rules on the statement; then, where it is an ALTER TABLE, on each of its commands."""
    kind = type(look.statement).__name__
    for rule in LINT_RULES:
        if rule.on in (kind, ANY) and (fields := rule.finds(look)) is not None:
            yield rule, _finding(rule, statement.line, statement.text, fields)
    if kind != "AlterTableStmt":
        return
    for command in commands_of(look.statement):
        here = Look(look.statement, command, look.seen, look.version)
        for rule in LINT_RULES:
            if rule.on == choice(command, "subtype") and (fields := rule.finds(here)) is not None:
                shown = render_command(look.statement, command)
                yield rule, _finding(rule, _line(text, command, statement.line), shown, fields)


def _finding(rule: Rule, line: int, text: str, fields: dict[str, str]) -> Finding:
    instead = rule.instead.format(**fields) + ("\nor: kos change start FILE" if rule.by_kos else "")
    return Finding(line, rule.name, one_line(text), rule.danger.format(**fields), instead)


def _line(text: str, command: Any, line: int) -> int:
    """Of a command, where the parser says where it stands; else the line of its statement."""
    location = getattr(inner(getattr(command, "def")), "location", 0)
    return text.encode()[:location].count(b"\n") + 1 if location > 0 else line


class _Allowed:
    """`-- kos: allow RULE, RULE` on a statement, or above it."""

    def __init__(self, text: str, statements: tuple[Statement, ...]) -> None:
        self._said: list[tuple[int, set[str]]] = []
        self._before: dict[int, int] = {}
        end = 0
        for each in statements:
            self._before[each.line] = end
            end = each.line + each.text.count("\n")
        for line, comment in comments_of(text):
            words = comment.removeprefix("kos:").split(None, 1)
            if comment.startswith("kos:") and words[:1] == ["allow"]:
                self._said.append((line, _named(words[1:], line)))

    def __call__(self, rule: str, statement: Statement) -> bool:
        last = statement.line + statement.text.count("\n")
        first = min(self._before[statement.line] + 1, statement.line)
        return any(rule in names and (first <= line <= last or rule in _OF_THE_FILE) for line, names in self._said)


def _named(said: list[str], line: int) -> set[str]:
    names = set(re.split(r"[\s,]+", said[0].strip())) if said else set()
    unknown = names - set(NAMES)
    if unknown or not names:
        reason = f"the linter has no rule {min(unknown)!r}" if unknown else "after allow comes a rule"
        raise errors.ChangeUnreadable(line, f"{reason}; see: kos change lint --rules")
    return names
