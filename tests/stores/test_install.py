"""Installing and upgrading: repeatable, file by file, and refused where library and database don't fit."""

from __future__ import annotations

import re
import subprocess
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from fix_database import as_installer, as_superuser
from kos import errors
from kos.tenancy import Store, create_tenant, install, schema_files
from kos.tenancy.schema_files import SchemaFile, Source
from kos.topology import postgres as opening
from kos.topology.embedded import Stack, postgres_tool
from kos.topology.model import Topology

SNAPSHOT = Path(__file__).parents[2] / "docs" / "reference" / "schema.sql"


@pytest.fixture
def empty(template: Stack, database: Topology) -> Topology:
    """A database of the installer's with nothing in it."""
    name = database.control.primary.database
    with as_superuser(template, "knowledge_os") as connection:  # which may end a superuser's session that still closes
        connection.execute(SQL("drop database {} with (force)").format(Identifier(name)))
    with as_installer(database, "knowledge_os") as connection:
        connection.execute(SQL("create database {}").format(Identifier(name)))
    return database


def test_a_second_install_has_nothing_to_do(database: Topology) -> None:
    assert install(database) == []


def test_a_dry_run_says_what_an_install_does_and_does_nothing(empty: Topology) -> None:
    planned = install(empty, dry_run=True)
    assert [change.what for change in planned if change.schema] == [
        f"apply {file.name}" for source in (schema_files.CONTROL, schema_files.TENANT_TABLES) for file in source.files
    ]
    with as_installer(empty, empty.control.primary.database) as connection:
        assert connection.execute("select to_regnamespace('kos')").fetchone() == (None,)
    assert install(empty) == planned
    assert install(empty, dry_run=True) == []


def test_two_installs_at_once_do_the_work_once(empty: Topology) -> None:
    failed: list[Exception] = []

    def work() -> None:
        try:
            install(empty)
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []
    with as_installer(empty, empty.control.primary.database) as connection:
        counts = connection.execute("select schema_name, count(*) from kos.schema_versions group by 1").fetchall()
    assert dict(counts) == {"kos": schema_files.CONTROL.version, "knowledge": schema_files.TENANT_TABLES.version}


