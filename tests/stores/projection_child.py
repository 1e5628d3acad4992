"""Does one thing to a tenant's graph again and again, until it is killed; told on standard input what, and to whom.

Each is done in a process that is forked for it: who is killed at a moment that dice choose is not to be still starting.
"""

from __future__ import annotations

import os
import sys
from contextlib import closing

import kos
from kos.log import seal
from kos.projections import Site, make, rebuild
from kos.projections.follow import follow
from kos.projections.whole import parts_of


def rebuild_for_ever(site: Site) -> None:
    while True:
        rebuild(site)


def follow_for_ever(site: Site) -> None:
    with site.store.operator() as operator:
        while True:
            seal(operator, site.tenant)
            standing = site.projection.live(site.whose)
            while standing:
                standing = follow(operator, site.projection, site.whose, standing)


def run(what: str, name: str) -> None:
    with kos.open() as store, closing(make(store.topology, "graph")) as projection:
        [part] = parts_of(store, [name])
        site = part.site(store, projection)
        print("begun", flush=True)
        (rebuild_for_ever if what == "rebuild" else follow_for_ever)(site)


def main() -> None:
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            try:
                run(*line.split())
            finally:
                os._exit(1)
        print(child, flush=True)
        os.waitpid(child, 0)


if __name__ == "__main__":
    main()
