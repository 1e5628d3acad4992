"""What a database or a role says of isolation and time-outs is for the application: kos says its own."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from logged_table import ACME, Connection, log, make
from psycopg.sql import SQL, Identifier, Literal

from kos.tenancy import AsyncStore, Store
from kos.topology.model import Topology

STRICT = {"default_transaction_isolation": "serializable", "statement_timeout": "1ms", "transaction_timeout": "1ms"}
OURS = {"default_transaction_isolation": "read committed", "statement_timeout": "0", "transaction_timeout": "0"}


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
