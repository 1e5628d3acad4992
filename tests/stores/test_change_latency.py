"""The application's own latency holds a fill back: by a query, by PostgreSQL's statistics, and by a commit."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg
import pytest

from fix_own_postgres import MakePostgres, OwnPostgres, install_on
from kos import errors
from kos.schema_change import Limits, change_status, finish, plan_change, roll_back, start, throttle
from kos.schema_change.latency import OURS, QUERIES, AppLatency, Statements, ask
from kos.tenancy import Store
from kos.topology import postgres as opening

Connection = psycopg.Connection[Any]
ROWS = 20_000
FILL = "-- kos: fill sales.total = id * 2\nalter table sales add column total bigint"
P99 = "select p99_ms from shop.felt"
APP = "kos_app"


@pytest.fixture(scope="module")
def server(own_postgres: MakePostgres) -> OwnPostgres:
    """With what counts statements."""
    server = own_postgres("wheel")
    server.configure(fsync="off", shared_preload_libraries="pg_stat_statements")
    server.start()
    return server


@pytest.fixture(scope="module")
def store(server: OwnPostgres) -> Iterator[Store]:
    """With a shop whose owner is also who the application logs in as, and what it has noted of its own latency."""
    topology = install_on(server)
    with opening.connect(topology.control.primary, server.superuser) as connection:
        connection.execute("create extension pg_stat_statements")
        connection.execute("create schema shop; grant usage, create on schema shop to kos_app, kos_operator")
        connection.execute(f"grant {APP} to kos_operator")
        connection.execute(f"set role {APP}; create table shop.felt (p99_ms double precision); reset role")
        connection.execute("insert into shop.felt values (1); grant select on shop.felt to kos_operator")
    with Store(topology) as store:
        yield store


@pytest.fixture
def session(store: Store) -> Iterator[Connection]:
    """The application's."""
    shard = store.topology.control
    with opening.connect(shard.primary, shard.app) as session:
        session.execute("update shop.felt set p99_ms = 1")
        yield session


@pytest.fixture
def app(store: Store, session: Connection) -> Iterator[Connection]:
    """The same, beside a table that is to be filled. Whatever change a test leaves open is taken back."""
    session.execute("drop table if exists shop.sales; create table shop.sales (id bigint primary key, code text)")
    session.execute(f"insert into shop.sales select n, 's' || n from generate_series(1, {ROWS}) n")
    yield session
    with suppress(errors.NoChange):
        roll_back(store)


@pytest.fixture
def operator(store: Store) -> Iterator[Connection]:
    shard = store.topology.control
    with opening.connect(shard.primary, shard.operator) as connection:
        yield connection


@pytest.fixture
def seeing(server: OwnPostgres) -> Iterator[None]:
    """The operator is shown the statements of others."""
    server.execute("grant pg_read_all_stats to kos_operator")
    yield
    server.execute("revoke pg_read_all_stats from kos_operator")


def until(what: Callable[[], bool], seconds: float = 30) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)


def doing(store: Store) -> str:
    """What the status says."""
    try:
        return next((each.doing or "" for each in change_status(store).placements), "")
    except errors.NoChange:
        return ""


def filled(app: Connection) -> int:
    """How many rows."""
    try:
        row = app.execute("select count(total) from shop.sales").fetchone()
    except psycopg.errors.UndefinedColumn:
        return 0
    assert row is not None
    return int(row[0])


@contextmanager
def filling(store: Store, limits: Limits) -> Iterator[threading.Thread]:
    """A start at work; in the end there are no limits, and it comes to an end."""
    plan = plan_change(store, FILL, name="totals", schemas=("shop",))
    runner = threading.Thread(target=start, args=(store, plan), kwargs={"limits": limits})
    runner.start()
    try:
        until(lambda: bool(doing(store)) or not runner.is_alive())
        yield runner
    finally:
        throttle(store, paused=False, max_rate=0, max_latency_ms=0, latency_query="")
        runner.join(60)
        assert not runner.is_alive()


