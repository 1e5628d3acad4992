"""Stores that were put back, emptied or followed twice: it is noticed though nobody writes, and made good."""

from __future__ import annotations

import shutil
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from projection_load import Load, check_acknowledged
from projection_scene import AWAY, SECONDS, Scene, asked, check_equal, is_followed, scene

from fix_arcadedb import OwnArcadeDB
from fix_exports import until
from fix_own_postgres import MakePostgres, OwnPostgres
from fix_redis import OwnCache
from kos import errors
from kos.projections import Follower
from kos.projections.declared import declared
from kos.tenancy.placement import control_place
from kos.topology import cache as caches
from kos.worker.watch import connect
from kos.worker.worker import Worker

pytestmark = [pytest.mark.long, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def postgres(own_postgres: MakePostgres) -> OwnPostgres:
    made = own_postgres("wheel", "--no-sync")
    made.configure(track_commit_timestamp="on", shared_buffers="64MB")
    made.start()
    return made


@pytest.fixture
def site(postgres: OwnPostgres, own_arcadedb: OwnArcadeDB, request: pytest.FixtureRequest) -> Iterator[Scene]:
    """A database of the test's own; the graph begins empty."""
    name = f"product_{abs(hash(request.node.name))}"
    with OwnCache("valkey") as cache, scene(postgres, own_arcadedb, cache, name) as made:
        asked(made.topology, "MATCH (n) DETACH DELETE n")
        made.tenants("acme", "late")
        yield made


def put_back(copy: Path, folder: Path) -> None:
    """With owners and modes."""
    shutil.rmtree(folder)
    keep(copy, folder)


def keep(folder: Path, copy: Path) -> None:
    subprocess.run(["cp", "-a", str(folder), str(copy)], check=True)


def write(site: Scene, name: str = "acme") -> Any:
    """Every atom is changed, one is new, and one of them is gone; the bookmark of that."""
    with site.store.tenant(name) as acme:
        acme.execute("delete from atoms where id = (select id from atoms order by id limit 1)")
        acme.execute("update atoms set version = version + 1")
        acme.execute("insert into atoms (atom_type, name) select 'city', 'n' from generate_series(1, 3)")
    return acme.bookmark


def shows(site: Scene, name: str = "acme") -> bool:
    """Whether graph and cache say what the tables say, to who has no bookmark."""
    try:
        with site.store.tenant(name) as acme:
            rows = acme.execute("select id::text, version from atoms order by 1").fetchall()
        with site.store.tenant(name) as acme:
            nodes = acme.graph.run("MATCH (a:Atom) RETURN a.id AS id, a.version AS version ORDER BY id")
            kept = [(key, acme.cached("atom", key, lambda key=key: read(acme, key))) for key, _ in rows]
    except AWAY:
        return not rows
    return [tuple(each) for each in nodes] == rows == kept


def read(acme: Any, key: str) -> Any:
    row = acme.execute("select version from atoms where id = %s", (key,)).fetchone()
    return row and row[0]


def is_shown(site: Scene) -> bool:
    """With nothing left to follow, and all said as it is, twice."""
    return is_followed(site.store) and all(shows(site, each) for each in ("acme", "late") * 2)


def is_lost(site: Scene, mark: Any) -> bool:
    """Whether neither graph nor cache believes a bookmark. Else it would stand for whatever transaction has got that
    number since."""
    asks: list[Callable[[Any], Any]] = [
        lambda acme: acme.graph.run("RETURN 1"),
        lambda acme: acme.cached("atom", str(uuid.uuid4()), lambda: None),
    ]
    for ask in asks:
        with pytest.raises(errors.BookmarkLost), site.store.tenant("acme", after=mark) as acme:
            ask(acme)
    return True


@pytest.mark.parametrize("meanwhile", [False, True], ids=["at once", "with as much written again"])
def test_a_log_that_was_put_back_is_noticed(site: Scene, caplog: pytest.LogCaptureFixture, *, meanwhile: bool) -> None:
    """On the timeline that it was on, as the copy of a disk is. `late` had no log by then: what it wrote is nowhere any
    more."""
    copy = site.postgres.folder / f"copy-{meanwhile}"
    with Worker(site.topology):
        write(site)
        until(lambda: is_shown(site), SECONDS)
        site.postgres.stop()
        keep(site.postgres.data, copy)
        site.postgres.start()
        for name in ("late", "acme"):
            write(site, name)
            lost = write(site, name)
        until(lambda: is_shown(site), SECONDS)
        for again in [] if meanwhile else [False, True]:
            site.postgres.stop()
            put_back(copy, site.postgres.data)
            site.postgres.start()
            until(lambda: is_shown(site), SECONDS)
            if not again:  # and what is written now is lost with the second restore, of the same copy
                lost_again = write(site)
                until(lambda: is_shown(site), SECONDS)
    if meanwhile:
        site.postgres.stop()
        put_back(copy, site.postgres.data)
        site.postgres.start()
        for name in ("acme", "late"):
            for _ in range(3):  # the log is longer than what graph and cache have
                write(site, name)
        with Worker(site.topology):
            until(lambda: is_shown(site), SECONDS)
    check_equal(site.store)
    assert is_lost(site, lost)
    with site.superuser() as connection:
        begun = connection.execute("select incarnation, reason from kos.incarnations order by 1").fetchall()
    assert begun == [(1, "installed"), (2 if meanwhile else 3, "a projection was ahead of the log")]
    assert meanwhile or is_lost(site, lost_again)
    assert "the projection is ahead of the log, which was put back: made anew" in caplog.text


@pytest.mark.parametrize("how", ["nodes", "folder"])
def test_a_graph_that_was_emptied_is_made_anew(site: Scene, how: str) -> None:
    with Worker(site.topology):
        write(site)
        until(lambda: is_shown(site), SECONDS)
        if how == "nodes":
            asked(site.topology, "MATCH (n) DETACH DELETE n")
        else:
            site.graph.kill()
            shutil.rmtree(site.graph.site.data)
            site.graph.start()
        until(lambda: is_shown(site), SECONDS)
    check_equal(site.store)
    site.check_tidy()


def test_a_graph_that_was_put_back_goes_on_from_there(site: Scene) -> None:
    copy = site.graph.site.folder / "copy"
    with Worker(site.topology):
        write(site)
        until(lambda: is_shown(site), SECONDS)
        site.graph.stop()
        keep(site.graph.site.data, copy)
        site.graph.start()
        for _ in range(3):
            write(site)
        until(lambda: is_shown(site), SECONDS)
        site.graph.kill()
        put_back(copy, site.graph.site.data)
        site.graph.start()
        until(lambda: is_shown(site), SECONDS)
    check_equal(site.store)
    site.check_tidy()


def test_a_cache_that_was_emptied_is_begun_anew(site: Scene) -> None:
    with Worker(site.topology), caches.open(site.cache.store) as client:
        write(site)
        until(lambda: is_shown(site), SECONDS)
        client.flushall()
        until(lambda: client.keys("*state") != [], SECONDS)
        write(site)
        until(lambda: is_shown(site), SECONDS)
    check_equal(site.store)


def test_two_who_follow_the_same_double_nothing(site: Scene) -> None:
    """Nobody leads: each takes what it finds, and learns where the other has been."""
    place, told = control_place(site.topology), []
    followers = [
        Follower(
            make, name, site.store, place, lambda: connect(site.topology, place),
            told=lambda what, raised: told.append((what, raised)),
        )
        for name, make in declared(site.topology).items()
        for _ in range(2)
    ]  # fmt: skip
    with site.superuser() as connection, Load(site.store, ["acme", "late"], seed=5) as load:
        for each in followers:
            each.start()
            each.let(follow=True)
        ends = time.monotonic() + 8
        while time.monotonic() < ends or load.counts["graph"] < 20 or load.counts["cached"] < 20:
            connection.execute("select kos.seal(tenant_id) from kos.unsealed()")
            assert time.monotonic() < ends + SECONDS, load.counts
            load.ends.wait(0.02)
    assert not load.wrong, load.wrong[0]
    check_acknowledged(site.store, load)
    with site.superuser() as connection:
        connection.execute("select kos.seal(tenant_id) from kos.unsealed()")
    until(lambda: is_followed(site.store), SECONDS)
    assert all(each.progress.applied > 0 for each in followers), [each.progress for each in followers]
    for each in followers:
        each.stop()
        each.wait(SECONDS)
    assert [raised for _, raised in told if not isinstance(raised, errors.KosError)] == []
    check_equal(site.store)
    site.check_tidy()
