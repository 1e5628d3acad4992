"""A tenant session with one point read, beside a bare pooled transaction that reads the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from psycopg_pool import AsyncConnectionPool, ConnectionPool

import delay
from arms import Bar, Finding, Report, Times, measure, measure_async, median_of, microseconds, speed
from bench import COLUMNS, TENANT, Bench, Placing, fill_atoms
from kos.tenancy import AsyncStore, Store
from kos.tenancy.async_session import AsyncSession
from kos.tenancy.entry import Entry
from kos.tenancy.session import Session
from kos.topology.model import Topology

CLAIM = "tenant session, one point read"
CONTROL = "session, not pipelined"
BARE, SESSION = "bare pooled transaction", "tenant session"
BAR = Bar(at_least=0.80)

QUERY = f"select {COLUMNS} from atoms where id = %s"
BARE_QUERY = f"select {COLUMNS} from atoms where tenant_id = %s and id = %s"
DELAYS_MS = (0.5, 2.0)


class Apart(Session):
    """The control: begin, entry, statement and commit, each by itself."""

    def _send(self, connection: Any, entering: Any, query: Any, params: Any, options: Any) -> Any:
        entering.pipelined = False
        return super()._send(connection, entering, query, params, options)


class AsyncApart(AsyncSession):
    """The control for asyncio."""

    async def _send(self, connection: Any, entering: Any, query: Any, params: Any, options: Any) -> Any:
        entering.pipelined = False
        return await super()._send(connection, entering, query, params, options)


def run(bench: Bench) -> Report:
    ids = fill_atoms(bench, 2_000 if bench.quick else 20_000)
    report = Report(CLAIM)
    _make_role(bench)
    calls = 50 if bench.quick else 200
    for placing in bench.placings:
        with bench.placed(placing):
            times = _sync(bench, bench.topology, ids, bench.rounds, calls)
            _add(report, f"sync, {placing.name}", times, BAR)
            times = asyncio.run(_async(bench, ids, calls))
            _add(report, f"async, {placing.name}", times, BAR)
    for milliseconds in DELAYS_MS:
        _add_delayed(report, bench, ids, milliseconds)
    report.notes += _NOTES
    return report


_NOTES = [
    "The bare transaction names the tenant in its WHERE, as a role that row security does not bind, through"
    " psycopg_pool: BEGIN, statement, COMMIT. The session sends BEGIN, entry and statement as one message, then"
    " COMMIT.",
    "Client and server are held to their processors, for left alone the scheduler decides more than the code does:"
    " a round trip between two processors costs up to five times the one on a single processor.",
    "On one processor a round trip costs nothing but the work, so the one that the session saves counts for nothing,"
    " and what it does more stands alone: lock, fence row, eight settings and the clean-up on the server, and one libpq"
    " pipeline in the client, some 30 to 40 µs each. The bar can't be reached there by a session that does these; with"
    " a second processor, or any network, the saved round trip pays for them.",
]


def _make_role(bench: Bench) -> None:
    with bench.superuser() as connection:
        connection.execute("create role bench_bare login bypassrls password 'bench'")
        connection.execute("alter role bench_bare set search_path = knowledge, public, pg_temp")
        connection.execute("grant usage on schema knowledge to bench_bare")
        connection.execute("grant select on all tables in schema knowledge to bench_bare")


def _sync(bench: Bench, topology: Topology, ids: list[UUID], rounds: int, calls: int) -> Times:
    with Store(topology, pool_size=2) as store, _bare_pool(bench, topology) as pool:
        tenant = store.find(TENANT)

        def bare(call: int) -> Any:
            with pool.connection() as connection:
                return connection.execute(BARE_QUERY, (tenant.id, ids[call % len(ids)])).fetchone()

        def session(call: int) -> Any:
            with store.tenant(TENANT) as session:
                return session.execute(QUERY, (ids[call % len(ids)],)).fetchone()

        def apart(call: int) -> Any:
            with Apart(store, TENANT, Entry()) as session:
                return session.execute(QUERY, (ids[call % len(ids)],)).fetchone()

        assert bare(0) == session(0) == apart(0) is not None
        return measure({BARE: bare, SESSION: session, CONTROL: apart}, rounds=rounds, calls=calls)


async def _async(bench: Bench, ids: list[UUID], calls: int) -> Times:
    async with (
        AsyncStore(bench.topology, pool_size=2) as store,
        AsyncConnectionPool(kwargs=_bare(bench, bench.topology), min_size=1, max_size=2, open=False) as pool,
    ):
        tenant = await store.find(TENANT)

        async def bare(call: int) -> Any:
            async with pool.connection() as connection:
                cursor = await connection.execute(BARE_QUERY, (tenant.id, ids[call % len(ids)]))
                return await cursor.fetchone()

        async def session(call: int) -> Any:
            async with store.tenant(TENANT) as session:
                return await (await session.execute(QUERY, (ids[call % len(ids)],))).fetchone()

        async def apart(call: int) -> Any:
            async with AsyncApart(store, TENANT, Entry()) as session:
                return await (await session.execute(QUERY, (ids[call % len(ids)],))).fetchone()

        assert await bare(0) == await session(0) == await apart(0) is not None
        arms = {BARE: bare, SESSION: session, CONTROL: apart}
        return await measure_async(arms, rounds=bench.rounds, calls=calls)


def _add_delayed(report: Report, bench: Bench, ids: list[UUID], milliseconds: float) -> None:
    port = bench.topology.control.primary.port
    with bench.placed(_spread(bench)), delay.delayed(port, milliseconds) as proxy:
        times = _sync(bench, bench.through(proxy), ids, max(2, bench.rounds // 3), 5 if bench.quick else 20)
    _add(report, f"sync, a network of {milliseconds:g} ms each way", times, None)


def _spread(bench: Bench) -> Placing:
    return bench.placings[-1]


def _add(report: Report, where: str, times: Times, bar: Bar | None) -> None:
    report.findings.append(Finding(f"session against bare, {where}", speed(times, SESSION, BARE), bar))
    report.findings.append(
        Finding(f"control: not pipelined against bare, {where}", speed(times, CONTROL, BARE), None, is_control=True)
    )
    for arm in times:
        report.figures.append((f"{arm}, {where}", microseconds(median_of(times, arm))))


@contextmanager
def _bare_pool(bench: Bench, topology: Topology) -> Iterator[ConnectionPool[Any]]:
    with ConnectionPool(kwargs=_bare(bench, topology), min_size=1, max_size=2, open=True) as pool:
        pool.wait()
        yield pool


def _bare(bench: Bench, topology: Topology) -> dict[str, Any]:
    return {**bench.parameters("bench_bare", "bench"), "port": topology.control.primary.port}
