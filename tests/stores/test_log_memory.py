"""A transaction of a million rows takes no more memory than one of ten thousand: neither its writer nor its sealer."""

from __future__ import annotations

import re
import uuid
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_own_postgres import MakePostgres, install_on
from kos.topology import postgres as opening
from kos.topology.model import Topology

Connection = psycopg.Connection[Any]
pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]
FEW, MANY = 10_000, 1_000_000
MORE_MB = 24.0  # what the million may take beyond; as text its rows are 150 MB
TABLE = """
create table public.things (tenant uuid not null, id integer not null, v integer not null, note text not null,
                            primary key (tenant, id));
grant all on public.things to kos_owner, kos_mover;
select kos.log_table('public.things', 'tenant');
"""
FILL = "insert into public.things select %s, n, n, 'a note of ' || n from generate_series(1, %s) n"


@pytest.fixture(scope="module")
def topology(own_postgres: MakePostgres) -> Topology:
    server = own_postgres("wheel", "--no-sync")
    # Pages of shared memory that a session has touched count as its own, so there are few.
    server.configure(shared_buffers="16MB", work_mem="1MB", max_wal_size="4GB", synchronous_commit="off")
    server.start()
    made = install_on(server)
    with connect(made) as connection:
        connection.execute(TABLE)
    return made


def connect(topology: Topology) -> Connection:
    assert topology.control.installer is not None
    return opening.connect(topology.control.primary, topology.control.installer)


def peak_mb(topology: Topology, statement: str, *values: object) -> float:
    """The most memory that a session of its own had while it ran a statement."""
    with connect(topology) as connection:
        connection.execute(statement, values)
        status = Path(f"/proc/{connection.info.backend_pid}/status").read_text(encoding="utf-8")
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert found
    return int(found[1]) / 1024


def test_a_million_rows_take_no_more_memory(topology: Topology) -> None:
    written, sealed = {}, {}
    for rows in (FEW, MANY):
        tenant = uuid.uuid4()
        with connect(topology) as connection:
            connection.execute("set role kos_mover")  # whose rows are not captured
            connection.execute(FILL, (tenant, rows))
        written[rows] = peak_mb(topology, "update public.things set v = v + 1 where tenant = %s", tenant)
        sealed[rows] = peak_mb(topology, "select kos.seal(%s)", tenant)
        with connect(topology) as connection:
            row = connection.execute("select sum(events) from kos.seals where tenant_id = %s", (tenant,)).fetchone()
            assert row == (rows,)
    assert written[MANY] < written[FEW] + MORE_MB
    assert sealed[MANY] < sealed[FEW] + MORE_MB
