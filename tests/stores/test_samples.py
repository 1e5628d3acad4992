"""Loading samples into real tenants: idempotent, restartable, and nothing written when something is wrong."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from psycopg.sql import SQL, Identifier

from fix_samples import Site, child_environment
from kos import journal
from kos.errors import (
    DatasetChanged,
    DatasetConflict,
    DatasetDamaged,
    DatasetInUse,
    OperationUnfinished,
    StoreNotConfigured,
    TenantUnfinished,
    UnknownDataset,
    UnknownTenant,
)
from kos.journal import Record, Run, Runner
from kos.knowledge import TENANT_TABLES
from kos.knowledge.bucket import bucket_of
from kos.knowledge.objects import collect, get_object, list_holds, missing_objects
from kos.knowledge.samples import load_sample, plan_load, run_load
from kos.knowledge.samples.load import LOAD_SAMPLE
from kos.knowledge.samples.plan import stored
from kos.tenancy import Place, Store, Tenant, create_tenant, rows_per_table
from suites import spread
from waiting import RELATION, waiters

CLI = [sys.executable, "-c", "from kos.cli import main; main()"]


def rows_of(store: Store, tenant: Tenant) -> dict[str, list[Any]]:
    """Every row of a tenant but for its tenant_id, as text, sorted."""
    rows = {}
    with store.session(tenant) as session:
        for table in TENANT_TABLES:
            query = SQL("select (to_jsonb(t) - 'tenant_id')::text as line from {} t order by line")
            rows[table] = session.execute(query.format(Identifier(table))).fetchall()
    return rows


def rows_in(store: Store) -> int:
    """Rows of all tenants of the row tier, committed or not visible to any session of the application."""
    with store.operator() as operator:
        [(count,)] = operator.execute("select count(*) from knowledge.atoms").fetchall()
        return int(count)


@pytest.mark.parametrize("tier", ["row", "schema", "database"])
def test_loading_twice_changes_nothing(store: Store, site: Site, tier: str) -> None:
    tenant = create_tenant(store, "acme", tier)
    first = load_sample(store, "cities", "acme", site=site.folder)
    rows = rows_of(store, tenant)
    second = load_sample(store, "cities", "acme", site=site.folder)
    assert rows_of(store, tenant) == rows
    assert {table: len(lines) for table, lines in rows.items() if lines} == first.rows
    assert set(first.rows_already_there.values()) == set(second.rows.values()) == {0}
    assert second.rows_already_there == first.rows


def test_rows_that_somebody_changed_stay_changed(store: Store, site: Site, tenant: Tenant) -> None:
    load_sample(store, "cities", "acme", site=site.folder)
    with store.tenant("acme") as acme:
        acme.execute("update atoms set number_value = 1, deleted_at = now() where name = 'population'")
        acme.execute("delete from relations where relation_type = 'in_time_zone'")
    changed = rows_of(store, tenant)["atoms"]
    again = load_sample(store, "cities", "acme", site=site.folder)
    assert rows_of(store, tenant)["atoms"] == changed
    assert again.rows["atoms"] == 0
    assert again.rows["relations"] > 60


def test_a_row_with_a_name_that_must_be_unique_is_in_the_way(store: Store, site: Site, tenant: Tenant) -> None:
    with store.tenant("acme") as acme:
        acme.execute("insert into molecules (name) values ('population density of Andorra')")
    with pytest.raises(DatasetConflict, match="molecule_atoms") as caught:
        load_sample(store, "cities", "acme", site=site.folder)
    assert (caught.value.dataset, caught.value.tenant) == ("cities", "acme")


def test_two_tenants_get_the_same_rows_each_its_own(store: Store, site: Site) -> None:
    tenants = [create_tenant(store, name) for name in ("one", "two")]
    for tenant in tenants:
        load_sample(store, "cities", tenant.name, site=site.folder)
    assert rows_of(store, tenants[0]) == rows_of(store, tenants[1])


def test_progress_ends_where_it_said(store: Store, site: Site, tenant: Tenant) -> None:
    heard: list[tuple[str, int, int | None]] = []
    plan = plan_load(store, "cities", "acme", site=site.folder)
    run_load(store, plan, lambda *word: heard.append(word), batch=100)
    assert {what for what, _, _ in heard} == {"rows of cities"}
    assert [done for _, done, _ in heard] == sorted({done for _, done, _ in heard})
    assert heard[-1][1:] == (plan.content.rows, plan.content.rows)


def test_documents_come_with_their_objects(full_store: Store, site: Site) -> None:
    tenant = create_tenant(full_store, "acme")
    loaded = load_sample(full_store, "packages", "acme", site=site.folder)
    assert (loaded.objects, loaded.objects_already_there) == (2, 0)
    with full_store.tenant("acme") as acme:
        documents = acme.execute("select id, content_sha256 from documents").fetchall()
        for document, sha256 in documents:
            text = get_object(acme, sha256).decode()
            quotes = acme.execute(
                "select start_offset, end_offset, quote from annotations where document_id = %s", (document,)
            ).fetchall()
            assert quotes
            assert all(text[start:end] == quote for start, end, quote in quotes)
    assert missing_objects(full_store, tenant) == []
    again = load_sample(full_store, "packages", "acme", site=site.folder)
    assert (again.objects, again.objects_already_there) == (0, 2)
    assert set(again.rows.values()) == {0}
    assert list_holds(full_store) == []


# killed


LOADER = """
import os, signal, sys
from pathlib import Path
import kos
from kos.knowledge.samples import plan_load, run_load

