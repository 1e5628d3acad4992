"""The load and its account, on real databases: nothing planted stays hidden, nothing killed is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fix_stack import FOLDER
from kos import workload
from kos.errors import ExternalStore, LedgerBusy, LedgerDamaged, LedgerExists, StoreUnavailable
from kos.tenancy import Place, Store, create_tenant, find_tenant, install, list_tenants, remove_tenant
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from kos.workload import Result, Shape, Verdict, verify
from kos.workload.ledger import Attempt, Run, read
from kos.workload.run import default_path
from kos.workload.transactions import number_of

SMALL = Shape(tenants=3, clients=4, seed=11)
SECONDS = 0.7
CLI = [sys.executable, "-c", "from kos.cli import main; main()"]

Connection = psycopg.Connection[tuple[Any, ...]]


@pytest.fixture
def result(store: Store, tmp_path: Path) -> Result:
    """A load that ran for a moment, long enough for an update of everything that faults are planted in."""
    return workload.run(store, tmp_path / "run.ledger", SMALL, seconds=3 * SECONDS)


def place_of(store: Store, tenant: str) -> Place:
    found = find_tenant(store, tenant)
    return Place(found.shard, found.database)


@contextmanager
def behind_its_back(store: Store, tenant: str) -> Iterator[Connection]:
    """As the operator, inside a tenant: what is done here is in no ledger."""
    with store.operator(place_of(store, tenant)) as connection, connection.transaction():
        connection.execute("select set_config('search_path', kos.enter(%s), true)", (tenant,))
        yield connection


def counts(verdict: Verdict) -> dict[str, int]:
    """What does not agree."""
    found = {"lost": verdict.lost, "doubled": verdict.doubled, "foreign": verdict.foreign}
    return {kind: count for kind, count in found.items() if count}


def tenant_of(store: Store, tenant: str) -> str:
    return str(find_tenant(store, tenant).id)


# a run as it should be


def test_a_run_accounts_for_every_write(store: Store, result: Result) -> None:
    verdict = result.verdict
    assert verdict.holds, verdict.findings
    assert verdict.acknowledged == verdict.attempted > 50
    assert (verdict.failed, verdict.ambiguous, verdict.findings) == (0, 0, ())
    assert result.reads > 0
    assert result.speed.tps == pytest.approx(verdict.acknowledged / result.speed.seconds)
    assert 0 < result.speed.p50_ms <= result.speed.p99_ms
    assert 0 < result.speed.longest_stall_ms < 1000


def test_its_tenants_are_its_own_and_in_three_tiers(store: Store, result: Result) -> None:
    assert {tenant.name: tenant.tier for tenant in list_tenants(store)} == {
        "workload-1": "row",
        "workload-2": "schema",
        "workload-3": "database",
    }


def test_every_kind_of_transaction_is_done_and_tenants_are_skewed(store: Store, result: Result) -> None:
    attempts = [record for record in read(result.verdict.ledger) if isinstance(record, Attempt)]
    assert {attempt.does for attempt in attempts} == {"create", "derive", "revise", "retire", "replace"}
    sizes = [sum(attempt.tenant == tenant for attempt in attempts) for tenant in result.tenants]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 1.5 * sizes[2]


def test_a_seed_gives_the_same_choices(store: Store, tmp_path: Path) -> None:
    def choices(name: str) -> list[tuple[str, str]]:
        workload.run(store, tmp_path / name, Shape(tenants=2, clients=1, seed=3), seconds=0.3)
        records = read(tmp_path / name)
        return [(record.tenant, record.does) for record in records if isinstance(record, Attempt)]

    first, second = choices("one"), choices("two")
    both = min(len(first), len(second))
    assert both > 10
    assert first[:both] == second[:both]


@pytest.mark.long
def test_each_run_has_its_own_account(store: Store, tmp_path: Path, result: Result) -> None:
    second = workload.run(store, tmp_path / "second.ledger", SMALL, seconds=0.3)
    assert second.verdict.holds
    assert verify(store, result.verdict.ledger) == result.verdict


def test_a_ledger_is_kept_with_the_stack_unless_told_otherwise(store: Store) -> None:
    run = Run("01a20ae7-b235-759b-b575-95b0a9a5f8fb", (), 1, 1)
    assert store.topology.folder is not None
    assert default_path(store.topology, run) == store.topology.folder / f".kos/workload/{run.id}.ledger"


@pytest.mark.long
def test_a_ledger_that_exists_stops_the_run_before_it_begins(store: Store, tmp_path: Path, result: Result) -> None:
    before = result.verdict.ledger.read_bytes()
    with pytest.raises(LedgerExists):
        workload.run(store, result.verdict.ledger, SMALL, seconds=1)
    assert result.verdict.ledger.read_bytes() == before


def test_a_run_that_goes_on_can_not_be_verified(store: Store, tmp_path: Path) -> None:
    with workload.running(store, tmp_path / "run.ledger", SMALL) as load:
        load.go_on(0.2)
        with pytest.raises(LedgerBusy):
            verify(store, tmp_path / "run.ledger")
        assert load.is_running
    assert verify(store, tmp_path / "run.ledger").holds


def test_an_interrupt_ends_a_run_early_and_it_is_verified(store: Store, tmp_path: Path) -> None:
    def interrupt(reading: workload.Reading) -> None:
        if reading.acknowledged > 10:
            raise KeyboardInterrupt

    result = workload.run(store, tmp_path / "run.ledger", SMALL, seconds=60, watch=interrupt)
    assert result.speed.seconds < 30
    assert result.verdict.holds
    assert result.verdict.acknowledged > 10


def test_a_mistake_of_ours_ends_the_run_and_is_raised(store: Store, tmp_path: Path) -> None:
    with workload.running(store, tmp_path / "run.ledger", SMALL) as load:
        load.go_on(0.2)
        with store.operator() as operator:
            operator.execute("set role kos_owner")
            operator.execute("alter table knowledge.atoms rename column value to worth")
        load.go_on(20)
        assert not load.is_running
        with pytest.raises(psycopg.errors.UndefinedColumn):
            load.result()
        with store.operator() as operator:
            operator.execute("set role kos_owner")
            operator.execute("alter table knowledge.atoms rename column worth to value")
    assert verify(store, tmp_path / "run.ledger").holds


# what is planted


def an_untouched_atom(connection: Connection, tenant: str) -> Any:
    """An atom that stands for one attempt alone: nothing refers to it, and it was never revised."""
    row = connection.execute(
        """
        select id from atoms a
         where tenant_id = %s and source not like '%%counter%%' and source like '%%:0' and deleted_at is null
           and metadata = '{}'
           and not exists (select from relations where from_atom_id = a.id or to_atom_id = a.id)
         limit 1
        """,
        (tenant,),
    ).fetchone()
    assert row is not None
    return row[0]


def lose_a_row(connection: Connection, tenant: str) -> None:
    connection.execute("delete from atoms where id = %s", (an_untouched_atom(connection, tenant),))


def lose_a_relation(connection: Connection, tenant: str) -> None:
    connection.execute(
        "delete from relations where id = (select id from relations where tenant_id = %s limit 1)", (tenant,)
    )


def lose_a_revision(connection: Connection, tenant: str) -> None:
    """As if the last update of an atom had never been: its row is as it was before."""
    row = connection.execute(
        """
        select id, source, metadata -> 'revisions' from atoms
         where tenant_id = %s and metadata -> 'revisions' ->> -1 like '%%:0' and deleted_at is null limit 1
        """,
        (tenant,),
    ).fetchone()
    assert row is not None
    atom, source, revisions = row
    connection.execute(
        """
        update atoms set metadata = metadata #- '{revisions,-1}', version = version - 1, number_value = %s
         where id = %s
        """,
        (number_of([source, *revisions][-2]), atom),
    )


def double_a_row(connection: Connection, tenant: str) -> None:
    connection.execute(
        """
        insert into atoms (tenant_id, atom_type, name, value, number_value, metadata, source)
        select tenant_id, atom_type, name, value, number_value, metadata, source from atoms where id = %s
        """,
        (an_untouched_atom(connection, tenant),),
    )


def double_a_revision(connection: Connection, tenant: str) -> None:
    changed = connection.execute(
        """
        update atoms set metadata = jsonb_insert(metadata, '{revisions,0}', metadata -> 'revisions' -> 0),
               version = version + 1
         where id = (select id from atoms where tenant_id = %s and metadata ? 'revisions' limit 1)
        """,
        (tenant,),
    )
    assert changed.rowcount == 1


def plant_an_attempt(connection: Connection, tenant: str) -> None:
    connection.execute(
        """
        insert into atoms (tenant_id, atom_type, name, source)
        select tenant_id, 'EntityAtom', 'planted',
               split_part(source, ':', 1) || ':' || split_part(source, ':', 2) || ':' || kos.uuid_v7() || ':0'
          from atoms where id = %s
        """,
        (an_untouched_atom(connection, tenant),),
    )


def plant_a_row_without_a_tag(connection: Connection, tenant: str) -> None:
    connection.execute("insert into atoms (tenant_id, atom_type, name) values (%s, 'EntityAtom', 'planted')", (tenant,))


def plant_another_trace_of_an_attempt(connection: Connection, tenant: str) -> None:
    connection.execute(
        """
        insert into atoms (tenant_id, atom_type, name, source)
        select tenant_id, 'EntityAtom', 'planted', regexp_replace(source, ':0$', ':7') from atoms where id = %s
        """,
        (an_untouched_atom(connection, tenant),),
    )


def lower_a_counter(connection: Connection, tenant: str) -> None:
    turn_a_counter(connection, tenant, -2)


def raise_a_counter(connection: Connection, tenant: str) -> None:
    turn_a_counter(connection, tenant, 3)


def turn_a_counter(connection: Connection, tenant: str, by: int) -> None:
    changed = connection.execute(
        "update atoms set number_value = number_value + %s where tenant_id = %s and source like '%%:counter:1'",
        (by, tenant),
    )
    assert changed.rowcount == 1


def double_a_counter(connection: Connection, tenant: str) -> None:
    connection.execute(
        """
        insert into atoms (tenant_id, atom_type, name, number_value, source)
        select tenant_id, atom_type, name, number_value, source from atoms
         where tenant_id = %s and source like '%%:counter:0'
        """,
        (tenant,),
    )


FIRST_ITEM = "source like '%%:0' and source not like '%%:counter:%%'"


def change(connection: Connection, tenant: str, changes: str, of: str = FIRST_ITEM) -> None:
    """Change one atom or relation behind the load's back; nothing that identifies it."""
    changed = connection.execute(
        f"update atoms set {changes} where id = (select id from atoms where tenant_id = %s and {of} limit 1)", (tenant,)
    )
    assert changed.rowcount == 1


