"""One phase of a change in all placements, several at a time: one that fails stops no other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from threading import Event, Lock

import psycopg

from kos import errors
from kos.journal import Run
from kos.journal.fences import is_there
from kos.schema_change.facts import Connection
from kos.schema_change.model import CONTRACT, ChangePlan, Placement, Recipe
from kos.schema_change.site import QUERIES, Site
from kos.tenancy.placement import Place
from kos.translate import translated

Work = Callable[[Site], None]
Standing = Callable[[Recipe, str, str], bool]
"""Whether a placement of a recipe that is at a phase, and in a state there, is meant."""


def everywhere(run: Run[ChangePlan], phase: str, placements: Iterable[Placement], work: Work) -> None:
    """Do `work` in each of these placements, and note how it ended there.

    Raises:
        ChangeIncomplete: some failed; all others are done, and doing it again does those that are left.
        What the work raised, where there is one placement only.
    """
    waiting, lock, over = deque(placements), Lock(), Event()
    failures: list[tuple[Placement, Exception]] = []
    total = len(waiting)

    def next_one() -> Placement | None:
        with lock:
            if over.is_set() or not waiting:
                return None
            run.advance(total - len(waiting), total)
            return waiting.popleft()

    def drain() -> None:
        with _connections(run) as connect:
            while (placement := next_one()) is not None:
                try:
                    site = Site(run, placement, connect(placement.place), over, final=phase == CONTRACT)
                    error = _one(site, phase, work)
                except BaseException:
                    over.set()
                    raise
                if error is not None:
                    failures.append((placement, error))

    threads = min(run.plan.parallel, total)
    if threads <= 1:
        drain()
    else:
        _in_threads(threads, drain, over)
    _raise(phase, total, failures)
    run.advance(total, total)


def known(run: Run[ChangePlan], meant: Standing = lambda *_: True) -> list[Placement]:
    """The placements that the change has begun in, also those that came after it was planned."""
    found: list[Placement] = []
    for place in there(run):
        with run.fences.beside(place) as connection:
            rows = connection.execute(QUERIES.placements, {"operation": run.operation}).fetchall()
        found += [
            Placement(*place, schema, recipe)
            for schema, recipe, phase, state, *_ in rows
            if meant(run.plan.recipes[recipe], phase, state)
        ]
    return found


def there(run: Run[ChangePlan]) -> Iterator[Place]:
    """The databases that the change has come to; one of a tenant may have gone."""
    return (place for place in run.fences.places() if is_there(run.store, place))


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


def _one(site: Site, phase: str, work: Work) -> Exception | None:
    """What went wrong; None if nothing did."""
    try:
        if site.connection.execute(QUERIES.has_schema, site.facts).fetchone() == (True,):
            _note(site, phase, "running")
            work(site)
            _note(site, phase, "done")
    except (errors.LeaseLost, errors.Interrupted, errors.ChangeStopped):
        raise
    except (errors.KosError, psycopg.Error, OSError) as raised:
        error = translated(raised) or raised
        if not site.connection.closed:
            _note(site, phase, "failed", str(error))
        return error
    return None


def _note(site: Site, phase: str, state: str, error: str | None = None) -> None:
    facts = site.facts | {"recipe": site.placement.recipe, "phase": phase, "state": state, "error": error}
    with site.transaction() as connection:
        connection.execute(QUERIES.note_placement, facts)


def _raise(phase: str, total: int, failures: list[tuple[Placement, Exception]]) -> None:
    if not failures:
        return
    placement, error = failures[0]
    if total == 1:
        raise error
    raise errors.ChangeIncomplete(phase, len(failures), total, placement.name, str(error)) from error


@contextmanager
def _connections(run: Run[ChangePlan]) -> Iterator[Callable[[Place], Connection]]:
    """One connection per database, for one thread; a new one where it was ended."""
    opened: dict[Place, Connection] = {}
    with ExitStack() as stack:

        def connect(place: Place) -> Connection:
            if place not in opened or opened[place].closed:
                opened[place] = stack.enter_context(run.fences.beside(place))
            return opened[place]

        yield connect