def progress(what, done, total):
    if done >= int(sys.argv[2]):
        os.kill(os.getpid(), signal.SIGKILL)

with kos.open() as store:
    run_load(store, plan_load(store, "cities", "acme", site=Path(sys.argv[1])), progress, batch=50)
"""


@pytest.mark.parametrize("after", spread([130, 1, 250, 450], 4))
def test_a_load_that_was_killed_is_finished_by_loading_again(
    store: Store, site: Site, tmp_path: Path, after: int
) -> None:
    killed, whole = (create_tenant(store, name) for name in ("acme", "whole"))
    environment = child_environment(store.topology, tmp_path)
    command = [sys.executable, "-c", LOADER, str(site.folder), str(after)]
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    there = sum(rows_per_table(store, killed).values())
    load_sample(store, "cities", "whole", site=site.folder)
    assert after <= there < sum(rows_per_table(store, whole).values())
    again = load_sample(store, "cities", "acme", site=site.folder)
    assert rows_of(store, killed) == rows_of(store, whole)
    assert sum(again.rows_already_there.values()) == there


def test_a_load_that_was_killed_inside_a_batch_leaves_nothing_of_it(
    store: Store, site: Site, tenant: Tenant, tmp_path: Path
) -> None:
    never = 10**9
    command = [sys.executable, "-c", LOADER, str(site.folder), str(never)]
    with store.tenant("acme") as blocker:
        blocker.execute("lock table molecule_atoms in exclusive mode")
        child = subprocess.Popen(command, env=child_environment(store.topology, tmp_path), stderr=subprocess.PIPE)
        try:
            wait_for_a_lock_on(store, tenant, "molecule_atoms", child)
        finally:
            child.kill()
            child.communicate()
    there = rows_per_table(store, tenant)
    whole = {rows.table: rows.count for rows in plan_load(store, "cities", "acme", site=site.folder).content.tables}
    assert {table: count for table, count in there.items() if count} == {
        table: whole[table] for table in ("atoms", "molecules")
    }
    assert sum(load_sample(store, "cities", "acme", site=site.folder).rows_already_there.values()) == sum(
        there.values()
    )


def wait_for_a_lock_on(store: Store, tenant: Tenant, table: str, child: subprocess.Popen[bytes]) -> None:
    """Until somebody waits for a lock on the table; fails when the child ends or after a minute."""
    deadline = time.monotonic() + 60
    with store.operator(Place(tenant.shard, tenant.database)) as operator:
        while not waiters(operator, RELATION, f"{tenant.schema}.{table}"):
            assert child.poll() is None, child.stderr.read().decode() if child.stderr else ""
            assert time.monotonic() < deadline, f"nobody came to {table}"
            time.sleep(0.02)


def kill_a_load(store: Store, site: Site, folder: Path, after: int = 130) -> Record:
    """What the journal has of a load of cities that was killed after so many rows."""
    command = [sys.executable, "-c", LOADER, str(site.folder), str(after)]
    environment = child_environment(store.topology, folder)
    child = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert child.returncode == -signal.SIGKILL, child.stderr
    [record] = journal.list_operations(store, unfinished=True)
    assert (record.name, record.subject, record.state) == ("sample.load", "tenant:acme", "running")
    assert record.done is not None
    assert after <= record.done < (record.total or 0)
    return record


def test_a_load_that_was_killed_is_resumed_or_loaded_again(
    store: Store, site: Site, tenant: Tenant, tmp_path: Path
) -> None:
    """Both go on with what was begun."""
    create_tenant(store, "whole")
    load_sample(store, "cities", "whole", site=site.folder)
    whole = rows_of(store, store.find("whole"))
    begun = kill_a_load(store, site, tmp_path)
    journal.resume(store, str(begun.id))
    assert rows_of(store, tenant) == whole
    with store.tenant("acme") as acme:
        acme.execute("delete from relations")
    begun = kill_a_load(store, site, tmp_path)
    heard: list[int] = []
    load_sample(store, "cities", "acme", lambda _, done, __: heard.append(done), site=site.folder)
    assert heard[0] == begun.done
    assert journal.find_operation(store, str(begun.id)).state == "finished"
    assert rows_of(store, tenant) == whole


def test_what_is_begun_comes_first(store: Store, site: Site, tenant: Tenant, tmp_path: Path) -> None:
    """A load of something else may not build upon a half."""
    begun = kill_a_load(store, site, tmp_path)
    shutil.copytree(site.folder, tmp_path / "other")
    with pytest.raises(OperationUnfinished) as caught:
        load_sample(store, "cities", "acme", site=tmp_path / "other")
    assert caught.value.operation == str(begun.id)


def test_a_rollback_takes_only_what_the_load_brought(store: Store, site: Site, tenant: Tenant, tmp_path: Path) -> None:
    with store.tenant("acme") as acme:
        acme.execute("insert into atoms (atom_type, name) values ('own', 'own')")
    before = rows_of(store, tenant)
    begun = kill_a_load(store, site, tmp_path, after=450)
    refer = (
        "insert into relations (relation_type, from_atom_id, to_atom_id) select 'own', o.id, c.id from atoms o, atoms c"
    )
    with store.tenant("acme") as acme:
        acme.execute(refer + " where o.name = 'own' and c.name = 'France' and c.value = 'country'")
        mine = acme.execute("select count(*) from relations where relation_type = 'own'").fetchone()
    assert mine == (1,)
    with pytest.raises(DatasetInUse, match=r"relations .* refer to rows in atoms") as caught:
        journal.roll_back(store, str(begun.id))
    assert f"kos operation rollback {begun.id}" in caught.value.next_command
    with store.tenant("acme") as acme:
        assert acme.execute("delete from relations where relation_type = 'own'").rowcount == 1
    journal.roll_back(store, str(begun.id))
    assert rows_of(store, tenant) == before


def test_another_version_of_the_dataset_does_not_go_on_with_it(
    store: Store, site: Site, tenant: Tenant, tmp_path: Path
) -> None:
    begun = kill_a_load(store, site, tmp_path)
    countries = json.loads((site.data / "countries.json").read_text())
    site.change("countries.json", FR=countries["FR"] | {"population": 1})
    for go_on in (
        lambda: load_sample(store, "cities", "acme", site=site.folder),
        lambda: journal.roll_back(store, str(begun.id)),
    ):
        with pytest.raises(DatasetChanged, match=str(begun.id)):
            go_on()


def test_a_killed_load_leaves_its_hold_until_it_is_over(full_store: Store, site: Site, tmp_path: Path) -> None:
    tenant = create_tenant(full_store, "acme")
    stop = replace(LOAD_SAMPLE, steps=(*LOAD_SAMPLE.steps[:2], replace(LOAD_SAMPLE.steps[2], do=load_rows)))
    for verb, objects in (("roll_back", 0), ("resume", 2)):
        made = stored(full_store, plan_load(full_store, "packages", "acme", site=site.folder))
        with pytest.raises(ZeroDivisionError):
            Runner(full_store, stop).run(made)
        [left] = list_holds(full_store)
        assert (left.id, left.until) == (made.hold, None)
        assert collect(full_store, tenant, grace=timedelta(minutes=-1)).held
        getattr(journal, verb)(full_store, str(journal.list_operations(full_store)[0].id))
        assert list_holds(full_store) == []
        assert sum(len(page) for page in bucket_of(full_store, "a test").pages(tenant.id)) == objects
    assert missing_objects(full_store, tenant) == []


def load_rows(run: Run[Any]) -> None:
    """Fail."""
    raise ZeroDivisionError


# refused, with nothing written


def test_what_is_not_there_is_refused(store: Store, site: Site, tenant: Tenant) -> None:
    with pytest.raises(UnknownDataset, match="cities, packages"):
        load_sample(store, "towns", "acme")
    with pytest.raises(UnknownTenant):
        load_sample(store, "cities", "nobody")
    with pytest.raises(StoreNotConfigured) as caught:
        load_sample(store, "packages", "acme", site=site.folder)
    assert (caught.value.store, caught.value.wanted_by) == ("objects", "the dataset packages")
    create_tenant(store, "half", state="importing")
    with pytest.raises(TenantUnfinished):
        load_sample(store, "cities", "half", site=site.folder)


@pytest.mark.parametrize("name", ["countries.json", "cities5000.json"])
def test_a_damaged_dataset_writes_nothing(store: Store, site: Site, tenant: Tenant, name: str) -> None:
    path = site.data / name
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(DatasetDamaged):
        load_sample(store, "cities", "acme", site=site.folder)
    assert rows_in(store) == 0


# the command line


def run(store: Store, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = child_environment(store.topology, folder)
    return subprocess.run([*CLI, *words], env=environment, capture_output=True, text=True, check=False)


@pytest.mark.long
def test_the_command_lists_and_loads(full_store: Store, tmp_path: Path) -> None:
    create_tenant(full_store, "acme")
    listed = json.loads(run(full_store, tmp_path, "sample", "list", "--json").stdout)
    assert {each["name"] for each in listed} == {"cities", "packages"}
    words = ("sample", "load", "packages", "--tenant", "acme", "--json")
    planned = json.loads(run(full_store, tmp_path, *words, "--dry-run").stdout)
    assert set(rows_per_table(full_store, full_store.find("acme")).values()) == {0}
    loaded = json.loads(run(full_store, tmp_path, *words).stdout)
    assert {key: loaded[key] for key in ("dataset", "tenant", "rows", "objects")} == planned
    counted = rows_per_table(full_store, full_store.find("acme"))
    assert planned["rows"] == {table: count for table, count in counted.items() if count}


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("sample", "load", "towns", "--tenant", "acme"), "UnknownDataset"),
        (("sample", "load", "cities", "--tenant", "nobody"), "UnknownTenant"),
        (("sample", "load", "packages", "--tenant", "acme"), "StoreNotConfigured"),
    ],
)
def test_wrong_use_is_said_with_the_next_command(
    store: Store, tenant: Tenant, tmp_path: Path, words: tuple[str, ...], error: str
) -> None:
    done = run(store, tmp_path, *words, "--json")
    assert (done.returncode, done.stdout) == (2, "")
    told = json.loads(done.stderr)["error"]
    assert told["type"] == error
    assert told["next"]


# all of it


@pytest.mark.long
def test_all_cities_load(store: Store, tenant: Tenant) -> None:
    content = plan_load(store, "cities", "acme").content
    loaded = load_sample(store, "cities", "acme")
    assert sum(loaded.rows.values()) == content.rows > 300_000
    with store.tenant("acme") as acme:
        query = """
            select city.name
              from relations capital
              join atoms city on city.id = capital.from_atom_id
              join atoms country on country.id = capital.to_atom_id
             where capital.relation_type = 'capital_of' and country.name = any(%s)
             order by city.name
        """
        found = acme.execute(query, (["Brazil", "Iceland", "Japan", "Togo"],)).fetchall()
    assert found == [("Brasília",), ("Lomé",), ("Reykjavík",), ("Tokyo",)]
    assert sum(load_sample(store, "cities", "acme").rows.values()) == 0
