"""What a change of schema is made of. Plain data: a plan is stored before its first step."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

from kos.tenancy.placement import Place

# The phases of a recipe, in order. `start` takes the first three, `finish` the last two; from `contract` on there is no
# way back.
EXPAND, FILL, BUILD, TIGHTEN, CONTRACT = PHASES = ("expand", "fill", "build", "tighten", "contract")

LEFT_OUT = "left out"  # the state of a placement that is not to have the change after all

TRANSACTION, CREATE_INDEX, DROP_INDEX, ANALYZE = KINDS = ("transaction", "create index", "drop index", "analyze")


@dataclass(frozen=True)
class Placement:
    """One schema of one database that a change is made in. `recipe` is the number of its recipe in the plan: where the
    catalogs differ, so do the recipes."""

    shard: str
    database: str
    schema: str
    recipe: int = 0

    @property
    def place(self) -> Place:
        """The database."""
        return Place(self.shard, self.database)

    @property
    def name(self) -> str:
        """For people."""
        return f"{self.shard}/{self.database}/{self.schema}"


@dataclass(frozen=True)
class Action:
    """Statements that belong together: one transaction, under one short lock, as the role that owns the table.

    Statements name the tables of the placement's schema without it; they run with that schema first in the search path,
    so one recipe serves a thousand schemas. `lock` is the strongest that is asked for, as PostgreSQL names it (ACCESS
    EXCLUSIVE), or "" for none that anybody could wait for. `scans` says that all rows are read, with the lock held;
    `waits` that the action may last, so only its lock is waited for with a limit.

    `also` are other tables of the schema that are locked too; with `only`, none of their partitions is. Where rows are
    in the way of an action, the fill of that name, `repeat`, is done anew, and the action after it. One of a partition
    (`part_of`: of that table) is left out where that is none any more.

    `against` is a condition for rows that are in its way: they are looked for before it, or, where it scans, named when
    it has failed. `proves` is the action whose constraint it proves: as long as it has not, that one is taken back
    whenever something fails, since it binds whoever updates a row that violates it.

    Of kind CREATE_INDEX and DROP_INDEX, `do` is one statement that runs CONCURRENTLY, outside of a transaction, with
    the table and the index named as `{schema}.name`; `index` is the index. `undo` takes back what `do` has done, and is
    only run where that is known to have happened; an index is dropped by `undo` wherever it is. Of kind ANALYZE it runs
    outside of a transaction too.
    """

    name: str
    text: str
    table: str
    owner: str
    lock: str
    do: tuple[str, ...]
    undo: tuple[str, ...] = ()
    kind: str = TRANSACTION
    index: str | None = None
    scans: bool = False
    waits: bool = False
    also: tuple[str, ...] = ()
    only: bool = False
    repeat: str | None = None
    part_of: str | None = None
    against: str = ""
    proves: str | None = None


@dataclass(frozen=True)
class Fill:
    """Rows that get values, batch by batch.

    `assign` are SQL expressions over the row, by column, and `needs` the condition for a row to be filled; or `python`
    is a callable as `module:function`, called with the values of `reads` for each row, whose result goes to `column`.
    `rows` is the planner's estimate. With `delete` they get no values but are deleted.
    """

    name: str
    text: str
    table: str
    owner: str
    needs: str
    assign: dict[str, str] = field(default_factory=dict)
    column: str | None = None
    python: str | None = None
    reads: tuple[str, ...] = ()
    rows: int | None = None
    delete: bool = False


@dataclass(frozen=True)
class Hanging:
    """What hangs on a column, as texts; `owner` is the table's. A default that its `twin` has too doesn't count, nor
    does a `view` that the change makes of the table."""

    table: str
    column: str
    owner: str
    on: tuple[str, ...] = ()
    twin: str = ""
    view: str = ""


@dataclass(frozen=True)
class Loss:
    """A name that will not mean what it does when the change is finished. `column` is None of a table. `owner` is the
    table's, `functions` are those that the file gives another body, and `triggers` those of the table that it drops."""

    table: str
    column: str | None
    becomes: str | None
    retyped: bool = False
    owner: str = ""
    functions: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()


@dataclass(frozen=True)
class Recipe:
    """The steps of one change in schemas whose catalogs are the same. `warnings` are for people; what is `hanging` must
    stay the same, and no function of a trigger may need what there are `losses` of."""

    expand: tuple[Action, ...] = ()
    fill: tuple[Fill, ...] = ()
    build: tuple[Action, ...] = ()
    tighten: tuple[Action | Fill, ...] = ()
    contract: tuple[Action, ...] = ()
    warnings: tuple[str, ...] = ()
    hanging: tuple[Hanging, ...] = ()
    losses: tuple[Loss, ...] = ()


@dataclass(frozen=True)
class Scope:
    """Which schemas a change is for: of one database, or, where `shipped`, those of all tenants, wherever they are."""

    shard: str
    database: str
    schemas: tuple[str, ...]
    shipped: bool = False


@dataclass(frozen=True)
class ChangePlan:
    """A change, in all placements. `sql` is what its author wrote, `plain` the same in one go, for a schema without
    rows. `fingerprints` say, by recipe, what the catalogs were like; `tables` are those that they are about."""

    name: str
    sql: str
    plain: str
    tag: str
    scope: Scope
    tables: tuple[str, ...]
    recipes: tuple[Recipe, ...]
    fingerprints: tuple[str, ...]
    placements: tuple[Placement, ...]
    parallel: int = 4

    @property
    def subject(self) -> str:
        """One change at a time."""
        return "schema"

    @cached_property
    def count(self) -> int:
        """How many placements there are."""
        return len(self.placements)

    @property
    def place(self) -> Place:
        """Where the change is noted unless it is said otherwise: that of its scope."""
        return Place(self.scope.shard, self.scope.database)

    def recipe_of(self, placement: Placement) -> Recipe:
        """What is done there."""
        return self.recipes[placement.recipe]
