"""A damaged export brings in nothing, and the error names the file."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import pytest

from fix_exports import names
from kos.errors import ExportDamaged, ExportMissing, ExportUnsupported, KosError, TenantChanged, UnknownTenant
from kos.journal import Run, unfinished_on
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import Bucket, bucket_of
from kos.knowledge.exchange import import_, import_tenant, verify
from kos.knowledge.removal import remove
from kos.tenancy import Store, find_tenant, finish_tenant, list_tenants

Damage = Callable[[Path], None]
Refused = Callable[[type[KosError]], KosError]
TABLES_WITH_ROWS = sorted(TENANT_TABLES)

DEEP = b'{"a":' * 20_000 + b"1" + b"}" * 20_000 + b"\n"
LONG = b"".join(sha256(bytes([number])).hexdigest().encode() for number in range(256))  # it does not compress


def some_object(folder: Path) -> Path:
    return min((folder / "objects").iterdir())


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def cut_deep(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-5])


def change_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def drop_a_line(path: Path) -> None:
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])


def rewrite_manifest(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    change(manifest)
    path.write_text(json.dumps(manifest))


def rewrite_table(folder: Path, table: str, change: Callable[[bytes], bytes]) -> None:
    """Change a table's file, and the manifest with it, as somebody would who forges an export."""
    path = folder / f"{table}.jsonl"
    data = change(path.read_bytes())
    path.write_bytes(data)
    facts = {"rows": data.count(b"\n"), "bytes": len(data), "sha256": sha256(data).hexdigest()}
    rewrite_manifest(folder, lambda manifest: manifest["tables"][table].update(facts))


@pytest.fixture
def refused(full_store: Store, export_copy: Path, monkeypatch: pytest.MonkeyPatch) -> Refused:
    """Tries to import the export; returns the error, having seen that no tenant and no object is there."""
    written: set[UUID] = set()
    put = Bucket.put

    def noted(self: Bucket, tenant: UUID, digest: str, content: bytes | BinaryIO) -> None:
        written.add(tenant)
        put(self, tenant, digest, content)

    def attempt(kind: type[KosError]) -> KosError:
        with pytest.raises(kind) as caught:
            import_tenant(full_store, export_copy, "copy")
        assert names(full_store) == set()
        bucket = bucket_of(full_store, "a test")
        assert [page for tenant in written for page in bucket.pages(tenant) if page] == []
        return caught.value

    monkeypatch.setattr(Bucket, "put", noted)
    return attempt


def test_a_whole_export_is_verified(export_copy: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    verified = verify(export_copy, lambda *word: heard.append(word))
    assert len(verified.objects) == 2
    files = [path for path in export_copy.rglob("*") if path.is_file() and path.name != "manifest.json"]
    total = sum(path.stat().st_size for path in files)
    assert heard[-1] == ("bytes verified", total, total)


@pytest.mark.parametrize(
    "table", [*TABLES_WITH_ROWS[:2], *(pytest.param(each, marks=pytest.mark.long) for each in TABLES_WITH_ROWS[2:])]
)
@pytest.mark.parametrize("damage", [cut, change_a_byte, drop_a_line, Path.unlink])
def test_a_damaged_table_is_named(export_copy: Path, table: str, damage: Damage) -> None:
    damage(export_copy / f"{table}.jsonl")
    with pytest.raises(ExportDamaged, match=rf"{table}\.jsonl"):
        verify(export_copy)


@pytest.mark.parametrize("damage", [cut, change_a_byte, Path.unlink])
def test_a_damaged_object_is_named(export_copy: Path, damage: Damage) -> None:
    path = some_object(export_copy)
    damage(path)
    with pytest.raises(ExportDamaged, match=path.name):
        verify(export_copy)


def _add_a_stray(folder: Path) -> None:
    (folder / "objects" / sha256(b"stray").hexdigest()).write_bytes(b"stray")


def _set_columns(folder: Path, columns: list[str]) -> None:
    rewrite_manifest(folder, lambda manifest: manifest["tables"]["atoms"].update(columns=columns))


def _make_a_pipe(path: Path) -> None:
    """Nobody writes to it: who opens it to read waits for ever."""
    path.unlink()
    os.mkfifo(path)


def _drop_objects(folder: Path) -> None:
    shutil.rmtree(folder / "objects")


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: cut(folder / "atoms.jsonl"), "atoms.jsonl has"),
        (lambda folder: change_a_byte(folder / "relations.jsonl"), "relations.jsonl has other content"),
        (lambda folder: some_object(folder).unlink(), "is missing"),
        (_add_a_stray, "objects/ has 3 files, 2 were written"),
        (_drop_objects, "objects/ can't be read"),
        (lambda folder: cut_deep(folder / "manifest.json"), "manifest.json is cut short or garbled"),
        (lambda folder: (folder / "manifest.json").write_text("{}"), "cut short or garbled"),
        (lambda folder: (folder / "manifest.json").write_text('"x"'), "cut short or garbled"),
        (lambda folder: rewrite_manifest(folder, lambda m: m.pop("objects")), "objects: Field required"),
        (lambda folder: rewrite_manifest(folder, lambda m: m.update(more=1)), "more: Extra inputs"),
        (lambda folder: rewrite_manifest(folder, lambda m: m["tables"]["atoms"].update(rows=-1)), "tables.atoms.rows"),
        (
            lambda folder: rewrite_manifest(folder, lambda m: m["tables"]["atoms"].update(rows=1)),
            "atoms.jsonl has",
        ),
        (lambda folder: rewrite_manifest(folder, lambda m: m["objects"].update(count=1)), "objects/ has 2 files"),
        (lambda folder: _set_columns(folder, ["id", "id"]), "tables.atoms.columns"),
        (lambda folder: _set_columns(folder, []), "tables.atoms.columns"),
        (lambda folder: rewrite_manifest(folder, lambda m: m["tenant"].update(service_plan="\0")), "service_plan"),
        (lambda folder: (folder / "manifest.json").write_bytes(DEEP), "cut short or garbled"),
        (lambda folder: _make_a_pipe(folder / "atoms.jsonl"), "atoms.jsonl is no file"),
        (lambda folder: _make_a_pipe(folder / "documents.jsonl"), "documents.jsonl is no file"),
        (lambda folder: _make_a_pipe(some_object(folder)), "is no file"),
        (lambda folder: _make_a_pipe(folder / "manifest.json"), "manifest.json is no file"),
    ],
)
def test_damage_brings_in_nothing(export_copy: Path, refused: Refused, damage: Damage, said: str) -> None:
    damage(export_copy)
    assert said in str(refused(ExportDamaged))


