"""A cut and its snapshot are one moment: a table as it was there, and the events after it, are the table as it is."""

from __future__ import annotations

import importlib
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import psycopg
import pytest
from fence_client import Client
from log_history import SCHEMA, TABLES
from psycopg.sql import SQL, Literal

from fix_database import as_superuser
from fix_exports import until
from kos.errors import StoreBusy
from kos.log import Cursor, Event, cut, read, seal_all, status
from kos.tenancy import Place, Store
from kos.tenancy.placement import control_place
from kos.topology.embedded import Stack
from waiting import ADVISORY, waiters

CUTTING = importlib.import_module("kos.log.cut")
SHARED = [uuid.UUID(int=number) for number in (1, 2, 3)]
Connection = psycopg.Connection[Any]
Rows = dict[tuple[str, tuple[str, ...]], str | None]
Events = dict[uuid.UUID, list[Event]]
LOAD = """
do $$
declare
  at integer;
  of uuid;
begin
  for n in 1 .. 3 loop
    at := 1 + random() * 20;
    of := lpad((1 + floor(random() * 3))::integer::text, 32, '0')::uuid;
    if random() < 0.7 then
      insert into public.firsts as r (tenant, id, stamp) values (of, at, nextval('public.stamps'))
        on conflict (tenant, id) do update set stamp = nextval('public.stamps');
      update public.seconds set stamp = nextval('public.stamps') where tenant = of and id <= at;
    else
      delete from public.firsts r where r.tenant = of and r.id >= at;
      insert into public.seconds (tenant, id, stamp) values (of, at, nextval('public.stamps')) on conflict do nothing;
    end if;
  end loop;
end $$
"""


@pytest.fixture
def place(store: Store) -> Place:
    return control_place(store.topology)


@pytest.fixture
def product(store: Store, superuser: Connection) -> Connection:
    """Two logged tables."""
    superuser.execute(SCHEMA.encode())
    return superuser


@contextmanager
def load(stack: Stack, database: str) -> Iterator[Callable[[], int]]:
    """Two sessions that write to both tables all the time; tells how many transactions were committed."""
    over = threading.Event()
    done = [0, 0]

    def write(number: int) -> None:
        with as_superuser(stack, database) as connection:
            connection.execute("set deadlock_timeout = '20ms'")
            while not over.wait(0.01):  # else it has the processors, and every other test waits
                try:
                    connection.execute(LOAD.encode())
                    done[number] += 1
                except (psycopg.errors.DeadlockDetected, psycopg.errors.SerializationFailure):
                    continue

    threads = [threading.Thread(target=write, args=(number,)) for number in range(len(done))]
    for each in threads:
        each.start()
    try:
        yield lambda: sum(done)
    finally:
        over.set()
        for each in threads:
            each.join()


def rows(connection: Connection) -> Rows:
    """Stamps of all rows, by table and key."""
    found: Rows = {}
    for table, key in zip(TABLES, ("tenant::text, id::text", "id::text, tenant::text"), strict=True):
        for *names, stamp in connection.execute(f"select {key}, stamp::text from public.{table}".encode()):
            found[table, tuple(names)] = stamp
    return found


def imported(store: Store, place: Place, snapshot: str) -> Rows:
    with store.operator(place) as elsewhere:
        elsewhere.execute("begin isolation level repeatable read")
        elsewhere.execute(SQL("set transaction snapshot {}").format(Literal(snapshot)))
        return rows(elsewhere)


def events_after(connection: Connection, all_positions: Iterable[dict[uuid.UUID, int]]) -> Events:
    """Of each tenant, those after the first of its positions."""
    first: dict[uuid.UUID, int] = {}
    for positions in all_positions:
        first |= {tenant: min(at, first.get(tenant, at)) for tenant, at in positions.items()}
    return {tenant: read(connection, tenant, Cursor(at), 1_000_000) for tenant, at in first.items()}


def apply(events: Events, copy: Rows, positions: dict[uuid.UUID, int]) -> Rows:
    """The copy, after the events that follow the positions: each must fit what is there."""
    for tenant, position in positions.items():
        for event in events[tenant]:
            if event.position <= position:
                continue
            row = (event.table, event.key)
            if event.operation == "T":
                copy = {each: stamp for each, stamp in copy.items() if each[0] != event.table}
                continue
            assert (event.operation == "I") != (row in copy), "the copy is of another moment"
            if event.operation == "D":
                del copy[row]
            else:
                copy[row] = event.data["stamp"]
    return copy


