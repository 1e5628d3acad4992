"""Exports and imports: identical in every tier and for every value; whatever is damaged or killed leaves no half."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import pytest

from fix_exports import blocked, files_of, fill, names, until
from fix_samples import Site, child_environment
from kos import journal
from kos.errors import (
    DiskFull,
    ExportDamaged,
    ExportRunning,
    ExportTargetExists,
    ExportTargetRefused,
    ImportRunning,
    InvalidTenantName,
    KosError,
    ObjectMissing,
    OperationUnfinished,
    StoreNotConfigured,
    TenantExists,
    TenantUnfinished,
    UnknownTenant,
    UnknownTier,
)
from kos.journal import Runner
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import bucket_of
from kos.knowledge.exchange import export_tenant, import_, import_tenant, plan_export, plan_import
from kos.knowledge.exchange.import_ import IMPORT_TENANT
from kos.knowledge.objects import collect, list_holds, missing_objects, put_object
from kos.knowledge.samples import load_sample
from kos.tenancy import TIERS, Place, Store, Tenant, create_tenant, find_tenant, rows_per_table
from kos.topology.model import Topology
from suites import short

CLI = [sys.executable, "-c", "from kos.cli import main; main()"]
WAITS_FOR_A_ROW = """
    select from pg_locks join pg_stat_activity using (pid)
     where locktype = 'transactionid' and not granted and datname = current_database()
"""
LATER = timedelta(minutes=-1)  # a grace that ends before it began: objects that were written just now are old


@pytest.fixture
def store(full_store: Store) -> Store:
    """Documents need object storage."""
    return full_store


# out and in again


@pytest.mark.parametrize("source", short(TIERS, "schema"))
def test_what_is_imported_exports_as_the_same_files(store: Store, site: Site, tmp_path: Path, source: str) -> None:
    origin = create_tenant(store, "origin", source)
    fill(store, origin, site)
    written = export_tenant(store, "origin", tmp_path / "origin")
    files = files_of(tmp_path / "origin")
    assert {table for table, rows in written.rows.items() if rows} == set(TENANT_TABLES)
    for tier in ("row", "schema", "database"):
        imported = import_tenant(store, tmp_path / "origin", f"into-{tier}", tier)
        assert (imported.tenant.tier, imported.tenant.state) == (tier, "active")
        export_tenant(store, f"into-{tier}", tmp_path / tier)
        assert files_of(tmp_path / tier) == files
        assert missing_objects(store, imported.tenant) == []
        assert rows_per_table(store, imported.tenant) == rows_per_table(store, origin)
    assert list_holds(store) == []


def test_the_manifest_says_what_is_there(store: Store, filled: Tenant, exported: Path) -> None:
    manifest = json.loads((exported / "manifest.json").read_text())
    assert (manifest["format"], manifest["format_version"]) == ("kos-tenant-export", 1)
    assert manifest["tenant"] == {
        "name": "acme",
        "id": str(filled.id),
        "tier": "row",
        "service_plan": "enterprise",
    }
    assert list(manifest["tables"]) == list(TENANT_TABLES)
    for table, facts in manifest["tables"].items():
        data = (exported / f"{table}.jsonl").read_bytes()
        lines = data.splitlines()
        assert (facts["rows"], facts["bytes"], facts["sha256"]) == (len(lines), len(data), sha256(data).hexdigest())
        assert all(list(json.loads(line)) == facts["columns"] for line in lines)
        assert "tenant_id" not in facts["columns"]
    objects = list((exported / "objects").iterdir())
    assert manifest["objects"] == {"count": len(objects), "bytes": sum(path.stat().st_size for path in objects)}
    assert len(objects) == 2
    for path in objects:
        assert sha256(path.read_bytes()).hexdigest() == path.name


def test_an_export_is_for_the_eyes_of_its_owner(exported: Path) -> None:
    assert {path.stat().st_mode & 0o077 for path in (exported, *exported.rglob("*"))} == {0}


@pytest.mark.long
def test_the_service_plan_comes_along(store: Store, exported: Path) -> None:
    assert import_tenant(store, exported, "copy").tenant.service_plan == "enterprise"


def test_an_empty_tenant_comes_back_empty(store: Store, tmp_path: Path) -> None:
    create_tenant(store, "empty")
    written = export_tenant(store, "empty", tmp_path / "deep" / "empty")
    assert (sum(written.rows.values()), written.objects) == (0, 0)
    imported = import_tenant(store, written.path, "again")
    assert sum(rows_per_table(store, imported.tenant).values()) == 0


def test_planning_changes_nothing(store: Store, filled: Tenant, exported: Path, tmp_path: Path) -> None:
    plan = plan_export(store, "acme", tmp_path / "other")
    counted = rows_per_table(store, filled)
    assert (plan.rows, plan.objects) == (counted, 2)
    planned = plan_import(store, exported, "copy", "schema")
    assert (planned.tenant.name, planned.tenant.tier, len(planned.export.objects)) == ("copy", "schema", 2)
    assert names(store) == {"acme"}
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("tier", short(TIERS, "row"))
def test_tables_that_are_left_out_are_named(store: Store, tmp_path: Path, tier: str) -> None:
    """No other installation has them, so they can't go along; nobody may believe that they did."""
    tenant = create_tenant(store, "own", tier)
    assert plan_export(store, "own", tmp_path / "export").left_out == ()
    with store.operator(Place(tenant.shard, tenant.database)) as operator:
        operator.execute("set role kos_owner")
        operator.execute(f"create table {tenant.schema}.theirs (tenant_id uuid, id integer)")
    assert plan_export(store, "own", tmp_path / "export").left_out == ("theirs",)
    assert export_tenant(store, "own", tmp_path / "export").left_out == ("theirs",)


