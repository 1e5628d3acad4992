"""Changes of schema, for the sweep: how the stage of one is set, and all that there is to be seen of it."""

from __future__ import annotations

import functools
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier
from sweep_catalog import catalog
from sweep_connections import let_own, operator_of, owner_of

from fix_product import OWNER, PASSWORD
from kos.errors import ChangeFailed, ChangeIncomplete, FillFailed
from kos.journal import Operation, Run, Step
from kos.schema_change import plan_change
from kos.schema_change.change import CHANGE
from kos.schema_change.model import ChangePlan
from kos.tenancy import Store
from kos.topology import postgres
from kos.topology.model import Login, fixed

SCHEMAS = ("till_1", "till_2")
PATTERN = "till_?"
TAG = "abc123"  # in all names that are only there while a change runs
LATE, NOT_YET = "till_3", "waiting"  # the names of a schema that comes late, when it is there and before

# What kos knows of changes in this database.
KNOWN = {
    "changes": "select name, finished_at is not null from kos.changes",
    "change_placements": "select schema_name, phase, state, error from kos.change_placements",
    "change_actions": "select schema_name, action from kos.change_actions",
    "change_fills": "select schema_name, fill, part from kos.change_fills",
    "changed_schemas": "select schema_name, name from kos.changed_schemas order by 1, 2",
}
TABLES = """
select relname from pg_class where relnamespace = to_regnamespace(%s) and relkind in ('r', 'p') and not relispartition
"""

Row = dict[str, Any]
Do = Callable[[Run[ChangePlan]], Any]


@dataclass(frozen=True)
class Change:
    """A change, as its author writes it, of schemas that all have the same tables.

    What a fill puts where there was nothing stays when the change is taken back, and no two runs draw the same numbers:
    `values` says what of a column is compared, and `lost` which rows may be gone.

    With `late`, a schema more is made while the change waits to be finished. `bad` makes rows in the last of several
    schemas that a step can't do with, and `mend` is what somebody does when that step has failed.

    Of its points one in `every` has its kill, from the `first` on.
    """

    tables: str
    sql: str
    schemas: tuple[str, ...] = SCHEMAS[:1]
    values: dict[str, Callable[[Any], Any]] = field(default_factory=dict)
    lost: Callable[[Row], bool] = lambda row: False
    late: bool = False
    bad: str = ""
    mend: dict[str, str] = field(default_factory=dict)
    every: int = 1
    first: int = 1

    def set_up(self, store: Store, folder: Path) -> None:
        let_own(store)
        owner = owner_of(store)
        with owner.transaction():
            owner.execute("set local client_min_messages = warning")
            for schema in (*SCHEMAS, LATE, NOT_YET):
                owner.execute(SQL("drop schema if exists {} cascade").format(Identifier(schema)))
            for schema in (*self.schemas, *([NOT_YET] if self.late else [])):
                owner.execute(SQL("create schema {}").format(Identifier(schema)))
                _execute_in(owner, schema, self.tables)
            _execute_in(owner, self.schemas[-1], self.bad)
        for table in KNOWN:
            operator_of(store).execute(SQL("delete from kos.{}").format(Identifier(table)))

    def plan(self, store: Store, folder: Path) -> ChangePlan:
        return plan_change(store, self.sql, schemas=(PATTERN,), tag=TAG, parallel=1)

    def facts(self, store: Store, plan: Any) -> Any:
        owner = owner_of(store)
        found: dict[str, Any] = {"catalog": catalog(owner)}
        _refuse_left_over(found["catalog"])
        for schema in (*SCHEMAS, LATE, NOT_YET):
            for (table,) in owner.execute(TABLES, (schema,)).fetchall():
                found[f"{schema}.{table}"] = self._rows(owner, schema, table)
        for table, query in KNOWN.items():
            found[f"kos.{table}"] = operator_of(store).execute(query.encode()).fetchall()
        return found

    @property
    def operation(self) -> Operation:
        """That of kos, with what somebody else does meanwhile."""
        steps = [replace(step, do=self._mended(step.do)) if step.name in self.mend else step for step in CHANGE.steps]
        if self.late:
            tighten = next(number for number, step in enumerate(steps) if step.waits)
            steps.insert(tighten, Step(make_schema))
            steps.insert(0, Step(wait_for_schema, undo=unmake_schema))
        return replace(CHANGE, steps=tuple(steps))

    def _rows(self, owner: psycopg.Connection[Any], schema: str, table: str) -> Counter[str]:
        query = SQL("select to_jsonb(t) from {} t").format(Identifier(schema, table))
        rows = [row for (row,) in owner.execute(query).fetchall() if not self.lost(row)]
        seen = [
            {name: self.values[name](value) if name in self.values else value for name, value in row.items()}
            for row in rows
        ]
        return Counter(json.dumps(row, sort_keys=True) for row in seen)

    def _mended(self, do: Do) -> Do:
        """A step that is begun again when somebody has mended the rows."""

        @functools.wraps(do)
        def again(run: Run[ChangePlan]) -> Any:
            try:
                return do(run)
            except (ChangeFailed, ChangeIncomplete, FillFailed):
                run.reached("after the failure")
            with _as_owner(run.store) as owner:
                _execute_in(owner, self.schemas[-1], self.mend[do.__name__])
            run.reached("after the rows were mended")
            return do(run)

        return again


def wait_for_schema(run: Run[ChangePlan]) -> None:
    """Somebody will make a schema."""


def make_schema(run: Run[ChangePlan]) -> None:
    """Somebody makes a schema."""
    _rename(run.store, NOT_YET, LATE)


def unmake_schema(run: Run[ChangePlan]) -> None:
    """It has the other name again, so it can be seen whether it is as it was."""
    _rename(run.store, LATE, NOT_YET)


def _refuse_left_over(found: dict[str, Counter[str]]) -> None:
    """Also of the undisturbed run, which all others are compared to."""
    left = [line for lines in found.values() for line in lines if TAG in line]
    left += [line for line in found["indexes"] if "INVALID" in line]
    assert not left, left


def _rename(store: Store, name: str, other: str) -> None:
    with _as_owner(store) as owner:
        if owner.execute("select to_regnamespace(%s) is not null", (name,)).fetchone() == (True,):
            owner.execute(SQL("alter schema {} rename to {}").format(Identifier(name), Identifier(other)))


def _as_owner(store: Store) -> psycopg.Connection[Any]:
    return postgres.connect(store.topology.control.primary, Login(OWNER, fixed(PASSWORD)))


def _execute_in(owner: psycopg.Connection[Any], schema: str, statements: str) -> None:
    with owner.transaction():
        owner.execute(SQL("set local search_path = {}").format(Identifier(schema)))
        owner.execute(statements.encode())
