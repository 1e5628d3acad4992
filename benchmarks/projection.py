"""The graph as a projection: what batches are worth, how soon a commit is seen, and what a rebuild costs.

Controls: one transaction per event; following one event at a time while it is written; and the store's own bulk load of
the same rows, with nothing of kos: no position, no scope, and nothing compared.
"""

from __future__ import annotations

import random
import statistics
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from arms import Bar, Finding, Report, Worst, ratio
from bench import Bench, temporary_folder
from kos.knowledge import install
from kos.log import position_of, seal_all
from kos.projections import Change, Reached, Site, Standing, TableName, Whose, follow, rebuild
from kos.projections.graph import GraphProjection
from kos.projections.graph.projection import scope_of
from kos.tenancy import Store, create_tenant
from kos.tenancy.placement import place_of
from kos.topology import graph as opening
from kos.topology.embedded import Stack
from kos.topology.model import GraphServer, Topology
from kos.worker import Worker
from projection_log import APPLY_BAR, BATCH, CONTROL, follow_log

CLAIM = "projection"
SEEN_BAR, REBUILD_BAR = Bar(at_most=5.0), Bar(at_least=0.5)
ATOMS, RELATIONS = TableName("atoms", "knowledge"), TableName("relations", "knowledge")
SECONDS = 20.0  # that is written for while it is watched


def run(bench: Bench) -> Report:
    report = Report(CLAIM)
    with temporary_folder() as folder:
        stack = Stack(folder)
        stack.up(stores=("postgres", "graph"))
        install(stack.topology())
        stack.set_role_passwords()
        topology = stack.topology()
        assert topology.graph is not None
        servers = {"ArcadeDB": topology.graph}
        with _neo4j() as neo4j:
            servers |= {"Neo4j": neo4j} if neo4j else {}
            for name, server in servers.items():
                _apply(report, bench, name, server)
            for name, server in servers.items():
                here = replace(topology, graph=server)
                _rebuild(report, bench, name, here)
                follow_log(report, bench, name, here)
                _seen(report, bench, name, here)
        if "Neo4j" not in servers:
            report.notes.append("Neo4j was not there: `make test-long` fetches it.")
    return report


@contextmanager
def _neo4j() -> Iterator[GraphServer | None]:
    """The one that the tests use, where it was fetched."""
    sys.path.append(str(Path(__file__).parents[1] / "tests"))
    import fix_neo4j

    if not fix_neo4j.FETCHED.exists():
        yield None
        return
    with fix_neo4j.OwnNeo4j(fast=True) as server:
        yield server.store


# batches


def _events(count: int, first: int, known: list[str]) -> list[Change]:
    """Half of them new atoms, a quarter new relations, a quarter new names of atoms that are there."""
    made = []
    chance = random.Random(first)
    for number in range(first, first + count):
        kind = number % 4
        if kind < 2 or len(known) < 2:
            key = str(uuid.uuid4())
            known.append(key)
            values = {"id": key, "atom_type": "T", "name": f"n{number}", "number_value": "1.5", "deleted_at": None}
            made.append(Change(ATOMS, "created", (key,), values, number, fresh=True))
        elif kind == 2:
            key = str(uuid.uuid4())
            ends = {"from_atom_id": chance.choice(known), "to_atom_id": chance.choice(known)}
            made.append(Change(RELATIONS, "created", (key,), {"id": key, "relation_type": "R", **ends}, number))
        else:
            made.append(Change(ATOMS, "changed", (chance.choice(known),), {"name": f"m{number}"}, number))
    return made


def _apply(report: Report, bench: Bench, name: str, server: GraphServer) -> None:
    projection = GraphProjection(server)
    projection.prepare()
    whose, known = Whose(uuid.uuid4()), list[str]()
    standing = projection.begin(whose, "bench")
    batches, singles = [], []
    position = 1
    many, few = (4 * BATCH, 100) if bench.quick else (10 * BATCH, 500)
    for turn in range(3 if bench.quick else 6):
        for size, count, rates in ((BATCH, many, batches), (1, few, singles)):
            changes = _events(count, position, known)
            began = time.perf_counter()
            standing = _in_parts(projection, whose, standing, changes, size)
            if turn:  # the first one warms Java up
                rates.append(count / (time.perf_counter() - began))
            position += count
    with opening.open(server) as driver, driver.session(database=server.database) as session:
        query = "MATCH (n:Atom {kos_scope: $scope}) RETURN count(n) AS n"
        found = session.run(query, scope=scope_of(whose.tenant, standing.generation)).single(strict=True)
    assert found["n"] == len(known), "an arm has left something out"
    projection.close()
    report.findings.append(
        Finding(f"events applied in batches of {BATCH:,}, {name}", ratio(batches, singles), APPLY_BAR)
    )
    report.figures += [
        (f"{name}: batches", f"{statistics.median(batches):,.0f} events/s"),
        (f"{name}: {CONTROL}", f"{statistics.median(singles):,.0f} events/s"),
    ]


