"""Who makes a graph anew, or follows, is killed at any moment: what readers see is right, and in the end nothing is
left of what was not finished."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from projection_scene import NO_GRACE, eventually, left_over

from fix_samples import child_environment
from kos.log import seal
from kos.projections import Site, make, rebuild, verify
from kos.projections.graph import GraphProjection
from kos.projections.whole import parts_of
from kos.tenancy import Store, create_tenant

SEED = int(os.environ.get("KOS_DEATHS_SEED", "6"))
KILLS = 24
ROWS = 1500

pytestmark = [pytest.mark.long, pytest.mark.timeout(600)]


class Child:
    """See `projection_child.py`."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("projection_child.py"))],
            env=child_environment(store.topology, folder),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def strike(self, what: str, name: str, seconds: float) -> None:
        """Kill it so long after it has begun."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(f"{what} {name}\n")
        self.process.stdin.flush()
        said = {self.process.stdout.readline().strip() for _ in range(2)}
        (child,) = said - {"begun"}
        time.sleep(seconds)
        os.kill(int(child), signal.SIGKILL)


@pytest.fixture
def site(full_store: Store) -> Iterator[Site]:
    """A tenant with nodes and edges, in the graph."""
    create_tenant(full_store, "acme")
    write(full_store, ROWS)
    with closing(make(full_store.topology, "graph")) as projection:
        projection.prepare()
        [part] = parts_of(full_store, ["acme"])
        with full_store.operator() as operator:
            seal(operator, part.tenant)
        made = part.site(full_store, projection)
        rebuild(made)
        yield made
        projection.forget(made.tenant)


def write(store: Store, rows: int) -> None:
    with store.tenant("acme") as acme:
        acme.execute("insert into atoms (atom_type, name) select 'k', n from generate_series(1, %s) n", (rows,))
        acme.execute(
            "insert into relations (relation_type, from_atom_id, to_atom_id)"
            " select 'R', id, lead(id, 1, id) over (order by id)"
            " from (select id from atoms order by id desc limit %s) a on conflict do nothing", (rows,))  # fmt: skip
        acme.execute("delete from atoms where id in (select id from atoms order by id limit %s)", (rows // 2,))
        acme.execute("update atoms set version = version + 1, deleted_at = case when random() < 0.2 then now() end"
                     " where random() < 0.2")  # fmt: skip


def check_nothing_left(site: Site) -> None:
    projection = site.projection
    assert isinstance(projection, GraphProjection)
    projection._grace = NO_GRACE
    projection.clear(site.whose)
    of_tenant = {scope: count for scope, count in left_over(site.store.topology).items() if str(site.tenant) in scope}
    assert of_tenant == {}


@pytest.mark.parametrize("what", ["rebuild", "follow"])
def test_whoever_is_killed_leaves_what_the_next_one_takes_up(site: Site, what: str, tmp_path: Path) -> None:
    dice = random.Random(SEED)
    began = time.monotonic()
    rebuild(site)
    takes = time.monotonic() - began
    generations = set()
    with Child(site.store, tmp_path) as child:
        for number in range(KILLS):
            write(site.store, 60)
            child.strike(what, "acme", dice.uniform(0, 2.5 * takes if what == "rebuild" else 0.6))
            live = site.projection.live(site.whose)
            assert live is not None
            generations.add(live.generation)
            if number % 4 == 3:
                assert eventually(lambda: verify(site)).differing == 0
    print(f"{len(generations)} generations were shown; one takes {takes:.1f} s")
    eventually(lambda: rebuild(site))
    assert verify(site).differing == 0
    check_nothing_left(site)