def test_a_fill_waits_while_the_application_says_that_it_is_slow(store: Store, app: Connection) -> None:
    app.execute("update shop.felt set p99_ms = 400")
    with filling(store, Limits(max_latency_ms=50, latency_query=P99)) as runner:
        until(lambda: doing(store) == "waiting: the latency query says 400 ms")
        before = filled(app)
        time.sleep(0.5)
        assert filled(app) == before
        assert change_status(store).limits.latency_query == P99
        app.execute("update shop.felt set p99_ms = 20")
        runner.join(60)
        assert not runner.is_alive()
    assert filled(app) == ROWS
    finish(store)


def test_without_the_limit_nobody_asks(store: Store, app: Connection) -> None:
    app.execute("update shop.felt set p99_ms = 400")
    start(store, plan_change(store, FILL, schemas=("shop",)), limits=Limits(latency_query=P99))
    assert filled(app) == ROWS


@pytest.mark.long
def test_limits_and_queries_change_while_it_runs(store: Store, app: Connection) -> None:
    with filling(store, Limits(max_rate=2000)) as runner:
        until(lambda: filled(app) > 0)
        app.execute("update shop.felt set p99_ms = 60")
        throttle(store, max_latency_ms=50, latency_query=P99)
        until(lambda: doing(store) == "waiting: the latency query says 60 ms")
        before = filled(app)
        assert before < ROWS
        throttle(store, max_latency_ms=70)
        until(lambda: filled(app) > before)
        until(lambda: doing(store) in {"running: the latency query says 60 ms", "rate limited: 2000 rows/s"})
        app.execute("update shop.felt set p99_ms = null")
        until(lambda: doing(store) == "waiting: the latency query returns None, not milliseconds")
        assert runner.is_alive()
        throttle(store, latency_query="select 3", max_rate=0)
        runner.join(60)
        assert not runner.is_alive()
    assert filled(app) == ROWS


def test_a_query_that_fails_later_stops_the_fill_and_is_named(store: Store, app: Connection) -> None:
    with filling(store, Limits(max_rate=2000, max_latency_ms=50, latency_query=P99)):
        until(lambda: filled(app) > 0)
        app.execute("alter table shop.felt rename to felt_away")
        try:
            fails = 'waiting: the latency query fails: relation "shop.felt" does not exist'
            until(lambda: doing(store) == fails)
        finally:
            app.execute("alter table shop.felt_away rename to felt")


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("select 1/0", "fails: division by zero"),
        ("nonsense", 'fails: syntax error at or near "nonsense"'),
        ("select pg_sleep(60)", "fails: canceling statement due to statement timeout"),
        ("select null", "returns None, not"),
        ("select 'fast'", "returns 'fast', not"),
        ("select true", "returns True, not"),
        ("select 'NaN'::float8", "returns nan, not"),
        ("select 'NaN'::numeric", "returns Decimal('NaN'), not"),
        ("select -1", "returns -1, not"),
        ("select 1, 2", "returns 1 rows of 2 columns, not"),
        ("select 1 where false", "returns 0 rows of 1 columns, not"),
        ("select 1 union all select 2", "returns 2 rows of 1 columns, not"),
        ("-- nothing", "fails: syntax error at end of input"),
        ("copy shop.felt to stdout", 'fails: syntax error at or near "copy"'),
        ("select 1; drop table shop.felt", "fails: cannot insert multiple commands into a prepared statement"),
        ("commit; drop table shop.felt", 'fails: syntax error at or near "commit"'),
        ("commit", 'fails: syntax error at or near "commit"'),
        ("set transaction read write", 'fails: syntax error at or near "set"'),
        (
            "with gone as (delete from shop.felt returning 1) select count(*) from gone",
            "fails: DECLARE CURSOR must not contain data-modifying statements in WITH",
        ),
        (
            "select nextval('shop.counter') from set_config('transaction_read_only', 'off', true)",
            "fails: transaction read-write mode must be set before any query",
        ),
        ("select set_config('statement_timeout', '0', false)", "returns '0', not"),
    ],
)
def test_a_query_that_tells_nothing_is_refused_and_leaves_nothing(
    session: Connection, operator: Connection, query: str, reason: str
) -> None:
    session.execute("grant all on shop.felt to kos_operator")
    session.execute("create sequence if not exists shop.counter; grant all on sequence shop.counter to kos_operator")
    before = operator.execute("select name, setting from pg_settings where name like '%timeout' order by 1").fetchall()
    told = ask(operator, query)
    assert told.milliseconds is None
    assert told.text.startswith(f"the latency query {reason}")
    after = operator.execute("select name, setting from pg_settings where name like '%timeout' order by 1").fetchall()
    assert after == before
    assert operator.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert ask(operator, "select p99_ms::numeric + '50'::int4 % 49 from shop.felt").milliseconds == 2
    assert session.execute("select is_called from shop.counter").fetchone() == (False,)


