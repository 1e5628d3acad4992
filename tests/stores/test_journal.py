"""Leases, fences, checkpoints and the journal's own rules, on real servers and with real processes."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from psycopg.sql import SQL
from sweep_harness import Forks, Planted, failing_at, forks
from sweep_toy import TOY, ToyPlan, facts, plan, set_up

from fix_exports import until
from fix_samples import child_environment
from kos import cli, errors, journal
from kos.journal import Operation, Run, Runner, Step, fences, registry
from kos.journal.lease import Lease
from kos.tenancy import Place, Store, create_tenant
from suites import short

CLEAN = {"counted": [], "published": [], "source": [(n,) for n in range(1, 7)]}
FINISHED = {
    "counted": [(6,)],
    "published": [(1,)],
    "source": [],
    "target": [(n,) for n in range(1, 7)],
}


@pytest.fixture
def stage(store: Store, tmp_path: Path) -> Store:
    """A database with the stage of the toy operation."""
    set_up(store, tmp_path)
    return store


@pytest.fixture
def forked(stage: Store, tmp_path: Path) -> Iterator[Forks]:
    with forks(stage, tmp_path) as made:
        yield made


@pytest.fixture
def known(monkeypatch: pytest.MonkeyPatch) -> None:
    """The toy is in the registry."""
    monkeypatch.setitem(registry.OPERATIONS, TOY.name, "sweep_toy:TOY")


def latest(store: Store) -> journal.Record:
    return journal.list_operations(store)[0]


def failed(store: Store, name: str = "count") -> journal.Record:
    """The toy, failed after that step's effect."""
    with pytest.raises(Planted):
        Runner(store, failing_at(TOY, name, "after")).run(ToyPlan(6))
    return latest(store)


# what is kept


def test_the_journal_tells_what_happened(stage: Store, known: None) -> None:
    heard: list[tuple[str, int, int | None]] = []
    outcome = journal.run(stage, TOY, plan(stage, Path()), lambda *word: heard.append(word))
    assert (outcome.state, outcome.results["copy_rows"]) == ("finished", 6)
    assert heard == [("Copy 6 rows", done, 6) for done in (2, 4, 6)]
    record = latest(stage)
    assert (record.state, record.steps_done, record.steps, record.holder) == ("finished", 5, 5, None)
    events = journal.history_of(stage, record)
    assert [(event.what, event.step) for event in events] == [
        *((what, step.name) for step in TOY.steps for what in ("started", "done")),
        ("finished", None),
    ]
    assert [event.sequence for event in events] == list(range(1, 12))


def test_how_far_it_is_can_be_seen_while_it_runs(stage: Store, known: None) -> None:
    seen: list[journal.Record] = []

    def look(point: str) -> None:
        if point == "after checkpoint of copy_rows":
            seen.append(latest(stage))

    Runner(stage, TOY, point=look).run(ToyPlan(6))
    assert [(each.state, each.step, each.steps_done, each.done, each.total) for each in seen] == [
        ("running", "copy_rows", 1, done, 6) for done in (2, 4, 6)
    ]
    assert all(each.holder and f"process {os.getpid()}" in each.holder for each in seen)


def test_one_operation_at_a_time_has_a_subject(stage: Store, known: None) -> None:
    record = failed(stage)
    assert (record.state, record.step, record.holder) == ("failed", "count", None)
    with pytest.raises(errors.OperationUnfinished, match=r"toy\.copy was begun on toy:one") as caught:
        journal.run(stage, TOY, ToyPlan(8))
    assert f"kos operation resume {record.id}" in caught.value.next_command
    assert journal.run(stage, TOY, ToyPlan(6), same=lambda begun: begun.rows == 6).operation == record.id
    assert facts(stage, None) == FINISHED
    with pytest.raises(errors.OperationOver):
        journal.resume(stage, str(record.id))


def test_what_is_rolled_back_goes_no_other_way(stage: Store, known: None) -> None:
    record = failed(stage)
    with pytest.raises(Planted):
        Runner(
            stage, replace(TOY, steps=(*TOY.steps[:1], replace(TOY.steps[1], undo=fails), *TOY.steps[2:]))
        ).roll_back(record)
    assert (latest(stage).state, latest(stage).steps_done) == ("rollback_failed", 1)
    with pytest.raises(errors.RollbackBegun):
        journal.resume(stage, str(record.id))
    with pytest.raises(errors.RollbackBegun):
        journal.run(stage, TOY, ToyPlan(6), same=lambda _: True)
    journal.roll_back(stage, str(record.id))
    assert facts(stage, None) == CLEAN