def change_a_number(connection: Connection, tenant: str) -> None:
    change(connection, tenant, "number_value = number_value + 0.01")


def bring_back_an_old_number(connection: Connection, tenant: str) -> None:
    change(connection, tenant, "number_value = 1", of="metadata ? 'revisions'")


def change_a_name(connection: Connection, tenant: str) -> None:
    change(connection, tenant, "name = name || '?'")


def change_a_type(connection: Connection, tenant: str) -> None:
    change(connection, tenant, "atom_type = atom_type || '?'")


def change_a_value(connection: Connection, tenant: str) -> None:
    change(connection, tenant, "value = null")


def change_a_version(connection: Connection, tenant: str) -> None:
    change(connection, tenant, "version = version + 1")


def turn_a_relation(connection: Connection, tenant: str) -> None:
    changed = connection.execute(
        """
        update relations set from_atom_id = to_atom_id, to_atom_id = from_atom_id
         where id = (select id from relations where tenant_id = %s limit 1)
        """,
        (tenant,),
    )
    assert changed.rowcount == 1


def plant_a_document(connection: Connection, tenant: str) -> None:
    connection.execute(
        """
        insert into documents (tenant_id, title, media_type, content_sha256, byte_length)
        values (%s, 'planted', 'text/plain', repeat('a', 64), 1)
        """,
        (tenant,),
    )


