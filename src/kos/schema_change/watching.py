"""What lasts is watched from beside: how far it is, whom it waits for, and whether somebody wants it to stop."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event, Thread

import psycopg
from psycopg.sql import Identifier

from kos import errors
from kos.schema_change.blocking import described
from kos.schema_change.facts import Connection
from kos.schema_change.model import Action
from kos.schema_change.site import QUERIES, Site

LOOK = 1.0  # seconds between two looks at what an index waits for


@contextmanager
def watched(site: Site, action: Action, *, tells: bool = True) -> Iterator[None]:
    """While an action lasts. `tells`: how far an index is that is built or dropped, and whom it waits for.

    Raises:
        ChangeStopped: `kos change rollback` wanted it, and the statement was cancelled.
    """
    over, stopped = Event(), Event()
    pid = site.connection.info.backend_pid

    def watch() -> None:
        if over.wait(LOOK):
            return
        with suppress(errors.KosError, psycopg.Error), site.run.fences.beside(site.placement.place) as connection:
            while not over.wait(LOOK / 2):
                if site.is_stopping():
                    stopped.set()
                    site.connection.cancel_safe()
                    return
                if tells:
                    _tell(site, action, connection, pid)

    watcher = Thread(target=watch, name="kos change watch", daemon=True)
    watcher.start()
    try:
        yield
    except psycopg.errors.QueryCanceled as error:
        if stopped.is_set():
            raise errors.ChangeStopped(site.run.plan.name) from error
        raise
    finally:
        over.set()
        watcher.join()


def _tell(site: Site, action: Action, connection: Connection, pid: int) -> None:
    with connection.transaction():
        connection.execute(QUERIES.act_as.format(role=Identifier(action.owner)))
        row = connection.execute(QUERIES.index_progress, {"pid": pid}).fetchone()
    if row is not None:
        told = site.facts | {"doing": f"{action.text}: {progress(*row)}"}
        connection.execute(QUERIES.note_doing, told)


def progress(
    phase: str, done: int, total: int, locker: int | None, role: str | None, state: str | None, query: str | None
) -> str:
    """A row of `index_progress`, for people."""
    if locker or state:  # a prepared transaction has no session
        return f"{phase}, for {described(locker, role, state, query)}"
    return f"{phase}, {done * 100 // total} %" if total else phase
