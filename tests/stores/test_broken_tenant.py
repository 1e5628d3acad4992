"""One tenant that is broken hides no other, and is shown with its reason."""

from __future__ import annotations

import json
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

from fix_database import as_installer
from fix_samples import child_environment
from kos import cli, errors
from kos.knowledge.objects import put_object
from kos.tenancy import Failure, Store, create_tenant, find_tenant, install, list_tenants, look_at

pytestmark = pytest.mark.long

ATOM = "insert into atoms (atom_type, name) values ('T', 'x')"
BROKEN = ("no-database", "no-schema", "no-fence")


@pytest.fixture
def broken(full_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """A healthy tenant in every tier; one whose database was dropped, one whose schema, one whose fence is gone."""
    store = full_store
    for name, tier in {"no-database": "database", "no-schema": "schema", "no-fence": "row"}.items():
        create_tenant(store, name, tier)
    for tier in ("row", "schema", "database"):
        create_tenant(store, f"whole-{tier}", tier)
        with store.tenant(f"whole-{tier}") as session:
            session.execute(ATOM)
    for name in ("no-schema", "whole-row"):
        with store.tenant(name) as session:
            put_object(session, b"nothing refers to it")
    own = store.topology.control.primary.database
    with as_installer(store.topology, own) as installer:
        installer.execute("set role kos_owner")
        name = Identifier(find_tenant(store, "no-database").database)
        installer.execute(SQL("drop database {} with (force)").format(name))
        installer.execute("drop schema tenant_no_schema cascade")
        installer.execute("delete from kos.fence where name = 'no-fence'")
    for key, value in child_environment(store.topology, tmp_path).items():
        monkeypatch.setenv(key, value)
    return store


def told(capsys: pytest.CaptureFixture[str], code: int, *arguments: str) -> Any:
    capsys.readouterr()
    assert cli.run([*arguments, "--json"]) == code
    return json.loads(capsys.readouterr().out)


def test_tenants_are_listed(broken: Store, capsys: pytest.CaptureFixture[str]) -> None:
    rows = {row["name"]: row for row in told(capsys, errors.FAILED, "tenant", "list")}
    assert {name for name, row in rows.items() if row["error"]} == set(BROKEN)
    for name, row in rows.items():
        assert (row["rows"] is None) == (name in BROKEN)
        assert name in BROKEN or row["rows"]["atoms"] == 1
    assert "does not exist" in rows["no-database"]["error"]
    assert "tenant_no_schema" in rows["no-schema"]["error"]
    assert cli.run(["tenant", "list"]) == errors.FAILED
    shown = capsys.readouterr()
    assert [shown.out.count(f"{name} ") for name in (*BROKEN, "whole-row")] == [1, 1, 1, 1]
    assert [shown.err.count(f"error: {name}: ") for name in BROKEN] == [1, 1, 1]


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_tenant_is_shown(broken: Store, capsys: pytest.CaptureFixture[str], name: str) -> None:
    row = told(capsys, errors.FAILED, "tenant", "show", name)
    assert (row["name"], row["rows"]) == (name, None)
    assert row["error"]


def test_the_doctor_looks_at_all(broken: Store, capsys: pytest.CaptureFixture[str]) -> None:
    report = told(capsys, errors.REFUSED, "doctor")
    wrong = {each["subject"].rpartition(": ")[2]: each for each in report["findings"] if each["severity"] == "error"}
    assert {find_tenant(broken, "no-database").database, "no-schema"} <= wrong.keys()
    assert "kos tenant remove no-schema" in wrong["no-schema"]["mend"]
    looked_at = {each["subject"] for each in report["findings"] if each["check"] == "row_security"}
    assert find_tenant(broken, "whole-database").database in looked_at


def test_the_others_are_upgraded(broken: Store, capsys: pytest.CaptureFixture[str]) -> None:
    gone, whole = find_tenant(broken, "no-database").database, find_tenant(broken, "whole-database").database
    with as_installer(broken.topology, whole) as installer:
        installer.execute("set role kos_owner")
        installer.execute("drop schema knowledge cascade")
        installer.execute("delete from kos.schema_versions where schema_name = 'knowledge'")
        installer.execute("create schema knowledge")
    done = told(capsys, errors.FAILED, "upgrade")
    assert [each["database"] for each in done["failed"]] == [gone]
    assert "does not exist" in done["failed"][0]["error"]
    assert whole in {each["database"] for each in done["changes"]}
    assert cli.run(["upgrade"]) == errors.FAILED
    assert f"main: {gone}" in capsys.readouterr().err


def test_the_others_are_collected(broken: Store, capsys: pytest.CaptureFixture[str]) -> None:
    done = told(capsys, errors.FAILED, "objects", "collect", "--yes", "--grace", "0")
    found = {each["tenant"]: each for each in done["tenants"]}
    assert len(found) == 6
    assert {name for name, each in found.items() if each["error"]} == {"no-schema"}
    assert {name: each["deleted"] for name, each in found.items() if each["deleted"]} == {"whole-row": 1}
    assert cli.run(["objects", "collect", "--yes"]) == errors.DONE, "within its grace nothing is looked at"
    assert cli.run(["objects", "collect", "--yes", "--grace", "0"]) == errors.FAILED
    assert "error: no-schema: " in capsys.readouterr().err


def test_a_shard_that_does_not_answer_hides_no_other(store: Store) -> None:
    main = store.topology.control
    dead = replace(main, number=2, name="dead", primary=replace(main.primary, port=closed_port()))
    failures: list[Failure] = []
    with Store(replace(store.topology, shards=(main, dead))) as both:
        install(both.topology, failures=failures)
        assert [(each.shard, type(each.error)) for each in failures] == [("dead", errors.StoreUnavailable)]
        for name in ("there-1", "here", "there-2"):
            create_tenant(both, name)
        with both.operator() as operator:
            operator.execute(
                "update kos.placements set shard_id = 2 from kos.tenants t "
                "where placements.tenant_id = t.tenant_id and t.name like 'there%'"
            )
        found = {seen.tenant.name: seen for seen in look_at(both, list_tenants(both))}
        assert found["here"].rows is not None
        assert isinstance(found["there-1"].error, errors.StoreUnavailable)
        assert found["there-2"].error is found["there-1"].error, "the silence of a server is waited for once"
        with pytest.raises(errors.StoreUnavailable):
            install(both.topology)


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