def test_tables_without_object_storage_need_none(database: Topology, site: Site, tmp_path: Path) -> None:
    with Store(database) as alone:
        create_tenant(alone, "acme")
        load_sample(alone, "cities", "acme", site=site.folder)
        export_tenant(alone, "acme", tmp_path / "export")
        import_tenant(alone, tmp_path / "export", "copy", "schema")
        export_tenant(alone, "copy", tmp_path / "copy")
    assert files_of(tmp_path / "export") == files_of(tmp_path / "copy")


def test_documents_without_object_storage_are_refused(store: Store, database: Topology, exported: Path) -> None:
    with Store(database) as alone:
        with pytest.raises(StoreNotConfigured):
            import_tenant(alone, exported, "copy")
        assert names(alone) == set()


def test_progress_ends_where_it_said(store: Store, filled: Tenant, tmp_path: Path) -> None:
    heard: dict[str, tuple[int, int | None]] = {}

    def hear(what: str, done: int, total: int | None) -> None:
        assert done >= heard.get(what, (0, None))[0]
        heard[what] = (done, total)

    rows = sum(export_tenant(store, "acme", tmp_path / "export", hear).rows.values())
    assert heard == {"rows": (rows, rows), "objects": (2, 2)}
    heard.clear()
    import_tenant(store, tmp_path / "export", "copy", progress=hear)
    assert {what: done == total for what, (done, total) in heard.items()} == dict.fromkeys(
        ("bytes verified", "objects", "rows"), True
    )


# one moment


def test_an_export_is_of_one_moment(
    store: Store, filled: Tenant, exported: Path, tmp_path: Path, thread: ThreadPoolExecutor
) -> None:
    """What changes while it runs is not in it; and what it refers to can't be collected under its hands."""
    with blocked(store, filled, "sensitive_atoms", "access exclusive") as waits:
        exporting = thread.submit(export_tenant, store, "acme", tmp_path / "second")
        until(waits)
        with store.tenant("acme") as session:
            session.execute("update atoms set name = name || '!'")
            session.execute("insert into capability_mappings (atom_id, capability) select id, 'new' from atoms")
            session.execute("delete from annotations")
            session.execute("delete from documents")
        later = collect(store, filled, grace=LATER)
        assert (later.found, later.held, later.deleted) == (2, True, 0)
    exporting.result(60)
    assert files_of(tmp_path / "second") == files_of(exported)
    assert collect(store, filled, grace=LATER).deleted == 2


# killed, or two at once


