"""A recipe while it is being made: what each statement adds, and what later statements must know of earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from kos import errors
from kos.schema_change.facts import Connection, Table, read_table
from kos.schema_change.model import Action, Fill, Recipe

if TYPE_CHECKING:
    from kos.schema_change.parse import Directives


class Draft:
    """A recipe for one schema, in the making.

    `created` are tables that the change itself makes; `fresh` columns that no code can know yet, by table. `physical`
    has, for a column that is renamed in this change, the name that it has in the catalog until then.
    """

    def __init__(self, connection: Connection, schema: str, tag: str, directives: Directives) -> None:
        self.connection = connection
        self.schema = schema
        self.tag = tag
        self.directives = directives
        self.expand: list[Action] = []
        self.fill: list[Fill] = []
        self.build: list[Action] = []
        self.tighten: list[Action | Fill] = []
        self.warnings: list[str] = []
        self.created: set[str] = set()
        self.fresh: dict[str, set[str]] = {}
        self.physical: dict[tuple[str, str], str] = {}
        self._tables: dict[str, Table] = {}
        self._contract: dict[str, list[Action]] = {}
        self._numbers = 0

    def table(self, name: str) -> Table:
        """A table as it was before the change.

        Raises:
            ChangeRefused: there is none.
        """
        if name not in self._tables:
            found = read_table(self.connection, self.schema, name)
            if found is None:
                raise errors.ChangeRefused(name, "there is no such table", f"look: \\dt {self.schema}.*")
            self._tables[name] = found
        return self._tables[name]

    def number(self) -> int:
        """For a name that nothing else in this change has."""
        self._numbers += 1
        return self._numbers

    def name(self, what: str) -> str:
        """A name for something temporary: `kos_<tag>_<what>_<n>`, 63 bytes at most."""
        return f"kos_{self.tag}_{what[:30]}_{self.number()}"

    def at_contract(self, action: Action) -> None:
        """Something for the end. What is of one table is done in one transaction, in the order in which it came."""
        self._contract.setdefault(action.table, []).append(action)

    def recipe(self) -> Recipe:
        """All of it."""
        contract: list[Action] = []
        for table, actions in self._contract.items():
            contract += merged(table, actions)
        return Recipe(
            tuple(self.expand),
            tuple(self.fill),
            tuple(self.build),
            tuple(self.tighten),
            tuple(contract),
            tuple(self.warnings),
        )


def merged(table: str, actions: list[Action]) -> list[Action]:
    """One transaction for what is of one table; indexes are dropped concurrently, after that."""
    together = [each for each in actions if each.kind == "transaction"]
    apart = [each for each in actions if each.kind != "transaction"]
    if not together:
        return apart
    one = Action(
        name=f"contract {table}",
        text="; ".join(each.text for each in together),
        table=table,
        owner=together[0].owner,
        lock=max((each.lock for each in together), key=_LOCKS.index),
        do=tuple(statement for each in together for statement in each.do),
    )
    return [one, *apart]


_LOCKS = (
    "",
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)

Planner = Callable[..., None]