def _in_parts(
    projection: GraphProjection, whose: Whose, standing: Standing, changes: Sequence[Change], size: int
) -> Standing:
    for start in range(0, len(changes), size):
        part = sorted(_merged(changes[start : start + size]), key=_position)
        standing = projection.apply(whose, standing, part, Reached(1, part[-1].position, b"leaf"))
    return standing


def _merged(changes: Sequence[Change]) -> Iterable[Change]:
    """All that a batch does to a row is one change, as whoever follows a log has it."""
    found: dict[tuple[str, ...], Change] = {}
    for change in changes:
        before = found.get(change.key)
        first = before or change
        values = {**(before.values if before else {}), **change.values}
        found[change.key] = replace(change, kind=first.kind, values=values, fresh=first.fresh)
    return found.values()


def _position(change: Change) -> int:
    return change.position


# a rebuild


def _rebuild(report: Report, bench: Bench, name: str, topology: Topology) -> None:
    atoms = 8_000 if bench.quick else 400_000
    tenant_name = f"rebuilt-{name.lower()}"
    with Store(topology) as store:
        tenant = create_tenant(store, tenant_name)
        rows = _fill(store, tenant_name, atoms)
        assert topology.graph is not None
        projection = GraphProjection(topology.graph)
        projection.prepare()
        site = Site(store, place_of(tenant), projection, Whose.of(tenant))
        rates: dict[str, list[float]] = {"rebuild": [], "bulk": []}
        for turn in range(2):  # nothing is removed in between: that can take longer than all the rest
            began = time.perf_counter()
            rebuild(site)
            rates["rebuild"].append(rows / (time.perf_counter() - began))
            rates["bulk"].append(rows / _bulk(store, tenant_name, topology.graph, turn))
        projection.close()
    report.findings.append(
        Finding(f"a rebuild of {rows:,} rows, found equal, {name}", ratio(rates["rebuild"], rates["bulk"]), REBUILD_BAR)
    )
    report.figures += [(f"{name}: {what}", f"{statistics.median(each):,.0f} rows/s") for what, each in rates.items()]


def _fill(store: Store, tenant: str, atoms: int) -> int:
    """Atoms, and a relation for each fourth of them; sealed."""
    with store.tenant(tenant, timeout=600) as session:
        session.execute("insert into atoms (atom_type, name, number_value)"
                        " select 'T', 'n' || n, n from generate_series(1, %s) n", (atoms,))  # fmt: skip
        session.execute("insert into relations (relation_type, from_atom_id, to_atom_id)"
                        " select 'R', id, lag from (select id, row_number() over w as n, lag(id) over w"
                        " from atoms window w as (order by id)) a where n % 4 = 0")  # fmt: skip
        row = session.execute("select (select count(*) from atoms) + (select count(*) from relations)").fetchone()
    with store.operator(place_of(store.find(tenant))) as operator:
        seal_all(operator)
    assert row is not None
    return int(row[0])


def _bulk(store: Store, tenant: str, server: GraphServer, turn: int) -> float:
    """Seconds that the store's own way takes for the same rows, which are in memory already."""
    with store.tenant(tenant, timeout=600) as session:
        atoms = session.execute("select id::text, atom_type, name, number_value::float8, confidence, version,"
                                " created_at::text, updated_at::text from atoms").fetchall()  # fmt: skip
        relations = session.execute("select id::text, relation_type, from_atom_id::text, to_atom_id::text,"
                                    " created_at::text from relations").fetchall()  # fmt: skip
    with opening.open(server) as driver, driver.session(database=server.database) as graph:
        label = f"Bulk{turn}"
        graph.run(f"CREATE CONSTRAINT IF NOT EXISTS FOR (n:{label}) REQUIRE n.id IS UNIQUE").consume()
        create = (
            f"UNWIND $rows AS row CREATE (:{label} {{id: row[0], atom_type: row[1], name: row[2], number_value: row[3],"
            " confidence: row[4], version: row[5], created_at: row[6], updated_at: row[7]})"
        )
        join = (
            f"UNWIND $rows AS row MATCH (a:{label} {{id: row[2]}}) MATCH (b:{label} {{id: row[3]}})"
            f" CREATE (a)-[:BULK{turn} {{id: row[0], relation_type: row[1], created_at: row[4]}}]->(b)"
        )
        began = time.perf_counter()
        for query, rows in ((create, atoms), (join, relations)):
            for start in range(0, len(rows), BATCH):
                graph.run(query, rows=[list(row) for row in rows[start : start + BATCH]]).consume()
        return time.perf_counter() - began


# how soon a commit is seen


