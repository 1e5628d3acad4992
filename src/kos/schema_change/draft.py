"""A recipe while it is being made: what each statement adds, and what later statements must know of earlier ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, LiteralString

from psycopg.sql import SQL, Composable, Identifier

from kos import errors
from kos.schema_change.facts import Connection, Grant, Table, read_grants, read_table, usual_owner
from kos.schema_change.model import ANALYZE, BUILD, CONTRACT, TIGHTEN, TRANSACTION, Action, Fill, Hanging, Recipe
from kos.sql import literal

if TYPE_CHECKING:
    from kos.schema_change.parse import Directives


class Draft:
    """A recipe for one schema, in the making.

    `created` are tables that the change itself makes; `fresh` columns that no code can know yet, by table. `physical`
    has, for a column that is renamed in this change, the name that it has in the catalog until then. `taken` are names
    of constraints and indexes that the change makes, with their columns. `freed` are indexes that are gone at its end,
    `freed_of` constraints, and `renamed_of` those of both that are there by another name. `provisional` is what a
    constraint is called until then, of which another has the name. `dropped` are tables and views that the change
    drops, `dropped_of` triggers and policies; these and constraints have names of their table's. `dropped_columns` are
    of other tables, and `again` those among them that it makes anew at the end; `not_null` are columns that it makes
    so, and `renamed` tables that get another name: the planners know them by their present one. `retyped` are columns
    that get another type after another name, by that name; `successors` what takes the place of a column. `views` are
    those among the dropped, each with the first of its DROP; `replaced` those that are made anew at the end, `remade`
    what a materialized one among them is called until then, and `together` what changes in one moment then. `last` is
    what comes at the end of the tightening. `redone` are functions that the change replaces or drops, by schema and
    name. `sequences` number columns for a while. `types` are those that the change makes, `checked_domains` those among
    them that are domains with constraints, and `enums` those that get another value. `unanalyzed` are tables of which
    PostgreSQL knows some values no more, or not yet, after a phase. `bound` has what adds a constraint, by table and
    name. `narrowed` are tables of which the file lets fewer rows be seen, as it calls them.
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
        self.last: list[Action] = []
        self.warnings: list[str] = []
        self.hanging: list[Hanging] = []
        self.created: set[str] = set()
        self.fresh: dict[str, set[str]] = {}
        self.physical: dict[tuple[str, str], str] = {}
        self.retyped: set[tuple[str, str]] = set()
        self.successors: dict[tuple[str, str], str] = {}
        self.dropped: set[str] = set()
        self.dropped_of: set[tuple[str, str]] = set()
        self.dropped_columns: set[tuple[str, str]] = set()
        self.again: set[tuple[str, str]] = set()
        self.not_null: set[tuple[str, str]] = set()
        self.renamed: dict[str, str] = {}
        self.views: dict[str, str] = {}
        self.replaced: set[str] = set()
        self.remade: dict[str, str] = {}
        self.together: list[set[str]] = []
        self.redone: set[tuple[str, str]] = set()
        self.sequences: dict[tuple[str, str], str] = {}
        self.taken: dict[str, tuple[str, ...]] = {}
        self.freed: set[str] = set()
        self.freed_of: set[tuple[str, str]] = set()
        self.renamed_of: set[tuple[str, str]] = set()
        self.provisional: dict[tuple[str, str], str] = {}
        self.types: set[str] = set()
        self.checked_domains: set[str] = set()
        self.enums: set[str] = set()
        self.unanalyzed: dict[str, dict[str, None]] = {BUILD: {}, TIGHTEN: {}, CONTRACT: {}}
        self.narrowed: set[str] = set()
        self.bound: dict[tuple[str, str], Action] = {}
        self._tables: dict[str, Table] = {}
        self._contract: dict[str, list[Action]] = {}
        self._place: dict[str, int] = {}  # of what comes at the end, by its name: the order of the file
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

    @cached_property
    def owner(self) -> str:
        """Who gets what is new."""
        return usual_owner(self.connection, self.schema)

    def column(self, table: str, name: str) -> str:
        """The name that a column has in the catalog until the contract. There, what comes later uses the new one.

        Raises:
            ChangeRefused: it is made anew there.
        """
        if (table, name) in self.again:
            raise errors.ChangeRefused(
                f"{table}.{name}", "this change has made it anew above", "say that of it in the next change"
            )
        return self.physical.get((table, name), name)

    def successor(self, table: str, name: str) -> str:
        """What a column of the catalog is to be, by its name of before the contract."""
        return self.successors.get((table, name)) or self.column(table, name)

    def is_fresh(self, table: str, column: str) -> bool:
        """Whether the change itself makes it, so no code can know it yet."""
        return table in self.created or column in self.fresh.get(table, set())

    def drops(self, table: str, kind: str, name: str) -> bool:
        """Whether the change has dropped, above, what depends on a column of the table."""
        if kind == "generated column":
            return (table, name) in self.dropped_columns
        if kind in ("trigger", "policy"):
            return (table, name) in self.dropped_of or name in {f"{each} of {of}" for of, each in self.dropped_of}
        return name in self.dropped - self.replaced

    def frees(self, table: str, name: str) -> bool:
        """Whether a table's constraint or index of that name is gone at the end."""
        return name in self.freed or (table, name) in self.freed_of

    def narrows(self, table: str) -> bool:
        """Whether fewer rows are seen at the end: what lets somebody see more must not be there before."""
        return table in self.narrowed or self.renamed.get(table) in self.narrowed

    def number(self) -> int:
        """For a name that nothing else in this change has."""
        self._numbers += 1
        return self._numbers

    def name(self, what: str) -> str:
        """A name for something temporary: `kos_<tag>_<what>_<n>`, 63 bytes at most."""
        return f"kos_{self.tag}_{what[:30]}_{self.number()}"

    def at_contract(self, action: Action, *, first: bool = False) -> None:
        """Something for the end. What is of one table is done in one transaction, in the order in which it came; what
        goes first may be in the way of the rest."""
        actions = self._contract.setdefault(action.table, [])
        actions.insert(0 if first else len(actions), action)
        self._place[action.name] = -len(self._place) if first else len(self._place)

    def queued(self, table: str) -> list[str]:
        """The statements that the end has for a table so far."""
        return [statement for each in self._contract.get(table, []) for statement in each.do]

    def analyze(self, table: str, *phases: str) -> None:
        """See that a table is analyzed after these phases; in the contract, right after its transaction."""
        for phase in phases:
            self.unanalyzed[phase][table] = None

    def withdraw(self, table: str, index: str) -> None:
        """An index is not to be dropped concurrently at the end after all."""
        self._contract[table] = [each for each in self._contract.get(table, []) if each.index != index]

    def recipe(self) -> Recipe:
        """All of it."""
        contract: list[Action] = []
        views = [self._view(table) for table in self.renamed]
        for view in views:
            gone = replace(view, do=view.undo, undo=(), also=(self.renamed[view.table],))
            self._contract.setdefault(view.table, []).insert(0, gone)
            self.at_contract(self._rename(view.table))
        alone = self.views.keys() - {self.views.get(view) for view in self.replaced}
        # Values that others use; then what depends on the tables. Other tables' ends know one by its present name.
        first = sorted(
            self._contract,
            key=lambda table: (table not in self.enums, table not in alone, table in self.renamed),
        )
        done: set[str] = set()
        for table in first:
            if table not in done:
                group = self._with(table)
                done |= group
                contract += merged(table, self._in_order(group), self._analyses(CONTRACT, group))
        return Recipe(
            (*self.expand, *views),
            tuple(self.fill),
            (*self.build, *self._analyses(BUILD)),
            (*self.tighten, *self.last, *self._analyses(TIGHTEN)),
            tuple(contract),
            tuple(self.warnings),
            tuple(replace(each, view=self.renamed.get(each.table, "")) for each in self.hanging),
        )

    def _analyses(self, phase: str, among: set[str] | None = None) -> list[Action]:
        """All of a table: for some columns only, PostgreSQL leaves out expressions that are indexed."""
        tables = [each for each in self.unanalyzed[phase] if among is None or each in among]
        return [self._analysis(phase, each) for each in tables if each not in self.created | self.dropped]

    def _analysis(self, phase: str, table: str) -> Action:
        called = self.renamed.get(table, table) if phase == CONTRACT else table
        do = "analyze {schema}." + braced(ddl("{table}", table=called))
        return Action(
            f"analyze {table} after {phase}",
            f"analyze {called}",
            called,
            self.table(table).owner,
            "SHARE UPDATE EXCLUSIVE",
            (do,),
            kind=ANALYZE,
            waits=True,
        )

    def _with(self, table: str) -> set[str]:
        """A table, and what changes in one moment with it: views that are made anew are never missed."""
        found = {table}
        while more := set().union(*(each for each in self.together if each & found)) & self._contract.keys() - found:
            found |= more
        return found

    def _in_order(self, tables: set[str]) -> list[Action]:
        """What the end has for some tables, as the file has it."""
        if len(tables) == 1:
            return self._contract[next(iter(tables))]
        actions = [each for table in sorted(tables) for each in self._contract[table]]
        if len({each.owner for each in actions}) > 1:
            raise errors.ChangeRefused(
                ", ".join(sorted(tables)),
                "they change in one moment, but do not belong to one role",
                "give them one owner; or make what replaces another under a new name, and drop that in a later change",
            )
        return sorted(actions, key=lambda each: self._place.get(each.name, -len(self._place)))

    def _view(self, table: str) -> Action:
        """The new name of a table, until it has it: a view of all columns, the new ones too, so it comes last."""
        new, facts = self.renamed[table], self.table(table)
        do = [ddl("create view {new} with (security_invoker = true) as select * from {old}", new=new, old=table)]
        grants = read_grants(self.connection, facts)
        do += [granting(new, each.column, each) for each in grants if each.privilege in _OF_VIEWS]
        undo = ddl("drop view {new}", new=new)
        return Action(
            f"view {new}", f"{new}: a view of {table}", table, facts.owner, "ACCESS SHARE", tuple(do), (undo,)
        )

    def _rename(self, table: str) -> Action:
        new = self.renamed[table]
        do = ddl("alter table {old} rename to {new}", old=table, new=new)
        return Action(
            f"rename {table}", f"{table} becomes {new}", table, self.table(table).owner, "ACCESS EXCLUSIVE", (do,)
        )