def add_file(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """A library whose tenant tables have one file more."""
    files = schema_files.TENANT_TABLES.files
    source = Source(("kos.knowledge",))
    source.__dict__["files"] = (*files, SchemaFile(len(files) + 1, "9999_more.sql", text))
    monkeypatch.setattr(schema_files, "TENANT_TABLES", source)


def test_an_upgrade_reaches_every_placement(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    tenants = [create_tenant(store, tier, tier) for tier in ("row", "schema", "database")]
    add_file(monkeypatch, "-- oldest library: 1\nalter table atoms add column more text;")
    changes = install(store.topology)
    assert {(change.database, change.schema) for change in changes} == {(t.database, t.schema) for t in tenants}
    for tenant in tenants:
        with store.tenant(tenant.name) as session:
            assert session.execute("select more from atoms").fetchall() == []


def test_a_file_that_fails_leaves_its_schema_as_it_was(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    add_file(monkeypatch, "-- oldest library: 1\nalter table atoms add column more text; select 1 / 0;")
    with pytest.raises(psycopg.errors.DivisionByZero):
        install(store.topology)
    with store.operator() as operator:
        found = operator.execute("select count(*) from pg_attribute where attname = 'more'").fetchone()
    assert found == (0,)


def test_a_lock_that_is_held_is_named_and_stalls_nobody_for_long(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    create_tenant(store, "acme")
    add_file(monkeypatch, "-- oldest library: 1\nalter table atoms add column more text;")
    monkeypatch.setattr(schema_files, "LOCK_ATTEMPTS", 2)
    with store.tenant("acme") as session:
        session.execute("select * from atoms")
        with pytest.raises(errors.LockNotGranted) as caught:
            install(store.topology)
        assert f"pid {session.connection.info.backend_pid}" in caught.value.blockers
    assert [change.what for change in install(store.topology)] == ["apply 9999_more.sql"]


def test_a_file_that_was_changed_after_it_was_applied_is_refused(store: Store) -> None:
    with store.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute("update kos.schema_versions set checksum = 'other' where file_name = '0001_tables.sql'")
    with pytest.raises(errors.SchemaFileChanged, match=r"0001_tables.sql was applied to schema knowledge"):
        install(store.topology)


# the handshake


def set_oldest(store: Store, version: int) -> None:
    with store.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute("update kos.schema_versions set oldest_library = %s where schema_name = 'kos'", (version,))


def test_a_library_that_is_too_old_is_told(store: Store) -> None:
    set_oldest(store, 99)
    with pytest.raises(errors.LibraryTooOld) as caught, store.tenant("acme"):
        pass
    assert caught.value.oldest == 99


def test_the_library_before_goes_on_working(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is one version ahead and still serves this library."""
    with store.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute(
            "insert into kos.schema_versions values ('kos', %s, 'next.sql', '', %s)",
            (schema_files.CONTROL.version + 1, schema_files.CONTROL.version),
        )
    create_tenant(store, "acme")
    with store.tenant("acme") as session:
        assert session.execute("select 1").fetchone() == (1,)


def test_a_database_that_is_behind_says_so(store: Store) -> None:
    with store.operator() as operator:
        operator.execute("set role kos_owner")
        operator.execute("delete from kos.schema_versions where schema_name = 'kos' and version > 1")
    with pytest.raises(errors.DatabaseBehind) as caught, store.tenant("acme"):
        pass
    assert caught.value.next_command == "kos upgrade"


def test_a_database_without_kos_says_so(empty: Topology) -> None:
    with Store(empty) as store, pytest.raises(errors.DatabaseNotInstalled), store.tenant("acme"):
        pass


# the schema as a whole


def dump(topology: Topology, schema: str) -> str:
    """The catalog as pg_dump tells it, without what differs between runs."""
    control = topology.control
    assert control.installer is not None
    parameters = opening.conninfo(control.primary, control.installer)
    environment = {
        "PGPASSWORD": parameters["password"],
        "PGHOST": parameters["host"],
        "PGPORT": str(parameters["port"]),
    }
    command = [postgres_tool("pg_dump"), "--schema-only", f"--schema={schema}", "--username", parameters["user"]]
    run = subprocess.run([*command, parameters["dbname"]], env=environment, capture_output=True, text=True, check=True)
    lines = [
        line for line in run.stdout.splitlines() if not line.startswith(("-- Dumped", "\\restrict", "\\unrestrict"))
    ]
    # Capture asks for its tables by number.
    return re.sub(r"'\d+'::regclass", "'…'::regclass", "\n".join(lines) + "\n")


def test_the_files_sum_to_the_schema(database: Topology, request: pytest.FixtureRequest) -> None:
    """`docs/reference/schema.sql` is what a reader sees; `pytest --write-schema` writes it anew."""
    found = dump(database, "kos") + dump(database, "knowledge")
    if request.config.getoption("--write-schema"):
        SNAPSHOT.parent.mkdir(parents=True, exist_ok=True)
        SNAPSHOT.write_text(found)
    assert SNAPSHOT.read_text() == found


def test_no_function_with_its_owners_rights_is_everybodys(database: Topology) -> None:
    """Who may execute one that is a trigger's may put it on a table of his own; and none looks anywhere else first."""
    with as_installer(database, database.control.primary.database) as connection:
        asked = """
            select p.oid::regprocedure::text, p.proconfig
              from pg_proc p cross join aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) x
             where p.prosecdef and p.pronamespace = 'kos'::regnamespace
               and (x.grantee = 0 or p.prorettype = 'trigger'::regtype and x.grantee <> p.proowner
                    or not coalesce('search_path=pg_catalog, pg_temp' = any (p.proconfig), false))"""
        assert connection.execute(asked).fetchall() == []


def test_every_tier_has_the_same_tables(store: Store) -> None:
    create_tenant(store, "acme", "schema")
    create_tenant(store, "vault", "database")
    row = dump(store.topology, "knowledge")
    schema = dump(store.topology, "tenant_acme").replace("tenant_acme", "knowledge")
    # A schema of one tenant's says whose it is.
    schema = re.sub(r"--\n-- Name: SCHEMA knowledge; Type: COMMENT.*\n--\n\nCOMMENT ON SCHEMA .*\n\n\n", "", schema)
    control = store.topology.control
    elsewhere: Any = replace(control.primary, database=f"{control.primary.database}_vault")
    database = dump(replace(store.topology, shards=(replace(control, primary=elsewhere),)), "knowledge")
    # The function that captures a table is named after it.
    named = re.compile(r"\bcapture_[0-9a-f]{32}\b")
    assert named.sub("capture", row) == named.sub("capture", schema) == named.sub("capture", database)
