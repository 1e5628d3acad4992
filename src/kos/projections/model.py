"""What a projection is: a store that follows tenants' logs. Plain values, and the interface."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol
from uuid import UUID

from kos.tenancy import Tenant
from kos.tenancy.store import Connection

Values = Mapping[str, str | None]
Kind = Literal["created", "changed", "deleted", "truncated"]


@dataclass(frozen=True, order=True)
class Reached:
    """How far in a tenant's log. Ordered: a later incarnation's log goes on where it began, so more is later.

    `leaf` is the last event's: it tells a log that was restored to before it from the one that it was read from.
    """

    incarnation: int = 0
    position: int = 0
    leaf: bytes | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Whose:
    """A tenant, at the epoch that its place has now. `schema`: where its tables are, unless they are a product's."""

    tenant: UUID
    epoch: int = 0
    schema: str | None = field(default=None, compare=False)

    @classmethod
    def of(cls, tenant: Tenant) -> Whose:
        """A tenant of the directory."""
        return cls(tenant.id, tenant.epoch, None if tenant.adopted else tenant.schema)


@dataclass(frozen=True)
class Standing:
    """One generation of what a projection has of a tenant, and how far that is. Readers see one of them."""

    generation: str
    reached: Reached


@dataclass(frozen=True)
class TableName:
    """A table of the tenant: in whichever schema its tables are, or, for a product's table, in that one."""

    name: str
    schema: str | None = None

    @classmethod
    def read(cls, text: str) -> TableName:
        """`atoms` or `public.orders`."""
        schema, _, name = text.rpartition(".")
        return cls(name, schema or None)

    def means(self, schema: str, table: str) -> bool:
        """Whether a table of that name is meant."""
        return self.name == table and self.schema in (None, schema)

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name


def key_text(key: Sequence[str]) -> str:
    """A row's key as one text: its only part as it is, several as JSON."""
    return key[0] if len(key) == 1 else json.dumps(list(key), ensure_ascii=False, separators=(",", ":"))


@dataclass(frozen=True)
class Row:
    """A row of the snapshot that a generation is made from: `key` (without the tenant's own id) and `values` as the log
    would have them, as text."""

    table: TableName
    key: tuple[str, ...]
    values: Values


@dataclass(frozen=True)
class Change:
    """What a batch of events makes of one row. All events of a row in a batch are one change.

    `key` is without the tenant's own id. `values` is the whole row if it was created, else what may have changed.
    `before` is the row as it was at the beginning of the batch, where the projection asks for it, there was one and the
    log knows it: of rows of before the log it may know nothing, or a part. Of `truncated`, `key` is empty: all rows
    that the table had before are gone. `again`: what was created may be there already, as it is. `fresh`: its first
    event was its insertion, and nothing is known of a row that had its key before; if there was one after all, the
    store must take the change all the same.
    """

    table: TableName
    kind: Kind
    key: tuple[str, ...]
    values: Values
    position: int
    before: Values | None = None
    again: bool = False
    fresh: bool = False

    @property
    def after(self) -> Values | None:
        """The row after the batch, as far as it is known; None where it is gone."""
        if self.kind in ("deleted", "truncated"):
            return None
        return self.values if self.kind == "created" else {**(self.before or {}), **self.values}


@dataclass(frozen=True)
class Wanted:
    """A table that a projection follows. `columns`: all that it looks at, None for whatever there is; `before`: whether
    it has to know the row as it was before a change, or only before one that names one of the columns `before_of`."""

    table: TableName
    columns: tuple[str, ...] | None = None
    before: bool = False
    before_of: tuple[str, ...] = ()

    def asks_before(self, change: Change) -> bool:
        """Whether it has to know the row before this change."""
        return self.before or any(name in change.values for name in self.before_of)


@dataclass(frozen=True)
class Difference:
    """Where a projection is not what the tables say: what kind of thing, and the `key_text` of its row."""

    what: str
    key: str
    fault: Literal["missing", "left over", "different"]
    expected: str = ""
    found: str = ""
    table: str = ""  # of the row, where it is one row's; `public.orders`, or `atoms` where it is the tenant's own


class Projection(Protocol):
    """A store that follows logs. One contract for all: `tests/contracts/test_projection_contract.py`.

    Everything of a tenant is in a *generation*; readers see one, and another can be made beside it. A generation's
    position is stored in the store itself, in one transaction with what it stands for. All of it can be repeated.

    What its methods raise:
        StoreUnavailable: it can't be reached, or is busy; the same is tried again later.
        StoreBusy: the same for one tenant, whose part somebody else keeps locked. It is waited for a few seconds only,
            since others are followed by the same thread.
        ProjectionMoved: the generation isn't where the caller thinks it is; another one has moved it.
        ChangeRejected: the store won't have these changes, however often they are tried.
    """

    @property
    def name(self) -> str:
        """As commands and settings call it."""

    @property
    def wanted(self) -> Sequence[Wanted] | None:
        """The tables that it follows; None: every logged one. A generation is loaded in this order."""

    def prepare(self) -> None:
        """Make what the store needs before anything is in it, such as indexes."""

    def identity(self) -> str:
        """A text that is another one where the store has lost something, or was put back to an earlier state."""

    def asking(self) -> Sequence[Whose]:
        """Tenants whose readers have found nothing here since this was last asked."""

    def live(self, whose: Whose) -> Standing | None:
        """What readers see; None where they see nothing."""

    def begin(self, whose: Whose, generation: str) -> Standing:
        """An empty generation that nobody sees, at position 0."""

    def load(self, whose: Whose, standing: Standing, rows: Sequence[Row]) -> None:
        """Rows of a snapshot into a generation that nobody sees. Each row comes once."""

    def apply(
        self, whose: Whose, standing: Standing, changes: Sequence[Change], reached: Reached, *, rehearse: bool = False
    ) -> Standing:
        """The changes, and that `reached` is reached, in one transaction; `rehearse` takes it back in the end. A change
        applies only to a row that has no later one. It may raise TransactionTooLong: then the tenant is made anew."""

    def switch(self, whose: Whose, standing: Standing) -> None:
        """Readers see this generation from now on; the one before moves no further. ProjectionMoved where they see
        another one by now than when it was begun: its maker was frozen, and it may be older."""

    def clear(self, whose: Whose) -> None:
        """Remove the generations that nobody sees, and what is left of a tenant's earlier epochs. Nothing is put into
        them any more, whoever is at them."""

    def tidy(self) -> None:
        """Remove the generations that readers have ceased to see so long ago that nobody is at them any more."""

    def forget(self, tenant: UUID) -> None:
        """Remove everything of a tenant that is no more."""

    def compare(
        self, whose: Whose, standing: Standing, rows: Iterable[Row], log: Connection | None = None
    ) -> Iterator[Difference]:
        """How a generation differs from a snapshot at its position. All rows are taken before anything in the store is
        looked at: so they can be loaded while they are taken. `log`: where its tenant's log can be read, for who has to
        compare with that."""

    def close(self) -> None:
        """Give its connections back."""
