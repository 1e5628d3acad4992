"""What servers and the system refuse reaches users as one error with its next command, never as a traceback."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

import kos.commands
from fix_samples import child_environment
from kos import cli, errors
from kos.tenancy import Store, create_tenant, schema_files
from kos.tenancy.schema_files import SchemaFile, Source
from kos.topology.model import Topology

Superuser = psycopg.Connection[tuple[object, ...]]

TRIGGER = """
create function public.planted() returns trigger language plpgsql as $$ begin {}; return new; end $$;
create trigger planted before insert on kos.tenants for each row execute function public.planted();
"""


@pytest.fixture
def configured(database: Topology, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Topology:
    """The command line works on this test's database."""
    for name, value in child_environment(database, tmp_path).items():
        monkeypatch.setenv(name, value)
    return database


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    """What a command that fails says of it to programs; it says the same to people."""
    assert cli.run([*arguments]) == errors.FAILED
    told = capsys.readouterr().err
    assert told.startswith("error: ")
    assert "\nnext:  " in told
    assert "Traceback" not in told
    assert cli.run([*arguments, "--json"]) == errors.FAILED
    error: dict[str, Any] = json.loads(capsys.readouterr().err)["error"]
    assert error["message"] in told
    assert error["next"] in told
    return error


@pytest.mark.parametrize(
    ("planted", "arguments", "kind", "said"),
    [
        ("drop table kos.object_holds", ["objects", "holds"], "StoreRefused", "kos.object_holds"),
        ("drop schema kos cascade", ["objects", "holds"], "StoreRefused", "kos.object_holds"),
        ("revoke all on kos.tenants from kos_app", ["tenant", "list"], "StoreRefused", "permission denied"),
        (
            "alter role kos_operator in database {name} set default_transaction_read_only = on",
            ["tenant", "create", "acme"],
            "StoreRefused",
            "read-only transaction",
        ),
        (
            TRIGGER.format("raise 'no space left' using errcode = '53100'"),
            ["tenant", "create", "acme"],
            "StoreFull",
            "",
        ),
        (
            TRIGGER.format("raise 'lock timeout' using errcode = '55P03'"),
            ["tenant", "create", "acme"],
            "StoreBusy",
            "lock timeout",
        ),
        (
            TRIGGER.format("perform pg_terminate_backend(pg_backend_pid())"),
            ["tenant", "create", "acme"],
            "ConnectionLost",
            "",
        ),
    ],
    ids=["no table", "no schema", "no right", "a standby", "full", "locked", "lost"],
)
def test_what_postgres_refuses(
    configured: Topology,
    superuser: Superuser,
    capsys: pytest.CaptureFixture[str],
    planted: str,
    arguments: list[str],
    kind: str,
    said: str,
) -> None:
    superuser.execute(planted.replace("{name}", configured.control.primary.database))
    superuser.execute("grant execute on function pg_terminate_backend to public")
    error = refused(capsys, *arguments)
    assert error["type"] == kind
    assert said in error["message"]
    assert error["retryable"] == (kind in {"StoreBusy", "ConnectionLost"})
    for login in (configured.control.app, configured.control.operator):
        assert login.password
        assert login.password.read() not in json.dumps(error)


def planted(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    monkeypatch.setitem(kos.commands.COMMANDS, "status", function)


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def status(json: bool = False) -> None:
        with open("/dev/full", "w") as file:
            file.write("x")

    planted(monkeypatch, status)
    error = refused(capsys, "status")
    assert (error["type"], error["reason"]) == ("FileRefused", "No space left on device")


def test_a_file_that_is_not_there(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    planted(monkeypatch, lambda json=False: print(Path("/nowhere/at/all").read_text()))
    error = refused(capsys, "status")
    assert (error["type"], error["file"]) == ("FileRefused", "/nowhere/at/all")


@pytest.mark.parametrize("mistake", [TypeError("ours"), KeyError("ours"), psycopg.ProgrammingError("ours")], ids=repr)
def test_a_mistake_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch, mistake: Exception) -> None:
    def status() -> None:
        raise mistake

    planted(monkeypatch, status)
    with pytest.raises(type(mistake), match="ours"):
        cli.run(["status"])


def test_our_sql_with_a_mistake_is_not_hidden(monkeypatch: pytest.MonkeyPatch, store: Store) -> None:
    def status() -> None:
        with store.control() as control:
            control.execute("selct 1")

    planted(monkeypatch, status)
    with pytest.raises(psycopg.errors.SyntaxError):
        cli.run(["status"])


def test_attempts_that_are_repeated_do_not_speak_into_the_result(
    configured: Topology, store: Store, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Libraries that repeat attempts log each of them, some to standard output."""
    files = schema_files.TENANT_TABLES.files
    text = "-- oldest library: 1\nalter table atoms add column more text;"
    source = Source(("kos.knowledge",))
    source.__dict__["files"] = (*files, SchemaFile(len(files) + 1, "9999_more.sql", text))
    create_tenant(store, "acme")
    monkeypatch.setattr(schema_files, "TENANT_TABLES", source)
    monkeypatch.setattr(schema_files, "LOCK_ATTEMPTS", 2)
    with store.tenant("acme") as session:
        session.execute("select * from atoms")
        capfd.readouterr()
        assert cli.run(["upgrade", "--json"]) == errors.FAILED
    printed = capfd.readouterr()
    assert printed.out == ""
    assert json.loads(printed.err)["error"]["type"] == "LockNotGranted"