def plant_a_molecule(connection: Connection, tenant: str) -> None:
    connection.execute("insert into molecules (tenant_id, name) values (%s, 'planted')", (tenant,))


def plant_a_secret(connection: Connection, tenant: str) -> None:
    connection.execute(
        "insert into sensitive_atoms (tenant_id, encrypted_value, encryption_key_id) values (%s, 'x', 'k')", (tenant,)
    )


@pytest.mark.long
@pytest.mark.parametrize(
    ("plant", "expected"),
    [
        (change_a_number, {"foreign": 1}),
        (bring_back_an_old_number, {"foreign": 1}),
        (change_a_name, {"foreign": 1}),
        (change_a_type, {"foreign": 1}),
        (change_a_value, {"foreign": 1}),
        (change_a_version, {"foreign": 1}),
        (turn_a_relation, {"foreign": 1}),
        (plant_a_document, {"foreign": 1}),
        (plant_a_molecule, {"foreign": 1}),
        (plant_a_secret, {"foreign": 1}),
        (lose_a_row, {"lost": 1}),
        (lose_a_relation, {"lost": 1}),
        (lose_a_revision, {"lost": 1}),
        (double_a_row, {"doubled": 1}),
        (double_a_revision, {"doubled": 1}),
        (plant_an_attempt, {"foreign": 1}),
        (plant_a_row_without_a_tag, {"foreign": 1}),
        (plant_another_trace_of_an_attempt, {"foreign": 1}),
        (lower_a_counter, {"lost": 2}),
        (raise_a_counter, {"foreign": 3}),
        (double_a_counter, {"doubled": 1}),
    ],
)
def test_what_is_planted_is_reported_under_its_name(
    store: Store, result: Result, plant: Callable[[Connection, str], None], expected: dict[str, int]
) -> None:
    planted: dict[str, int] = {}
    for tenant in result.tenants:  # one per tier
        with behind_its_back(store, tenant) as connection:
            plant(connection, tenant_of(store, tenant))
        verdict = verify(store, result.verdict.ledger)
        planted = {kind: planted.get(kind, 0) + count for kind, count in expected.items()}
        assert counts(verdict) == planted, verdict.findings
        assert (verdict.findings[-1].kind, tenant) in {(each.kind, each.tenant) for each in verdict.findings}


