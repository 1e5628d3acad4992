"""What docs/reference/cli.md shows as a command's JSON is what the command prints, by keys and types.

The commands run on a real stack; those that read or change data, on tenants that are theirs.
"""

from __future__ import annotations

import fcntl
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from psycopg.sql import SQL

from documents import until
from fix_database import as_superuser
from fix_samples import child_environment
from fix_worker import Log
from kos import errors
from kos.cli import commands, run
from kos.journal import list_operations
from kos.knowledge.objects import QUERIES
from kos.tenancy import Store, create_tenant, find_tenant, list_tenants, remove_tenant
from kos.topology.embedded import Stack
from kos.topology.model import Topology
from kos.tour import commands as tour

PAGE = (Path(__file__).parents[2] / "docs/reference/cli.md").read_text(encoding="utf-8")
SECTIONS = {part.splitlines()[0]: part for part in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]}
MORE = "…"
SAMPLE = ("sample", "load", "packages", "--tenant", "documented")


def examples(section: str) -> list[Any]:
    """The JSON of a section: what the command prints and, if that differs, what `--dry-run` prints."""
    return [json.loads(text) for text in re.findall(r"^```json\n(.*?)^```", section, re.DOTALL | re.MULTILINE)]


def differences(shown: Any, printed: Any, where: str = "") -> Iterator[str]:
    """Where `printed` is not what the example `shown` promises."""
    if shown is None:
        return
    if isinstance(shown, dict) and isinstance(printed, dict):
        if MORE not in shown:
            yield from (f"{where}.{key} is not printed" for key in shown.keys() - printed.keys())
            yield from (f"{where}.{key} is not documented" for key in printed.keys() - shown.keys())
        for key, value in printed.items():
            yield from differences(shown.get(key, shown.get(MORE)), value, f"{where}.{key}")
    elif isinstance(shown, list) and isinstance(printed, list):
        for value in printed:
            yield from differences(shown[0] if shown else None, value, f"{where}[]")
    elif not same_type(shown, printed):
        yield f"{where} is {printed!r}, not like {shown!r}"


def same_type(shown: Any, printed: Any) -> bool:
    numbers = (int, float)
    if isinstance(shown, bool) or isinstance(printed, bool):
        return isinstance(shown, bool) and isinstance(printed, bool)
    if isinstance(shown, float):
        return isinstance(printed, numbers)
    return type(shown) is type(printed)


@pytest.mark.parametrize(
    "name", [name for name, text in SECTIONS.items() if examples(text) and name.startswith("kos ")]
)
def test_a_list_is_an_array_and_all_else_an_object(name: str) -> None:
    for shown in examples(SECTIONS[name]):
        if name.endswith(" list"):
            assert isinstance(shown, list)
            assert all({"id", "name"} & each.keys() for each in shown)
        else:
            assert isinstance(shown, dict)