def ddl(template: LiteralString, **parts: str | Composable) -> str:
    """A statement. A plain string is an identifier; SQL that was parsed is given as `kos.sql.literal`."""
    composed = {name: Identifier(part) if isinstance(part, str) else part for name, part in parts.items()}
    return SQL(template).format(**composed).as_string()


def bare(name: str) -> str:
    """The name of a relation that the catalog tells quoted where it must be. With its schema it stays as it is."""
    within = name[1:-1].replace('""', "")
    return name[1:-1].replace('""', '"') if name.startswith('"') and '"' not in within else name


def braced(text: str) -> str:
    """SQL that is going to be formatted and is to come out of that as it is."""
    return text.replace("{", "{{").replace("}", "}}")


def granting(relation: str, column: str | None, grant: Grant) -> str:
    """A privilege, given on something else as well."""
    what = ddl("({column})", column=column) if column else ""
    option = " with grant option" if grant.grantable else ""
    granted = literal(f"grant {grant.privilege} {what} on ")
    return ddl(
        "{granted}{relation}{to}", granted=granted, relation=relation, to=literal(f" to {grant.grantee}{option}")
    )


def merged(table: str, actions: list[Action], after: list[Action]) -> list[Action]:
    """One transaction for what is of one table, then what comes after that; last, indexes are dropped concurrently,
    which may wait long."""
    together = [each for each in actions if each.kind == TRANSACTION]
    apart = [each for each in actions if each.kind != TRANSACTION]
    if not together:
        return [*after, *apart]
    one = Action(
        name=f"contract {table}",
        text="; ".join(filter(None, (each.text for each in together))),
        table=table,
        owner=together[0].owner,
        lock=max((each.lock for each in together), key=_LOCKS.index),
        do=tuple(statement for each in together for statement in each.do),
        also=tuple(dict.fromkeys(other for each in together for other in (each.table, *each.also) if other != table)),
    )
    return [one, *after, *apart]


_OF_VIEWS = ("SELECT", "INSERT", "UPDATE", "DELETE")
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