@pytest.mark.long
def test_a_whole_transaction_that_vanished_is_lost_once(store: Store, result: Result) -> None:
    with behind_its_back(store, "workload-1") as connection:
        tenant = tenant_of(store, "workload-1")
        atom = an_untouched_atom(connection, tenant)
        row = connection.execute("select source from atoms where id = %s", (atom,)).fetchone()
        assert row is not None
        attempt = row[0].split(":")[2]
        client = next(
            record.client
            for record in read(result.verdict.ledger)
            if isinstance(record, Attempt) and record.id == attempt
        )
        connection.execute("delete from atoms where source like %s", (f"%{attempt}%",))
        connection.execute(
            "update atoms set number_value = number_value - 1 where tenant_id = %s and source like %s",
            (tenant, f"%:counter:{client}"),
        )
    verdict = verify(store, result.verdict.ledger)
    assert counts(verdict) == {"lost": 1}
    assert verdict.findings[0].subject == attempt


def test_a_row_in_a_neighbour_is_lost_here_and_foreign_there(store: Store, result: Result) -> None:
    """Not only in the load's own tenants: a leak may end anywhere."""
    acme = create_tenant(store, "acme")
    with behind_its_back(store, "workload-1") as connection:
        atom = an_untouched_atom(connection, tenant_of(store, "workload-1"))
        connection.execute("update atoms set tenant_id = %s where id = %s", (acme.id, atom))
    verdict = verify(store, result.verdict.ledger)
    assert counts(verdict) == {"lost": 1, "foreign": 1}
    assert {(each.kind, each.tenant) for each in verdict.findings} == {("lost", "workload-1"), ("foreign", "acme")}


@pytest.mark.long
def test_what_other_tenants_have_of_their_own_is_nobodys_concern(store: Store, result: Result) -> None:
    create_tenant(store, "acme")
    with store.tenant("acme") as acme:
        acme.execute("insert into atoms (atom_type, name) values ('EntityAtom', 'ours')")
    assert verify(store, result.verdict.ledger).holds