class Cli:
    """The command line in a folder with a stack."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> Any:
        self._capsys.readouterr()
        code = run([*arguments, "--json"])
        printed = self._capsys.readouterr()
        assert code == errors.DONE, printed.err
        assert len(printed.out.splitlines()) == 1, "one JSON value on one line"
        return json.loads(printed.out)


@pytest.fixture
def cli(stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    monkeypatch.chdir(stack.folder)
    monkeypatch.delenv("KOS_CONFIG", raising=False)
    return Cli(capsys)


@pytest.fixture
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """These tests share the stack's own database: one at a time, whichever worker has it."""
    with (tmp_path_factory.getbasetemp().parent / "own-database.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def documented(alone: None, stack: Stack, cli: Cli) -> Iterator[Store]:
    """The stack with the schema, and a tenant; whatever these tests make is removed."""
    cli("up")
    with Store(stack.topology()) as store:
        before = {tenant.name for tenant in list_tenants(store)}
        create_tenant(store, "documented")
        yield store
        for tenant in list_tenants(store):
            if tenant.name not in before:
                remove_tenant(store, tenant.name)


def agrees(words: str, printed: Any, number: int = 0) -> None:
    found = list(differences(examples(SECTIONS[f"kos {words}"])[number], printed))
    assert found == []


def test_every_command_shows_its_json() -> None:
    assert [words for words in commands() if not examples(SECTIONS[f"kos {words}"])] == []


def test_an_error(documented: Store, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["tenant", "show", "nobody", "--json"]) == errors.WRONG_USE
    assert json.loads(capsys.readouterr().err) == examples(SECTIONS["JSON"])[0]


def test_up_status_doctor_upgrade(documented: Store, cli: Cli) -> None:
    started = cli("up")
    assert started["adopted"]
    agrees("up", started)
    agrees("up", cli("up", "--dry-run"), 1)
    agrees("status", cli("status"))
    report = cli("doctor")
    assert report["findings"]
    assert report["capabilities"]
    agrees("doctor", report)
    agrees("upgrade", cli("upgrade"))
    agrees("upgrade", cli("upgrade", "--dry-run"))
    agrees("down", cli("down", "--dry-run"), 1)


def test_up_and_down_of_a_stack_that_starts_and_stops(
    place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One server is enough to see what is said of each."""
    monkeypatch.chdir(place)
    started = Stack(place).up(stores=("postgres",))
    assert list(differences(examples(SECTIONS["kos up"])[0]["started"], started.started)) == []
    printed = Cli(capsys)("down")
    assert [stopped["store"] for stopped in printed["stopped"]] == ["postgres"]
    agrees("down", printed)


def test_tenants(documented: Store, cli: Cli) -> None:
    agrees("tenant create", cli("tenant", "create", "made-here", "--dry-run"), 1)
    agrees("tenant create", cli("tenant", "create", "made-here", "--tier", "schema", "--service-plan", "free"))
    agrees("tenant show", cli("tenant", "show", "made-here"))
    listed = cli("tenant", "list")
    assert {"documented", "made-here"} <= {tenant["name"] for tenant in listed}
    agrees("tenant list", listed)
    agrees("tenant remove", cli("tenant", "remove", "made-here", "--dry-run"))
    agrees("tenant remove", cli("tenant", "remove", "made-here", "--yes"))


@pytest.mark.long
def test_samples_exports_and_imports(documented: Store, cli: Cli, tmp_path: Path) -> None:
    agrees("sample list", cli("sample", "list"))
    agrees("sample load", cli(*SAMPLE, "--dry-run"), 1)
    agrees("sample load", cli(*SAMPLE))
    folder = str(tmp_path / "export")
    agrees("tenant export", cli("tenant", "export", "documented", folder, "--dry-run"), 1)
    agrees("tenant export", cli("tenant", "export", "documented", folder))
    again = ("tenant", "import", folder, "--name", "again")
    agrees("tenant import", cli(*again, "--dry-run"), 1)
    agrees("tenant import", cli(*again))
    assert find_tenant(documented, "again").state == "active"


def test_log(documented: Store, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    with documented.tenant("documented") as session:
        session.execute("insert into atoms (atom_type, name) values ('price', 'tea')")
    agrees("worker", cli("worker", "--once"))  # seals it, unless the stack's own worker was first
    agrees("log status", cli("log", "status"))
    agrees("log verify", cli("log", "verify"))
    capsys.readouterr()
    assert run(["feed", "tail", "--tenant", "documented", "--json"]) == errors.DONE
    events = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    agrees("feed tail", events[-1])

    def tail(cursor: str) -> int:
        return run(["feed", "tail", "--tenant", "documented", "--json", "--from", cursor])

    assert tail(f"1:{events[0]['leaf']}") == errors.DONE
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == events[1:]
    assert tail(f"1:{'00' * 32}") == errors.FeedDiverged.exit_code
    assert json.loads(capsys.readouterr().err)["error"]["type"] == "FeedDiverged"
    for wrong in ("-1", "one", "1:", "1:xyz"):
        assert tail(wrong) == errors.WRONG_USE


@pytest.mark.long
def test_feeds(documented: Store, cli: Cli, capsys: pytest.CaptureFixture[str]) -> None:
    with documented.tenant("documented") as session:
        session.execute("insert into atoms (atom_type, name) values ('price', 'tea')")
    cli("worker", "--once")
    assert run(["feed", "tail", "--tenant", "documented", "--feed", "shapes", "--json"]) == errors.DONE
    seek = ("feed", "seek", "shapes", "--tenant", "documented", "--to", "0")
    agrees("feed seek", cli(*seek, "--dry-run"))
    agrees("feed seek", cli(*seek, "--yes"))
    # Of a tenant that another test removes, a projection's cursor may stand a moment longer, without a name.
    agrees("feed list", [each for each in cli("feed", "list") if each["tenant"] in ids(documented)])
    agrees("feed drop", cli("feed", "drop", "shapes", "--dry-run"))
    agrees("feed drop", cli("feed", "drop", "shapes", "--yes"))
    assert run(["feed", "drop", "shapes", "--yes"]) == errors.WRONG_USE
    assert run([*seek[:-1], "one"]) == errors.WRONG_USE


def ids(store: Store) -> set[str]:
    """The ids of all tenants."""
    return {str(each.id) for each in list_tenants(store)}


@pytest.mark.long
def test_projections(documented: Store, cli: Cli) -> None:
    with documented.tenant("documented") as session:
        session.execute("insert into atoms (atom_type, name) values ('price', 'tea')")
    cli("worker", "--once")
    mine = ("graph", "--tenant", "documented")
    until(lambda: run(["projection", "verify", *mine]) == errors.DONE)  # the stack's worker has made it
    agrees("projection list", cli("projection", "list"))
    agrees("projection status", cli("projection", "status"))
    agrees("projection status", cli("projection", "status", *mine[1:]), 1)
    agrees("projection verify", cli("projection", "verify", *mine))
    agrees("projection rebuild", cli("projection", "rebuild", *mine, "--dry-run"), 1)
    agrees("projection rebuild", cli("projection", "rebuild", *mine))
    tenant = find_tenant(documented, "documented").id
    with documented.operator() as operator:
        park = "insert into kos.projection_parked values ('graph', %s, 'knowledge', 'atoms', %s, 1, 'no')"
        operator.execute(park, (tenant, [str(tenant)]))
    parked = cli("projection", "parked", "graph")
    assert str(tenant) in {each["tenant"] for each in parked["rows"]}
    agrees("projection parked", parked)
    agrees("projection retry", cli("projection", "retry", *mine, "--dry-run"), 1)
    agrees("projection retry", cli("projection", "retry", *mine))
    assert run(["projection", "retry", "nothing"]) == errors.WRONG_USE


@pytest.mark.long
def test_operations(documented: Store, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def loaded(failing: bool) -> str:
        """The id of a load; one that fails has begun its last step."""
        with monkeypatch.context() as patch:
            if failing:
                patch.setattr(QUERIES, "release", SQL("select 1/0"))
            code = run(list(SAMPLE))
        assert code == (errors.FAILED if failing else errors.DONE)
        return str(list_operations(documented, subject="tenant:documented")[0].id)

    one = loaded(failing=True)
    agrees("operation resume", cli("operation", "resume", one, "--dry-run"), 1)
    agrees("operation resume", cli("operation", "resume", one))
    two = loaded(failing=True)
    agrees("operation rollback", cli("operation", "rollback", two, "--dry-run"), 1)
    agrees("operation rollback", cli("operation", "rollback", two, "--yes"))
    listed = cli("operation", "list")
    assert [each["state"] for each in listed if each["id"] in {one, two}] == ["rolled_back", "finished"]
    agrees("operation list", listed)
    agrees("operation show", cli("operation", "show", one))
    assert run(["operation", "show", one]) == errors.DONE
    assert run(["operation", "list"]) == errors.DONE


@pytest.fixture
def changing(documented: Store, stack: Stack, tmp_path: Path) -> Iterator[str]:
    """The file of a change of a schema that is only for that."""
    begin = "drop schema if exists documented_change cascade; create schema documented_change authorization kos_owner"
    file = tmp_path / "orders.sql"
    file.write_text(
        "-- kos: fill documented_change.orders.total = price * 2\n"
        "alter table documented_change.orders add column total bigint not null, add check (total >= 0);\n"
        "create index on documented_change.orders (total);\n"
        "alter table documented_change.orders drop column note;\n"
    )
    with as_superuser(stack, documented.topology.control.primary.database) as superuser:
        superuser.execute(begin)
        superuser.execute("set role kos_owner; create table documented_change.orders (price bigint, note text)")
        superuser.execute("insert into documented_change.orders select g from generate_series(1, 100) g; reset role")
        superuser.execute("analyze documented_change.orders")
        yield str(file)
        superuser.execute("drop schema documented_change cascade")


@pytest.mark.long
def test_change(changing: str, cli: Cli) -> None:
    agrees("change plan", cli("change", "plan", changing))
    agrees("change plan", cli("change", "start", changing, "--dry-run"))
    agrees("change start", cli("change", "start", changing, "--max-rate", "1000000", "--yes"))
    agrees("change status", cli("change", "status"))
    agrees("change throttle", cli("change", "throttle", "--max-lag", "500"))
    agrees("change plan", cli("change", "rollback", "--dry-run"))
    agrees("change leave-out", cli("change", "leave-out", "documented_change", "--dry-run"))
    agrees("change rollback", cli("change", "rollback", "--yes"))
    cli("change", "start", changing, "--yes")
    agrees("change plan", cli("change", "finish", "--dry-run"))
    agrees("change finish", cli("change", "finish", "--yes"))


def test_change_lint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "change.sql"
    file.write_text("alter table note add constraint short check (length(body) < 100);\n")
    assert run(["change", "lint", str(file), "--json"]) == errors.REFUSED
    agrees("change lint", json.loads(capsys.readouterr().out))
    agrees("change lint", Cli(capsys)("change", "lint", "--rules"), 1)


def test_objects(documented: Store, cli: Cli) -> None:
    agrees("objects collect", cli("objects", "collect", "--dry-run"))
    agrees("objects collect", cli("objects", "collect", "--tenant", "documented", "--yes"))
    hold = ("objects", "hold", "--tenant", "documented", "--reason", "a test")
    assert cli(*hold, "--dry-run")["id"] is None
    made = cli(*hold, "--until", "2100-01-31")
    agrees("objects hold", made)
    holds = cli("objects", "holds")
    assert made["id"] in {each["id"] for each in holds["holds"]}
    agrees("objects holds", holds)
    planned = cli("objects", "release", made["id"], "--dry-run")
    released = cli("objects", "release", made["id"])
    assert (planned["released"], released["released"]) == (False, True)
    agrees("objects release", released)


@pytest.mark.long
def test_adoption(
    product: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in child_environment(product, tmp_path).items():
        monkeypatch.setenv(name, value)
    found = Cli(capsys)("adopt", "--all", "--level", "enforce", "--dry-run")
    assert len(found["tables"]) > 300
    agrees("adopt", found)
    agrees("adopt", found["effects"], 3)
    agrees("adopt", Cli(capsys)("adopt", "shop_*"))
    agrees("adopt", Cli(capsys)("adopt", "*_log", "--level", "log", "--yes"), 2)
    agrees("adopt status", Cli(capsys)("adopt", "status"))
    agrees("release", Cli(capsys)("release", "*_log", "--dry-run"))
    agrees("release", Cli(capsys)("release", "shop_log", "--yes"))
    agrees("uninstall", Cli(capsys)("uninstall", "--dry-run"))
    for which in ("grants", "columns", "keys"):
        printed = Cli(capsys)("adopt", "--all", "--sql", which)
        assert printed["sql"]
        agrees("adopt", printed, 1)


def test_the_workload(documented: Store, cli: Cli, tmp_path: Path) -> None:
    ledger = str(tmp_path / "run.ledger")
    shape = ("--tenants", "1", "--clients", "2", "--seconds", "0.5")
    agrees("workload run", cli("workload", "run", *shape, "--dry-run"), 1)
    assert not Path(ledger).exists()
    agrees("workload run", cli("workload", "run", *shape, "--ledger", ledger))
    agrees("workload verify", cli("workload", "verify", ledger))


def test_the_worker(database: Topology, log: Log, monkeypatch: pytest.MonkeyPatch, cli: Cli, tmp_path: Path) -> None:
    for name, value in child_environment(database, tmp_path).items():
        monkeypatch.setenv(name, value)
    log.write(UUID(int=1))
    agrees("worker", cli("worker", "--dry-run"), 1)
    agrees("worker", cli("worker", "--once"))
    assert log.waiting() == 0


def test_the_tour(documented: Store, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its first step; `tests/stores/test_tour.py` takes the whole of it."""
    agrees("tour", cli("tour", "--dry-run"), 1)
    monkeypatch.setattr(tour, "STEPS", tour.STEPS[:1])
    agrees("tour", cli("tour"))


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1}, {"a": "1"}),
        ({"a": True}, {"a": 1}),
        ({"a": "x"}, {"a": None}),
        ({"a": 1, "…": 0}, {"a": 1, "b": "x"}),
        ([{"a": 1}], [{"a": 1}, {"a": "x"}]),
        ({"a": 1}, [1]),
    ],
)
def test_a_difference_is_seen(shown: Any, printed: Any) -> None:
    assert list(differences(shown, printed))
