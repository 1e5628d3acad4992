"""Tables that were changed while others write: nobody waits for another's capture, and none goes by what was before."""

from __future__ import annotations

import pytest
from logged_table import ACME, Connection, assert_exact, log, make

from fix_database import as_superuser
from kos.topology.embedded import Stack

TABLE = "create table things (tenant_id uuid not null, id integer primary key, n integer default 0, a text, b text)"
ROWS = f"insert into things select '{ACME}', g, g, 'a' || g, 'b' || g from generate_series(1, 4) g"


@pytest.fixture
def things(superuser: Connection) -> Connection:
    make(superuser, TABLE)
    log(superuser)
    superuser.execute(ROWS)
    return superuser


@pytest.mark.parametrize("level", ["read committed", "repeatable read"])
def test_nobody_waits_for_who_writes_first_after_a_change(template: Stack, things: Connection, level: str) -> None:
    things.execute("alter table things add column d text")
    with (
        as_superuser(template, things.info.dbname) as first,
        as_superuser(template, things.info.dbname) as second,
    ):
        for session in (first, second):
            session.execute(f"set lock_timeout = '2s'; begin isolation level {level}; select from things")
        first.execute("update things set n = 9 where id = 1")
        second.execute("update things set n = 9, d = 'x' where id = 2")
        things.execute("set lock_timeout = '2s'; select kos.refresh_captures()")
        first.execute("commit")
        second.execute("update things set d = 'y' where id = 3")
        second.execute("commit")
        first.execute("update things set a = 'later', d = 'z' where id in (2, 4)")
    assert_exact(things, without=("d",))