@pytest.mark.long
def test_a_tenant_that_is_gone_takes_its_writes_with_it(store: Store, result: Result) -> None:
    remove_tenant(store, "workload-3")
    verdict = verify(store, result.verdict.ledger)
    attempts = [record for record in read(result.verdict.ledger) if isinstance(record, Attempt)]
    assert counts(verdict) == {"lost": sum(attempt.tenant == "workload-3" for attempt in attempts)}


# what the ledger says


def rewrite(path: Path, change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change or leave out the ledger's records."""
    records = [change(json.loads(line)) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(record) + "\n" for record in records if record))


@pytest.mark.long
def test_without_its_outcome_an_attempt_is_ambiguous_and_may_have_happened(store: Store, result: Result) -> None:
    ledger, verdict = result.verdict.ledger, result.verdict
    rewrite(ledger, lambda record: None if record["record"] == "acknowledged" else record)
    again = verify(store, ledger)
    assert again.holds, again.findings
    assert (again.acknowledged, again.failed, again.ambiguous) == (0, verdict.attempted, verdict.attempted)


@pytest.mark.long
def test_half_of_an_ambiguous_attempt_is_lost(store: Store, result: Result) -> None:
    ledger = result.verdict.ledger
    rewrite(ledger, lambda record: None if record["record"] == "acknowledged" else record)
    with behind_its_back(store, "workload-1") as connection:
        lose_a_relation(connection, tenant_of(store, "workload-1"))
    assert counts(verify(store, ledger)) == {"lost": 1}


@pytest.mark.long
def test_what_failed_for_certain_must_not_be_there(store: Store, result: Result) -> None:
    ledger = result.verdict.ledger
    creation = next(record for record in read(ledger) if isinstance(record, Attempt) and record.does == "create")

    def refuse(record: dict[str, Any]) -> dict[str, Any]:
        if record["record"] == "acknowledged" and record["attempt"] == creation.id:
            return {"record": "failed", "attempt": creation.id, "known": True, "reason": "told so"}
        return record

    rewrite(ledger, refuse)
    assert counts(verify(store, ledger)) == {"foreign": 1}


def test_an_acknowledged_attempt_that_never_was_is_lost(store: Store, result: Result) -> None:
    attempt = {
        "id": "01a20ae7-b235-759b-b575-95b0a9a5f8fb",
        "tenant": "workload-2",
        "client": 0,
        "does": "create",
        "items": 1,
    }
    with result.verdict.ledger.open("a") as ledger:
        ledger.write(json.dumps({"record": "intent", **attempt}) + "\n")
        ledger.write(json.dumps({"record": "acknowledged", "attempt": attempt["id"]}) + "\n")
    assert counts(verify(store, result.verdict.ledger)) == {"lost": 1}


@pytest.mark.long
@pytest.mark.parametrize(
    "appended",
    [
        {"record": "acknowledged", "attempt": "nobody"},
        {"record": "intent", "id": "x", "tenant": "acme", "client": 0, "does": "create", "items": 1},
    ],
)
def test_records_that_do_not_follow_are_damage(store: Store, result: Result, appended: dict[str, Any]) -> None:
    path = result.verdict.ledger
    lines = path.read_text().count("\n")
    with path.open("a") as ledger:
        ledger.write(json.dumps(appended) + "\n")
    with pytest.raises(LedgerDamaged) as caught:
        verify(store, path)
    assert caught.value.line == lines + 1


@pytest.mark.long
def test_an_outcome_that_is_told_twice_is_damage(store: Store, result: Result) -> None:
    path = result.verdict.ledger
    outcome = path.read_text().splitlines()[-1]
    with path.open("a") as ledger:
        ledger.write(outcome + "\n")
    with pytest.raises(LedgerDamaged):
        verify(store, path)


def test_an_empty_ledger_is_damage(store: Store, tmp_path: Path) -> None:
    (tmp_path / "empty.ledger").touch()
    with pytest.raises(LedgerDamaged):
        verify(store, tmp_path / "empty.ledger")


# what is killed


@pytest.fixture(scope="module")
def own_stack() -> Iterator[Stack]:
    """A PostgreSQL of these tests' own: they kill it."""
    folder = Path(os.environ[FOLDER]) / f"workload-{os.getpid()}"
    folder.mkdir(mode=0o711)
    stack = Stack(folder)
    stack.up(stores=("postgres",))
    install(stack.topology())
    stack.set_role_passwords()
    yield stack
    stack.down(purge=True)