def test_a_slip_is_told_to_whoever_makes_it(store: Store, app: Connection) -> None:
    plan = plan_change(store, FILL, schemas=("shop",))
    with pytest.raises(errors.LatencyUnknown) as unknown:
        start(store, plan, limits=Limits(max_latency_ms=5, latency_query="select oops"))
    assert unknown.value.place == "main/product"
    start(store, plan)
    with pytest.raises(errors.LatencyUnknown):
        throttle(store, max_latency_ms=5, latency_query="select oops")
    assert throttle(store, latency_query=P99) == Limits(latency_query=P99)
    assert throttle(store, max_rate=3) == Limits(max_rate=3, latency_query=P99)
    assert throttle(store, latency_query="") == Limits(max_rate=3)


class Load:
    """Sessions of the application, each with one statement after another, which takes as many seconds as it is told."""

    def __init__(self, store: Store, sessions: int = 3) -> None:
        self.seconds = 0.005
        self.ended = 0
        self._stopped = False
        shard = store.topology.control
        self._connections = [opening.connect(shard.primary, shard.app) for _ in range(sessions)]
        self._threads = [threading.Thread(target=self._run, args=(each,)) for each in self._connections]

    def __enter__(self) -> Load:
        for each in self._threads:
            each.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._stopped = True
        for each in self._threads:
            each.join()
        for connection in self._connections:
            connection.close()

    def _run(self, connection: Connection) -> None:
        while not self._stopped:
            with connection.transaction():
                connection.execute("select pg_sleep(%s)", (self.seconds,))
            self.ended += 1


@pytest.mark.usefixtures("seeing")
@pytest.mark.long
def test_a_fill_waits_while_the_application_s_statements_are_slow(
    store: Store, app: Connection, operator: Connection
) -> None:
    # The operator counts the rows: many short statements of the application's would make the mean smaller.
    with Load(store) as load:
        load.seconds = 0.4
        with filling(store, Limits(max_rate=2000)) as runner:
            until(lambda: filled(operator) > 0)
            throttle(store, max_latency_ms=200)
            until(lambda: doing(store).startswith("waiting: statements take "))
            before = filled(operator)
            slow, ended = doing(store), load.ended
            until(lambda: load.ended >= ended + 6)
            assert filled(operator) == before < ROWS
            assert 200 <= float(slow.split()[-2]) < 5000
            load.seconds = 0.005
            until(lambda: filled(operator) > before)
            throttle(store, max_rate=0)
            runner.join(60)
            assert not runner.is_alive()
    assert filled(operator) == ROWS


