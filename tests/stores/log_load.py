"""Writers whose every transaction notes what it wrote, and what must be true of the log whatever became of its sealers.

The note is a row of the same transaction: where PostgreSQL dies before it answers, both are there or neither.
"""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Callable
from threading import Event as Flag
from threading import Thread
from typing import Any

import psycopg
from log_history import SCHEMA, WRITES, WrongLog, check_chains, check_transactions, log_rows, table_rows

from kos.errors import StoreUnavailable
from kos.log import Cursor, Event, read

Connection = psycopg.Connection[Any]
LEDGER = """
create table public.ledger (
  transaction text not null, tenant uuid not null, rows bigint not null, primary key (transaction, tenant));
"""
NOTE = "insert into public.ledger values (pg_current_xact_id()::text, %s, %s)"
BACKLOG = (
    "insert into public.firsts (tenant, id, stamp) select %s, n, nextval('public.stamps') from generate_series(1, %s) n"
)
ACTIONS = ("upsert", "upsert", "update", "update all", "delete")


def set_up(connection: Connection) -> None:
    """Two logged tables, and the ledger."""
    connection.execute((SCHEMA + LEDGER).encode())


def put(connection: Connection, tenant: uuid.UUID, rows: int) -> None:
    """So many rows of one tenant, in one transaction."""
    with connection.transaction():
        connection.execute(BACKLOG, (tenant, rows))
        connection.execute(NOTE, (tenant, rows))


def change(connection: Connection, tenant: uuid.UUID, dice: random.Random) -> None:
    """A few statements on few rows; one transaction in five is rolled back."""
    with connection.transaction(force_rollback=dice.random() < 0.2):
        written = 0
        for _ in range(dice.randint(1, 5)):
            statement = WRITES[dice.choice(ACTIONS)].format("seconds").replace("'stamps'", "'public.stamps'")
            written += connection.execute(statement.encode(), {"t": tenant, "k": dice.randint(1, 9)}).rowcount
        if written:
            connection.execute(NOTE, (tenant, written))


class Writers:
    """Threads that go on changing rows, also after their server was gone; a context manager."""

    def __init__(self, connect: Callable[[], Connection], tenants: list[uuid.UUID], dice: random.Random) -> None:
        self._connect, self._tenants, self._ends = connect, tenants, Flag()
        seeds = [dice.random() for _ in range(2)]
        self._threads = [Thread(target=self._write, args=(random.Random(each),)) for each in seeds]

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ends.set()
        for thread in self._threads:
            thread.join()

    def _write(self, dice: random.Random) -> None:
        while not self._ends.wait(0.01):
            try:
                with self._connect() as connection:
                    while not self._ends.wait(0.002):
                        change(connection, dice.choice(self._tenants), dice)
            except (psycopg.OperationalError, StoreUnavailable):  # it is gone, or two of us met in a deadlock
                continue


def is_sealed(connection: Connection, tenant: uuid.UUID) -> bool:
    """Whether every row that the ledger has is in a seal."""
    counts = "select (select coalesce(sum({1}), 0) from {0} where {2} = %(t)s)"
    noted = counts.format("public.ledger", "rows", "tenant")
    sealed = counts.format("kos.seals", "events", "tenant_id")
    row = connection.execute(f"select ({noted}) <= ({sealed})".encode(), {"t": tenant}).fetchone()
    return row == (True,)


def check(connection: Connection, tenant: uuid.UUID) -> list[Event]:
    """Everything that holds of a log whose tenant is sealed and writes nothing now."""
    events = read(connection, tenant, Cursor(), 10_000_000)
    if [each.position for each in events] != list(range(1, len(events) + 1)):
        raise WrongLog("positions have gaps, or come twice")
    noted = connection.execute("select transaction, rows from public.ledger where tenant = %s", (tenant,)).fetchall()
    if Counter(each.transaction for each in events) != dict(noted):
        raise WrongLog("a transaction is not in the log, or only in part, or twice")
    ends = connection.execute("select position, events from kos.seals where tenant_id = %s", (tenant,)).fetchall()
    if sum(count for _, count in ends) != len(events):
        raise WrongLog("the seals count other events than there are")
    check_transactions(events, {position for position, _ in ends})
    check_chains(events)
    if log_rows(connection, tenant, len(events)) != table_rows(connection, tenant):
        raise WrongLog("replayed, the log has other rows than the table")
    return events