def kos(stack: Stack, *arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*CLI, *arguments], cwd=stack.folder, capture_output=True, text=True, timeout=120, check=False, **options
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_postgres_is_killed_under_load_and_nothing_is_lost(own_stack: Stack) -> None:
    with Store(own_stack.topology()) as store, workload.running(store, shape=Shape(clients=8)) as load:
        for _ in range(2):
            load.go_on(1.0)
            own_stack.kill_store("postgres")
            before = load.meter.acknowledged
            own_stack.start_store("postgres")
            wait_for(lambda before=before: load.meter.acknowledged > before)
        load.go_on(1.0)
        result = load.result()
    verdict = result.verdict
    assert verdict.holds, verdict.findings
    assert verdict.failed > 0
    assert verdict.attempted == verdict.acknowledged + verdict.failed
    assert verdict.ambiguous <= verdict.failed
    assert result.speed.longest_stall_ms > 100


def test_sessions_that_are_ended_cost_no_write(own_stack: Stack) -> None:
    """The server ends sessions, in the middle of whatever they do, and stays up."""
    user, password = own_stack.superuser()
    primary = own_stack.topology().control.primary
    with (
        Store(own_stack.topology()) as store,
        workload.running(store, shape=Shape(clients=8)) as load,
        psycopg.connect(
            host=primary.host, port=primary.port, dbname=primary.database, user=user, password=password, autocommit=True
        ) as operator,
    ):
        for _ in range(20):
            load.go_on(0.1)
            operator.execute("select pg_terminate_backend(pid) from pg_stat_activity where usename = 'kos_app'")
        verdict = load.result().verdict
    assert verdict.holds, verdict.findings
    assert verdict.failed > 0


def killed_in_the_middle(stack: Stack) -> Path:
    """The ledger of a run that was killed while it wrote."""
    ledgers = workload.folder_of(stack.folder)
    known = set(ledgers.glob("*"))
    process = subprocess.Popen(
        [*CLI, "workload", "run", "--seconds", "60", "--json"], cwd=stack.folder, stdout=subprocess.DEVNULL
    )

    def is_writing() -> bool:
        assert process.poll() is None
        return any(path.stat().st_size > 100_000 for path in set(ledgers.glob("*")) - known)

    wait_for(is_writing)
    process.send_signal(signal.SIGKILL)
    process.wait()
    (path,) = set(ledgers.glob("*")) - known
    return path


@pytest.mark.long
def test_a_run_that_is_killed_verifies(own_stack: Stack) -> None:
    for _ in range(3):
        path = killed_in_the_middle(own_stack)
        done = kos(own_stack, "workload", "verify", "--json")
        assert done.returncode == 0, done.stderr
        verdict = json.loads(done.stdout)
        assert verdict["ledger"] == str(path)
        assert verdict["acknowledged"] > 100
        assert (verdict["lost"], verdict["doubled"], verdict["foreign"]) == (0, 0, 0)
        assert verdict["attempted"] == verdict["acknowledged"] + verdict["failed"]


def test_a_ledger_that_is_cut_anywhere_in_its_last_line_verifies(own_stack: Stack) -> None:
    with Store(own_stack.topology()) as store:
        path = workload.run(store, shape=SMALL, seconds=0.3).verdict.ledger
        whole = path.read_bytes()
        for missing in range(1, len(whole.splitlines()[-1]) + 1):
            path.write_bytes(whole[:-missing])
            verdict = verify(store, path)
            assert verdict.holds
            assert verdict.ambiguous <= 1


def test_without_the_databases_there_is_no_verdict(own_stack: Stack) -> None:
    with Store(own_stack.topology()) as store:
        path = workload.run(store, shape=SMALL, seconds=0.2).verdict.ledger
    own_stack.kill_store("postgres")
    try:
        with Store(own_stack.topology()) as store, pytest.raises(StoreUnavailable):
            verify(store, path)
    finally:
        own_stack.start_store("postgres")


# the command