@pytest.mark.usefixtures("seeing")
def test_statements_are_the_application_s_own(session: Connection, operator: Connection) -> None:
    now = [0.0]
    statements = Statements(operator, lambda: now[0])

    def mean() -> float | None:
        now[0] += 1.0
        told = statements()
        return None if told is None else told.milliseconds

    assert mean() is None  # of what was before, nobody knows when
    session.execute("select pg_sleep(0.2)")
    slow = mean()
    assert slow is not None
    assert 200 <= slow < 2000
    assert mean() is None  # nobody is at work
    with session.transaction():  # BEGIN and COMMIT are none, nor is a setting: one statement is left
        session.execute("select set_config('app.tenant', '1', true)")
        session.execute("/* by an ORM */ select pg_sleep(0.2)")
    assert (mean() or 0) >= 200
    operator.execute("select pg_sleep(0.3)")
    session.execute(
        "select /* kos fill */ pg_sleep(0.3), 1"
    )  # a fill works as the table's owner, which the application is
    assert mean() is None
    session.execute("select pg_sleep(0.2)")
    operator.execute("select 1")
    now[0] += 0.5
    statements()
    assert statements._mean is None, "statistics are read once in a second"


@pytest.mark.usefixtures("seeing")
def test_what_began_anew_is_counted_from_there(
    server: OwnPostgres, store: Store, session: Connection, operator: Connection
) -> None:
    now = [0.0]
    statements = Statements(operator, lambda: now[0])
    for _ in range(3):
        session.execute("select pg_sleep(0.4)")
    statements()
    with opening.connect(store.topology.control.primary, server.superuser) as superuser:
        superuser.execute("select pg_stat_statements_reset()")
    session.execute("select pg_sleep(0.1)")
    now[0] += 1.0
    told = statements()
    assert told is not None
    assert told.milliseconds is not None
    assert 40 <= told.milliseconds < 400  # with the superuser's own statement


@pytest.mark.usefixtures("seeing")
def test_what_was_slow_counts_until_something_ends_or_nothing_is_under_way(
    store: Store, session: Connection, operator: Connection
) -> None:
    now = [0.0]
    statements = Statements(operator, lambda: now[0])
    statements()
    session.execute("select pg_sleep(0.2)")
    shard = store.topology.control
    with opening.connect(shard.primary, shard.app) as other:
        pid = other.info.backend_pid
        query = "select exists (select from pg_stat_activity where pid = %s and state = 'active')"
        waiting = threading.Thread(target=_sleep, args=(other,))
        waiting.start()
        until(lambda: operator.execute(query, (pid,)).fetchone() == (True,))
        for _ in range(3):
            now[0] += 1.0
            told = statements()
            assert told is not None
            assert told.milliseconds is not None
            assert told.milliseconds >= 200
        other.cancel()
        waiting.join()
    until(lambda: operator.execute(query, (pid,)).fetchone() == (False,))
    now[0] += 1.0
    assert statements() is None


def _sleep(connection: Connection) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute("select pg_sleep(60)")


@pytest.mark.usefixtures("seeing")
def test_a_fill_s_own_statements_are_marked(store: Store, app: Connection, operator: Connection) -> None:
    """Those that run as the owner: without the mark they would be taken for the application's."""
    start(store, plan_change(store, FILL, schemas=("shop",)))
    rows = operator.execute(
        "select query from pg_stat_statements s join pg_roles r on r.oid = s.userid"
        " where r.rolname = %s and query ~ 'total'", (APP,)
    ).fetchall()  # fmt: skip
    texts = [text for (text,) in rows if text.startswith("update")]
    assert texts
    assert all("/* kos fill */" in text for text in texts)
    counted = operator.execute(QUERIES.statements.format(schema=psycopg.sql.Identifier("public")), {"ours": OURS})
    assert counted.fetchall()


def test_where_statements_are_hidden_a_commit_is_what_is_timed(operator: Connection) -> None:
    latency = AppLatency(operator)
    for _ in range(2):
        (told,) = latency(None)
        assert told.what == "commits take"
        assert told.milliseconds is not None
        assert 0 < told.milliseconds < 5000
    commit, said = latency("select 7")
    assert (commit.what, said.text) == ("commits take", "the latency query says 7 ms")