def fails(run: Run[ToyPlan]) -> None:
    raise Planted


def test_there_is_no_way_back_after_a_final_step(stage: Store, known: None) -> None:
    record = failed(stage, "publish")
    with pytest.raises(errors.PastReturn, match="publish") as caught:
        journal.roll_back(stage, str(record.id))
    assert caught.value.next_command == f"kos operation resume {record.id}"
    assert journal.resume(stage, str(record.id)).state == "finished"


def test_ids_may_be_short_where_they_are_unique(stage: Store, known: None) -> None:
    ids = []
    for _ in range(2):
        journal.roll_back(stage, str(failed(stage).id))
        ids.append(str(latest(stage).id))
    common = next(ids[0][:length] for length in range(36, 0, -1) if ids[1].startswith(ids[0][:length]))
    unique = ids[0][: len(common) + 1]
    assert str(journal.find_operation(stage, unique.upper()).id) == ids[0]
    for wrong in (common, "ffff", "%", ""):
        with pytest.raises(errors.UnknownOperation):
            journal.find_operation(stage, wrong)


# another version of the library


def test_a_step_that_is_not_known_stops_the_run(stage: Store) -> None:
    record = failed(stage)
    fewer = replace(TOY, steps=tuple(step for step in TOY.steps if step.name != "copy_rows"))
    for verb in ("resume", "roll_back"):
        with pytest.raises(errors.UnknownStep, match=r"'copy_rows' of toy\.copy.* kos \d"):
            getattr(Runner(stage, fewer), verb)(record)
    assert [event.what for event in journal.history_of(stage, record)][-1] == "failed"


def test_a_plan_or_a_name_that_is_not_known_is_said(stage: Store, superuser: psycopg.Connection[Any]) -> None:
    record = failed(stage)
    with pytest.raises(errors.UnknownKind, match="toy"):
        journal.resume(stage, str(record.id))
    superuser.execute("alter table kos.operations disable trigger refuse_move")
    superuser.execute("update kos.operations set plan = '{}'")
    with pytest.raises(errors.PlanUnreadable, match="rows"):
        Runner(stage, TOY).resume(latest(stage))


# what the database refuses by itself


@pytest.mark.parametrize(
    "statement",
    [
        "update kos.operations set state = 'running'",
        "update kos.operations set plan = '{\"rows\": 7}'",
        "delete from kos.operations",
        "delete from kos.operation_events",
        "update kos.operation_events set what = 'done'",
    ],
)
def test_the_past_stays(stage: Store, known: None, statement: str) -> None:
    journal.run(stage, TOY, ToyPlan(6))
    with stage.operator() as operator, pytest.raises(psycopg.Error) as caught:
        operator.execute(SQL(statement))  # type: ignore[arg-type]
    assert caught.value.sqlstate == "KS010"


@pytest.mark.parametrize(
    ("what", "step", "sequence"),
    [("done", "make_table", 99), ("started", None, 99), ("done", "new", 1), ("sung", "x", 99)],
)
def test_an_event_that_can_not_be_is_refused(stage: Store, what: str, step: str | None, sequence: int) -> None:
    record = failed(stage)
    insert = "insert into kos.operation_events (operation_id, sequence, step, what, token) values (%s, %s, %s, %s, 1)"
    with stage.operator() as operator, pytest.raises(psycopg.IntegrityError):
        operator.execute(insert, (record.id, sequence, step, what))


def test_applications_have_no_business_here(stage: Store) -> None:
    for table in ("operations", "operation_events", "operation_places", "leases", "lease_fences", "checkpoints"):
        with stage.control() as control, pytest.raises(psycopg.errors.InsufficientPrivilege):
            control.execute(SQL("select from kos." + table))  # type: ignore[arg-type]


# steps