@pytest.fixture
def start(store: Store, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[bytes]]]:
    """Starts commands in processes of their own; none outlives the test."""
    environment = child_environment(store.topology, tmp_path)
    with ExitStack() as stack:

        def begin(*words: str) -> subprocess.Popen[bytes]:
            pipe = subprocess.PIPE
            child = stack.enter_context(subprocess.Popen([*CLI, *words], env=environment, stdout=pipe, stderr=pipe))
            stack.callback(child.kill)
            return child

        yield begin


Start = Callable[..., subprocess.Popen[bytes]]


def kill_once(stopped: Callable[[], bool], child: subprocess.Popen[bytes]) -> None:
    """Kill the command where it was stopped."""

    def there() -> bool:
        assert child.poll() is None, child.communicate()
        return stopped()

    until(there)
    child.kill()
    assert child.wait() == -signal.SIGKILL


@pytest.mark.long
def test_an_export_that_was_killed_is_no_export(store: Store, filled: Tenant, tmp_path: Path, start: Start) -> None:
    target = tmp_path / "export"
    with blocked(store, filled, "sensitive_atoms", "access exclusive") as waits:
        child = start("tenant", "export", "acme", str(target))
        kill_once(waits, child)
        (tmp_path / "export.partial" / "molecules.jsonl").touch()
    assert not target.exists()
    again = export_tenant(store, "acme", target)
    assert not (tmp_path / "export.partial").exists()
    assert set(files_of(target)) == {f"{table}.jsonl" for table in TENANT_TABLES} | {
        f"objects/{path.name}" for path in (target / "objects").iterdir()
    }
    assert again.objects == 2
    [left] = list_holds(store)
    assert left.reason == "kos tenant export"
    assert left.until is not None


def test_two_exports_to_one_folder_do_not_mix(
    store: Store, filled: Tenant, tmp_path: Path, thread: ThreadPoolExecutor
) -> None:
    target = tmp_path / "export"
    with blocked(store, filled, "sensitive_atoms", "access exclusive") as waits:
        first = thread.submit(export_tenant, store, "acme", target)
        until(waits)
        with pytest.raises(ExportRunning):
            export_tenant(store, "acme", target)
    assert first.result(60).objects == 2
    with pytest.raises(ExportTargetExists):
        export_tenant(store, "acme", target)