def _seen(report: Report, bench: Bench, name: str, topology: Topology) -> None:
    """Sessions write, a worker seals and follows, all on this machine: first as fast as they can, which says what can
    be followed for long; then at half of that."""
    tenant = f"seen-{name.lower()}"
    seconds = 5.0 if bench.quick else SECONDS
    with Store(topology) as store:
        create_tenant(store, tenant)
        one_batch = _one_batch(store, tenant, 2 * BATCH if bench.quick else 10 * BATCH)
        rate = _watched(store, tenant, topology, None, seconds)[0]
        figures: dict[str, float] = {}
        for arm, size in (("batches", BATCH), ("one event at a time", 1)):
            before, follow.BATCH = follow.BATCH, size
            try:
                written, figures[arm] = _watched(store, tenant, topology, rate / 2, seconds)
            finally:
                follow.BATCH = before
            report.figures.append((f"{name}: {arm}, written meanwhile", f"{written:,.0f} events/s"))
    report.findings += [
        Finding(
            f"commit to visible, p99, in times of one batch, {name}",
            Worst(figures["batches"] / one_batch, "×"),
            SEEN_BAR,
        ),
        Finding(
            f"one event at a time, {name}", Worst(figures["one event at a time"] / one_batch, "×"), is_control=True
        ),
    ]
    report.figures += [
        (f"{name}: followed for long, while it is written", f"{rate:,.0f} events/s"),
        (f"{name}: one batch alone", f"{one_batch * 1000:,.0f} ms"),
        (f"{name}: commit to visible at half of that, p99", f"{figures['batches'] * 1000:,.0f} ms"),
    ]


def _write(store: Store, tenant: str, rows: int) -> None:
    with store.tenant(tenant) as session:
        session.execute(
            "with made as (insert into atoms (atom_type, name) select 'T', 'n' || n from generate_series(1, %s) n"
            " returning id)"
            " insert into relations (relation_type, from_atom_id, to_atom_id)"
            " select 'R', id, id from made limit %s",
            (rows - rows // 3, rows // 3),
        )


def _one_batch(store: Store, tenant: str, events: int) -> float:
    """The median time of one batch of a backlog, with nothing else going on."""
    found = store.find(tenant)
    assert store.topology.graph is not None
    projection = GraphProjection(store.topology.graph)
    projection.prepare()
    whose, place = Whose.of(found), place_of(found)
    _write(store, tenant, 10)
    times = []
    with store.operator(place) as operator:
        seal_all(operator)
        rebuild(Site(store, place, projection, whose))
        for _ in range(events // 20):
            _write(store, tenant, 20)
        seal_all(operator)
        standing = projection.live(whose)
        while standing is not None:
            turn = time.perf_counter()
            standing = follow.follow(operator, projection, whose, standing)
            times.append(time.perf_counter() - turn)
    projection.close()
    return statistics.median(times[:-1])


def _watched(store: Store, tenant: str, topology: Topology, rate: float | None, seconds: float) -> tuple[float, float]:
    """Events per second: that were followed while it was written as fast as one can, or, at a given rate, that were
    written. And the 99th percentile, in seconds, from a commit until the graph shows it."""
    found = store.find(tenant)
    assert topology.graph is not None
    projection = GraphProjection(topology.graph)
    whose, place = Whose.of(found), place_of(found)
    seen: list[tuple[float, int]] = []
    ends = threading.Event()

    def watch() -> None:
        """What a reader with a bookmark goes by: the cursor, which is told after the graph has it."""
        with store.operator(place) as operator:
            while not ends.is_set():
                at = position_of(operator, follow.feed_of(projection), whose.tenant).position
                if at and (not seen or seen[-1][1] != at):
                    seen.append((time.time(), at))
                time.sleep(0.005)

    with Worker(topology):
        _until(lambda: _is_level(store, place, projection, whose))
        watcher = threading.Thread(target=watch)
        watcher.start()
        _until(lambda: bool(seen))
        began, written = time.time(), 0
        while time.time() - began < seconds:
            _write(store, tenant, 20)
            written += 20
            if rate is not None:
                time.sleep(max(0.0, began + written / rate - time.time()))
        spent, followed = time.time() - began, seen[-1][1] - seen[0][1]
        patience = time.time() + 2 * seconds
        while time.time() < patience and not _is_level(store, place, projection, whose):
            time.sleep(0.01)
        ends.set()
        watcher.join()
    projection.close()
    return (followed if rate is None else written) / spent, _percentile(store, place, whose, seen, began)


def _percentile(store: Store, place: Any, whose: Whose, seen: list[tuple[float, int]], began: float) -> float:
    with store.operator(place) as operator:
        committed = operator.execute(
            "select position, extract(epoch from occurred_at)::float8 from kos.knowledge_events"
            " where tenant_id = %s and occurred_at >= to_timestamp(%s) order by position",
            (whose.tenant, began),
        ).fetchall()
    lags, at = [], 0
    for position, moment in committed:
        while at < len(seen) and seen[at][1] < position:
            at += 1
        lags.append((seen[at][0] if at < len(seen) else time.time()) - moment)
    lags.sort()
    return lags[int(len(lags) * 0.99) - 1]


def _is_level(store: Store, place: Any, projection: GraphProjection, whose: Whose) -> bool:
    with store.operator(place) as operator:
        row = operator.execute("select position from kos.newest_seal(%s)", (whose.tenant,)).fetchone()
        waits = operator.execute("select 1 from kos.unsealed_among(array[%s::uuid])", (whose.tenant,)).fetchone()
    live = projection.live(whose)
    return live is not None and row is not None and waits is None and live.reached.position == row[0]


def _until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < deadline, "the graph has not caught up"
        time.sleep(0.05)