def test_a_checkpoint_needs_its_batch(stage: Store) -> None:
    def outside(run: Run[ToyPlan]) -> None:
        """Checkpoint."""
        with pytest.raises(RuntimeError, match="transaction"):
            run.checkpoint(1)
        with run.transaction(), pytest.raises(RuntimeError, match="one transaction"), run.transaction():
            pass
        with suppress(Planted), run.transaction():
            run.checkpoint(1)
            raise Planted
        assert run.cursor is None

    Runner(stage, Operation("toy.other", ToyPlan, plan, (Step(outside),))).run(ToyPlan(1))


def test_batches_go_to_several_databases(stage: Store) -> None:
    there = create_tenant(stage, "far", "database")
    here, far = Place("main", stage.topology.control.primary.database), Place(there.shard, there.database)
    here = Place(stage.topology.control.name, here.database)

    def write(run: Run[ToyPlan]) -> None:
        """Write."""
        for number, place in enumerate((here, far)):
            with run.transaction(place) as connection:
                assert connection.info.dbname == place.database
                run.checkpoint(number)
        assert (run.cursor, run.cursor_at(far)) == (0, 1)
        with run.entered(there.id) as connection:
            connection.execute("insert into atoms (atom_type, name) values ('t', 'n')")

    Runner(stage, Operation("toy.other", ToyPlan, plan, (Step(write),))).run(ToyPlan(1))
    with stage.tenant("far") as session:
        assert session.execute("select name from atoms").fetchall() == [("n",)]
    for place in (here, far):
        with stage.operator(place) as operator:
            assert operator.execute("select count(*) from kos.checkpoints").fetchone() == (0,)
            assert operator.execute("select count(*) from kos.lease_fences").fetchone() == (1,)


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (KeyboardInterrupt(), errors.OperationInterrupted),
        (psycopg.errors.DiskFull("full"), errors.StoreFull),
        (errors.TenantHeld("acme", "why"), errors.TenantHeld),
    ],
)
def test_the_caller_learns_what_to_run_next(stage: Store, raised: BaseException, told: type[errors.KosError]) -> None:
    def interrupted(run: Run[ToyPlan]) -> None:
        """Be interrupted."""
        raise raised

    operation = Operation("toy.other", ToyPlan, plan, (Step(interrupted),))
    with pytest.raises(told) as caught:
        Runner(stage, operation).run(ToyPlan(1))
    record = latest(stage)
    assert record.state == "failed"
    assert f"kos operation resume {record.id}" in caught.value.next_command
    assert Runner(stage, operation).roll_back(record).state == "rolled_back"


# the lease


def test_a_second_runner_is_told_who_is_at_work(stage: Store, known: None) -> None:
    caught: list[errors.LeaseHeld] = []

    def meddle(point: str) -> None:
        if point == "before done make_table":
            for attempt in (
                lambda: journal.run(stage, TOY, ToyPlan(6)),
                lambda: journal.resume(stage, str(latest(stage).id)),
            ):
                with pytest.raises(errors.LeaseHeld) as held:
                    attempt()
                caught.append(held.value)

    outcome = Runner(stage, TOY, point=meddle).run(ToyPlan(6))
    for error in caught:
        assert (error.subject, error.name, error.operation) == ("toy:one", TOY.name, str(outcome.operation))
        assert str(os.getpid()) in error.holder
    assert len(caught) == 2
    assert facts(stage, None) == FINISHED


def test_a_heart_that_beats_keeps_the_lease(stage: Store, known: None) -> None:
    """A step may take much longer than a lease lasts."""

    def linger(point: str) -> None:
        if point == "before done make_table":
            with stage.operator() as operator:
                query = "select until from kos.leases"
                [(first,)] = operator.execute(query).fetchall()
                until(lambda: operator.execute("select clock_timestamp() > %s", (first,)).fetchone() == (True,))
            with pytest.raises(errors.LeaseHeld):
                journal.run(stage, TOY, ToyPlan(6))

    assert Runner(stage, TOY, point=linger, seconds=2).run(ToyPlan(6)).state == "finished"


def points(store: Store, folder: Path) -> list[str]:
    """All points of an undisturbed run; the stage is as it was."""
    found: list[str] = []
    Runner(store, TOY, point=found.append).run(ToyPlan(6))
    set_up(store, folder)
    return found


