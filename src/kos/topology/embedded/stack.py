"""The embedded servers of one folder: starting them, stopping them, and saying where they are."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from kos.errors import (
    DiskFull,
    FolderRefused,
    PortInUse,
    StackNotRunning,
    StackOfAnother,
    StateDamaged,
    UnknownStore,
)
from kos.topology.embedded import account, census, home, layout, ports, postgres, state, wheels, worker
from kos.topology.embedded.addresses import describe
from kos.topology.embedded.server import Site
from kos.topology.embedded.start import Crowds, Started, StartPlan, bring_up, plan
from kos.topology.model import Topology

if TYPE_CHECKING:  # the console needs rich and typer, which the library does without
    from kos.progress import Advance

FOLDER = ".kos"
PATIENCE_SECONDS = 5.0
PORT_ATTEMPTS = 3


@dataclass(frozen=True)
class Stopped:
    """A server that `down` stopped."""

    store: str
    pid: int
    seconds: float


def _silent(what: str, done: int, total: int | None) -> None:
    """Progress that nobody wants to hear of."""


class Stack:
    """The embedded servers of one folder (`<folder>/.kos`).

    Every method looks at the process table and the files anew, so any number of these objects agree. Methods
    that change something raise StackBusy if another command holds the stack for `patience` seconds.
    """

    def __init__(
        self, folder: Path, *, patience: float = PATIENCE_SECONDS, free_mb: home.FreeSpace = home.free_mb
    ) -> None:
        self.folder = folder.resolve()
        self._kos = self.folder / FOLDER
        self._patience = patience
        self._free_mb = free_mb

    @staticmethod
    def find(start: Path) -> Stack | None:
        """The stack of `start`, or of the nearest folder above that has one; `ConfigUntrusted` if it is not ours."""
        start = start.resolve()
        for folder in (start, *start.parents):
            if state.is_stack(folder / FOLDER):
                return Stack(folder)
        return None

    def up(
        self,
        *,
        shards: int = 1,
        port: int | None = None,
        stores: Sequence[str] = layout.KINDS,
        progress: Advance = _silent,
    ) -> Started:
        """Have the stack running. Harmless to repeat; a stack that has more shards keeps them.

        `port` is the first of the ports to use; without it free ones are chosen once and remembered.

        Raises:
            StackBusy, PortInUse, ServerNotInstalled, ServerDidNotStart, ServerDidNotStop, DiskFull,
            StateDamaged, NoAccount, StackOfAnother, FolderRefused, UnknownStore.
        """
        if not str(self.folder).isprintable():
            raise FolderRefused(
                self.folder, "its path has line breaks, or is not UTF-8: the servers can't be told of it"
            )
        with self._changing():
            marker = state.read_marker(self._kos)
            names = layout.stores_of(stores, max(shards, marker.shards if marker else 1))
            as_whom = self._account(marker)
            marker = self._marked(marker or self._new_marker(as_whom), names, shards, port)
            return self._start(marker, names, as_whom, progress)

    def plan(self, *, shards: int = 1, port: int | None = None) -> StartPlan:
        """What `up` would do. Reads only; raises what `up` raises before it begins."""
        with self._explained():
            self._check_owner()
            marker = state.read_marker(self._kos)
            names = layout.stores_of(layout.KINDS, max(shards, marker.shards if marker else 1))
            marked = self._assigned(marker or state.new_marker(self._kos), names, shards, port)
            known = state.read_secrets(self._kos) if marker else {}
            as_whom = (account.owner_of(marker.home / "data") if marker else None) or account.myself()
            sites = [self._known_site(marked, name, as_whom, known) for name in names]
            return plan(sites, self._census(marker))

    def start_store(self, store: str) -> Started:
        """Start one store of the stack again.

        Raises:
            StackNotRunning: there is no stack; otherwise as `up`.
        """
        self._marker()
        with self._changing():
            marker = self._marker()
            self._check_name(marker, store)
            return self._start(marker, (store,), self._account(marker), _silent)

    def down(self, *, purge: bool = False) -> list[Stopped]:
        """Stop every process of the stack; `purge` deletes its data, passwords and marker too.

        Raises:
            ServerDidNotStop, StackBusy, StackOfAnother.
            StateDamaged: the marker is damaged. The servers that could be found were stopped all the same.
        """
        if not self._kos.is_dir():  # somebody deleted it under its servers
            stopped = self._stop_all(None)
            if purge:
                home.delete(self._kos)
            return stopped
        with self._changing():
            damage = None
            marker = None
            try:
                marker = state.read_marker(self._kos)
            except StateDamaged as error:
                damage = error
            stopped = self._stop_all(marker)
            if purge:
                if marker:
                    state.claim_home(marker)
                home.delete(self._kos)
            elif damage:
                raise damage
            return stopped

    def kill_store(self, store: str) -> None:
        """SIGKILL the server of a store, as a crash would, and wait until it is gone.

        Raises:
            UnknownStore: the stack has no such store.
            StackNotRunning: it does not run.
        """
        self._check_name(self._marker(), store)
        process = self.processes().get(store)
        if process is None:
            raise StackNotRunning(self.folder)
        census.stop(store, census.Crowd(process), census.LAST_RESORT)

    def processes(self) -> dict[str, psutil.Process]:
        """The running servers by store, as the process table has them at this moment."""
        crowds = self._census(state.read_marker(self._kos))
        return {store: crowd.main for store, crowd in sorted(crowds.items()) if crowd.main and store != worker.NAME}

    def running(self) -> list[str]:
        """What `down` would stop: the stores whose server runs, and the worker."""
        crowds = self._census(state.read_marker(self._kos))
        return sorted(name for name, crowd in crowds.items() if crowd.main)

    def begin_worker(self) -> worker.Begun:
        """Have the stack's worker running; `wait` of what it returns waits until it answers.

        Raises:
            StackNotRunning, StackBusy, PortInUse, ServerDidNotStop.
        """
        self._marker()
        with self._changing():
            marker = self._marker()
            crowd = self._census(marker).get(worker.NAME, census.Crowd())
            return worker.begin(marker, crowd, self.log(worker.NAME))

    def worker(self) -> worker.WorkerHealth:
        """How the stack's worker is."""
        marker = self._marker()
        return worker.look(marker, self._census(marker).get(worker.NAME, census.Crowd()))

    def is_running(self) -> bool:
        """Whether any server of the stack runs."""
        return bool(self.processes())

    @property
    def id(self) -> str:
        """The stack's id, which its PostgreSQL carries as a marker too."""
        return self._marker().stack

    @property
    def stores(self) -> tuple[str, ...]:
        """The names of the stores that the stack has, running or not."""
        return self._stores(self._marker())

    def log(self, store: str) -> Path:
        """The file that a store's server writes its log to."""
        return self._kos / "log" / f"{store}.log"

    def topology(self) -> Topology:
        """Addresses and logins of the stores that the stack has, running or not.

        Raises:
            StackNotRunning: there is no stack here.
            StateDamaged: its files can't be read.
        """
        marker = self._marker()
        return describe(marker, state.read_secrets(self._kos), self.folder)

    def superuser(self) -> tuple[str, str]:
        """Name and password of PostgreSQL's superuser, for tests; kos itself uses it in `up` only."""
        return postgres.SUPERUSER, state.read_secrets(self._kos)[postgres.SUPERUSER]

    def set_role_passwords(self) -> None:
        """Let the application's and the operator's role log in, on every shard. Harmless to repeat.

        Raises:
            DatabaseNotInstalled: `kos upgrade` did not make them yet.
        """
        marker = self._marker()
        for number in range(1, marker.shards + 1):
            postgres.set_role_passwords(self._site(marker, layout.shard_store(number), self._account(marker)))

    # the parts of `up`

    def _account(self, marker: state.Marker | None) -> account.Account:
        return (account.owner_of(marker.home / "data") if marker else None) or account.choose()

    def _new_marker(self, as_whom: account.Account) -> state.Marker:
        marker = state.new_marker(self._kos)
        return replace(marker, home=home.choose(self._kos, marker.stack, as_whom))

    def _marked(self, marker: state.Marker, names: Sequence[str], shards: int, base: int | None) -> state.Marker:
        """The marker with what is about to be started, stored before anything is."""
        marked = self._assigned(marker, names, shards, base)
        state.ensure_secrets(self._kos, has_data=any((marked.home / "data").glob("*/*")))
        state.write_marker(marked)
        state.claim_home(marked)
        return marked

    def _assigned(self, marker: state.Marker, names: Sequence[str], shards: int, base: int | None) -> state.Marker:
        """The marker with what is to be started, if nothing stands in the way."""
        assigned = layout.assign_ports(marker.ports, names, base=base if base is not None else marker.base)
        marked = replace(
            marker,
            shards=max(shards, marker.shards),
            base=base if base is not None else marker.base,
            ports=assigned,
        )
        # What runs is stopped to move it: not before it is certain that it can.
        running = self._census(marker)
        own = {port for store in running for port in _ports_known(marker, store)}
        if marked.base is not None:
            for name in names:
                self._check_ports(marked, name, own)
            self._check_ports(worker.with_port(marked), worker.NAME, own)  # it begins last, when all the others run
        new = [layout.kind_of(name) for name in names if not (marked.home / "data" / name).exists()]
        home.check_space(marked.home if marked.home.exists() else self.folder, new, self._free_mb)
        return marked

    def _check_ports(self, marker: state.Marker, store: str, own: Collection[int]) -> None:
        for name in layout.port_names(store):
            if marker.ports[name] not in own and not ports.is_free(marker.ports[name]):
                raise PortInUse(store, marker.ports[name])

    def _start(
        self, marker: state.Marker, names: Sequence[str], as_whom: account.Account, progress: Advance
    ) -> Started:
        home.make_folders(self._kos, marker.home, as_whom)
        sites = [self._site(marker, name, as_whom) for name in names]
        return bring_up(sites, lambda: self._census(marker), self._relocation(marker), progress)

    def _relocation(self, marker: state.Marker) -> Callable[[Site], Site]:
        """A function that finds other ports for a store, and remembers them, a few times."""
        current = marker
        attempts = 0

        def relocate(site: Site) -> Site:
            nonlocal current, attempts
            attempts += 1
            if current.base is not None or attempts > PORT_ATTEMPTS:
                raise PortInUse(site.store, next(port for port in site.ports))
            current = replace(current, ports=layout.other_ports(current.ports, site.store, site.ports))
            state.write_marker(current)
            return replace(site, ports=_ports(current, site.store))

        return relocate

    def _site(self, marker: state.Marker, store: str, as_whom: account.Account) -> Site:
        site = self._known_site(marker, store, as_whom, state.read_secrets(self._kos))
        return replace(site, programs=home.reachable(site.programs, site.kind, marker.home, as_whom))

    def _known_site(
        self, marker: state.Marker, store: str, as_whom: account.Account, secrets: Mapping[str, str]
    ) -> Site:
        kind = layout.kind_of(store)
        return Site(
            store=store,
            kind=kind,
            stack=marker.stack,
            folder=self._kos,
            home=marker.home,
            ports=_ports(marker, store),
            secrets=secrets,
            account=as_whom,
            programs=wheels.programs(kind),
        )

    # the parts of `down`

    def _stop_all(self, marker: state.Marker | None) -> list[Stopped]:
        crowds = self._census(marker)
        if not crowds:
            return []
        with ThreadPoolExecutor(len(crowds)) as pool:
            return [stopped for found in pool.map(_stop, crowds.items()) for stopped in found]

    # what all share

    def _census(self, marker: state.Marker | None) -> Crowds:
        homes = {self._kos, *home.outside_homes(self._kos)}
        if marker:
            homes.add(marker.home)
        programs = (wheels.PROGRAM_NAMES[kind] for kind in layout.KINDS)
        return census.take(stack=marker.stack if marker else None, folder=self._kos, homes=homes, programs=programs)

    def _marker(self) -> state.Marker:
        marker = state.read_marker(self._kos)
        if marker is None:
            raise StackNotRunning(self.folder)
        return marker

    def _stores(self, marker: state.Marker) -> tuple[str, ...]:
        known = [kind for kind in layout.KINDS if kind in marker.ports]
        return layout.stores_of(known, marker.shards)

    def _check_name(self, marker: state.Marker, store: str) -> None:
        if store not in self._stores(marker):
            raise UnknownStore(store, ", ".join(self._stores(marker)))

    @contextmanager
    def _changing(self) -> Iterator[None]:
        """Hold the stack's lock."""
        with self._explained():
            self._check_owner()
            if not self._kos.exists():
                home.check_space(self.folder, ["postgres"], self._free_mb)
            self._kos.mkdir(mode=0o700, exist_ok=True)
            with state.locked(self._kos, patience=self._patience):
                yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Name what the file system refuses."""
        try:
            yield
        except OSError as error:
            if error.errno == errno.ENOSPC:
                raise DiskFull(self.folder, self._free_mb(self.folder), home.NEEDED_MB["postgres"]) from error
            if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR}:
                raise FolderRefused(self.folder, str(error)) from error
            raise

    def _check_owner(self) -> None:
        """Root must not start a user's stack (its files would become root's), nor a user another's."""
        if self._kos.exists() and (owner := self._kos.stat().st_uid) != os.geteuid():
            raise StackOfAnother(self.folder, account.name_of(owner))


def _ports(marker: state.Marker, store: str) -> tuple[int, ...]:
    return tuple(marker.ports[name] for name in layout.port_names(store))


def _ports_known(marker: state.Marker, store: str) -> Iterator[int]:
    """The ports that the marker has for a store, which may be one that it does not know."""
    return (marker.ports[name] for name in layout.port_names(store) if name in marker.ports)


def _stop(item: tuple[str, census.Crowd]) -> list[Stopped]:
    store, crowd = item
    began = time.monotonic()
    pids = [process.pid for process in crowd.all]
    ladders = {worker.NAME: worker.LADDER} | {kind: server.LADDER for kind, server in layout.SERVERS.items()}
    census.stop(store, crowd, ladders.get(layout.kind_of(store), census.LAST_RESORT))
    return [Stopped(store, pid, time.monotonic() - began) for pid in pids[:1]]
