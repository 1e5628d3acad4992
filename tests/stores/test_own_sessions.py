"""What a database or a role says of isolation and time-outs is for the application: kos says its own."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
from logged_table import ACME, Connection, log, make
from psycopg.sql import SQL, Identifier, Literal

from kos.journal import Operation, Run, Runner, Step
from kos.tenancy import AsyncStore, Store
from kos.tenancy.placement import control_place
from kos.topology.model import Topology

LIMITS = ("statement_timeout", "transaction_timeout", "idle_session_timeout")
STRICT = {"default_transaction_isolation": "serializable"} | dict.fromkeys(LIMITS, "1min")
OURS = {"default_transaction_isolation": "read committed"} | dict.fromkeys(LIMITS, "0")


@pytest.fixture(params=["database", "role"])
def strict(request: pytest.FixtureRequest, database: Topology, superuser: Connection) -> Iterator[None]:
    """A database whose new sessions are limited: those of all, or of the operator."""
    name = Identifier(database.control.primary.database)
    whose = SQL("database {}").format(name)
    if request.param == "role":
        whose = SQL("role {} in database {}").format(Identifier(database.control.operator.user), name)
    for setting, value in STRICT.items():
        superuser.execute(SQL("alter {} set {} = {}").format(whose, Identifier(setting), Literal(value)))
    yield
    superuser.execute(SQL("alter {} reset all").format(whose))


def settings(rows: list[Any]) -> dict[str, str]:
    return dict(rows)


QUERY = "select name, setting from pg_settings where name = any(%s)"


@pytest.mark.usefixtures("strict")
def test_an_operator_has_the_settings_of_kos(store: Store) -> None:
    with store.operator() as operator:
        assert settings(operator.execute(QUERY, (list(OURS),)).fetchall()) == OURS


@pytest.mark.usefixtures("strict")
def test_one_of_asyncio_has_them_too(database: Topology) -> None:
    async def ask() -> dict[str, str]:
        async with AsyncStore(database) as store, store.operator() as operator:
            return settings(await (await operator.execute(QUERY, (list(OURS),))).fetchall())

    assert asyncio.run(ask()) == OURS


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
@pytest.mark.parametrize("call", [f"kos.seal('{ACME}')", "kos.is_drained('kos.pending_1')"])
def test_under_one_snapshot_nothing_is_sealed_and_no_turn_is_taken(
    superuser: Connection, isolation: str, call: str
) -> None:
    make(superuser, "create table things (tenant_id uuid not null, id integer primary key)")
    log(superuser)
    superuser.execute("insert into things values (%s, 1)", (ACME,))
    superuser.execute(f"begin isolation level {isolation}".encode())
    with pytest.raises(psycopg.errors.ActiveSqlTransaction, match="READ COMMITTED"):
        superuser.execute(f"select {call}".encode())
    superuser.execute("rollback")
    assert superuser.execute("select kos.seal(%s)", (ACME,)).fetchone() == (1,)


@dataclass(frozen=True)
class Nothing:
    subject: str = "nothing"


def run(store: Store, work: Callable[[Run[Any]], object]) -> None:
    def work_(run: Run[Any]) -> None:
        """Do it."""
        work(run)

    Runner(store, Operation("nothing.at_all", Nothing, Nothing, (Step(work_),))).run(Nothing())


STANDS = """
select pg_backend_pid(), current_user, current_setting('lock_timeout'), current_setting('application_name'),
       current_setting('statement_timeout'), pg_try_advisory_lock(1)
"""


def test_a_connection_beside_is_used_again_as_if_it_were_new(store: Store) -> None:
    place, seen = control_place(store.topology), []

    def work(run: Run[Any]) -> None:
        with run.fences.beside(place) as first, run.fences.beside(place) as second:
            seen.append(first.execute(STANDS).fetchone())
            assert second.execute("select pg_try_advisory_lock(1)").fetchone() == (False,)
            first.execute("set role kos_owner")
            first.execute("set lock_timeout = 7; set application_name = 'other'; set statement_timeout = 7")
        with run.fences.beside(place) as one, run.fences.beside(place) as other:
            seen.extend(each.execute(STANDS).fetchone() for each in (one, other))

    run(store, work)
    before, *after = sorted(seen[1:], key=lambda row: row[0] != seen[0][0])
    assert before == seen[0], "it is the same session, and nothing is left of what it did"
    assert [(row[1:], row[0] != before[0]) for row in after] == [((*before[1:5], False), True)]


def test_one_that_was_ended_or_is_in_the_middle_of_something_is_not_used_again(store: Store) -> None:
    place = control_place(store.topology)

    def work(run: Run[Any]) -> None:
        with run.fences.beside(place) as ended:
            gone = ended.info.backend_pid
        with store.operator() as operator:
            operator.execute("select pg_terminate_backend(%s, 10000)", (gone,))
        with run.fences.beside(place) as busy:
            assert busy.info.backend_pid != gone
            busy.execute("begin")
        assert busy.closed
        with pytest.raises(psycopg.errors.DivisionByZero), run.fences.beside(place) as failed:
            failed.execute("select 1 / 0")
        assert failed.closed

    run(store, work)
