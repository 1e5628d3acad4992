"""The doctor finds every fault that is planted, and what it says mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL

from fix_own_postgres import MakePostgres, OwnPostgres
from kos.topology import doctor, model, secrets
from kos.topology import postgres as opening
from kos.topology.model import Login, Shard, Topology, fixed

pytestmark = pytest.mark.xdist_group("doctor")  # the servers are made once, not in every worker

GROUPS = ("kos_owner", "kos_app", "kos_persona", "kos_operator", "kos_mover", "kos_auditor")
PASSWORD = "of a role"
RESTART = "then restart the server"


@pytest.fixture(scope="module", params=["wheel", pytest.param("debian", marks=pytest.mark.long)])
def own(request: pytest.FixtureRequest, own_postgres: MakePostgres) -> OwnPostgres:
    """A server as its packager left it, with three logins of other names than kos's."""
    options = ["--no-data-checksums"] if request.param == "wheel" else []
    server = own_postgres(request.param, *options)
    server.configure(max_connections=30, superuser_reserved_connections=3)
    server.start()
    for role in ("web", "ops", "builder"):
        server.execute(f"create role {role} login password '{PASSWORD}'")
    return server


@pytest.fixture(scope="module")
def topology(own: OwnPostgres) -> Topology:
    web, ops, builder = (Login(role, fixed(PASSWORD)) for role in ("web", "ops", "builder"))
    return Topology((Shard(1, "main", own.server, (), app=web, operator=ops, installer=builder),))


@pytest.fixture
def installed(own: OwnPostgres) -> Iterator[None]:
    """The roles that `kos upgrade` makes, granted to the logins."""
    own.execute(
        *(f"create role {group}" for group in GROUPS),
        "grant kos_app to web",
        "grant kos_persona to kos_app",
        "grant kos_operator, kos_owner to ops",
        f"grant create on database {own.server.database} to kos_owner",
    )
    yield
    own.execute(*(f"drop owned by {group}" for group in GROUPS), *(f"drop role {group}" for group in GROUPS))


def faults(report: doctor.Report) -> list[doctor.Finding]:
    return [finding for finding in report.findings if finding.severity != "ok"]


def capabilities(topology: Topology) -> dict[str, doctor.Capability]:
    return {capability.name: capability for capability in doctor.examine(topology).capabilities}


def statements(mend: str) -> list[str]:
    return [part.strip() for part in mend.split(";") if part.strip() != RESTART]


def settled(own: OwnPostgres) -> None:
    """Wait until the server has read its configuration again."""
    with own.connect() as connection:
        loaded = connection.execute("select pg_conf_load_time()").fetchone()
        connection.execute("select pg_reload_conf()")
        for _ in range(1000):
            if connection.execute("select pg_conf_load_time(), pg_sleep(0.01)").fetchone()[0] != loaded[0]:  # type: ignore[index]
                return
    raise AssertionError("the server does not read its configuration")


# a well server, and one that kos is not installed in


def test_a_well_server_has_no_faults(topology: Topology, installed: None) -> None:
    report = doctor.examine(topology)
    assert faults(report) == []
    assert report.healthy
    assert {finding.check for finding in report.findings} >= {each.name for each in doctor.questions("checks")}


def test_before_kos_upgrade_it_says_so(topology: Topology) -> None:
    report = doctor.examine(topology)
    found = faults(report)
    assert [(each.check, each.severity, each.mend) for each in found] == [("roles", "warning", "kos upgrade")] * len(
        GROUPS
    )
    assert [each.subject for each in found] == [f"main: {group}" for group in GROUPS]
    assert report.healthy, "nothing is wrong: it is only not done yet"


def test_the_embedded_stack_is_well_and_allows_everything(database: model.Topology) -> None:
    report = doctor.examine(database)
    assert [each for each in faults(report) if each.check != "roles"] == []
    settings = ("commit_times", "logical_decoding", "incremental_backup", "page_checksums", "vectors", "install")
    allowed = {each.name for each in report.capabilities if each.allowed}
    assert allowed >= {*settings, "transaction_timeout", "row_tier", "schema_tier"}


# planted faults

DATABASE = "alter database postgres"
READ_ONLY = "default_transaction_read_only"
ENCRYPTION = "password_encryption"