def test_run_prints_one_object(own_stack: Stack) -> None:
    done = kos(own_stack, "workload", "run", "--seconds", "1", "--clients", "2", "--tenants", "2", "--json")
    assert done.returncode == 0, done.stderr
    value = json.loads(done.stdout)
    assert set(value) == {
        *("run", "ledger", "attempted", "acknowledged", "failed", "ambiguous", "lost", "doubled", "foreign"),
        *("findings", "tenants", "clients", "reads", "failed_reads", "seconds", "tps", "p50_ms", "p99_ms"),
        "longest_stall_ms",
    }
    assert value["tenants"] == ["workload-1", "workload-2"]
    assert (value["lost"], value["doubled"], value["foreign"]) == (0, 0, 0)
    assert done.stderr == ""


def test_run_tells_people_in_plain_lines(own_stack: Stack) -> None:
    done = kos(own_stack, "workload", "run", "--seconds", "0.5")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert all(len(line) <= 100 for line in done.stdout.splitlines() if not line.startswith("ledger"))
    assert "lost            0" in done.stdout


def test_a_mismatch_fails_the_command_and_names_what_was_found(own_stack: Stack) -> None:
    assert kos(own_stack, "workload", "run", "--seconds", "0.5").returncode == 0
    with Store(own_stack.topology()) as store, behind_its_back(store, "workload-2") as connection:
        plant_a_row_without_a_tag(connection, tenant_of(store, "workload-2"))
    try:
        done = kos(own_stack, "workload", "verify", "--json")
        assert done.returncode == 1
        assert json.loads(done.stdout)["foreign"] == 1
        error = json.loads(done.stderr)["error"]
        assert (error["type"], error["foreign"]) == ("WorkloadMismatch", 1)
        assert "foreign in workload-2: atom" in kos(own_stack, "workload", "verify").stdout
    finally:
        with Store(own_stack.topology()) as store, behind_its_back(store, "workload-2") as connection:
            connection.execute("delete from atoms where source is null")


@pytest.mark.parametrize("arguments", [("run", "--seconds", "0"), ("run", "--clients", "0"), ("verify", "none.ledger")])
def test_wrong_use(own_stack: Stack, arguments: tuple[str, ...]) -> None:
    assert kos(own_stack, "workload", *arguments).returncode == 2


@pytest.mark.parametrize("begin", [workload.plan, workload.run, lambda *given: workload.running(*given).__enter__()])
def test_from_python_too(database: Topology, tmp_path: Path, begin: Callable[..., object]) -> None:
    """The same servers, named as anybody's: without the stack's id nothing says that they are ours."""
    with Store(replace(database, stack=None)) as store:
        with pytest.raises(ExternalStore):
            begin(store, tmp_path / "run.ledger", SMALL)
        assert list_tenants(store) == []
    assert not (tmp_path / "run.ledger").exists()


@pytest.mark.parametrize("command", [("workload", "run"), ("workload", "verify"), ("tour",)])
def test_servers_of_somebody_are_left_alone(own_stack: Stack, tmp_path: Path, command: tuple[str, ...]) -> None:
    """The embedded server stands in for production: kos.toml names it as anybody's."""
    primary = own_stack.topology().control
    app, operator = primary.app.password, primary.operator.password
    assert app is not None
    assert operator is not None
    (tmp_path / "kos.toml").write_text(
        f"""
        [shards.main]
        host = "127.0.0.1"
        port = {primary.primary.port}
        database = "{primary.primary.database}"
        app = {{ user = "kos_app", password = {{ env = "APP" }} }}
        operator = {{ user = "kos_operator", password = {{ env = "OPERATOR" }} }}
        """
    )
    with Store(own_stack.topology()) as store:
        before = [tenant.name for tenant in list_tenants(store)]
    done = subprocess.run(
        [*CLI, *command, "--json"],
        cwd=tmp_path,
        env={**os.environ, "APP": app.read(), "OPERATOR": operator.read()},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 3, done.stderr
    assert json.loads(done.stderr)["error"]["type"] == "ExternalStore"
    assert not (tmp_path / ".kos").exists()
    with Store(own_stack.topology()) as store:
        assert [tenant.name for tenant in list_tenants(store)] == before