def frozen(forked: Forks, stage: Store, number: int, seconds: float = 1.0) -> psutil.Process:
    """A process that runs the toy and was stopped at that point."""
    answer = forked.ask(
        scenario="toy", kill_at=number, verb="run", signal=signal.SIGSTOP, seconds=seconds, detached=True
    )
    child = psutil.Process(answer["pid"])
    until(lambda: child.status() == psutil.STATUS_STOPPED)
    return child


def wake(child: psutil.Process) -> None:
    """Let it go on, to its end."""
    child.send_signal(signal.SIGCONT)
    until(lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE)


def wait_for_expiry(store: Store) -> None:
    with store.operator() as operator:
        query = "select until < clock_timestamp() from kos.leases"
        until(lambda: operator.execute(query).fetchone() == (True,))


WRITING = ("after started make_table", "after checkpoint of copy_rows", "before started count")
POINTS = (
    "after started make_table",
    "after started copy_rows",
    "before checkpoint of copy_rows",
    "after checkpoint of copy_rows",
    "before done copy_rows",
    "before started publish",
    "before finished",
)


def test_a_frozen_runner_keeps_its_lease_until_its_time_is_up(
    stage: Store, forked: Forks, tmp_path: Path, known: None
) -> None:
    """Whether it will wake up, nobody can know."""
    number = points(stage, tmp_path).index("after done make_table") + 1
    child = frozen(forked, stage, number, seconds=60.0)
    with pytest.raises(errors.LeaseHeld) as caught:
        journal.resume(stage, str(latest(stage).id))
    assert f"(process {child.pid})" in caught.value.holder
    wake(child)
    assert facts(stage, None) == FINISHED


@pytest.mark.long
@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("verb", ["resume", "roll_back"])
def test_a_runner_that_was_frozen_and_woken_writes_nothing(
    stage: Store, forked: Forks, tmp_path: Path, known: None, point: str, verb: str
) -> None:
    child = frozen(forked, stage, points(stage, tmp_path).index(point) + 1)
    wait_for_expiry(stage)
    before = facts(stage, None)
    expected = FINISHED if verb == "resume" or before["published"] else CLEAN
    getattr(journal, "roll_back" if expected == CLEAN else "resume")(stage, str(latest(stage).id))
    assert facts(stage, None) == expected
    told = journal.history_of(stage, latest(stage))
    wake(child)
    assert "LeaseLost" in forked.log()
    assert facts(stage, None) == expected
    assert journal.history_of(stage, latest(stage)) == told


