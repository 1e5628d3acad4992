"""One phase of a change in all placements, several at a time: one that fails stops no other, nor does a database that
can't be reached."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager, suppress
from itertools import count
from threading import Event, Lock

import psycopg

from kos import errors
from kos.journal import Run
from kos.schema_change.facts import Connection
from kos.schema_change.model import CONTRACT, ChangePlan, Placement, Recipe
from kos.schema_change.placements import Found, Lost
from kos.schema_change.site import QUERIES, Site
from kos.tenancy.placement import Place
from kos.translate import translated

Work = Callable[[Site], None]
Standing = Callable[[Recipe, str, str], bool]
"""Whether a placement of a recipe that is at a phase, and in a state there, is meant."""

ATTEMPTS = 10  # at one placement, if the connection is cut in each


def everywhere(
    run: Run[ChangePlan], phase: str, placements: Iterable[Placement], work: Work, *, lost: Lost | None = None
) -> None:
    """Do `work` in each of these placements, and note how it ended there. Databases that are `lost` have failed.

    Raises:
        ChangeIncomplete: some failed; all others are done, and doing it again does those that are left.
        What the work raised, where there is one placement only.
    """
    lost, refused = lost or {}, dict[Place, Exception]()
    waiting, lock, over = deque(each for each in placements if each.place not in lost), Lock(), Event()
    failures = [(place.name, error) for place, error in lost.items()]
    total = len(waiting)

    def next_one() -> Placement | None:
        with lock:
            if over.is_set() or not waiting:
                return None
            run.advance(total - len(waiting), total)
            return waiting.popleft()

    def drain() -> None:
        with _connections(run, refused) as connect:

            def site_of(placement: Placement) -> Site:
                return Site(run, placement, connect(placement.place), over, final=phase == CONTRACT)

            while (placement := next_one()) is not None:
                try:
                    error = _one(placement, site_of, phase, work)
                except BaseException:
                    over.set()
                    raise
                if error is not None:
                    failures.append((placement.name, error))

    threads = min(run.plan.parallel, total)
    if threads <= 1:
        drain()
    else:
        _in_threads(threads, drain, over)
    _raise(phase, total + len(lost), failures)
    run.advance(total, total)


def known(run: Run[ChangePlan], meant: Standing = lambda *_: True) -> Found:
    """The placements that the change has begun in, also those that came after it was planned."""
    found: list[Placement] = []

    def look(place: Place, connection: Connection) -> None:
        for schema, recipe, phase, state, *_ in connection.execute(QUERIES.placements, {"operation": run.operation}):
            if meant(run.plan.recipes[recipe], phase, state):
                found.append(Placement(*place, schema, recipe))

    return Found(found, in_databases(run, look))


def in_databases(run: Run[ChangePlan], work: Callable[[Place, Connection], object]) -> Lost:
    """Do `work`, a transaction, in each database that the change has come to; one of a tenant may have gone. Returns
    those where it failed."""
    existing = run.fences.existing()
    lost = dict(existing.silent)
    for place in existing.places:
        try:
            with run.transaction(place) as connection:
                work(place, connection)
        except errors.LeaseLost:
            raise
        except (errors.KosError, psycopg.Error) as raised:
            lost[place] = translated(raised) or raised
    return lost


def refuse_lost(phase: str, lost: Lost) -> None:
    """Some databases failed; all others are done.

    Raises:
        ChangeIncomplete; what failed, where it is one.
    """
    _raise(phase, len(lost), [(place.name, error) for place, error in lost.items()])


def _in_threads(threads: int, drain: Callable[[], None], over: Event) -> None:
    """Who interrupts the first thread, interrupts all: each before its next transaction."""
    with ThreadPoolExecutor(threads, thread_name_prefix="kos change") as pool:
        futures = [pool.submit(drain) for _ in range(threads)]
        try:
            raised = [error for each in as_completed(futures) if (error := each.exception()) is not None]
        finally:
            over.set()
    for error in sorted(raised, key=lambda error: isinstance(error, errors.Interrupted)):  # those only followed
        raise error


def _one(placement: Placement, site_of: Callable[[Placement], Site], phase: str, work: Work) -> Exception | None:
    """What went wrong; None if nothing did. Who was frozen in a transaction finds it taken back and the connection cut;
    he goes on from there, as one does who was killed."""
    for attempt in count(1):
        site = None
        try:
            site = site_of(placement)
            _work(site, phase, work)
            break
        except (errors.LeaseLost, errors.Interrupted, errors.ChangeStopped):
            raise
        except (errors.KosError, psycopg.Error, OSError) as raised:
            if site is not None and _is_cut(site, raised) and attempt < ATTEMPTS:
                site.connection.close()
                continue
            error = translated(raised) or raised
            if site is not None and not site.connection.closed:
                with suppress(psycopg.Error):
                    _note(site, phase, "failed", str(error))
            return error
    return None


def _is_cut(site: Site, error: Exception) -> bool:
    """Without a word, or because we said nothing for too long; not by somebody who has ended the session."""
    if isinstance(error, psycopg.errors.IdleInTransactionSessionTimeout):
        return True
    return isinstance(error, psycopg.OperationalError) and error.sqlstate is None and site.connection.closed


def _work(site: Site, phase: str, work: Work) -> None:
    if site.connection.execute(QUERIES.has_schema, site.facts).fetchone() == (True,):
        _note(site, phase, "running")
        work(site)
        _note(site, phase, "done")


def _note(site: Site, phase: str, state: str, error: str | None = None) -> None:
    facts = site.facts | {"recipe": site.placement.recipe, "phase": phase, "state": state, "error": error}
    with site.transaction() as connection:
        connection.execute(QUERIES.note_placement, facts)


def _raise(phase: str, total: int, failures: list[tuple[str, Exception]]) -> None:
    if not failures:
        return
    name, error = failures[0]
    if total == 1:
        raise error
    raise errors.ChangeIncomplete(phase, len(failures), total, name, str(error)) from error


@contextmanager
def _connections(run: Run[ChangePlan], refused: Lost) -> Iterator[Callable[[Place], Connection]]:
    """One connection per database, for one thread; a new one where it was ended. A database that does not answer is
    asked once in a phase, and is noted among the `refused`: there may be a thousand placements, and silence lasts."""
    opened: dict[Place, Connection] = {}
    with ExitStack() as stack:

        def connect(place: Place) -> Connection:
            if place in refused:
                raise refused[place]
            if place not in opened or opened[place].closed:
                try:
                    opened[place] = stack.enter_context(run.fences.beside(place))
                except errors.StoreUnavailable as error:
                    refused[place] = error
                    raise
            return opened[place]

        yield connect