def test_a_manifest_cut_to_whole_json_is_found(export_copy: Path, refused: Refused) -> None:
    rewrite_manifest(export_copy, lambda manifest: manifest["tables"].pop("documents"))
    assert "objects/ has 2 files" in str(refused(ExportDamaged))


@pytest.mark.parametrize(
    ("table", "change", "said"),
    [
        ("relations", lambda data: data + b"{}\n", "null value in column"),
        ("relations", lambda data: data + b"not json\n", "invalid input syntax for type json"),
        ("atoms", lambda data: data.replace(b'"confidence":1', b'"confidence":2', 1), "check constraint"),
        ("atoms", lambda data: data.split(b"\n", 1)[1], "foreign key"),
        ("atoms", lambda data: data + data.split(b"\n", 1)[0] + b"\n", "duplicate key"),
        ("atoms", lambda data: data.replace(b'"version":1', b'"version": 1', 1), "its rows are others in the database"),
        ("atoms", lambda data: data.replace(b'"metadata":{}', b'"metadata":{"":"\\u0000"}', 1), "unsupported Unicode"),
        ("atoms", lambda data: data + b"\xff\n", "invalid byte sequence"),
        ("molecules", lambda data: b"\n" + data, "null value in column"),
        ("documents", lambda data: data.replace(b"byte_length", b"byte_width", 1), "documents.jsonl"),
        ("documents", lambda data: data + b'{"content_sha256":[]}\n', "is missing"),
        ("documents", lambda data: data + DEEP, "documents.jsonl"),
        ("atoms", lambda data: data + DEEP, "stack depth"),
        ("atoms", lambda data: data.replace(b'"name":"', b'"name":"' + LONG, 1), "index row"),
    ],
)
def test_a_forged_export_is_taken_away_again(
    export_copy: Path,
    refused: Refused,
    table: str,
    change: Callable[[bytes], bytes],
    said: str,
) -> None:
    """Its digests are right, so only the database can tell: then the tenant and its objects are there already."""
    rewrite_table(export_copy, table, change)
    assert said in str(refused(ExportDamaged))


@pytest.mark.parametrize("tier", ["schema", "database"])
def test_a_forged_export_is_taken_away_in_every_tier(full_store: Store, export_copy: Path, tier: str) -> None:
    rewrite_table(export_copy, "relations", lambda data: data + b"{}\n")
    with pytest.raises(ExportDamaged):
        import_tenant(full_store, export_copy, "copy", tier)
    assert names(full_store) == set()
    with full_store.operator() as operator:
        left = """
            select from pg_namespace where nspname = 'tenant_copy'
            union all select from pg_database where datname = %s
        """
        database = f"{full_store.topology.control.primary.database}_copy"
        assert operator.execute(left, (database,)).fetchall() == []