@pytest.mark.parametrize("point", short(WRITING, "after checkpoint of copy_rows"))
def test_the_fence_alone_keeps_it_out(
    stage: Store, forked: Forks, tmp_path: Path, known: None, point: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its sessions could not be ended, and what it is about to write would find its table."""
    child = frozen(forked, stage, points(stage, tmp_path).index(point) + 1)
    wait_for_expiry(stage)
    without = {**vars(fences.QUERIES), "end_sessions": SQL("select 1")}
    monkeypatch.setattr(fences, "QUERIES", type(fences.QUERIES)(**without))
    journal.roll_back(stage, str(latest(stage).id))
    assert facts(stage, None) == CLEAN
    with stage.operator() as operator:
        operator.execute("create table toy.target (n integer)")
    wake(child)
    assert "LeaseLost" in forked.log()
    assert facts(stage, None) == CLEAN | {"target": []}


def test_a_transaction_that_is_under_way_is_waited_for(
    stage: Store, known: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The taker over must not raise the fence beside a batch that has passed it."""
    record = failed(stage)
    without = {**vars(fences.QUERIES), "end_sessions": SQL("select 1")}
    monkeypatch.setattr(fences, "QUERIES", type(fences.QUERIES)(**without))
    monkeypatch.setattr(fences, "_LOCK_TIMEOUT", "20ms")
    with stage.operator() as old, old.transaction():
        [(token,)] = old.execute("select token from kos.lease_fences where subject = 'toy:one'").fetchall()
        old.execute("select kos.pass_lease('toy:one', %s)", (token,))
        with pytest.raises(errors.StoreBusy, match="toy:one"):
            journal.resume(stage, str(record.id))
    journal.resume(stage, str(record.id))
    with stage.operator() as old, pytest.raises(psycopg.Error) as caught:
        old.execute("select kos.pass_lease('toy:one', %s)", (token,))
    assert caught.value.sqlstate == "KS011"


@pytest.mark.parametrize("lost", [1, 3])
def test_tokens_that_the_control_database_gives_twice_let_nobody_in(stage: Store, known: None, lost: int) -> None:
    """A failover has lost the newest, or a restore: the runner of before would be let in beside the one of now."""
    for _ in range(2):
        record = failed(stage)
        journal.roll_back(stage, str(record.id))
    record = failed(stage)
    with stage.operator() as old:
        [(token,)] = old.execute("select token from kos.lease_fences where subject = 'toy:one'").fetchall()
        old.execute("set role kos_owner")
        old.execute("select setval('kos.lease_tokens', %s)", (token - lost,))
        old.execute("reset role")
        with pytest.raises(errors.LeaseBehind) as refused:
            journal.resume(stage, str(record.id))
        assert (refused.value.token, refused.value.seen) == (token - lost + 1, token)
        assert journal.resume(stage, str(record.id)).state == "finished"
        with pytest.raises(psycopg.Error) as caught:
            old.execute("select kos.pass_lease('toy:one', %s)", (token,))
    assert caught.value.sqlstate == "KS011"


def test_a_lease_with_the_same_token_is_another_holders(stage: Store) -> None:
    record = failed(stage)
    lease = Lease(stage, "toy:one", record.id)
    lease.take(lambda _: None)
    with stage.operator() as operator:
        operator.execute("update kos.leases set holder = 'who resumed it after a failover'")
    with pytest.raises(errors.LeaseLost):
        lease.check()
    lease.close()
    with stage.operator() as operator:
        assert operator.execute("select count(*) from kos.leases").fetchone() == (1,)


def test_a_runner_survives_the_end_of_its_control_session(stage: Store, known: None) -> None:
    """A server that restarts ends all sessions; the lease is still ours."""

    def cut(point: str) -> None:
        if point == "before done make_table":
            with stage.operator() as operator:
                query = """
                    select pg_terminate_backend(l.pid) from pg_locks l join kos.leases h on
                      (l.classid::bigint << 32 | l.objid::bigint) = kos.lease_key(h.subject, h.token)
                """
                operator.execute(query)

    assert Runner(stage, TOY, point=cut).run(ToyPlan(6)).state == "finished"


def test_behind_a_pooler_only_time_tells(stage: Store) -> None:
    """A session there is nobody's: its lock would stay with the pooler's connection."""
    control = stage.topology.control
    pooled = replace(control, primary=replace(control.primary, pooler=True))
    behind = Store(replace(stage.topology, shards=(pooled, *stage.topology.shards[1:])))
    record = failed(stage)
    lease = Lease(behind, "toy:one", record.id, seconds=1)
    lease.take(lambda _: None)
    with stage.operator() as operator:
        assert operator.execute("select has_session from kos.leases").fetchone() == (False,)
        query = """
            select from pg_locks l join kos.leases h on
              (l.classid::bigint << 32 | l.objid::bigint) = kos.lease_key(h.subject, h.token)
            where l.locktype = 'advisory'
        """  # by its key: other tests' sessions hold locks of their own on this server
        assert operator.execute(query).fetchone() is None
    with pytest.raises(errors.LeaseHeld):
        Runner(stage, TOY).resume(record)
    lease.close()


# the list


def test_a_list_has_the_newest(
    stage: Store, known: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ids = [str(journal.run(stage, TOY, plan(stage, Path())).operation) for _ in range(3)][::-1]
    assert [str(each.id) for each in journal.list_operations(stage)] == ids
    assert [str(each.id) for each in journal.list_operations(stage, limit=2)] == ids[:2]
    for name, value in child_environment(stage.topology, tmp_path).items():
        monkeypatch.setenv(name, value)
    assert cli.run(["operation", "list", "--limit", "2", "--json"]) == errors.DONE
    assert [each["id"] for each in json.loads(capsys.readouterr().out)] == ids[:2]
    assert cli.run(["operation", "list", "--limit", "2"]) == errors.DONE
    assert "the newest 2" in capsys.readouterr().out
    assert cli.run(["operation", "list", "--limit", "3"]) == errors.DONE
    assert "the newest" not in capsys.readouterr().out