def hold_under_load(stack: Stack, store: Store, place: Place, product: Connection, times: int) -> None:
    copies = []
    with load(stack, product.info.dbname) as committed:
        for _ in range(times):
            before = committed()
            until(lambda before=before: committed() > before + 1)
            with cut(store, place, SHARED) as here:
                held = committed()
                until(lambda held=held: committed() > held + 1)  # no writer waits for a cut
                copies.append((here.positions, imported(store, place, here.snapshot)))
            with store.operator(place) as operator:
                seal_all(operator)
    with store.operator(place) as operator:
        seal_all(operator)
        now = rows(operator)
        events = events_after(operator, [positions for positions, _ in copies])  # read once: that is what takes long
        for positions, copy in copies:
            assert apply(events, copy, positions) == now


def test_a_cut_under_load_and_the_events_after_it_are_the_source(
    template: Stack, store: Store, place: Place, product: Connection
) -> None:
    hold_under_load(template, store, place, product, 4)


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_many_cuts_under_load_and_the_events_after_them_are_the_source(
    template: Stack, store: Store, place: Place, product: Connection
) -> None:
    for _ in range(200):  # few at a time: each is followed to the end of its load
        hold_under_load(template, store, place, product, 5)


def put(connection: Connection, key: int, tenant: uuid.UUID = SHARED[0]) -> None:
    connection.execute(
        "insert into public.firsts (tenant, id, stamp) values (%s, %s, nextval('public.stamps'))", (tenant, key)
    )


def blocked(connection: Connection, pid: int) -> bool:
    return connection.execute("select cardinality(pg_blocking_pids(%s)) > 0", (pid,)).fetchone() == (True,)


@contextmanager
def client(product: Connection) -> Iterator[Client]:
    opened = Client(product.info.get_parameters() | {"password": product.info.password})
    try:
        yield opened
    finally:
        opened.close()


def test_who_truncates_waits_for_the_end_of_a_cut(store: Store, place: Place, product: Connection) -> None:
    put(product, 1)
    with client(product) as truncating:
        with cut(store, place, SHARED) as here:
            copy = imported(store, place, here.snapshot)  # first: its lock would queue behind the one that truncates
            assert len(copy) == 1
            truncating.send("truncate public.firsts")
            until(lambda: blocked(product, truncating.pid))
            assert rows(here.connection) == copy
        assert truncating.answers(30.0) == ["ok"]
    with store.operator(place) as operator:
        seal_all(operator)
        assert apply(events_after(operator, [here.positions]), copy, here.positions) == {} == rows(operator)


def test_a_cut_sees_what_a_sealer_commits_that_it_waited_for(store: Store, place: Place, product: Connection) -> None:
    put(product, 1)
    found = []
    with client(product) as sealer:
        sealer.send("begin", f"select kos.seal('{SHARED[0]}')")
        assert sealer.answers(30.0) == ["ok"]
        cutting = threading.Thread(target=lambda: found.append(take(store, place, SHARED)))
        cutting.start()
        until(lambda: waiters(product, ADVISORY) > 0)
        put(product, 2)
        sealer.send("commit")
        assert sealer.answers(30.0) == ["ok"]
        cutting.join()
    [(positions, copy)] = found
    assert (positions[SHARED[0]], len(copy)) == (2, 2)


def take(store: Store, place: Place, tenants: list[uuid.UUID]) -> tuple[dict[uuid.UUID, int], Rows]:
    with cut(store, place, tenants) as here:
        return here.positions, imported(store, place, here.snapshot)


