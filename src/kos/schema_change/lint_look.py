"""A rule of the linter, and what it looks at."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kos.schema_change.lint_seen import Seen, name_of
from kos.schema_change.parse import inner, parse_statement, render, render_command, render_type

Fields = dict[str, str]


@dataclass(frozen=True)
class Look:
    """A statement, one `command` of it where it is an ALTER TABLE, and what the file did before."""

    statement: Any
    command: Any
    seen: Seen
    version: int

    @property
    def table(self) -> str:
        """As SQL."""
        return quoted(*name_of(self.statement.relation))

    @property
    def relname(self) -> str:
        """Without its schema, as the catalog has it."""
        return str(self.statement.relation.relname)

    @property
    def given(self) -> Any:
        """What an ALTER TABLE's command adds or changes: a ColumnDef, a Constraint, …"""
        return inner(getattr(self.command, "def"))

    @property
    def others_table(self) -> bool:
        """Whether the table was there before the file."""
        return not self.seen.is_made(name_of(self.statement.relation))


@dataclass(frozen=True)
class Rule:
    """`finds` looks at nodes of the kind `on` (a statement's, or `AT_…` for a command of ALTER TABLE).

    What it gives fills the templates: `danger` says the lock, what is read or rewritten under it, and what breaks;
    `instead` is the SQL that one writes by hand. `by_kos` says that `kos change start` does that.
    """

    name: str
    on: str
    finds: Callable[[Look], Fields | None]
    danger: str
    instead: str
    by_kos: bool = True


def quoted(*parts: str) -> str:
    """A name as SQL, quoted where PostgreSQL asks for it."""
    node = parse_statement("truncate x")
    relation = node.relations[0].range_var
    relation.relname = parts[-1]
    relation.schemaname = parts[0] if len(parts) > 1 else ""
    return render(node).removeprefix("TRUNCATE ")


def listed(columns: list[str]) -> str:
    """Columns as SQL."""
    return ", ".join(map(quoted, columns))


def type_of(column: Any) -> str:
    """A column's type as SQL."""
    return render_type(column.type_name)


def copy_of(message: Any) -> Any:
    """Another that is equal to it."""
    made = type(message)()
    made.CopyFrom(message)
    return made


def plain_column(look: Look, *without: str) -> str:
    """ADD COLUMN without its constraints of some sorts."""
    command = copy_of(look.command)
    column = getattr(command, "def").column_def
    kept = [copy_of(each) for each in column.constraints]
    del column.constraints[:]
    attributes = ("CONSTR_ATTR_",) if "CONSTR_DEFAULT" not in without else ()
    for each in kept:
        name = _contype(each)
        if name not in without and not name.startswith(attributes or ("never",)):
            column.constraints.add().CopyFrom(each)
    return render_command(look.statement, command)


def _contype(node: Any) -> str:
    constraint = inner(node)
    return str(constraint.DESCRIPTOR.fields_by_name["contype"].enum_type.values_by_number[constraint.contype].name)


def add_constraint(look: Look, constraint: Any) -> str:
    """ALTER TABLE … ADD CONSTRAINT."""
    statement = parse_statement("alter table x add check (true)")
    statement.relation.CopyFrom(look.statement.relation)
    getattr(statement.cmds[0].alter_table_cmd, "def").constraint.CopyFrom(constraint)
    return render(statement)


def one_line(text: str, limit: int = 200) -> str:
    """For people: white space is one space, and what is long is cut."""
    flat = re.sub(r"\s+", " ", text).strip()
    return flat if len(flat) <= limit else f"{flat[: limit - 1]}…"