@pytest.mark.parametrize(
    ("check", "subject", "severity", "plant"),
    [
        ("read_only_server", READ_ONLY, "error", f"{DATABASE} set {READ_ONLY} = on"),
        ("read_only_server", READ_ONLY, "error", f"alter role ops set {READ_ONLY} = on"),
        ("role_members", "web", "error", "revoke kos_app from web"),
        ("role_members", "ops", "error", "revoke kos_operator from ops"),
        ("role_members", "kos_app", "error", "revoke kos_persona from kos_app"),
        ("role_powers", "web", "error", "alter role web superuser"),
        ("role_powers", "web", "error", "alter role web bypassrls"),
        ("role_powers", "kos_owner", "error", "alter role kos_owner bypassrls"),
        ("role_powers", "web", "error", "grant kos_operator to web"),
        ("role_powers", "web", "error", "grant kos_owner to web"),
        ("public_schema", "public", "warning", "grant create on schema public to public"),
        ("durability", "synchronous_commit", "warning", f"{DATABASE} set synchronous_commit = off"),
        ("durability", "fsync", "error", "alter system set fsync = off"),
        ("durability", "full_page_writes", "error", "alter system set full_page_writes = off"),
        (ENCRYPTION, ENCRYPTION, "warning", f"{DATABASE} set {ENCRYPTION} = 'md5'"),
        (ENCRYPTION, ENCRYPTION, "warning", f"alter system set {ENCRYPTION} = 'md5'"),
        ("extensions_outdated", "pg_trgm", "warning", "create extension pg_trgm version '1.3'"),
    ],
)
def test_a_planted_fault_is_found_and_mended(
    own: OwnPostgres, topology: Topology, installed: None, check: str, subject: str, severity: str, plant: str
) -> None:
    own.execute(plant)
    if plant.startswith("alter system"):
        settled(own)
    (found,) = faults(doctor.examine(topology))
    assert (found.check, found.subject, found.severity) == (check, f"main: {subject}", severity)
    own.execute(*statements(found.mend))
    settled(own)
    assert faults(doctor.examine(topology)) == []


def test_a_collation_that_has_changed(own: OwnPostgres, topology: Topology, installed: None) -> None:
    """Planted as a system update does it: the version that was noted is not the library's any more."""
    builtin = "locale_provider builtin builtin_locale 'C.UTF-8'"
    icu = "locale_provider icu icu_locale 'en-US'"
    provider = icu if own.binaries.parent.name == "15" else builtin
    own.execute(
        f"create database sorted template template0 {provider} lc_collate 'C' lc_ctype 'C'",
        "update pg_database set datcollversion = '0.1' where datname = 'sorted'",
    )
    sorted_one = on(topology, database="sorted")
    (found,) = faults(doctor.examine(sorted_one))
    assert (found.check, found.severity) == ("collation_version", "warning")
    with opening.connect(sorted_one.control.primary, own.superuser) as connection:
        for statement in statements(found.mend):
            connection.execute(statement)
    assert faults(doctor.examine(sorted_one)) == []
    own.execute("drop database sorted")


