"""A placement at work without a journal: what a fill needs of one, on the database of a test."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.sql import SQL, Identifier

from kos.schema_change.model import Placement
from kos.tenancy.placement import Place, server_at
from kos.topology import postgres as opening
from kos.topology.model import Topology

FILLS = """
create table if not exists kos.change_fills (
  operation uuid not null, schema_name text not null, fill text not null, part text not null,
  next_page bigint not null, pages bigint not null, rows bigint not null, filenode bigint not null,
  up_to_key text[] not null default '{}',
  started_at timestamptz not null default clock_timestamp(), updated_at timestamptz not null default clock_timestamp(),
  primary key (operation, schema_name, fill, part));
grant select, insert, update, delete on kos.change_fills to kos_operator;
"""


@dataclass
class StandIn:
    """As `kos.schema_change.site.Site` is. `before` is called before each transaction, and may raise."""

    placement: Placement
    connection: psycopg.Connection[Any]
    operation: uuid.UUID = field(default_factory=uuid.uuid4)
    before: Callable[[], None] = lambda: None
    transactions: int = 0

    @contextmanager
    def transaction(self, owner: str | None = None) -> Iterator[psycopg.Connection[Any]]:
        self.before()
        self.transactions += 1
        with self.connection.transaction():
            self.connection.execute(
                "select set_config('lock_timeout', '200ms', true),"
                " set_config('search_path', quote_ident(%s) || ', public', true)",
                (self.placement.schema,),
            )
            if owner:
                self.connection.execute(SQL("set local role {}").format(Identifier(owner)))
            yield self.connection


def stand_in(topology: Topology, schema: str = "public") -> StandIn:
    """A placement in the first shard's database, worked on by the operator."""
    shard = topology.control
    place = Place(shard.name, shard.primary.database)
    connection = opening.connect(server_at(topology, place), shard.operator)
    return StandIn(Placement(place.shard, place.database, schema), connection)
