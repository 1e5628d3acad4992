"""Recipes of changes carried out in a scratch schema without the machinery: what is tested is what they consist of."""

from __future__ import annotations

import difflib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from fix_database import as_superuser
from fix_product import catalog
from kos import sql
from kos.schema_change.model import TRANSACTION, Action, Fill, Recipe
from kos.schema_change.parse import parse_change
from kos.schema_change.plan import plan_recipe
from kos.topology.embedded import Stack
from kos.topology.model import Login, Topology, fixed

Connection = psycopg.Connection[Any]


@dataclass
class Scratch:
    """A database in which each test has schemas of its own."""

    connection: Connection
    topology: Topology
    login: Login
    numbers: Iterator[int] = field(default_factory=itertools.count)
    dumps: dict[tuple[str, ...], list[str]] = field(default_factory=dict)

    def schema(self, *statements: str) -> str:
        """A new schema with what the statements make in it."""
        name = f"scratch_{next(self.numbers)}"
        self.connection.execute(SQL("create schema {}").format(Identifier(name)))
        for each in statements:
            self.run(name, each)
        return name

    def made(self, *statements: str) -> list[str]:
        """The dump of a schema with what the statements make in it."""
        if statements not in self.dumps:
            self.dumps[statements] = self.dump(self.schema(*statements))
        return self.dumps[statements]

    def run(self, schema: str, statement: str, *more: str) -> list[Any]:
        """Statements in one transaction, as those of an action run."""
        with self.connection.transaction():
            self.connection.execute("select set_config('search_path', %s, true)", (f"{schema}, public",))
            for each in (statement, *more):
                cursor = self.connection.execute(sql.literal(each))
            return cursor.fetchall() if cursor.description else []

    def plan(self, schema: str, change: str) -> Recipe:
        """The recipe of a change."""
        return plan_recipe(self.connection, schema, parse_change(change), "abc123")

    def do(self, schema: str, steps: Iterable[Action | Fill]) -> None:
        """Steps, one after another."""
        for each in steps:
            if isinstance(each, Fill):
                self._fill(schema, each)
            elif each.kind == TRANSACTION:
                self.run(schema, *each.do)
            else:
                self.connection.execute("select set_config('search_path', %s, false)", (f"{schema}, public",))
                self.connection.execute(sql.literal(each.do[0]).format(schema=Identifier(schema)))
                self.connection.execute("reset search_path")

    def undo(self, schema: str, steps: Iterable[Action | Fill]) -> None:
        """The steps taken back, from the last."""
        for each in reversed(tuple(steps)):
            if isinstance(each, Fill) or not each.undo:
                continue
            if each.kind == TRANSACTION:
                self.run(schema, *each.undo)
            else:
                self.connection.execute(sql.literal(each.undo[0]).format(schema=Identifier(schema)))

    def _fill(self, schema: str, fill: Fill) -> None:
        where = sql.literal(fill.needs)
        if fill.delete:
            self.run(schema, SQL("delete from {} where {}").format(Identifier(fill.table), where).as_string())
        else:
            assigned = SQL(", ").join(
                SQL("{} = {}").format(Identifier(column), sql.literal(value)) for column, value in fill.assign.items()
            )
            update = SQL("update {} set {} where {}").format(Identifier(fill.table), assigned, where)
            self.run(schema, update.as_string())

    def dump(self, schema: str) -> list[str]:
        """The schema as pg_dump tells it: lines, since a change may leave columns in another order."""
        text = catalog(self.topology.control.primary, self.login, "--schema", schema).replace(schema, "scratch")
        lines = [line.strip().rstrip(",") for line in text.splitlines() if line and not line.startswith("--")]
        return sorted(_ordered(line) if line.startswith("CREATE STATISTICS") else line for line in lines)


def _ordered(statistics: str) -> str:
    """Extended statistics tell their columns in the order of the table's."""
    return re.sub(r"(?<= ON )[^;]*(?= FROM )", lambda found: ", ".join(sorted(found[0].split(", "))), statistics)


@contextmanager
def scratch_database(stack: Stack, topology: Topology) -> Iterator[Scratch]:
    """For a fixture of a module."""
    secrets = json.loads((stack.folder / ".kos" / "secrets.json").read_text())
    login = Login("postgres", fixed(secrets["postgres"]))
    with as_superuser(stack, topology.control.primary.database) as connection:
        connection.autocommit = True
        connection.execute("create extension if not exists btree_gist")
        yield Scratch(connection, topology, login)


def before_contract(recipe: Recipe) -> tuple[Action | Fill, ...]:
    """All that can be taken back."""
    return (*recipe.expand, *recipe.fill, *recipe.build, *recipe.tighten)


def different(expected: list[str], found: list[str]) -> list[str]:
    """The lines that only one of two dumps has."""
    return [line for line in difflib.ndiff(expected, found) if line[0] in "+-"]


def there_and_back(scratch: Scratch, before: tuple[str, ...], change: str, *, naive: str | None = None) -> str:
    """Start, rollback, start, finish: as it was after the one, and after the other as the change in one go makes it.

    Returns the schema in which the change was made.
    """
    expected, was = scratch.made(*before, naive or change), scratch.made(*before)
    schema = scratch.schema(*before)
    recipe = scratch.plan(schema, change)
    scratch.do(schema, before_contract(recipe))
    scratch.undo(schema, before_contract(recipe))
    assert (lines := different(was, scratch.dump(schema))) == [], lines
    again = scratch.plan(schema, change)
    scratch.do(schema, before_contract(again))
    scratch.do(schema, again.contract)
    assert (lines := different(expected, scratch.dump(schema))) == [], lines
    return schema