@pytest.mark.long
@pytest.mark.parametrize("tier", short(TIERS, "database"))
def test_an_import_that_was_killed_is_finished_by_the_same_command(
    store: Store, exported: Path, tmp_path: Path, tier: str, start: Start
) -> None:
    words = ("tenant", "import", str(exported), "--name", "copy", "--tier", tier)
    # Stopped by a row that somebody else is about to insert, after the rows of the tables before.
    unfinished = create_tenant(store, "copy", tier, "enterprise", state="importing")
    last = json.loads((exported / "sensitive_atoms.jsonl").read_text())["id"]
    with store.session(unfinished) as session, store.operator(Place(unfinished.shard, unfinished.database)) as watcher:
        insert = "insert into sensitive_atoms (id, encrypted_value, encryption_key_id) values (%s, '', '')"
        session.execute(insert, (last,))
        child = start(*words)
        kill_once(lambda: watcher.execute(WAITS_FOR_A_ROW).fetchone() is not None, child)
        session.connection.rollback()
    assert find_tenant(store, "copy").state == "importing"
    with pytest.raises(TenantUnfinished):
        store.tenant("copy").__enter__()
    assert sum(rows_per_table(store, unfinished).values()) == 0
    child = start(*words, "--json")
    output, errors = child.communicate()
    assert child.returncode == 0, errors
    told = json.loads(output)
    assert (told["tenant"]["id"], told["tenant"]["state"], told["objects"]) == (str(unfinished.id), "active", 2)
    export_tenant(store, "copy", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(exported)


@pytest.mark.long
def test_what_an_import_wrote_that_never_said_so_is_written_anew(store: Store, exported: Path, tmp_path: Path) -> None:
    """Killed after its rows were committed, before the tenant was active; and then another export is brought in."""
    import_tenant(store, exported, "copy")
    with store.tenant("copy") as session:
        session.execute("update atoms set name = 'other'")
        session.execute("insert into molecules (name) values ('of the other export')")
    with store.operator() as control:
        control.execute("update kos.tenants set state = 'importing' where name = 'copy'")
    import_tenant(store, exported, "copy")
    export_tenant(store, "copy", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(exported)


def test_two_imports_under_one_name_do_not_mix(
    store: Store, exported: Path, tmp_path: Path, thread: ThreadPoolExecutor
) -> None:
    unfinished = create_tenant(store, "copy", state="importing")
    with blocked(store, unfinished, "sensitive_atoms", "exclusive") as waits:
        first = thread.submit(import_tenant, store, exported, "copy")
        until(waits)
        with pytest.raises(ImportRunning):
            import_tenant(store, exported, "copy")
    assert first.result(60).tenant.state == "active"
    with pytest.raises(TenantExists):
        import_tenant(store, exported, "copy")


def stopped_at(store: Store, exported: Path, point: str) -> journal.Record:
    """What the journal has of an import that was stopped there and gave its lease back."""

    def stop(reached: str) -> None:
        if reached == point:
            raise SystemExit

    made = import_.stored(store, plan_import(store, exported, "copy"))
    with pytest.raises(SystemExit):
        Runner(store, IMPORT_TENANT, point=stop).run(made)
    return journal.list_operations(store, unfinished=True)[0]


@pytest.mark.long
@pytest.mark.parametrize(
    "point", ["after done claim_tenant", "after started load_rows", "after started let_in", "before finished"]
)
def test_an_import_goes_on_where_it_was(store: Store, exported: Path, tmp_path: Path, point: str) -> None:
    """By the same command, and also where its tenant is let in already."""
    begun = stopped_at(store, exported, point)
    imported = import_tenant(store, exported, "copy")
    assert imported.rows["atoms"] > 0
    assert journal.find_operation(store, str(begun.id)).state == "finished"
    export_tenant(store, "copy", tmp_path / "copy")
    assert files_of(tmp_path / "copy") == files_of(exported)
    assert list_holds(store) == []


def test_an_import_that_is_taken_back_leaves_no_tenant(store: Store, exported: Path) -> None:
    begun = stopped_at(store, exported, "after done load_rows")
    with pytest.raises(OperationUnfinished):
        import_tenant(store, exported, "copy", "schema")
    journal.roll_back(store, str(begun.id))
    assert names(store) == {"acme"}
    assert list_holds(store) == []


def test_an_export_that_is_another_by_now_is_not_gone_on_with(store: Store, exported: Path, tmp_path: Path) -> None:
    begun = stopped_at(store, exported, "after done claim_tenant")
    with store.tenant("acme") as acme:
        acme.execute("delete from annotations")
    shutil.rmtree(exported)
    export_tenant(store, "acme", exported)
    with pytest.raises(OperationUnfinished):
        import_tenant(store, exported, "copy")
    with pytest.raises(ExportDamaged, match="another one"):
        journal.resume(store, str(begun.id))
    journal.roll_back(store, str(begun.id))
    assert import_tenant(store, exported, "copy").tenant.state == "active"


# refused


def test_exports_that_can_not_be_are_refused(store: Store, filled: Tenant, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("nowhere")
    refusals: list[tuple[str, Path, type[KosError]]] = [
        ("nobody", tmp_path / "export", UnknownTenant),
        ("acme", tmp_path, ExportTargetExists),
        ("acme", tmp_path / "file", ExportTargetExists),
        ("acme", tmp_path / "link", ExportTargetExists),
        ("acme", tmp_path / "file" / "export", ExportTargetRefused),
        ("acme", Path(), ExportTargetExists),
        ("acme", Path("/"), ExportTargetExists),
    ]
    before = sorted(tmp_path.rglob("*"))
    for name, target, refusal in refusals:
        with pytest.raises(refusal):
            export_tenant(store, name, target)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("make", [Path.mkdir, lambda path: path.symlink_to(path.parent / "theirs")])
def test_what_is_somebody_elses_is_not_emptied(
    store: Store, filled: Tenant, tmp_path: Path, make: Callable[[Path], None]
) -> None:
    """Only what a killed export has left may be taken away: a folder of that name can be anybody's."""
    (tmp_path / "theirs").mkdir()
    partial = tmp_path / "export.partial"
    make(partial)
    (partial / "thesis.txt").write_text("the only copy")
    with pytest.raises(ExportTargetRefused, match=r"export\.partial"):
        export_tenant(store, "acme", tmp_path / "export")
    assert (partial / "thesis.txt").read_text() == "the only copy"
    assert not (tmp_path / "export").exists()


def test_what_documents_say_of_their_length_comes_along(store: Store, tenant: Tenant, tmp_path: Path) -> None:
    """Nothing checks it against the object when it is written, so no import may stumble over it."""
    with store.tenant("acme") as acme:
        for content, told in ((b"text", 4), (b"text", 7), (b"", 0), (b"others", 1)):
            acme.execute(
                "insert into documents (title, media_type, content_sha256, byte_length) values ('t', 'm', %s, %s)",
                (put_object(acme, content), told),
            )
    export_tenant(store, "acme", tmp_path / "export")
    import_tenant(store, tmp_path / "export", "copy")
    export_tenant(store, "copy", tmp_path / "again")
    assert files_of(tmp_path / "again") == files_of(tmp_path / "export")


def test_an_export_whose_object_is_gone_leaves_nothing(store: Store, filled: Tenant, tmp_path: Path) -> None:
    bucket = bucket_of(store, "a test")
    gone = next(each.sha256 for page in bucket.pages(filled.id) for each in page)
    bucket.delete(filled.id, gone)
    before = sorted(tmp_path.iterdir())
    with pytest.raises(ObjectMissing) as caught:
        export_tenant(store, "acme", tmp_path / "export")
    assert caught.value.sha256 == gone
    assert sorted(tmp_path.iterdir()) == before
    assert list_holds(store) == []


FULL_DISK = """
mount -t tmpfs -o size=64k tmpfs "$1" || exit 1
shift
exec "$@"
"""


@pytest.mark.long
def test_a_full_disk_is_one_clear_error(store: Store, filled: Tenant, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    command = [*CLI, "tenant", "export", "acme", str(disk / "export"), "--json"]
    small = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", FULL_DISK, "sh", str(disk)]
    if subprocess.run([*small, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be made here: unshare or mount is refused")
    done = subprocess.run(
        [*small, *command],
        env=child_environment(store.topology, tmp_path),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    told = json.loads(done.stderr)["error"]
    assert told["type"] == DiskFull.__name__
    assert (told["folder"], told["free_mb"], told["needed_mb"]) == (str(disk), 0, 1)
    assert list_holds(store) == []


@pytest.mark.parametrize(
    ("name", "tier", "refusal"),
    [
        ("acme", "row", TenantExists),
        ("Not A Name", "row", InvalidTenantName),
        ("copy", "cupboard", UnknownTier),
    ],
)
def test_imports_that_can_not_be_are_refused(
    store: Store, exported: Path, name: str, tier: str, refusal: type[KosError]
) -> None:
    with pytest.raises(refusal):
        import_tenant(store, exported, name, tier)
    assert names(store) == {"acme"}


@pytest.mark.long
def test_the_commands_export_and_import(store: Store, filled: Tenant, tmp_path: Path, start: Start) -> None:
    def told(*words: str) -> dict[str, object]:
        child = start(*words, "--json")
        output, errors = child.communicate()
        assert child.returncode == 0, errors
        return dict(json.loads(output))

    target = str(tmp_path / "export")
    planned = told("tenant", "export", "acme", target, "--dry-run")
    assert not Path(target).exists()
    written = told("tenant", "export", "acme", target)
    assert (planned["rows"], planned["objects"]) == (written["rows"], written["objects"])
    planned = told("tenant", "import", target, "--name", "copy", "--dry-run")
    assert planned["rows"] == written["rows"]
    assert names(store) == {"acme"}
    imported = told("tenant", "import", target, "--name", "copy")
    assert set(imported) == {"tenant", "rows", "objects", "seconds"}
    assert missing_objects(store, find_tenant(store, "copy")) == []