def test_a_database_that_is_not_utf_8(own: OwnPostgres, topology: Topology, installed: None) -> None:
    own.execute("create database latin template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    (found,) = faults(doctor.examine(on(topology, database="latin")))
    assert (found.check, found.severity) == ("encoding", "error")
    assert "LATIN1" in found.found
    own.execute("drop database latin")


def test_connections_that_run_out(own: OwnPostgres, topology: Topology, installed: None) -> None:
    connections = [own.connect() for _ in range(20)]
    (found,) = faults(doctor.examine(topology))
    assert (found.check, found.severity) == ("connections", "warning")
    for connection in connections:
        connection.close()


def test_a_replica_in_the_place_of_a_primary(own: OwnPostgres, topology: Topology, installed: None) -> None:
    own.stop()
    signal = own.write("data/standby.signal", "")
    own.start()
    report = doctor.examine(topology)
    found = {each.check: each for each in faults(report)}
    assert found["reachable"].found == "it is a replica, and takes no writes"
    assert found["read_only_server"].severity == "error"
    own.stop()
    signal.unlink()
    own.start()


@pytest.mark.parametrize(("major", "severity"), [(14, "error"), (15, None), (18, None), (19, "warning")])
def test_versions(own: OwnPostgres, major: int, severity: str | None) -> None:
    """No server of another version is at hand: the question is asked with another answer in it."""
    (question,) = (each for each in doctor.questions("checks") if each.name == "server_version")
    text = question.query.as_string().replace("current_setting('server_version_num')", f"'{major}0000'")
    assert f"'{major}0000'" in text
    with own.connect() as connection:
        rows = connection.execute(text).fetchall()
    assert [row[1] for row in rows] == ([severity] if severity else [])


# capabilities


def test_what_is_missing_is_mended_as_it_says(own: OwnPostgres, topology: Topology, installed: None) -> None:
    before = capabilities(topology)
    assert {name for name, each in before.items() if not each.allowed} >= {
        *("install", "database_tier", "commit_times", "logical_decoding", "physical_backup", "page_checksums"),
        *("end_sessions", "see_sessions"),
    }
    beyond = ("upgrade the server", "install pgvector")
    impossible = {name for name, each in before.items() if each.mend.startswith(beyond)}
    for name, capability in before.items():
        if capability.allowed:
            assert capability.mend == ""
        elif name not in impossible and name != "page_checksums":
            own.execute(*statements(capability.mend))
    own.stop()
    own.run("pg_checksums", "--enable", "-D", str(own.data))
    own.start()
    after = capabilities(topology)
    assert {name for name, each in after.items() if not each.allowed} == impossible
    if own.binaries.parent.name != "15":
        assert impossible == set()


def test_a_tier_that_is_not_allowed(own: OwnPostgres, topology: Topology, installed: None) -> None:
    assert capabilities(topology)["schema_tier"].allowed
    own.execute("revoke create on database postgres from kos_owner")
    found = capabilities(topology)["schema_tier"]
    assert not found.allowed
    own.execute(*statements(found.mend))
    assert capabilities(topology)["schema_tier"].allowed
    own.execute("alter role web bypassrls")
    assert not capabilities(topology)["row_tier"].allowed
    own.execute(*statements(capabilities(topology)["row_tier"].mend))
    assert capabilities(topology)["row_tier"].allowed


# logins, secrets, TLS, checks of others


def on(topology: Topology, **server: Any) -> Topology:
    shard = topology.control
    return replace(topology, shards=(replace(shard, primary=replace(shard.primary, **server)),))


def with_login(topology: Topology, **logins: Login) -> Topology:
    return replace(topology, shards=(replace(topology.control, **logins),))  # type: ignore[arg-type]


def test_a_wrong_password_is_named(topology: Topology, installed: None) -> None:
    report = doctor.examine(with_login(topology, operator=Login("ops", fixed("not this one"))))
    (found,) = faults(report)
    assert (found.check, found.subject, found.severity) == ("login", "shards.main.operator", "error")
    assert "not this one" not in repr(report)
    assert report.capabilities, "another login looks instead"


def test_a_server_that_is_down_is_one_finding(own_postgres: MakePostgres, topology: Topology) -> None:
    report = doctor.examine(on(topology, port=own_postgres("wheel").server.port))
    (found,) = faults(report)
    assert (found.check, found.subject, found.severity) == ("reachable", "postgres", "error")
    assert not report.healthy
    assert report.capabilities == ()


def test_a_secret_that_others_can_read(topology: Topology, installed: None, tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text(PASSWORD)
    kept = with_login(topology, app=Login("web", secrets.from_file("shards.main.app.password", path)))
    for mode, wide in ((0o600, False), (0o400, False), (0o640, False), (0o644, True), (0o660, True), (0o604, True)):
        path.chmod(mode)
        found = faults(doctor.examine(kept))
        expected = [("secret_permissions", f"chmod 0600 {path}")] if wide else []
        assert [(each.check, each.mend) for each in found] == expected, f"{mode:o}"


def test_a_secret_that_is_missing(topology: Topology, installed: None, tmp_path: Path) -> None:
    lost = secrets.from_file("shards.main.operator.password", tmp_path / "lost")
    found = {each.check: each for each in faults(doctor.examine(with_login(topology, operator=Login("ops", lost))))}
    assert found["secret_readable"].subject == "shards.main.operator.password"


def test_what_is_not_verified_is_said() -> None:
    login = Login("web")
    server = model.PostgresServer("main", "192.0.2.1", 5432, "kos", model.Tls("require"))
    topology = Topology(
        (Shard(1, "main", server, (), login, login),),
        model.GraphServer("bolt://192.0.2.1", login),
        model.CacheServer("192.0.2.1", 6379, login, None),
        model.ObjectStore("http://192.0.2.1", "b", "r", None, None),
    )
    found = [each for each in doctor.examine(topology).findings if each.check == "tls"]
    assert [each.subject for each in found] == ["shards.main", "graph", "cache", "objects"]
    assert {each.severity for each in found} == {"warning"}


def test_checks_of_others_run_read_only(topology: Topology, installed: None) -> None:
    def finds(connection: psycopg.Connection[Any]) -> Iterable[doctor.Finding]:
        row = connection.execute("select 1 as one").fetchone()
        yield doctor.Finding("mine", "a table", "error", str(row), "do this")

    def writes(connection: psycopg.Connection[Any]) -> Iterable[doctor.Finding]:
        connection.execute("create table t ()")
        return []

    found = {each.check: each for each in faults(doctor.examine(topology, extra=(writes, finds)))}
    assert found["mine"].severity == "error"
    assert "read-only" in found["writes"].found


def test_a_check_that_can_not_run_is_an_error_and_hides_no_other(
    topology: Topology, installed: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows whether all is well."""
    asked = {folder: doctor.questions(folder) for folder in ("checks", "capabilities")}
    broken = doctor.Question("broken", "A check with a mistake in it", SQL("select 1 / 0"))
    monkeypatch.setattr(doctor, "questions", lambda folder: (broken, *asked[folder]))
    report = doctor.examine(topology)
    (found,) = faults(report)
    assert (found.check, found.subject, found.severity) == ("broken", "main", "error")
    assert "division by zero" in found.found
    assert not report.healthy
    assert {each.check for each in report.findings} >= {each.name for each in asked["checks"]}
