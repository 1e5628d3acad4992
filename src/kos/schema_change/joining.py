"""A schema of tenants' tables that is made while a change is open has what that adds before anybody uses it.

It needs neither the change's lease nor its other databases, since nobody else works in it: see `making` in
`kos.tenancy.changes`. Rows are filled by `finish`, which does so anyhow with those that old code has written.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

from psycopg.sql import Identifier

from kos.journal import plan_of
from kos.journal.fences import note_place
from kos.journal.history import BACKWARDS
from kos.schema_change import act
from kos.schema_change.change import CHANGE
from kos.schema_change.facts import Connection
from kos.schema_change.make import find_recipe
from kos.schema_change.model import BUILD, EXPAND, Action, ChangePlan, Placement
from kos.schema_change.site import LOCK_TIMEOUT, QUERIES, Site
from kos.schema_change.start import find_open
from kos.tenancy import Store
from kos.tenancy.placement import Place


class Newcomer(Site):
    """A schema that nobody uses yet. It has no run; `lock` is the connection on which its maker is known to be at work:
    where that has ended, nothing is done any more."""

    unused = True

    def __init__(self, operation: UUID, placement: Placement, connection: Connection, lock: Connection) -> None:
        self.placement = placement
        self.connection = connection
        self._operation = operation
        self._lock = lock
        self._doing: str | None = None

    @property
    def operation(self) -> UUID:
        """The change's id."""
        return self._operation

    @contextmanager
    def transaction(self, owner: str | None = None, lock_timeout: str = LOCK_TIMEOUT) -> Iterator[Connection]:
        """A transaction as the owner of a table, with this schema first in its search path."""
        self._lock.execute(QUERIES.still_there)
        with self.connection.transaction():
            limits = {"lock_timeout": lock_timeout, "schema": self.placement.schema, "idle": "0"}
            self.connection.execute(QUERIES.limit_transaction, limits)
            if owner:
                self.connection.execute(QUERIES.act_as.format(role=Identifier(owner)))
            yield self.connection

    def heed(self, control: Connection | None = None) -> None:
        """Whoever takes the change back waits for this."""


def join(store: Store, place: Place, schema: str, finished: set[UUID], lock: Connection) -> None:
    """Add to a schema that is being made what the open change has added elsewhere, if one is open that is none of the
    `finished`. Can be repeated.

    Raises:
        ChangeBlocked, ChangeFailed: what is done stays; to be done again.
    """
    record = find_open(store)
    if record is None or record.id in finished or record.state in BACKWARDS:
        return
    plan: ChangePlan = plan_of(CHANGE, record)
    if not plan.scope.shipped:
        return
    with store.operator() as control:
        note_place(control, record.id, place)
    with store.operator(place) as connection:
        placement = find_recipe(connection, plan, record.id, Placement(*place, schema))
        if placement is None:  # of tables that no recipe is for: `finish` refuses it
            return
        site = Newcomer(record.id, placement, connection, lock)
        _note(site, EXPAND, "running")
        recipe = plan.recipe_of(placement)
        for item in (*recipe.expand, *recipe.build):
            if isinstance(item, Action):
                act.do(site, item)
        _note(site, BUILD, "done")
        connection.execute(QUERIES.announce, site.facts | {"name": plan.name})


def _note(site: Newcomer, phase: str, state: str) -> None:
    facts = site.facts | {"recipe": site.placement.recipe, "phase": phase, "state": state, "error": None}
    with site.transaction() as connection:
        connection.execute(QUERIES.note_placement, facts)
