"""A prepared transaction is in the way of a change until somebody ends it: it has no session that could be found."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from documents import until
from fix_own_postgres import MakePostgres
from kos.schema_change.blocking import blockers
from kos.schema_change.site import QUERIES
from kos.schema_change.watching import progress

pytestmark = pytest.mark.long


@pytest.mark.parametrize("version", ["wheel", "debian"])
def test_it_is_named(own_postgres: MakePostgres, version: str) -> None:
    server = own_postgres(version)
    server.configure(max_prepared_transactions="5")
    server.start()
    owner = server.superuser.user
    with server.connect() as asking, server.connect() as other:
        other.execute("create table goods (id integer)")
        other.execute("begin; insert into goods values (1); prepare transaction 'half of it'")
        other.execute("begin; lock goods in access share mode")
        found = blockers(asking, ["public"], ["goods"], owner)
        other.execute("commit")
        assert "prepared transaction 'half of it'" in found
        assert "ROLLBACK PREPARED ends it" in found
        assert f"pid {other.info.backend_pid}" in found
        other.execute("rollback prepared 'half of it'")
        assert blockers(asking, ["public"], ["goods"], owner) == "somebody who is gone now"


@pytest.mark.parametrize("version", ["wheel", "debian"])
def test_an_index_that_waits_for_it_says_so(own_postgres: MakePostgres, version: str) -> None:
    server = own_postgres(version)
    server.configure(max_prepared_transactions="5")
    server.start()
    with server.connect() as asking, server.connect() as building, ThreadPoolExecutor(1) as beside:
        asking.autocommit = building.autocommit = True
        asking.execute("create table goods (id integer)")
        with server.connect() as other:
            other.execute("begin; insert into goods values (1); prepare transaction 'half of it'")
        pid = building.info.backend_pid
        built = beside.submit(building.execute, "create index concurrently on goods (id)")

        def told() -> str:
            row = asking.execute(QUERIES.index_progress, {"pid": pid}).fetchone()
            return progress(*row) if row else ""

        try:
            until(lambda: "prepared transaction 'half of it'" in told())
            assert "ROLLBACK PREPARED ends it" in told()
        finally:
            asking.execute("rollback prepared 'half of it'")
        built.result(timeout=60)