@pytest.mark.parametrize("folder", ["nowhere", "manifest.json", "objects"])
def test_what_is_no_export_is_said_to_be_none(full_store: Store, export_copy: Path, folder: str) -> None:
    with pytest.raises(ExportMissing, match=r"has no manifest\.json"):
        import_tenant(full_store, export_copy / folder, "copy")
    assert names(full_store) == set()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda manifest: manifest.update(format_version=2, tables="another way"), "version 2, known is 1"),
        (
            lambda manifest: manifest["tables"].update(dreams=manifest["tables"]["atoms"]),
            "that are not known: dreams",
        ),
    ],
)
def test_what_a_later_version_wrote_is_refused(
    export_copy: Path,
    refused: Refused,
    change: Callable[[dict[str, Any]], None],
    said: str,
) -> None:
    rewrite_manifest(export_copy, change)
    assert said in str(refused(ExportUnsupported))


def test_columns_that_are_not_known_are_refused(export_copy: Path, refused: Refused) -> None:
    rewrite_manifest(export_copy, lambda manifest: manifest["tables"]["atoms"]["columns"].append("mood"))
    assert "atoms has columns that are not known: mood" in str(refused(ExportUnsupported))


def test_columns_that_came_later_get_their_defaults(full_store: Store, export_copy: Path) -> None:
    """An export of an older schema: its rows lack what was added since."""
    lines = [json.loads(line) for line in (export_copy / "sensitive_atoms.jsonl").read_bytes().splitlines()]
    for line in lines:
        del line["range_prefix"]
    text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines).encode()
    rewrite_table(export_copy, "sensitive_atoms", lambda _: text)
    rewrite_manifest(export_copy, lambda m: m["tables"]["sensitive_atoms"]["columns"].remove("range_prefix"))
    imported = import_tenant(full_store, export_copy, "copy")
    assert imported.rows["sensitive_atoms"] == 1
    with full_store.tenant("copy") as session:
        assert session.execute("select range_prefix from sensitive_atoms").fetchall() == [(None,)]


def test_an_object_that_changes_after_it_was_verified_is_refused(
    full_store: Store, export_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed, put_objects = some_object(export_copy), import_.put_objects

    def after_a_change(*given: Any) -> int:
        change_a_byte(changed)
        return put_objects(*given)

    monkeypatch.setattr(import_, "put_objects", after_a_change)
    with pytest.raises(ExportDamaged) as caught:
        import_tenant(full_store, export_copy, "copy")
    assert caught.value.reason == f"objects/{changed.name} has other content now"
    assert "copy" not in names(full_store)


def test_a_tenant_that_another_import_has_finished_is_not_taken_away(
    full_store: Store, export_copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if somebody had declared it whole by hand, and this one found damage only then."""

    def load_rows(run: Run[Any]) -> None:
        """Load, and be overtaken."""
        import_.load_rows(run)
        finish_tenant(full_store, find_tenant(full_store, "copy"))
        raise ExportDamaged(export_copy, "found too late")

    steps = tuple(
        replace(step, do=load_rows) if step.name == "load_rows" else step for step in import_.IMPORT_TENANT.steps
    )
    monkeypatch.setattr(import_, "IMPORT_TENANT", replace(import_.IMPORT_TENANT, steps=steps))
    with pytest.raises(ExportDamaged):
        import_tenant(full_store, export_copy, "copy")
    with full_store.tenant("copy") as session:
        assert session.execute("select count(*) > 0 from atoms").fetchone() == (True,)


@pytest.mark.parametrize("meanwhile", ["being removed", "removed"])
def test_a_tenant_that_is_removed_meanwhile_is_not_brought_back(
    full_store: Store, export_copy: Path, monkeypatch: pytest.MonkeyPatch, meanwhile: str
) -> None:
    def end_import_hold(run: Run[Any]) -> None:
        """End the hold, and be overtaken."""
        import_.end_import_hold(run)
        if meanwhile == "removed":
            remove(full_store, "copy")
        else:
            with full_store.operator() as control:
                control.execute("update kos.tenants set state = 'removing' where name = 'copy'")

    steps = tuple(
        replace(step, do=end_import_hold) if step.name == "end_import_hold" else step
        for step in import_.IMPORT_TENANT.steps
    )
    monkeypatch.setattr(import_, "IMPORT_TENANT", replace(import_.IMPORT_TENANT, steps=steps))
    with pytest.raises(UnknownTenant if meanwhile == "removed" else TenantChanged):
        import_tenant(full_store, export_copy, "copy")
    assert [each.state for each in list_tenants(full_store)] == ([] if meanwhile == "removed" else ["removing"])
    assert unfinished_on(full_store, "tenant:copy") is None, "nothing is in the way of another import"