@pytest.fixture
def together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cuts of so few tenants take the locks that those of many do."""
    monkeypatch.setattr(CUTTING, "ONE_BY_ONE", 1)


def test_a_cut_of_many_tenants_takes_one_lock_and_keeps_every_sealer_out(
    store: Store, place: Place, product: Connection, together: None
) -> None:
    mine = "select count(*) from pg_locks where locktype = 'advisory' and pid = %s"
    product.execute("select kos.current_incarnation()")  # which takes a lock when it begins
    for number, tenant in enumerate(SHARED):
        put(product, number, tenant)
    with cut(store, place, SHARED) as here:
        assert set(here.positions.values()) == {1}
        assert product.execute(mine, (here.connection.info.backend_pid,)).fetchone() == (1,)
        product.execute("set lock_timeout = '200ms'")
        for statement in (f"select kos.seal('{SHARED[0]}')", f"select kos.seal('{uuid.uuid4()}')"):
            with pytest.raises(psycopg.errors.LockNotAvailable):
                product.execute(statement)
        pid = here.connection.info.backend_pid
    assert product.execute(mine, (pid,)).fetchone() == (0,)
    assert product.execute(f"select kos.seal('{SHARED[0]}')").fetchone() == (0,)


def test_a_cut_of_many_that_finds_no_moment_keeps_nobody_waiting(
    store: Store, place: Place, product: Connection, together: None
) -> None:
    put(product, 1)
    found: list[tuple[dict[uuid.UUID, int], Rows]] = []
    with client(product) as sealer:
        sealer.send("begin", f"select kos.seal('{SHARED[0]}')")
        assert sealer.answers(30.0) == ["ok"]
        other = threading.Thread(target=lambda: found.append(take(store, place, SHARED)))
        other.start()
        asks = (
            "select from pg_stat_activity where query like '%pg_try_advisory_lock(kos.all_logs_key())%'"
            " and datname = current_database() and pid <> pg_backend_pid()"
        )
        until(lambda: product.execute(asks).rowcount > 0)
        product.execute("set lock_timeout = '1s'")
        assert product.execute(f"select kos.seal('{uuid.uuid4()}')").fetchone() == (0,)
        sealer.send("commit")
        assert sealer.answers(30.0) == ["ok"]
        other.join()
    assert [positions[SHARED[0]] for positions, _ in found] == [1]


def test_a_cut_of_many_says_that_it_found_no_moment(
    store: Store, place: Place, product: Connection, together: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(product, 1)
    monkeypatch.setattr(CUTTING, "PATIENCE", 0.3)
    with client(product) as sealer:
        sealer.send("begin", f"select kos.seal('{SHARED[0]}')")
        assert sealer.answers(30.0) == ["ok"]
        with pytest.raises(StoreBusy, match="finds no moment"), cut(store, place, SHARED):
            pass
        sealer.send("commit")
        assert sealer.answers(30.0) == ["ok"]
    assert take(store, place, SHARED)[0][SHARED[0]] == 1


def test_a_cut_of_many_waits_for_one_of_few_and_the_other_way_round(
    template: Stack, store: Store, place: Place, product: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each holds its locks while the other asks for its own; and a sealer stands between them."""
    put(product, 1)
    found: list[tuple[dict[uuid.UUID, int], Rows]] = []
    for first, second in ((1000, 1), (1, 1000)):
        monkeypatch.setattr(CUTTING, "ONE_BY_ONE", first)
        with client(product) as sealer:
            with cut(store, place, SHARED) as here:
                monkeypatch.setattr(CUTTING, "ONE_BY_ONE", second)
                sealer.send(f"select kos.seal('{SHARED[0]}')")
                until(lambda: waiters(product, ADVISORY) == 1)
                waiting = 2 if first == 1 else 1  # a cut of many asks again and again instead
                other = threading.Thread(target=lambda: found.append(take(store, place, SHARED)))
                other.start()
                until(lambda count=waiting: waiters(product, ADVISORY) == count)
                copy = rows(here.connection)
            other.join()
            assert sealer.answers(30.0) == ["ok"]
    assert [each for _, each in found] == [copy, copy]


def test_a_cut_whose_block_fails_seals_nothing_and_keeps_no_lock(
    store: Store, place: Place, product: Connection
) -> None:
    for number, tenant in enumerate(SHARED):
        put(product, number, tenant)
    with pytest.raises(ZeroDivisionError), cut(store, place, SHARED) as here:
        assert set(here.positions.values()) == {1}
        raise ZeroDivisionError
    assert product.execute("select from kos.seals").rowcount == 0
    assert product.execute("select from kos.knowledge_events").rowcount == 0
    assert status(store, place).waiting_tenants == len(SHARED)
    with store.operator(place) as operator:
        operator.execute("set lock_timeout = '10s'")
        assert seal_all(operator) == len(SHARED)


@pytest.mark.long
def test_cuts_at_once_do_not_deadlock(template: Stack, store: Store, place: Place, product: Connection) -> None:
    found: list[tuple[dict[uuid.UUID, int], Rows]] = []
    failed: list[BaseException] = []
    orders = [SHARED, SHARED[::-1], SHARED[1:] + SHARED[:1], SHARED[:2][::-1]]

    def many(tenants: list[uuid.UUID]) -> None:
        try:
            found.extend(take(store, place, tenants) for _ in range(10))
        except BaseException as error:
            failed.append(error)

    with ExitStack() as opened:
        opened.enter_context(load(template, product.info.dbname))
        threads = [threading.Thread(target=many, args=(tenants,)) for tenants in orders]
        for each in threads:
            each.start()
        for each in threads:
            each.join(120)
            assert not each.is_alive()
    assert failed == []
    assert len(found) == 40
    with store.operator(place) as operator:
        seal_all(operator)
        now = rows(operator)
        for positions, copy in found:
            mine = {str(tenant) for tenant in positions}
            theirs = apply(
                events_after(operator, [positions]),
                {row: stamp for row, stamp in copy.items() if mine & set(row[1])},
                positions,
            )
            assert theirs == {row: stamp for row, stamp in now.items() if mine & set(row[1])}
